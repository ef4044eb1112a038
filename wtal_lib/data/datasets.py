"""The two datasets' classes, and the named protocols under which detections are scored."""

from __future__ import annotations

import re
from dataclasses import dataclass

DATASETS = ("thumos14", "activitynet12")
"the two datasets of the paper"

CLASSES: dict[str, tuple[str, ...]] = {
    "thumos14": (
        *("BaseballPitch", "BasketballDunk", "Billiards", "CleanAndJerk", "CliffDiving", "CricketBowling"),
        *("CricketShot", "Diving", "FrisbeeCatch", "GolfSwing", "HammerThrow", "HighJump", "JavelinThrow", "LongJump"),
        *("PoleVault", "Shotput", "SoccerPenalty", "TennisSwing", "ThrowDiscus", "VolleyballSpiking"),
    ),
    "activitynet12": tuple(
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
}
"the official class names, misspellings included, in the order of their ids"

_PROMPT_SPELLING = {
    **{"Shotput": "shot put", "Plataform diving": "platform diving", "Playing flauta": "playing flute"},
    **{"Playing guitarra": "playing guitar", "Polishing forniture": "polishing furniture"},
}
"official names that a text encoder would misread; corrected for prompts only"


def prompt_name(class_name: str) -> str:
    """The class name as plain lower-case words for a prompt, misspellings corrected: clean and jerk, shot put."""
    if class_name in _PROMPT_SPELLING:
        return _PROMPT_SPELLING[class_name]
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", class_name).lower()


@dataclass(frozen=True)
class Protocol:
    """What is scored, and how; its name stands beside every number."""

    name: str
    dataset: str
    iou: tuple[float, ...]
    "temporal IoU thresholds at which AP is computed"
    means: tuple[tuple[str, tuple[float, ...]], ...]
    "named means over thresholds, the headline mean first"
    videos: int
    "test videos it scores on the complete annotations"
    excluded: frozenset[str] = frozenset()
    "test videos it leaves out"
    snippets: bool = False
    "ground truth is rounded to snippets of 0.64 s (CO2-Net family), which collapses the shortest instances"
    ignore_ambiguous: bool = False
    "detections that touch an ambiguous segment are dropped, whatever their class (CO2-Net family)"


_BAD = {
    "video_test_0000270": "22 of its 29 instances lie beyond its end, and it has no video-level label",
    "video_test_0001292": "all its segments are ambiguous; already missing from the W-TALC pack",
    "video_test_0001496": "labelled FrisbeeCatch, while all its instances are CricketShot",
}
"videos that protocols leave out, and why"


def _protocols() -> dict[str, Protocol]:
    tenths = tuple(i / 10 for i in range(1, 8))
    means = (("0.1:0.7", tenths), ("0.1:0.5", tenths[:5]), ("0.3:0.7", tenths[2:]))
    variants = {
        "thumos14-210-seconds": (210, frozenset(_BAD), False),
        "thumos14-211-seconds": (211, frozenset(_BAD) - {"video_test_0001496"}, False),
        "thumos14-212-seconds": (212, frozenset({"video_test_0001292"}), False),
        "thumos14-212-snippets": (212, frozenset({"video_test_0001292"}), True),
    }
    found = [
        Protocol(name + suffix, "thumos14", tenths, means, videos, excluded, snippets, bool(suffix))
        for suffix in ("", "-ambiguous")
        for name, (videos, excluded, snippets) in variants.items()
    ]
    twentieths = tuple(i / 20 for i in range(10, 20))
    found.append(Protocol("activitynet12-val", "activitynet12", twentieths, (("0.5:0.95", twentieths),), 2383))
    return {protocol.name: protocol for protocol in found}


PROTOCOLS: dict[str, Protocol] = _protocols()
"every named protocol: -210- leaves out three videos (CoLA family), -211- two, -212- only the one without instances"

HEADLINE: dict[str, str] = {"thumos14": "thumos14-210-seconds", "activitynet12": "activitynet12-val"}
"the protocol a dataset's results are reported under unless another is named"


def protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: There is none; the message lists them.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"unknown protocol {name!r}; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def protocols_of(dataset: str) -> list[Protocol]:
    """The protocols of a dataset, its headline first.

    Raises:
        ValueError: Unknown dataset; the message lists them.
    """
    known_dataset(dataset)
    return [protocol for protocol in PROTOCOLS.values() if protocol.dataset == dataset]


def known_dataset(dataset: str) -> str:
    """``dataset``, refused with the list when it is none of :data:`DATASETS`."""
    if dataset not in DATASETS:
        raise ValueError(f"unknown dataset {dataset!r}; choose one of {', '.join(DATASETS)}")
    return dataset
