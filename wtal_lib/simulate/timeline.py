"""What happens in a simulated video, snippet by snippet, before any modality looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from wtal_lib.data.segments import Grid, overlap, runs, union
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
"standard deviation over shots of how clearly, on a log scale, the place is in the picture"


@dataclass(frozen=True, eq=False)
class Timeline:
    """Causes per snippet; m counts the annotated instances and, after them, the replays."""

    class_m: Int[np.ndarray, " m"]
    phase_mt3: Float64[np.ndarray, "m t 3"]
    "share of each snippet that is preparation, peak and end of each instance"
    visible_m2: Float64[np.ndarray, "m 2"]
    "how well CBP and VLP see each instance; 1 is usual"
    still_t: Float64[np.ndarray, " t"]
    "share of each snippet in which nothing is performed"
    class_t: Int[np.ndarray, " t"]
    "class whose place is in the picture: the nearest instance's"
    scene_t: Float64[np.ndarray, " t"]
    "1 where the action's place is in the picture (action and context), 0 in unrelated shots"
    clear_t: Float64[np.ndarray, " t"]
    "how clearly it is"
    shot_t: Int[np.ndarray, " t"]
    kind_t: Int[np.ndarray, " t"]
    "index into SHOT_KINDS, used where scene_t is below 1"
    walk_t: Float64[np.ndarray, " t"]
    "strength of walking about"
    tags: tuple[tuple[float, float, str], ...]
    "(start, stop, kind) in seconds, sorted: context, unrelated, replay, hard"


def phases(
    segment_m2: Float[np.ndarray, "m 2"], share_m2: Float[np.ndarray, "m 2"], cycle: float, grid: Grid, snippets: int
) -> Float64[np.ndarray, "m t 3"]:
    """Share of each snippet that is preparation, peak and end of each instance; the three add up to the coverage.

    ``share_m2`` holds the shares of preparation and of end. An instance longer than ``1.5 * cycle`` seconds goes
    through its phases again and again.
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
    """Everything that happens in one video, drawn around its annotated instances.

    Instances are clipped to the video; those beyond its end are not shown. ``fallback`` is the class whose place is
    shown in a video without any instance.
    """
    stop = float(grid.seconds(snippets))
    segment_m2 = np.clip(segment_m2, 0, stop)
    shown = segment_m2[:, 1] > segment_m2[:, 0]
    segment_m2, class_m = segment_m2[shown], class_m[shown]
    replay_r2, replayed_r = _replays(segment_m2, stop, knobs, rng)
    seen_m2, class_m = np.concatenate([segment_m2, replay_r2]), np.concatenate([class_m, class_m[replayed_r]])
    phase_mt3 = _performed(seen_m2, knobs, grid, snippets, rng)
    hard_m, visible_m2 = _visibility(len(seen_m2), knobs, rng)
    shot_t, shots = _shots(stop, snippets, grid, knobs, rng)
    margin_m2 = MARGIN + rng.exponential(knobs.context_seconds, seen_m2.shape)
    beside_t = grid.coverage(union(seen_m2 + margin_m2 * [-1, 1]), snippets)
    scene_t = np.where((rng.random(shots) < knobs.unrelated)[shot_t], beside_t, 1.0)
    seen_t = 1.0 - (rng.random(shots) < knobs.cuts)[shot_t]
    pace_s = rng.uniform(0.3, 1.3, shots) * (rng.random(shots) < WALKED)
    wave_t = 1 + 0.5 * np.sin(np.arange(snippets) * rng.uniform(0.4, 1.2) + rng.uniform(0, 2 * np.pi))
    hard = segment_m2[hard_m[: len(segment_m2)]]
    return Timeline(
        class_m=class_m,
        phase_mt3=_spread(phase_mt3, knobs.bleed, grid) * seen_t[:, None],
        visible_m2=visible_m2,
        still_t=np.clip(1 - phase_mt3.sum(axis=(0, 2)), 0, 1),
        class_t=_nearest(seen_m2, class_m, fallback, grid, snippets),
        scene_t=scene_t * seen_t,
        clear_t=np.exp(CLEAR * rng.standard_normal(shots))[shot_t],
        shot_t=shot_t,
        kind_t=rng.integers(len(SHOT_KINDS), size=shots)[shot_t],
        walk_t=pace_s[shot_t] * wave_t,
        tags=_tags(grid.coverage(segment_m2, snippets), scene_t, hard, replay_r2, grid),
    )


