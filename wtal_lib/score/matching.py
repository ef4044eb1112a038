"""Overlapping pairs of detections and instances, and the one-to-one assignment that average precision rests on.

Axis letters: n detections, m instances, p pairs of both, k thresholds. A group is a video, or a class in a video.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Real, Shaped

from wtal_lib.data.segments import Detections, GroundTruth, tiou

EqualTiou = Literal["latest", "argsort"]


def truth_indices(detections: Detections, truth: GroundTruth) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Video and class of each detection as indices of the ground truth; both -1 where it lacks either."""
    videos, classes = ({name: at for at, name in enumerate(names)} for names in (truth.videos, truth.classes))
    video_n = np.array([videos.get(name, -1) for name in detections.videos], dtype=np.int64)[detections.video_n]
    label_n = np.array([classes.get(name, -1) for name in detections.classes], dtype=np.int64)[detections.label_n]
    known_n = (video_n >= 0) & (label_n >= 0)
    return np.where(known_n, video_n, -1), np.where(known_n, label_n, -1)


def pairs(
    group_n: Int[np.ndarray, " n"],
    segment_n2: Float[np.ndarray, "n 2"],
    group_m: Int[np.ndarray, " m"],
    segment_m2: Float[np.ndarray, "m 2"],
    least: float = 0.0,
    equal_tiou: EqualTiou = "latest",
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Indices n and m and the tIoU of the pairs of one group that share time and reach ``least``; by n, best first.

    Found by binary search among the instances of a group sorted by time. Of instances of equal tIoU, ``latest`` puts
    first the one that starts last, then stops last, then stands last; ``argsort`` the one that ``numpy.argsort`` puts
    last in the group as it stands, as the field's evaluators do: an unstable sort, which depends on the processor.
    """
    order = np.lexsort((segment_m2[:, 1], segment_m2[:, 0], group_m))
    group, (start, stop) = group_m[order], segment_m2[order].T
    near = np.flatnonzero(np.isin(group_n, group_m))
    by_group = near[np.argsort(group_n[near], kind="stable")]  # neighbouring searches read the same few instances
    begin_n, end_n = np.zeros((2, len(group_n)), dtype=np.int64)
    reach = np.maximum.accumulate(_key(group, stop))  # no earlier instance of the group lasts longer
    begin_n[by_group] = np.searchsorted(reach, _key(group_n[by_group], segment_n2[by_group, 0]), "right")
    end_n[by_group] = np.searchsorted(_key(group, start), _key(group_n[by_group], segment_n2[by_group, 1]), "left")
    count_n = (end_n - begin_n).clip(min=0)
    n = np.repeat(np.arange(len(group_n)), count_n)
    m = order[np.repeat(np.cumsum(count_n) - count_n + end_n - 1, count_n) - np.arange(len(n))]  # latest first
    tiou_p = _tiou(segment_n2[n], segment_m2[m])
    keep = np.flatnonzero((tiou_p > 0) & (tiou_p >= least))
    n, m, tiou_p = n[keep], m[keep], tiou_p[keep]
    several = tied(n)
    best = several[np.lexsort((-tiou_p[several], n[several]))]
    m[several], tiou_p[several] = m[best], tiou_p[best]
    if equal_tiou == "argsort":
        for at in np.unique(n[tied(n, tiou_p)]):
            first, end = np.searchsorted(n, (at, at + 1))
            member_m = np.sort(order[slice(*np.searchsorted(group, (group_n[at], group_n[at] + 1)))])
            rising = np.argsort(tiou(segment_n2[[at]], segment_m2[member_m])[0])
            m[first:end] = member_m[rising[::-1][: end - first]]
    return n, m, tiou_p


def tied(*column_n: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " t"]:
    """Rows that agree with the row before or after in every column."""
    same = np.logical_and.reduce([column[1:] == column[:-1] for column in column_n])
    return np.flatnonzero(np.r_[same, False] | np.r_[False, same])


def _key(group: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Group and time as one exact sort key: numpy orders complex numbers by real, then imaginary part."""
    return group + 1j * time


def _tiou(a_p2: np.ndarray, b_p2: np.ndarray) -> np.ndarray:
    """Temporal intersection over union (p,) of the two segments of each pair; 0 where they do not share time."""
    shared = shared_seconds(a_p2, b_p2)
    both = (a_p2[:, 1] - a_p2[:, 0]) + (b_p2[:, 1] - b_p2[:, 0]) - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=shared > 0)


def shared_seconds(a_p2: Float[np.ndarray, "p 2"], b_p2: Float[np.ndarray, "p 2"]) -> Float[np.ndarray, " p"]:
    """Length of the intersection of the two segments of each pair."""
    return (np.minimum(a_p2[:, 1], b_p2[:, 1]) - np.maximum(a_p2[:, 0], b_p2[:, 0])).clip(min=0.0)


def ratio(part: Real[np.ndarray, "..."], whole: Real[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """``part / whole``; nan where the whole is not positive."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def running_max(group_n: Int[np.ndarray, " n"], value_rn: Real[np.ndarray, "*r n"]) -> Float[np.ndarray, "*r n"]:
    """Running maximum along the last axis, restarted at each group; groups ascend."""
    return np.maximum.accumulate(_key(group_n, value_rn), axis=-1).imag


def assign(
    pair_n: Int[np.ndarray, " p"],
    pair_m: Int[np.ndarray, " p"],
    tiou_p: Float[np.ndarray, " p"],
    iou_k: Float[np.ndarray, " k"],
    n: int,
    m: int,
) -> Int[np.ndarray, "k m"]:
    """Detection, a row in rank order, that takes each instance at each threshold; ``n`` where none does.

    Choosing in turn by rank is the stable matching in which every instance prefers the better-ranked detection
    (Gale and Shapley, 1962), so all detections propose at once to their best instance and, where refused, to the next.
    """
    none = len(pair_n)
    first_p = np.flatnonzero(np.diff(pair_n, prepend=-1))
    has_next_p = np.r_[np.diff(pair_n) == 0, False, False]
    holder_km = np.full((len(iou_k), m), none)
    for holder_m, iou in zip(holder_km, iou_k, strict=True):
        p = first_p[tiou_p[first_p] >= iou]
        while len(p):
            to_m = pair_m[p]
            before = holder_m[to_m]
            np.minimum.at(holder_m, to_m, p)  # pairs are sorted by rank
            refused = np.where(holder_m[to_m] == p, before, p)
            p = refused[has_next_p[refused]] + 1
            p = p[tiou_p[p] >= iou]
    return np.r_[pair_n, n][holder_km]
