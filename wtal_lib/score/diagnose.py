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
from wtal_lib.score.matching import pairs, ratio
from wtal_lib.score.metrics import average_precision, match, on_grid

KINDS = ("true positive", "double detection", "wrong class", "bad localization", "confusion", "background")
"Verdicts on a detection, by code; -1 for one that the protocol does not score"


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

    Raises ValueError: a threshold outside (0, 1].
    """
    found = match(detections, truth, iou)
    segment_n2, segment_m2 = on_grid(detections.segment_n2[found.row_n], truth.segment_m2, truth.grid)
    n, m, tiou_p = pairs(found.video_n, segment_n2, truth.video_m, segment_m2)
    own_p = truth.label_m[m] == found.label_n[n]
    most_n, own_n = np.zeros((2, len(segment_n2)))
    np.maximum.at(most_n, n, tiou_p)
    np.maximum.at(own_n, n[own_p], tiou_p[own_p])
    other_n = (own_n < most_n).astype(np.int64)
    kind_kn = np.full((len(found.iou_k), len(detections)), -1)
    missed_n = np.where(most_n >= near, 3 + other_n, 5)
    kind_kn[:, found.row_n] = np.where(most_n >= found.iou_k[:, None], 1 + other_n, missed_n)
    k, m = np.nonzero(found.finder_km >= 0)
    kind_kn[k, found.finder_km[k, m]] = 0
    return kind_kn


def error_removal_gain(
    detections: Detections, truth: GroundTruth, iou: Sequence[float]
) -> dict[str, Float[np.ndarray, " k"]]:
    """Gain in mAP, a fraction, by kind of error and threshold, if all errors of that kind were taken away.

    False positives leave the detections, as in DETAD; "miss" takes the instances that nothing found out of the ground
    truth. A class with nothing left counts 0. Gains do not add up: removing one kind changes what another costs. Raises
    ValueError: a threshold outside (0, 1].
    """
    kind_kn, finder_km = error_kinds(detections, truth, iou), match(detections, truth, iou).finder_km
    present_c = np.bincount(truth.label_m, minlength=len(truth.classes)) > 0

    def mean_ap(table: Detections, instances: GroundTruth, at: float) -> float:
        return float(np.nan_to_num(average_precision(table, instances, [at])[present_c, 0]).mean())

    unscored = (*detections.classes, "")  # a class that the ground truth lacks
    gains: dict[str, list[float]] = {name: [] for name in (*KINDS[1:], "miss")}
    for kind_n, finder_m, at in zip(kind_kn, finder_km, iou, strict=True):
        before, hit = mean_ap(detections, truth, at), finder_m >= 0
        for code, name in enumerate(KINDS[1:], start=1):
            label_n = np.where(kind_n == code, len(detections.classes), detections.label_n)
            gains[name].append(mean_ap(replace(detections, label_n=label_n, classes=unscored), truth, at) - before)
        rest = replace(truth, **{name: getattr(truth, name)[hit] for name in ("video_m", "label_m", "segment_m2")})
        gains["miss"].append(mean_ap(detections, rest, at) - before)
    return {name: np.array(gain_k) for name, gain_k in gains.items()}


def multiples(detections: Detections, truth: GroundTruth) -> Int[np.ndarray, " n"]:
    """DETAD's groups: 0 for the G best detections of a class of G instances, 1 for the next G, …; -1 if not scored."""
    ranked = match(detections, truth, [1.0])
    instances_n = np.bincount(truth.label_m, minlength=len(truth.classes))[ranked.label_n]
    rank_n = np.arange(len(ranked.label_n)) - np.searchsorted(ranked.label_n, ranked.label_n)
    group_n = np.full(len(detections), -1)
    group_n[ranked.row_n] = np.where(instances_n > 0, rank_n // np.maximum(instances_n, 1), -1)
    return group_n


def profile(
    kind_n: Int[np.ndarray, " n"], group_n: Int[np.ndarray, " n"], groups: int = 10
) -> Float[np.ndarray, "g 6"]:
    """Share of each of :data:`KINDS` in each of the first ``groups`` groups; rows sum to 1, nan for an empty group."""
    keep_n = (group_n >= 0) & (group_n < groups) & (kind_n >= 0)
    cell_n = group_n[keep_n] * len(KINDS) + kind_n[keep_n]
    count_gk = np.bincount(cell_n, minlength=groups * len(KINDS)).reshape(groups, -1)
    return ratio(count_gk, count_gk.sum(axis=1, keepdims=True))


def example(
    detections: Detections, truth: GroundTruth, kind_n: Int[np.ndarray, " n"], most: int = 24
) -> tuple[Int[np.ndarray, " r"], Int[np.ndarray, " i"]]:
    """Rows of the ``most`` best detections, best first, and of the instances, of one class in one telling video.

    That is, among those with 4 to 12 instances (or else among all), the one whose best detections show most kinds of
    error, then most true positives. Raises ValueError: no class in any video has both instances and detections.
    """
    ranked, classes = match(detections, truth, [1.0]), len(truth.classes)
    key_n, key_m = ranked.video_n * classes + ranked.label_n, truth.video_m * classes + truth.label_m
    keys, count = np.unique(key_m[np.isin(key_m, key_n)], return_counts=True)
    if not len(keys):
        raise ValueError("an example needs detections of a class in a video that has it, got none")
    usual = (count >= 4) & (count <= 12)
    shown = {key: ranked.row_n[key_n == key][:most] for key in (keys[usual] if usual.any() else keys)}
    key = max(shown, key=lambda key: (len(np.unique(kind_n[shown[key]])), int((kind_n[shown[key]] == 0).sum())))
    return shown[key], np.flatnonzero(key_m == key)


def characteristics(truth: GroundTruth, duration_b: Float[np.ndarray, " b"]) -> dict[str, Float[np.ndarray, " m"]]:
    """Length (s), number of its class in its video, and coverage (share of the video; nan if unknown) of instances."""
    length_m, key_m = np.diff(truth.segment_m2)[:, 0], truth.video_m * len(truth.classes) + truth.label_m
    same_m, count = np.unique(key_m, return_inverse=True, return_counts=True)[1:]
    coverage_m = ratio(length_m, duration_b[truth.video_m])
    return {"length": length_m, "instances": count[same_m].astype(float), "coverage": coverage_m}


def binned(value_m: Float[np.ndarray, " m"], edges: Sequence[float]) -> Int[np.ndarray, " m"]:
    """Bin of each value between and beyond inner edges, an edge in the bin below; -1 for nan."""
    return np.where(np.isnan(value_m), -1, np.searchsorted(np.asarray(edges), value_m, side="left"))


def rate_by_bin(
    event_m: Bool[np.ndarray, " m"], value_m: Float[np.ndarray, " m"], edges: Sequence[float]
) -> tuple[Float[np.ndarray, " bins"], Int[np.ndarray, " bins"]]:
    """Share of instances with the event, and their number, in each bin of a value (:func:`binned`); nan is left out."""
    bin_m = binned(value_m, edges) + 1
    count, events = (np.bincount(bin_m, of, len(edges) + 2)[1:].astype(np.int64) for of in (None, event_m))
    return ratio(events, count), count
