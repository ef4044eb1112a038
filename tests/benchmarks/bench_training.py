"""What a B + F pair costs, where a run's time goes, and how cost grows; ``python tests/benchmarks/bench_training.py``.

The reference is the same pair in float32 with PyTorch's own conv1d, which is how the field's code computes.
``--full`` also trains the full-width THUMOS14 run to its end (minutes).
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from wtal_lib.data.batches import Batch
from wtal_lib.method import layers, trainer
from wtal_lib.method.config import Config
from wtal_lib.method.presets import preset
from wtal_lib.method.pseudo_labels import Labels
from wtal_lib.method.state import fresh
from wtal_lib.method.text import TextResidual
from wtal_lib.runs.records import peak_memory
from wtal_lib.runs.run import load_libraries, run
from wtal_lib.runs.sources import Spec, open_data
from wtal_lib.settings import replaced


class Plain(nn.Module):
    """The temporal convolution as the field writes it: conv1d over (batch, channel, time)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, hidden, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class Drawn:
    """Stands for batches: moments and classes of random features."""

    def __init__(self, width: int, embed: int, classes: int) -> None:
        self.classes, self.fingerprint = tuple(map(str, range(classes))), "drawn"
        self.cbp, self.vlp = (
            SimpleNamespace(moments=(np.zeros(n, np.float32), np.ones(n, np.float32)), width=n) for n in (width, embed)
        )


def drawn_batch(videos: int, snippets: int, width: int, embed: int, classes: int) -> tuple[Batch, Labels]:
    """Random features and pseudo-labels of some videos of a class each."""
    mask = torch.ones(videos, snippets, dtype=torch.bool)
    y = torch.eye(classes)[torch.arange(videos) % classes]
    x, z = torch.randn(videos, snippets, width), nn.functional.normalize(torch.randn(videos, snippets, embed), dim=2)
    batch = Batch(tuple(map(str, range(videos))), torch.zeros(videos, snippets, dtype=torch.long), x, z, mask, y)
    target = (torch.rand(videos, snippets, classes) > 0.5).float()
    return batch, Labels(target, (y > 0)[:, None, :] & mask[:, :, None])


def pair(
    config: Config, videos: int, snippets: int, width: int, embed: int, classes: int, plain: bool = False
) -> float:
    """Median seconds of one B and one F update, pseudo-labels given."""
    ours = layers.Convolution
    if plain:
        layers.Convolution = Plain  # type: ignore[assignment, misc]
    try:
        text = nn.functional.normalize(torch.randn(classes, embed), dim=1)
        state = fresh(config, Drawn(width, embed, classes), TextResidual(text), 100.0)  # type: ignore[arg-type]
    finally:
        layers.Convolution = ours  # type: ignore[misc]
    batch, labels = drawn_batch(videos, snippets, width, embed, classes)
    taken = []
    for step in range(9):
        began = time.perf_counter()
        trainer.update(config, state, "vlp", batch, labels, step)
        trainer.update(config, state, "cbp", batch, labels, step)
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[2:])


def costs() -> None:
    """Prints the cost of a pair at full width, against the reference, and how it grows."""
    config = preset("full", profile="full")
    torch.set_num_threads(torch.get_num_threads())
    reference = pair(replaced(config, training__precision="float32"), 16, 320, 2048, 512, 20, plain=True)
    print(f"{'B + F pair of updates':44}  seconds   reference / it")
    print(f"{'conv1d, float32: 16 x 320 x 2048, 20 classes':44}  {reference:7.3f}   1.0")
    cases = {
        "ours, float32": (replaced(config, training__precision="float32"), 16, 320, 2048, 512, 20),
        "ours, bfloat16 where native": (config, 16, 320, 2048, 512, 20),
        "  twice the videos": (config, 32, 320, 2048, 512, 20),
        "  twice the snippets": (config, 16, 640, 2048, 512, 20),
        "  100 classes": (config, 16, 320, 2048, 512, 100),
        "profile quick: 16 x 160 x 256": (preset("full", profile="quick"), 16, 160, 256, 128, 20),
    }
    for name, case in cases.items():
        seconds = pair(*case)
        print(f"{name:44}  {seconds:7.3f}   {reference / seconds:.1f}")


def shares(profile: str) -> None:
    """Prints where the time of a run of simulated THUMOS14 goes, its whole time and its peak memory."""
    data = open_data(Spec(source="simulated", profile=profile))
    for name in data.annotations.videos:  # draw the features before the clock starts: real packs are on disk
        _ = data.cbp[name], data.vlp[name]  # type: ignore[index]
    config = preset("full", profile=profile)
    load_libraries()  # once a process, whatever it runs
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record = run(copy.deepcopy(config), data, Path(folder), curve=False)
        whole = time.perf_counter() - began
    phases = record["history"]
    updates = sum((2 if entry["name"] == "warmup" else 1) * config.schedule.period for entry in phases)
    parts = {
        "loading": sum(entry["seconds_loading"] for entry in phases),
        "pseudo-labels": sum(entry["seconds_teaching"] for entry in phases),
        "scoring": whole - sum(entry["seconds"] for entry in phases),
    }
    print(f"\nprofile {profile}: {whole:.1f} s for {updates} updates, peak {peak_memory():.0f} MiB")
    for name, seconds in parts.items():
        print(f"  {name:14} {seconds:7.2f} s  {100 * seconds / whole:5.1f} %")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also the full-width run")
    arguments = parser.parse_args()
    costs()
    for profile in ("ci", "quick", *(["full"] if arguments.full else [])):
        shares(profile)
