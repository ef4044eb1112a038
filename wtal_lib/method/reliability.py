"""How far a branch can be relied on, from the labels of training videos that its warm-up has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from torch import nn

from wtal_lib.data.batches import Batches
from wtal_lib.method.config import Config
from wtal_lib.method.models import video_level, whole_videos
from wtal_lib.method.schedule import Name


def measure(config: Config, batches: Batches, branches: Mapping[Name, nn.Module]) -> dict[Name, float]:
    """Reliability in [0, 1] of each branch on the held-out training videos; 1 for both where nothing was held out."""
    if not batches.held_out:
        return dict.fromkeys(branches, 1.0)
    y_nc, training, measured = np.stack(list(batches.held_out.values())) > 0, config.training, {}
    for name, branch in branches.items():
        outputs = whole_videos(branch, batches.held_out, partial(batches.rows, name), training.precision)
        measured[name] = label_ranking(np.stack([video_level(output, training.pool) for _, output in outputs]), y_nc)
    return measured


def label_ranking(score_nc: Float[np.ndarray, "n c"], y_nc: Bool[np.ndarray, "n c"]) -> float:
    """Label-ranking average precision, rescaled so that a random ranking is at 0 and a perfect one at 1; never below 0.

    Per video, the mean over its labels of (labels ranked at or above it) / (classes ranked at or above it). A random
    ranking of one label among C classes expects the mean of 1 / rank. With a single class nothing can be told: 1.
    """
    above_ncc = score_nc[:, None, :] >= score_nc[:, :, None]
    ratio_nc = (above_ncc & y_nc[:, None, :]).sum(axis=2) / above_ncc.sum(axis=2)
    own = float(((ratio_nc * y_nc).sum(axis=1) / y_nc.sum(axis=1)).mean())
    chance = float(np.mean(1 / np.arange(1, y_nc.shape[1] + 1)))
    return float(np.clip((own - chance) / (1 - chance), 0, 1)) if chance < 1 else 1.0


def claims(reliability: Mapping[Name, float] | None, earned: bool) -> dict[Name, float]:
    """What each branch may claim, in [0, 1], or 1 where claims need not be earned.

    All from three quarters of the better branch's reliability on, nothing up to one half of it, evenly in between: the
    look of a video tells something of its labels even where a branch does not see the action.
    """
    if not earned or not reliability or max(reliability.values()) <= 0:
        return {"cbp": 1.0, "vlp": 1.0}
    best = max(reliability.values())
    return {name: min(1.0, max(0.0, 4 * value / best - 2)) for name, value in reliability.items()}


def settled(config: Config, reliability: Mapping[Name, float] | None) -> bool:
    """Whether it has been measured, and both branches have their whole claim, or need not earn it."""
    asked = config.earned or config.pseudo_labels.earned
    return reliability is not None and min(claims(reliability, asked).values()) == 1


def shares(reliability: Mapping[Name, float] | None, earned: bool, cbp_share: float = 0.5) -> dict[Name, float]:
    """Shares of CBP and VLP in a mean, which add up to 1: ``cbp_share`` and the rest, each by the branch's claim."""
    claim = claims(reliability, earned)
    cbp, vlp = cbp_share * claim["cbp"], (1 - cbp_share) * claim["vlp"]
    return {"cbp": cbp / (cbp + vlp), "vlp": vlp / (cbp + vlp)} if cbp + vlp > 0 else {"cbp": 0.5, "vlp": 0.5}
