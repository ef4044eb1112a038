"""Which detections and instances overlap, and who takes whom: the searches behind every score of detections.

Axis letters: n detections, m instances, p pairs of both, k thresholds. A group is a video, or a class in a video.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float, Int, Real

from wtal_lib.data.segments import Detections, GroundTruth

EqualTiou = Literal["argsort", "last"]
Side = Literal["left", "right"]


def placed(detections: Detections, truth: GroundTruth) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Video and class of each detection as indices of the ground truth; both -1 where it lacks either."""
    video_n = _renumbered(detections.videos, truth.videos)[detections.video_n]
    label_n = _renumbered(detections.classes, truth.classes)[detections.label_n]
    outside_n = (video_n < 0) | (label_n < 0)
    return np.where(outside_n, -1, video_n), np.where(outside_n, -1, label_n)


def _renumbered(old: tuple[str, ...], new: tuple[str, ...]) -> np.ndarray:
    """For each name of ``old`` its index in ``new``, or -1."""
    index = {name: at for at, name in enumerate(new)}
    return np.array([index.get(name, -1) for name in old], dtype=np.int64)


def pairs(
    group_n: Int[np.ndarray, " n"],
    segment_n2: Float[np.ndarray, "n 2"],
    group_m: Int[np.ndarray, " m"],
    segment_m2: Float[np.ndarray, "m 2"],
    least: float,
    equal_tiou: EqualTiou = "last",
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """Indices n and m and the tIoU of the pairs of one group that share time and reach ``least``; by n, best first.

    Candidates come from binary searches over the instances sorted by time, not from all pairs of a group.

    Of two instances with equal tIoU, ``equal_tiou`` says which comes first. ``last``: the one in the later row.
    ``argsort``: whichever ``numpy.argsort`` puts later among all instances of the group, as in the common evaluators;
    that sort is not stable and its choice hangs on the processor, but nothing else reproduces their figures.
    """
    order = np.lexsort((segment_m2[:, 1], segment_m2[:, 0], group_m))
    group, (start, stop) = group_m[order], segment_m2[order].T
    reach = running_max(group, stop)  # sorted too, and no earlier instance of the group lasts longer
    end_n = _before(group, start, group_n, segment_n2[:, 1], "left")
    begin_n = np.minimum(_before(group, reach, group_n, segment_n2[:, 0], "right"), end_n)
    count_n = end_n - begin_n
    n = np.repeat(np.arange(len(group_n)), count_n)
    m = order[np.arange(len(n)) + np.repeat(begin_n - np.cumsum(count_n) + count_n, count_n)]
    tiou = _tiou(segment_n2[n], segment_m2[m])
    keep = np.flatnonzero((tiou > 0) & (tiou >= least))
    n, m, tiou = n[keep], m[keep], tiou[keep]
    best = np.lexsort((-m, -tiou, n))
    n, m, tiou = n[best], m[best], tiou[best]
    tied = np.flatnonzero((np.diff(n) == 0) & (np.diff(tiou) == 0))
    if equal_tiou == "argsort" and len(tied):
        again = np.flatnonzero(np.isin(n, n[tied]))
        turn = _argsort_turn(n[again], m[again], group_n, segment_n2, group_m, segment_m2)
        m[again], tiou[again] = (x[again][np.lexsort((turn, n[again]))] for x in (m, tiou))
    return n, m, tiou


def _argsort_turn(
    pair_n: np.ndarray,
    pair_m: np.ndarray,
    group_n: np.ndarray,
    segment_n2: np.ndarray,
    group_m: np.ndarray,
    segment_m2: np.ndarray,
) -> np.ndarray:
    """Place of each pair's instance in ``argsort(tIoU)[::-1]`` over its whole group, in row order."""
    by_group = np.argsort(group_m, kind="stable")
    place_m = np.empty_like(by_group)
    place_m[by_group] = np.arange(len(by_group))
    begin_p = np.searchsorted(group_m[by_group], group_n[pair_n])
    size_p = np.searchsorted(group_m[by_group], group_n[pair_n], "right") - begin_p
    turn_p = np.empty_like(pair_m)
    for size in np.unique(size_p):  # rows of one length are sorted in one call
        p = np.flatnonzero(size_p == size)
        first, row_p = np.unique(pair_n[p], return_index=True, return_inverse=True)[1:]
        member_rm = by_group[begin_p[p[first], None] + np.arange(size)]
        own_rm2 = np.repeat(segment_n2[pair_n[p[first]], None], size, axis=1)
        turn_rm = np.argsort(np.argsort(_tiou(own_rm2, segment_m2[member_rm]), axis=1)[:, ::-1], axis=1)
        turn_p[p] = turn_rm[row_p, place_m[pair_m[p]] - begin_p[p]]
    return turn_p


def _tiou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """TIoU of each segment of ``a`` with the one in the same place of ``b``; 0 where they do not share time."""
    shared = (np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0])).clip(min=0.0)
    both = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=shared > 0)


def running_max(group_n: Int[np.ndarray, " n"], value_rn: Real[np.ndarray, "*r n"]) -> Float[np.ndarray, "*r n"]:
    """Running maximum along the last axis that begins anew with each group; groups ascend.

    numpy orders complex numbers by real, then imaginary part: exact, where adding an offset per group would round.
    """
    return np.maximum.accumulate(group_n + 1j * value_rn, axis=-1).imag


def _before(group_m: np.ndarray, time_m: np.ndarray, group_n: np.ndarray, time_n: np.ndarray, side: Side) -> np.ndarray:
    """Rows of m, sorted by group and time, before (``left``) or up to (``right``) each (group, time) of n; exact."""
    levels, width = np.sort(time_m), len(time_m) + 1
    key_m = group_m * width + np.searchsorted(levels, time_m)
    return np.searchsorted(key_m, group_n * width + np.searchsorted(levels, time_n, side))


def assigned(
    pair_n: Int[np.ndarray, " p"],
    pair_m: Int[np.ndarray, " p"],
    tiou_p: Float[np.ndarray, " p"],
    iou_k: Float[np.ndarray, " k"],
    n: int,
    m: int,
) -> Int[np.ndarray, "k m"]:
    """Which detection, a row in rank order, takes each instance at each threshold; ``n`` where none does.

    Taking turns by rank is the stable matching in which every instance prefers the better-ranked detection, so all
    may ask at once for their best instance and, while refused, for their next: a few rounds in place of n turns.
    Each pair is asked for at most once per threshold.
    """
    holder_km = np.full((len(iou_k), m), n)
    owner_p, tiou_p = np.r_[pair_n, n], np.r_[tiou_p, 0.0]  # one more pair, that nobody owns, ends the last list
    best_p = np.flatnonzero(np.diff(pair_n, prepend=-1))
    asking_k, at = np.nonzero(tiou_p[best_p] >= iou_k[:, None])
    asking_p, refused = best_p[at], np.ones(1, dtype=bool)
    while refused.any():
        np.minimum.at(holder_km, (asking_k, pair_m[asking_p]), owner_p[asking_p])
        refused = holder_km[asking_k, pair_m[asking_p]] != owner_p[asking_p]
        next_p = asking_p + refused
        stays = (owner_p[next_p] == owner_p[asking_p]) & (tiou_p[next_p] >= iou_k[asking_k])
        asking_k, asking_p = asking_k[stays], next_p[stays]
    return holder_km
