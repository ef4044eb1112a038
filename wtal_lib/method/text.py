"""Class rows of text that learn: given rows with a residual, or prompts with learnable context vectors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


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
    """Class rows from prompts ``[before] class name [after]`` with learnable vectors shared by all classes.

    In front only: CoOp (Zhou et al. 2022); 16 on either side: Efficient-Prompt (Ju et al. 2022). Only they are trained.
    """

    def __init__(
        self, before_kw: Float[Tensor, "k w"], after_kw: Float[Tensor, "j w"], class_rows: Callable[[Tensor], Tensor]
    ) -> None:
        """``class_rows`` maps all context vectors (k + j, w) to unit rows (c, e) through a frozen text tower."""
        super().__init__()
        self.context = nn.Parameter(before_kw.detach().float())
        self.context_after = nn.Parameter(after_kw.detach().float()) if len(after_kw) else None
        self.class_rows = class_rows
        self._cache: tuple[Tensor, torch.dtype, Tensor] | None = None

    def forward(self) -> Float[Tensor, "c e"]:
        """Unit class rows; cached while no gradient is needed and the context keeps its values."""
        context_kw = self.context if self.context_after is None else torch.cat([self.context, self.context_after])
        if torch.is_grad_enabled() and context_kw.requires_grad:
            return self.class_rows(context_kw)
        kind = context_kw.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        if self._cache is None or self._cache[1] != dtype or not torch.equal(self._cache[0], context_kw):
            with torch.inference_mode(False), torch.no_grad():
                context_kw = context_kw.detach().clone()
                self._cache = (context_kw, dtype, self.class_rows(context_kw))
        return self._cache[2]
