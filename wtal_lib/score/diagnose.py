"""Where detections err: false positives by kind, misses by what the instance is like, and what each costs in mAP.

Kinds and bins are DETAD's: Alwassel et al., "Diagnosing Error in Temporal Action Detectors", ECCV 2018. Unlike there,
average precision is not normalised and all detections count, so that a gain adds to the mAP that is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from wtal_lib.data.segments import Detections, GroundTruth
from wtal_lib.score.matching import pairs
from wtal_lib.score.metrics import average_precision, counted, match, scored, thresholds

KINDS = ("true positive", "double detection", "wrong class", "bad localization", "confusion", "background")
"Verdicts on a detection, by code; -1 is one that is not scored: of a video or a class without a place in the protocol"

BINS: dict[str, dict[str, tuple[float, ...]]] = {
    "thumos14": {"length": (3, 6, 12, 18), "instances": (1, 40, 80), "coverage": (0.02, 0.04, 0.06, 0.08)},
    "activitynet12": {"length": (30, 60, 120, 180), "instances": (1, 4, 8), "coverage": (0.2, 0.4, 0.6, 0.8)},
}
"Inner edges of DETAD's bins, each in the bin below: seconds, instances of the class in the video, share of the video"


def error_kinds(
    detections: Detections, truth: GroundTruth, iou: Sequence[float], near: float = 0.1
) -> Int[np.ndarray, "k n"]:
    """Verdict on each detection at each tIoU threshold: an index into :data:`KINDS`, -1 where it is not scored.

    A detection that found no instance is judged by the one of its video, of any class, that it overlaps most (by one of
    its own class where two tie):

    ================  ================  =============
    tIoU              own class         another class
    ================  ================  =============
    ``>= iou``        double detection  wrong class
    ``[near, iou)``   bad localization  confusion
    ``< near``        background        background
    ================  ================  =============

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    row_n, video_n, label_n = scored(detections, truth)
    segment_n2, segment_m2 = counted(detections.segment_n2[row_n], truth.segment_m2, truth.grid)
    n, m, tiou_p = pairs(video_n, segment_n2, truth.video_m, segment_m2, 0.0)
    own_p = truth.label_m[m] == label_n[n]
    most_n, own_n = np.zeros(len(row_n)), np.zeros(len(row_n))
    np.maximum.at(most_n, n, tiou_p)
    np.maximum.at(own_n, n[own_p], tiou_p[own_p])
    other_n = (own_n < most_n).astype(np.int64)
    kind_kn = np.full((len(iou), len(detections)), -1)
    kind_kn[:, row_n] = np.where(
        most_n >= thresholds(iou)[:, None], 1 + other_n, np.where(most_n >= near, 3 + other_n, 5)
    )
    finder_km = match(detections, truth, iou).finder_km
    k, m = np.nonzero(finder_km >= 0)
    kind_kn[k, finder_km[k, m]] = 0
    return kind_kn


def error_removal_gain(
    detections: Detections, truth: GroundTruth, iou: Sequence[float]
) -> dict[str, Float[np.ndarray, " k"]]:
    """What mAP would gain, as a fraction, by kind of error and threshold, were all errors of that kind taken away.

    False positives leave the detections, as in DETAD; "miss" takes the instances that nothing found out of the ground
    truth. A class with nothing left counts 0. Gains do not add up: mending one kind changes what another costs.

    Raises:
        ValueError: a threshold outside (0, 1].
    """
    kind_kn, finder_km = error_kinds(detections, truth, iou), match(detections, truth, iou).finder_km
    present_c = np.bincount(truth.label_m, minlength=len(truth.classes)) > 0

    def mean_ap(keep_n: np.ndarray, keep_m: np.ndarray, at: float) -> float:
        ap_c = average_precision(_rows(detections, keep_n), _instances(truth, keep_m), [at])[:, 0]
        return float(np.nan_to_num(ap_c[present_c]).mean())

    all_n, all_m = np.ones(len(detections), bool), np.ones(len(truth), bool)
    gains: dict[str, list[float]] = {name: [] for name in (*KINDS[1:], "miss")}
    for kind_n, finder_m, at in zip(kind_kn, finder_km, iou, strict=True):
        before = mean_ap(all_n, all_m, at)
        for code, name in enumerate(KINDS[1:], start=1):
            gains[name].append(mean_ap(kind_n != code, all_m, at) - before)
        gains["miss"].append(mean_ap(all_n, finder_m >= 0, at) - before)
    return {name: np.array(gain_k) for name, gain_k in gains.items()}


def _rows(table: Detections, keep_n: np.ndarray) -> Detections:
    """The rows of a table that are kept."""
    columns = (table.video_n, table.label_n, table.segment_n2, table.score_n)
    video_n, label_n, segment_n2, score_n = (column[keep_n] for column in columns)
    return replace(table, video_n=video_n, label_n=label_n, segment_n2=segment_n2, score_n=score_n)


