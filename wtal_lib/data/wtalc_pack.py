"""Writes annotations and features in the W-TALC / CO2-Net layout, as the community's own loaders read it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import replacing


def write_wtalc_pack(folder: Path, annotations: Annotations, rows: Callable[[str], np.ndarray]) -> None:
    """Write annotations and joint features as W-TALC has them; ``rows(name)`` gives (t, d), one array at a time."""
    prefix = get_dataset(annotations.dataset).wtalc_prefix
    for name, column in _columns(annotations).items():
        with replacing(folder / f"{prefix}-Annotations" / f"{name}.npy") as file:
            np.save(file, column, allow_pickle=True)
    ambiguous = [(v.name, a, b) for v in annotations.videos.values() for a, b in v.ambiguous]
    if ambiguous:
        with replacing(folder / f"{prefix}-Annotations" / "Ambiguous_test.txt") as file:
            file.write("".join(f"{name}  {a:.1f} {b:.1f}\n" for name, a, b in ambiguous).encode())
    features = _objects([_Later(rows, name) for name in annotations.videos])
    with replacing(folder / f"{prefix}-I3D-JOINTFeatures.npy") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(features))
        pickler = pickle.Pickler(file, protocol=4)
        pickler.fast = True  # no memo, which would keep every row that was written
        pickler.dump(features)


def _columns(annotations: Annotations) -> dict[str, np.ndarray]:
    """The layout's parallel lists by file name."""
    videos, known = list(annotations.videos.values()), get_dataset(annotations.dataset)
    duration = np.array([video.duration for video in videos], dtype=np.float64)
    columns = {
        "videoname": np.array([video.name.encode() for video in videos]),
        "subset": np.array([known.subsets[video.subset].encode() for video in videos]),
        "duration": duration[:, None] if known.native_rate else duration,
        "classlist": np.array([name.encode() for name in annotations.classes]),
        "labels": _objects([list(video.instance_labels) for video in videos]),
        "labels_all": _objects([list(video.labels) for video in videos]),
        "segments": _objects([video.segments.tolist() for video in videos]),
        "original_fps": np.array([video.fps for video in videos], dtype=np.float64),
    }
    if any(video.youtube_id for video in videos):
        columns["url"] = np.array([f"https://www.youtube.com/watch?v={video.youtube_id}".encode() for video in videos])
    return columns


def _objects(rows: Sequence[Any]) -> np.ndarray:
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


class _Later:
    """Stands for the features of a video until they are pickled."""

    def __init__(self, rows: Callable[[str], np.ndarray], name: str) -> None:
        self.rows, self.name = rows, name

    def __reduce__(self) -> Any:
        return self.rows(self.name).__reduce__()
