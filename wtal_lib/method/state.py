"""A run in progress: both branches, their running means and optimizers, and what has happened so far."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from wtal_lib.data.batches import Batches
from wtal_lib.method import losses
from wtal_lib.method.config import Config
from wtal_lib.method.heads import built
from wtal_lib.method.schedule import Name

BRANCHES: tuple[Name, ...] = ("cbp", "vlp")


@dataclass
class State:
    """A run in progress: both branches, their running means, their optimizers, and what has happened so far.

    A branch that has nothing to train has no optimizer, and does not take part as a student.
    """

    branches: dict[Name, nn.Module]
    averages: dict[Name, nn.Module]
    "running means of the weights: they teach, and they are what is reported"
    optimizers: dict[Name, torch.optim.Optimizer]
    done: int = 0
    "phases completed"
    history: list[dict[str, Any]] = field(default_factory=list)
    "one entry a phase: mean of each loss term, quality of the pseudo-labels, reliabilities, seconds"
    reliability: dict[Name, float] | None = None
    "of each branch, measured when the warm-up ended or later; None before"
    evidence: dict[Name, dict[str, Tensor]] = field(default_factory=lambda: {name: {} for name in BRANCHES})
    "by branch and video, (t, k): evidence of the running mean for the labelled classes; cached until the branch trains"
    extra: dict[str, Callable[..., Tensor]] = field(default_factory=dict)
    "loss terms of one's own, by name"


def fresh(config: Config, batches: Batches, text: nn.Module, logit_scale: float, device: str = "cpu") -> State:
    """A run before its first update, its weights drawn from ``config.seed``; ValueError: an unknown head."""
    extra = losses.extra_terms(config.losses)
    batches.warmup = config.schedule.warmup  # a run before may have kept videos out for longer
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        branches: dict[Name, nn.Module] = {
            "cbp": built("cbp", config.cbp, batches.cbp.moments, len(batches.classes)).to(device),
            "vlp": built("vlp", config.vlp, batches.vlp.moments, text, logit_scale).to(device),
        }
    optimizers: dict[Name, torch.optim.Optimizer] = {}
    for name in BRANCHES:
        weights = [weight for weight in branches[name].parameters() if weight.requires_grad]
        if not weights:
            continue
        rate, decay = getattr(config, name).learning_rate, config.training.weight_decay
        optimizers[name] = torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    averages = {name: copy.deepcopy(branch).eval().requires_grad_(False) for name, branch in branches.items()}
    return State(branches, averages, optimizers, extra=extra)
