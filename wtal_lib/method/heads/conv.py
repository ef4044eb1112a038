"""Our CBP branch: a temporal convolution (or transformer) over all features, a classifier and an attention."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, nn

from wtal_lib.method.config import Branch
from wtal_lib.method.layers import Moments, Rescale, Temporal
from wtal_lib.method.models import Output


class CbpBranch(nn.Module):
    """The classification-based branch: a temporal model over I3D features, a classifier and an attention."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        self.rescale = Rescale(moments)
        self.temporal = Temporal(len(moments[0]), config, self.rescale.floor(moments))
        self.classify, self.attend = nn.Linear(config.hidden, classes + 1), nn.Linear(config.hidden, 1)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits and attention of each snippet of a batch of CBP features."""
        hidden = self.temporal(self.rescale(x, mask), mask)
        logit, attention = self.classify(hidden).float(), self.attend(hidden).float().sigmoid()
        return Output.attended(logit, attention, self.classify.bias)
