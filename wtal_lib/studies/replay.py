"""Finished runs looked at again: branches restored and scored, localized by other rules, resampled by video."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from wtal_lib.data.annotations import Annotations, ground_truth
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import replacing
from wtal_lib.method import predict
from wtal_lib.method.config import Config
from wtal_lib.method.localize import localize
from wtal_lib.method.schedule import Name, alternate
from wtal_lib.method.state import State, fresh, resume
from wtal_lib.runs import records
from wtal_lib.runs.run import Scores, Task, chosen_device, run
from wtal_lib.runs.sources import Data
from wtal_lib.score.detections import read_detections
from wtal_lib.score.evaluate import report
from wtal_lib.score.metrics import match
from wtal_lib.settings import digest, replaced, to_dict
from wtal_lib.studies import statistics
from wtal_lib.studies.tables import score

RULES: dict[str, dict[str, dict[str, object]]] = {
    "fusion": {
        "product": {"fusion": "product"},
        "maximum": {"fusion": "max"},
        "sum, 70 % CBP": {"cbp_share": 0.7},
        "sum, 30 % CBP": {"cbp_share": 0.3},
    },
    "cut levels": {
        "half as many": {"localize__thresholds": 10},
        "snippets cut in four": {"localize__upsample": 4},
    },
    "segment score": {
        "without the video's score": {"localize__video_weight": 0.0},
        "without the contrast's margins": {"localize__outer": 0.0},
    },
    "overlaps": {
        "hard suppression": {"localize__nms": "hard"},
        "all kept": {"localize__nms": "none"},
    },
}
"Rules that training knows nothing of, by what they are about: fields that are changed at inference alone"


def scores(config: Config, data: Data, store: Path) -> tuple[Task, Scores]:
    """The task of a run, and the scores of each branch and of their fusion on every test video.

    The run is computed where the store lacks it or its checkpoint.

    Raises:
        ValueError, OSError, FloatingPointError: as :func:`wtal_lib.runs.run.run`.
    """
    task, state = _restored(config, data, store)
    return task, task.scores(state)


def _restored(config: Config, data: Data, store: Path) -> tuple[Task, State]:
    """The task of a run, and its state at the end; computed where the store lacks it or its checkpoint."""
    task = Task(config, data, chosen_device("auto"))
    folder = store / task.identity
    trained = (folder / "last.safetensors").is_file() or not list(alternate(config.schedule))
    run(config, data, folder, curve=False, anew=not trained)
    state = fresh(config, task.batches, task.text(), task.logit_scale, task.device)
    resume(config, task.batches, state, folder)
    return task, state


def resampled(
    rows: Sequence[str], runs: Sequence[Mapping[str, Any]], store: Path, annotations: Annotations, branch: str = "fused"
) -> dict[str, Float[np.ndarray, "r s"]]:
    """By row, :func:`statistics.resampled` of its runs under the headline protocol, from the detections they kept.

    Args:
        rows: the row of each run.
        runs: their records, those of a row in the order of their seeds.
        store: holds the runs.
        annotations: whose test videos are resampled.
        branch: whose detections are scored.
    """
    protocol = get_dataset(annotations.dataset).headline
    truth, name = ground_truth(annotations, protocol), "" if branch == "fused" else f"_{branch}"
    matchings: dict[str, list[Any]] = {}
    for row, record in zip(rows, runs, strict=True):
        found = read_detections(store / record["identity"] / f"detections{name}.json", annotations)
        matchings.setdefault(row, []).append(match(found, truth, protocol.means[0][1]))
    return {row: statistics.resampled(of) for row, of in matchings.items()}


def by_rule(
    config: Config, data: Data, store: Path, rules: Mapping[str, Mapping[str, Mapping[str, object]]] = RULES
) -> pd.DataFrame:
    """The fused mAP of one run under its own rules and under others: question, row, seed, :func:`tables.score`.

    Nothing is trained again, and what was scored once under a set of rules is kept beside the run's record.
    """
    place = store / Task(config, data).identity / "rules.json"
    try:
        known = dict(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # missing or damaged
        known = {}
    rows, found = [], None
    asked = [(question, row, fields) for question, of in rules.items() for row, fields in of.items()]
    for question, row, fields in [("", "full", {}), *asked]:
        changed = replaced(config, **fields)
        rule = changed.fusion, changed.cbp_share, changed.earned, to_dict(changed.localize)
        key = digest([*rule, records.method_digest()])
        if key not in known:
            if found is None:
                task, state = _restored(config, data, store)
                found = task, task.scores(state), state.reliability
            known[key] = _headline(changed, *found)
        rows.append({"question": question, "row": row, "seed": config.seed, **known[key]})
    if found is not None:
        with replacing(place) as file:
            file.write(json.dumps(known).encode())
    return pd.DataFrame(rows)


def _headline(config: Config, task: Task, scores: Scores, reliability: Mapping[Name, float] | None) -> dict[str, float]:
    """The fused scores of a run under the rules of ``config``, percent."""
    videos = [predict.fuse([scores["cbp"][name], scores["vlp"][name]], config, reliability) for name in scores["cbp"]]
    found = localize(videos, config.localize, task.batches.grid, task.batches.classes)
    name = get_dataset(config.dataset).headline.name
    return score({"metrics": {"fused": report(found, task.data.annotations, [name])["protocols"]}}, "fused", name)
