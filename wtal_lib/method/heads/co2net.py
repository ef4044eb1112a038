"""CO2-Net (Hong et al., ACM MM 2021, arXiv 2107.12589): RGB and flow filter each other and agree on the attention."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method import losses
from wtal_lib.method.config import Branch
from wtal_lib.method.layers import Convolution, Moments, Rescale
from wtal_lib.method.models import Output
from wtal_lib.method.pooling import masked_mean


class Consensus(nn.Module):
    """Cross-modal consensus module: the main modality gated by its own mean and by the auxiliary one (eq. 2 to 4)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.globally, self.locally = Convolution(width, width), Convolution(width, width)
        self.attend = nn.ModuleList([Convolution(width, hidden), Convolution(hidden, hidden)])
        self.dropout, self.last = nn.Dropout(0.5), nn.Linear(hidden, 1)

    def forward(self, main: Tensor, other: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The filtered features (b, t, d) and their attention (b, t)."""
        mean_b1d = (main * mask[:, :, None]).sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None].clamp(min=1)
        about, here = (
            self.dropout(_leaky(layer(x))) for layer, x in ((self.globally, mean_b1d), (self.locally, other))
        )
        filtered = hidden = (about * here).sigmoid() * main * mask[:, :, None]
        for layer in self.attend:
            hidden = self.dropout(_leaky(layer(hidden))) * mask[:, :, None]
        return filtered, self.last(hidden).float().sigmoid()[..., 0]


class CO2Net(nn.Module):
    """Two consensus modules, a fused classifier, and the mean of both attentions."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        width, hidden = len(moments[0]), config.hidden
        self.rescale, self.halves = Rescale(moments), (width // 2, width - width // 2)
        self.rgb, self.flow = (Consensus(half, hidden // 2) for half in self.halves)
        self.fuse, self.embed = nn.Linear(width, width), Convolution(width, hidden)
        self.dropout, self.classify = nn.Dropout(config.dropout), nn.Linear(hidden, classes + 1)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits and the mean attention of both modalities."""
        rgb, flow = self.rescale(x, mask).split(self.halves, dim=2)
        pair = functional.pad(rgb, (0, flow.shape[2] - rgb.shape[2]))[..., : flow.shape[2]], flow[..., : rgb.shape[2]]
        (rgb, by_rgb), (flow, by_flow) = self.rgb(rgb, pair[1], mask), self.flow(flow, pair[0], mask)
        fused = self.dropout(_leaky(self.fuse(torch.cat([rgb, flow], dim=2)))) * mask[:, :, None]
        logit = self.classify(self.dropout(_leaky(self.embed(self.dropout(fused))))).float()
        attention, least = (by_rgb + by_flow) / 2, logit.amin(dim=2, keepdim=True)
        suppressed = attention[:, :, None] * (logit - least) + least
        extra = {"rgb": by_rgb, "flow": by_flow, "embedding": fused.float()}
        return Output(logit, attention, suppressed, extra)

    def video_label_terms(
        self, output: Output, mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"], share: float
    ) -> dict[str, Tensor]:
        """The shared terms, mutual learning of both attentions (eq. 7) and co-activity similarity (W-TALC eq. 7)."""
        rgb, flow = output.extra["rgb"], output.extra["flow"]
        terms = losses.video_label_terms(output, mask, y, share)
        terms["mutual"] = (masked_mean((rgb - flow.detach()) ** 2 + (flow - rgb.detach()) ** 2, mask) / 2).mean()
        terms["casl"] = co_activity(output.suppressed[..., :-1], output.extra["embedding"], mask, y)
        return terms


def co_activity(
    logit: Float[Tensor, "b t c"], embedding: Float[Tensor, "b t h"], mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"]
) -> Float[Tensor, ""]:
    """Hinge over pairs of videos that share a class: their activity looks more alike than activity and background."""
    weight = logit.masked_fill(~mask[:, :, None], -torch.inf).softmax(dim=1)
    rest = (1 - weight) * mask[:, :, None] / (mask.sum(dim=1)[:, None, None] - 1).clamp(min=1)
    high, low = (functional.normalize(torch.einsum("bth,btc->bch", embedding, part), dim=2) for part in (weight, rest))
    alike, unlike = torch.einsum("ich,jch->ijc", high, high), torch.einsum("ich,jch->ijc", high, low)
    pair = torch.einsum("ic,jc->ijc", y, y) * (1 - torch.eye(len(y), device=y.device))[:, :, None]
    return (functional.relu(unlike - alike + 0.5) * pair).sum() / pair.sum().clamp(min=1)


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, 0.2)
