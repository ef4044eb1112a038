"""How good detections, snippet scores and proposals are: average precision, AUC and recall, as fractions in [0, 1].

What every figure here rests on:

- **Order.** Detections of a class are taken by descending score. Equal scores go by video name, then start, stop and
  class name, so the order of the rows never matters; detections that agree in all of them are interchangeable.
- **Match.** Each takes, per threshold, the instance of its video and class with the largest tIoU that is still free,
  if that tIoU reaches the threshold; one that takes none is a false positive, an instance nobody takes is a miss.
- **Equal tIoU**, as of two equally long instances inside one detection: by default whichever the evaluator of
  ActivityNet and P-MIL takes on this machine (``argsort``; with and without AVX2 the AP of a class differs by up to
  0.008 on real detections), or the instance annotated ``last``, which is the same everywhere.
- **Lengths.** Segments are half-open seconds. One without length overlaps nothing: such a detection is a false
  positive, such an instance a miss. Segments that leave their video are scored as they are, nothing is clipped.
- **Scope.** Only detections in the videos and of the classes of the ground truth are scored, and none that shares time
  with one of its ambiguous segments, whatever the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from wtal_lib.data.segments import Detections, Grid, GroundTruth
from wtal_lib.score.matching import EqualTiou, assigned, pairs, placed, running_max

BLOCK = 500_000
"Numbers an array holds at once while resampling: 4 MB, which stay in the processor's cache"
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Matching:
    """Which scored detections found an instance, at every threshold: all that average precision needs to know.

    A match lives within one video, so any resampling of the videos is scored without matching again.
    """

    video_n: Int[np.ndarray, " n"]
    "index into the ground truth's videos of each scored detection, by class, best first"
    row_n: Int[np.ndarray, " n"]
    "row of each, among the detections as given"
    first_c: Int[np.ndarray, " e"]
    "row of ``video_n`` at which each class begins, and the end"
    found_h: Int[np.ndarray, " h"]
    "row of ``video_n`` of each true positive, sorted by class, threshold, then row"
    cell_h: Int[np.ndarray, " h"]
    "class * thresholds + threshold of each true positive"
    finder_km: Int[np.ndarray, "k m"]
    "row, among the detections as given, of the one that found each instance; -1 where none did"
    truth_video_m: Int[np.ndarray, " m"]
    "video of each instance, sorted by class"
    truth_first_c: Int[np.ndarray, " e"]
    thresholds: int
    videos: int

    def average_precision(self, weight_rb: Real[np.ndarray, "r b"] | None = None) -> Float[np.ndarray, "r c k"]:
        """Average precision of each resampling, class and threshold; nan where a class has no instance.

        ``AP = sum_j w_j max_{i >= j} P_i / sum_m w_m`` over the true positives ``j``, best first, where ``P_i`` is the
        precision down to ``i``: VOC's all-point interpolation, whose recall moves at true positives only.

        Args:
            weight_rb: how often each video counts in each resampling; one row of ones when absent.
        """
        weights = np.ones((1, self.videos)) if weight_rb is None else np.asarray(weight_rb, dtype=np.float64)
        if weights.shape[1] != self.videos:
            raise ValueError(f"expected a weight for each of {self.videos} videos, got {weights.shape[1]}")
        rows = max(1, BLOCK // max(1, len(self.video_n) + len(self.truth_video_m)))
        blocks = [self._scored(weights[at : at + rows]) for at in range(0, len(weights), rows)]
        return np.concatenate(blocks).reshape(len(weights), -1, self.thresholds)

    def _scored(self, weight_rb: Float[np.ndarray, "r b"]) -> Float[np.ndarray, "r x"]:
        label_h, h = self.cell_h // self.thresholds, len(self.cell_h)
        begins_h = np.searchsorted(self.cell_h, self.cell_h)  # row of found_h at which a true positive's cell begins
        reach_rn = _cumulative(weight_rb[:, self.video_n])
        seen_rh = reach_rn[:, self.found_h + 1] - reach_rn[:, self.first_c[label_h]]
        weight_rh = weight_rb[:, self.video_n[self.found_h]]
        hits_rh = _cumulative(weight_rh)
        true_rh = hits_rh[:, 1:] - hits_rh[:, begins_h]
        precision_rh = np.divide(true_rh, seen_rh, out=np.zeros_like(true_rh), where=seen_rh > 0)
        envelope_rh = running_max(-self.cell_h[::-1], precision_rh[:, ::-1])[:, ::-1]
        truth_rc = np.diff(_cumulative(weight_rb[:, self.truth_video_m])[:, self.truth_first_c])
        truth_rx = np.repeat(truth_rc, self.thresholds, axis=1)
        area_rx = np.zeros_like(truth_rx)
        if h:
            starts = np.unique(begins_h)
            area_rx[:, self.cell_h[starts]] = np.add.reduceat(weight_rh * envelope_rh, starts, axis=1)
        return np.divide(area_rx, truth_rx, out=np.full_like(area_rx, np.nan), where=truth_rx > 0)


def average_precision(
    detections: Detections,
    truth: GroundTruth,
    iou: Sequence[float],
    equal_tiou: EqualTiou = "argsort",
) -> Float[np.ndarray, "c k"]:
    """Average precision of each class of the ground truth at each tIoU threshold; nan for a class without instances.

    Takes O(n log n + p k) time for n detections, k thresholds and the p pairs of one video and class that overlap.
    Equal to the evaluator of ActivityNet and of P-MIL (CVPR 2023), up to rounding, where no scores are tied.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    return match(detections, truth, iou, equal_tiou).average_precision()[0]


