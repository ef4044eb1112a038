"""The two trainable branches. Both turn a batch of snippet features into class logits and a foreground attention."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch

Moments = tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]
"mean and standard deviation of each dimension over the training videos"


class Output(NamedTuple):
    """A branch's output for every snippet."""

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
    """Features at zero mean and unit deviation by the training videos' moments; one that never varies becomes 0."""

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
        """``(x - mean) / deviation`` in one pass."""
        return torch.addcmul(self.shift, x, self.scale)


class Gate(nn.Module):
    """Fused ReLU, dropout and padding mask: PyTorch's own dropout takes a quarter of a small step's time on a CPU."""

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
        open_bth = torch.ops.aten.threshold_backward(functional.relu(x), byte_bth, self.dropped - 0.5)
        return open_bth * (open_bt1 * (256 / max(1, 256 - self.dropped)))


class Convolution(nn.Linear):
    """Three-snippet temporal convolution as one matrix product, much faster than conv1d on a CPU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(3 * width, hidden)
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t h"]:
        """``W0 x[t-1] + W1 x[t] + W2 x[t+1] + bias``, zeros beyond both ends."""
        around = functional.pad(x, (0, 0, 1, 1))
        return super().forward(torch.cat([around[:, :-2], x, around[:, 2:]], dim=2))


class Temporal(nn.Module):
    """Features to hidden channels, each snippet seeing its neighbours; padded rows stay zero throughout."""

    def __init__(self, width: int, config: Branch) -> None:
        super().__init__()
        hidden, self.kind = config.hidden, config.temporal
        self.gate, self.enter = Gate(config.dropout), nn.Linear(width, hidden)
        kinds: dict[str, Callable[[], nn.Module]] = {
            "conv": lambda: Convolution(hidden, hidden),
            "none": lambda: nn.Linear(hidden, hidden),
            "transformer": lambda: nn.TransformerEncoderLayer(
                hidden, max(1, hidden // 64), 2 * hidden, config.dropout, "gelu", batch_first=True, norm_first=True
            ),
        }
        self.layers = nn.ModuleList(kinds[self.kind]() for _ in range(config.layers))

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


class Vanilla(nn.Module):
    """Vision-language pre-training without any training, in the form of a branch."""

    text: Tensor

    def __init__(self, text_ce: Float[Tensor, "c e"], logit_scale: float) -> None:
        super().__init__()
        self.register_buffer("text", functional.normalize(text_ce.float(), dim=1))
        self.logit_scale = logit_scale

    def forward(self, z: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Output:
        """Softmax of ``logit_scale * cos(z, w_c)``, attention 1; and no background: its logit is minus infinity."""
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 would round away what tells snippets apart
            logit = self.logit_scale * functional.normalize(z.float(), dim=2) @ self.text.T
        return Output(functional.pad(logit, (0, 1), value=-torch.inf), torch.ones_like(logit[..., 0]))
