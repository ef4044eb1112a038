"""Videos and the instances annotated in them, as a file says it, before it is fitted to a dataset."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.files import read_text, readable

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


@dataclass(frozen=True, eq=False)
class Reading:
    """What a file or folder says, in its own words: subsets and classes are spelt as there."""

    videos: list[Video]
    classes: tuple[str, ...] = ()
    "its own list of classes in order; empty where it has none"
    notes: list[str] = field(default_factory=list)
    about: Mapping[str, Any] = field(default_factory=dict)
    "what a json file says beside its videos: version, title, templates, ..."


ENDING = r"(\.(mp4|avi|mkv|webm|mov|flv|mpe?g|m4v))?([-_.](i3d|clip|feats?|features?))?$"
"what is put behind a video's name: the ending of its file, and what was made of it"


def plain_name(name: str) -> str:
    """A video's name without what people add to it: folders, a file's ending, ``v_``, capitals."""
    return re.sub(ENDING, "", re.split(r"[/\\]", name)[-1], flags=re.IGNORECASE).lower().removeprefix("v_")


def read_ambiguous(folder: Path, known: set[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Ambiguous segments by video of ``Ambiguous_{val,test}.txt``, and a note on those of videos not ``known``."""
    found: dict[str, list[Any]] = {}
    for name, _, pair in text_segments(folder, AMBIGUOUS):
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
        try:
            start, stop = map(float, pair)
        except (TypeError, ValueError):
            raise ValueError(f"a segment is {pair!s:.60}, no two numbers") from None
        if not 0 <= start <= stop < math.inf:
            raise ValueError(f"segment {[start, stop]} does not run forward in time, in seconds from 0")
        table.append((start, stop))
    return np.array(table).reshape(-1, 2)


def text_segments(folder: Path, label: str) -> Iterator[tuple[str, str, list[str]]]:
    """Video, subset and segment of each line of ``label``_*.txt; any run of blanks separates."""
    for path in sorted(folder.glob(f"{label}_*.txt")):
        with readable(path, "lines of a video name, a start and a stop", REMEDY):
            for line in filter(str.strip, read_text(path).splitlines()):
                name, start, stop = line.rsplit(maxsplit=2)
                yield name, path.stem.rpartition("_")[2], [start, stop]
