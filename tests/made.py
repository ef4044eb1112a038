"""Small packs in every layout, written as the community writes them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations, Video

LABELS = ("Diving", "HighJump", "LongJump")


def annotations(count: int = 6, seconds: float = 16.0, **changes: Any) -> Annotations:
    """THUMOS14-like annotations in memory: the first two thirds for training, one instance a video."""
    videos = {}
    for i in range(count):
        subset = "train" if i < count * 2 // 3 else "test"
        name = f"video_{'validation' if subset == 'train' else 'test'}_{i:07d}"
        label, segments, none = (LABELS[i % 3],), np.array([[1.0, 2.5]]), np.zeros((0, 2))
        videos[name] = Video(
            name, subset, seconds, label, label, segments, none, fps=30.0, youtube_id=f"youtube{i:04d}"
        )
    content: dict[str, Any] = {"dataset": "thumos14", "classes": LABELS, "videos": videos, "layout": "w-talc"}
    return Annotations(**{**content, "path": None, **changes})


def objects(rows: list[Any]) -> np.ndarray:
    """An object array of the rows, whatever they hold."""
    array = np.empty(len(rows), dtype=object)
    array[:] = rows
    return array


def save_objects(path: Path, rows: list[Any], protocol: int = 2) -> None:
    """An object array as numpy writes it with that pickle protocol; 2 is what old packs hold."""
    array = objects(rows)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        pickle.dump(array, file, protocol=protocol)


def write_wtalc(folder: Path, given: Annotations, prefix: str = "Thumos14reduced", **changes: Any) -> Path:
    """W-TALC annotations; ``changes`` replace whole files, None leaves one out."""
    videos = list(given.videos.values())
    spelt = {"train": b"validation", "test": b"test"}
    content: dict[str, Any] = {
        "videoname": np.array([v.name.encode() for v in videos]),
        "subset": np.array([spelt[v.subset] for v in videos]),
        "duration": np.array([[v.duration] for v in videos]),
        "classlist": np.array([label.encode() for label in given.classes]),
        "labels": [[label.encode() for label in v.instance_labels] for v in videos],
        "labels_all": [[label.encode() for label in v.labels] for v in videos],
        "segments": [v.segments.tolist() for v in videos],
        "original_fps": np.array([v.fps for v in videos]),
        "extracted_fps": np.full(len(videos), 10),
        **changes,
    }
    path = folder / f"{prefix}-Annotations"
    path.mkdir(parents=True, exist_ok=True)
    for name, value in content.items():
        if isinstance(value, list):
            save_objects(path / f"{name}.npy", value)
        elif value is not None:
            np.save(path / f"{name}.npy", value)
    return path


def database(given: Annotations, **spelt: str) -> dict[str, Any]:
    """The json that CoLA, ActionFormer and ActivityNet share; segments as strings, as CoLA writes them."""
    return {
        name: {
            "subset": spelt.get(video.subset, video.subset),
            "annotations": [
                {"segment": [str(x) for x in pair], "label": label}
                for pair, label in zip(video.segments.tolist(), video.instance_labels, strict=True)
            ],
        }
        for name, video in given.videos.items()
    }


def write_json(path: Path, content: Any) -> Path:
    """A json file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def features(given: Annotations, width: int = 4, rows: int = 25, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    """Features whose every value tells video, row and column apart; exact in float16."""
    names = list(given.videos)
    table = np.arange(rows)[:, None] + np.arange(width) / 16
    return {name: (table + 64 * (i % 8)).astype(dtype) for i, name in enumerate(names)}


def write_joint(folder: Path, rows: dict[str, np.ndarray], prefix: str = "Thumos14reduced", protocol: int = 2) -> Path:
    """Layout 1: one object array of all videos."""
    folder.mkdir(parents=True, exist_ok=True)
    save_objects(folder / f"{prefix}-I3D-JOINTFeatures.npy", list(rows.values()), protocol)
    return folder / f"{prefix}-I3D-JOINTFeatures.npy"


def write_streams(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    """Layout 2: a file per video and modality."""
    for name, array in rows.items():
        half = array.shape[1] // 2
        for modality, part in (("rgb", array[:, :half]), ("flow", array[:, half:])):
            path = folder / "features" / ("test" if "_test_" in name else "train") / modality / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, part)
    return folder / "features"


def write_files(folder: Path, rows: dict[str, np.ndarray]) -> Path:
    """Layout 3 and foreign CLIP packs: a file per video."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in rows.items():
        np.save(folder / f"{name}.npy", array)
    return folder


def meta(width: int = 4, **changes: Any) -> dict[str, Any]:
    """What a VLP pack's meta.json says."""
    content = {"model": "tiny", "pretrained": "none", "fps": 25, "stride": 16, "embed_dim": width, "logit_scale": 100.0}
    return {**content, "classes": list(LABELS), "templates": ["a video of {}"], **changes}


class Hostile:
    """Pickles as a call."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.reduced = (call, arguments)

    def __reduce__(self) -> Any:
        return self.reduced
