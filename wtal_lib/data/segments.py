"""Segments in seconds: tIoU, flat tables of detections and ground truth, the one snippet/second converter, wrong units.

Segments are half-open; snippet ``i`` of a grid covers ``[i * stride, (i + 1) * stride) / fps`` seconds.
Axis letters of the whole package: b videos, t snippets, c classes, d CBP features, e embedding, n detections,
m ground-truth segments, k thresholds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Real


@dataclass(frozen=True)
class Grid:
    """The snippet grid of a feature pack: where a snippet lies in time."""

    fps: float
    "frames per second at which the features were computed"
    stride: float
    "frames from the start of one snippet to the start of the next"

    def __post_init__(self) -> None:
        for name, value in (("fps", self.fps), ("stride", self.stride)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"grid {name} must be a positive number, got {value}")

    @property
    def step(self) -> float:
        """Seconds covered by one snippet."""
        return self.stride / self.fps

    def seconds(self, position: Real[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
        """Time in seconds of a snippet boundary; fractional positions are allowed."""
        return np.asarray(np.asarray(position, dtype=np.float64) * self.stride / self.fps)

    def position(self, seconds: Real[np.ndarray, "..."] | float) -> Float[np.ndarray, "..."]:
        """Snippet boundary, as a fraction, at a time in seconds: the inverse of :meth:`seconds`."""
        return np.asarray(np.asarray(seconds, dtype=np.float64) * self.fps / self.stride)

    def count(self, duration: float) -> int:
        """Number of whole snippets in ``duration`` seconds, at least 1."""
        return max(1, math.floor(duration * self.fps / self.stride + 1e-9))

    def coverage(self, segments_m2: Float[np.ndarray, "m 2"], snippets: int) -> Float[np.ndarray, " t"]:
        """Share in [0, 1] of each of ``snippets`` snippets that the union of ``segments_m2`` (seconds) covers."""
        edges = self.seconds(np.arange(snippets + 1))
        start, stop = union(segments_m2).T
        inside = np.minimum(edges[1:, None], stop) - np.maximum(edges[:-1, None], start)
        return np.clip(inside.clip(min=0).sum(axis=1) / self.step, 0.0, 1.0)

    def mask(self, segments_m2: Float[np.ndarray, "m 2"], snippets: int) -> Bool[np.ndarray, " t"]:
        """Snippets of which at least half lies inside the union of ``segments_m2`` (seconds)."""
        return self.coverage(segments_m2, snippets) >= 0.5


I3D_GRID = Grid(fps=25, stride=16)
"grid of the community's I3D packs: 25 frames a second, 16 frames a snippet, 0.64 s"


@dataclass(frozen=True, eq=False)
class Detections:
    """Detections as flat, equally long columns; row order carries no meaning."""

    video_n: Int[np.ndarray, " n"]
    "index into ``videos``"
    label_n: Int[np.ndarray, " n"]
    "index into ``classes``"
    segment_n2: Float[np.ndarray, "n 2"]
    "start and stop, seconds"
    score_n: Float[np.ndarray, " n"]
    "confidence; only its order matters to average precision"
    videos: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.score_n)


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """Annotated instances as flat columns, with the segments a protocol lets a detection touch without penalty."""

    video_m: Int[np.ndarray, " m"]
    "index into ``videos``"
    label_m: Int[np.ndarray, " m"]
    "index into ``classes``"
    segment_m2: Float[np.ndarray, "m 2"]
    "start and stop, seconds"
    videos: tuple[str, ...]
    classes: tuple[str, ...]
    ambiguous_video_a: Int[np.ndarray, " a"]
    "index into ``videos`` of each ambiguous segment; empty when the protocol ignores none"
    ambiguous_segment_a2: Float[np.ndarray, "a 2"]
    grid: Grid | None = None
    "grid of a protocol that counts time in snippets (CO2-Net family): a tIoU of exactly one half depends on the unit"

    def __len__(self) -> int:
        return len(self.label_m)


def overlap(a_n2: Float[np.ndarray, "n 2"], b_m2: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "n m"]:
    """Length in seconds that each of ``a_n2`` shares with each of ``b_m2``; 0 where they only touch."""
    start_nm = np.maximum(a_n2[:, None, 0], b_m2[None, :, 0])
    stop_nm = np.minimum(a_n2[:, None, 1], b_m2[None, :, 1])
    return (stop_nm - start_nm).clip(min=0.0)


def tiou(a_n2: Float[np.ndarray, "n 2"], b_m2: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "n m"]:
    """Temporal intersection over union, in [0, 1], of each pair; 0 for a pair whose union has no length."""
    shared_nm = overlap(a_n2, b_m2)
    length_n, length_m = np.diff(a_n2)[:, 0], np.diff(b_m2)[:, 0]
    union_nm = length_n[:, None] + length_m[None, :] - shared_nm
    return np.divide(shared_nm, union_nm, out=np.zeros_like(shared_nm), where=union_nm > 0)


def union(segments_m2: Float[np.ndarray, "m 2"]) -> Float[np.ndarray, "u 2"]:
    """Disjoint, sorted segments that cover what ``segments_m2`` cover; zero-length ones vanish."""
    segments = np.asarray(segments_m2, dtype=np.float64).reshape(-1, 2)
    segments = segments[segments[:, 1] > segments[:, 0]]
    segments = segments[np.argsort(segments[:, 0], kind="stable")]
    reach = np.maximum.accumulate(segments[:, 1])
    gap = segments[1:, 0] > reach[:-1]
    first, last = np.r_[True, gap][: len(segments)], np.r_[gap, True][: len(segments)]
    return np.stack([segments[first, 0], reach[last]], axis=1)


def runs(mask_t: Bool[np.ndarray, " t"]) -> Int[np.ndarray, "r 2"]:
    """Half-open index ranges of the runs of True; a run of one snippet counts, at either end too."""
    edges = np.diff(np.r_[0, np.asarray(mask_t, dtype=np.int8), 0])
    return np.stack([np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)], axis=1)


def rounded(segments_m2: Float[np.ndarray, "m 2"], grid: Grid = I3D_GRID) -> Float[np.ndarray, "m 2"]:
    """Segments (s) with both ends at the nearest snippet boundary, ties to even: CO2-Net's ``eval_detection.py``."""
    return grid.seconds(np.rint(grid.position(segments_m2)))


