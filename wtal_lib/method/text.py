"""Class rows of text: prompt templates, learnable prompts, a learnable residual.

Causal text towers get their prompts *packed* into one sequence: what all prompts begin with (start token, context)
stands once, each prompt's own words follow, nothing is padded, a mask keeps the prompts apart. A causal token never
sees what comes after it, so the rows are exactly those of open_clip's ``encode_text`` on padded prompts, many times
cheaper.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.data.datasets import DATASETS, prompt_name
from wtal_lib.data.files import readable

TEMPLATES: dict[str, tuple[str, ...]] = {
    **{name: dataset.templates for name, dataset in DATASETS.items()},
    "open": (
        "a video of a person {}.",
        "a video of a person doing {}.",
        "a photo of a person {}.",
        "a video of {}.",
    ),
}
"prompt templates by dataset, after CLIP's own for Kinetics; ``open`` serves any list of class names"


@runtime_checkable
class TextModel(Protocol):
    """What prompts need of a loaded model (a ``vlm.Vlm``): its text half, its tokenizer, where it is."""

    @property
    def model(self) -> Any:
        """The model, as open_clip builds it."""

    @property
    def tokenizer(self) -> Callable[..., Tensor]:
        """Texts to token ids."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""


@torch.no_grad()
def encode_text(vlm: TextModel, texts: Sequence[str], at_once: int = 128) -> Float[Tensor, "n e"]:
    """Unit float32 rows of ``texts``: equal to open_clip's ``encode_text``, by packed prompts where that is exact."""
    rows = []
    for start in range(0, len(texts), at_once):
        tokens = _tokens(vlm, texts[start : start + at_once])
        packed = pack(vlm.model, tokens)
        if packed is None:
            rows.append(functional.normalize(vlm.model.encode_text(tokens).float(), dim=1))
        else:
            rows.append(packed_rows(vlm.model, text_tower(vlm.model).token_embedding(packed.token_l), packed))
    return torch.cat(rows)


def joined(names: Sequence[str], more: Iterable[str]) -> tuple[str, ...]:
    """``names`` and those of ``more`` whose prompt is another: Clean and jerk adds nothing to CleanAndJerk."""
    spelt: dict[str, str] = {}
    for name in (*names, *more):
        spelt.setdefault(prompt_name(name), name)
    return tuple(spelt.values())


def text_rows(vlm: TextModel, names: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "c e"]:
    """Unit text row of each class name: mean of its unit rows over ``templates``, normalised (Radford et al. 2021)."""
    if not names or not templates:
        raise ValueError(f"need at least one class name and one template, got {len(names)} and {len(templates)}")
    words = [prompt_name(name) for name in names]
    rows = [encode_text(vlm, [template.format(word) for word in words]) for template in templates]
    return functional.normalize(torch.stack(rows).mean(dim=0), dim=1)


