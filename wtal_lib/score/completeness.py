"""Completeness of the found instances and over-completeness of what found them, as shares of seconds.

Segments come as :class:`~wtal_lib.data.segments.Detections`, made by a detector or by thresholding an activation
(:func:`activated`), and are compared with the instances of their own video and class only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from wtal_lib.data.segments import Detections, Grid, GroundTruth
from wtal_lib.score.matching import pairs, ratio, running_max, shared_seconds, truth_indices


@dataclass(frozen=True, eq=False)
class Completeness:
    """How well one segment fits each instance; shares of the segment sum to 1, and are nan where there is none."""

    row_m: Int[np.ndarray, " m"]
    "row of the segment chosen, -1 for none"
    covered_m: Float[np.ndarray, " m"]
    "completeness: share of the instance that it covers, 0 for none; nan for an instance without length"
    tiou_m: Float[np.ndarray, " m"]
    "overlap with the instance, 0 for none"
    inside_m: Float[np.ndarray, " m"]
    "share of the segment that lies in any instance of its class"
    context_m: Float[np.ndarray, " m"]
    "over-completeness beside the action: share in the margins of instances of its class, outside all of them"
    elsewhere_m: Float[np.ndarray, " m"]
    "over-completeness elsewhere: the rest"


def completeness(table: Detections, truth: GroundTruth) -> Completeness:
    """Fit to each instance of the segment of its class it meets with the highest score, then tIoU, then the first."""
    (key_n, key_m), (start_n, stop_n) = _keys(table, truth), table.segment_n2.T
    n, m, tiou_p = pairs(key_n, table.segment_n2, key_m, truth.segment_m2)
    order_p = np.lexsort((stop_n[n], start_n[n], -tiou_p, -table.score_n[n], m))
    met_m, first_p = np.unique(m[order_p], return_index=True)
    row_m, tiou_m = np.full(len(truth), -1), np.zeros(len(truth))
    row_m[met_m], tiou_m[met_m] = n[order_p[first_p]], tiou_p[order_p[first_p]]
    seconds_m, share_m3 = np.zeros(len(truth)), np.full((len(truth), 3), np.nan)
    seconds_m[met_m] = shared_seconds(table.segment_n2[row_m[met_m]], truth.segment_m2[met_m])
    share_m3[met_m] = shares(table, truth)[row_m[met_m]]
    return Completeness(row_m, ratio(seconds_m, np.diff(truth.segment_m2)[:, 0]), tiou_m, *share_m3.T)


def covered(table: Detections, truth: GroundTruth) -> Float[np.ndarray, " m"]:
    """Share in [0, 1] of each instance that all segments of its video and class cover together; nan without length."""
    key_n, key_m = _keys(table, truth)
    return ratio(_covered(key_m, truth.segment_m2, key_n, table.segment_n2), np.diff(truth.segment_m2)[:, 0])


def shares(table: Detections, truth: GroundTruth, margin: float = 1.0) -> Float[np.ndarray, "n 3"]:
    """Shares of each segment inside instances of its class, in context beside them, and elsewhere; they sum to 1.

    Context lies within ``margin`` instance lengths of an instance and in none; context and elsewhere together are the
    segment's over-completeness. nan for a segment without length, or of another video or class than the ground truth's.
    Raises ValueError: a negative margin.
    """
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}: it counts instance lengths on each side")
    key_n, key_m = _keys(table, truth)
    near_m2 = truth.segment_m2 + margin * np.diff(truth.segment_m2) * np.array([-1.0, 1.0])
    inside_n = _covered(key_n, table.segment_n2, key_m, truth.segment_m2)
    near_n = np.maximum(_covered(key_n, table.segment_n2, key_m, near_m2), inside_n)
    length_n = np.where(key_n < 0, 0.0, np.diff(table.segment_n2)[:, 0])
    parts_n3 = np.stack([inside_n, near_n - inside_n, np.maximum(length_n - near_n, 0.0)], axis=1)
    return ratio(parts_n3, length_n[:, None])


def activated(
    scores: Mapping[str, Float[np.ndarray, "_ c"]], level: float, grid: Grid, classes: Sequence[str]
) -> Detections:
    """Runs of snippets that reach ``level``, by video and class, scored by their mean; ValueError for a wrong width."""
    columns = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 2)), np.empty(0))]
    for video, (name, score_tc) in enumerate(scores.items()):
        if score_tc.shape[1] != len(classes):
            raise ValueError(f"{name}: expected a column for each of {len(classes)} classes, got {score_tc.shape[1]}")
        above_ct = np.pad((score_tc >= level).T, ((0, 0), (1, 1)))
        label_e, edge_e = np.nonzero(above_ct[:, 1:] != above_ct[:, :-1])  # start, stop, start, stop, …
        sum_ct = np.pad(np.cumsum(score_tc, axis=0, dtype=np.float64), ((1, 0), (0, 0))).T
        label_n, edge_n2 = label_e[::2], edge_e.reshape(-1, 2)
        mean_n = np.diff(sum_ct[label_n[:, None], edge_n2])[:, 0] / np.diff(edge_n2)[:, 0]
        columns.append((np.full(len(label_n), video), label_n, grid.seconds(edge_n2), mean_n))
    video_n, label_n, segment_n2, score_n = (np.concatenate(column) for column in zip(*columns, strict=True))
    return Detections(video_n, label_n, segment_n2, score_n, tuple(scores), tuple(classes))


def snippet_outcomes(
    cas: Mapping[str, Float[np.ndarray, "_ c"]], truth: Mapping[str, Bool[np.ndarray, "_ c"]], level: float
) -> dict[str, float]:
    """Shares of TP, FN, FP and TN among the snippets of all videos, for the classes that occur in each.

    A snippet is taken for action of a class where its score reaches ``level`` (Figure 1 of Ju et al., CVPR 2023).
    """
    counts = np.zeros(4)
    for name, cas_tc in cas.items():
        here_c = truth[name].any(axis=0)
        taken, true = cas_tc[:, here_c] >= level, truth[name][:, here_c]
        counts += [(taken & true).sum(), (~taken & true).sum(), (taken & ~true).sum(), (~taken & ~true).sum()]
    return dict(zip(("TP", "FN", "FP", "TN"), (counts / max(counts.sum(), 1)).tolist(), strict=True))


def _keys(table: Detections, truth: GroundTruth) -> tuple[np.ndarray, np.ndarray]:
    """Video and class as one number, of segments (-1 for those of none of ``truth``) and of instances."""
    video_n, label_n = truth_indices(table, truth)
    key_n = np.where(video_n < 0, -1, video_n * len(truth.classes) + label_n)
    return key_n, truth.video_m * len(truth.classes) + truth.label_m


def _covered(key_n: np.ndarray, segment_n2: np.ndarray, key_m: np.ndarray, segment_m2: np.ndarray) -> np.ndarray:
    """Seconds (n,) of each of ``segment_n2`` that the union of the ``segment_m2`` of its key covers."""
    order_m = np.lexsort((segment_m2[:, 0], key_m))
    order_m = order_m[(np.diff(segment_m2)[order_m, 0] > 0) & (key_m[order_m] >= 0)]
    key_m, (start_m, stop_m) = key_m[order_m], segment_m2[order_m].T
    reach_m = running_max(key_m, stop_m)
    apart_m = (key_m[1:] > key_m[:-1]) | (start_m[1:] > reach_m[:-1])
    end = np.ones(min(1, len(key_m)), dtype=bool)
    first_m, last_m = np.r_[end, apart_m], np.r_[apart_m, end]
    union_u2 = np.stack([start_m[first_m], reach_m[last_m]], axis=1)
    n, u, _ = pairs(key_n, segment_n2, key_m[first_m], union_u2)
    return np.bincount(n, shared_seconds(segment_n2[n], union_u2[u]), minlength=len(key_n))
