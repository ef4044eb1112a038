"""Reading annotations and features: seconds and peak memory, beside the plain way of doing the same.

python tests/benchmarks/bench_data.py          a twentieth of ActivityNet1.2, under a minute
python tests/benchmarks/bench_data.py --full   its 7,202 videos: 13 GB of temporary disk, some minutes
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import made

from wtal_lib.data.annotations import Annotations, Video, find_annotations
from wtal_lib.data.batches import Batches
from wtal_lib.data.features import find_pack

SHARED = Path(__file__).parents[3] / "shared" / "data"
SNIPPETS, WIDTH, EMBED = 173, 2048, 512


def seconds(call: Callable[[], object], times: int = 3) -> float:
    """Best of a few runs."""
    best = math.inf
    for _ in range(times):
        started = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - started)
    return best


def row(what: str, ours: float, plain: float, limit: float | None = None) -> None:
    bound = "" if limit is None else f"{limit:8.2f}"
    print(f"{what:<52} {ours:8.3f} {plain:8.3f} {ours / plain:7.2f} {bound}")


def unsafe(folder: Path) -> list[object]:
    """What the community does: numpy unpickles whatever is there."""
    found = []
    for path in folder.glob("*.npy"):
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            _, _, dtype = np.lib.format.read_array_header_1_0(file)
            found.append(pickle.load(file, encoding="bytes") if dtype.hasobject else np.load(path))
    return found


def annotations(count: int) -> Annotations:
    """ActivityNet-like videos, two thirds of them for training."""
    none, label, videos = np.zeros((0, 2)), made.LABELS, {}
    for i in range(count):
        name, subset = f"video_{i}", "train" if 3 * i < 2 * count else "test"
        videos[name] = Video(name, subset, SNIPPETS * 0.64, label[:1], label[:1], np.array([[1.0, 9.0]]), none)
    return Annotations("activitynet12", label, videos, "w-talc", None)


def write_packs(root: Path, data: Annotations) -> None:
    """A joint float16 array and a CLIP pack of random rows, as large as ActivityNet's, written video by video."""
    rng = np.random.default_rng(0)
    block = rng.random((4 * SNIPPETS, WIDTH), np.float32).astype(np.float16)
    (root / "activitynet12" / "Anet_CLIP").mkdir(parents=True)
    rows = made.objects([block[i : i + SNIPPETS] for i in rng.integers(0, 3 * SNIPPETS, len(data.videos))])
    with open(root / "activitynet12" / "ActivityNet1.2-I3D-JOINTFeatures.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows))
        pickler = pickle.Pickler(file, protocol=4)
        pickler.fast = True  # keeps no references, so that the file can be larger than the memory
        pickler.dump(rows)
    for i, name in enumerate(data.videos):
        np.save(root / "activitynet12" / "Anet_CLIP" / f"{name}.npy", block[i % 500 : i % 500 + SNIPPETS, :EMBED])


def task(name: str, root: Path, count: int) -> None:
    """One measurement in a process of its own: prints seconds and the peak of its memory in GiB."""
    data = annotations(count)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    if name == "plain":
        with open(root / "activitynet12" / "ActivityNet1.2-I3D-JOINTFeatures.npy", "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            held = pickle.load(file)
        started = time.perf_counter()
        for step in range(count * 2 // 3 // 16):
            np.stack([held[(16 * step + i) % count].astype(np.float32) for i in range(16)])
    else:
        cbp, vlp = (find_pack(root, "activitynet12", kind, data) for kind in ("cbp", "vlp"))
        batches = Batches(data, cbp, vlp) if name == "epoch" else None
        started = time.perf_counter() if name == "epoch" else started
        for step in range(len(data.subset("train")) // 16 if batches else 0):
            batches[step]  # type: ignore[index]
        if name == "moments":
            started = time.perf_counter()
            _ = cbp.moments, vlp.moments
    elapsed = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(elapsed, peak / 2**20, base / 2**20)


def measured(name: str, root: Path, count: int) -> tuple[float, float]:
    """Seconds and peak GiB of a task."""
    command = [sys.executable, __file__, "--task", name, str(root), str(count)]
    environment = {**os.environ, "WTAL_CACHE": str(root / "cache")}
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    return float(said[0]), float(said[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--task", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        task(arguments.task[0], Path(arguments.task[1]), int(arguments.task[2]))
        return
    print(f"{'':<52} {'ours':>8} {'plain':>8} {'ratio':>7} {'bound':>8}")
    for dataset, folder, limit in (
        ("thumos14", "Thumos14reduced-Annotations", 0.3),
        ("activitynet12", "ActivityNet1.2-Annotations", 1.0),
    ):
        if SHARED.is_dir():
            ours = seconds(lambda d=dataset: find_annotations(SHARED, d))  # type: ignore[misc]
            row(
                f"reading {dataset} annotations, s",
                ours,
                seconds(lambda d=dataset, f=folder: unsafe(SHARED / d / "wtalc" / f)),
                limit,
            )  # type: ignore[misc]
    count = 7202 if arguments.full else 360
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        write_packs(root, annotations(count))
        plain, plain_peak = measured("plain", root, count)
        indexing, indexing_peak = measured("open", root, count)
        opening, _ = measured("open", root, count)
        epoch, epoch_peak = measured("epoch", root, count)
        moments, moments_peak = measured("moments", root, count)
        started = time.perf_counter()
        files = list((root / "activitynet12").rglob("*.npy"))
        for path in files:
            path.read_bytes() if path.stat().st_size < 1 << 28 else None
        with open(max(files, key=lambda path: path.stat().st_size), "rb") as file:
            while file.read(1 << 24):
                pass
        copy = time.perf_counter() - started
        row(f"opening both indexed packs of {count} videos, s", opening, copy, 0.2 * 2)
        row("indexing both, beside reading their bytes, s", indexing, copy)
        row("one epoch, beside stacking arrays held in memory, s", epoch, plain)
        row("  peak memory, GiB", epoch_peak, plain_peak, 1.5)
        row("  peak memory of indexing, GiB", indexing_peak, plain_peak, 1.5)
        row("moments of both, beside reading their bytes, s", moments, copy)
        row("  peak memory, GiB", moments_peak, plain_peak, 1.5)


if __name__ == "__main__":
    main()
