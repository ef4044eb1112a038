"""Exact average precision of detections, as fractions in [0, 1], by rules that are the same on every processor.

- **Order.** Detections of a class are taken by descending score; equal scores by video name, start, stop, then row, so
  that the order of the rows never changes a score.
- **Match.** Each takes, per threshold, the instance of its video and class with the largest tIoU that is still free,
  if that tIoU reaches the threshold. One that takes none is a false positive, an instance that none takes is a miss.
- **Equal tIoU**, as of two equally long instances inside one detection: ``latest`` takes the instance that starts last,
  then stops last. To compare with the evaluators of ActivityNet and of P-MIL, ``argsort`` takes the one that they take
  on this machine: with and without AVX2 the AP of a class differs by up to 0.008 on real detections.
- **Lengths.** Segments are half-open seconds, scored as they are, beyond their video's ends too. One without length
  overlaps nothing: such a detection is a false positive, such an instance a miss.
- **Scope.** Only detections in the videos and of the classes of the ground truth are scored, and none that shares time
  with one of its ambiguous segments, whatever the class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int, Real

from wtal_lib.data.segments import Detections, Grid, GroundTruth
from wtal_lib.score.matching import EqualTiou, assign, pairs, ratio, running_max, tied, truth_indices

BLOCK = 500_000
"Numbers an array holds at once while resampling: 4 MB, which stay in the processor's cache"


@dataclass(frozen=True, eq=False)
class Matching:
    """Which scored detection found which instance at every threshold: all that average precision needs to know.

    A match lives within one video, so any subset or resampling of the videos is scored without matching again.
    """

    truth: GroundTruth
    iou_k: Float[np.ndarray, " k"]
    row_n: Int[np.ndarray, " n"]
    "row, among the detections as given, of each scored one, by class, best first"
    video_n: Int[np.ndarray, " n"]
    "index into the ground truth's videos"
    label_n: Int[np.ndarray, " n"]
    rank_km: Int[np.ndarray, "k m"]
    "index into ``row_n`` of the detection that found each instance; their number where none did"

    @property
    def finder_km(self) -> Int[np.ndarray, "k m"]:
        """Row, among the detections as given, of the one that found each instance; -1 where none did."""
        return np.r_[self.row_n, -1][self.rank_km]

    def within(self, truth: GroundTruth) -> Matching:
        """The match under a ground truth that has some of the videos, and is the same in them."""
        keep_b = np.isin(self.truth.videos, truth.videos)
        keep_n, keep_m = keep_b[self.video_n], keep_b[self.truth.video_m]
        video_n, rank_n = (np.cumsum(keep_b) - 1)[self.video_n[keep_n]], np.r_[np.cumsum(keep_n) - 1, keep_n.sum()]
        rank_km = rank_n[self.rank_km[:, keep_m]]
        return Matching(truth, self.iou_k, self.row_n[keep_n], video_n, self.label_n[keep_n], rank_km)

    @cached_property
    def _true_positives(self) -> tuple[np.ndarray, ...]:
        """Of each true positive, by cell and best first: rank, cell, and where its cell and its class's ranks begin.

        A cell is a class at a threshold, ``class * thresholds + threshold``.
        """
        k, m = np.nonzero(self.rank_km < len(self.row_n))
        rank_h = self.rank_km[k, m]
        cell_h = self.label_n[rank_h] * len(self.iou_k) + k
        order = np.argsort(cell_h * len(self.row_n) + rank_h)
        rank_h, cell_h = rank_h[order], cell_h[order]
        begins = np.flatnonzero(np.diff(cell_h, prepend=-1))
        first_h = np.repeat(begins, np.diff(np.r_[begins, len(cell_h)]))
        tops = np.searchsorted(self.label_n, np.arange(len(self.truth.classes)))
        return rank_h, cell_h, first_h, tops[self.label_n[rank_h]]

    def average_precision(self, weight_rb: Real[np.ndarray, "r b"] | None = None) -> Float[np.ndarray, "r c k"]:
        """Average precision of each resampling, class and threshold; nan where a class has no instance.

        ``AP = sum_j w_j max_{i >= j} P_i / sum_m w_m`` over the true positives ``j``, best first, where ``P_i`` is the
        precision down to ``i``: VOC's all-point interpolation. ``weight_rb``: how often each video counts, 1 if absent.
        Raises ValueError: the number of weights is not that of the videos.
        """
        videos, classes = len(self.truth.videos), len(self.truth.classes)
        weights = np.ones((1, videos)) if weight_rb is None else np.asarray(weight_rb, dtype=np.float64)
        if weights.shape[1] != videos:
            raise ValueError(f"expected a weight for each of {videos} videos, got {weights.shape[1]}")
        rows = max(1, BLOCK // max(1, len(self.row_n) + len(self.truth)))
        area_rx = np.concatenate([self._area(weights[at : at + rows]) for at in range(0, len(weights), rows)])
        key_m = self.truth.video_m * classes + self.truth.label_m
        truth_rc = weights @ np.bincount(key_m, minlength=videos * classes).reshape(videos, classes)
        return ratio(area_rx.reshape(len(weights), classes, -1), truth_rc[:, :, None])

    def _area(self, weight_rb: Float[np.ndarray, "r b"]) -> Float[np.ndarray, "r x"]:
        """Average precision of each cell times the weight of its class's instances."""
        rank_h, cell_h, first_h, top_h = self._true_positives
        seen_rn, weight_rh = _cumulative(weight_rb[:, self.video_n]), weight_rb[:, self.video_n[rank_h]]
        seen_rh = seen_rn[:, rank_h + 1] - seen_rn[:, top_h]
        true_rh = _cumulative(weight_rh)
        true_rh = true_rh[:, 1:] - true_rh[:, first_h]
        precision_rh = np.divide(true_rh, seen_rh, out=np.zeros_like(true_rh), where=seen_rh > 0)
        envelope_rh = running_max(-cell_h[::-1], precision_rh[:, ::-1])[:, ::-1]
        area_rx = np.zeros((len(weight_rb), len(self.truth.classes) * len(self.iou_k)))
        if len(starts := np.flatnonzero(first_h == np.arange(len(first_h)))):
            area_rx[:, cell_h[starts]] = np.add.reduceat(weight_rh * envelope_rh, starts, axis=1)
        return area_rx


