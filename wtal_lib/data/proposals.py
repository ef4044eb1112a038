"""Class activation sequences to scored segments: runs above thresholds, outer-inner contrast, greedy (soft-)NMS.

Cell i covers ``[i, i + 1)``, so a run of cells is a half-open segment. Axis letters beside the package's: s sequences,
n proposals, r those that remain after NMS.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int


def upsampled(cas_st: Float[np.ndarray, "s t"], factor: int) -> Float[np.ndarray, "s tu"]:
    """Sequences on cells ``factor`` times finer: linear between the snippets' centres, constant beyond the outer two.

    Centres are mapped, so nothing shifts; CoLA's ``upgrade_resolution`` moves boundaries by up to half a snippet.
    """
    snippets = cas_st.shape[1]
    if factor == 1 or not snippets:
        return cas_st
    at_u = np.clip((np.arange(snippets * factor) + 0.5) / factor - 0.5, 0, snippets - 1)
    left_u = at_u.astype(np.int64)
    part_u, right_u = at_u - left_u, np.minimum(left_u + 1, snippets - 1)
    return cas_st[:, left_u] * (1 - part_u) + cas_st[:, right_u] * part_u


def proposals(
    cas_st: Float[np.ndarray, "s t"], share_k: Float[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "n 2"]]:
    """Every distinct run of cells at or above a threshold: its sequence (n,) and its half-open range of cells (n, 2).

    The thresholds of one sequence are ``min + share * (max - min)``. A run that several of them cut comes once. A
    constant sequence has no range to cut: all of it is one run.
    """
    sequences, cells = cas_st.shape
    if not cells:
        return np.empty(0, np.int64), np.empty((0, 2), np.int64)
    low_s, high_s = cas_st.min(axis=1), cas_st.max(axis=1)
    level_ks = low_s + share_k[:, None] * (high_s - low_s)
    above_kst = np.zeros((len(share_k), sequences, cells + 2), bool)
    np.greater_equal(cas_st, level_ks[:, :, None], out=above_kst[:, :, 1:-1])
    # Each run flips the mask twice, so in reading order (k, s, t) the flips alternate: start, stop, start, stop.
    flip_r2 = np.flatnonzero(above_kst[:, :, 1:] != above_kst[:, :, :-1]).reshape(-1, 2)
    line_r, start_r = np.divmod(flip_r2[:, 0], cells + 1)
    stop_r = flip_r2[:, 1] - line_r * (cells + 1)
    key_n = np.unique((line_r % sequences * (cells + 1) + start_r) * (cells + 1) + stop_r)
    start_n, stop_n = np.divmod(key_n, cells + 1)
    row_n, start_n = np.divmod(start_n, cells + 1)
    return row_n, np.stack([start_n, stop_n], axis=1)


def oic(
    cas_st: Float[np.ndarray, "s t"], row_n: Int[np.ndarray, " n"], cells_n2: Int[np.ndarray, "n 2"], outer: float
) -> Float[np.ndarray, " n"]:
    """Outer-inner contrast: mean score inside a run minus the mean over its two margins, ``outer`` lengths wide each.

    Margins end at the ends of the video, and may end within a cell, which then counts by its share. Without any margin
    (``outer`` 0, or a run that is the whole video) the outer mean is 0 (AutoLoc, Shou et al., ECCV 2018).
    """
    mass_st = np.pad(np.cumsum(cas_st, axis=1), ((0, 0), (1, 1)))
    mass_st[:, -1:] = mass_st[:, -2:-1]

    def mass(at_n: np.ndarray) -> np.ndarray:
        """Integral of each row's sequence up to a fractional cell."""
        cell_n = at_n.astype(np.int64)
        before_n = mass_st[row_n, cell_n]
        return before_n + (at_n - cell_n) * (mass_st[row_n, cell_n + 1] - before_n)

    start_n, stop_n = cells_n2.T.astype(np.float64)
    margin_n = outer * (stop_n - start_n)
    left_n, right_n = np.maximum(start_n - margin_n, 0), np.minimum(stop_n + margin_n, cas_st.shape[1])
    inside_n = mass(stop_n) - mass(start_n)
    outside_n = mass(right_n) - mass(left_n) - inside_n
    width_n = right_n - left_n - (stop_n - start_n)
    outer_n = np.divide(outside_n, width_n, out=np.zeros_like(width_n), where=width_n > 0)
    return inside_n / (stop_n - start_n) - outer_n


@functools.cache
def greedy() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """:func:`picks`, compiled on first use and kept on disk where there is a place to keep it."""
    import numba

    plain = inspect.unwrap(picks)
    try:
        return numba.njit(cache=True)(plain)
    except RuntimeError:  # no folder to cache in can be written
        return numba.njit(plain)


def picks(
    row_n: Int[np.ndarray, " n"],
    segment_n2: Float[np.ndarray, "n 2"],
    score_n: Float[np.ndarray, " n"],
    sigma: float,
    limit: float,
    floor: float,
    most: int,
) -> tuple[Int[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Greedy picks among segments that are sorted best first, and their scores, within each row.

    Each pick decays the others by ``exp(-tIoU^2 / sigma)``; at ``sigma`` 0 it drops those above ``limit`` (Bodla et
    al., ICCV 2017). What falls to ``floor`` is not picked, nor more than ``most``.
    """
    start_n, stop_n, left_n = segment_n2[:, 0].copy(), segment_n2[:, 1].copy(), score_n.copy()
    kept_r, score_r = np.empty(most, np.int64), np.empty(most)
    best = 0
    for r in range(most):
        if best < 0:
            return kept_r[:r], score_r[:r]
        pick, kept_r[r], score_r[r] = best, best, left_n[best]
        left_n[pick], best = -np.inf, -1
        for i in range(len(left_n)):
            shared = min(stop_n[i], stop_n[pick]) - max(start_n[i], start_n[pick])
            if row_n[i] == row_n[pick] and shared > 0:
                tiou = shared / (stop_n[i] - start_n[i] + stop_n[pick] - start_n[pick] - shared)
                if sigma > 0:
                    left_n[i] *= math.exp(-tiou * tiou / sigma)
                elif tiou > limit:
                    left_n[i] = -np.inf
            if left_n[i] > floor and (best < 0 or left_n[i] > left_n[best]):
                best = i
    return kept_r, score_r
