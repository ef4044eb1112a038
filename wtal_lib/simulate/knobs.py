"""Knobs of a simulated world: how much each modality sees, how alike things look, how large it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from wtal_lib.data.datasets import get_dataset
from wtal_lib.settings import Positive, Share, check, replaced, unknown


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
    phase_evidence: Share = 0.35
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
    walking: float = 0.42
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
    "standard deviation over classes, on a log scale, of their evidence; drawn for each modality on its own"
    hard: Share = 0.18
    "share of instances that are hard to see in either modality: far, dark, hidden"
    uneven: float = 0.35
    "standard deviation over instances, on a log scale, of their visibility; drawn for each modality on its own"
    stray: Share = 0.12
    "share of videos whose look strays from their class towards a related one"
    replays: float = 0.1
    "unannotated replays per annotated instance: they look like action, but count as false alarms"
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
    correlation: Share = 0.6
    "share of the noise's variance that lasts for seconds instead of one snippet"

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


DIFFICULTIES: dict[str, dict[str, float]] = {
    "middle": {},
    "vlp_weak": {"vlp_strength": 0.7},
    "vlp_strong": {"vlp_strength": 1.4},
    "cbp_weak": {"cbp_strength": 0.75},
    "cbp_strong": {"cbp_strength": 1.3},
    "premise": {"phase_evidence": 0.2, "confusion": 0.15, "walking": 0.15, "context_cbp": 0.1},
}
"Knobs by difficulty; in `premise` CBP misses much but confuses little, as the paper assumes"


def difficulty(name: str, **knobs: object) -> Simulator:
    """Simulator of a difficulty, a name in :data:`DIFFICULTIES`; ``knobs`` change further fields (profile, seed, ...).

    Raises:
        ValueError: unknown difficulty or knob, or a value out of its range.
    """
    if name not in DIFFICULTIES:
        raise ValueError(unknown(name, list(DIFFICULTIES), "difficulty"))
    return replaced(Simulator(), **{**DIFFICULTIES[name], **knobs})