def resampled(
    features_td: Float[np.ndarray, "t d"], source: Grid, target: Grid, snippets: int
) -> Float[np.ndarray, "s d"]:
    """``snippets`` rows on ``target``, float32: the mean of the ``source`` rows each overlaps, weighted by the overlap.

    On a finer target, the row at the snippet's middle; beyond the last row, that row again. Raises ValueError: no rows.
    """
    if not len(features_td):
        raise ValueError("expected at least one row to resample, got none; leave empty videos out")
    last = len(features_td) - 1
    if source == target:
        return features_td[np.arange(snippets).clip(max=last)].astype(np.float32)
    edge = source.position(target.seconds(np.arange(snippets + 1)))
    if target.step <= source.step:
        middle = np.floor((edge[:-1] + edge[1:]) / 2).astype(int)
        return features_td[middle.clip(max=last)].astype(np.float32)
    start, stop = edge[:-1].clip(max=last), edge[1:].clip(max=last + 1)
    total_sd, weight = np.zeros((snippets, features_td.shape[1])), np.zeros(snippets)
    for ahead in range(int(np.ceil(target.step / source.step)) + 1):
        row = np.floor(start).astype(int) + ahead
        share = (np.minimum(row + 1, stop) - np.maximum(row, start)).clip(min=0)
        total_sd += share[:, None] * features_td[row.clip(max=last)]
        weight += share
    return (total_sd / weight[:, None]).astype(np.float32)


BEYOND = 1.3
"times the end of a video at which most videos' last times are no seconds"
MANY = 100
"videos from which the median reach of a dataset tells snippets from seconds"


def likely_unit(latest_b: Float[np.ndarray, " b"], end_b: Float[np.ndarray, " b"]) -> tuple[str, str]:
    """Likely unit of the latest time of each video, and how it was told from where videos end (s); "" for seconds."""
    use = np.isfinite(end_b) & (end_b > 0) & np.isfinite(latest_b) & (latest_b > 0)
    latest, end = latest_b[use], end_b[use]
    if not len(latest):
        return "", ""
    times = float(np.median(latest / end))
    if times > BEYOND and (latest > BEYOND * end).mean() > 0.5:
        return unit_of(times), f"most videos have times beyond their end, by a factor of {times:.3g}"
    for top, unit, least in ((1, "fractions", 2), (100, "percents", 110)):
        longer = latest[end > least]
        odd = top > 1 or (latest % 1 > 0).any()  # whole seconds are no fractions
        if odd and len(longer) > 2 and 0.9 * top < longer.max() <= latest.max() <= top * (1 + 1e-6):
            return f"{unit} of the duration", f"none ends after {top}, in videos of {np.median(end):.0f} s"
    return "", ""


def unit_beside(latest_b: Float[np.ndarray, " b"], reach: float) -> tuple[str, str]:
    """As :func:`likely_unit`, from the median over a dataset's videos of the last annotated second, ``reach``."""
    times = float(np.median(latest_b)) / reach if len(latest_b) > 2 else 1.0
    if times > 8 or (len(latest_b) >= MANY and 1.4 < times < 1.8):
        return unit_of(times), f"they reach {times:.3g} times as far as those of this dataset do"
    return "", ""


def unit_of(times: float) -> str:
    """The unit of which there are so many in a second."""
    return "snippets" if times < 5 else "frames" if times < 300 else "milliseconds"
