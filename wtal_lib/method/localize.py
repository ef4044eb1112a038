"""Scores to detections: class selection, many CAS thresholds, outer-inner contrast and (soft-)NMS, in seconds.

Snippet i covers ``[i, i + 1)``, so a run of snippets is a half-open segment: nothing is widened by one, and a run of
one snippet counts. Axis letters beside the package's: s classes kept, n proposals, r those that remain after NMS.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from wtal_lib.data.segments import Detections, Grid
from wtal_lib.method.config import Localize


@dataclass(frozen=True, eq=False)
class VideoScores:
    """Scores of one video, by a branch or by two fused ones."""

    name: str
    activation_tc: Float[np.ndarray, "t c"]
    "class activation of each snippet, in [0, 1]"
    attention_t: Float[np.ndarray, " t"]
    "class-agnostic foreground attention, in [0, 1]"
    video_c: Float[np.ndarray, " c"]
    "video-level class scores, in [0, 1]"
    score_tc: Float[np.ndarray, "t c"] | None = None
    "fused sequences to localize in; activation x attention where it is None"

    @property
    def cas_tc(self) -> Float[np.ndarray, "t c"]:
        """The sequences that are cut: ``score_tc`` where given, else activation x attention."""
        return self.activation_tc * self.attention_t[:, None] if self.score_tc is None else self.score_tc


FUSIONS: dict[str, Callable[..., np.ndarray]] = {"sum": np.sum, "mean": np.mean, "product": np.prod, "max": np.max}
"How the normalised scores of several branches become one"


def min_max(score_tc: Float[np.ndarray, "t c"]) -> Float[np.ndarray, "t c"]:
    """Scores of one video stretched to [0, 1] over all its snippets and classes together; 0 where they are constant.

    One range for all classes keeps their order, so that a class the branch hardly sees stays low.
    """
    if not score_tc.size:
        return score_tc
    low, high = score_tc.min(), score_tc.max()
    return (score_tc - low) / (high - low) if high > low else np.zeros_like(score_tc)


def fused(
    branches: Sequence[Float[np.ndarray, "t c"]], how: str = "sum", shares: Sequence[float] | None = None
) -> Float[np.ndarray, "t c"]:
    """One score sequence a class from those of several branches, each normalised over the video first.

    In a sum or mean ``shares``, which add up to 1, say what each branch counts for; all alike when absent.

    Raises:
        ValueError: an unknown fusion; the message lists the known ones.
    """
    if how not in FUSIONS:
        raise ValueError(f"unknown fusion {how!r}; choose one of {', '.join(FUSIONS)}")
    score_btc = np.stack([min_max(score_tc) for score_tc in branches])
    if shares is not None and how in ("sum", "mean"):
        score_btc *= len(branches) * np.asarray(shares, dtype=score_btc.dtype)[:, None, None]
    return FUSIONS[how](score_btc, axis=0)


def localize(videos: Sequence[VideoScores], config: Localize, grid: Grid, classes: Sequence[str]) -> Detections:
    """Detections of all videos, in seconds, each video's best first.

    Raises:
        ValueError: a video whose arrays disagree in shape with each other or with ``classes``, or hold NaN or infinity;
            a video that comes twice.
    """
    names = tuple(video.name for video in videos)
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ValueError(f"each video must come once, got {len(twice)} more than once: {', '.join(twice[:3])}")
    found = [_localize_one(_checked(video, len(classes)), config) for video in videos]
    video_n = np.repeat(np.arange(len(names)), [len(score_n) for _, _, score_n in found])
    label_n = np.concatenate([np.empty(0, np.int64), *(row[0] for row in found)])
    cells_n2 = np.concatenate([np.empty((0, 2)), *(row[1] for row in found)])
    score_n = np.concatenate([np.empty(0), *(row[2] for row in found)])
    return Detections(video_n, label_n, grid.seconds(cells_n2), score_n, names, tuple(classes))


def _checked(video: VideoScores, classes: int) -> VideoScores:
    """The video itself, once its arrays fit each other."""
    shape = (len(video.attention_t), classes)
    for name, wanted in {"activation_tc": shape, "video_c": (classes,), "cas_tc": shape}.items():
        came = getattr(video, name).shape
        if came != wanted:
            what = f"{video.name}: {name} must be of shape {wanted}, got {came}"
            raise ValueError(f"{what}: a row a snippet, a column a class")
    if not (np.isfinite(video.cas_tc).all() and np.isfinite(video.video_c).all()):
        raise ValueError(f"{video.name}: scores must be finite, got NaN or infinity; look at the features they rest on")
    return video


def _localize_one(video: VideoScores, config: Localize) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), segments (n, 2) in snippets and scores (n,) of one video, best first."""
    kept_s = selected(video.video_c, config.class_threshold)
    cas_st = upsampled(video.cas_tc[:, kept_s].T.astype(np.float64), config.upsample)
    row_n, cells_n2 = proposals(cas_st, np.linspace(config.low, config.high, config.thresholds))
    score_n = oic(cas_st, row_n, cells_n2, config.outer)
    score_n += config.video_weight * video.video_c[kept_s[row_n]].astype(np.float64)
    kept_n, score_n = nms(row_n, cells_n2 / config.upsample, score_n, config)
    return kept_s[row_n[kept_n]], cells_n2[kept_n] / config.upsample, score_n


