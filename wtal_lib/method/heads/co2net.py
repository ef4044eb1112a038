"""CO2-Net (Hong et al., ACM MM 2021, arXiv 2107.12589): RGB and flow filter each other and agree on the attention."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, cat, nn
from torch.nn import functional

from wtal_lib.method import losses
from wtal_lib.method.config import Branch
from wtal_lib.method.heads.contrast import co_activity
from wtal_lib.method.layers import Convolution, Moments, Rescale
from wtal_lib.method.models import Output
from wtal_lib.method.pooling import masked_mean


class Consensus(nn.Module):
    """Cross-modal consensus: one modality gated by its own mean over time and by the other modality (eq. 2 to 4)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.globally, self.locally = Convolution(width, width), Convolution(width, width)
        self.attend = nn.ModuleList([Convolution(width, hidden), Convolution(hidden, hidden)])
        self.act, self.last = nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.5)), nn.Linear(hidden, 1)

    def forward(self, main: Tensor, other: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The filtered features (b, t, d) and their attention (b, t)."""
        mean = main.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None].clamp(min=1)
        gate = (self.act(self.globally(mean)) * self.act(self.locally(other))).sigmoid()
        filtered = hidden = gate * main * mask[:, :, None]
        for layer in self.attend:
            hidden = self.act(layer(hidden)) * mask[:, :, None]
        return filtered, self.last(hidden).float().sigmoid()[..., 0]


class CO2Net(nn.Module):
    """Two consensus modules, a fused classifier, and the mean of both attentions."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        width, hidden = len(moments[0]), config.hidden
        self.rescale, self.half = Rescale(moments), -(-width // 2)  # an odd width gets a column of zeros
        self.rgb, self.flow = (Consensus(self.half, hidden // 2) for _ in range(2))
        self.fuse, self.embed = nn.Linear(2 * self.half, 2 * self.half), Convolution(2 * self.half, hidden)
        self.act, self.drop = nn.LeakyReLU(0.2), nn.Dropout(config.dropout)
        self.classify = nn.Linear(hidden, classes + 1)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits, suppressed towards the least of each snippet, and the mean attention of both modalities."""
        rgb, flow = functional.pad(self.rescale(x, mask), (0, x.shape[2] % 2)).split(self.half, dim=2)
        (rgb, by_rgb), (flow, by_flow) = self.rgb(rgb, flow, mask), self.flow(flow, rgb, mask)
        fused = self.drop(self.act(self.fuse(cat([rgb, flow], dim=2)))) * mask[:, :, None]
        logit = self.classify(self.drop(self.act(self.embed(self.drop(fused))))).float()
        attention, least = (by_rgb + by_flow) / 2, logit.amin(dim=2, keepdim=True)
        extra = {"rgb": by_rgb, "flow": by_flow, "embedding": fused.float()}
        return Output(logit, attention, attention[:, :, None] * (logit - least) + least, extra)

    def video_label_terms(self, output: Output, mask: Tensor, y: Tensor, share: float) -> dict[str, Tensor]:
        """The shared terms, mutual learning of both attentions (eq. 7) and co-activity similarity (W-TALC)."""
        rgb, flow, terms = output.extra["rgb"], output.extra["flow"], losses.video_label_terms(output, mask, y, share)
        terms["mutual"] = (masked_mean((rgb - flow.detach()) ** 2 + (flow - rgb.detach()) ** 2, mask) / 2).mean()
        terms["casl"] = co_activity(output.suppressed[..., :-1], output.extra["embedding"], mask, y)
        return terms
