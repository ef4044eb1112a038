"""What is known of each dataset, in one record: classes, prompts, splits, snippet grid, protocols, published table."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from wtal_lib.data.files import readable
from wtal_lib.data.instances import REMEDY
from wtal_lib.data.layouts import Layout, own_file
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.settings import unknown


@dataclass(frozen=True)
class Protocol:
    """Which videos are scored, and how; its name stands beside every number."""

    name: str
    dataset: str
    iou: tuple[float, ...]
    "temporal IoU thresholds at which AP is computed"
    means: tuple[tuple[str, tuple[float, ...]], ...]
    "named means over thresholds, the headline mean first"
    videos: int
    "number of test videos it scores on the complete annotations"
    excluded: frozenset[str] = frozenset()
    "test videos it leaves out; the record says why"
    snippets: bool = False
    "ground truth is rounded to snippets of 0.64 s (CO2-Net family), which collapses the shortest instances"
    ignore_ambiguous: bool = False
    "detections that touch an ambiguous segment are dropped, whatever their class (CO2-Net family)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """One dataset, as ``published/<name>.json`` records it, or as somebody's own annotations describe it."""

    name: str
    "as parameters, folders and protocols spell it"
    title: str
    "as papers and figures spell it"
    classes: tuple[str, ...]
    "official class names, misspellings included, in the order of their ids"
    templates: tuple[str, ...]
    "prompt templates, after CLIP's own for Kinetics"
    protocols: tuple[Protocol, ...]
    "the headline protocol first: results are reported under it unless another is named"
    folders: tuple[str, ...]
    "what its own folder may be called, in lower case and without punctuation"
    prefixes: tuple[str, ...]
    "beginnings, in lower case, of the names of files and folders that belong to it and to no other dataset"
    source: str
    "where its annotations can be had"
    prompt_spelling: Mapping[str, str] = field(default_factory=dict)
    "words for class names that a text encoder would misread; for prompts only"
    subsets: Mapping[str, str] = field(default_factory=lambda: {"train": "training", "test": "validation"})
    "its own names of the training and the test videos"
    wtalc_prefix: str = ""
    "beginning of the file names of its W-TALC pack"
    grid: Grid = I3D_GRID
    "snippet grid of its I3D packs"
    native_rate: bool = False
    "one-file-a-video I3D packs follow each video's own frame rate, and W-TALC's durations are a column (n, 1)"
    youtube: bool = False
    "videos are named by their YouTube ids"
    files: Mapping[str, str] = field(default_factory=dict)
    "names of its json files, in lower case, and the layout each stands for"
    parts: Mapping[str, str] = field(default_factory=dict)
    "beginnings of video names that tell train or test, whatever a layout calls it"
    aliases: Mapping[str, str] = field(default_factory=dict)
    "class names of other releases, and the official one of each"
    numbers: Mapping[str, str] = field(default_factory=dict)
    "numbers by which its own evaluation names classes in detections: THUMOS14's among the 101 of UCF101"
    within: str = ""
    "a larger dataset, whose annotations are cut to these classes"
    like: str = ""
    "a dataset of similar statistics, whose defaults serve for this one; empty: its own"
    reach: float = math.nan
    "median over its videos of the last annotated second: tells seconds from other units where no duration is known"
    bins: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    "inner edges of DETAD's bins: seconds, instances of a class in the video, share of the video"
    path: Path | None = None
    "file or folder of somebody's own annotations"

    @property
    def headline(self) -> Protocol:
        """The protocol under which results are reported unless another is named."""
        return self.protocols[0]

    @property
    def published(self) -> Path:
        """The csv table of published results."""
        return _FOLDER / f"{self.name}.csv"

    @property
    def model(self) -> str:
        """The built-in dataset whose statistics and defaults serve for this one."""
        return self.like or self.name

    @property
    def given(self) -> str:
        """What names it in any process: its name, or the absolute path of somebody's own annotations."""
        return str(self.path or self.name)

    @cached_property
    def _official(self) -> dict[str, str]:
        spelt = {**{prompt_name(one): one for one in self.classes}, **self.aliases}
        return {letters(word): one for word, one in [*spelt.items(), *((one, one) for one in self.classes)]}

    def official(self, label: str) -> str | None:
        """The official name of a class in any case, spacing, prompt spelling or release; None for no class of it."""
        return self._official.get(letters(label) or label)


_FOLDER = Path(__file__).parent / "published"

DATASETS: dict[str, Dataset] = {
    name: TypeAdapter(Dataset).validate_json((_FOLDER / f"{name}.json").read_bytes())
    for name in ("thumos14", "activitynet12", "activitynet13")
}
"every built-in dataset by name"

PROTOCOLS: dict[str, Protocol] = {one.name: one for dataset in DATASETS.values() for one in dataset.protocols}
"every built-in protocol by name"

