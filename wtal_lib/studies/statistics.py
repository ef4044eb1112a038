"""95 % intervals of a difference in mean mAP between two sets of runs, paired by seed and by video.

A difference varies with the seeds (networks, batches) and with the test videos; one that another draw of either would
turn around is not shown. Percentiles of a resampling are far too narrow for a handful of seeds: of three seeds that
differ by chance alone, all agree in sign one time in four. So an interval here is the mean difference plus or minus a
quantile of Student's t times its standard error.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from wtal_lib.score.metrics import Matching

LEVEL = 0.95
"Confidence that an interval holds the difference"


class Interval(NamedTuple):
    """A difference, and the interval that holds it with a confidence of :data:`LEVEL`; nan where it is unknown."""

    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, or ``no difference shown`` where the interval holds 0 or is unknown."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "no difference shown"


def over_videos_and_seeds(ours_rs: Float[np.ndarray, "r s"], base_rs: Float[np.ndarray, "_ _"]) -> Interval:
    """Interval of the mean difference between two sets of runs, over seeds and over videos.

    Seeds and videos are crossed random effects: ``Var(mean) = Var_s(d_s) / S + C``, where ``d_s`` is the difference of
    a seed on all videos and ``C`` the covariance between two seeds' differences over the resamplings of the videos.
    (Drawing both with replacement would count the interaction of seeds and videos three times: Owen, The pigeonhole
    bootstrap, 2007.) Degrees of freedom after Satterthwaite; never narrower than over the seeds alone.

    ``ours_rs`` and ``base_rs`` are mean mAPs as of :func:`resampled`, of the same seeds on the same resamplings.

    Raises ValueError: different seeds or resamplings.
    """
    if ours_rs.shape != base_rs.shape:
        raise ValueError(f"expected the same resamplings and seeds of both, got {ours_rs.shape} and {base_rs.shape}")
    difference_s, *_ = difference_rs = ours_rs - base_rs
    seeds = len(difference_s)
    if seeds < 2:
        return _interval(difference_s)
    whole_r = np.isfinite(difference_rs).all(axis=1)  # a resampling may hold no instance at all
    covariance_ss = np.cov(difference_rs[1:][whole_r[1:]].T)
    shared = (covariance_ss.sum() - np.trace(covariance_ss)) / (seeds * (seeds - 1))
    return _interval(difference_s, max(0.0, float(shared)))


def over_seeds_and_settings(difference_sw: Float[np.ndarray, "s w"], margin: float = np.nan) -> Interval:
    """Interval of the mean of paired differences, a row a seed and a column a setting, where only mAPs are at hand.

    The interval is over settings, each by the mean over its seeds; with a single setting over seeds. That of a single
    difference reaches ``margin`` to each side.
    """
    return _interval(difference_sw.mean(axis=0) if difference_sw.shape[1] > 1 else difference_sw[:, 0], margin=margin)


def _interval(difference_s: Float[np.ndarray, " s"], shared: float = 0.0, margin: float = np.nan) -> Interval:
    """Student's interval of the mean, whose variance has a part ``shared`` by all, which is known well."""
    mean, count = float(np.mean(difference_s)), len(difference_s)
    if count < 2:
        return Interval(mean, mean - margin, mean + margin)
    own = float(np.var(difference_s, ddof=1)) / count
    degrees = (count - 1) * ((own + shared) / own) ** 2 if own > 0 else np.inf
    both = t_quantile(degrees) * math.sqrt(own + shared)
    margin = max(both, t_quantile(count - 1) * math.sqrt(own))  # what videos add must not narrow it
    return Interval(mean, mean - margin, mean + margin)


def t_quantile(degrees: float) -> float:
    """Bound of the central :data:`LEVEL` of Student's t with ``degrees`` of freedom, which need not be whole.

    With ``t = sqrt(degrees) tan(a)`` its density is ``cos(a) ** (degrees - 1)``.
    """
    degrees = min(degrees, 1e4)  # the normal distribution, to 2e-4
    angle = np.linspace(0, np.pi / 2, 20_001)
    middle = (angle[1:] + angle[:-1]) / 2
    mass = np.cumsum(np.cos(middle) ** (degrees - 1))
    return float(np.sqrt(degrees) * np.tan(np.interp(LEVEL * mass[-1], mass, angle[1:])))


def resampled(matchings: Sequence[Matching], resamplings: int = 1000, seed: int = 0) -> Float[np.ndarray, "r s"]:
    """Mean mAP (percent) of runs, a column each: on the test videos as they are (row 0), then resampled.

    Videos are drawn with replacement, as many as there are, the same in every run and every call: the detections and
    instances of a video count as often as it was drawn. The mean is over classes and all thresholds of the matchings.
    """
    videos = len(matchings[0].truth.videos)
    drawn_rb = np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), size=resamplings)
    weight_rb = np.concatenate([np.ones((1, videos), dtype=np.int64), drawn_rb])
    return np.stack([_mean_map(matching, weight_rb) for matching in matchings], axis=1)


def _mean_map(matching: Matching, weight_rb: Int[np.ndarray, "r b"]) -> Float[np.ndarray, " r"]:
    """As the mean of ``matching.average_precision(weight_rb)``, in a fraction of the time and of the memory."""
    truth, (total_r, classes_r) = matching.truth, np.zeros((2, len(weight_rb)))
    weight_rb = weight_rb.astype(np.float32)  # whole numbers, exact
    ends = np.searchsorted(matching.label_n, np.arange(len(truth.classes) + 1))
    for label, (first, last) in enumerate(itertools.pairwise(ends)):
        rank_km = np.sort(matching.rank_km[:, truth.label_m == label], axis=1)
        truth_r = weight_rb[:, truth.video_m[truth.label_m == label]].sum(axis=1)
        rank_u = np.unique(rank_km[rank_km < last])
        count_bu = np.zeros((len(truth.videos), len(rank_u) + 1), dtype=np.float32)
        np.add.at(count_bu, (matching.video_n[first:last], np.searchsorted(rank_u, np.arange(first, last))), 1)
        seen_ru = weight_rb @ count_bu.cumsum(axis=1)[:, :-1]  # detections down to each that finds an instance
        for rank_h in (rank_m[rank_m < last] for rank_m in rank_km):
            weight_rh = weight_rb[:, matching.video_n[rank_h]]
            precision_rh = weight_rh.cumsum(axis=1) / np.maximum(seen_ru[:, np.searchsorted(rank_u, rank_h)], 1)
            envelope_rh = np.maximum.accumulate(precision_rh[:, ::-1], axis=1)[:, ::-1]
            total_r += (weight_rh * envelope_rh).sum(axis=1) / np.maximum(truth_r, 1)
        classes_r += truth_r > 0
    mean_r = np.full(len(weight_rb), np.nan)
    return 100 * np.divide(total_r, len(matching.iou_k) * classes_r, out=mean_r, where=classes_r > 0)
