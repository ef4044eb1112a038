"""Knobs of a simulated world: how much each modality sees, how alike things look, how large it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wtal_lib.data.datasets import get_dataset
from wtal_lib.settings import Positive, PositiveInt, Share, check, replaced, require_known


@dataclass(frozen=True)
class Size:
    """Widths and numbers of videos of a profile."""

    cbp: int
    "width of a CBP row: RGB first half, flow second"
    vlp: int
    "width of a VLP embedding"
    videos: dict[str, tuple[int, int]]
    "dataset: training and test videos, at most"
    longest: float = math.inf
    "seconds: drawn videos are at most this long, and longer real ones are taken last"


SIZES = {
    "full": Size(2048, 512, {"thumos14": (200, 212), "activitynet12": (4819, 2383), "activitynet13": (10024, 4926)}),
    "quick": Size(256, 128, {"thumos14": (200, 212), "activitynet12": (1500, 300), "activitynet13": (1500, 400)}),
    "ci": Size(64, 32, {"thumos14": (40, 40), "activitynet12": (100, 100), "activitynet13": (200, 200)}, 200.0),
}
"By profile: full as the community's packs; quick trains in minutes; ci in seconds, every class present"


@dataclass(frozen=True)
class Simulator:
    """Configuration of a simulated world; equal knobs give equal bytes, in whatever order videos are drawn."""

    dataset: str = "thumos14"
    "whose classes and temporal structure"
    profile: Literal["full", "quick", "ci"] = "quick"
    "widths and numbers of videos"
    seed: int = 0
    "of the prototypes, the drawn structure and every video"
    cbp_strength: float = 1.0
    "class evidence of an instance of usual visibility at its peak in CBP: the unit of all CBP strengths below"
    vlp_strength: float = 1.0
    "class evidence of an instance of usual visibility in VLP: the unit of all VLP strengths below"
    phase_evidence: Share = 0.25
    "class evidence of preparation and end in CBP, as a share of the peak's: classifiers learn the discriminative part"
    confusion: float = 0.5
    "evidence in CBP of the preparation that related classes have in common, as a share of the peak's"
    phase_share: float = 0.2
    "share of an instance that is preparation, and that is end; the rest is its peak"
    cycle: Positive = 8.0
    "seconds after which a long instance repeats its phases, as playing and swimming do"
    context_vlp: Share = 0.57
    "class evidence of the context (same place, same people) in VLP, as a share of the action's"
    context_cbp: Share = 0.25
    "class evidence of the place in CBP's RGB half; present in action and context alike"
    posture: float = 0.35
    "evidence in VLP of the action itself, much the same for all classes, as a share of its class evidence"
    walking: float = 0.6
    "motion of people walking about in CBP's flow half, half of it like their class's preparation"
    context_seconds: float = 2.0
    "mean length of the context on either side of an instance, seconds"
    unrelated: Share = 0.6
    "share of the shots away from any instance that show something else: crowd, logo, close-up"
    shots_cbp: float = 0.35
    "evidence in CBP of an unrelated shot's kind"
    shots_vlp: float = 0.8
    "evidence in VLP of an unrelated shot's kind"
    shot_seconds: Positive = 5.0
    "mean length of a shot, seconds"
    related: float = 0.4
    "cosine between the prototypes, and between the texts, of related classes"
    known: float = 0.15
    "standard deviation over classes, on a log scale, of their evidence"
    hard: Share = 0.12
    "share of instances that are hard to see in either modality: far, dark, hidden"
    uneven: float = 0.35
    "standard deviation over instances, on a log scale, of their visibility"
    stray: Share = 0.12
    "share of videos whose look strays from their class towards a related one"
    replays: float = 0.1
    "unannotated replays per annotated instance: they look like action, but count as false alarms"
    jitter: float = 0.22
    "standard deviation of an instance's visible ends about the annotated ones, as a share of its length up to a cycle"
    look_cbp: float = 0.06
    "standard deviation, along any direction of CBP, of a video's look, and again of a shot's"
    look_vlp: float = 0.08
    "standard deviation, along any direction of VLP, of a video's look, and again of a shot's"
    noise_cbp: float = 0.11
    "noise along any direction of CBP"
    noise_vlp: float = 0.065
    "noise along any direction of VLP"
    correlation: Share = 0.6
    "share of the noise's variance that lasts instead of changing from snippet to snippet"
    lasting: PositiveInt = 7
    "snippets over which lasting noise is a running mean"
    shared: Share = 0.5
    "share of the variance of visibility, knownness, look and noise that both modalities have in common"
    phase_spread: Share = 0.4
    "largest relative deviation of an instance's phase shares from phase_share"
    cuts: Share = 0.0
    "share of the shots that show something else in the midst of an instance"
    bleed: float = 1.0
    "seconds over which the evidence of an action spreads beyond its ends"
    amplitude: float = 0.0
    "standard deviation over snippets of how strongly all of a CBP row is expressed, on a log scale"
    latent: PositiveInt = 96
    "dimensions in which causes add up before they are projected to a pack's width"
    rectifier: Literal["relu", "softplus", "none"] = "relu"
    "nonlinearity of a CBP column"
    scale: Positive = 1.0
    "factor on all CBP features"

    def __post_init__(self) -> None:
        check(self)
        get_dataset(self.dataset)
        if not 0 < self.phase_share < 0.5:
            raise ValueError(f"phase_share must lie between 0 and 0.5, got {self.phase_share}: the peak needs the rest")

    @property
    def size(self) -> Size:
        """Widths and numbers of videos of the profile."""
        return SIZES[self.profile]

    @property
    def videos(self) -> tuple[int, int]:
        """Training and test videos at most; somebody's own dataset has those of the one that it is like."""
        return self.size.videos.get(self.dataset) or self.size.videos[get_dataset(self.dataset).model]


