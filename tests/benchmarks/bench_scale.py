"""How cost grows with videos, length, classes, detections and seeds, and by which power: ``bench_scale.py [--small]``.

Processor seconds on one thread, the least of some repeats, at sizes that double. The exponent is the slope of a line
through their logarithms: 1 is linear, and n log n a little more.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import bench_localize
import bench_metrics
import bench_training
import made
import numpy as np
import torch

from wtal_lib.data.features import find_pack
from wtal_lib.data.segments import I3D_GRID
from wtal_lib.method.config import Localize
from wtal_lib.method.localize import localize
from wtal_lib.method.presets import preset
from wtal_lib.score.metrics import average_precision, match
from wtal_lib.studies.statistics import resampled

TENTHS = [i / 10 for i in range(1, 8)]
Job = Callable[[], object]


def scoring(videos: int = 200, classes: int = 20, each: int = 150, per_video: float = 15) -> Job:
    tables = bench_metrics.drawn(videos, classes, each, per_video)
    return lambda: average_precision(*tables, TENTHS)


def bootstrap(runs: int) -> Job:
    matchings = [match(*bench_metrics.drawn(200, 20, 150, 15, seed), TENTHS) for seed in range(runs)]
    return lambda: resampled(matchings, 100)


def localizing(videos: int = 50, length: int = 300, classes: int = 20) -> Job:
    scores = bench_localize.drawn(videos, videos * length, classes)
    names = tuple(map(str, range(classes)))
    return lambda: localize(scores, Localize(), I3D_GRID, names)


def reading(place: Path, videos: int = 50, length: int = 300, opened: bool = False) -> Job:
    """A pack of one file a video, indexed anew or ``opened`` from its index."""
    data = made.annotations(videos, length * I3D_GRID.step)
    folder = place / f"{videos}-{length}"
    rows = np.random.default_rng(0).random((length, 512), np.float32)
    if not folder.exists():
        made.write_files(folder / "thumos14/i3d", dict.fromkeys(data.videos, rows))
    cache = folder / "cache"

    def index() -> None:
        for old in () if opened else cache.glob("*"):
            old.unlink()
        find_pack(folder, "thumos14", "cbp", data, cache=cache)

    index()
    return index


def step(videos: int = 4, length: int = 80, classes: int = 20) -> Job:
    config = preset("full", profile="quick")
    return lambda: bench_training.pair(config, videos, length, 256, 128, classes)


def curves(small: bool, place: Path) -> dict[str, tuple[Callable[[int], Job], list[int]]]:
    """What grows, and its sizes."""
    times = (1, 2, 4, 8) if small else (1, 4, 16, 64)
    few = times[:3]
    return {
        "scoring, videos": (lambda n: scoring(videos=n), [100 * k for k in times]),
        "scoring, detections a video": (lambda n: scoring(each=n), [75 * k for k in times]),
        "scoring, instances a video": (lambda n: scoring(per_video=n), [4 * k for k in times]),
        "scoring, classes": (lambda n: scoring(classes=n), [10 * k for k in times]),
        "paired bootstrap, runs": (bootstrap, list(few)),
        "localizing, videos": (lambda n: localizing(videos=n), [25 * k for k in times]),
        "localizing, snippets a video": (lambda n: localizing(length=n), [150 * k for k in times]),
        "localizing, classes": (lambda n: localizing(classes=n), [10 * k for k in times]),
        "indexing a pack, videos": (lambda n: reading(place, videos=n), [25 * k for k in times]),
        "indexing a pack, snippets a video": (lambda n: reading(place, length=n), [150 * k for k in few]),
        "opening a pack, videos": (lambda n: reading(place, videos=n, opened=True), [25 * k for k in times]),
        "B + F pair, videos": (lambda n: step(videos=n), [4 * k for k in few]),
        "B + F pair, snippets a video": (lambda n: step(length=n), [80 * k for k in few]),
        "B + F pair, classes": (lambda n: step(classes=n), [20 * k for k in few]),
    }


def spent(job: Job, repeats: int) -> float:
    """Least processor seconds of some repeats."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        job()
        taken.append(time.process_time() - began)
    return min(taken)


def main(small: bool, place: Path) -> None:
    torch.set_num_threads(1)
    print(f"{'processor seconds':36}{'sizes':>26}   {'seconds':<34}exponent")
    for what, (make, sizes) in curves(small, place).items():
        seconds = [spent(make(size), 2) for size in sizes]
        power = np.polyfit(np.log(sizes), np.log(np.maximum(seconds, 1e-6)), 1)[0]
        shown = " ".join(f"{one:.3g}" for one in seconds)
        print(f"{what:36}{' '.join(map(str, sizes)):>26}   {shown:<34}{power:8.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="up to 8 times instead of 64")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        main(arguments.small, Path(folder))
