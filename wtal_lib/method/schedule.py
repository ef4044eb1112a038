"""Who teaches whom, for how long: the schedule of a run as data."""

from __future__ import annotations

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
    "the students that also learn from the other branch's confident pseudo-labels"
    start: int
    "updates each student has had when the phase begins: its place in the branch's own stream of batches"
    steps: int
    "updates of each student"


def alternate(config: Schedule) -> Iterator[Phase]:
    """The phases of a run: warm-up in stretches of ``period``, then B, F, B, F … (or both at once, or nobody taught).

    Each branch ends with ``warmup + rounds * period`` updates: a step that is off trains on the video labels alone.
    """
    index = 0
    for start in range(0, config.warmup, config.period):
        steps = min(config.period, config.warmup - start)
        yield Phase(index, "warmup", ("cbp", "vlp"), (), start, steps)
        index += 1
    pair: dict[str, tuple[Name, bool]] = {"b": ("vlp", config.b_step), "f": ("cbp", config.f_step)}
    for turn in range(config.rounds):
        start = config.warmup + turn * config.period
        if config.kind != "alternate":
            taught = tuple(student for student, on in pair.values() if on and config.kind == "joint")
            yield Phase(index, config.kind, ("cbp", "vlp"), taught, start, config.period)
            index += 1
            continue
        for step in config.order:
            student, on = pair[step]
            yield Phase(index, step.upper(), (student,), (student,) if on else (), start, config.period)
            index += 1
