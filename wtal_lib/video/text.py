"""Class names to unit text rows: prompt templates, prompts with learnable context, files of class names.

Causal text towers get their prompts *packed* into one sequence: what all prompts begin with (start token, context)
stands once, each prompt's own words follow, nothing is padded, and a mask keeps the prompts apart. A causal token never
sees what comes after it, so the rows equal those of open_clip's ``encode_text`` on padded prompts. A training step of
100 prompts with 16 vectors in front takes a 15th of the time at full length and a 4th of that cut to the longest
prompt; with 16 on either side, a 3rd and two 3rds (``tests/benchmarks/bench_vlm.py``, one core).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.files import readable
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
    """Class names of a text file, one a line, or of a json list.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no names, a blank one, or one that comes twice (spelt so that its prompt is the same).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of class names: {path}")
    with readable(path, "one class name a line, or a json list of them", "mend it"):
        text = path.read_text(encoding="utf-8-sig").rstrip()
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
    """``names`` and those of ``more`` whose prompt is another: Clean and jerk adds nothing to CleanAndJerk."""
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
    """Unit float32 rows of ``texts``, equal to those of open_clip's ``encode_text``.

    Raises:
        ValueError: a text has more tokens than the tower takes.
    """
    parts = _tokens(vlm, texts).split(AT_ONCE)
    return torch.cat([_rows(vlm.model, tokens_cl, pack(vlm.model, tokens_cl)) for tokens_cl in parts])


def learner_for(meta: dict[str, Any], names: Sequence[str], device: str = "cpu", **form: Any) -> PromptLearner:
    """Learnable prompts through the text tower of the model that made a VLP pack, by the pack's ``meta.json``.

    ``form`` and errors as of :func:`prompt_learner` and :func:`wtal_lib.video.vlm.load`.
    """
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
    """Learnable prompts ``[before] class name [after]``, starting from the words of ``prefix``.

    ``before`` counts all vectors in front of the class name, by default as many as ``prefix`` has tokens; further ones
    stand first. These and the ``after`` vectors behind the name are drawn with :data:`CONTEXT_STD`. In the code of
    Efficient-Prompt the vectors behind the name depend on its length; here all names share all vectors.

    Raises:
        ValueError: no class names, fewer vectors than ``prefix`` has tokens, a prompt that is longer than the tower
            takes, or a text tower of Hugging Face.
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

    def tokens(slot: str) -> Int[Tensor, "c l"]:
        end = f" {slot}" * after or "."
        texts = [f"{f'{slot} ' * before}{prompt_name(name)}{end}" for name in names]
        return _tokens(vlm, texts, names, f" beside {before} + {after} context vectors")

    x_cl, y_cl = tokens("x").split(AT_ONCE), tokens("y").split(AT_ONCE)
    parts = [_with_context(vlm.model, one_cl, one_cl != other_cl) for one_cl, other_cl in zip(x_cl, y_cl, strict=True)]
    generator, width = torch.Generator().manual_seed(seed), embed.weight.shape[1]
    front, behind = (CONTEXT_STD * torch.randn(count, width, generator=generator) for count in (drawn, after))
    words = embed(prefix_x[first:stop]).detach().float()
    context = torch.cat([front.to(vlm.device), words]), behind.to(vlm.device)
    return PromptLearner(*context, lambda context_kw: torch.cat([part(context_kw) for part in parts]))


def _with_context(
    model: Any, tokens_cl: Int[Tensor, "c l"], slot_cl: Bool[Tensor, "c l"]
) -> Callable[[Tensor], Tensor]:
    """Function from context vectors (k, w) to unit rows of prompts, with the vectors in the places ``slot_cl``."""
    packed = pack(model, tokens_cl)
    which, slot = slot_cl.cumsum(dim=1).sub(1).clamp(min=0), slot_cl[..., None]
    if packed is not None:
        which, slot = which.flatten()[packed.place_l], slot.flatten()[packed.place_l, None]
    return lambda context_kw: _rows(
        model, tokens_cl, packed, lambda word: torch.where(slot, context_kw.to(word.dtype)[which], word)
    )


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


def _rows(
    model: Any, tokens_cl: Int[Tensor, "c l"], packed: Packed | None, put: Callable[[Tensor], Tensor] | None = None
) -> Float[Tensor, "c e"]:
    """Unit float32 rows of prompts, some of whose word embeddings ``put`` may exchange for context vectors.

    Packed, it is open_clip's text forward with the last norm on the pooled tokens only.
    """
    tower = text_tower(model)
    if packed is None:
        with nullcontext() if put is None else tower.token_embedding.register_forward_hook(lambda *args: put(args[2])):
            return normalize(model.encode_text(tokens_cl).float(), dim=1)
    dtype = tower.transformer.get_cast_dtype()
    word_lw = tower.token_embedding(tokens_cl.flatten()[packed.place_l])
    word_lw = (word_lw if put is None else put(word_lw)).to(dtype)
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
