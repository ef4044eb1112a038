"""What a sweep costs beside its runs: overhead, two cores, a thousand runs on 64 workers, a store of ten thousand.

``python tests/benchmarks/bench_sweep.py [SECONDS]``: runs sleep for SECONDS, 20 by default; under two minutes in all.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faulty import store_in, task
from test_store import record

from wtal_lib.parallel import mapped
from wtal_lib.runs import results, sweep
from wtal_lib.runs.store import write

RUNS, WORKERS, NAP = 1000, (8, 8), 0.5
"sleeping runs, the cluster's processes and threads in each, seconds a run"


def asleep(seconds: float) -> dict[str, Any]:
    """A record, after a while."""
    time.sleep(seconds)
    return {**record(), "history": ["as long as the record of a short run"] * 800}


def timed(compute: Any) -> float:
    began = time.perf_counter()
    compute()
    return time.perf_counter() - began


def row(what: str, measured: str, reference: str, ratio: float) -> None:
    print(f"{what:48}  {measured:>16}  {reference:>26}  {ratio:8.3f}", flush=True)


def overhead(seconds: float) -> None:
    """Sleeping runs on two processes, beside the runs' own time."""
    own, start = 2 * seconds, timed(lambda: mapped(asleep, [0.0] * 2, workers=2, preload=sweep.PRELOAD))
    row("start of a program's first sweep, once", f"{start:.2f} s", f"runs of {seconds:g} s", start / seconds)
    again = timed(lambda: mapped(asleep, [0.0] * 2, workers=2))
    row("start of the next one", f"{again:.2f} s", f"runs of {seconds:g} s", again / seconds)
    wall = timed(lambda: mapped(asleep, [seconds] * 4, workers=2))
    row(
        f"4 runs of {seconds:g} s on 2 processes",
        f"{wall:.2f} s",
        f"runs' own {own:.2f} s",
        wall / own,
    )


def cores(place: Path) -> None:
    """Real runs, one after the other in this process and on two processes; libraries are loaded in both before."""
    tasks = [task(seed, schedule__rounds=40) for seed in range(4)]
    for workers, name in ((1, "load"), (2, "load too")):
        sweep.sweep([task(9), task(8)], store_in(place / name), workers=workers)
    one = timed(lambda: sweep.sweep(tasks, store_in(place / "one"), workers=1))
    two = timed(lambda: sweep.sweep(tasks, store_in(place / "two"), workers=2))
    row("4 runs on 2 processes", f"{two:.2f} s", f"one by one {one:.2f} s", one / two)


@contextmanager
def cluster() -> Iterator[tuple[str, psutil.Process]]:
    """Address and scheduler of a Dask cluster on this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    processes, threads = WORKERS
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": Path(__file__).parent}
    dask = [sys.executable, "-m", "dask"]
    where = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    count = ["--nworkers", str(processes), "--nthreads", str(threads), "--no-dashboard"]
    scheduler = subprocess.Popen([*dask, "scheduler", *where], **quiet)
    workers = subprocess.Popen([*dask, "worker", address, *count], **quiet)
    try:
        yield address, psutil.Process(scheduler.pid)
    finally:
        workers.terminate()
        workers.wait()
        scheduler.terminate()
        scheduler.wait()


def thousand() -> None:
    """Sleeping runs on a cluster: how far from what 64 workers need, and the scheduler's own work."""
    from distributed import Client

    count = WORKERS[0] * WORKERS[1]
    with cluster() as (address, scheduler):
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(WORKERS[0], timeout=100)
        before = sum(scheduler.cpu_times()[:2])
        wall = timed(lambda: mapped(time.sleep, [NAP] * RUNS, scheduler=address))
        work = (sum(scheduler.cpu_times()[:2]) - before) / RUNS
        resident = scheduler.memory_info().rss / 2**20
    ideal = RUNS * NAP / count
    row(f"{RUNS} runs of {NAP:g} s on {count} workers", f"{wall:.2f} s", f"runs' own {ideal:.2f} s", wall / ideal)
    share = work * count / 20
    row("scheduler's work a run", f"{1000 * work:.2f} ms", "of a core, runs of 20 s", share)
    print(f"{'':48}  {resident:.0f} MiB in the scheduler")


def listing(place: Path) -> None:
    """A store of ten thousand records: its list beside reading every record."""
    kept = store_in(place)
    write(kept.records / f"{0:016x}.json", asleep(0))
    text = (kept.records / f"{0:016x}.json").read_bytes()
    for number in range(1, 10_000):
        (kept.records / f"{number:016x}.json").write_bytes(text)
    whole = timed(lambda: [json.loads(path.read_bytes()) for path in kept.records.iterdir()])
    cards = timed(lambda: results.cards(kept))
    row(
        f"list of 10,000 records of {len(text) / 1024:.0f} KiB",
        f"{cards:.2f} s",
        f"all read {whole:.2f} s",
        whole / cards,
    )


def main() -> None:
    """The table; the last column is measured by reference, for speed-ups and lists the other way round."""
    overhead(float(sys.argv[1]) if len(sys.argv) > 1 else 20)
    with tempfile.TemporaryDirectory() as place:
        cores(Path(place))
        files = [path for path in (Path(place) / "one").rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in files) / 2**20
        print(f"{'':48}  {len(files) / 4:.1f} files a run, {size / 4:.1f} MiB")
    thousand()
    with tempfile.TemporaryDirectory() as place:
        listing(Path(place))


if __name__ == "__main__":
    main()
