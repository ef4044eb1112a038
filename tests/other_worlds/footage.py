"""What the other worlds are drawn over: a video's snippets, its instances, and which classes of THUMOS14 look alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wtal_lib.data.instances import Video

FPS, STRIDE = 25, 16
SNIPPET = STRIDE / FPS
"seconds"
GROUPS = (
    "CliffDiving Diving",
    "CricketBowling CricketShot BaseballPitch",
    "HammerThrow ThrowDiscus Shotput JavelinThrow",
    "HighJump LongJump PoleVault",
    "BasketballDunk VolleyballSpiking",
    "TennisSwing GolfSwing Billiards",
    "CleanAndJerk",
    "FrisbeeCatch SoccerPenalty",
)
"classes that look alike"
SAME_EVENT = 0.8
"tIoU above which two instances are one event with two labels (Diving and CliffDiving)"


class Instance(NamedTuple):
    """Start and stop in seconds, within the video, and the index of the class."""

    start: float
    stop: float
    label: int


class Event(NamedTuple):
    """Something that happens once, under one class or several."""

    start: float
    stop: float
    labels: list[int]


def snippets(video: Video) -> int:
    """The number of whole snippets of a video."""
    return int(video.duration * FPS // STRIDE)


def instances(video: Video, classes: Sequence[str]) -> list[Instance]:
    """A video's instances in order, cut at its last snippet."""
    end = snippets(video) * SNIPPET
    rows = zip(video.segments.tolist(), video.instance_labels, strict=True)
    found = (Instance(a, min(b, end), classes.index(label)) for (a, b), label in rows if a < end - 0.05)
    return sorted(one for one in found if one.stop > one.start)


def events(video: Video, classes: Sequence[str]) -> list[Event]:
    """A video's events by their start, not cut; an instance that nearly coincides with an earlier one joins it."""
    found: list[Event] = []
    rows = zip(video.segments.tolist(), video.instance_labels, strict=True)
    for (start, stop), name in sorted(rows, key=lambda row: row[0][0]):
        label = classes.index(name)
        for one in found:
            both = min(one.stop, stop) - max(one.start, start)
            if both > SAME_EVENT * (max(one.stop, stop) - min(one.start, start)):
                one.labels.extend({label} - set(one.labels))
                break
        else:
            found.append(Event(start, stop, [label]))
    return found


def labels(video: Video, classes: Sequence[str]) -> list[int]:
    """The indices of a video's classes, in order."""
    return sorted({classes.index(name) for name in video.instance_labels})


def groups(classes: Sequence[str], alike: Sequence[str] = GROUPS) -> np.ndarray:
    """(c,) index of the group of each class."""
    return np.array([next(i for i, names in enumerate(alike) if one in names.split()) for one in classes])
