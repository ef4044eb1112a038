"""The community's annotation layouts, each read as it is into the same videos."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.database import read_database
from wtal_lib.data.files import read_array, read_objects, readable
from wtal_lib.data.instances import (
    AMBIGUOUS,
    NONE,
    REMEDY,
    Reading,
    Video,
    read_ambiguous,
    segment_table,
    text_segments,
)


@dataclass(frozen=True)
class Layout:
    """An annotation layout of the community."""

    name: str
    read: Callable[[Path, tuple[str, ...]], Reading]
    "of a path; the classes are those to look for where file names are class names"
    patterns: tuple[str, ...] = ()
    "lower-case names of its json file; or one file by which its folder is known, {} being a class"

    def find(self, folder: Path, classes: tuple[str, ...], files: Mapping[str, str]) -> list[Path]:
        """Its json files directly in a folder; or those that hold its files, of the folder and the folders in it.

        ``files``: further names of json files, and the layout of each.
        """
        if self.read is read_database:
            names = [*self.patterns, *(pattern for pattern, layout in files.items() if layout == self.name)]
            return sorted(p for p in folder.glob("*.json") if any(fnmatch(p.name.lower(), one) for one in names))
        return [path.parent for name in self.patterns for path in sorted(folder.glob(name.format(classes[0])))]


def own_file(path: Path) -> tuple[Layout, Path]:
    """Layout and place of somebody's own annotations: a json file, or a folder with one or with another layout.

    Raises:
        ValueError: the folder holds none, or more than one json file.
    """
    if path.is_file():
        return OWN, path
    for packed in WTALC.find(path, ("",), {}):
        return WTALC, packed
    files = [one for one in sorted(path.glob("*.json")) if not re.search(r"fps|class|meta|features", one.name.lower())]
    if len(files) == 1:
        return OWN, files[0]
    texts = [one for one in path.glob("*_test.txt") if not one.name.startswith((AMBIGUOUS, "split"))]
    if not files and texts:
        return TEXTS, path
    came = f"{len(files)} json files: {', '.join(one.name for one in files[:5])}" if files else "none"
    raise ValueError(f"{path}: expected the annotations of one dataset in this folder, got {came}; give the file")


def read_wtalc(folder: Path, _: tuple[str, ...] = ()) -> Reading:
    """W-TALC / CO2-Net pack (``wsad_dataset.py``): parallel lists in ``*.npy``; ``extracted_fps`` is wrong, unread."""
    names, classes = read_column(folder / "videoname.npy", "SU"), tuple(read_column(folder / "classlist.npy", "SU"))
    if len(set(names)) != len(names) or len(set(classes)) != len(classes):
        raise ValueError("some names of videos or of classes occur twice")

    def column(name: str, kinds: str, default: Any = None) -> list[Any]:
        path = folder / f"{name}.npy"
        return read_column(path, kinds, len(names)) if default is None or path.exists() else default

    labels, segments, unknown = column("labels", "O"), column("segments", "O"), [math.nan] * len(names)
    whole, urls = column("labels_all", "O", labels), column("url", "SU", [""] * len(names))
    durations, fps = column("duration", "iuf", unknown), column("original_fps", "iuf", unknown)
    subsets = column("subset", "SU")
    ambiguous, notes = read_ambiguous(folder, set(names))
    videos = []
    for i, name in enumerate(names):
        with readable(folder, f"labels and segments of {name}", REMEDY):
            instances, labelled = tuple(map(_text, labels[i])), tuple(dict.fromkeys(map(_text, whole[i])))
            table = segment_table(segments[i], len(instances))
        rest = (ambiguous.get(name, NONE), float(fps[i]), urls[i][-11:])
        videos.append(Video(name, subsets[i], float(durations[i]), labelled, instances, table, *rest))
    return Reading(videos, classes, notes)


def read_class_texts(folder: Path, classes: tuple[str, ...] = ()) -> Reading:
    """THUMOS14's own ``<Class>_{val,test}.txt``: lines of video, start and stop in seconds; durations are unknown."""
    if not classes:
        stems = sorted(path.stem.rpartition("_")[0] for path in folder.glob("*_test.txt"))
        classes = tuple(stem for stem in dict.fromkeys(stems) if stem not in (AMBIGUOUS, "split"))
    found: dict[str, list[tuple[str, Any]]] = {}
    subsets: dict[str, str] = {}
    for label in classes:
        for name, subset, pair in text_segments(folder, label):
            found.setdefault(name, []).append((label, pair))
            subsets[name] = subset
    ambiguous, notes = read_ambiguous(folder, set(found))
    videos = []
    for name in sorted(found, key=lambda name: (subsets[name] == "test", name)):
        instances, pairs = zip(*found[name], strict=True)
        table, labels = segment_table(list(pairs), len(pairs)), tuple(dict.fromkeys(instances))
        videos.append(Video(name, subsets[name], math.nan, labels, instances, table, ambiguous.get(name, NONE)))
    return Reading(videos, classes, notes)


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


def _text(value: Any) -> str:
    """``value`` as text; Python 2 wrote bytes."""
    if not isinstance(value, (str, bytes)):
        raise ValueError(f"{value!r:.60} is no name")
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


WTALC = Layout("w-talc", read_wtalc, ("videoname.npy", "*-Annotations/videoname.npy"))
TEXTS = Layout("official", read_class_texts, ("{}_test.txt",))
OWN = Layout("own", read_database)
LAYOUTS = (
    WTALC,
    Layout("actionformer", read_database),
    Layout("cola", read_database, ("gt.json",)),
    Layout("official", read_database),
    TEXTS,
)
"every annotation layout; where a data root holds several, the first of this list is taken"
