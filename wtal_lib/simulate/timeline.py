"""Causes of a simulated video, snippet by snippet, before either modality sees them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

from wtal_lib.data.segments import Grid, overlap, union
from wtal_lib.simulate.knobs import Simulator

SHOT_KINDS = ("crowd", "logo", "close-up", "interview", "scoreboard", "landscape")
"what an unrelated shot shows"
WITHIN = 4
"samples per snippet at which phases are evaluated before they are averaged"
RAMP = 0.12
"share of an instance over which one phase passes into the next"
HARD = (0.2, 0.6)
"least and greatest visibility of an instance that is hard to see"
MARGIN = 0.6
"least length of the context on either side of an instance, seconds"
WALKED = 0.65
"share of the shots in which somebody walks about"
CLEAR = 0.15
"standard deviation over shots, on a log scale, of how clearly the place is in the picture"


@dataclass(frozen=True, eq=False)
class Timeline:
    """Causes per snippet; m counts the annotated instances and, after them, the replays."""

    segment_m2: Float[np.ndarray, "m 2"]
    "start and stop, seconds, within the video"
    class_m: Int[np.ndarray, " m"]
    phase_mt3: Float64[np.ndarray, "m t 3"]
    "share of each snippet that is preparation, peak and end of each instance"
    visible_m2: Float64[np.ndarray, "m 2"]
    "visibility of each instance to CBP and VLP; 1 is usual"
    still_t: Float64[np.ndarray, " t"]
    "share of each snippet in which no action is performed"
    class_t: Int[np.ndarray, " t"]
    "class whose place is in the picture: the nearest instance's"
    scene_t: Float64[np.ndarray, " t"]
    "1 where the action's place is in the picture (action and context), 0 in unrelated shots"
    clear_t: Float64[np.ndarray, " t"]
    "how clearly the place is in the picture; 1 is usual"
    shot_t: Int[np.ndarray, " t"]
    "index of the shot"
    kind_t: Int[np.ndarray, " t"]
    "index into SHOT_KINDS, used where scene_t is below 1"
    walk_t: Float64[np.ndarray, " t"]
    "strength of walking about"


def phases(
    segment_m2: Float[np.ndarray, "m 2"], share_m2: Float[np.ndarray, "m 2"], cycle: float, grid: Grid, snippets: int
) -> Float64[np.ndarray, "m t 3"]:
    """Share of each snippet that is preparation, peak and end of each instance; the three add up to the coverage.

    ``share_m2`` holds the shares of preparation and of end. An instance longer than ``1.5 * cycle`` seconds repeats
    its phases.
    """
    time_t = grid.seconds((np.arange(snippets * WITHIN) + 0.5) / WITHIN)
    length_m = np.diff(segment_m2)
    place_mt = (time_t - segment_m2[:, :1]) / np.maximum(length_m, 1e-9)
    inside_mt = (place_mt >= 0) & (place_mt < 1)
    place_mt = (place_mt * np.maximum(1, np.rint(length_m / cycle))) % 1.0
    prepare_mt = np.clip((share_m2[:, :1] - place_mt) / RAMP + 0.5, 0, 1) * inside_mt
    end_mt = np.clip((place_mt - 1 + share_m2[:, 1:]) / RAMP + 0.5, 0, 1) * inside_mt
    stacked = np.stack([prepare_mt, inside_mt - prepare_mt - end_mt, end_mt], axis=2)
    return stacked.reshape(len(segment_m2), snippets, WITHIN, 3).mean(axis=2)


def timeline(
    segment_m2: Float[np.ndarray, "m 2"],
    class_m: Int[np.ndarray, " m"],
    fallback: int,
    snippets: int,
    grid: Grid,
    knobs: Simulator,
    rng: np.random.Generator,
) -> Timeline:
    """Causes of one video, drawn around its annotated instances (seconds).

    Instances are clipped to the video; those beyond its end are left out. ``fallback`` is the class whose place is
    shown in a video without instances.
    """
    stop, middle_t = float(grid.seconds(snippets)), grid.seconds(np.arange(snippets) + 0.5)
    segment_m2 = np.clip(segment_m2, 0, stop)
    shown = segment_m2[:, 1] > segment_m2[:, 0]
    replay_r2, replayed_r = _replays(segment_m2[shown], stop, knobs, rng)
    segment_m2 = np.concatenate([segment_m2[shown], replay_r2])
    class_m = np.concatenate([class_m[shown], class_m[shown][replayed_r]])
    # visible ends lie about the annotated ones, closer for short instances
    spread_m1 = knobs.jitter * np.minimum(np.diff(segment_m2), knobs.cycle)
    seen_m2 = segment_m2 + spread_m1 * np.clip(rng.standard_normal(segment_m2.shape), -2, 2)
    share_m2 = knobs.phase_share * (1 + knobs.phase_spread * rng.uniform(-1, 1, segment_m2.shape))
    phase_mt3 = phases(seen_m2, share_m2, knobs.cycle, grid, snippets)
    # visibility: 1 on average for each modality, in part the same for both, except where an instance is hard to see
    hard_m = rng.random(len(segment_m2)) < knobs.hard
    ease_m2 = (1 - knobs.shared) ** 0.5 * rng.standard_normal(segment_m2.shape)
    ease_m2 += knobs.shared**0.5 * rng.standard_normal((len(segment_m2), 1))
    visible_m2 = np.exp(knobs.uneven * ease_m2 - knobs.uneven**2 / 2)
    visible_m2 *= np.where(hard_m, rng.uniform(*HARD, len(segment_m2)), 1.0)[:, None]
    # shots of gamma-distributed length; away from any context, some are unrelated
    length_s = rng.gamma(2.0, knobs.shot_seconds / 2, size=8 + int(2 * stop / knobs.shot_seconds)) + grid.step
    shot_t = np.searchsorted(np.cumsum(length_s), middle_t)
    shots = int(shot_t[-1]) + 1
    margin_m2 = MARGIN + rng.exponential(knobs.context_seconds, segment_m2.shape)
    beside_t = grid.coverage(union(segment_m2 + margin_m2 * [-1, 1]), snippets)
    scene_t = np.where((rng.random(shots) < knobs.unrelated)[shot_t], beside_t, 1.0)
    uncut_t = 1.0 - (rng.random(shots) < knobs.cuts)[shot_t]
    pace_s = rng.uniform(0.3, 1.3, shots) * (rng.random(shots) < WALKED)
    wave_t = 1 + 0.5 * np.sin(np.arange(snippets) * rng.uniform(0.4, 1.2) + rng.uniform(0, 2 * np.pi))
    away_mt = np.maximum(segment_m2[:, :1] - middle_t, middle_t - segment_m2[:, 1:])
    return Timeline(
        segment_m2=segment_m2,
        class_m=class_m,
        phase_mt3=_spread(phase_mt3, knobs.bleed, grid) * uncut_t[:, None],
        visible_m2=visible_m2,
        still_t=np.clip(1 - phase_mt3.sum(axis=(0, 2)), 0, 1),
        class_t=class_m[away_mt.argmin(axis=0)] if len(class_m) else np.full(snippets, fallback, dtype=np.int64),
        scene_t=scene_t * uncut_t,
        clear_t=np.exp(CLEAR * rng.standard_normal(shots))[shot_t],
        shot_t=shot_t,
        kind_t=rng.integers(len(SHOT_KINDS), size=shots)[shot_t],
        walk_t=pace_s[shot_t] * wave_t,
    )


def _spread(phase_mt3: Float64[np.ndarray, "m t 3"], seconds: float, grid: Grid) -> Float64[np.ndarray, "m t 3"]:
    """Phases under a centred running mean of ``seconds``, made an odd number of snippets."""
    half = round(seconds / grid.step / 2)
    if not half:
        return phase_mt3
    total = np.pad(phase_mt3.cumsum(axis=1), ((0, 0), (half + 1, half), (0, 0)), mode="edge")
    total[:, : half + 1] = 0
    return (total[:, 2 * half + 1 :] - total[:, : -2 * half - 1]) / (2 * half + 1)


def _replays(
    segment_m2: Float[np.ndarray, "m 2"], stop: float, knobs: Simulator, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "r 2"], Int[np.ndarray, " r"]]:
    """Segments of slower, unannotated repetitions that touch no instance, and the instance that each repeats."""
    replays, which = np.zeros((0, 2)), []
    for i in rng.integers(max(1, len(segment_m2)), size=rng.poisson(knobs.replays * len(segment_m2))):
        length = float(np.diff(segment_m2[i])[0]) * rng.uniform(1.0, 1.6)
        start = rng.random() * (stop - length)
        near = np.array([[start - 1, start + length + 1]])
        if start >= 0 and not overlap(near, np.concatenate([segment_m2, replays])).any():
            replays = np.append(replays, [[start, start + length]], axis=0)
            which.append(int(i))
    return replays, np.array(which, dtype=np.int64)
