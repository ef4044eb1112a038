"""Finished runs looked at again: branches restored and scored, localized by other rules, resampled by video."""

from __future__ import annotations

import json
import os
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
from wtal_lib.method.heads import PRECOMPUTED
from wtal_lib.method.localize import localize
from wtal_lib.method.schedule import Name
from wtal_lib.method.state import State
from wtal_lib.runs.checkpoints import resume
from wtal_lib.runs.experiment import Experiment, Scores
from wtal_lib.runs.records import METHOD, project_root
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Data
from wtal_lib.runs.store import Store, kept_detections
from wtal_lib.score.evaluate import report
from wtal_lib.score.metrics import match
from wtal_lib.settings import digest, replaced, to_dict
from wtal_lib.studies import statistics
from wtal_lib.studies.tables import score

RULES: dict[str, dict[str, dict[str, object]]] = {
    "fusion": {
        "product": {"fusion": "product"},
        "maximum": {"fusion": "max"},
        "sum, half CBP": {"cbp_share": 0.5},
        "sum, 30 % CBP": {"cbp_share": 0.3},
    },
    "cut levels": {"half as many": {"localize__thresholds": 10}, "snippets cut in four": {"localize__upsample": 4}},
    "segment score": {
        "without the video's score": {"localize__video_weight": 0.0},
        "without the contrast's margins": {"localize__outer": 0.0},
    },
    "overlaps": {"hard suppression": {"localize__nms": "hard"}, "all kept": {"localize__nms": "none"}},
}
"Rules of inference, by what they are about: the fields that are changed, none of which training reads"


def scores(config: Config, data: Data, store: Store) -> tuple[Experiment, Scores]:
    """The task of a run, and its scores by branch and test video; computed where the store lacks its networks."""
    task, state = _restored(config, data, store)
    return task, task.scores(state)


def as_foreign(config: Config, data: Data, store: Store, folder: Path) -> str:
    """The CBP sequences of a run, one array (t, c) a training or test video, saved as another method's would be.

    Returns ``precomputed:PATH`` for a config, the path seen from the project.
    """
    task, state = _restored(config, data, store)
    names = [*task.batches.training, *task.test]
    found = predict.video_scores(task.config, task.batches, {"cbp": state.averages["cbp"]}, names)["cbp"]
    for name, video in found.items():
        with replacing(folder / f"{name}.npy") as file:
            np.save(file, video.cas_tc)
    return PRECOMPUTED + Path(os.path.relpath(folder, project_root())).as_posix()


def _restored(config: Config, data: Data, store: Store) -> tuple[Experiment, State]:
    """The task of a run, and its state at the end."""
    task = Experiment(config, data)
    run(config, data, store, keep=["networks"])
    state = task.fresh()
    resume(task.config, task.batches, state, store.cache / task.identity)
    return task, state


def resampled(
    rows: Sequence[str],
    runs: Sequence[Mapping[str, Any]],
    store: Store,
    annotations: Annotations,
    branch: str = "fused",
) -> dict[str, Float[np.ndarray, "r s"]]:
    """By row, :func:`statistics.resampled` of its ``runs``' kept detections; FileNotFoundError where they are gone."""
    protocol = get_dataset(annotations.dataset).headline
    truth = ground_truth(annotations, protocol)
    matchings: dict[str, list[Any]] = {}
    for row, record in zip(rows, runs, strict=True):
        found = kept_detections(store.cache / record["identity"], annotations, branch)
        matchings.setdefault(row, []).append(match(found, truth, protocol.means[0][1]))
    return {row: statistics.resampled(of) for row, of in matchings.items()}


def by_rule(config: Config, data: Data, store: Store) -> pd.DataFrame:
    """Fused mAP of a run under its own and other rules, cached, nothing trained again: question, row, seed, scores."""
    place = store.cache / Experiment(config, data).identity / "rules.json"
    try:
        known = dict(json.loads(place.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # missing or damaged
        known = {}
    rows, found = [], None
    asked = [(question, row, fields) for question, of in RULES.items() for row, fields in of.items()]
    for question, row, fields in [("", "full", {}), *asked]:
        changed = replaced(config, **fields)
        rule = changed.fusion, changed.cbp_share, changed.earned, to_dict(changed.localize)
        key = digest([*rule, METHOD])
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


def _headline(
    config: Config, task: Experiment, scores: Scores, reliability: Mapping[Name, float] | None
) -> dict[str, float]:
    """The fused scores of a run under the rules of ``config``, percent."""
    videos = [predict.fuse([scores["cbp"][name], scores["vlp"][name]], config, reliability) for name in scores["cbp"]]
    found = localize(videos, config.localize, task.batches.grid, task.batches.classes)
    scored = report(found, task.data.annotations, [task.protocol])["protocols"]
    return score({"metrics": {"fused": scored}}, "fused", *scored)