def _instances(truth: GroundTruth, keep_m: np.ndarray) -> GroundTruth:
    """The instances that are kept, among the same videos and classes."""
    columns = (truth.video_m, truth.label_m, truth.segment_m2)
    video_m, label_m, segment_m2 = (column[keep_m] for column in columns)
    return replace(truth, video_m=video_m, label_m=label_m, segment_m2=segment_m2)


def multiples(detections: Detections, truth: GroundTruth) -> Int[np.ndarray, " n"]:
    """DETAD's groups: 0 for the G best detections of a class with G instances, 1 for the next G, …; -1 if not scored.

    Detections of a class without instances are not scored here.
    """
    ranked = match(detections, truth, [1.0])
    label_n = np.repeat(np.arange(len(truth.classes)), np.diff(ranked.first_c))
    instances_n = np.bincount(truth.label_m, minlength=len(truth.classes))[label_n]
    rank_n = np.arange(len(label_n)) - ranked.first_c[label_n]
    group_n = np.full(len(detections), -1)
    group_n[ranked.row_n] = np.where(instances_n > 0, rank_n // np.maximum(instances_n, 1), -1)
    return group_n


def profile(
    kind_n: Int[np.ndarray, " n"], group_n: Int[np.ndarray, " n"], groups: int = 10
) -> Float[np.ndarray, "g 6"]:
    """Share of each of :data:`KINDS` in each of the first ``groups`` groups; rows sum to 1, nan for an empty group."""
    keep_n = (group_n >= 0) & (group_n < groups) & (kind_n >= 0)
    cell_n = group_n[keep_n] * len(KINDS) + kind_n[keep_n]
    count_gk = np.bincount(cell_n, minlength=groups * len(KINDS)).reshape(groups, -1).astype(np.float64)
    return _rate(count_gk, np.broadcast_to(count_gk.sum(axis=1, keepdims=True), count_gk.shape))


def example(
    detections: Detections, truth: GroundTruth, kind_n: Int[np.ndarray, " n"], most: int = 24
) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " i"]]:
    """Rows of the ``most`` best detections, best first, and of the instances, of one class in one telling video.

    That is, among those with 4 to 12 instances (or else among all), the one whose best detections show most kinds of
    error, then most true positives.

    Raises:
        ValueError: no class in any video has both instances and detections.
    """
    ranked, classes = match(detections, truth, [1.0]), len(truth.classes)
    label_n = np.repeat(np.arange(classes), np.diff(ranked.first_c))
    key_n, key_m = ranked.video_n * classes + label_n, truth.video_m * classes + truth.label_m
    keys, count = np.unique(key_m[np.isin(key_m, key_n)], return_counts=True)
    if not len(keys):
        raise ValueError("an example needs detections of a class in a video that has it, got none")
    usual = (count >= 4) & (count <= 12)
    shown = {key: ranked.row_n[key_n == key][:most] for key in (keys[usual] if usual.any() else keys)}
    tellings = {key: (len(np.unique(kind_n[row_r])), int((kind_n[row_r] == 0).sum())) for key, row_r in shown.items()}
    key = max(tellings, key=lambda key: tellings[key])
    return shown[key], np.flatnonzero(key_m == key)


def characters(truth: GroundTruth, duration_b: Float[np.ndarray, " b"]) -> dict[str, Float[np.ndarray, " m"]]:
    """Length (seconds), number of instances of its class in the video, and coverage (share of the video) of instances.

    Coverage is nan where the video's duration (seconds) is not known.
    """
    length_m, duration_m = np.diff(truth.segment_m2)[:, 0], duration_b[truth.video_m]
    key_m = truth.video_m * len(truth.classes) + truth.label_m
    same_m, count = np.unique(key_m, return_inverse=True, return_counts=True)[1:]
    return {"length": length_m, "instances": count[same_m].astype(float), "coverage": _rate(length_m, duration_m)}


def binned(value_m: Float[np.ndarray, " m"], edges: Sequence[float]) -> Int[np.ndarray, " m"]:
    """Bin of each value between and beyond inner edges, an edge in the bin below; -1 for nan."""
    return np.where(np.isnan(value_m), -1, np.searchsorted(np.asarray(edges), value_m, side="left"))


def rate_by_bin(
    event_m: Bool[np.ndarray, " m"], value_m: Float[np.ndarray, " m"], edges: Sequence[float]
) -> tuple[Float[np.ndarray, " bins"], Int[np.ndarray, " bins"]]:
    """Share of instances with the event, and their number, in each bin of a value (:func:`binned`); nan is left out."""
    bin_m = binned(value_m, edges)
    count, events = (
        np.bincount(bin_m[keep_m], minlength=len(edges) + 1) for keep_m in (bin_m >= 0, event_m & (bin_m >= 0))
    )
    return _rate(events.astype(float), count.astype(float)), count


def _rate(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``; nan where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
