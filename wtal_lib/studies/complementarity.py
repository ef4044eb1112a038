"""The paper's premise, instance by instance: how much of an action a branch leaves out, and how far it spills over.

A branch's activation of a labelled class is stretched to [0, 1] over its video and cut at a level. ``complete`` is the
share of an instance above the cut. ``over`` is the time above the cut beside it (within one instance length on either
side, in no instance of the class), in instance lengths: 0 is none, 2 the most there can be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from wtal_lib.data.segments import Detections, GroundTruth
from wtal_lib.method.localize import VideoScores, min_max
from wtal_lib.runs.run import Task
from wtal_lib.score.completeness import activated, completeness, covered
from wtal_lib.score.diagnose import multiples
from wtal_lib.score.metrics import match

BY_VIDEO = Mapping[str, VideoScores]
LEVELS = tuple(level / 20 for level in range(2, 19))
"cuts at which the trade between the two errors is drawn"


def stretched(task: Task, said: BY_VIDEO) -> dict[str, Float[np.ndarray, "_ c"]]:
    """Each video's activation, every class that occurs in it stretched to [0, 1]; 0 for the classes that do not."""
    found = {}
    for name, video in said.items():
        cas_tc = video.cas_tc
        found[name] = np.zeros(cas_tc.shape, dtype=np.float64)
        for c in np.flatnonzero(task.snippet_truth(name).any(axis=0)):
            found[name][:, c] = min_max(cas_tc[:, c : c + 1])[:, 0]
    return found


def fit(
    task: Task, sequences: Mapping[str, Float[np.ndarray, "_ c"]], level: float = 0.5
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """``complete`` and ``over`` of every instance of the headline protocol; nan for one without length."""
    truth, classes = task.truth, task.batches.classes
    inside = activated(sequences, level, task.batches.grid, classes)
    beside = {name: np.where(task.snippet_truth(name), 0.0, value_tc) for name, value_tc in sequences.items()}
    outside = activated(beside, level, task.batches.grid, classes)
    near = replace(truth, segment_m2=truth.segment_m2 + np.diff(truth.segment_m2) * np.array([-1.0, 1.0]))
    return covered(inside, truth), 3 * covered(outside, near)


def instances(task: Task, stages: Mapping[str, BY_VIDEO], level: float = 0.5) -> pd.DataFrame:
    """A row an instance and stage: instance, video, class, length (seconds), stage, complete, over.

    ``stages`` are branches at some point of their training, by name. Instances whose video a stage lacks are left out.
    """
    truth, frames = task.truth, []
    length_m = np.diff(truth.segment_m2)[:, 0]
    for stage, said in stages.items():
        complete_m, over_m = fit(task, stretched(task, said), level)
        columns: dict[str, Any] = {
            "instance": np.arange(len(truth)),
            "video": np.array(truth.videos)[truth.video_m],
            "class": np.array(truth.classes)[truth.label_m],
            "length": length_m,
            "stage": stage,
            "complete": complete_m,
            "over": over_m,
        }
        frames.append(pd.DataFrame(columns)[np.isin(columns["video"], list(said))])
    return pd.concat(frames, ignore_index=True)


def trade(task: Task, stages: Mapping[str, BY_VIDEO], levels: Sequence[float] = LEVELS) -> pd.DataFrame:
    """Mean ``complete`` and ``over`` over all instances, of every stage cut at every level: stage, level, both."""
    rows = []
    for stage, said in stages.items():
        sequences = stretched(task, said)
        rows += [(stage, level, *map(np.nanmean, fit(task, sequences, level))) for level in levels]
    return pd.DataFrame(rows, columns=["stage", "level", "complete", "over"])


def found(detections: Detections, truth: GroundTruth, iou: float = 0.5) -> Bool[np.ndarray, " m"]:
    """Which instances the best G detections of their class find, where the class has G instances."""
    best_n = multiples(detections, truth) == 0
    columns = (detections.video_n, detections.label_n, detections.segment_n2, detections.score_n)
    video_n, label_n, segment_n2, score_n = (column[best_n] for column in columns)
    few = replace(detections, video_n=video_n, label_n=label_n, segment_n2=segment_n2, score_n=score_n)
    return match(few, truth, [iou]).finder_km[0] >= 0


def shared_misses(cbp_m: Bool[np.ndarray, " m"], vlp_m: Bool[np.ndarray, " m"]) -> dict[str, float]:
    """Shares of the instances that both branches find, one alone, or neither; and ``by chance``.

    ``by chance`` is the share that neither would find if the branches missed independently of each other.
    """
    return {
        "both": float((cbp_m & vlp_m).mean()),
        "CBP alone": float((cbp_m & ~vlp_m).mean()),
        "VLP alone": float((~cbp_m & vlp_m).mean()),
        "neither": float((~cbp_m & ~vlp_m).mean()),
        "by chance": float((~cbp_m).mean() * (~vlp_m).mean()),
    }


def overlaps(detections: Mapping[str, Detections], truth: GroundTruth) -> pd.DataFrame:
    """Overlap (tIoU) of each instance with the surest detection that touches it: instance, branches, ``better``.

    ``better`` is an oracle that takes the better of CBP and VLP for each instance; it looks at the ground truth.
    """
    columns = {branch: completeness(of, truth).tiou_m for branch, of in detections.items()}
    return pd.DataFrame({"instance": np.arange(len(truth)), **columns}).assign(
        better=np.maximum(columns["cbp"], columns["vlp"])
    )


def better_by_class(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Mean mAP of each run: preset, seed, its branches, their fusion, and ``better``, percent.

    ``better`` is an oracle that takes, class by class, the branch with the higher AP on the test videos.
    """
    rows = []
    for record in records:
        name = record["headline"]["protocol"]
        scored = {branch: of[name]["ap"] for branch, of in record["metrics"].items()}
        known = [one for one, ap in scored["fused"].items() if ap and ap[0] is not None]
        ap = {branch: 100 * np.array([np.mean(of[one]) for one in known]) for branch, of in scored.items()}
        means = {branch: float(of.mean()) for branch, of in ap.items()}
        oracle = float(np.maximum(ap["cbp"], ap["vlp"]).mean())
        rows.append({"preset": record["preset"], "seed": record["seed"], **means, "better": oracle})
    return pd.DataFrame(rows)
