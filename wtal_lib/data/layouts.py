"""The community's annotation layouts, each read as it is into the same videos."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import read_array, read_json, read_objects, readable

Reading = tuple[tuple[str, ...], list["Video"], list[str]]
"classes, videos, and notes on what was left out"

AMBIGUOUS = "Ambiguous"
REMEDY = "fetch it again, or point at another pack: `wtal check` lists what is found"
NONE = np.zeros((0, 2))


@dataclass(frozen=True, eq=False)
class Video:
    """One untrimmed video and what is annotated in it."""

    name: str
    subset: str
    "train or test, whatever the layout calls them"
    duration: float
    "seconds; nan where the layout has none"
    labels: tuple[str, ...]
    "video-level labels, the training signal: labels_all in W-TALC packs, elsewhere the union of the instances'"
    instance_labels: tuple[str, ...]
    "class of each row of ``segments``"
    segments: np.ndarray
    "(m, 2) float64: start and stop in seconds, as annotated: zero-length and beyond the end of the video included"
    ambiguous: np.ndarray
    "(a, 2) float64: segments that may or may not be an action, seconds"
    fps: float = math.nan
    "frames per second of the original video, where known"
    youtube_id: str = ""


def read_wtalc(folder: Path, dataset: str) -> Reading:
    """W-TALC / CO2-Net pack (``wsad_dataset.py``): parallel lists in ``*.npy``; ``extracted_fps`` is wrong, unread."""
    names, classes = read_column(folder / "videoname.npy", "SU"), tuple(read_column(folder / "classlist.npy", "SU"))
    if len(set(names)) != len(names):
        raise ValueError("some video names occur twice")

    def column(name: str, kinds: str, default: Any = None) -> list[Any]:
        path = folder / f"{name}.npy"
        return read_column(path, kinds, len(names)) if default is None or path.exists() else default

    labels, segments, unknown = column("labels", "O"), column("segments", "O"), [math.nan] * len(names)
    whole, urls = column("labels_all", "O", labels), column("url", "SU", [""] * len(names))
    durations, fps = column("duration", "iuf", unknown), column("original_fps", "iuf", unknown)
    subsets = _split(dict(zip(names, column("subset", "SU"), strict=True)))
    ambiguous, notes = read_ambiguous(folder, set(names))
    known, videos = dict.fromkeys(classes), []
    for i, name in enumerate(names):
        with readable(folder, f"labels and segments of {name}", REMEDY):
            instances, labelled = _labels(labels[i], known), tuple(dict.fromkeys(_labels(whole[i], known)))
            table = segment_table(segments[i], len(instances))
        rest = (ambiguous.get(name, NONE), float(fps[i]), urls[i][-11:])
        videos.append(Video(name, subsets[name], float(durations[i]), labelled, instances, table, *rest))
    return classes, videos, notes


def read_database(path: Path, dataset: str) -> Reading:
    """A json database, keyed by video; those without annotations are left out, ActivityNet 1.3 is cut to 1.2."""
    content, known = read_json(path, "a json database of videos", REMEDY), get_dataset(dataset)
    with readable(path, "a json object with a `database` of videos, each with subset and annotations", REMEDY):
        everything = content.get("database", content)
        database = {name: entry for name, entry in everything.items() if entry["annotations"]}
        subsets = _split({name: str(entry.get("subset", "")) for name, entry in database.items()})
        classes = {item["label"] for entry in database.values() for item in entry["annotations"]} - {AMBIGUOUS}
    empty = [name for name in everything if name not in database]
    notes = [f"{len(empty)} videos without annotations are left out: {', '.join(empty[:3])}"] if empty else []
    if known.within and classes > set(known.classes):
        inside = (n for n, entry in database.items() if all(a["label"] in known.classes for a in entry["annotations"]))
        database = {name: database[name] for name in inside}
        cut = f"cut to the {len(database)} videos of the {len(known.classes)}"
        notes.append(f"{known.within} with {len(classes)} classes, {cut}")
    beside, more = read_ambiguous(path.parent, set(database))
    videos = []
    for name, entry in database.items():
        with readable(path, f"annotations of {name} with label and segment", REMEDY):
            items = [item for item in entry["annotations"] if item["label"] != AMBIGUOUS]
            doubtful = [item["segment"] for item in entry["annotations"] if item["label"] == AMBIGUOUS]
            instances = _labels([item["label"] for item in items], known.classes)
            table = segment_table([item["segment"] for item in items], len(items))
            extra = np.concatenate([segment_table(doubtful, len(doubtful)), beside.get(name, NONE)])
            duration = float(entry.get("duration", entry.get("duration_second", math.nan)))
            fps = float(entry.get("fps", math.nan))
        if instances:
            labels = tuple(dict.fromkeys(instances))
            youtube = name.removeprefix("v_") if known.youtube else ""
            videos.append(Video(name, subsets[name], duration, labels, instances, table, extra, fps, youtube))
        else:
            notes.append(f"{name} holds ambiguous segments only and is left out")
    return known.classes, videos, notes + more


def read_class_texts(folder: Path, dataset: str) -> Reading:
    """THUMOS14's own ``<Class>_{val,test}.txt``: lines of video, start and stop in seconds; durations are unknown."""
    classes = get_dataset(dataset).classes
    found: dict[str, list[tuple[str, Any]]] = {}
    for label in classes:
        for name, pair in _text_segments(folder, label):
            found.setdefault(name, []).append((label, pair))
    ambiguous, notes = read_ambiguous(folder, set(found))
    subsets = _split(dict.fromkeys(found, ""))
    videos = []
    for name in sorted(found, key=lambda name: (subsets[name] == "test", name)):
        instances, pairs = zip(*found[name], strict=True)
        table, labels = segment_table(list(pairs), len(pairs)), tuple(dict.fromkeys(instances))
        videos.append(Video(name, subsets[name], math.nan, labels, instances, table, ambiguous.get(name, NONE)))
    return classes, videos, notes