def average_precision(
    detections: Detections, truth: GroundTruth, iou: Sequence[float], equal_tiou: EqualTiou = "latest"
) -> Float[np.ndarray, "c k"]:
    """Average precision of each class of the ground truth at each tIoU threshold; nan for a class without instances.

    Takes O(n log n + p k) time for n detections, k thresholds and the p pairs of one video and class that overlap. With
    ``argsort`` equals the evaluators of ActivityNet and of P-MIL (CVPR 2023) up to rounding, where no scores are tied.
    Raises ValueError: a threshold outside (0, 1].

    >>> first, names = np.array([0]), (("a video",), ("Diving",))
    >>> found = Detections(first, first, np.array([[1.0, 5.0]]), np.array([0.9]), *names)
    >>> truth = GroundTruth(first, first, np.array([[0.0, 4.0]]), *names, first[:0], np.zeros((0, 2)))
    >>> average_precision(found, truth, [0.5, 0.7])  # they share 3 of 5 seconds
    array([[1., 0.]])
    """
    return match(detections, truth, iou, equal_tiou).average_precision()[0]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Detections in the videos and of the classes of a ground truth, best first, and the instances each overlaps.

    Protocols that differ in whether ambiguous segments are ignored share them.
    """

    iou_k: Float[np.ndarray, " k"]
    row_n: Int[np.ndarray, " n"]
    "row among the detections as given"
    video_n: Int[np.ndarray, " n"]
    label_n: Int[np.ndarray, " n"]
    segment_n2: Float[np.ndarray, "n 2"]
    "on the ground truth's grid"
    pairs: tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Float[np.ndarray, " p"]]
    "indices of detections and instances, and their tIoU"

    def matching(self, truth: GroundTruth) -> Matching:
        """The match without the detections that share time with an ambiguous segment of ``truth``."""
        row_n, video_n, label_n, (pair_n, pair_m, tiou_p) = self.row_n, self.video_n, self.label_n, self.pairs
        if len(truth.ambiguous_video_a):
            segment_a2 = on_grid(self.segment_n2[:0], truth.ambiguous_segment_a2, truth.grid)[1]
            keep_n = np.ones(len(row_n), dtype=bool)
            keep_n[pairs(video_n, self.segment_n2, truth.ambiguous_video_a, segment_a2)[0]] = False
            keep_p = keep_n[pair_n]
            pair_n, pair_m, tiou_p = (np.cumsum(keep_n) - 1)[pair_n[keep_p]], pair_m[keep_p], tiou_p[keep_p]
            row_n, video_n, label_n = row_n[keep_n], video_n[keep_n], label_n[keep_n]
        rank_km = assign(pair_n, pair_m, tiou_p, self.iou_k, len(row_n), len(truth))
        return Matching(truth, self.iou_k, row_n, video_n, label_n, rank_km)


def match(
    detections: Detections, truth: GroundTruth, iou: Sequence[float], equal_tiou: EqualTiou = "latest"
) -> Matching:
    """True positives of every class and threshold, by this module's rules; ValueError for thresholds outside (0, 1]."""
    return candidates(detections, truth, iou, equal_tiou).matching(truth)


