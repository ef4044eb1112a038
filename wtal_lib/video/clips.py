"""The frames of a snippet as I3D takes them, RGB and TV-L1 flow; and I3D as a backbone of packs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.settings import sha256
from wtal_lib.video import i3d
from wtal_lib.video.backbone import Backbone

SHORT_SIDE, CROP = 256, 224
"pixels: frames are resized to the one, and the middle square of the other is taken (Carreira and Zisserman 2017)"

FLOW_BOUND = 20.0
"pixels a frame: flow is cut off there and scaled to [-1, 1] (Carreira and Zisserman 2017)"

SHORTEST = 8
"frames of a clip that the net can halve three times"

AT_ONCE = 4
"clips that go through a net together on a CPU, where more only take memory"


def resized(images: Sequence[UInt8[np.ndarray, "h w 3"]], short_side: int) -> list[np.ndarray]:
    """Frames with their shorter side at ``short_side`` pixels, by bilinear interpolation."""
    height, width = images[0].shape[:2]
    size = [round(side * short_side / min(height, width)) for side in (width, height)]
    return [
        np.asarray(Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.BILINEAR)) for image in images
    ]


def centre(images: np.ndarray, crop: int) -> np.ndarray:
    """The middle square of ``crop`` pixels of images (t, h, w, c)."""
    top, left = ((side - crop) // 2 for side in images.shape[1:3])
    return images[:, top : top + crop, left : left + crop]


def flow(images: Sequence[UInt8[np.ndarray, "h w 3"]]) -> Float[np.ndarray, "t h w 2"]:
    """TV-L1 optical flow (Zach et al. 2007) from each frame to the next, one fewer than frames; pixels, float32."""
    cv2 = _opencv()
    method = cv2.optflow.DualTVL1OpticalFlow_create()
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    return np.stack([method.calc(one, after, None) for one, after in pairwise(grey)])


def _opencv() -> Any:
    try:
        cv2 = importlib.import_module("cv2")
        cv2.optflow.DualTVL1OpticalFlow_create  # noqa: B018 - opencv-python lacks it
    except (ImportError, AttributeError) as error:
        raise ValueError(
            "optical flow needs OpenCV with its contributed modules: pip install 'wtal_lib[i3d]' (and remove"
            " opencv-python, which lacks them); or extract RGB alone, without flow weights"
        ) from error
    return cv2


def i3d_backbone(
    nets: Mapping[str, i3d.I3D], grid: Grid = I3D_GRID, *, short_side: int = SHORT_SIDE, crop: int = CROP, **meta: Any
) -> Backbone:
    """I3D as a backbone: all frames of a snippet to a row of RGB, then of flow; ``meta`` goes into ``meta.json``.

    ``nets`` are by stream, ``rgb`` or both. Raises ValueError for a stride that is no number of frames, for sizes that
    do not fit, and for flow where OpenCV is missing.
    """
    taken = round(grid.stride)
    if taken != grid.stride or taken < SHORTEST:
        raise ValueError(f"stride must be a whole number of at least {SHORTEST} frames for I3D, got {grid.stride:g}")
    if not 32 <= crop <= short_side:
        raise ValueError(f"crop must be at least 32 pixels and at most the short side, got {crop} of {short_side}")
    if "flow" in nets:
        _opencv()

    def preprocess(images: list[np.ndarray]) -> Tensor:
        """A clip (t, h, w, c): RGB as bytes; with flow, in pixels, as two more channels, float16."""
        frames = resized(images, short_side)
        rgb = centre(np.stack(frames[:taken]), crop)
        if "flow" not in nets:
            return torch.from_numpy(np.ascontiguousarray(rgb))
        both = [rgb.astype(np.float16), centre(flow(frames), crop).astype(np.float16)]
        return torch.from_numpy(np.concatenate(both, axis=3))

    def forward(clip_bthwc: Tensor) -> Tensor:
        """Rows of clips."""
        device = next(iter(nets.values())).logits.weight.device
        parts = clip_bthwc.split(AT_ONCE if device.type == "cpu" else len(clip_bthwc))
        return torch.cat([torch.cat([nets[s](as_input(part.to(device), s))[0] for s in nets], dim=1) for part in parts])

    about = {
        "kind": "cbp",
        "columns": {stream: [i * i3d.WIDTH, (i + 1) * i3d.WIDTH] for i, stream in enumerate(nets)},
        "sampling": f"{taken} frames of each snippet, each shown at the middle of its share",
        "short_side": short_side,
        "crop": crop,
        "flow": f"TV-L1 of OpenCV, cut off at {FLOW_BOUND:g} pixels" if "flow" in nets else "",
        **meta,
    }
    ahead = 1 if "flow" in nets else 0  # flow of the last frame leads to the first of the next snippet
    offsets = tuple((i + 0.5) / taken for i in range(taken + ahead))
    return Backbone("-".join(["i3d", *nets]), len(nets) * i3d.WIDTH, preprocess, forward, about, offsets)


def as_input(clip_bthwc: Tensor, stream: str) -> Float[Tensor, "b c t h w"]:
    """A net's input in [-1, 1] of clips as :func:`i3d_backbone` prepares them."""
    if stream == "rgb":
        scaled = clip_bthwc[..., :3].float() / 127.5 - 1
    else:
        scaled = clip_bthwc[..., 3:].float().clamp(-FLOW_BOUND, FLOW_BOUND) / FLOW_BOUND
    return scaled.permute(0, 4, 1, 2, 3)


def load_backbone(
    rgb: str, flow: str = "", device: str = "cpu", *, precision: str = "float32", seed: int = 0, **options: Any
) -> Backbone:
    """:func:`i3d_backbone` with weights as :func:`wtal_lib.video.i3d.load` takes them; no flow without flow weights."""
    given = {"rgb": rgb, "flow": flow} if flow else {"rgb": rgb}
    nets = {stream: i3d.load(one, stream, device, precision=precision, seed=seed) for stream, one in given.items()}
    files = {stream: i3d.weights_file(one) for stream, one in given.items()}
    about: dict[str, Any] = {
        "pretrained": " + ".join(path.name if path else i3d.RANDOM for path in files.values()),
        "weights": "pretrained" if all(files.values()) else "random",
        "origin": {s: {"sha256": sha256(path.read_bytes())} if path else {"seed": seed} for s, path in files.items()},
        "precision": precision,
    }
    return i3d_backbone(nets, **options, **about)
