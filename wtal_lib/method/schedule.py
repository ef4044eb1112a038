"""Who teaches whom, for how long: the schedule of a run as data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from wtal_lib.method.config import Schedule

Name = Literal["cbp", "vlp"]


@dataclass(frozen=True)
class Phase:
    """A stretch of updates in which the same branches learn from the same teachers."""

    index: int
    "position in the schedule, from 0"
    name: str
    "warmup, B, F, joint or apart"
    students: tuple[Name, ...]
    "the branches that learn; the others are frozen"
    taught: tuple[Name, ...]
    "the students that also learn from confident pseudo-labels"
    start: int
    "updates each student has had when the phase begins: its place in the branch's own stream of batches"
    steps: int
    "updates of each student"


def alternate(config: Schedule) -> Iterator[Phase]:
    """The phases of a run: warm-up in stretches of ``period``, then B, F, B, F … (or both at once, or nobody taught).

    Whatever the kind, each branch ends with ``warmup + rounds * period`` updates, so that variants compare at equal
    cost. A step that is switched off trains its branch on the video labels alone for as long.
    """
    count = itertools.count()
    for start in range(0, config.warmup, config.period):
        yield Phase(next(count), "warmup", ("cbp", "vlp"), (), start, min(config.period, config.warmup - start))
    pair: dict[str, tuple[Name, bool]] = {"b": ("vlp", config.b_step), "f": ("cbp", config.f_step)}
    for start in range(config.warmup, updates(config), config.period):
        if config.kind != "alternate":
            taught = tuple(student for student, on in pair.values() if on and config.kind == "joint")
            yield Phase(next(count), config.kind, ("cbp", "vlp"), taught, start, config.period)
            continue
        for student, on in (pair[step] for step in config.order):
            name = "B" if student == "vlp" else "F"
            yield Phase(next(count), name, (student,), (student,) if on else (), start, config.period)


def updates(config: Schedule) -> int:
    """Updates that each branch has had at the end."""
    return config.warmup + config.rounds * config.period