def match(
    detections: Detections,
    truth: GroundTruth,
    iou: Sequence[float],
    equal_tiou: EqualTiou = "argsort",
) -> Matching:
    """The true positives of every class and threshold, under the rules at the top of this module.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    iou_k, classes = thresholds(iou), len(truth.classes)
    row_n, video_n, label_n = scored(detections, truth)
    order = _best_first(detections, row_n, label_n)
    video_n, label_n, segment_n2 = video_n[order], label_n[order], detections.segment_n2[row_n[order]]
    segment_n2, segment_m2 = counted(segment_n2, truth.segment_m2, truth.grid)
    group_n, group_m = video_n * classes + label_n, truth.video_m * classes + truth.label_m
    pair_n, pair_m, tiou_p = pairs(group_n, segment_n2, group_m, segment_m2, float(iou_k.min()), equal_tiou)
    holder_km = assigned(pair_n, pair_m, tiou_p, iou_k, len(order), len(truth))
    found_k, found_m = np.nonzero(holder_km < len(order))
    row_h = holder_km[found_k, found_m]
    cell_h = label_n[row_h] * len(iou_k) + found_k
    by_cell = np.lexsort((row_h, cell_h))
    by_class = np.argsort(truth.label_m, kind="stable")
    return Matching(
        video_n=video_n,
        row_n=row_n[order],
        first_c=np.searchsorted(label_n, np.arange(classes + 1)),
        found_h=row_h[by_cell],
        cell_h=cell_h[by_cell],
        finder_km=np.r_[row_n[order], -1][holder_km],
        truth_video_m=truth.video_m[by_class],
        truth_first_c=np.searchsorted(truth.label_m[by_class], np.arange(classes + 1)),
        thresholds=len(iou_k),
        videos=len(truth.videos),
    )


def thresholds(iou: Sequence[float]) -> Float[np.ndarray, " k"]:
    """The tIoU thresholds as an array.

    Raises:
        ValueError: none given, or one outside (0, 1].
    """
    iou_k = np.asarray(iou, dtype=np.float64).reshape(-1)
    if not len(iou_k) or not ((iou_k > 0) & (iou_k <= 1)).all():
        raise ValueError(f"tIoU thresholds must be fractions in (0, 1], got {list(iou)}: 0.5 means one half, not 50")
    return iou_k


def scored(
    detections: Detections, truth: GroundTruth
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Rows of the detections that count, and their video and class as indices of the ground truth."""
    video_n, label_n = placed(detections, truth)
    row_n = np.flatnonzero(video_n >= 0)
    if len(truth.ambiguous_video_a):
        segment_n2, segment_a2 = counted(detections.segment_n2[row_n], truth.ambiguous_segment_a2, truth.grid)
        touching_n = pairs(video_n[row_n], segment_n2, truth.ambiguous_video_a, segment_a2, 0.0)[0]
        row_n = np.delete(row_n, touching_n)
    return row_n, video_n[row_n], label_n[row_n]


