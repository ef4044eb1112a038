"""CO2-Net (Hong et al., ACM MM 2021, arXiv 2107.12589): RGB and flow filter each other and agree on the attention."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor, cat, nn

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
        self.first, self.second = Convolution(width, hidden), Convolution(hidden, hidden)
        self.act, self.last = nn.Sequential(nn.LeakyReLU(0.2), nn.Dropout(0.5)), nn.Linear(hidden, 1)

    def forward(self, main: Tensor, other: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The filtered features (b, t, d) and their attention (b, t)."""
        mean = main.sum(dim=1, keepdim=True) / mask.sum(dim=1)[:, None, None].clamp(min=1)
        gate = (self.act(self.globally(mean)) * self.act(self.locally(other))).sigmoid()
        filtered = gate * main * mask[:, :, None]
        hidden = self.act(self.first(filtered)) * mask[:, :, None]
        return filtered, self.last(self.act(self.second(hidden)))[..., 0].float().sigmoid()


class CO2Net(nn.Module):
    """Two consensus modules, a fused classifier, and the mean of both attentions."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        hidden, half = config.hidden, (len(moments[0]) + 1) // 2  # an odd width gets a column of zeros
        self.rescale, self.rgb, self.flow = Rescale(moments), *(Consensus(half, hidden // 2) for _ in range(2))
        self.fuse, self.embed = nn.Linear(2 * half, 2 * half), Convolution(2 * half, hidden)
        self.act, self.drop = nn.LeakyReLU(0.2), nn.Dropout(config.dropout)
        self.classify = nn.Linear(hidden, classes + 1)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Class logits, suppressed towards the least of each snippet, and the mean attention of both modalities."""
        rgb, flow = nn.functional.pad(self.rescale(x, mask), (0, x.shape[2] % 2)).chunk(2, dim=2)
        (rgb, by_rgb), (flow, by_flow) = self.rgb(rgb, flow, mask), self.flow(flow, rgb, mask)
        fused = self.drop(self.act(self.fuse(cat([rgb, flow], dim=2)))) * mask[:, :, None]
        logit = self.classify(self.drop(self.act(self.embed(self.drop(fused))))).float()
        attention, least = (by_rgb + by_flow) / 2, logit.amin(dim=2, keepdim=True)
        suppressed = attention[:, :, None] * (logit - least) + least
        return Output(logit, attention, suppressed, {"rgb": by_rgb, "flow": by_flow, "embedding": fused.float()})

    def video_label_terms(self, output: Output, mask: Tensor, y: Tensor, share: float) -> dict[str, Tensor]:
        """The shared terms, mutual learning of both attentions (eq. 7) and co-activity similarity (W-TALC)."""
        rgb, flow = output.extra["rgb"], output.extra["flow"]
        mutual = (masked_mean((rgb - flow.detach()) ** 2 + (flow - rgb.detach()) ** 2, mask) / 2).mean()
        casl = co_activity(output.suppressed[..., :-1], output.extra["embedding"], mask, y)
        return {**losses.video_label_terms(output, mask, y, share), "mutual": mutual, "casl": casl}
