"""Confident pseudo-labels: whose confidence, which kinds of label, and which snippets they are given to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from wtal_lib.method.config import PseudoLabels
from wtal_lib.method.pooling import smoothed


class Labels(NamedTuple):
    """Pseudo-labels of a batch: a target for every kept snippet and class."""

    target: Float[Tensor, "b t c"]
    "1 foreground, 0 background, or the confidence itself where targets are soft"
    keep: Bool[Tensor, "b t c"]
    "where the target is meant: labelled classes, real snippets, confident ones"


def class_min_max(score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "b t c"]:
    """Each class's scores over a video's real snippets, min-max normalised; a class that never varies becomes 0."""
    real = mask[:, :, None]
    low = score.masked_fill(~real, torch.inf).amin(dim=1, keepdim=True)
    high = score.masked_fill(~real, -torch.inf).amax(dim=1, keepdim=True)
    spread = high - low
    known = torch.isfinite(spread) & (spread > 1e-8)
    return torch.where(known & real, (score - low) / torch.where(known, spread, 1.0), 0.0)


def evidence(score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"], width: int) -> Float[Tensor, "b t c"]:
    """One branch's scores, smoothed over ``width`` snippets and normalised per video and class."""
    return class_min_max(smoothed(score, mask, width), mask)


def confidence(
    teacher: Float[Tensor, "..."], student: Float[Tensor, "..."] | None, config: PseudoLabels
) -> Float[Tensor, "..."]:
    """Confidence in [0, 1] that a snippet is foreground of a class, from the :func:`evidence` of the branches.

    The teacher's own, or its mean with the student's, so that where the branches disagree no snippet is confident.
    """
    if config.confidence == "teacher" or student is None:
        return teacher
    return (teacher + student) / 2


def confident_background(confidence: Float[Tensor, "..."], below: float) -> Bool[Tensor, "..."]:
    """Where the confidence lies below a low threshold."""
    return confidence < below


def confident_foreground(confidence: Float[Tensor, "..."], above: float) -> Bool[Tensor, "..."]:
    """Where the confidence lies above a high threshold."""
    return confidence > above


def label(
    confidence: Float[Tensor, "b t c"],
    mask: Bool[Tensor, "b t"],
    y: Float[Tensor, "b c"],
    config: PseudoLabels,
    kinds: tuple[bool, bool],
) -> Labels:
    """Pseudo-labels of the labelled classes; ``kinds`` tells whether background and foreground labels are given.

    With hard targets a snippet between the two thresholds gets none; soft targets are the confidence itself, at
    the same snippets.
    """
    background = confident_background(confidence, config.background_below) & kinds[0]
    foreground = confident_foreground(confidence, config.foreground_above) & kinds[1]
    keep = (background | foreground) & mask[:, :, None] & (y > 0)[:, None, :]
    return Labels(confidence if config.targets == "soft" else foreground.to(confidence.dtype), keep)


def quality(labels: Labels, truth: Bool[Tensor, "b t c"], mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"]) -> dict:
    """Counts of pseudo-labels against the ground truth, for the record; nothing is trained on them.

    ``background`` and ``foreground`` labels given, how many of each are ``…_right``, and the ``eligible`` snippet-class
    pairs; precision is right over given, share is given over eligible. Counts add up over batches.
    """
    eligible = mask[:, :, None] & (y > 0)[:, None, :]
    positive = labels.keep & (labels.target >= 0.5)
    negative = labels.keep & (labels.target < 0.5)
    counts = {
        "eligible": eligible,
        "foreground": positive,
        "foreground_right": positive & truth,
        "background": negative,
        "background_right": negative & ~truth,
        "truth": eligible & truth,
    }
    return {name: int(where.sum()) for name, where in counts.items()}
