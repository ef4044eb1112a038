"""Class names to unit text rows: prompt templates, prompts with learnable context, files of class names.

Causal text towers get their prompts *packed* into one sequence: the common beginning (start token, context) once, then
each prompt's own words, kept apart by the mask; no padding. A causal token never sees what comes after it, so the rows
equal those of open_clip's ``encode_text``, in a fraction of the time (``tests/benchmarks/bench_vlm.py``).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.files import read_text, readable
from wtal_lib.method.text import PromptLearner
from wtal_lib.video.vlm import Vlm, load

TEMPLATES = ("a video of a person {}.", "a video of a person doing {}.", "a photo of a person {}.", "a video of {}.")
"prompt templates for any list of class names, after CLIP's own for Kinetics; datasets have some of their own"
CONTEXT_STD = 0.02
"standard deviation of context vectors that start from no word, as in CoOp; CLIP's word embeddings start with it too"
AT_ONCE = 25
"prompts in one sequence; attention in longer ones costs more than the shared beginning saves"
EFFICIENT_PROMPT: dict[str, Any] = {"prefix": "", "before": 16, "after": 16}
"arguments of :func:`prompt_learner` for the prompts of Efficient-Prompt (Ju et al. 2022)"


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names, one a line or a json list; FileNotFoundError for no file, ValueError for blank, equal, no names."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of class names: {path}")
    with readable(path, "one class name a line, or a json list of them", "mend it"):
        text = read_text(path).rstrip()
        names = json.loads(text) if path.suffix == ".json" else text.splitlines()
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            raise ValueError("it holds no names")
        names = [name.strip() for name in names]
        if "" in names:
            raise ValueError(f"name {names.index('') + 1} is blank")
        twice = [name for name, times in Counter(map(prompt_name, names)).items() if times > 1]
        if twice:
            raise ValueError(f"these come more than once: {', '.join(twice[:3])}")
    return tuple(names)


def joined(names: Sequence[str], more: Iterable[str]) -> tuple[str, ...]:
    """``names`` and those of ``more`` with another prompt (``Clean and jerk`` has that of ``CleanAndJerk``)."""
    spelt: dict[str, str] = {}
    for name in (*names, *more):
        spelt.setdefault(prompt_name(name), name)
    return tuple(spelt.values())


def text_rows(vlm: Vlm, names: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "c e"]:
    """Unit text row of each class name: mean of its unit rows over ``templates``, normalised (Radford et al. 2021)."""
    if not names or not templates:
        raise ValueError(f"need at least one class name and one template, got {len(names)} and {len(templates)}")
    words = [prompt_name(name) for name in names]
    rows = [encode_text(vlm, [template.format(word) for word in words]) for template in templates]
    return normalize(torch.stack(rows).mean(dim=0), dim=1)


@torch.no_grad()
def encode_text(vlm: Vlm, texts: Sequence[str]) -> Float[Tensor, "n e"]:
    """Unit float32 rows of ``texts``, as open_clip's ``encode_text``; ValueError for a text longer than the tower."""
    parts = _tokens(vlm, texts).split(AT_ONCE)
    return torch.cat([_rows(vlm.model, tokens_cl, pack(vlm.model, tokens_cl)) for tokens_cl in parts])


def learner_for(meta: dict[str, Any], names: Sequence[str], device: str = "cpu", **form: Any) -> PromptLearner:
    """The :func:`prompt_learner` of the text tower that made a VLP pack, by the pack's ``meta.json``."""
    seed = meta.get("origin", {}).get("seed", 0)
    return prompt_learner(load(meta["model"], meta["pretrained"], device, seed=seed, text_only=True), names, **form)


def prompt_learner(
    vlm: Vlm,
    names: Sequence[str],
    *,
    prefix: str = "a video of a person",
    before: int = 0,
    after: int = 0,
    seed: int = 0,
) -> PromptLearner:
    """Learnable prompts ``[before] class name [after]``, from the words of ``prefix`` on; names share all vectors.

    ``before`` counts all vectors in front of the class name, by default the tokens of ``prefix``; further ones stand
    first. These and the ``after`` vectors are drawn with :data:`CONTEXT_STD`. Raises ValueError for a tower without
    token embeddings, numbers that do not fit, and a text beyond the context.
    """
    embed = getattr(text_tower(vlm.model), "token_embedding", None)
    if embed is None:
        raise ValueError(f"{vlm.name} has a Hugging Face text tower; learnable prompts need a native open_clip one")
    x, y, prefix_x, prefix_y = _tokens(vlm, ["x", "y", f"{prefix} x", f"{prefix} y"])
    first, stop = (int((one != other).int().argmax()) for one, other in ((x, y), (prefix_x, prefix_y)))
    before = before or stop - first
    drawn = before - (stop - first)
    if not names or before < 1 or drawn < 0:
        raise ValueError(
            "need class names, and at least as many vectors before them as prefix has tokens: "
            f"got {len(names)} names, {before} before and prefix {prefix!r} of {stop - first} tokens"
        )

    def tokens(slot: str) -> tuple[Tensor, ...]:
        end = f" {slot}" * after or "."
        texts = [f"{f'{slot} ' * before}{prompt_name(name)}{end}" for name in names]
        return _tokens(vlm, texts, names, f" beside {before} + {after} context vectors").split(AT_ONCE)

    pairs = zip(tokens("x"), tokens("y"), strict=True)
    parts = [partial(_rows, vlm.model, x_cl, pack(vlm.model, x_cl), x_cl != y_cl) for x_cl, y_cl in pairs]
    generator, width = torch.Generator().manual_seed(seed), embed.weight.shape[1]
    front, behind = (CONTEXT_STD * torch.randn(count, width, generator=generator) for count in (drawn, after))
    context = torch.cat([front.to(vlm.device), embed(prefix_x[first:stop]).detach().float()]), behind.to(vlm.device)
    return PromptLearner(*context, lambda context_kw: torch.cat([rows(context_kw) for rows in parts]))


