"""The two trainable branches. Both turn a batch of snippet features into class logits and a foreground attention."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.config import Branch

Moments = tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]
"mean and standard deviation of each dimension over the training videos"


class Output(NamedTuple):
    """What a branch says of each snippet."""

    logit: Float[Tensor, "b t k"]
    "class logits, background last (k = c + 1)"
    attention: Float[Tensor, "b t"]
    "probability that the snippet is foreground, whatever the class"

    def activation(self) -> Float[Tensor, "b t c"]:
        """Class activation sequence in [0, 1]: softmax over the classes and background, background left out."""
        return self.logit.float().softmax(dim=2)[..., :-1]

    def score(self) -> Float[Tensor, "b t c"]:
        """Class activation times attention: what is thresholded and what teaches."""
        return self.activation() * self.attention.float()[:, :, None]


class Standardise(nn.Module):
    """Features at zero mean and unit deviation by the training set's moments: a pack's scale does not matter."""

    mean: Tensor
    scale: Tensor

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        mean, deviation = (torch.from_numpy(moment).float() for moment in moments)
        least = 1e-3 * deviation.mean().clamp(min=1e-12)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", torch.where(deviation > least, 1 / deviation.clamp(min=least), 0.0))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """``(x - mean) / deviation``; a dimension that never varies becomes 0."""
        return (x - self.mean) * self.scale


class Dropout(nn.Module):
    """Dropout from one random byte a channel: PyTorch's own draws take half of a small step's time on a CPU."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(256 * share)
        "bytes of 256 that silence a channel"

    def forward(self, x: Float[Tensor, "b t h"]) -> Float[Tensor, "b t h"]:
        """In training, a share of the values at 0 and the others scaled up to keep the mean; else ``x``."""
        if not self.training or not self.dropped:
            return x
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped
        return x * kept * (256 / max(1, 256 - self.dropped))


class Convolution(nn.Module):
    """Three-snippet temporal convolution as one matrix product and two shifts, much faster than conv1d on a CPU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.taps = nn.Linear(width, 3 * hidden, bias=False)
        self.bias = nn.Parameter(torch.zeros(hidden))
        nn.init.kaiming_uniform_(self.taps.weight, a=math.sqrt(15))

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t h"]:
        """``W0 x[t-1] + W1 x[t] + W2 x[t+1] + bias``, zeros beyond both ends."""
        before, here, after = self.taps(x).chunk(3, dim=2)
        shifted = here + self.bias
        shifted[:, 1:] += before[:, :-1]
        shifted[:, :-1] += after[:, 1:]
        return shifted


class Temporal(nn.Module):
    """Features to hidden channels, each snippet seeing its neighbours; padded rows stay zero throughout."""

    def __init__(self, width: int, config: Branch) -> None:
        super().__init__()
        hidden = config.hidden
        self.drop = Dropout(config.dropout)
        self.kind = config.temporal
        self.enter = nn.Linear(width, hidden)
        if config.temporal == "conv":
            self.layers = nn.ModuleList(Convolution(hidden, hidden) for _ in range(config.layers))
        elif config.temporal == "transformer":
            heads = max(1, hidden // 64)
            self.layers = nn.ModuleList(
                nn.TransformerEncoderLayer(
                    hidden, heads, 2 * hidden, config.dropout, batch_first=True, norm_first=True, activation="gelu"
                )
                for _ in range(config.layers)
            )
        else:
            self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(config.layers))

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t h"]:
        """Hidden channels of each real snippet, zeros elsewhere."""
        hidden = self.drop(functional.relu(self.enter(x))) * mask[:, :, None]
        for layer in self.layers:
            if self.kind == "transformer":
                hidden = layer(hidden, src_key_padding_mask=~mask)
            else:
                hidden = hidden + self.drop(functional.relu(layer(hidden)))
            hidden = hidden * mask[:, :, None]
        return hidden


class CbpBranch(nn.Module):
    """The classification-based branch: a temporal model over I3D features, a classifier and an attention."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        self.standardise = Standardise(moments)
        self.temporal = Temporal(len(moments[0]), config)
        self.classify = nn.Linear(config.hidden, classes + 1)
        self.attend = nn.Linear(config.hidden, 1)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits and attention of each snippet of a batch of CBP features."""
        hidden = self.temporal(self.standardise(x), mask)
        return Output(self.classify(hidden).float(), self.attend(hidden).float().sigmoid()[..., 0])


class VlpBranch(nn.Module):
    """The vision-language branch: a residual on frozen image embeddings, compared with the class rows of a text module.

    ``text`` returns unit rows (c, e); at the start the residual is zero, so that the class logits are vanilla VLP's:
    ``logit_scale * cos(z, w_c)``.
    """

    def __init__(self, moments: Moments, text: nn.Module, logit_scale: float, config: Branch) -> None:
        super().__init__()
        self.standardise = Standardise(moments)
        self.temporal = Temporal(len(moments[0]), config)
        self.residual = nn.Linear(config.hidden, len(moments[0]))
        nn.init.zeros_(self.residual.weight)
        nn.init.zeros_(self.residual.bias)
        self.text = text
        self.log_scale = nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.background = nn.Linear(config.hidden, 1)
        self.attend = nn.Linear(config.hidden, 1)

    def forward(self, z: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits and attention of each snippet of a batch of VLP embeddings."""
        hidden = self.temporal(self.standardise(z), mask)
        adapted = functional.normalize(z + self.residual(hidden).float(), dim=2)
        text = self.text()
        logit = self.log_scale.exp() * (adapted - self.standardise.mean) @ (text - text.mean(dim=0)).T
        return Output(
            torch.cat([logit, self.background(hidden).float()], dim=2), self.attend(hidden).float().sigmoid()[..., 0]
        )


def vanilla_vlp(z: Float[Tensor, "b t e"], text: Float[Tensor, "c e"], logit_scale: float) -> Output:
    """Vision-language pre-training without any training: softmax of ``logit_scale * cos(z, w_c)``, attention 1.

    There is no background class to choose: its logit is minus infinity.
    """
    logit = logit_scale * functional.normalize(z, dim=2) @ functional.normalize(text, dim=1).T
    background = torch.full_like(logit[..., :1], -torch.inf)
    return Output(torch.cat([logit, background], dim=2), torch.ones_like(logit[..., 0]))
