"""The knobs of a simulated world: how much each modality sees, how alike things look, how large it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wtal_lib.settings import check, replaced, unknown


@dataclass(frozen=True)
class Size:
    """What a profile fixes: widths and numbers of videos."""

    cbp: int
    "width of a CBP row: RGB first half, flow second"
    vlp: int
    "width of a VLP embedding"
    videos: dict[str, tuple[int, int]]
    "dataset: training and test videos, at most"
    longest: float = math.inf
    "longer videos are drawn cut to this, and real ones taken last, seconds"


SIZES = {
    "full": Size(2048, 512, {"thumos14": (200, 212), "activitynet12": (4819, 2383)}),
    "quick": Size(256, 128, {"thumos14": (200, 212), "activitynet12": (1500, 300)}),
    "ci": Size(64, 32, {"thumos14": (40, 40), "activitynet12": (100, 100)}, 200.0),
}
"Profiles: full as the community's packs; quick trains in minutes; ci in seconds, every class present"


@dataclass(frozen=True)
class Simulator:
    """A simulated world. Equal knobs give equal bytes, whatever is asked for first."""

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
    phase_evidence: float = 0.35
    "class evidence of preparation and end in CBP, as a share of the peak's: classifiers learn the telling part"
    confusion: float = 0.5
    "evidence in CBP of the preparation that related classes share, as a share of the peak's: a run-up is a run-up"
    phase_share: float = 0.2
    "share of an instance that is preparation, and that is end; the rest is its peak"
    cycle: float = 8.0
    "seconds after which a long instance prepares, peaks and ends again: playing, swimming, lap after lap"
    context_vlp: float = 0.57
    "class evidence of the context in VLP, as a share of the action's: same pitch, same people"
    context_cbp: float = 0.25
    "class evidence of the place in CBP's RGB half; present in action and context alike"
    posture: float = 0.35
    "what VLP has of the action itself, much the same for all classes, as a share of its class evidence"
    walking: float = 0.42
    "motion of people walking about in CBP's flow half, half of it like their class's preparation"
    context_seconds: float = 2.0
    "mean length of the context on either side of an instance, seconds"
    unrelated: float = 0.6
    "share of the shots away from any instance that show something else: crowd, logo, close-up"
    shots_cbp: float = 0.35
    "how strongly unrelated shots show what they are in CBP"
    shots_vlp: float = 0.8
    "how strongly unrelated shots show what they are in VLP"
    shot_seconds: float = 5.0
    "mean length of a shot, seconds"
    related: float = 0.4
    "cosine between the prototypes, and between the texts, of related classes"
    known: float = 0.15
    "standard deviation over classes of how well each is known, on a log scale, drawn for each modality on its own"
    hard: float = 0.18
    "share of instances that are hard to see in either modality: far, dark, hidden"
    uneven: float = 0.35
    "standard deviation over instances of how well each is seen, on a log scale, drawn for each modality on its own"
    stray: float = 0.12
    "share of videos whose look strays from their class towards a related one"
    replays: float = 0.1
    "unannotated replays per annotated instance: action to everybody but the ground truth"
    jitter: float = 0.15
    "standard deviation of an instance's visible ends about the annotated ones, as a share of its length up to a cycle"
    look_cbp: float = 0.045
    "standard deviation, along any direction of CBP, of a video's look, and again of a shot's"
    look_vlp: float = 0.08
    "standard deviation, along any direction of VLP, of a video's look, and again of a shot's"
    noise_cbp: float = 0.075
    "noise along any direction of CBP"
    noise_vlp: float = 0.065
    "noise along any direction of VLP"
    correlation: float = 0.6
    "share of the noise's variance that lasts instead of changing from snippet to snippet"
    lasting: int = 7
    "snippets over which lasting noise is a running mean"
    shared: float = 0.5
    "share of the variance of visibility, knownness, look and noise that both modalities have in common"
    phase_spread: float = 0.4
    "largest relative deviation of an instance's phase shares from phase_share"
    cuts: float = 0.0
    "share of the shots that show something else in the midst of an instance"
    bleed: float = 0.0
    "seconds over which the evidence of an action spreads beyond its ends"
    amplitude: float = 0.0
    "standard deviation over snippets of how strongly all of a CBP row is expressed, on a log scale"
    latent: int = 96
    "dimensions in which causes add up before they are projected to a pack's width"
    rectifier: Literal["relu", "softplus", "none"] = "relu"
    "nonlinearity of a CBP column"
    scale: float = 1.0
    "factor on all CBP features"

    def __post_init__(self) -> None:
        check(self)
        for name in SHARES:
            if getattr(self, name) > 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}: it is a share")
        if self.dataset not in self.size.videos:
            raise ValueError(unknown(self.dataset, list(self.size.videos), "dataset"))
        if not 0 < self.phase_share < 0.5 or not self.cycle > 0 or not self.shot_seconds > 0:
            raise ValueError(
                "phase_share must lie between 0 and 0.5, cycle and shot_seconds above 0,"
                f" got {self.phase_share}, {self.cycle} and {self.shot_seconds}"
            )

    @property
    def size(self) -> Size:
        """Widths and numbers of videos of the profile."""
        return SIZES[self.profile]


SHARES = ["context_vlp", "context_cbp", "phase_evidence", "unrelated", "hard", "stray", "correlation", "shared", "cuts"]
"knobs that cannot exceed 1"

RANGES: dict[str, tuple[float, float]] = {
    "cbp_strength": (0.7, 1.4),
    "vlp_strength": (0.65, 1.5),
    "phase_evidence": (0.1, 0.6),
    "confusion": (0.1, 0.6),
    "phase_share": (0.1, 0.3),
    "phase_spread": (0.1, 0.9),
    "cycle": (4.0, 16.0),
    "context_vlp": (0.35, 0.75),
    "context_cbp": (0.1, 0.4),
    "posture": (0.1, 0.5),
    "walking": (0.1, 0.6),
    "context_seconds": (1.0, 5.0),
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
    "cbp_weak": {"cbp_strength": 0.75},
    "cbp_strong": {"cbp_strength": 1.3},
    "premise": {"phase_evidence": 0.2, "confusion": 0.15, "walking": 0.15, "context_cbp": 0.1},
}
"Settings by name; in `premise` CBP misses much but confuses little, as the paper has it"


def difficulty(name: str, **knobs: object) -> Simulator:
    """The world of a difficulty setting; ``knobs`` change further fields (dataset, profile, seed, ...).

    Raises:
        ValueError: an unknown setting, with the list of those there are.
    """
    if name not in DIFFICULTIES:
        raise ValueError(unknown(name, list(DIFFICULTIES), "difficulty"))
    return replaced(Simulator(), **{**DIFFICULTIES[name], **knobs})
