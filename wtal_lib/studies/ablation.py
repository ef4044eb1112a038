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
from wtal_lib.runs.store import Store
from wtal_lib.runs.sweep import Task, sweep
from wtal_lib.settings import replaced
from wtal_lib.simulate.knobs import difficulty
from wtal_lib.studies.tables import effects, finished, score

STEPS = ("late fusion", "B only", "F only", "full", "joint", "paper")
"""Rows of the main comparison, each a preset: late fusion is neither B nor F, joint both in every step, and paper gives
background alone in B and foreground alone in F"""
MAIN = ("late_fusion", "full", "supervised", "vanilla_vlp")
"Presets of the main table; its CBP and VLP lines are the branches of late_fusion"
CURVED = ("full", "late_fusion")
"Presets whose test mAP is followed through training"
NEAR = (-0.1, 0.0, 0.1)
"What is added to the default thresholds of background and of foreground"
WIDE = (
    "turns of a third of the length",
    "without smoothing",
    "both kinds alike",
    "twice as heavy",
    "transformer",
)
"Side rows that are asked with ``wide`` only"
HELD_OUT = range(5000, 5005)
"""Seeds of the drawn worlds that are reported. No constant was chosen on them: those for choosing are below 5000. They
have been looked at since (`notebooks/DECISIONS.md`): whoever moves a constant takes new ones"""
HEADS = ("cola", "co2net")
"Other papers' CBP heads"
WEAK = ("vlp_weak", "cbp_weak", "vlp_blind", "cbp_blind")
"Worlds in which one branch sees less, or nothing, of what happens"
SHARING = ("shared_0", "shared_0.25", "middle", "shared_0.75", "shared_1")
"Worlds by how much of what is hard to see is so for both modalities"
OTHER_WORLDS = ("held_out", "weak", "sharing")
"Questions about worlds other than that of the data, which need simulated features"


@dataclass(frozen=True)
class Row:
    """One run of a question."""

    row: str
    "its name in the question's table"
    config: Config
    setting: str = "middle"
    "difficulty, where features are simulated"
    world: int | None = None
    "seed of the simulated world; None for the one of the data"
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


def beside_default(
    name: str, changes: Mapping[str, Mapping[str, Any]], dataset: str, profile: str, seeds: Sequence[int]
) -> list[Row]:
    """The named run as it is (``default``), then with each of ``changes``, by row; with every seed.

    They keep their detections, to be resampled.
    """
    fields = {"default": {}, **changes}
    return [
        Row(row, preset(name, dataset, profile, seed, **own), keep=("detections",))
        for row, own in fields.items()
        for seed in seeds
    ]


def rules(dataset: str, profile: str, seeds: Sequence[int], *, wide: bool = False) -> list[Row]:
    """Whose word, which kinds of label and into what: late fusion, which has none, then every combination.

    Without ``wide`` labels go into activation and attention, and the profile ``ci`` takes the teacher's word alone.
    """
    kinds: dict[str, dict[str, object]] = {"one": {"pseudo_labels__other_kind": 0}, "both": {}}
    words = ("teacher",) if profile == "ci" else ("teacher", "mean", "ternary")
    targets = ("both", "activation", "attention") if wide else ("both",)
    rows = [Row("late fusion", preset("late_fusion", dataset, profile, seed)) for seed in seeds]
    for into, word, kind in itertools.product(targets, words, kinds):
        fields = {"pseudo_labels__word": word, "pseudo_labels__into": into, **kinds[kind]}
        rows += [Row(f"{word}, {kind}, {into}", preset("full", dataset, profile, seed, **fields)) for seed in seeds]
    return rows


def rule_table(rows: Sequence[Row]) -> pd.DataFrame:
    """Word, kinds and target of each row of :func:`rules` but for late fusion's."""
    labels = [row.config.pseudo_labels for row in rows]
    kinds = ["both" if one.other_kind else "one" for one in labels]
    return pd.DataFrame([vars(one) for one in labels], columns=["word", "into"]).assign(kinds=kinds)


