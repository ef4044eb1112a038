"""The two trainable branches. Both turn a batch of snippet features into class logits and a foreground attention."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch
from wtal_lib.method.layers import Moments, Rescale, Standardise, Temporal


class Output(NamedTuple):
    """A branch's output for every snippet; k = c + 1 columns of logits, background last."""

    logit: Float[Tensor, "b t k"]
    attention: Float[Tensor, "b t"]
    "probability that the snippet is foreground, whatever the class"
    suppressed: Float[Tensor, "b t k"]
    "logits of the features times attention: at attention 0 the classifier's bias alone is left (BaS-Net)"
    extra: Mapping[str, Tensor] = {}
    "what a head's own losses need"

    def activation(self) -> Float[Tensor, "b t c"]:
        """Class activation sequence in [0, 1]: softmax over the classes and background, background left out."""
        return self.logit.float().softmax(dim=2)[..., :-1]

    def score(self) -> Float[Tensor, "b t c"]:
        """Class activation of the attended features (BaS-Net's suppression branch): what is thresholded and teaches."""
        return self.suppressed.float().softmax(dim=2)[..., :-1]


class CbpBranch(nn.Module):
    """The classification-based branch: a temporal model over I3D features, a classifier and an attention."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        self.rescale = Rescale(moments)
        self.temporal = Temporal(len(moments[0]), config)
        self.classify = nn.Linear(config.hidden, classes + 1)
        self.attend = nn.Linear(config.hidden, 1)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits and attention of each snippet of a batch of CBP features."""
        hidden = self.temporal(self.rescale(x, mask), mask)
        logit, attention = self.classify(hidden).float(), self.attend(hidden).float().sigmoid()
        bias = self.classify.bias
        return Output(logit, attention[..., 0], torch.lerp(bias.expand_as(logit), logit, attention))


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
        hidden = self.temporal(self.standardise(z, mask), mask)
        adapted, text = z + self.residual(hidden), self.text().float()
        row_ce = self.log_scale.exp() * (text - text.mean(dim=0))
        length = adapted.square().sum(dim=2, keepdim=True).clamp(min=1e-24).sqrt()
        with torch.autocast(z.device.type, enabled=False):  # what all images share would drown the rest in bfloat16
            class_logit = adapted @ row_ce.T / length - self.standardise.mean @ row_ce.T
        logit = torch.cat([class_logit, self.background(hidden).float()], dim=2)
        attention = self.attend(hidden).float().sigmoid()
        bias = functional.pad(self.background.bias, (len(text), 0))
        return Output(logit, attention[..., 0], torch.lerp(bias.expand_as(logit), logit, attention))


class Vanilla(nn.Module):
    """Vision-language pre-training without any training, in the form of a branch."""

    text: Tensor

    def __init__(self, text_ce: Float[Tensor, "c e"], logit_scale: float) -> None:
        super().__init__()
        self.register_buffer("text", functional.normalize(text_ce.float(), dim=1))
        self.logit_scale = logit_scale

    def forward(self, z: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Output:
        """Logits ``logit_scale * cos(z, w_c)``, attention 1; there is no background: its logit is minus infinity."""
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 would round away what tells snippets apart
            logit = self.logit_scale * functional.normalize(z.float(), dim=2) @ self.text.T
        logit = functional.pad(logit, (0, 1), value=-torch.inf)
        return Output(logit, torch.ones_like(logit[..., 0]), logit)
