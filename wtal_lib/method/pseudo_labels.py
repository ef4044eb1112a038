"""Confident pseudo-labels: whose confidence, which kinds of label, and which snippets they are given to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wtal_lib.extensions import is_own, load
from wtal_lib.method.config import PseudoLabels
from wtal_lib.method.pooling import smoothed
from wtal_lib.method.schedule import Name

OTHER: dict[Name, Name] = {"cbp": "vlp", "vlp": "cbp"}
"the teacher of each student"


class Labels(NamedTuple):
    """Pseudo-labels of a batch: a target for every kept snippet and class."""

    target: Float[Tensor, "b t c"]
    "1 foreground, 0 background, or the confidence itself where targets are soft"
    keep: Bool[Tensor, "b t c"]
    "where the target is meant: labelled classes, real snippets, confident ones"


class Confidence(NamedTuple):
    """Confidence in [0, 1] that a snippet is foreground of a class: of two branches where the rule asks two."""

    background: Float[Tensor, "..."]
    "low values of it make background labels"
    foreground: Float[Tensor, "..."]
    "high values of it make foreground labels"


def evidence(score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"], width: int) -> Float[Tensor, "b t c"]:
    """One branch's scores, smoothed over ``width`` snippets and min-max normalised to [0, 1] per video and class.

    Real snippets only; 0 in the padding and for a class whose score is constant.
    """
    score, real = smoothed(score, mask, width), mask[:, :, None]
    low = score.masked_fill(~real, torch.inf).amin(dim=1, keepdim=True)
    spread = score.masked_fill(~real, -torch.inf).amax(dim=1, keepdim=True) - low
    known = torch.isfinite(spread) & (spread > 1e-8)
    return torch.where(known & real, (score - low) / torch.where(known, spread, 1.0), 0.0)


def confidence(
    student: Name, evidence: Mapping[Name, Float[Tensor, "..."]], config: PseudoLabels, shares: Mapping[Name, float]
) -> Confidence:
    """What a student is taught by, from the :func:`evidence` of both branches, by the rule of ``config.word``.

    ``teacher``: the other branch's alone (the paper). ``mean``: both branches' by their ``shares``: one that has earned
    none does not count. ``ternary``: background by CBP's, foreground by VLP's, whichever branch learns.
    """
    if config.word == "ternary":
        return Confidence(evidence["cbp"], evidence["vlp"])
    if config.word == "teacher":
        return Confidence(evidence[OTHER[student]], evidence[OTHER[student]])
    mean = shares["cbp"] * evidence["cbp"] + shares["vlp"] * evidence["vlp"]
    return Confidence(mean, mean)


def rule(config: PseudoLabels) -> Callable[..., Confidence | Labels]:
    """The rule that labels a whole video, ours or yours: ``rule(student, evidence, config, shares)``.

    ``student`` is ``cbp`` or ``vlp``; ``evidence`` maps the branches that ``word`` names (``teacher``: the other one
    alone) to scores (t, k) in [0, 1], a column a class that the video is labelled with; ``shares`` is what each branch
    has earned in a mean. It returns a ``Confidence``, which the thresholds cut, or ``Labels``, each of shape (t, k).
    """
    return load(config.rule, "pseudo_labels.rule") if is_own(config.rule) else confidence


def kind_weights(student: Name, config: PseudoLabels) -> tuple[float, float]:
    """What background and foreground labels weigh for a student: the kind that its step is for 1, the other less.

    B teaches VLP background and F teaches CBP foreground, with ``other_kind`` 0 nothing else (the paper).
    """
    return (1.0, config.other_kind) if student == "vlp" else (config.other_kind, 1.0)


def label(confidence: Confidence, mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"], config: PseudoLabels) -> Labels:
    """Pseudo-labels of the labelled classes.

    Hard targets are 0 and 1, soft ones the confidence itself, at the same snippets: a snippet between the thresholds
    gets none, nor does one that is called both (``ternary``).
    """
    background = confidence.background < config.background_below
    foreground = confidence.foreground > config.foreground_above
    keep = (background ^ foreground) & mask[:, :, None] & (y > 0)[:, None, :]
    soft = torch.where(foreground, confidence.foreground, confidence.background)
    return Labels(soft if config.targets == "soft" else foreground.to(soft.dtype), keep)


def restricted(labels: Labels, weights: tuple[float, float]) -> Labels:
    """The labels of those kinds, background and foreground, whose weight is above 0."""
    return labels._replace(keep=labels.keep & torch.where(labels.target >= 0.5, weights[1] > 0, weights[0] > 0))


def quality(
    labels: Labels, truth: Bool[Tensor, "b t c"], mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"]
) -> dict[str, int]:
    """Counts of pseudo-labels against the ground truth, for the record; nothing is trained on them.

    ``background`` and ``foreground`` labels given, how many of each are ``…_right``, the ``eligible`` snippet-class
    pairs, and those that are foreground in ``truth``. Counts add up over batches.
    """
    eligible = mask[:, :, None] & (y > 0)[:, None, :]
    positive, negative = labels.keep & (labels.target >= 0.5), labels.keep & (labels.target < 0.5)
    counts = {
        "eligible": eligible,
        "foreground": positive,
        "foreground_right": positive & truth,
        "background": negative,
        "background_right": negative & ~truth,
        "truth": eligible & truth,
    }
    return {name: int(where.sum()) for name, where in counts.items()}