_OWN: dict[str, Dataset] = {}
"somebody's own datasets by name, once they were given by path"
GENERIC = r"gt|ground.?truth|annotations?|labels?|database|data|anno|.*-?annotations"
"file names that say nothing: the dataset is then called after the folder"
TEMPLATES = ("a video of a person {}.", "a video of {}.")
IOU = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
"temporal IoU thresholds of somebody's own dataset"


def get_dataset(name: str | Path) -> Dataset:
    """The dataset of that name, or the one that an annotation file or folder describes.

    Raises:
        ValueError: unknown dataset, with the list of those that are known; or a file that is no annotations.
        FileNotFoundError: a path where nothing is.
    """
    if known := DATASETS.get(str(name)) or _OWN.get(str(name)):
        return known
    path = Path(name).expanduser()
    if path.exists():
        layout, file = own_file(path)
        own = _described(layout, file.absolute(), file.stat().st_mtime_ns)
        _OWN[own.name] = own
        return own
    if path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"{path}: expected annotations of a dataset, but there is no such file; give its path")
    raise ValueError(f"{unknown(str(name), list(DATASETS), 'dataset')}, or give an annotation file of your own")


@lru_cache(maxsize=8)
def _described(layout: Layout, path: Path, changed: int) -> Dataset:
    """The record of somebody's own annotations: classes and splits as they are, statistics of the nearest dataset."""
    with readable(path, f"annotations in the {layout.name} layout", REMEDY):
        reading = layout.read(path, ())
    stem = path.parent.name if re.fullmatch(GENERIC, path.stem.lower()) else path.stem
    name = re.sub(r"[^\w.]+", "-", stem).strip("-.") or "own"
    if name.lower() in DATASETS:
        raise ValueError(f"{path}: {name} is a built-in dataset; give its name, or call your own another name")
    classes = reading.classes or tuple(sorted({label for video in reading.videos for label in video.labels}))
    words = dict.fromkeys(video.subset for video in reading.videos)
    parts = {word: part_of(word, words) for word in words}
    scored = Counter(video.subset for video in reading.videos if parts[video.subset] == "test" and len(video.segments))
    if not scored:
        raise ValueError(
            f"{path}: expected annotated test videos, got the subsets {', '.join(map(repr, words))}; put one of them"
            " into the subset val or test"
        )
    test = [v for v in reading.videos if v.subset in scored]
    protocols = [
        Protocol(
            f"{name}-{re.sub(r'[^a-z0-9]+', '-', word.lower())}",
            name,
            IOU,
            ((f"{IOU[0]:g}:{IOU[-1]:g}", IOU),),
            scored[word],
            frozenset(video.name for video in test if video.subset != word),
        )
        for word in sorted(scored, key=lambda word: (not word.lower().startswith("test"), word))
    ]
    reaches = [float(video.segments.max()) for video in reading.videos if len(video.segments)]
    lengths = np.concatenate([np.diff(video.segments)[:, 0] for video in test])
    typical = max(float(np.median(lengths)), 0.1)
    middles = {one: float(np.mean(one.bins["length"][:2])) for one in DATASETS.values() if not one.like}
    like = min(middles, key=lambda one: abs(math.log(typical / middles[one])))
    return Dataset(
        name,
        str(reading.about.get("title", name)),
        classes,
        tuple(reading.about.get("templates", TEMPLATES)),
        tuple(protocols),
        folders=(letters(name),),
        prefixes=(),
        source=str(path),
        prompt_spelling=dict(reading.about.get("prompt_spelling", {})),
        subsets={part: next((w for w in words if parts[w] == part), part) for part in ("train", "test")},
        wtalc_prefix=name,
        like=like.name,
        reach=float(np.median(reaches)),
        bins=like.bins,
        path=path,
    )


def part_of(word: str, among: Mapping[str, object], name: str = "a video") -> str:
    """Train or test, as a subset's name says; val is test beside training videos, else train."""
    training = any(other.lower().startswith("train") for other in among)
    meaning = {"train": "train", "val": "test" if training else "train", "test": "test", "eval": "test"}
    if start := re.match(r"train|val|test|eval", word.lower()):
        return meaning[start[0]]
    wrong = f"{name} is in the subset {word.lower()!r:.40}"
    raise ValueError(f"{wrong}, none of train, training, validation, val and test")


def protocol(name: str) -> Protocol:
    """The protocol of that name, with or without its number of videos; ValueError for none lists those there are."""
    name = name.partition(" (")[0]
    known = PROTOCOLS | {one.name: one for own in _OWN.values() for one in own.protocols}
    if name not in known:
        raise ValueError(f"unknown protocol {name!r}; choose one of {', '.join(known)}")
    return known[name]


def prompt_name(class_name: str) -> str:
    """The class name as plain lower-case words for a prompt, misspellings corrected: clean and jerk, shot put."""
    for dataset in (*DATASETS.values(), *_OWN.values()):
        if class_name in dataset.prompt_spelling:
            return dataset.prompt_spelling[class_name]
    return re.sub(r"(?<=[a-z])(?=[A-Z])|_", " ", class_name).lower()


def letters(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]", "", name.lower())