class Packed(NamedTuple):
    """Prompts in one sequence: the common beginning once, then each prompt's own tokens up to its end."""

    place_l: Int[Tensor, " l"]
    "where each token stands among the tokens (c, l), flattened"
    mask_ll: Float[Tensor, "l l"]
    "0 where a token sees another, minus infinity elsewhere"
    end_c: Int[Tensor, " c"]
    "where each prompt's pooled token stands in the sequence"


def text_tower(model: Any) -> Any:
    """The module that holds the text half: the model itself (CLIP) or its ``text`` (custom text towers)."""
    return getattr(model, "text", model)


def pack(model: Any, tokens_cl: Int[Tensor, "c l"]) -> Packed | None:
    """The prompts packed; None where the tower is not causal or does not pool at the end token."""
    tower = text_tower(model)
    pool = getattr(tower, "pool_type", getattr(tower, "text_pool_type", None))
    eos: Any = getattr(tower, "eos_id", getattr(tower, "text_eos_id", None))
    causal = isinstance(getattr(tower, "attn_mask", None), Tensor) and getattr(tower, "cls_emb", None) is None
    if not causal or pool not in ("argmax", "eos"):
        return None
    end_c = (tokens_cl if pool == "argmax" else torch.eq(tokens_cl, eos).int()).argmax(dim=1)
    common = (tokens_cl == tokens_cl[0]).all(dim=0).int().cumprod(dim=0).sum()
    shared = int(torch.minimum(common, end_c.min()))
    position = torch.arange(tokens_cl.shape[1], device=tokens_cl.device)
    keep_cl = (position >= shared) & (position <= end_c[:, None])
    keep_cl[0, :shared] = True  # the first prompt lends the others its beginning
    owner_l, position_l = keep_cl.nonzero(as_tuple=True)
    sees_ll = (position_l < shared) | (owner_l[:, None] == owner_l)
    sees_ll &= position_l <= position_l[:, None]
    mask_ll = torch.zeros(sees_ll.shape, device=tokens_cl.device).masked_fill(~sees_ll, -torch.inf)
    return Packed(keep_cl.flatten().nonzero()[:, 0], mask_ll, keep_cl.sum(dim=1).cumsum(dim=0) - 1)


def _rows(model: Any, tokens_cl: Int[Tensor, "c l"], packed: Packed | None, *learnt: Tensor) -> Float[Tensor, "c e"]:
    """Unit float32 rows, as of open_clip; ``learnt``: where context vectors stand (c, l), and these (k, w)."""
    tower = text_tower(model)

    def put(word_clw: Tensor) -> Tensor:
        slot_cl, context_kw = learnt
        which_cl = slot_cl.cumsum(dim=1).sub(1).clamp(min=0)
        return torch.where(slot_cl[..., None], context_kw.to(word_clw.dtype)[which_cl], word_clw)

    if packed is None:
        with tower.token_embedding.register_forward_hook(lambda *args: put(args[2])) if learnt else nullcontext():
            return normalize(model.encode_text(tokens_cl).float(), dim=1)
    dtype, word_clw = tower.transformer.get_cast_dtype(), tower.token_embedding(tokens_cl)
    word_lw = (put(word_clw) if learnt else word_clw).flatten(0, 1)[packed.place_l].to(dtype)
    position_lw = tower.positional_embedding[packed.place_l % tokens_cl.shape[1]].to(dtype)
    row_cw = tower.ln_final(tower.transformer((word_lw + position_lw)[None], attn_mask=packed.mask_ll)[0, packed.end_c])
    if isinstance(tower.text_projection, nn.Linear):
        row_cw = tower.text_projection(row_cw)
    elif tower.text_projection is not None:
        row_cw = row_cw @ tower.text_projection
    return normalize(row_cw.float(), dim=1)


def _tokens(vlm: Vlm, texts: Sequence[str], names: Sequence[str] | None = None, note: str = "") -> Int[Tensor, "c l"]:
    """Token ids, padded to the context length. Raises ValueError for a text that does not fit, by its name."""
    length = vlm.model.context_length
    tokens = vlm.tokenizer(list(texts), context_length=length)
    whole = vlm.tokenizer(list(texts), context_length=4 * length)[:, :length]
    for name in [name for name, cut in zip(names or texts, (tokens != whole).any(dim=1), strict=True) if cut]:
        raise ValueError(f"text does not fit into the {length} tokens of {vlm.name}{note}, shorten it: {name[:80]!r} …")
    return tokens.to(vlm.device)