def sides(dataset: str, profile: str, seeds: Sequence[int], *, wide: bool = False, context: bool = False) -> list[Row]:
    """The base of the side questions, then the rows that answer them; those in :data:`WIDE` with ``wide`` only.

    The profile ``ci`` asks one row a question. ``context`` adds learnt prompts, which need the text tower's weights.
    """
    base = preset("full", dataset, profile)
    rounds, period = base.schedule.rounds, base.schedule.period
    asked: dict[str, dict[str, dict[str, object]]] = {
        "schedule": {
            "F before B": {"schedule__order": "fb"},
            "one long turn each": {"schedule__period": rounds * period, "schedule__rounds": 1},
            "turns of a third of the length": {"schedule__period": max(1, period // 3), "schedule__rounds": 3 * rounds},
        },
        "pseudo-labels": {
            "soft targets": {"pseudo_labels__targets": "soft"},
            "both kinds alike": {"pseudo_labels__other_kind": 1.0},
            "without smoothing": {"pseudo_labels__smoothing": 0.0},
            "every teacher believed": {"pseudo_labels__earned": False, "earned": False},
        },
        "distillation": {
            "as heavy as the other terms": {"cbp__distill": 1.0, "vlp__distill": 1.0},
            "twice as heavy": {"cbp__distill": 2 * base.cbp.distill, "vlp__distill": 2 * base.vlp.distill},
        },
        "class rows": {
            "fixed prompts": {"prompts": "fixed"},
            **({"prompts with learnt context": {"prompts": "context"}} if context else {}),
        },
        "temporal model": {
            "each snippet alone": {"cbp__temporal": "none", "vlp__temporal": "none"},
            "transformer": {"vlp__temporal": "transformer", "vlp__learning_rate": 1e-4},
        },
    }
    rows = [Row("full", preset("full", dataset, profile, seed)) for seed in seeds]
    for question, changes in asked.items():
        names = [name for name in changes if wide or name not in WIDE][: 1 if profile == "ci" and not wide else None]
        rows += [
            Row(name, preset("full", dataset, profile, seed, **changes[name]), question=question)
            for name in names
            for seed in seeds
        ]
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
    names = {"background_below": "below", "foreground_above": "above"}
    return pd.DataFrame([vars(row.config.pseudo_labels) for row in rows], columns=[*names]).rename(columns=names)


def brief(dataset: str, profile: str, seed: int) -> Config:
    """The full method with few updates, short enough for a notebook: to look at, not to measure."""
    whole = preset("full", dataset, profile, seed)
    known = {"ci": (60, 15, 2), "quick": (whole.schedule.warmup, 75, 2), "full": (100, 25, 2)}
    warmup, period, rounds = known[profile]
    return replaced(whole, schedule__warmup=warmup, schedule__period=period, schedule__rounds=rounds)


def held_out(dataset: str, profile: str, seed: int, *, wide: bool = False) -> list[Row]:
    """Late fusion and the full method in each held-out world; ``ci`` takes two of them.

    With ``wide`` the preset `paper`, the supervised bound and late fusion with other papers' CBP heads too.
    """
    rows = []
    for world in HELD_OUT[: 2 if profile == "ci" else None]:
        names = ("late_fusion", "full", *(("paper", "supervised") if wide else ()))
        runs = {name: preset(name, dataset, profile, seed) for name in names}
        if wide:
            for head in HEADS:
                runs[f"late fusion, head {head}"] = preset("late_fusion", dataset, profile, seed, cbp__head=head)
        rows += [Row(name, config, "drawn", world) for name, config in runs.items()]
    return rows


def in_settings(settings: Sequence[str], dataset: str, profile: str, seeds: Sequence[int]) -> list[Row]:
    """Late fusion and the full method with every seed in worlds of each setting."""
    names = ("late_fusion", "full")
    return [
        Row(name, preset(name, dataset, profile, seed), setting)
        for setting in settings
        for seed in seeds
        for name in names
    ]


def questions(
    dataset: str, profile: str, seeds: Sequence[int], *, wide: bool = False, context: bool = False
) -> dict[str, list[Row]]:
    """The rows of every question, by its name; :data:`OTHER_WORLDS` last."""
    about, few = (dataset, profile), seeds[:1]
    return {
        "steps": steps(*about, seeds),
        "rules": rules(*about, few, wide=wide),
        "thresholds": thresholds(*about, seeds[0], wide=wide),
        "sides": sides(*about, few, wide=wide, context=context),
        "held_out": held_out(*about, seeds[0], wide=wide),
        "weak": in_settings(WEAK, *about, few),
        "sharing": in_settings(SHARING if wide else SHARING[::2], *about, few),
    }


def computed(asked: Mapping[str, Sequence[Row]], spec: Spec, place: Store, **options: Any) -> dict[str, list[Any]]:
    """Records of the rows of each question, all of them by one :func:`~wtal_lib.runs.sweep.sweep`, with its options."""
    found = iter(sweep(tasks([row for rows in asked.values() for row in rows], spec), place, **options))
    return {question: list(itertools.islice(found, len(rows))) for question, rows in asked.items()}


def tasks(rows: Sequence[Row], spec: Spec) -> list[Task]:
    """Tasks of a sweep: each row's configuration, on the data of ``spec`` in the row's own world."""
    worlds = [spec.world if row.world is None else row.world for row in rows]
    specs = [replace(spec, setting=row.setting, world=world) for row, world in zip(rows, worlds, strict=True)]
    return [Task(row.config, of, row.curve, row.keep) for row, of in zip(rows, specs, strict=True)]


def scored(rows: Sequence[Row], records: Sequence[Mapping[str, Any]], branch: str = "") -> pd.DataFrame:
    """A line a run: question, row, setting, seed, and its headline :func:`tables.score`; ValueError for failed runs."""
    lines = []
    for row, record in zip(rows, finished(records), strict=True):
        about = {"question": row.question, "row": row.row, "setting": row.setting, "world": row.world}
        about["seed"] = row.config.seed
        lines.append({**about, **score(record, branch)})
    return pd.DataFrame(lines)


def by_world(rows: Sequence[Row], records: Sequence[Mapping[str, Any]], margin: float) -> pd.DataFrame:
    """A line a world and row: mean mAP of each branch and fused, and the fused difference from late fusion there.

    Columns world, row, cbp, vlp, then those of :func:`tables.effects`; ``margin`` is that of a single seed.
    Raises ValueError: a run failed.
    """
    table = scored(rows, records)
    for branch in ("cbp", "vlp"):
        table[branch] = scored(rows, records, branch)["mean"]
    seed = table["world"].map(lambda one: "" if pd.isna(one) else f" {one:.0f}")
    table["world"] = table["setting"].str.replace("_", " ") + seed
    parts = []
    for world, part in table.groupby("world", sort=False):
        branches = part.groupby("row", sort=False)[["cbp", "vlp"]].mean().reset_index()
        parts.append(branches.merge(effects(part, "late_fusion", margin=margin), on="row").assign(world=world))
    return pd.concat(parts, ignore_index=True)


def by_sharing(rows: Sequence[Row], records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Gain of the full method by the share of difficulty both modalities have: shared, seed, both scores, gain."""
    table = scored(rows, records).pivot(index=["setting", "seed"], columns="row", values="mean").reset_index()
    table["gain"] = table["full"] - table["late_fusion"]
    table["shared"] = [difficulty(setting).shared for setting in table["setting"]]
    columns = ["shared", "seed", "late_fusion", "full", "gain"]
    return table[columns].sort_values(["shared", "seed"], ignore_index=True)
