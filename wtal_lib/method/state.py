"""A run in progress: both branches, their running means and optimizers; drawn, kept on disk and restored."""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from wtal_lib.data import checkpoint
from wtal_lib.data.batches import Batches
from wtal_lib.method.config import Config
from wtal_lib.method.contracts import built, check, extra_losses, marks
from wtal_lib.method.schedule import Name
from wtal_lib.settings import digest, to_dict

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
    "of each branch at the end of the warm-up; None before"
    evidence: dict[Name, dict[str, Tensor]] = field(default_factory=lambda: {name: {} for name in BRANCHES})
    "by branch and video, (t, k): evidence of the running mean for the labelled classes; cached until the branch trains"
    extra: dict[str, Callable[..., Tensor]] = field(default_factory=dict)
    "loss terms of one's own, by name"


def fresh(config: Config, batches: Batches, text: nn.Module, logit_scale: float, device: str = "cpu") -> State:
    """A run before its first update, its weights drawn from ``config.seed``.

    Raises:
        ValueError: a part that the config names is unknown, or does not do what it owes
            (:func:`wtal_lib.method.contracts.check`).
    """
    extra = extra_losses(config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        branches: dict[Name, nn.Module] = {
            "cbp": built("cbp", config.cbp, batches.cbp.moments, len(batches.classes)).to(device),
            "vlp": built("vlp", config.vlp, batches.vlp.moments, text, logit_scale).to(device),
        }
        check(config, batches, branches, device)
    optimizers: dict[Name, torch.optim.Optimizer] = {}
    for name in BRANCHES:
        weights = [weight for weight in branches[name].parameters() if weight.requires_grad]
        if not weights:
            continue
        rate, decay = getattr(config, name).learning_rate, config.training.weight_decay
        optimizers[name] = torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
    averages = {name: copy.deepcopy(branch).eval().requires_grad_(False) for name, branch in branches.items()}
    return State(branches, averages, optimizers, extra=extra)


def identity(config: Config, batches: Batches) -> str:
    """Hash of all that must be equal for a checkpoint to go on: the configuration and the data."""
    return digest({"config": to_dict(config), "data": batches.fingerprint, **marks(config)})


def save(config: Config, batches: Batches, state: State, folder: Path) -> None:
    """Write the run so far to ``folder/last.safetensors``; what was there before becomes ``previous``."""
    groups: dict[str, Mapping[str, Tensor]] = {}
    for name in BRANCHES:
        adam = state.optimizers[name].state_dict()["state"] if name in state.optimizers else {}
        groups[f"{name}.weights"] = state.branches[name].state_dict()
        groups[f"{name}.average"] = state.averages[name].state_dict()
        groups[f"{name}.adam"] = {f"{i}.{key}": value for i, moments in adam.items() for key, value in moments.items()}
        groups[f"{name}.evidence"] = state.evidence[name]
    last = folder / "last.safetensors"
    if last.exists():
        os.replace(last, folder / "previous.safetensors")
    content = {
        "identity": identity(config, batches),
        "done": state.done,
        "history": state.history,
        "reliability": state.reliability,
        "width": {"cbp": batches.cbp.width, "vlp": batches.vlp.width},
        "classes": batches.classes,
    }
    checkpoint.write(last, groups, content)


def resume(config: Config, batches: Batches, state: State, folder: Path) -> None:
    """Load the newest whole checkpoint of ``folder`` into both branches, their running means and optimizers.

    Without one, ``state`` is left as it is. A damaged checkpoint is renamed ``….damaged`` and the one before it loaded.

    Raises:
        ValueError: a whole checkpoint, but of another configuration, head, width or data.
    """
    for path in (folder / "last.safetensors", folder / "previous.safetensors"):
        if not path.is_file():
            continue
        try:
            groups, content = checkpoint.read(path)
        except ValueError:
            os.replace(path, path.with_suffix(".damaged"))
            continue
        if content["identity"] != identity(config, batches):
            raise ValueError(
                f"{path} belongs to another configuration or other data ({content['identity']}, expected"
                f" {identity(config, batches)}); choose another folder, or delete it to start anew"
            )
        for name in BRANCHES:
            state.branches[name].load_state_dict(groups[f"{name}.weights"])
            state.averages[name].load_state_dict(groups[f"{name}.average"])
            state.evidence[name] = groups[f"{name}.evidence"]
            if name not in state.optimizers:
                continue
            moments: dict[int, dict[str, Tensor]] = defaultdict(dict)
            for key, value in groups[f"{name}.adam"].items():
                i, _, what = key.partition(".")
                moments[int(i)][what] = value
            adam = state.optimizers[name].state_dict()
            state.optimizers[name].load_state_dict({**adam, "state": moments})
        state.done, state.history, state.reliability = (content[key] for key in ("done", "history", "reliability"))
        return
