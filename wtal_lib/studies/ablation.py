"""The paper's questions as runs: for each question its rows, each a configuration, a seed and a world.

The main comparisons run with every seed, side questions with one. Runs that begin alike share their warm-up.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from wtal_lib.method.config import Config
from wtal_lib.method.presets import preset
from wtal_lib.runs.sources import Spec
from wtal_lib.runs.sweep import Task
from wtal_lib.settings import replaced
from wtal_lib.studies.tables import finished, score

STEPS = ("late fusion", "B only", "F only", "full", "joint", "literal")
"Rows of the main comparison, each a preset: late fusion is neither B nor F, joint both in every step"
MAIN = ("late_fusion", "full", "supervised", "vanilla_vlp")
"Presets of the main table; its CBP and VLP lines are the branches of late_fusion"
CURVED = ("full", "late_fusion")
"Presets whose test mAP is followed through training"
NEAR = (-0.1, 0.0, 0.1)
"What is added to the default thresholds of background and of foreground"
WIDE = ("turns of half the length", "twice as heavy", "transformer")
"Side rows that are asked with ``wide`` only"
SETTINGS = ("vlp_weak", "cbp_weak", "middle", "cbp_strong", "vlp_strong")
"Difficulties of the simulated world; no threshold was tuned to a single one"


@dataclass(frozen=True)
class Row:
    """One run of a question."""

    row: str
    "its name in the question's table"
    config: Config
    setting: str = "middle"
    "difficulty, where features are simulated"
    question: str = ""
    "the side question that it answers; empty for the base of all of them"
    curve: bool = False
    "whether its test mAP is followed through training"
    keep: tuple[str, ...] = ()
    "what is kept beside its record: networks, detections"


def presets(names: Sequence[str], dataset: str, profile: str, seeds: Sequence[int]) -> list[Row]:
    """The named runs with every seed; of vanilla VLP one is enough, since nothing is trained.

    They keep their detections, to be resampled, and the first of :data:`CURVED` their networks, to be replayed.
    """
    rows = []
    for name in names:
        for seed in seeds[:1] if name == "vanilla_vlp" else seeds:
            keep = ("detections", "networks") if name in CURVED and seed == seeds[0] else ("detections",)
            rows.append(Row(name, preset(name, dataset, profile, seed), curve=name in CURVED, keep=keep))
    return rows


def steps(dataset: str, profile: str, seeds: Sequence[int]) -> list[Row]:
    """:data:`STEPS` with every seed, without training curves."""
    names = {row.lower().replace(" ", "_"): row for row in STEPS}
    return [replace(row, row=names[row.row], curve=False) for row in presets(list(names), dataset, profile, seeds)]


def sides(dataset: str, profile: str, seed: int, *, wide: bool = False, context: bool = False) -> list[Row]:
    """The base of the side questions, then the rows that answer them; those in :data:`WIDE` with ``wide`` only.

    The profile ``ci`` asks one row a question. ``context`` adds learnt prompts, which need the text tower's weights.
    """
    base = preset("full", dataset, profile, seed)
    rounds, period = base.schedule.rounds, base.schedule.period
    asked: dict[str, dict[str, dict[str, object]]] = {
        "schedule": {
            "F before B": {"schedule__order": "fb"},
            "turns of twice the length": {"schedule__period": 2 * period, "schedule__rounds": max(1, rounds // 2)},
            "turns of half the length": {"schedule__period": max(1, period // 2), "schedule__rounds": 2 * rounds},
        },
        "pseudo-labels": {
            "one kind of label a step": {"pseudo_labels__sides": "one"},
            "soft targets": {"pseudo_labels__targets": "soft"},
            "without smoothing": {"pseudo_labels__smoothing": 0.0},
        },
        "distillation": {
            "as heavy as the other terms": {"losses__distill": 1.0},
            "twice as heavy": {"losses__distill": 2 * base.losses.distill},
            "into the attention too": {"pseudo_labels__into": "both"},
        },
        "class rows": {
            "fixed prompts": {"prompts": "fixed"},
            **({"prompts with learnt context": {"prompts": "context"}} if context else {}),
        },
        "temporal model": {
            "each snippet alone": {"cbp__temporal": "none", "vlp__temporal": "none"},
            "transformer": {"cbp__temporal": "transformer", "vlp__temporal": "transformer"},
        },
    }
    rows = [Row("full", base)]
    for question, changes in asked.items():
        names = [name for name in changes if wide or name not in WIDE][: 1 if profile == "ci" and not wide else None]
        rows += [Row(name, replaced(base, **changes[name]), question=question) for name in names]
    return rows


def thresholds(dataset: str, profile: str, seed: int, *, wide: bool = False) -> list[Row]:
    """The full method with thresholds :data:`NEAR` the default, one moved (``ci``: up) or, ``wide``, every pair."""
    base = preset("full", dataset, profile, seed)
    labels = base.pseudo_labels
    near = NEAR[1:] if profile == "ci" and not wide else NEAR
    rows = []
    for lower, upper in itertools.product(near, near):
        if wide or not (lower and upper):
            low, high = round(labels.background_below + lower, 3), round(labels.foreground_above + upper, 3)
            fields = {"pseudo_labels__background_below": low, "pseudo_labels__foreground_above": high}
            rows.append(Row(f"{low:g} / {high:g}", replaced(base, **fields)))
    return rows


def threshold_pairs(rows: Sequence[Row]) -> pd.DataFrame:
    """The thresholds of each row: below (background), above (foreground)."""
    labels = [row.config.pseudo_labels for row in rows]
    pairs = [(one.background_below, one.foreground_above) for one in labels]
    return pd.DataFrame(pairs, columns=["below", "above"])


def brief(dataset: str, profile: str, seed: int) -> Config:
    """The full method with few updates, short enough for a notebook: to look at, not to measure."""
    warmup, period, rounds = {"ci": (60, 15, 2), "quick": (250, 50, 3), "full": (100, 25, 2)}[profile]
    fields = {"schedule__warmup": warmup, "schedule__period": period, "schedule__rounds": rounds}
    return preset("full", dataset, profile, seed, **fields)


def difficulties(
    dataset: str, profile: str, seeds: Sequence[int], simulated: bool = True, *, wide: bool = False
) -> list[Row]:
    """Late fusion and the full method with every seed in every world of :data:`SETTINGS`; ``ci`` takes three of them.

    With ``wide`` the literal reading too. Real features are as difficult as they are: one world.
    """
    settings = SETTINGS[: 3 if profile == "ci" else None] if simulated else ("middle",)
    return [
        Row(name, preset(name, dataset, profile, seed), setting)
        for setting in settings
        for seed in seeds
        for name in ("late_fusion", "full", *(["literal"] if wide else []))
    ]


def tasks(rows: Sequence[Row], spec: Spec) -> list[Task]:
    """Tasks of a sweep: each row's configuration, on the data of ``spec`` in the row's own world."""
    return [Task(row.config, replace(spec, setting=row.setting), row.curve, row.keep) for row in rows]


def scored(rows: Sequence[Row], records: Sequence[Mapping[str, Any]], branch: str = "") -> pd.DataFrame:
    """A line a run: question, row, setting, seed, and its headline :func:`tables.score`; ValueError for failed runs."""
    lines = []
    for row, record in zip(rows, finished(records), strict=True):
        about = {"question": row.question, "row": row.row, "setting": row.setting, "seed": row.config.seed}
        lines.append({**about, **score(record, branch)})
    return pd.DataFrame(lines)
