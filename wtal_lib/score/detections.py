"""Detection files in ActivityNet's result format: reading anybody's, checking and writing."""

from __future__ import annotations

import gzip
import io
import json
import reprlib
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.database import KEYS, first
from wtal_lib.data.datasets import get_dataset, letters
from wtal_lib.data.files import UnreadableError, opening, read_json, read_text, readable, replacing
from wtal_lib.data.segments import Detections
from wtal_lib.data.unpickle import unpickle_value

EXPECTED = '{"results": {VIDEO: [{"label": CLASS, "score": NUMBER, "segment": [START, STOP]}, ...]}}, seconds'
REMEDY = "give a json file in ActivityNet's result format"


def read_detections(path: str | Path, annotations: Annotations) -> Detections:
    """The detections of a file, in the names of ``annotations``; names it does not know are kept as they are.

    The file is json (``.gz`` too) in ActivityNet's result format, or a table of columns (video, label, score, start,
    end) as json, csv or pickle, or without names of columns as THUMOS14's own evaluation takes it. Videos may also be
    named by their YouTube id and with ActivityNet's ``v_`` before it. Classes are recognised in any case and spacing,
    corrected spelling included, or as a number: THUMOS14's official one (7 is BaseballPitch), where one of them is
    greater than the number of classes, else an index into the class list, from 0 or from 1 as the ground truth fits,
    with a warning. ``classes`` are those of the annotations, then unknown ones.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, or a score or a segment that :func:`checked` refuses.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        what = "that is a folder" if path.is_dir() else "there is no such file"
        raise FileNotFoundError(f"{path}: expected detections, but {what}; {REMEDY}")
    content = _content(path)
    results: Any = content
    while isinstance(results, dict) and (
        inner := [key for key in WRAPPERS if isinstance(results.get(key), dict | list)]
    ):
        results = results[inner[0]]
    if isinstance(results, list) and results and all(isinstance(row, dict) and first(row, "video") for row in results):
        rows, results = results, {}
        for row in rows:
            results.setdefault(str(first(row, "video")), []).append(row)
    if isinstance(results, dict) and (table := _columns(results)):
        results = {}
        for video, *row in zip(*table, strict=True):
            results.setdefault(str(video), []).append(dict(zip(("label", "score", "start", "stop"), row, strict=True)))
    if not isinstance(results, dict) or not all(isinstance(rows, list) for rows in results.values()):
        raise UnreadableError(f"{path}: expected {EXPECTED}, got {reprlib.repr(content)}; {REMEDY}")
    names = {video: naming(video) for naming in (annotations.naming(),) for video in results}
    index = {name: at for at, name in enumerate(dict.fromkeys(names.values()))}
    labels, values = dict[Any, int](), []
    try:
        for video, rows in results.items():
            for row in rows:
                start, stop = row.get("segment") or (first(row, "start"), first(row, "stop"))
                score, label = first(row, "score"), first(row, "label")
                score = score[0] if isinstance(score, list) and len(score) == 1 else score
                if label is None:
                    raise KeyError("label")
                label = int(label) if isinstance(label, float) and label.is_integer() else label
                at = labels.setdefault(label, len(labels))
                values.append((index[names[video]], at, float(score), float(start), float(stop)))
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        got = f"{json.dumps(row, default=str)[:200]} for {video}"
        raise UnreadableError(f"{path}: expected {EXPECTED}, got {got}; {REMEDY}") from None
    value_n5 = np.array(values, dtype=np.float64).reshape(-1, 5)
    video_n, label_n = value_n5[:, :2].astype(np.int64).T
    videos = tuple(index)
    label_c, classes = _label_indices(labels, annotations, label_n, [videos[at] for at in video_n.tolist()])
    return checked(Detections(video_n, label_c[label_n], value_n5[:, 3:], value_n5[:, 2], videos, classes))


def _content(path: Path) -> Any:
    """What a file of detections holds, as plain values: json, a csv table or a pickle of plain columns."""
    if path.suffix.lower() in (".csv", ".tsv", ".txt"):
        with readable(path, EXPECTED, REMEDY):
            import pandas as pd  # here: few files are tables, and it takes longer to import than all else

            text = read_text(path)
            parts, decimal, first_line = opening(text)
            named = {one.strip().lower() for one in first_line} & {key.lower() for key in KEYS["video"]}
            names = None if named or len(first_line) != len(OFFICIAL) else OFFICIAL
            table = pd.read_csv(io.StringIO(text), sep=parts, decimal=decimal, engine="python", names=names)
            return table.to_dict("list")
    if path.suffix == ".gz":  # as sweeps keep them
        with readable(path, EXPECTED, REMEDY), gzip.open(path) as file:
            return json.load(file)
    if path.suffix.lower() in (".pkl", ".pickle"):
        with readable(path, EXPECTED, REMEDY), open(path, "rb") as file:
            return unpickle_value(file)
    return read_json(path, EXPECTED, REMEDY)


OFFICIAL = ("video", "start", "stop", "label", "score")
"columns of a table without a line of names: those of THUMOS14's own evaluation"
WRAPPERS = ("results", "detections", "predictions")
"keys under which a file holds its detections"


def _columns(results: dict[str, Any]) -> list[list[Any]]:
    """Columns video, label, score, start and stop, equally long; empty for what is no table of columns."""
    spelt = {str(key).strip().lower(): column for key, column in results.items()}
    found = [
        next((spelt[key.lower()] for key in KEYS[kind] if key.lower() in spelt), None)
        for kind in ("video", "label", "score", "start", "stop")
    ]
    columns = [one.tolist() if isinstance(one, np.ndarray) else one for one in found]
    if not all(isinstance(one, list) for one in columns):
        return []
    return columns if len({len(one) for one in columns}) == 1 else []  # type: ignore[arg-type, return-value]


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


def _label_indices(
    labels: Iterable[Any], annotations: Annotations, label_n: np.ndarray, video_n: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Class index of every label, and the classes: those of the annotations, then the unknown ones."""
    classes, found, known = list(annotations.classes), [], get_dataset(annotations.dataset)
    index = {letters(name): at for at, name in enumerate(classes)}
    texts = [str(label) for label in labels]
    numbers = {text: int(text) for text in texts if text.isdecimal() and letters(text) not in index}
    base = 0
    if numbers and set(numbers.values()) <= set(range(len(classes) + 1)):
        base = _first_id(numbers, texts, annotations, label_n, video_n)
        text, number = next(iter(numbers.items()))
        named = f"{text} is {classes[number - base]}"
        message = f"labels given as numbers are taken as indices into the class list from {base}: {named}"
        warnings.warn(message, stacklevel=3)
    else:
        numbers = {}
    for text in texts:
        if text in numbers:
            found.append(numbers[text] - base)
            continue
        name = letters(known.numbers.get(text) or known.official(text) or text) or text
        found.append(index.setdefault(name, len(classes)))
        if found[-1] == len(classes):
            classes.append(text)
    return np.array(found, dtype=np.int64), tuple(classes)


def _first_id(
    numbers: dict[str, int], texts: list[str], annotations: Annotations, label_n: np.ndarray, video_n: Sequence[str]
) -> int:
    """The id of the first class, 0 or 1: by the ids that occur, else by which names more classes of the videos."""
    if 0 in numbers.values() or len(annotations.classes) in numbers.values():
        return 0 if 0 in numbers.values() else 1
    fits = []
    for base in (0, 1):
        pairs = {(video, texts[at]) for video, at in zip(video_n, label_n.tolist(), strict=True)}
        own = {video: annotations.videos[video].instance_labels for video, _ in pairs if video in annotations.videos}
        fits.append(
            sum(annotations.classes[numbers[text] - base] in own.get(v, ()) for v, text in pairs if text in numbers)
        )
    return int(fits[1] > fits[0])