def counted(
    found_n2: Float[np.ndarray, "n 2"], truth_m2: Float[np.ndarray, "m 2"], grid: Grid | None
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "m 2"]]:
    """Segments in seconds as they are or, on a grid, in its snippets, those of the ground truth at whole ones."""
    return (found_n2, truth_m2) if grid is None else (grid.position(found_n2), np.rint(grid.position(truth_m2)))


def recall_at(
    detections: Detections, truth: GroundTruth, iou: Sequence[float], proposals: Sequence[int], any_class: bool = False
) -> Float[np.ndarray, "k p"]:
    """Share of the instances that one of the ``proposals`` best detections of their video overlaps enough.

    Several instances may share a detection, as in ActivityNet's AR@AN (whose mean over thresholds is
    ``recall_at(...).mean(axis=0)``). nan without instances. With ``any_class`` a detection counts whatever its class,
    as class-agnostic proposals do.

    Raises:
        ValueError: a threshold outside (0, 1], or a number of proposals below 1.
    """
    iou_k, proposals_p = thresholds(iou), np.asarray(proposals).reshape(-1)
    if not len(proposals_p) or proposals_p.min() < 1:
        raise ValueError(f"numbers of proposals must be at least 1, got {list(proposals)}")
    row_n, video_n, label_n = scored(detections, truth)
    order = _best_first(detections, row_n, video_n)
    video_n, label_n, segment_n2 = video_n[order], label_n[order], detections.segment_n2[row_n[order]]
    rank_n = np.arange(len(order)) - np.searchsorted(video_n, video_n)
    group_n, group_m = video_n, truth.video_m
    if not any_class:
        group_n, group_m = (group * len(truth.classes) for group in (group_n, group_m))
        group_n, group_m = group_n + label_n, group_m + truth.label_m
    segment_n2, segment_m2 = counted(segment_n2, truth.segment_m2, truth.grid)
    pair_n, pair_m, tiou_p = pairs(group_n, segment_n2, group_m, segment_m2, float(iou_k.min()))
    best_km = np.full((len(iou_k), len(truth)), np.iinfo(np.int64).max)
    enough_k, enough_p = np.nonzero(tiou_p >= iou_k[:, None])
    np.minimum.at(best_km, (enough_k, pair_m[enough_p]), rank_n[pair_n[enough_p]])
    found_kp = (best_km[:, :, None] < proposals_p).sum(axis=1)
    return found_kp / len(truth) if len(truth) else np.full(found_kp.shape, np.nan)


def snippet_ap(
    score_tc: Float[np.ndarray, "t c"], truth_tc: Bool[np.ndarray, "t c"], video_t: Int[np.ndarray, " t"] | None = None
) -> Float[np.ndarray, " c"]:
    """Average precision of each class over single snippets: mean, over the true ones, of the precision down to each.

    Snippets of equal score enter together, so order never matters. Across all snippets when ``video_t`` is absent, else
    within each video, averaged over the videos in which the class occurs; nan for a class that never does.
    """
    return _by_class(score_tc, truth_tc, video_t, _snippet_ap)


def snippet_auc(
    score_tc: Float[np.ndarray, "t c"], truth_tc: Bool[np.ndarray, "t c"], video_t: Int[np.ndarray, " t"] | None = None
) -> Float[np.ndarray, " c"]:
    """Area under the ROC curve of each class: the chance that a true snippet outscores a false one, ties counting half.

    Across all snippets when ``video_t`` is absent, else within each video, averaged over the videos that have both
    kinds; nan for a class without such a video.
    """
    return _by_class(score_tc, truth_tc, video_t, _snippet_auc)


