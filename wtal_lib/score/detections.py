"""Detection files in ActivityNet's result format: read from anybody, checked, and written."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.files import UnreadableError, read_json, replacing
from wtal_lib.data.segments import Detections

EXPECTED = '{"results": {VIDEO: [{"label": CLASS, "score": NUMBER, "segment": [START, STOP]}, ...]}}, seconds'
REMEDY = "give a json file in ActivityNet's result format"


def read_detections(path: str | Path, annotations: Annotations) -> Detections:
    """The detections of a json file, in the names of ``annotations``; names it does not know are kept as they are.

    Videos may also be named by their YouTube id and with ActivityNet's ``v_`` before it. Classes are recognised in any
    case and spacing, corrected spelling included, or as a number: the index into the class list, with a warning.
    ``classes`` are those of the annotations, then the unknown ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, or a score or a segment that :func:`checked` refuses.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected detections, but there is no such file; {REMEDY}")
    content = read_json(path, EXPECTED, REMEDY)
    results: Any = content.get("results", content) if isinstance(content, dict) else content
    if not isinstance(results, dict) or not all(isinstance(rows, list) for rows in results.values()):
        raise UnreadableError(f"{path}: expected {EXPECTED}, got {_shape(content)}; {REMEDY}")
    rows = [row for of_video in results.values() for row in of_video]
    try:
        labels = [row["label"] for row in rows]
        score_n = np.array([row["score"] for row in rows], dtype=np.float64)
        segment_n2 = np.array([row["segment"] for row in rows], dtype=np.float64).reshape(len(rows), 2)
        names = dict.fromkeys(labels)
    except (KeyError, TypeError, ValueError, OverflowError, IndexError):
        video, row = _first_odd(results)
        raise UnreadableError(
            f"{path}: expected {EXPECTED}, got {json.dumps(row)[:200]} for {video}; {REMEDY}"
        ) from None
    known = _known_videos(annotations)
    own = [known.get(name) or known.get(name.removeprefix("v_")) or name for name in map(str, results)]
    index = {name: at for at, name in enumerate(dict.fromkeys(own))}
    video_b = np.array([index[name] for name in own], dtype=np.int64)
    label_of, classes = _label_indices(list(names), annotations)
    return checked(
        Detections(
            video_n=np.repeat(video_b, [len(of_video) for of_video in results.values()]),
            label_n=np.array([label_of[label] for label in labels], dtype=np.int64),
            segment_n2=segment_n2,
            score_n=score_n,
            videos=tuple(index),
            classes=classes,
        )
    )


def find_detections(annotations: Annotations) -> Path | None:
    """The first file, by name, of a ``detections`` folder near the annotations that names most test videos, or None.

    That is ``detections/`` in the data root, in the dataset's folder, or beside the annotations themselves.
    """
    test = {video.name for video in annotations.subset("test")}
    for folder in annotations.path.parents[:3] if annotations.path else ():
        for path in sorted((folder / "detections").glob("*.json")):
            try:
                content = read_json(path, EXPECTED, REMEDY)
            except UnreadableError:
                continue
            results = content.get("results") if isinstance(content, dict) else None
            if isinstance(results, dict) and 2 * len(test & results.keys()) > len(test):
                return path
    return None


def write_detections(path: str | Path, detections: Detections) -> None:
    """Nothing; ``path`` then holds the detections in ActivityNet's result format, the best of a video first.

    The file appears whole or not at all. Numbers are written in full, so reading gives the same values back.
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in detections.videos}
    order = np.lexsort((detections.segment_n2[:, 0], -detections.score_n, detections.video_n))
    columns = (detections.video_n, detections.label_n, detections.score_n, detections.segment_n2)
    for video, label, score, segment in zip(*(column[order].tolist() for column in columns), strict=True):
        row = {"label": detections.classes[label], "score": score, "segment": segment}
        results[detections.videos[video]].append(row)
    with replacing(Path(path)) as file:
        file.write(json.dumps({"version": "wtal_lib", "results": results, "external_data": {}}).encode())


def checked(detections: Detections) -> Detections:
    """``detections``, when every score is a number and every segment has two finite ends in order.

    Raises:
        ValueError: how many are not so, and the first of them.
    """
    start_n, stop_n = detections.segment_n2.T
    for odd_n, what, remedy in (
        (~np.isfinite(detections.score_n), "have a score that is no finite number", "remove them or mend their model"),
        (~np.isfinite(start_n + stop_n), "have a start or stop that is no finite number", "remove them"),
        (
            stop_n < start_n,
            "stop before they start",
            "segments are [start, stop], not [start, length] or [stop, start]",
        ),
    ):
        if odd_n.any():
            at = int(np.argmax(odd_n))
            raise ValueError(
                f"{odd_n.sum()} of {len(detections)} detections {what}; the first lies in"
                f" {detections.videos[detections.video_n[at]]}: [{start_n[at]:g}, {stop_n[at]:g}], score"
                f" {detections.score_n[at]:g}; {remedy}"
            )
    return detections


def _shape(content: Any) -> str:
    if isinstance(content, dict):
        return f"a dict of {', '.join(f'{key!r}: {type(value).__name__}' for key, value in list(content.items())[:5])}"
    return f"a {type(content).__name__}"


def _first_odd(results: dict[str, list[Any]]) -> tuple[str, Any]:
    """Video and content of the first row that is no detection."""
    for video, rows in results.items():
        for row in rows:
            try:
                _, _ = (float(value) for value in row["segment"])
                float(row["score"]), hash(row["label"])
            except (KeyError, TypeError, ValueError, OverflowError):
                return video, row
    return "an unknown video", None


def _known_videos(annotations: Annotations) -> dict[str, str]:
    """Every way to name an annotated video."""
    by_id = {
        video.youtube_id.removeprefix("v_"): name for name, video in annotations.videos.items() if video.youtube_id
    }
    return by_id | {name: name for name in annotations.videos}


def _label_indices(labels: list[Any], annotations: Annotations) -> tuple[dict[Any, int], tuple[str, ...]]:
    """Class index of every label, and the classes: those of the annotations, then the unknown ones."""
    classes = list(annotations.classes)
    index = {_plain(prompt_name(name)): at for at, name in enumerate(classes)}
    index |= {_plain(name): at for at, name in enumerate(classes)}
    found, numbers = {}, []
    for label in labels:
        text = str(label)
        if _plain(text) not in index and text.isdecimal() and int(text) < len(annotations.classes):
            numbers.append(text)
            found[label] = int(text)
            continue
        at = index.setdefault(_plain(text) or text, len(classes))
        if at == len(classes):
            classes.append(text)
        found[label] = at
    if numbers:
        first = f"{numbers[0]} is {classes[int(numbers[0])]}"
        warnings.warn(f"labels given as numbers are taken as indices into the class list from 0: {first}", stacklevel=3)
    return found, tuple(classes)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
