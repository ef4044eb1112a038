"""Features of CBP and VLP from the causes of a simulated video, each modality through its own prototypes.

Causes add up in a few latent dimensions, the same whatever the width of the pack, and are then projected to it. The
unit of every strength is the evidence of an instance of usual visibility: at its peak in CBP, throughout in VLP.
Sums are in double precision and rounded once, by the pack, so that bytes depend on no processor, threads or BLAS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float64, Int

from wtal_lib.simulate.knobs import Simulator
from wtal_lib.simulate.timeline import SHOT_KINDS, Timeline

REVISION = 4
"raised whenever equal knobs begin to give other bytes"
ACROSS = 0.5
"cosine, between groups of classes, of what all actions have in common: follow-through in CBP, posture in VLP"
BEYOND_TEXT = 0.8
"evidence of a class in images that its text lacks, in units of what both share"
STRAYED = 0.7
"share of a class's evidence that remains in a video whose look strays from it"
IMAGE_CONE, TEXT_CONE = 3.5, 2.0
"length of what all images, and all texts, have in common, in units of evidence: the modality gap"
BIAS, GAIN, GRAIN = (0.47, 0.3), (0.17, 0.4), 0.12
"""of a CBP column, to look like I3D's: mean and deviation of its bias, in units of evidence; median and log-deviation
of its gain; its own noise, in units of evidence"""
RECTIFIERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda row: np.maximum(row, 0),
    "softplus": lambda row: np.logaddexp(0, 2 * row) / 2,
    "none": lambda row: row,
}
"nonlinearity of a CBP column"


def rng_of(*key: object) -> np.random.Generator:
    """Random generator seeded by ``key`` alone."""
    return np.random.default_rng(np.frombuffer(hashlib.sha256(repr(key).encode()).digest(), dtype=np.uint32))


def unit(x: Float[np.ndarray, "*n k"]) -> Float[np.ndarray, "*n k"]:
    """Rows of ``x`` divided by their length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def normal(rng: np.random.Generator, *shape: int) -> Float64[np.ndarray, "..."]:
    """Standard normal numbers, drawn in single precision for speed."""
    return rng.standard_normal(shape, dtype=np.float32).astype(np.float64)


def directions(rng: np.random.Generator, *shape: int) -> Float64[np.ndarray, "..."]:
    """Random unit vectors."""
    return unit(normal(rng, *shape))


def related(
    rng: np.random.Generator, group_c: Int[np.ndarray, " c"], width: int, cosine: float
) -> Float64[np.ndarray, "c k"]:
    """Unit vectors whose cosine is about ``cosine`` within a group and 0 across groups."""
    shared = directions(rng, int(group_c.max()) + 1, width)[group_c]
    return unit((1 - cosine) ** 0.5 * directions(rng, len(group_c), width) + cosine**0.5 * shared)


def noise(rng: np.random.Generator, snippets: int, width: int, knobs: Simulator) -> Float64[np.ndarray, "t k"]:
    """Unit-variance noise, part of whose variance is a running mean over snippets; columns are independent."""
    span, lasting = knobs.lasting, knobs.correlation
    quick = normal(rng, snippets, width)
    total = np.cumsum(normal(rng, snippets + span, width), axis=0)
    slow = (total[span:] - total[:-span]) / span**0.5
    return (1 - lasting) ** 0.5 * quick + lasting**0.5 * slow


def looks(rng: np.random.Generator, line: Timeline, width: int) -> Float64[np.ndarray, "t k"]:
    """Look (place, light, camera) of a video plus that of each of its shots; unit variance each."""
    shot_s = normal(rng, int(line.shot_t[-1]) + 1, width)
    return normal(rng, width) + shot_s[line.shot_t]


@dataclass(frozen=True, eq=False)
class Common:
    """What both modalities see amiss alike, as evidence for classes; unit variance a class."""

    look_tc: Float64[np.ndarray, "t c"]
    noise_tc: Float64[np.ndarray, "t c"]

    def cause(
        self, own: Float64[np.ndarray, "t k"], common_tc: Float64[np.ndarray, "t c"], prototype_ck: Any, shared: float
    ) -> Float64[np.ndarray, "t k"]:
        """A modality's own disturbance and the common one, by their shares of the variance."""
        return (1 - shared) ** 0.5 * own + shared**0.5 * common_tc @ prototype_ck


def common(rng: np.random.Generator, line: Timeline, classes: int, knobs: Simulator) -> Common:
    """The common part of a video's look and noise."""
    return Common(looks(rng, line, classes), noise(rng, len(line.scene_t), classes, knobs))


def known(knobs: Simulator, group_c: Int[np.ndarray, " c"], which: str) -> Float64[np.ndarray, " c"]:
    """How well a pre-training knows each class."""
    both, own = (normal(rng_of(REVISION, knobs.seed, knobs.dataset, key), len(group_c)) for key in ("known", which))
    return np.exp(knobs.known * (knobs.shared**0.5 * both + (1 - knobs.shared) ** 0.5 * own))