def _by_class(score_tc: np.ndarray, truth_tc: np.ndarray, video_t: np.ndarray | None, measure: Measure) -> np.ndarray:
    """Mean of ``measure`` over the videos where it is defined, for one class after the other, so memory stays small."""
    video_t = np.zeros(len(score_tc), dtype=np.int64) if video_t is None else np.asarray(video_t)
    result_c = np.full(score_tc.shape[1], np.nan)
    for label, (score_t, truth_t) in enumerate(zip(score_tc.T, truth_tc.T, strict=True)):
        order = np.lexsort((-score_t, video_t))
        video, score, true = video_t[order], score_t[order], truth_t[order].astype(np.float64)
        last = np.r_[(np.diff(video) != 0) | (np.diff(score) != 0), np.ones(min(1, len(video)), dtype=bool)]
        true_e = np.diff(np.cumsum(true)[last], prepend=0.0)  # e blocks of equal score within a video
        size_e = np.diff(np.flatnonzero(last), prepend=-1).astype(np.float64)
        of_video_e = np.unique(video[last], return_inverse=True)[1]
        measured_b = measure(of_video_e, size_e, true_e)
        if np.isfinite(measured_b).any():
            result_c[label] = np.nanmean(measured_b)
    return result_c


def _snippet_ap(video_e: np.ndarray, size_e: np.ndarray, true_e: np.ndarray) -> np.ndarray:
    precision_e = _within(video_e, true_e) / _within(video_e, size_e)
    total_b = np.bincount(video_e, true_e)
    area_b = np.bincount(video_e, true_e * precision_e)
    return np.divide(area_b, total_b, out=np.full(len(total_b), np.nan), where=total_b > 0)


def _snippet_auc(video_e: np.ndarray, size_e: np.ndarray, true_e: np.ndarray) -> np.ndarray:
    false_e = size_e - true_e
    beaten_b = np.bincount(video_e, false_e * (_within(video_e, true_e) - true_e / 2))
    pairs_b = np.bincount(video_e, true_e) * np.bincount(video_e, false_e)
    return np.divide(beaten_b, pairs_b, out=np.full(len(pairs_b), np.nan), where=pairs_b > 0)


def _within(group_e: np.ndarray, value_e: np.ndarray) -> np.ndarray:
    """Running sum of ``value_e`` that begins anew with each group; groups ascend."""
    total_e = np.r_[0.0, np.cumsum(value_e)]
    return total_e[1:] - total_e[np.searchsorted(group_e, group_e)]


def _cumulative(value_rn: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... n columns."""
    total_rn = np.zeros((len(value_rn), value_rn.shape[1] + 1))
    np.cumsum(value_rn, axis=1, out=total_rn[:, 1:])
    return total_rn


def _best_first(detections: Detections, row_n: np.ndarray, group_n: np.ndarray) -> np.ndarray:
    """Order of ``row_n`` by group, then descending score, then by the tie rule, which only tied rows need."""
    score_n = detections.score_n[row_n]
    order = np.argsort(-score_n)
    order = order[np.argsort(group_n[order], kind="stable")]
    tied = (np.diff(group_n[order]) == 0) & (np.diff(score_n[order]) == 0)
    at = np.flatnonzero(np.r_[tied, False] | np.r_[False, tied])
    rows = order[at]
    if len(at):
        tied = row_n[rows]
        video, label = _by_name(detections.videos)[detections.video_n[tied]], _by_name(detections.classes)
        start, stop = detections.segment_n2[tied].T
        keys = (label[detections.label_n[tied]], stop, start, video, -score_n[rows], group_n[rows])
        order[at] = rows[np.lexsort(keys)]
    return order


def _by_name(names: tuple[str, ...]) -> np.ndarray:
    """Place of each name in alphabetical order."""
    return np.unique(np.array(names, dtype=str), return_inverse=True)[1]
