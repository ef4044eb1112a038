"""What is known of each dataset, in one record: classes, prompts, splits, snippet grid, protocols, published table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter

from wtal_lib.data.segments import I3D_GRID, Grid


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
    """One dataset, as ``published/<name>.json`` records it."""

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
    within: str = ""
    "a larger dataset, whose annotations are cut to these classes"

    @property
    def headline(self) -> Protocol:
        """The protocol under which results are reported unless another is named."""
        return self.protocols[0]

    @property
    def published(self) -> Path:
        """The csv table of published results."""
        return _FOLDER / f"{self.name}.csv"


_FOLDER = Path(__file__).parent / "published"

DATASETS: dict[str, Dataset] = {
    name: TypeAdapter(Dataset).validate_json((_FOLDER / f"{name}.json").read_bytes())
    for name in ("thumos14", "activitynet12")
}
"every known dataset by name"

PROTOCOLS: dict[str, Protocol] = {one.name: one for dataset in DATASETS.values() for one in dataset.protocols}
"every protocol by name"


def get_dataset(name: str) -> Dataset:
    """The dataset of that name. Raises ValueError: unknown dataset; the message lists them."""
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]


def protocol(name: str) -> Protocol:
    """The protocol of that name. Raises ValueError: unknown protocol; the message lists them."""
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def prompt_name(class_name: str) -> str:
    """The class name as plain lower-case words for a prompt, misspellings corrected: clean and jerk, shot put."""
    for dataset in DATASETS.values():
        if class_name in dataset.prompt_spelling:
            return dataset.prompt_spelling[class_name]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_name).lower()
