"""Drawing whole datasets: seconds and snippets a second, beside the cost of drawing as many plain random numbers.

python tests/benchmarks/bench_simulator.py          full-width THUMOS14, and the smaller profiles of both datasets
python tests/benchmarks/bench_simulator.py --write  and writing them (2 GB of temporary disk)
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from wtal_lib.data.annotations import find_annotations
from wtal_lib.simulate.knobs import Simulator
from wtal_lib.simulate.packs import simulate, write_packs

SHARED = Path(__file__).parents[3] / "shared" / "data"
CASES = [
    ("thumos14", "ci"),
    ("thumos14", "quick"),
    ("thumos14", "full"),
    ("activitynet12", "ci"),
    ("activitynet12", "quick"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the packs too")
    write = parser.parse_args().write
    print(
        f"{'dataset':14s}{'profile':8s}{'videos':>7s}{'snippets':>10s}{'drawn s':>9s}{'x noise':>9s}{'written s':>11s}"
    )
    for dataset, profile in CASES:
        found = find_annotations(SHARED, dataset) if SHARED.is_dir() else None
        start = time.perf_counter()
        world = simulate(Simulator(dataset=dataset, profile=profile), found)
        for name in world.cbp.names:
            world.cbp.drawn(name)
            world.vlp.drawn(name)
        drawn = time.perf_counter() - start
        rng, rows = np.random.default_rng(0), sum(world.cbp.lengths.values())
        start = time.perf_counter()
        for name in world.cbp.names:
            rng.standard_normal((world.cbp.lengths[name], world.cbp.width + world.vlp.width), dtype=np.float32)
        plain = time.perf_counter() - start
        written = float("nan")
        if write:
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                write_packs(world, folder)
                written = time.perf_counter() - start
        line = f"{dataset:14s}{profile:8s}{len(world.cbp):7d}{rows:10,d}{drawn:9.1f}{drawn / plain:9.1f}{written:11.1f}"
        print(line, flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