def _performed(
    segment_m2: Float[np.ndarray, "m 2"], knobs: Simulator, grid: Grid, snippets: int, rng: np.random.Generator
) -> Float64[np.ndarray, "m t 3"]:
    """Phases of instances whose visible ends lie about the annotated ones, closer for short ones."""
    spread_m1 = knobs.jitter * np.minimum(np.diff(segment_m2), knobs.cycle)
    visible_m2 = segment_m2 + spread_m1 * np.clip(rng.standard_normal(segment_m2.shape), -2, 2)
    share_m2 = knobs.phase_share * (1 + knobs.phase_spread * rng.uniform(-1, 1, segment_m2.shape))
    return phases(visible_m2, share_m2, knobs.cycle, grid, snippets)


def _spread(phase_mt3: Float64[np.ndarray, "m t 3"], seconds: float, grid: Grid) -> Float64[np.ndarray, "m t 3"]:
    """Phases under a centred running mean of ``seconds``, made an odd number of snippets."""
    half = round(seconds / grid.step / 2)
    if not half:
        return phase_mt3
    total = np.pad(phase_mt3.cumsum(axis=1), ((0, 0), (half + 1, half), (0, 0)), mode="edge")
    total[:, : half + 1] = 0
    return (total[:, 2 * half + 1 :] - total[:, : -2 * half - 1]) / (2 * half + 1)


def _visibility(
    count: int, knobs: Simulator, rng: np.random.Generator
) -> tuple[Bool[np.ndarray, " m"], Float64[np.ndarray, "m 2"]]:
    """Which instances are hard to see for everybody, and how well each modality sees each, 1 on average otherwise."""
    hard_m = rng.random(count) < knobs.hard
    common_m1, own_m2 = rng.standard_normal((count, 1)), rng.standard_normal((count, 2))
    ease_m2 = knobs.shared**0.5 * common_m1 + (1 - knobs.shared) ** 0.5 * own_m2
    visible_m2 = np.exp(knobs.uneven * ease_m2 - knobs.uneven**2 / 2)
    visible_m2 *= np.where(hard_m, rng.uniform(*HARD, count), 1.0)[:, None]
    return hard_m, visible_m2


def _replays(
    segment_m2: Float[np.ndarray, "m 2"], stop: float, knobs: Simulator, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "r 2"], Int[np.ndarray, " r"]]:
    """Unannotated repetitions that touch no instance, somewhat slower than life, and which instance each repeats."""
    kept: list[tuple[float, float]] = []
    which = []
    for i in rng.integers(max(1, len(segment_m2)), size=rng.poisson(knobs.replays * len(segment_m2))):
        length = float(np.diff(segment_m2[i])[0]) * rng.uniform(1.0, 1.6)
        start = rng.random() * (stop - length)
        near = np.array([[start - 1, start + length + 1]])
        taken = np.concatenate([segment_m2, np.reshape(np.array(kept), (-1, 2))])
        if start >= 0 and not overlap(near, taken).any():
            kept.append((start, start + length))
            which.append(int(i))
    return np.array(kept, dtype=np.float64).reshape(-1, 2), np.array(which, dtype=np.int64)


def _shots(
    stop: float, snippets: int, grid: Grid, knobs: Simulator, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " t"], int]:
    """Shot of each snippet, and how many there are; a shot lasts a gamma-distributed time."""
    lengths = rng.gamma(2.0, knobs.shot_seconds / 2, size=8 + int(2 * stop / knobs.shot_seconds)) + grid.step
    shot_t = np.searchsorted(np.cumsum(lengths), grid.seconds(np.arange(snippets) + 0.5))
    return shot_t, int(shot_t[-1]) + 1


def _nearest(
    segment_m2: Float[np.ndarray, "m 2"], class_m: Int[np.ndarray, " m"], fallback: int, grid: Grid, snippets: int
) -> Int[np.ndarray, " t"]:
    """Class of the instance nearest in time to each snippet; ``fallback`` where there is none."""
    if not len(segment_m2):
        return np.full(snippets, fallback, dtype=np.int64)
    middle_t = grid.seconds(np.arange(snippets) + 0.5)
    away_mt = np.maximum(segment_m2[:, :1] - middle_t, middle_t - segment_m2[:, 1:])
    return class_m[away_mt.argmin(axis=0)]


def _tags(
    action_t: Float[np.ndarray, " t"],
    scene_t: Float[np.ndarray, " t"],
    hard_h2: Float[np.ndarray, "h 2"],
    replay_r2: Float[np.ndarray, "r 2"],
    grid: Grid,
) -> tuple[tuple[float, float, str], ...]:
    still_t = action_t < 0.5
    spans = {
        "context": grid.seconds(runs(still_t & (scene_t >= 0.5))),
        "unrelated": grid.seconds(runs(still_t & (scene_t < 0.5))),
        "hard": hard_h2,
        "replay": replay_r2,
    }
    return tuple(sorted((float(a), float(b), kind) for kind, segments in spans.items() for a, b in segments))
