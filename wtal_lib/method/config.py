"""Frozen dataclasses that say what a run is, with a unit and a reason under each field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from wtal_lib.extensions import is_own
from wtal_lib.settings import Positive, PositiveInt, Share, check

FUSIONS, RULES = ("sum", "mean", "product", "max"), ("thresholds",)
"built-in names of ``fusion`` and ``pseudo_labels.rule``"


@dataclass(frozen=True)
class Branch:
    """The trainable part of one branch."""

    head: str = "conv"
    """The network. CBP: conv (ours), cola or co2net; VLP: conv (ours). Or module:attribute of your own, or
    precomputed:PATH, another method's scores"""
    hidden: PositiveInt = 256
    "channels of the temporal model"
    temporal: Literal["conv", "transformer", "none"] = "conv"
    "how a snippet sees its neighbours; none looks at each snippet alone"
    layers: PositiveInt = 1
    "temporal layers, the entrance included; one convolution of three snippets sees 1.9 s on the I3D grid"
    input_dropout: Share = 0.0
    "share of the features silenced in training, each for a whole video"
    dropout: Share = 0.5
    "share of the hidden channels silenced in training, each for a whole video"
    learning_rate: Positive = 5e-4
    "AdamW step size"
    norm: float = 0.8
    "weight of the mean attention: most of an untrimmed video is background (STPN; CO2-Net: 0.8)"
    guide: float = 0.1
    "weight of attention against one minus the background activation (CO2-Net: 0.8)"
    distill: float = 4.0
    "weight of what it learns from confident pseudo-labels, in B and F steps only"


@dataclass(frozen=True)
class Losses:
    """Weights of the terms of one step, beside each branch's own; what is logged is what is summed."""

    mil_orig: float = 1.0
    "video labels on the pooled class logits, background present (BaS-Net, CO2-Net)"
    mil_supp: float = 2.0
    "video labels on the pooled logits under attention, background absent (BaS-Net, CO2-Net)"
    extra: dict[str, float] = field(default_factory=dict, hash=False)
    "terms of your own, module:attribute and weight each, on the updates of both branches"


@dataclass(frozen=True)
class PseudoLabels:
    """How the branches' scores become confident labels, and where they go."""

    word: Literal["teacher", "mean", "ternary"] = "teacher"
    "whose confidence: the other branch's, the mean of both, or background by CBP and foreground by VLP"
    other_kind: Share = 0.3
    "weight of foreground in B and of background in F, that of the step's own kind being 1; 0: none, as in the paper"
    into: Literal["activation", "attention", "both"] = "both"
    "what learns from them: the class activation that is thresholded, the class-agnostic attention, or both alike"
    earned: bool = True
    "whether a teacher's labels weigh by its reliability on held-out training videos' labels"
    background_below: Share = 0.4
    "a snippet whose confidence lies below is background; share of the video's range"
    foreground_above: Share = 0.7
    "a snippet whose confidence lies above is foreground; share of the video's range"
    smoothing: float = 2.0
    "width of the temporal mean taken over the class scores before they are compared, seconds; 0 for none"
    targets: Literal["hard", "soft"] = "hard"
    "0 and 1, or the confidence itself"
    rule: str = "thresholds"
    "thresholds (ours), or module:attribute of your own, which is given the evidence that word names"

    def __post_init__(self) -> None:
        if self.background_below > self.foreground_above:
            raise ValueError(
                f"background_below ({self.background_below}) must not exceed foreground_above"
                f" ({self.foreground_above}): a snippet would be both"
            )


@dataclass(frozen=True)
class Schedule:
    """Who teaches whom, for how long. Every branch gets warmup + rounds x period updates, whatever the kind."""

    kind: Literal["alternate", "joint", "apart"] = "alternate"
    "B and F in turn; both at once; or each branch on the video labels alone"
    warmup: int = 225
    "updates of each branch on the video labels before anybody teaches"
    period: PositiveInt = 75
    "updates of one B or F step"
    rounds: int = 4
    "B + F pairs"
    order: Literal["bf", "fb"] = "bf"
    "which step comes first in a pair"
    b_step: bool = True
    "CBP's labels, background above all, train VLP; without it VLP goes on with the video labels"
    f_step: bool = True
    "VLP's labels, foreground above all, train CBP; without it CBP goes on with the video labels"


