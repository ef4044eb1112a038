"""Example videos: those given, those found, or one drawn here; with their annotations where known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import av
import numpy as np

from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.files import readable
from wtal_lib.data.segments import GroundTruth
from wtal_lib.video.frames import VideoInfo, probe, videos_in


def find_videos(given: str | Path, usual: Path, scratch: Path) -> list[Path]:
    """Videos of ``given`` (FileNotFoundError if named, but without any), else of ``usual``, else a drawn one."""
    if str(given):
        return videos_in([given])
    return videos_in([usual]) if usual.is_dir() else draw_example(scratch)


def probed(videos: Iterable[Path]) -> tuple[dict[str, VideoInfo], dict[str, str]]:
    """Properties of each readable video, and what is wrong with each other, by name; ValueError for none readable."""
    infos, broken = dict[str, VideoInfo](), dict[str, str]()
    for video in videos:
        try:
            infos[video.stem] = probe(video)
        except (ValueError, OSError) as error:
            broken[video.stem] = str(error)
    if broken and not infos:
        raise ValueError(f"none of {len(broken)} videos can be read: {next(iter(broken.values()))}")
    return infos, broken


def draw_example(folder: Path) -> list[Path]:
    """Write a video of a ball that rolls and jumps twice into ``folder``, 13 s, with its ``ground_truth.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    jumps = [(3.2, 5.12), (8.32, 10.24)]
    with av.open(str(folder / "rolling_ball.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 108, "yuv420p"
        row, column = np.mgrid[:108, :192]
        for i in range(325):
            rise = [np.sin(np.pi * (i / 25 - start) / (stop - start)) for start, stop in jumps if start < i / 25 < stop]
            ball = (row - 86 + 55 * sum(rise)) ** 2 + (column - 10 - 0.53 * i) ** 2 < 120
            image = np.where(row > 96, 110, 215)[..., None].repeat(3, axis=2).astype(np.uint8)
            image[ball] = (213, 94, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    truth = [{"label": "HighJump", "segment": list(jump)} for jump in jumps]
    content = {"rolling_ball": {"duration": 13.0, "annotations": truth}}
    (folder / "ground_truth.json").write_text(json.dumps(content))
    return [folder / "rolling_ball.mp4"]


def find_truth(videos: Iterable[Path]) -> dict[str, list[tuple[str, float, float]]]:
    """Instances of each video, as class, start and stop in seconds, from the ``ground_truth.json`` beside it."""
    found: dict[str, list[tuple[str, float, float]]] = {}
    for folder in dict.fromkeys(video.parent for video in videos):
        if (path := folder / "ground_truth.json").is_file():
            with readable(path, '{VIDEO: {"annotations": [{"label": CLASS, "segment": [START, STOP]}]}}', "mend it"):
                for name, video in json.loads(path.read_bytes()).items():
                    rows = [(row["label"], *row["segment"]) for row in video["annotations"]]
                    found[name] = [(str(label), float(start), float(stop)) for label, start, stop in rows]
    return found


def as_ground_truth(truth: Mapping[str, Sequence[tuple[str, float, float]]], classes: Sequence[str]) -> GroundTruth:
    """The instances of :func:`find_truth` of these classes, in any spelling, as a table."""
    index = {prompt_name(label): i for i, label in enumerate(classes)}
    named = [
        (video, index.get(prompt_name(label), -1), *rest)
        for video, of in enumerate(truth.values())
        for label, *rest in of
    ]
    row_m4 = np.array([row for row in named if row[1] >= 0], dtype=np.float64).reshape(-1, 4)
    none: tuple[np.ndarray, np.ndarray] = np.zeros(0, dtype=int), np.zeros((0, 2))
    video_m, label_m = row_m4[:, :2].T.astype(int)
    return GroundTruth(video_m, label_m, row_m4[:, 2:], tuple(truth), tuple(classes), *none)