class Cbp:
    """Classification-based pre-training: non-negative features, RGB in the first half of the columns, then flow."""

    def __init__(self, knobs: Simulator, group_c: Int[np.ndarray, " c"]) -> None:
        rng = rng_of(REVISION, knobs.seed, knobs.dataset, "cbp")
        self.knobs, self.group_c = knobs, group_c
        g, k, half = int(group_c.max()) + 1, knobs.latent, knobs.size.cbp // 2
        self.known_c = known(knobs, group_c, "known by CBP")
        self.place, self.appearance, self.motion = (related(rng, group_c, k, knobs.related) for _ in range(3))
        self.prepare = directions(rng, g, k)
        self.follow = related(rng, np.zeros(g, dtype=np.int64), k, ACROSS)
        self.walk = unit(directions(rng, g, k) + self.prepare)
        self.shots = directions(rng, len(SHOT_KINDS), k)
        self.project = normal(rng, 2, k, half)
        self.bias = BIAS[0] + BIAS[1] * normal(rng, 2, half)
        self.gain = GAIN[0] * np.exp(GAIN[1] * normal(rng, 2, half))

    def __call__(
        self, line: Timeline, stray: int | None, both: Common, rng: np.random.Generator
    ) -> Float64[np.ndarray, "t d"]:
        """Features of one video; ``stray`` is the class towards which its look strays."""
        knobs, t = self.knobs, len(line.scene_t)
        remains = 1 if stray is None else STRAYED
        strength_m = knobs.cbp_strength * self.known_c[line.class_m] * line.visible_m2[:, 0] * remains
        seen_3tm = (line.phase_mt3 * strength_m[:, None, None]).T
        class_tm = seen_3tm[1] + knobs.phase_evidence * (seen_3tm[0] + seen_3tm[2])
        group_m, group_t = self.group_c[line.class_m], self.group_c[line.class_t]
        place_c = self.place if stray is None else unit(self.place + self.place[stray])
        rgb = class_tm @ self.appearance[line.class_m]
        rgb += knobs.context_cbp * line.scene_t[:, None] * place_c[line.class_t]
        rgb += knobs.shots_cbp * (1 - line.scene_t)[:, None] * self.shots[line.kind_t]
        flow = class_tm @ self.motion[line.class_m]
        flow += knobs.confusion * (seen_3tm[0] @ self.prepare[group_m] + seen_3tm[2] @ self.follow[group_m])
        flow += knobs.walking * (line.walk_t * line.still_t)[:, None] * self.walk[group_t]
        halves = []
        louder_t1 = np.exp(knobs.amplitude * rng.standard_normal((t, 1)))
        for i, (cause, prototype_ck) in enumerate(((rgb, self.appearance), (flow, self.motion))):
            look = both.cause(looks(rng, line, knobs.latent), both.look_tc, prototype_ck, knobs.shared)
            blur = both.cause(noise(rng, t, knobs.latent, knobs), both.noise_tc, prototype_ck, knobs.shared)
            row = (cause + knobs.look_cbp * look + knobs.noise_cbp * blur) @ self.project[i]
            row += GRAIN * normal(rng, *row.shape) + self.bias[i]
            halves.append(RECTIFIERS[knobs.rectifier](row) * louder_t1 * (knobs.scale * self.gain[i]))
        return np.concatenate(halves, axis=1)


class Vlp:
    """Vision-language pre-training: unit embeddings of snippets and, as ``text`` (c, e), of class names."""

    def __init__(self, knobs: Simulator, group_c: Int[np.ndarray, " c"]) -> None:
        rng = rng_of(REVISION, knobs.seed, knobs.dataset, "vlp")
        self.knobs, self.group_c = knobs, group_c
        g, width = int(group_c.max()) + 1, knobs.size.vlp
        k = min(knobs.latent, width - 2)
        basis = np.linalg.qr(rng.standard_normal((width, k + 2)))[0].T
        self.image_cone, text_cone, self.basis = basis[0], basis[1], basis[2:]
        self.known_c = known(knobs, group_c, "known by VLP")
        concept = related(rng, group_c, k, knobs.related)
        self.sight = unit(concept + BEYOND_TEXT * related(rng, group_c, k, knobs.related))
        self.posture = related(rng, np.zeros(g, dtype=np.int64), k, ACROSS)
        self.shots = directions(rng, len(SHOT_KINDS), k)
        self.text = unit(TEXT_CONE * text_cone + concept @ self.basis)

    def __call__(
        self, line: Timeline, stray: int | None, both: Common, rng: np.random.Generator
    ) -> Float64[np.ndarray, "t e"]:
        """Embeddings of one video; ``stray`` is the class towards which its look strays."""
        knobs, width = self.knobs, len(self.basis)
        remains = 1 if stray is None else STRAYED
        strength_m = knobs.vlp_strength * self.known_c[line.class_m] * line.visible_m2[:, 1] * remains
        seen_tm = (line.phase_mt3.sum(axis=2) * strength_m[:, None]).T
        sight_c = self.sight if stray is None else unit(self.sight + self.sight[stray])
        cause = seen_tm @ (sight_c[line.class_m] + knobs.posture * self.posture[self.group_c[line.class_m]])
        beside_t = knobs.vlp_strength * self.known_c[line.class_t] * line.scene_t * line.still_t
        cause += knobs.context_vlp * (beside_t * line.clear_t)[:, None] * sight_c[line.class_t]
        cause += knobs.shots_vlp * (1 - line.scene_t)[:, None] * self.shots[line.kind_t]
        cause += knobs.look_vlp * both.cause(looks(rng, line, width), both.look_tc, self.sight, knobs.shared)
        blur = noise(rng, len(cause), width, knobs)
        cause += knobs.noise_vlp * both.cause(blur, both.noise_tc, self.sight, knobs.shared)
        return unit(IMAGE_CONE * self.image_cone + cause @ self.basis)