@dataclass(frozen=True)
class Training:
    """What a step draws and how it computes."""

    videos: PositiveInt = 10
    "videos a batch"
    snippets: PositiveInt = 160
    "rows a video; a longer video is sampled once per equal-width bin"
    pool: Share = 0.125
    "share of the snippets that top-k pooling averages (W-TALC: 1/8)"
    weight_decay: float = 5e-4
    "AdamW's decoupled decay, per unit of learning rate"
    average: Share = 0.98
    "decay of the running mean of the weights, which teaches and is reported; 0 uses the last weights"
    held_out: Share = 0.2
    "share of the training videos on whose labels reliability is measured, kept out of training until it is whole"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    "arithmetic of the matrix products; auto takes bfloat16 where the processor multiplies it natively"
    threads: int = 1
    "threads of a run on the CPU; small networks are fastest on one, and several runs share the cores; 0 for all cores"
    supervised: bool = False
    "train on snippet labels, which the method may not see: an upper bound, never a result"


@dataclass(frozen=True)
class Localize:
    """How scores become detections."""

    class_threshold: Share = 0.2
    "a class is localized where its video-level score reaches this; the best class always is; probability"
    smoothing: float = 0.0
    "width of the temporal mean over each branch's sequences, 0 beyond the video, before these are fused; seconds"
    upsample: PositiveInt = 1
    "cells a snippet is cut into, linear between centres (CoLA: 24); finer cells help only scores with white noise"
    thresholds: PositiveInt = 20
    "number of CAS thresholds, spread evenly over each sequence's range; more give more proposals"
    low: Share = 0.05
    "lowest threshold, as a share of the sequence's range"
    high: Share = 0.95
    "highest threshold, as a share of the sequence's range"
    outer: float = 0.25
    "width of each outer margin of outer-inner contrast, as a share of the proposal's length (CoLA, BaS-Net: 0.25)"
    video_weight: float = 0.2
    "gamma: weight of the class's video-level score added to the contrast (CoLA, BaS-Net: 0.2)"
    nms: Literal["hard", "soft", "none"] = "soft"
    "hard, soft (Gaussian decay) or none"
    nms_tiou: float = 0.6
    "hard: overlap above which the lower score is dropped"
    nms_sigma: Positive = 0.3
    "soft: decay exp(-tIoU^2 / sigma) (CO2-Net: 0.3)"
    per_video: PositiveInt = 200
    "detections kept per video, the best ones"
    floor: float = 1e-4
    "detections whose score falls to this or below are dropped"

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Config:
    """One run. Two runs with equal hashes, on equal data, are the same run."""

    dataset: str = "thumos14"
    "whose annotations, classes and protocols"
    preset: str = "full"
    "name under which the run appears in tables"
    seed: int = 0
    "of the initial weights, the batches and the dropout"
    prompts: Literal["fixed", "residual", "context"] = "residual"
    "text rows as given; with a learnable residual; or from the text tower with 16 learnable vectors on either side"
    fusion: str = "sum"
    "how the branches' normalised scores become one: sum, mean, product, max, or module:attribute of your own"
    cbp_share: Share = 0.8
    "share of CBP in a sum or mean where both branches have earned theirs; chosen on development worlds"
    earned: bool = True
    "whether a branch counts in the fusion by its reliability on held-out training videos' labels"
    cbp: Branch = field(default_factory=lambda: Branch(input_dropout=0.5, learning_rate=1e-3, norm=0.1, distill=1.0))
    "drops much, for a few hundred videos are soon known by heart; CO2-Net's norm starves its attention"
    vlp: Branch = field(default_factory=Branch)
    "says action of too much: norm and B's labels weigh more"
    losses: Losses = field(default_factory=Losses)
    pseudo_labels: PseudoLabels = field(default_factory=PseudoLabels)
    schedule: Schedule = field(default_factory=Schedule)
    training: Training = field(default_factory=Training)
    localize: Localize = field(default_factory=Localize)

    def __post_init__(self) -> None:
        check(self)
        named = [("fusion", self.fusion, FUSIONS), ("pseudo_labels.rule", self.pseudo_labels.rule, RULES)]
        for field_name, name, names in [*named, *(("losses.extra", one, ()) for one in self.losses.extra)]:
            if name not in names and not is_own(name):
                raise ValueError(f"{field_name} must be one of {', '.join((*names, 'module:attribute'))}, got {name!r}")


def own(config: Config) -> dict[str, str]:
    """The parts of one's own in a config: the field of each, by its name."""
    named = [(config.cbp.head, "cbp.head"), (config.vlp.head, "vlp.head"), (config.fusion, "fusion")]
    named += [(config.pseudo_labels.rule, "pseudo_labels.rule")]
    named += [(name, "losses.extra") for name in config.losses.extra]
    return {name: field for name, field in named if is_own(name)}