def read_column(path: Path, kinds: str, count: int | None = None) -> list[Any]:
    """W-TALC's column of names (``kinds`` SU), numbers (iuf) or lists (O), ``count`` if given; else UnreadableError."""
    what = {"SU": "names", "iuf": "numbers", "O": "rows"}[kinds]
    if kinds == "O":
        found = read_objects(path, "an object array of lists, as in the W-TALC annotations", REMEDY)
    else:
        found = read_array(path, f"an array of {what}, as in the W-TALC annotations", REMEDY, kinds).ravel().tolist()
    with readable(path, f"{len(found) if count is None else count} {what}, one a video", REMEDY):
        if count not in (None, len(found)):
            raise ValueError(f"it holds {len(found)} {what}")
        if kinds == "SU":
            return [_text(item) for item in found]
        found = [row.tolist() if isinstance(row, np.ndarray) else row for row in found]
        if kinds == "O" and not all(isinstance(row, list) for row in found):
            raise ValueError("not every row is a list")
    return found


def read_ambiguous(folder: Path, known: set[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Ambiguous segments by video of ``Ambiguous_{val,test}.txt``, and a note on those of videos not ``known``."""
    found: dict[str, list[Any]] = {}
    for name, pair in _text_segments(folder, AMBIGUOUS):
        found.setdefault(name, []).append(pair)
    strangers = sorted(set(found) - known)
    notes = [f"ambiguous segments of videos that are not annotated: {', '.join(strangers)}"] if strangers else []
    return {name: segment_table(pairs, len(pairs)) for name, pairs in found.items() if name in known}, notes


def segment_table(pairs: Any, count: int) -> np.ndarray:
    """(m, 2) float64 of ``count`` pairs of numbers or numeric strings that run forward from 0; else ValueError."""
    rows = pairs.tolist() if isinstance(pairs, np.ndarray) else pairs
    if not isinstance(rows, list) or len(rows) != count:
        raise ValueError(f"there are {len(rows) if isinstance(rows, list) else 'no'} segments for {count} labels")
    table = []
    for pair in rows:
        if not isinstance(pair, (list, tuple, np.ndarray)) or len(pair) != 2:
            raise ValueError(f"a segment is {pair!s:.60}, no pair")
        start, stop = map(float, pair)
        if not 0 <= start <= stop < math.inf:
            raise ValueError(f"segment {[start, stop]} does not run forward in time, in seconds from 0")
        table.append((start, stop))
    return np.array(table).reshape(-1, 2)


def _split(spelled: dict[str, str]) -> dict[str, str]:
    """Train or test by video: of its name (THUMOS14), else its subset; val is test beside training, else train."""
    training = any(word.lower().startswith("train") for word in spelled.values())
    meaning = {"train": "train", "val": "test" if training else "train", "test": "test"}
    subsets = {}
    for name, word in spelled.items():
        if official := re.match(r"video_(val|test)", name):
            subsets[name] = "train" if official[1] == "val" else "test"
        elif start := re.match(r"train|val|test", word.lower()):
            subsets[name] = meaning[start[0]]
        else:
            wrong = f"{name} is in the subset {word.lower()!r:.40}"
            raise ValueError(f"{wrong}, none of train, training, validation, val and test")
    return subsets


def _text(value: Any) -> str:
    """``value`` as text; Python 2 wrote bytes."""
    if not isinstance(value, (str, bytes)):
        raise ValueError(f"{value!r:.60} is no name")
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _labels(values: list[Any], classes: Collection[str]) -> tuple[str, ...]:
    """``values`` as class names; refuses what is no class."""
    labels = tuple(map(_text, values))
    for label in labels:
        if label not in classes:
            raise ValueError(f"{label!r:.60} is none of the classes {', '.join(list(classes)[:3])}, …")
    return labels


def _text_segments(folder: Path, label: str) -> Iterator[tuple[str, list[str]]]:
    """Video and segment of each line of ``label``_*.txt; any run of blanks separates (``Ambiguous_test.txt``: two)."""
    for path in sorted(folder.glob(f"{label}_*.txt")):
        with readable(path, "lines of a video name, a start and a stop", REMEDY):
            for line in filter(str.strip, path.read_text().splitlines()):
                name, start, stop = line.split()
                yield name, [start, stop]
