"""What a branch puts out, the VLP branch and vanilla VLP; the CBP branch is one of ``heads/``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.compute import arithmetic
from wtal_lib.method.config import Branch
from wtal_lib.method.layers import Moments, Standardise, Temporal
from wtal_lib.method.pooling import top_k_mean


class Output(NamedTuple):
    """A branch's output for every snippet; k = c + 1 columns of logits, background last."""

    logit: Float[Tensor, "b t k"]
    attention: Float[Tensor, "b t"]
    "probability that the snippet is foreground, whatever the class"
    suppressed: Float[Tensor, "b t k"]
    "logits of the features times attention: at attention 0 the classifier's bias alone is left (BaS-Net)"
    extra: Mapping[str, Tensor] = {}
    "what a head's own losses need"

    @classmethod
    def attended(cls, logit: Tensor, attention: Float[Tensor, "b t 1"], bias: Float[Tensor, " k"]) -> Output:
        """The output of a linear classifier whose features are weighted: ``bias + attention * (logit - bias)``."""
        logit, attention = logit.float(), attention.float()
        return cls(logit, attention[..., 0], torch.lerp(bias.expand_as(logit), logit, attention))

    def activation(self) -> Float[Tensor, "b t c"]:
        """Class activation sequence in [0, 1]: softmax over the classes and background, background left out."""
        return self.logit.float().softmax(dim=2)[..., :-1]

    def score(self) -> Float[Tensor, "b t c"]:
        """Class activation of the attended features (BaS-Net's suppression branch): what is thresholded and teaches."""
        return self.suppressed.float().softmax(dim=2)[..., :-1]


class VlpBranch(nn.Module):
    """The vision-language branch: a residual on frozen image embeddings, compared with the class rows of a text module.

    ``text`` returns unit rows (c, e); at the start the residual is zero, so that the class logits are vanilla VLP's:
    ``logit_scale * cos(z, w_c)``, up to a constant a class.
    """

    def __init__(self, moments: Moments, text: nn.Module, logit_scale: float, config: Branch) -> None:
        super().__init__()
        self.standardise, self.temporal = Standardise(moments), Temporal(len(moments[0]), config)
        self.residual = nn.Linear(config.hidden, len(moments[0]))
        nn.init.zeros_(self.residual.weight)
        nn.init.zeros_(self.residual.bias)
        self.text, self.log_scale = text, nn.Parameter(torch.tensor(math.log(logit_scale)))
        self.background, self.attend = nn.Linear(config.hidden, 1), nn.Linear(config.hidden, 1)

    def forward(self, z: Float[Tensor, "b t e"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits and attention of each snippet of a batch of VLP embeddings."""
        hidden = self.temporal(self.standardise(z, mask), mask)
        adapted, text = z + self.residual(hidden), self.text().float()
        row_ce = self.log_scale.exp() * (text - text.mean(dim=0))
        length = adapted.square().sum(dim=2, keepdim=True).clamp(min=1e-24).sqrt()
        with torch.autocast(z.device.type, enabled=False):  # what all images share would drown the rest in bfloat16
            class_logit = adapted @ row_ce.T / length - self.standardise.mean @ row_ce.T
        logit = torch.cat([class_logit, self.background(hidden).float()], dim=2)
        bias = functional.pad(self.background.bias, (len(text), 0))
        return Output.attended(logit, self.attend(hidden).float().sigmoid(), bias)


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


@torch.inference_mode()
def whole_videos(
    branch: nn.Module, names: Iterable[str], rows: Callable[[str], np.ndarray], precision: str = "auto"
) -> Iterator[tuple[str, Output]]:
    """Name and output (1, t, …) of each video, float32 on the CPU; ``rows`` gives a video's features (t, d)."""
    device = next((value.device for value in branch.state_dict().values()), torch.device("cpu"))
    for name in names:  # a copy of its own: PyTorch warns of arrays that cannot be written
        x = torch.from_numpy(np.array(rows(name), dtype=np.float32))[None].to(device)
        with arithmetic(precision, device.type):
            output = branch(x, torch.ones(x.shape[:2], dtype=torch.bool, device=device))
        yield name, Output(*(part.float().cpu() for part in output[:3]))


def video_level(output: Output, share: float) -> np.ndarray:
    """Video-level class probabilities (c,) of one video: softmax of pooled suppressed logits, without background."""
    mask = torch.ones(output.attention.shape, dtype=torch.bool)
    return top_k_mean(output.suppressed.clamp(min=-1e4), mask, share).softmax(dim=1)[0, :-1].numpy()
