"""A full-width run on a GPU: metrics beside the CPU's, a killed run resumed, step time, memory, images a second.

``python tests/benchmarks/bench_gpu.py``: under eight minutes on one GPU. ``--device cpu --tiny`` shows on any machine
that the script itself works, at small widths and for the fewest updates. Metrics are compared in profile ``ci``, whose
runs a CPU finishes in seconds. Exits with 1 where a comparison does not hold.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bench_training
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from wtal_lib.method import trainer
from wtal_lib.method.config import Config
from wtal_lib.method.presets import preset
from wtal_lib.method.pseudo_labels import Labels
from wtal_lib.method.state import fresh
from wtal_lib.method.text import TextResidual
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Spec, open_data
from wtal_lib.video import i3d, vlm

PEAKS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L40": 181e12, "4090": 165e12, "V100": 112e12, "T4": 65e12}
"dense bfloat16 (V100, T4: float16) operations a second, as their makers state them"
SEEDS = (0, 1, 2)
"of the CPU runs whose spread the GPU's metrics must lie in, 3 standard deviations and half a point to each side"


def config_of(size: str, seed: int = 0) -> Config:
    """Of profile ``full`` or ``ci``; ``tiny`` is ``ci`` with the fewest updates."""
    few = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 1} if size == "tiny" else {}
    return preset("full", profile="full" if size == "full" else "ci", seed=seed, **few)


def headline(record: dict[str, Any]) -> dict[str, float]:
    """Mean mAP of each branch, percent."""
    of = {branch: next(iter(found.values()))["means"] for branch, found in record["metrics"].items()}
    return {branch: 100 * next(iter(means.values())) for branch, means in of.items()}


def trained(device: str, size: str, place: Path, seed: int = 0) -> dict[str, Any]:
    data = open_data(Spec(source="simulated", profile="full" if size == "full" else "ci"))
    return run(config_of(size, seed), data, place, device=device)


def resumed(device: str, size: str, place: Path) -> dict[str, Any]:
    """The record of a run that was killed once its first checkpoint was there."""
    command = [sys.executable, __file__, "--device", device, "--run", size, str(place)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as other:
        while other.poll() is None and not (place / "last.safetensors").exists():
            time.sleep(0.02)
        other.send_signal(signal.SIGKILL)
    print(f"killed {'before' if not (place / 'record.json').exists() else 'AFTER'} its end, and resumed")
    return trained(device, size, place)


def step(device: str, tiny: bool) -> tuple[float, float]:
    """Seconds of a B + F pair, and its floating point operations."""
    config = config_of("tiny" if tiny else "full")
    videos, snippets, width, embed, classes = (4, 40, 64, 32, 20) if tiny else (16, 320, 2048, 512, 20)
    text = torch.nn.functional.normalize(torch.randn(classes, embed), dim=1)
    drawn: Any = bench_training.Drawn(width, embed, classes)
    state = fresh(config, drawn, TextResidual(text), 100.0, device)
    batch, drawn_labels = bench_training.drawn_batch(videos, snippets, width, embed, classes)
    labels = Labels(drawn_labels.target.to(device), drawn_labels.keep.to(device))

    def pair(i: int) -> None:
        for branch in ("vlp", "cbp"):
            trainer.update(config, state, branch, batch, labels, i)

    with FlopCounterMode(display=False) as counter:
        pair(0)
    times = []
    for i in range(3 if tiny else 30):
        began = time.perf_counter()
        pair(i + 1)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return float(np.median(times)), float(counter.get_total_flops())


def images(device: str, tiny: bool) -> dict[str, float]:
    """Images a second that CLIP and I3D take, randomly initialised, preprocessing apart."""
    found, seconds = {}, 0.5 if tiny else 10.0
    model = vlm.load("ViT-S-32-alt" if tiny else "ViT-B-16", vlm.RANDOM, device=device)
    net = i3d.load(i3d.RANDOM, device=device)
    jobs = {
        "CLIP": (lambda x: model.encode_images(x), torch.rand(2 if tiny else 256, 3, 224, 224), 1),
        "I3D": (lambda x: net(x)[0], torch.rand(1 if tiny else 16, 3, 16, 224, 224), 16),
    }
    for name, (encode, given, frames) in jobs.items():
        with torch.inference_mode():
            x = given.to(device)
            encode(x)
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < seconds:
                np.asarray(torch.as_tensor(encode(x)).float().cpu())  # waits for the device
                done += len(given) * frames
            found[name] = done / (time.perf_counter() - began)
    return found


def main(device: str, tiny: bool) -> int:
    cuda, failed = device.startswith("cuda"), list[str]()
    size, compared = ("tiny", "tiny") if tiny else ("full", "ci")
    name = torch.cuda.get_device_name(device) if cuda else "CPU"
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record = trained(device, size, Path(folder) / "whole")
        print(f"one run on {name}: {time.perf_counter() - began:.1f} s, {record['precision']}")
        if cuda:
            print(f"peak memory of the device: {torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB")
        again = resumed(device, size, Path(folder) / "killed")
        if headline(again) != headline(record):
            failed.append(f"resumed {headline(again)}, at one stretch {headline(record)}")
        seeds = [headline(trained("cpu", compared, Path(folder) / f"cpu-{seed}", seed)) for seed in SEEDS]
        ours = headline(record if tiny else trained(device, compared, Path(folder) / "ci"))
        for branch, value in ours.items():
            cpu = [one[branch] for one in seeds]
            margin = 3 * float(np.std(cpu, ddof=1)) + 0.5
            print(f"{branch:6} {value:6.2f} on {name}, {np.mean(cpu):6.2f} on the CPU, within {margin:.2f} wanted")
            if abs(value - np.mean(cpu)) > margin:
                failed.append(f"{branch} on {name} is {value:.2f}, on the CPU {np.mean(cpu):.2f}")
    seconds, operations = step(device, tiny)
    peak = next((of for kind, of in PEAKS.items() if kind in name), float("nan"))
    rate = operations / seconds
    share = f"{100 * rate / peak:.1f} % of the device's peak"
    print(f"B + F pair: {1000 * seconds:.1f} ms, {rate / 1e12:.2f} TFLOP/s, {share}")
    for kind, rate in images(device, tiny).items():
        print(f"{kind}: {rate:.0f} images a second")
    print("\n".join(f"FAILED: {one}" for one in failed) or "all comparisons hold")
    return 1 if failed else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small widths, fewest updates")
    parser.add_argument("--run", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        trained(arguments.device, arguments.run[0], Path(arguments.run[1]))
    else:
        sys.exit(main(arguments.device, arguments.tiny))
