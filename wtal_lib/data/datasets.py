"""What is known of each dataset, in one record: classes, prompts, splits, snippet grid, protocols, published table."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
    "test videos it leaves out"
    snippets: bool = False
    "ground truth is rounded to snippets of 0.64 s (CO2-Net family), which collapses the shortest instances"
    ignore_ambiguous: bool = False
    "detections that touch an ambiguous segment are dropped, whatever their class (CO2-Net family)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """One dataset; another is one more record in :data:`DATASETS`."""

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
    published: Path
    "table of published results"
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


_PUBLISHED = Path(__file__).parent / "published"

_TENTHS = tuple(i / 10 for i in range(1, 8))
_TWENTIETHS = tuple(i / 20 for i in range(10, 20))

_BEYOND_END = "video_test_0000270"  # 22 of its 29 instances lie beyond its end, and it has no video-level label
_ALL_AMBIGUOUS = "video_test_0001292"  # all its segments are ambiguous; already missing from the W-TALC pack
_MISLABELLED = "video_test_0001496"  # labelled FrisbeeCatch, while all its instances are CricketShot
_THUMOS14_VARIANTS = (
    ("210-seconds", {_BEYOND_END, _ALL_AMBIGUOUS, _MISLABELLED}),  # CoLA family
    ("211-seconds", {_BEYOND_END, _ALL_AMBIGUOUS}),
    ("212-seconds", {_ALL_AMBIGUOUS}),
    ("212-snippets", {_ALL_AMBIGUOUS}),  # CO2-Net family
)

THUMOS14 = Dataset(
    name="thumos14",
    title="THUMOS14",
    classes=(
        *("BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "CricketBowling"),
        *("CricketShot", "Diving", "FrisbeeCatch", "GolfSwing", "HammerThrow", "HighJump", "JavelinThrow", "LongJump"),
        *("PoleVault", "Shotput", "SoccerPenalty", "TennisSwing", "ThrowDiscus", "VolleyballSpiking"),
    ),
    prompt_spelling={"Shotput": "shot put"},
    templates=(  # class names are nouns: baseball pitch
        "a video of a person doing {}.",
        "a photo of a person doing {}.",
        "a video of an athlete during a {}.",
        "a video of {}.",
    ),
    protocols=tuple(
        Protocol(
            name=f"thumos14-{name}{suffix}",
            dataset="thumos14",
            iou=_TENTHS,
            means=(("0.1:0.7", _TENTHS), ("0.1:0.5", _TENTHS[:5]), ("0.3:0.7", _TENTHS[2:])),
            videos=213 - len(excluded),
            excluded=frozenset(excluded),
            snippets="snippets" in name,
            ignore_ambiguous=bool(suffix),
        )
        for suffix in ("", "-ambiguous")
        for name, excluded in _THUMOS14_VARIANTS
    ),
    folders=("thumos14", "thumos"),
    prefixes=("thumos",),
    source="github.com/harlanhong/MM2021-CO2-Net (Thumos14reduced-Annotations) or"
    " github.com/Pilhyeon/Learning-Action-Completeness-from-Points (gt.json)",
    published=_PUBLISHED / "thumos14.csv",
    subsets={"train": "validation", "test": "test"},
    wtalc_prefix="Thumos14reduced",
    native_rate=True,
)

ACTIVITYNET12 = Dataset(
    name="activitynet12",
    title="ActivityNet1.2",
    classes=tuple(
        """Archery|Ballet|Bathing dog|Belly dance|Breakdancing|Brushing hair|Brushing teeth|Bungee jumping|
Cheerleading|Chopping wood|Clean and jerk|Cleaning shoes|Cleaning windows|Cricket|Cumbia|Discus throw|Dodgeball|
Doing karate|Doing kickboxing|Doing motocross|Doing nails|Doing step aerobics|Drinking beer|Drinking coffee|
Fixing bicycle|Getting a haircut|Getting a piercing|Getting a tattoo|Grooming horse|Hammer throw|Hand washing clothes|
High jump|Hopscotch|Horseback riding|Ironing clothes|Javelin throw|Kayaking|Layup drill in basketball|Long jump|
Making a sandwich|Mixing drinks|Mowing the lawn|Paintball|Painting|Ping-pong|Plataform diving|Playing accordion|
Playing badminton|Playing bagpipes|Playing field hockey|Playing flauta|Playing guitarra|Playing harmonica|
Playing kickball|Playing lacrosse|Playing piano|Playing polo|Playing racquetball|Playing saxophone|Playing squash|
Playing violin|Playing volleyball|Playing water polo|Pole vault|Polishing forniture|Polishing shoes|Preparing pasta|
Preparing salad|Putting on makeup|Removing curlers|Rock climbing|Sailing|Shaving|Shaving legs|Shot put|
Shoveling snow|Skateboarding|Smoking a cigarette|Smoking hookah|Snatch|Spinning|Springboard diving|
Starting a campfire|Tai chi|Tango|Tennis serve with ball bouncing|Triple jump|Tumbling|Using parallel bars|
Using the balance beam|Using the pommel horse|Using uneven bars|Vacuuming floor|Walking the dog|Washing dishes|
Washing face|Washing hands|Windsurfing|Wrapping presents|Zumba""".replace("\n", "").split("|")
    ),
    prompt_spelling={
        **{"Plataform diving": "platform diving", "Playing flauta": "playing flute"},
        **{"Playing guitarra": "playing guitar", "Polishing forniture": "polishing furniture"},
    },
    templates=(  # class names are mostly verbs: walking the dog
        "a video of a person {}.",
        "a photo of a person {}.",
        "a video of people {}.",
        "a video of {}.",
    ),
    protocols=(Protocol("activitynet12-val", "activitynet12", _TWENTIETHS, (("0.5:0.95", _TWENTIETHS),), videos=2383),),
    folders=("activitynet12", "activitynet", "activitynet13", "anet", "anet12", "anet13"),
    prefixes=("activity", "anet"),
    source="github.com/naraysa/3c-net (ActivityNet1.2-Annotations) or activity-net.org (v1.2 json)",
    published=_PUBLISHED / "activitynet12.csv",
    wtalc_prefix="ActivityNet1.2",
    youtube=True,
    within="ActivityNet",
)

DATASETS: dict[str, Dataset] = {one.name: one for one in (THUMOS14, ACTIVITYNET12)}
"every known dataset by name"

PROTOCOLS: dict[str, Protocol] = {one.name: one for dataset in DATASETS.values() for one in dataset.protocols}
"every protocol by name"


def get_dataset(name: str) -> Dataset:
    """The dataset of that name.

    Raises:
        ValueError: Unknown dataset; the message lists them.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown dataset {name!r}; choose one of {', '.join(DATASETS)}")
    return DATASETS[name]


def protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: Unknown protocol; the message lists them.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def prompt_name(class_name: str) -> str:
    """The class name as plain lower-case words for a prompt, misspellings corrected: clean and jerk, shot put."""
    for dataset in DATASETS.values():
        if class_name in dataset.prompt_spelling:
            return dataset.prompt_spelling[class_name]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_name).lower()
