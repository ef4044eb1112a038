"""The paper's premise, instance by instance: how much of an action a branch leaves out, and how far it spills over.

A branch's CAS of a labelled class is normalized to [0, 1] over its video and cut at a threshold. ``complete`` is the
share of an instance above it; ``over`` the time above it within one instance length on either side, outside the class's
instances, in instance lengths (0 to 2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from wtal_lib.data.segments import Detections, GroundTruth
from wtal_lib.method.localize import VideoScores
from wtal_lib.runs.experiment import Experiment
from wtal_lib.score.completeness import activated, completeness, covered
from wtal_lib.score.completeness import outcomes as completeness_outcomes
from wtal_lib.score.diagnose import multiples
from wtal_lib.score.metrics import match

ByVideo = dict[str, VideoScores]
THRESHOLDS = tuple(i / 20 for i in range(2, 19))
"of the normalized CAS, at which completeness is set against over-completeness"


def fit(
    task: Experiment, cas: Mapping[str, Float[np.ndarray, "_ c"]], threshold: float = 0.5
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """``complete`` and ``over`` of every instance of the headline protocol; nan for one without length."""
    truth, about = task.truth, (threshold, task.batches.grid, task.batches.classes)
    beside = {name: np.where(task.snippet_truth(name), 0.0, value_tc) for name, value_tc in cas.items()}
    near = replace(truth, segment_m2=truth.segment_m2 + np.diff(truth.segment_m2) * np.array([-1.0, 1.0]))
    return covered(activated(cas, *about), truth), 3 * covered(activated(beside, *about), near)


def instances(task: Experiment, stages: Mapping[str, ByVideo], threshold: float = 0.5) -> pd.DataFrame:
    """A row an instance and stage: instance, video, class, length (seconds), stage, complete, over.

    ``stages`` are branches at some point of their training, by name. Instances whose video a stage lacks are left out.
    """
    truth, frames = task.truth, []
    about = {
        "instance": np.arange(len(truth)),
        "video": np.array(truth.videos)[truth.video_m],
        "class": np.array(truth.classes)[truth.label_m],
        "length": np.diff(truth.segment_m2)[:, 0],
    }
    for stage, scores in stages.items():
        complete_m, over_m = fit(task, task.normalized_cas(scores), threshold)
        columns = {**about, "stage": stage, "complete": complete_m, "over": over_m}
        frames.append(pd.DataFrame(columns)[np.isin(about["video"], list(scores))])
    return pd.concat(frames, ignore_index=True)


def trade(task: Experiment, stages: Mapping[str, ByVideo], thresholds: Sequence[float] = THRESHOLDS) -> pd.DataFrame:
    """Mean ``complete`` and ``over`` over all instances, of every stage at every threshold: stage, level, both."""
    rows = []
    for stage, scores in stages.items():
        cas = task.normalized_cas(scores)
        rows += [(stage, level, *map(np.nanmean, fit(task, cas, level))) for level in thresholds]
    return pd.DataFrame(rows, columns=["stage", "level", "complete", "over"])


def outcomes(task: Experiment, stages: Mapping[str, ByVideo], level: float = 0.5) -> pd.DataFrame:
    """Shares of TP, FN, FP and TN of each stage at ``level`` and at its own best one: stage, cut, level, the four.

    The best level is that of the highest F1, over :data:`THRESHOLDS`; it is an oracle, which looks at the ground truth.
    """
    rows = []
    for stage, scores in stages.items():
        cas, truth = task.normalized_cas(scores), {name: task.snippet_truth(name) for name in scores}
        at = {one: completeness_outcomes(cas, truth, one) for one in sorted({*THRESHOLDS, level})}
        best = max(THRESHOLDS, key=lambda one: at[one]["TP"] / (1 + at[one]["TP"] - at[one]["TN"]))  # as F1 ranks
        rows += [
            {"stage": stage, "cut": cut, "level": one, **at[one]} for cut, one in (("fixed", level), ("best", best))
        ]
    return pd.DataFrame(rows)


def typical_video(task: Experiment, cbp: ByVideo, vlp: ByVideo, level: float = 0.5) -> str:
    """The test video whose CBP misses and VLP additions are both nearest to their medians over all such videos.

    Of those with one class and 3 to 12 instances, which can be seen in a picture. It shows what is usual, not what is
    best.
    """
    rates = {}
    for name in cbp:
        truth = {name: task.snippet_truth(name)}
        if truth[name].any(axis=0).sum() != 1 or not 3 <= len(task.data.annotations.videos[name].segments) <= 12:
            continue
        one, other = (completeness_outcomes(task.normalized_cas({name: of[name]}), truth, level) for of in (cbp, vlp))
        rates[name] = one["FN"] / (one["TP"] + one["FN"]), other["FP"] / (other["TP"] + other["FN"])
    rank = pd.DataFrame(rates, index=["missed", "added"]).T.rank(pct=True) - 0.5
    return str(rank.abs().max(axis=1).idxmin())


def found(detections: Detections, truth: GroundTruth, iou: float = 0.5) -> Bool[np.ndarray, " m"]:
    """Which instances the best G detections of their class find, where the class has G instances."""
    best_n = multiples(detections, truth) == 0
    columns = {name: getattr(detections, name)[best_n] for name in ("video_n", "label_n", "segment_n2", "score_n")}
    return match(replace(detections, **columns), truth, [iou]).finder_km[0] >= 0


def shared_misses(cbp_m: Bool[np.ndarray, " m"], vlp_m: Bool[np.ndarray, " m"]) -> dict[str, float]:
    """Shares of instances that both branches find, one, or neither; ``by chance``: neither, were they independent."""
    found = {
        "both": cbp_m & vlp_m,
        "CBP alone": cbp_m & ~vlp_m,
        "VLP alone": ~cbp_m & vlp_m,
        "neither": ~cbp_m & ~vlp_m,
    }
    by_chance = float((~cbp_m).mean() * (~vlp_m).mean())
    return {**{name: float(of_m.mean()) for name, of_m in found.items()}, "by chance": by_chance}


def overlaps(detections: Mapping[str, Detections], truth: GroundTruth) -> pd.DataFrame:
    """Overlap (tIoU) of instances with their best-scored detection, by branch; ``better``: an oracle's choice."""
    columns = {branch: completeness(of, truth).tiou_m for branch, of in detections.items()}
    better_m = np.maximum(columns["cbp"], columns["vlp"])
    return pd.DataFrame({"instance": np.arange(len(truth)), **columns, "better": better_m})


def better_by_class(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A row a run: preset, seed, mAP (%) of branches and fusion, ``better``: an oracle's choice of branch by class."""
    rows = []
    for record in records:
        by_branch = {branch: of[record["headline"]["protocol"]]["ap"] for branch, of in record["metrics"].items()}
        table = 100 * pd.DataFrame(by_branch).map(lambda ap: np.mean(np.array(ap, dtype=float))).dropna()
        table["better"] = table[["cbp", "vlp"]].max(axis=1)
        rows.append({"preset": record["preset"], "seed": record["seed"], **table.mean()})
    return pd.DataFrame(rows)