def selected(video_c: Float[np.ndarray, " c"], threshold: float) -> Int[np.ndarray, " s"]:
    """Classes whose video-level score reaches ``threshold``, in index order; the best class always is among them."""
    return np.flatnonzero((video_c >= threshold) | (np.arange(len(video_c)) == np.argmax(video_c)))


def upsampled(cas_st: Float[np.ndarray, "s t"], factor: int) -> Float[np.ndarray, "s tu"]:
    """Sequences on cells ``factor`` times finer: linear between the snippets' centres, constant beyond the outer two.

    Centres are mapped, so nothing shifts; CoLA's ``upgrade_resolution`` moves boundaries by up to half a snippet.
    """
    snippets = cas_st.shape[1]
    if factor == 1 or not snippets:
        return cas_st
    at_u = np.clip((np.arange(snippets * factor) + 0.5) / factor - 0.5, 0, snippets - 1)
    left_u = at_u.astype(np.int64)
    part_u = at_u - left_u
    right_u = np.minimum(left_u + 1, snippets - 1)
    return cas_st[:, left_u] * (1 - part_u) + cas_st[:, right_u] * part_u


def proposals(
    cas_st: Float[np.ndarray, "s t"], share_k: Float[np.ndarray, " k"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, "n 2"]]:
    """Every distinct run of cells at or above a threshold: its sequence (n,) and its half-open range of cells (n, 2).

    The levels of one sequence are ``min + share * (max - min)``. A run that several levels agree on comes once. A
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
    cells = cas_st.shape[1]
    mass_st = np.pad(np.cumsum(cas_st, axis=1), ((0, 0), (1, 1)), mode="constant")
    mass_st[:, -1:] = mass_st[:, -2:-1]

    def mass(at_n: np.ndarray) -> np.ndarray:
        """Integral of each row's sequence up to a fractional cell."""
        cell_n = at_n.astype(np.int64)
        before_n = mass_st[row_n, cell_n]
        return before_n + (at_n - cell_n) * (mass_st[row_n, cell_n + 1] - before_n)

    start_n, stop_n = cells_n2.T.astype(np.float64)
    margin_n = outer * (stop_n - start_n)
    left_n, right_n = np.maximum(start_n - margin_n, 0), np.minimum(stop_n + margin_n, cells)
    inside_n = mass(stop_n) - mass(start_n)
    outside_n = mass(right_n) - mass(left_n) - inside_n
    width_n = right_n - left_n - (stop_n - start_n)
    outer_n = np.divide(outside_n, width_n, out=np.zeros_like(width_n), where=width_n > 0)
    return inside_n / (stop_n - start_n) - outer_n


def nms(
    row_n: Int[np.ndarray, " n"],
    segment_n2: Float[np.ndarray, "n 2"],
    score_n: Float[np.ndarray, " n"],
    config: Localize,
) -> tuple[Int[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Which proposals of a video remain, best first, and their scores after (soft-)NMS within each row (class).

    Equal scores rank by row, start and stop, so that the order of the proposals never matters. What falls to
    ``config.floor`` or below is dropped, and at most ``config.per_video`` remain (Bodla et al., ICCV 2017).
    """
    order_n = np.lexsort((segment_n2[:, 1], segment_n2[:, 0], row_n, -score_n))
    order_n = order_n[score_n[order_n] > config.floor]
    if config.nms == "none":
        return order_n[: config.per_video], score_n[order_n[: config.per_video]]
    sigma = config.nms_sigma if config.nms == "soft" else 0.0
    most = min(config.per_video, len(order_n))
    start_n, stop_n = segment_n2[order_n].T.copy()
    kept_r, score_r = _pick()(
        row_n[order_n], start_n, stop_n, score_n[order_n], sigma, config.nms_tiou, config.floor, most
    )
    return order_n[kept_r], score_r


@functools.cache
def _pick() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """:func:`_picks`, compiled on first use and kept on disk where there is a place to keep it."""
    import numba

    plain = inspect.unwrap(_picks)
    try:
        return numba.njit(cache=True)(plain)
    except RuntimeError:  # no folder to cache in can be written
        return numba.njit(plain)


def _picks(
    row_n: np.ndarray,
    start_n: np.ndarray,
    stop_n: np.ndarray,
    score_n: np.ndarray,
    sigma: float,
    limit: float,
    floor: float,
    most: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Greedy picks and their scores; each pick decays its row by exp(-tIoU^2 / sigma), or, at sigma 0, cuts it."""
    left_n = score_n.copy()
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
