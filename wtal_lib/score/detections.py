"""Detection files in ActivityNet's result format: reading anybody's, checking and writing."""

from __future__ import annotations

import gzip
import json
import re
import reprlib
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.files import UnreadableError, read_json, readable, replacing
from wtal_lib.data.segments import Detections

EXPECTED = '{"results": {VIDEO: [{"label": CLASS, "score": NUMBER, "segment": [START, STOP]}, ...]}}, seconds'
REMEDY = "give a json file in ActivityNet's result format"


def read_detections(path: str | Path, annotations: Annotations) -> Detections:
    """The detections of a json file, in the names of ``annotations``; names it does not know are kept as they are.

    Videos may also be named by their YouTube id and with ActivityNet's ``v_`` before it. Classes are recognised in any
    case and spacing, corrected spelling included, or as a number: the index into the class list, with a warning.
    ``classes`` are those of the annotations, then the unknown ones. Raises FileNotFoundError: there is no such file;
    ValueError: not such a file, or a score or a segment that :func:`checked` refuses.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected detections, but there is no such file; {REMEDY}")
    if path.suffix == ".gz":  # as sweeps keep them
        with readable(path, EXPECTED, REMEDY), gzip.open(path) as file:
            content = json.load(file)
    else:
        content = read_json(path, EXPECTED, REMEDY)
    results: Any = content.get("results", content) if isinstance(content, dict) else content
    if not isinstance(results, dict) or not all(isinstance(rows, list) for rows in results.values()):
        raise UnreadableError(f"{path}: expected {EXPECTED}, got {reprlib.repr(content)}; {REMEDY}")
    own = {video.youtube_id.removeprefix("v_"): name for name, video in annotations.videos.items() if video.youtube_id}
    own |= {name: name for name in annotations.videos}
    names = {video: own.get(video) or own.get(video.removeprefix("v_")) or video for video in results}
    index = {name: at for at, name in enumerate(dict.fromkeys(names.values()))}
    labels, values = dict[Any, int](), []
    try:
        for video, rows in results.items():
            for row in rows:
                label, (start, stop) = labels.setdefault(row["label"], len(labels)), map(float, row["segment"])
                values.append((index[names[video]], label, float(row["score"]), start, stop))
    except (KeyError, TypeError, ValueError, OverflowError):
        got = f"{json.dumps(row)[:200]} for {video}"
        raise UnreadableError(f"{path}: expected {EXPECTED}, got {got}; {REMEDY}") from None
    label_c, classes = _label_indices(labels, annotations)
    value_n5 = np.array(values, dtype=np.float64).reshape(-1, 5)
    video_n, label_n = value_n5[:, :2].astype(np.int64).T
    return checked(Detections(video_n, label_c[label_n], value_n5[:, 3:], value_n5[:, 2], tuple(index), classes))


def find_detections(annotations: Annotations) -> Path | None:
    """First file with most test videos in a ``detections/`` of data root, dataset or annotations' folder, or None."""
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
    """Write detections in ActivityNet's format, best first, numbers in full; the file appears whole or not at all."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in detections.videos}
    order = np.lexsort((detections.segment_n2[:, 0], -detections.score_n, detections.video_n))
    columns = (detections.video_n, detections.label_n, detections.score_n, detections.segment_n2)
    for video, label, score, segment in zip(*(column[order].tolist() for column in columns), strict=True):
        row = {"label": detections.classes[label], "score": score, "segment": segment}
        results[detections.videos[video]].append(row)
    with replacing(Path(path)) as file:
        file.write(json.dumps({"version": "wtal_lib", "results": results, "external_data": {}}).encode())


def checked(detections: Detections) -> Detections:
    """``detections``, if all scores and segment ends are finite and in order; ValueError names the first if not."""
    start_n, stop_n = detections.segment_n2.T
    order = "segments are [start, stop], not [start, length] or [stop, start]"
    for odd_n, what, remedy in (
        (~np.isfinite(detections.score_n), "have a score that is no finite number", "remove them or mend their model"),
        (~np.isfinite(start_n + stop_n), "have a start or stop that is no finite number", "remove them"),
        (stop_n < start_n, "stop before they start", order),
    ):
        if odd_n.any():
            at = int(np.argmax(odd_n))
            raise ValueError(
                f"{odd_n.sum()} of {len(detections)} detections {what}; the first lies in"
                f" {detections.videos[detections.video_n[at]]}: [{start_n[at]:g}, {stop_n[at]:g}], score"
                f" {detections.score_n[at]:g}; {remedy}"
            )
    return detections


def _label_indices(labels: Iterable[Any], annotations: Annotations) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class index of every label, and the classes: those of the annotations, then the unknown ones."""
    classes, found, numbers = list(annotations.classes), [], []
    index = {_letters(prompt_name(name)): at for at, name in enumerate(classes)}
    index |= {_letters(name): at for at, name in enumerate(classes)}
    for text in map(str, labels):
        if _letters(text) not in index and text.isdecimal() and int(text) < len(annotations.classes):
            numbers.append(f"{text} is {classes[int(text)]}")
            found.append(int(text))
            continue
        found.append(index.setdefault(_letters(text) or text, len(classes)))
        if found[-1] == len(classes):
            classes.append(text)
    if numbers:
        message = f"labels given as numbers are taken as indices into the class list from 0: {numbers[0]}"
        warnings.warn(message, stacklevel=3)
    return np.array(found, dtype=np.int64), tuple(classes)


def _letters(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
