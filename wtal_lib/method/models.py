"""The two trainable branches. Both turn a batch of snippet features into class logits and a foreground attention."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch

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
    shift: Tensor

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        mean, deviation = (torch.from_numpy(moment).float() for moment in moments)
        least = 1e-3 * deviation.mean().clamp(min=1e-12)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", torch.where(deviation > least, 1 / deviation.clamp(min=least), 0.0))
        self.register_buffer("shift", -self.mean * self.scale)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """``(x - mean) / deviation`` in one pass; a dimension that never varies becomes 0."""
        return torch.addcmul(self.shift, x, self.scale)


class Gate(nn.Module):
    """Rectifier, dropout and mask in one: PyTorch's own draws take a quarter of a small step's time on a CPU."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(256 * share)
        "values of a random byte, of 256, that silence a channel"

    def forward(self, x: Float[Tensor, "b t h"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t h"]:
        """``relu(x)`` at real snippets, 0 in the padding; in training a share of the values at 0, the mean kept."""
        open_bt1 = mask[:, :, None].to(x.dtype)
        if not self.training or not self.dropped:
            return functional.relu(x) * open_bt1
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        byte_bth = words.view(torch.uint8)[: x.numel()].view(x.shape).to(x.dtype)
        # the kernel behind relu's gradient: its first argument where the second exceeds the third, else 0
        kept = torch.ops.aten.threshold_backward(functional.relu(x), byte_bth, self.dropped - 0.5)
        return kept * (open_bt1 * (256 / max(1, 256 - self.dropped)))


class Neighbours(torch.autograd.Function):
    """Each snippet beside the one before and the one after it, zeros beyond both ends: (b, t, d) to (b, t, 3 d)."""

    @staticmethod
    def forward(ctx: Any, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t n"]:
        """Rows ``[x[t-1], x[t], x[t+1]]``."""
        b, t, d = x.shape
        beside = x.new_empty(b, t, 3, d)
        beside[:, :1, 0] = 0
        beside[:, 1:, 0] = x[:, :-1]
        beside[:, :, 1] = x
        beside[:, :-1, 2] = x[:, 1:]
        beside[:, -1:, 2] = 0
        return beside.view(b, t, 3 * d)

    @staticmethod
    def backward(ctx: Any, *grads: Float[Tensor, "b t n"]) -> Float[Tensor, "b t d"]:
        """Each snippet's gradient from the three rows it stands in."""
        grad = grads[0].unflatten(2, (3, -1))
        total = grad[:, :, 1].clone()
        total[:, :-1] += grad[:, 1:, 0]
        total[:, 1:] += grad[:, :-1, 2]
        return total


class Convolution(nn.Linear):
    """Three-snippet temporal convolution as one matrix product, much faster than conv1d on a CPU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(3 * width, hidden)
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t h"]:
        """``W0 x[t-1] + W1 x[t] + W2 x[t+1] + bias``, zeros beyond both ends."""
        return super().forward(Neighbours.apply(x))


class Temporal(nn.Module):
    """Features to hidden channels, each snippet seeing its neighbours; padded rows stay zero throughout."""

    def __init__(self, width: int, config: Branch) -> None:
        super().__init__()
        hidden = config.hidden
        self.gate = Gate(config.dropout)
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
        hidden = self.gate(self.enter(x), mask)
        for layer in self.layers:
            if self.kind == "transformer":
                hidden = layer(hidden, src_key_padding_mask=~mask) * mask[:, :, None]
            else:
                hidden = hidden + self.gate(layer(hidden), mask)
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
    ``logit_scale * cos(z, w_c)``, up to a constant a class.
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
        adapted, text = z + self.residual(hidden), self.text().float()
        telling = self.log_scale.exp() * (text - text.mean(dim=0))
        length = adapted.square().sum(dim=2, keepdim=True).clamp(min=1e-24).sqrt()
        with torch.autocast(z.device.type, enabled=False):  # what all images share would drown the rest in bfloat16
            logit = adapted @ telling.T / length - self.standardise.mean @ telling.T
        background, attention = self.background(hidden).float(), self.attend(hidden).float().sigmoid()
        return Output(torch.cat([logit, background], dim=2), attention[..., 0])


def vanilla_vlp(z: Float[Tensor, "b t e"], text: Float[Tensor, "c e"], logit_scale: float) -> Output:
    """Vision-language pre-training without any training: softmax of ``logit_scale * cos(z, w_c)``, attention 1.

    There is no background class to choose: its logit is minus infinity.
    """
    with torch.autocast(z.device.type, enabled=False):  # bfloat16 would round away what tells snippets apart
        logit = logit_scale * functional.normalize(z.float(), dim=2) @ functional.normalize(text.float(), dim=1).T
    background = torch.full_like(logit[..., :1], -torch.inf)
    return Output(torch.cat([logit, background], dim=2), torch.ones_like(logit[..., 0]))
