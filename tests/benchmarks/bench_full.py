"""Runs on packs of the community's sizes, from beginning to end: seconds, memory, and where the time goes.

``python tests/benchmarks/bench_full.py thumos14`` takes 7 minutes and 1 GB of temporary disk on two cores, with
``activitynet12`` a quarter of an hour and 7 GB, with ``--profile ci`` a minute. Annotations are those of
``../shared/data`` where it is there, else drawn. The commands are a user's own; ratios are to the first run, in which
the branches learn from video labels alone.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from wtal_lib.runs.store import read

SHARED = Path(__file__).parents[3] / "shared" / "data"
PRESETS = ("late_fusion", "full", "paper", "supervised")


def timed(*command: str) -> tuple[float, float]:
    """Seconds and peak memory, MiB (mapped files included), of a command that must succeed."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, "-m", "wtal_lib.cli", *command], stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}: {log.read()}")
    return time.perf_counter() - began, used.ru_maxrss / 1024


def shares(record: Path) -> list[float]:
    """Share of a run's time, %: loading, pseudo-labels, scoring."""
    run = read(record)
    parts = [sum(entry[f"seconds_{name}"] for entry in run["history"]) for name in ("loading", "teaching")]
    parts.append(run["wall_seconds"] - sum(entry["seconds"] for entry in run["history"]))
    return [100 * part / run["wall_seconds"] for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", nargs="?", default="thumos14")
    parser.add_argument("--profile", default="full")
    given = parser.parse_args()
    about = ("--dataset", given.dataset, "--profile", given.profile)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WTAL_CACHE"] = f"{folder}/cache"
        real = ("--annotations", str(SHARED)) if (SHARED / given.dataset).is_dir() else ()
        head = f"{given.dataset}, profile {given.profile}"
        print(f"{head:30}  seconds    MiB  ratio   loading, pseudo-labels, scoring (%)")
        for name, command in {
            "simulate": ("simulate", f"{folder}/data", *about, *real),
            "check, which indexes": ("check", f"{folder}/data"),
            "check again": ("check", f"{folder}/data"),
        }.items():
            seconds, memory = timed(*command)
            print(f"{name:30}  {seconds:7.1f}  {memory:5.0f}", flush=True)
        plain = 0.0
        for preset in PRESETS:
            place = ("--source", "simulated", "--data-root", f"{folder}/data", "--out", f"{folder}/{preset}")
            seconds, memory = timed("run", *about, *place, "--preset", preset)
            plain = plain or seconds
            parts = ", ".join(f"{share:.0f}" for share in shares(Path(folder, preset, "record.json")))
            print(f"{preset:30}  {seconds:7.1f}  {memory:5.0f}  {seconds / plain:5.2f}   {parts}", flush=True)


if __name__ == "__main__":
    main()
