"""What branches are built of: feature scaling, dropout, fast convolution, a transformer with positions."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch

Moments = tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]
"mean and standard deviation of each dimension over the training videos"
POSITIONS = 512
"learned positions of the transformer; a longer video shares them out evenly"


class Rescale(nn.Module):
    """``x / rms`` over the training videos: one factor, so that rectified features stay rectified (CoLA, CO2-Net)."""

    factor: Tensor

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        mean, deviation = (np.asarray(moment, dtype=np.float64) for moment in moments)
        square = float(np.mean(mean**2 + deviation**2))
        self.register_buffer("factor", torch.tensor(square**-0.5 if square > 0 else 0.0))

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Scaled features at real snippets, 0 in the padding; 0 where all training features are 0."""
        return x * (self.factor * mask[:, :, None])

    def floor(self, moments: Moments) -> Float[Tensor, " d"]:
        """What nearly all snippets have of each scaled feature: its mean drawn towards 0 by half of its deviation."""
        mean, deviation = (torch.tensor(moment, dtype=torch.float32) for moment in moments)
        return self.factor * mean.sign() * (mean.abs() - deviation / 2).clamp(min=0)


class Standardise(nn.Module):
    """``(x - mean) / deviation`` over the training videos; a dimension that never varies becomes 0."""

    mean: Tensor
    scale: Tensor
    shift: Tensor

    def __init__(self, moments: Moments) -> None:
        super().__init__()
        mean, deviation = (torch.tensor(moment, dtype=torch.float32) for moment in moments)
        least = 1e-3 * deviation.mean().clamp(min=1e-12)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", torch.where(deviation > least, 1 / deviation.clamp(min=least), 0.0))
        self.register_buffer("shift", -self.mean * self.scale)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """Standardised features at real snippets, 0 in the padding."""
        return torch.addcmul(self.shift, x, self.scale) * mask[:, :, None]


class Silence(nn.Module):
    """Dropout of features, or of hidden channels, each for a whole video (Gal and Ghahramani, 2016).

    Each video then teaches without some of its cues. A mask drawn anew at each snippet leaves every cue somewhere in
    the video and adds noise: it scores lower, for features as for channels (`notebooks/DECISIONS.md`). A silenced
    feature falls to its floor, which nearly all snippets have: dropping that too would drown in noise what is learnt
    where features have a large common mean.
    """

    floor: Tensor | None

    def __init__(self, share: float, floor: Float[Tensor, " d"] | None = None) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("floor", floor)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """In training, what lies above the floor kept and scaled up or dropped; the padding of ``x`` stays 0."""
        if not self.training or not self.share:
            return x
        kept_b1d = functional.dropout(torch.ones_like(x[:, :1]), self.share)
        if self.floor is None:
            return x * kept_b1d
        return torch.addcmul(self.floor * (1 - kept_b1d) * mask[:, :, None], x, kept_b1d)


class Convolution(nn.Linear):
    """Three-snippet temporal convolution as one matrix product, much faster than conv1d on a CPU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(3 * width, hidden)
        nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t h"]:
        """``W0 x[t-1] + W1 x[t] + W2 x[t+1] + bias``, zeros beyond both ends."""
        if torch.is_autocast_enabled(x.device.type) and not x.requires_grad:  # round features once, not three copies
            x = x.to(torch.get_autocast_dtype(x.device.type))
        around = functional.pad(x, (0, 0, 1, 1))
        return super().forward(torch.cat([around[:, :-2], x, around[:, 2:]], dim=2))


class Temporal(nn.Module):
    """Features to hidden channels, each snippet seeing its neighbours; padded rows stay zero.

    ``conv``: a three-snippet convolution at the entrance (CoLA, BaS-Net), then residual ones. ``transformer``: pre-norm
    layers of 8 heads with learned positions and a final norm (Efficient-Prompt). ``none``: each snippet alone.
    """

    def __init__(self, width: int, config: Branch, floor: Float[Tensor, " d"] | None = None) -> None:
        super().__init__()
        hidden, self.attends = config.hidden, config.temporal == "transformer"
        kind = Convolution if config.temporal == "conv" else nn.Linear
        self.silence, self.drop = Silence(config.input_dropout, floor), Silence(config.dropout)
        self.enter, more = kind(width, hidden), 0 if self.attends else config.layers - 1
        if self.attends:
            self.position = nn.Parameter(0.01 * torch.randn(POSITIONS, hidden))
            layer = nn.TransformerEncoderLayer(hidden, 8, 4 * hidden, 0.1, "gelu", batch_first=True, norm_first=True)
            self.encoder = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(hidden), enable_nested_tensor=False)
        self.layers = nn.ModuleList(kind(hidden, hidden) for _ in range(more))

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t h"]:
        """Hidden channels of each real snippet, zeros elsewhere."""
        x = self.silence(x, mask)
        if self.attends:
            place_t = torch.arange(x.shape[1], device=x.device) * POSITIONS // max(POSITIONS, x.shape[1])
            return self.encoder(self.enter(x) + self.position[place_t], src_key_padding_mask=~mask) * mask[:, :, None]
        hidden = self._rectified(self.enter, x, mask)
        for layer in self.layers:
            hidden = hidden + self._rectified(layer, hidden, mask)
        return hidden

    def _rectified(self, layer: nn.Module, x: Tensor, mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t h"]:
        """A layer's channels after the rectifier and dropout, 0 in the padding."""
        return self.drop(functional.relu(layer(x)) * mask[:, :, None], mask)
