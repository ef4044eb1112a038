"""A B + F pair of updates beside a process that never rests, by how threads wait for each other.

``python tests/benchmarks/bench_waiting.py [PROFILE]``, by default ``full``: 10 x 160 x 2048. Every way runs in a
process of its own, since OpenMP reads its settings when it is loaded. Seconds of wall clock and of processor a pair;
ways take turns, so that what else the machine does meets them alike. The ratio is to one thread alone.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import subprocess
import sys
import time

WAYS: dict[str, tuple[int, dict[str, str]]] = {
    "one thread": (1, {}),
    "two threads, waiting as PyTorch comes": (2, {}),
    "two threads, passive": (2, {"OMP_WAIT_POLICY": "PASSIVE"}),
}
ROUNDS = 3


def child(threads: int, profile: str) -> None:
    """Prints wall and processor seconds of a pair."""
    import bench_training
    import torch

    from wtal_lib.method.presets import preset

    torch.set_num_threads(threads)
    size = (10, 160, 2048, 512, 20) if profile == "full" else (10, 160, 256, 128, 20)
    before = time.process_time(), time.perf_counter()
    wall = bench_training.pair(preset("full", profile=profile), *size)
    share = (time.process_time() - before[0]) / (time.perf_counter() - before[1])
    print(wall, wall * share)


def busy() -> None:
    """Keeps one core."""
    while True:
        sum(range(100_000))


def main() -> None:
    profile = sys.argv[1] if len(sys.argv) > 1 else "full"
    found: dict[tuple[str, bool], list[tuple[float, float]]] = {}
    for _ in range(ROUNDS):
        for beside in (False, True):
            other = multiprocessing.Process(target=busy, daemon=True)
            if beside:
                other.start()
            for way, (threads, environment) in WAYS.items():
                command = [sys.executable, __file__, "--child", str(threads), profile]
                plain = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
                done = subprocess.run(command, env={**plain, **environment}, check=True, capture_output=True, text=True)
                wall, processor = map(float, done.stdout.split())
                found.setdefault((way, beside), []).append((wall, processor))
            if beside:
                other.kill()
                other.join()
    print(f"{'B + F pair, profile ' + profile:42}{'alone s':>9}{'CPU s':>8}{'beside s':>10}{'CPU s':>8}{'ratio':>8}")
    middle = {key: [statistics.median(column) for column in zip(*rows, strict=True)] for key, rows in found.items()}
    least = middle["one thread", False][0]
    for way in WAYS:
        (alone, spent), (crowded, burnt) = middle[way, False], middle[way, True]
        print(f"{way:42}{alone:9.3f}{spent:8.3f}{crowded:10.3f}{burnt:8.3f}{crowded / least:8.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(int(sys.argv[2]), sys.argv[3])
    else:
        main()
