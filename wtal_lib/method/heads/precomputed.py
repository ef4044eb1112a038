"""Another method's scores as a branch: nothing is trained, what it is given is what it puts out."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from wtal_lib.method.models import Output


class Precomputed(nn.Module):
    """A frozen branch over probabilities of the classes and background (:mod:`wtal_lib.runs.precomputed`)."""

    least: Tensor

    def __init__(self, *_: object) -> None:
        super().__init__()
        self.register_buffer("least", torch.tensor(1e-9))

    def forward(self, x: Float[Tensor, "b t k"], mask: Bool[Tensor, "b t"]) -> Output:
        """Their logarithms as logits, so that softmax gives them back; attention is one minus the background's."""
        logit = x.maximum(self.least).log()
        return Output(logit, 1 - x[..., -1], logit)