def candidates(
    detections: Detections,
    truth: GroundTruth,
    iou: Sequence[float],
    equal_tiou: EqualTiou = "latest",
    ranked: Candidates | None = None,
) -> Candidates:
    """All that may be scored, ambiguous segments aside; ``ranked``: on another grid. Errors as of :func:`match`."""
    iou_k = np.asarray(iou, dtype=np.float64).reshape(-1)
    if not len(iou_k) or not ((iou_k > 0) & (iou_k <= 1)).all():
        raise ValueError(f"tIoU thresholds must be fractions in (0, 1], got {list(iou)}: 0.5 means one half, not 50")
    video_n, label_n = truth_indices(detections, truth)
    row_n = ranked.row_n if ranked else _best_first(detections, np.flatnonzero(video_n >= 0), label_n)
    video_n, label_n, classes = video_n[row_n], label_n[row_n], len(truth.classes)
    segment_n2, segment_m2 = on_grid(detections.segment_n2[row_n], truth.segment_m2, truth.grid)
    group_n, group_m = video_n * classes + label_n, truth.video_m * classes + truth.label_m
    found = pairs(group_n, segment_n2, group_m, segment_m2, float(iou_k.min()), equal_tiou)
    return Candidates(iou_k, row_n, video_n, label_n, segment_n2, found)


def _best_first(detections: Detections, row_n: np.ndarray, label_n: np.ndarray) -> np.ndarray:
    """``row_n`` by class, then descending score, then by the tie rule, which only tied rows need."""
    score_n, (start_n, stop_n) = detections.score_n, detections.segment_n2.T
    row_n = row_n[np.lexsort((-score_n[row_n], label_n[row_n]))]
    at = tied(label_n[row_n], score_n[row_n])
    rows, place_b = row_n[at], np.unique(np.array(detections.videos, dtype=str), return_inverse=True)[1]
    keys = (stop_n[rows], start_n[rows], place_b[detections.video_n[rows]], -score_n[rows], label_n[rows])
    row_n[at] = rows[np.lexsort(keys)]
    return row_n


def on_grid(
    found_n2: Float[np.ndarray, "n 2"], truth_m2: Float[np.ndarray, "m 2"], grid: Grid | None
) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, "m 2"]]:
    """Segments in seconds as they are or, on a grid, in its snippets, those of the ground truth at whole ones."""
    return (found_n2, truth_m2) if grid is None else (grid.position(found_n2), np.rint(grid.position(truth_m2)))


def _cumulative(value_rn: np.ndarray) -> np.ndarray:
    """Sums of the first 0, 1, ... n columns."""
    return np.cumsum(np.pad(value_rn, ((0, 0), (1, 0))), axis=1)
