"""The classes of Kinetics-400 in I3D's features of a video, snippet by snippet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from wtal_lib.data.files import read_array
from wtal_lib.data.segments import Grid, GroundTruth
from wtal_lib.video import i3d
from wtal_lib.video.vlm import RANDOM, import_open_clip


def classes() -> tuple[str, ...]:
    """The 400 names in the order of I3D's logits, which is that of the alphabet."""
    import_open_clip()
    from torchvision.models.video import R3D_18_Weights

    return tuple(R3D_18_Weights.DEFAULT.meta["categories"])


def missing(weights: str) -> str:
    """How to get the ``weights`` (see :func:`~wtal_lib.video.i3d.weights_file`); empty where they are here."""
    try:
        i3d.weights_file(weights)
    except FileNotFoundError as error:
        return str(error)
    return ""


def place(weights: str, pretrained: str) -> str:
    """Folder of results that rest on a video's own pixels: real, or random-weights if no model has others."""
    blind = pretrained == RANDOM and (weights == i3d.RANDOM or missing(weights))
    return "random-weights" if blind else "real"


def scores(
    pack: Path, rgb: str, groups: Mapping[str, Sequence[str]], seed: int = 0
) -> tuple[dict[str, Float[np.ndarray, "t c"]], tuple[str, ...]]:
    """Probabilities of each video of a CBP pack, and their names: of ``groups``, added up, then of all other classes.

    ``rgb`` are the weights of the RGB features. Raises ValueError for a class that Kinetics-400 does not have.
    """
    names, net = classes(), i3d.load(rgb, seed=seed)
    if unknown := [name for of in groups.values() for name in of if name not in names]:
        raise ValueError(f"{unknown[0]!r} is none of the 400 classes of Kinetics, such as {names[0]} and {names[1]}")
    own = [name for name in names if not any(name in of for of in groups.values())]
    column = np.array([[name in of for name in names] for of in (*groups.values(), *([name] for name in own))])
    found = {}
    for path in sorted((pack / "features").glob("*.npy")):
        rows = read_array(path, "rows of I3D", "extract it again", "f").astype(np.float32)
        with torch.inference_mode():
            probability = net.logits(torch.from_numpy(rows[:, : i3d.WIDTH])).softmax(dim=1).numpy()
        found[path.stem] = probability @ column.T.astype(np.float32)
    return found, (*groups, *own)


def highest(scores: Mapping[str, np.ndarray], truth: GroundTruth, grid: Grid) -> Float[np.ndarray, " m"]:
    """The highest score of each instance's class in any snippet that it touches."""
    found = np.zeros(len(truth))
    for m, (video, label) in enumerate(zip(truth.video_m, truth.label_m, strict=True)):
        score_t = scores[truth.videos[video]][:, label]
        inside_t = grid.coverage(truth.segment_m2[m : m + 1], len(score_t)) > 0
        found[m] = score_t[inside_t].max(initial=0.0)
    return found
