"""A run on disk: a checkpoint after every phase, from which a killed run goes on to the very same result."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from wtal_lib import extensions
from wtal_lib.data import checkpoint
from wtal_lib.data.batches import Batches
from wtal_lib.method import trainer
from wtal_lib.method.config import Config, own
from wtal_lib.method.reliability import settled
from wtal_lib.method.schedule import Phase
from wtal_lib.method.state import BRANCHES, State
from wtal_lib.settings import digest, to_dict


def train(
    config: Config,
    batches: Batches,
    state: State,
    folder: Path,
    *,
    truth: trainer.Truth | None = None,
    on_phase: Callable[[Phase, State], None] | None = None,
) -> State:
    """Carry a run to its end from its last checkpoint in ``folder``, where one is kept after every phase.

    ``on_phase`` is called after every phase, before its checkpoint, which keeps what it adds to the history.

    Raises:
        FloatingPointError: as :func:`wtal_lib.method.trainer.train`, with the last good checkpoint; ValueError: as
            there, or a checkpoint of another configuration.
    """

    def kept(phase: Phase, state: State) -> None:
        if on_phase is not None:
            on_phase(phase, state)
        save(config, batches, state, folder)

    resume(config, batches, state, folder)
    try:
        return trainer.train(config, batches, state, truth=truth, on_phase=kept)
    except FloatingPointError as error:
        raise FloatingPointError(f"{error}. The last good checkpoint is {folder / 'last.safetensors'}") from error


def identity(config: Config, batches: Batches) -> str:
    """Hash of all that must be equal for a checkpoint to go on: the configuration and the data."""
    return digest({"config": to_dict(config), "data": batches.fingerprint, **extensions.marks(own(config))})


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
        taught = [entry for entry in state.history if entry["reliability"]]
        until = [entry["updates"] for entry in taught if not settled(config, entry["reliability"])]
        batches.warmup = max([config.schedule.warmup, *until])  # what was kept out of training still is
        return