def read_classes(path: str | Path) -> tuple[str, ...]:
    """Class names of a text file, one a line, or of a json list.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no names, a blank one, or one that comes twice (spelt so that its prompt is the same).
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file of class names: {path}")
    expected = "one class name a line, or a json list of them"
    with readable(path, expected, "mend it"):
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


class TextResidual(nn.Module):
    """Given text rows with a learnable residual, for packs that bring rows but no text tower; zero at the start."""

    text_ce: Tensor

    def __init__(self, text_ce: Float[Tensor, "c e"]) -> None:
        super().__init__()
        self.register_buffer("text_ce", functional.normalize(text_ce.float(), dim=1))
        self.residual = nn.Parameter(torch.zeros_like(self.text_ce))

    def forward(self) -> Float[Tensor, "c e"]:
        """Unit rows ``normalize(text + residual)``."""
        return functional.normalize(self.text_ce + self.residual, dim=1)


class PromptLearner(nn.Module):
    """Class rows from prompts whose first words are learnable vectors, the text tower frozen (CoOp, Zhou et al. 2022).

    A prompt is ``[context] class name.``; the context is shared by all classes. It starts as the word embeddings of
    ``init``; ``n_ctx`` beyond their number puts drawn vectors in front (standard deviation 0.02, as in CoOp). Only the
    context is trained and saved; the tower is shared between copies. Text towers of Hugging Face are refused.
    """

    def __init__(
        self, vlm: TextModel, names: Sequence[str], n_ctx: int = 0, init: str = "a video of a person", seed: int = 0
    ) -> None:
        super().__init__()
        embed = getattr(text_tower(vlm.model), "token_embedding", None)
        if embed is None:
            raise ValueError(f"{vlm.name} has a Hugging Face text tower; learnable prompts need a native open_clip one")
        first = _first_difference(vlm, "x", "y")
        words = _tokens(vlm, [f"{init} x"])[0, first : _first_difference(vlm, f"{init} x", f"{init} y")]
        n_ctx = n_ctx or len(words)
        if not (names and n_ctx and n_ctx >= len(words)):
            raise ValueError(
                "need class names, and at least as many context vectors as init has tokens: "
                f"got {len(names)} names, n_ctx {n_ctx} and init {init!r} of {len(words)} tokens"
            )
        slots = "x " * n_ctx
        tokens = _tokens(vlm, [f"{slots}{prompt_name(name)}." for name in names])
        packed = pack(vlm.model, tokens)
        self.vlm, self.packed, self.tokens = vlm, packed, tokens
        self.slots = slice(first, first + n_ctx)
        self._cache: tuple[Tensor, torch.dtype, Tensor] | None = None
        generator = torch.Generator().manual_seed(seed)
        drawn = 0.02 * torch.randn(n_ctx - len(words), embed.weight.shape[1], generator=generator)
        self.context = nn.Parameter(torch.cat([drawn.to(vlm.device), embed(words).detach().float()]))

    def forward(self) -> Float[Tensor, "c e"]:
        """Unit class rows; computed once for as long as no gradient is asked for and the context keeps its values."""
        if torch.is_grad_enabled() and self.context.requires_grad:
            return self._rows()
        kind = self.context.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        if self._cache is None or self._cache[1] != dtype or not torch.equal(self._cache[0], self.context):
            with torch.inference_mode(False), torch.no_grad():
                self._cache = (self.context.detach().clone(), dtype, self._rows())
        return self._cache[2]

    def _rows(self) -> Float[Tensor, "c e"]:
        tower, slots = text_tower(self.vlm.model), self.slots
        if self.packed is not None:
            word_lw = tower.token_embedding(self.packed.token_l)
            word_lw = torch.cat([word_lw[: slots.start], self.context.to(word_lw.dtype), word_lw[slots.stop :]])
            return packed_rows(self.vlm.model, word_lw, self.packed)

        def put(module: nn.Module, tokens: Any, word_clw: Tensor) -> Tensor:
            context = self.context.to(word_clw.dtype).expand(len(word_clw), -1, -1)
            return torch.cat([word_clw[:, : slots.start], context, word_clw[:, slots.stop :]], dim=1)

        hook = tower.token_embedding.register_forward_hook(put)
        try:
            return functional.normalize(self.vlm.model.encode_text(self.tokens).float(), dim=1)
        finally:
            hook.remove()


class Packed(NamedTuple):
    """Prompts in one sequence: the common beginning once, then each prompt's own tokens up to its end."""

    token_l: Int[Tensor, " l"]
    position_l: Int[Tensor, " l"]
    "place in its own prompt: which positional embedding it gets"
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
    place_l = torch.arange(tokens_cl.shape[1], device=tokens_cl.device)
    own_cl = (place_l >= shared) & (place_l <= end_c[:, None])
    owner_l, position_l = own_cl.nonzero(as_tuple=True)  # prompt by prompt, in order
    owner_l = torch.cat([place_l.new_full((shared,), -1), owner_l])
    position_l = torch.cat([place_l[:shared], position_l])
    sees_ll = (owner_l == -1) | (owner_l[:, None] == owner_l)
    sees_ll &= position_l <= position_l[:, None]
    mask_ll = torch.zeros(sees_ll.shape, device=tokens_cl.device).masked_fill(~sees_ll, -torch.inf)
    token_l = torch.cat([tokens_cl[0, :shared], tokens_cl[own_cl]])
    return Packed(token_l, position_l, mask_ll, shared - 1 + (end_c - shared + 1).cumsum(dim=0))


def packed_rows(model: Any, word_lw: Float[Tensor, "l w"], packed: Packed) -> Float[Tensor, "c e"]:
    """Unit float32 text rows of packed word embeddings: open_clip's text forward, with the last norm on ends only."""
    tower = text_tower(model)
    dtype = tower.transformer.get_cast_dtype()
    x_1lw = (word_lw.to(dtype) + tower.positional_embedding[packed.position_l].to(dtype))[None]
    row_cw = tower.ln_final(tower.transformer(x_1lw, attn_mask=packed.mask_ll)[0, packed.end_c])
    projection = tower.text_projection
    if isinstance(projection, nn.Linear):
        row_cw = projection(row_cw)
    elif projection is not None:
        row_cw = row_cw @ projection
    return functional.normalize(row_cw.float(), dim=1)


def _tokens(vlm: TextModel, texts: Sequence[str]) -> Int[Tensor, "c l"]:
    """Token ids, padded to the context length. Raises ValueError for a text that does not fit."""
    length = vlm.model.context_length
    tokens = vlm.tokenizer(list(texts), context_length=length)
    whole = vlm.tokenizer(list(texts), context_length=4 * length)[:, :length]
    for text in [t for t, cut in zip(texts, (tokens != whole).any(dim=1), strict=True) if cut]:
        raise ValueError(f"text does not fit into the {length} tokens of {vlm.name}, shorten it: {text[:80]!r} …")
    return tokens.to(vlm.device)


def _first_difference(vlm: TextModel, one: str, other: str) -> int:
    """Position of the first token in which two texts differ."""
    a, b = _tokens(vlm, [one, other])
    return int((a != b).int().argmax())