RANGES: dict[str, tuple[float, float]] = {
    "cbp_strength": (0.7, 1.4),
    "vlp_strength": (0.65, 1.5),
    "phase_evidence": (0.1, 0.6),
    "confusion": (0.1, 0.6),
    "phase_share": (0.1, 0.3),
    "phase_spread": (0.1, 0.9),
    "cycle": (4.0, 16.0),
    "context_vlp": (0.35, 1.0),
    "context_cbp": (0.1, 0.4),
    "posture": (0.0, 0.6),
    "walking": (0.1, 0.6),
    "context_seconds": (1.0, 6.0),
    "unrelated": (0.3, 0.8),
    "shots_cbp": (0.2, 0.6),
    "shots_vlp": (0.4, 1.2),
    "shot_seconds": (3.0, 12.0),
    "related": (0.2, 0.6),
    "known": (0.05, 0.25),
    "hard": (0.05, 0.3),
    "uneven": (0.15, 0.5),
    "stray": (0.0, 0.2),
    "replays": (0.0, 0.25),
    "jitter": (0.05, 0.25),
    "look_cbp": (0.025, 0.09),
    "look_vlp": (0.05, 0.14),
    "noise_cbp": (0.04, 0.15),
    "noise_vlp": (0.04, 0.12),
    "correlation": (0.2, 0.9),
    "shared": (0.0, 1.0),
    "cuts": (0.0, 0.3),
    "bleed": (0.0, 2.0),
    "amplitude": (0.0, 0.4),
    "scale": (0.1, 10.0),
}
"Least and greatest value of each knob that :func:`draw` draws"

KINDS: dict[str, tuple[object, ...]] = {
    "latent": (48, 64, 96, 128),
    "lasting": (3, 7, 15, 31),
    "rectifier": ("relu", "softplus", "none"),
}
"Choices of kind that :func:`draw` makes"


def draw(seed: int, **fields: object) -> Simulator:
    """A world all of whose knobs are drawn: evenly between their ends, on a log scale where these are a factor apart.

    ``seed`` draws the knobs and is the world's own; ``fields`` (dataset, profile, or a knob to be held) are kept.
    """
    rng = np.random.default_rng([seed, 20261126])
    knobs: dict[str, object] = {}
    for name, (low, high) in RANGES.items():
        log = low > 0 and high / low >= 3
        knobs[name] = float(np.exp(rng.uniform(*np.log([low, high]))) if log else rng.uniform(low, high))
    knobs |= {name: options[rng.integers(len(options))] for name, options in KINDS.items()}
    return replaced(Simulator(seed=seed), **{**knobs, **fields})


DIFFICULTIES: dict[str, dict[str, float]] = {
    "middle": {},
    "vlp_weak": {"vlp_strength": 0.7},
    "vlp_strong": {"vlp_strength": 1.4},
    "vlp_blind": {"vlp_strength": 0.0},
    "cbp_weak": {"cbp_strength": 0.75},
    "cbp_strong": {"cbp_strength": 1.3},
    "cbp_blind": {"cbp_strength": 0.0, "context_cbp": 0.0, "walking": 0.0},
    "premise": {"phase_evidence": 0.1, "confusion": 0.15, "walking": 0.15, "context_cbp": 0.1},
    **{f"shared_{share:g}": {"shared": share} for share in (0.0, 0.25, 0.75, 1.0)},
}
"""Knobs by difficulty. In ``premise`` CBP misses much but confuses little, as the paper assumes; a blind modality shows
no class; ``shared_0.25`` says how much of what is hard to see is so for both modalities, half of it in the middle."""
DRAWN = "drawn"
"Name, beside those of :data:`DIFFICULTIES`, of a world that :func:`draw` draws"


def difficulty(name: str, **knobs: object) -> Simulator:
    """Simulator of a difficulty, a name in :data:`DIFFICULTIES` or ``drawn``; ``knobs`` change further fields.

    Raises:
        ValueError: unknown difficulty or knob, or a value out of its range.
    """
    require_known(name, [*DIFFICULTIES, DRAWN], "difficulty")
    if name == DRAWN:
        return draw(**{"seed": 0, **knobs})  # type: ignore[arg-type]
    return replaced(Simulator(), **{**DIFFICULTIES[name], **knobs})
