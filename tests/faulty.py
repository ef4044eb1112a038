"""Tiny runs, and what the fault tests do to them, in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from wtal_lib.method.presets import preset
from wtal_lib.runs import sweep
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Spec
from wtal_lib.runs.store import Store
from wtal_lib.runs.sweep import Task

os.environ["OMP_NUM_THREADS"] = "1"  # for every process started from here: forks of one that has threads may hang

TINY = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 1}
PHASES = 4
"of a tiny run: two of warm-up, B and F; each ends with a checkpoint"
SPEC = Spec(source="simulated", profile="ci")


def task(seed: int = 0, name: str = "full", keep: tuple[str, ...] = (), **changes: Any) -> Task:
    """A run of about a second."""
    return Task(preset(name, profile="ci", seed=seed, **{**TINY, **changes}), SPEC, keep=keep)


def store_in(folder: Path) -> Store:
    """A store whose records and cache lie in one folder."""
    return Store(folder / "records", folder / "cache")


TIMES = (
    "seconds",
    "seconds_teaching",
    "seconds_loading",
    "wall_seconds",
    "finished",
    "peak_memory_mib",
    "checksum",
    "code",
    "environment",
)


def plain(value: Any) -> Any:
    """A record without what differs between two equal runs: times, memory, and who computed it."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if key not in TIMES}
    return [plain(one) for one in value] if isinstance(value, list) else value


def server() -> Any:
    """The context in which new processes have everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "distributed", *sweep.PRELOAD, "distributed.cli.dask_worker"])
    forkserver.ensure_running()
    return context


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """What a function returns in a process of its own, which may start others.

    Raises:
        AssertionError: it raised; with its traceback.
    """
    ours, its = server().Pipe()
    process = server().Process(target=_reported, args=(its, function, given))
    process.start()
    its.close()
    well, result = ours.recv()
    process.join()
    assert well, result
    return result


def _reported(pipe: Any, function: Callable[..., Any], given: tuple[Any, ...]) -> None:
    try:
        pipe.send((True, function(*given)))
    except BaseException:
        pipe.send((False, traceback.format_exc()))


def logged(given: Task, folder: Path, log: Path) -> dict[str, Any]:
    """The record of a run in ``store_in(folder)`` that adds a line to ``log`` for each phase it computes."""
    data, place = sweep._opened(given.spec), store_in(folder)
    with open(log, "a") as file:
        return run(given.config, data, place, keep=given.keep, share=True, progress=lambda _: _flushed(file))


def _flushed(file: Any) -> None:
    file.write("phase\n")
    file.flush()


def lines(log: Path) -> int:
    """Phases that a log has counted."""
    return len(log.read_text().splitlines())


def runs_killed(folder: Path, kills: int) -> list[tuple[dict[str, Any], int, int]]:
    """Record, kills and phases computed of runs that were killed with signal 9 at ``kills`` random moments in all.

    A run is started again and again until it is through; then comes another. The data are opened once, before the
    first is forked.
    """
    context, moment = multiprocessing.get_context("fork"), random.Random(0)
    usual, found = seconds(lambda place: logged(task(), place, folder / "log"), folder), []
    while kills > 0:
        place, killed = folder / f"run{len(found)}", 0
        while True:
            process = context.Process(target=logged, args=(task(), place, place.with_suffix(".log")))
            process.start()
            process.join(moment.uniform(0, 0.7 * usual) if kills else None)
            process.kill()
            process.join()
            if process.exitcode == 0:  # it was through before
                break
            assert process.exitcode == -signal.SIGKILL
            kills, killed = kills - 1, killed + 1
        found.append((logged(task(), place, folder / "log"), killed, lines(place.with_suffix(".log"))))
    return found


def sweep_killed(folder: Path, tasks: list[Task], kills: int) -> tuple[list[list[dict[str, Any]]], int, int]:
    """Records of sweeps whose driver or a worker was killed at random, and how often either was."""
    server()  # of the workers of all drivers, which are forks of this process: to start one takes no time
    context, moment = multiprocessing.get_context("fork"), random.Random(1)
    usual = seconds(lambda place: _driver(context, tasks, place).join(), folder)
    found, hit = [], {True: 0, False: 0}
    while sum(hit.values()) < kills:
        place = folder / f"sweep{len(found)}"
        driver = _driver(context, tasks, place)
        while driver.exitcode != 0:
            driver.join(moment.uniform(0, 0.5 * usual) if sum(hit.values()) < kills else None)
            if driver.is_alive():
                victim = moment.choice([driver.pid, *children(forkserver._forkserver._forkserver_pid)])  # type: ignore[attr-defined]
                hit[victim == driver.pid] += 1
                os.kill(victim, signal.SIGKILL)
                if victim == driver.pid:
                    driver.join()
            if driver.exitcode not in (None, 0):
                driver = _driver(context, tasks, place)
        found.append(sweep.sweep(tasks, store_in(place), workers=1, retry=True))
    return found, hit[True], hit[False]


def seconds(compute: Callable[[Path], object], folder: Path) -> float:
    """What computing something takes once everything is imported, compiled and opened."""
    for name in ("first", "second"):
        began = time.monotonic()
        compute(folder / name)
    return time.monotonic() - began


def _driver(context: Any, tasks: list[Task], place: Path) -> Any:
    process = context.Process(target=_drive, args=(tasks, place))
    process.start()
    return process


def _drive(tasks: list[Task], place: Path) -> None:
    forkserver._forkserver.ensure_running = lambda: None  # type: ignore[attr-defined] # it is, as another's child
    sweep.sweep(tasks, store_in(place), workers=2, retry=True)


def children(pid: int | None) -> list[int]:
    """Processes that a process has started, as far as the system says."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def scheduler(port: int) -> None:
    """What ``dask scheduler`` does, until it is killed."""
    from distributed.cli.dask_scheduler import main

    main(["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"], standalone_mode=False)


def worker(port: int) -> None:
    """What ``dask worker`` does, until it is killed or its scheduler is."""
    from distributed.cli.dask_worker import main

    address = f"tcp://127.0.0.1:{port}"
    main([address, "--nthreads", "1", "--no-nanny", "--no-dashboard"], standalone_mode=False)


def started(function: Callable[..., Any], *given: Any) -> Any:
    """A process of its own."""
    process = server().Process(target=function, args=given)
    process.start()
    return process


def fragile(item: tuple[str, Path]) -> str:
    """The first part of an item, unless it says to raise, to die, to die once, or to return what cannot travel."""
    what, place = item
    if what == "raise":
        raise ValueError("two\nlines")
    if what == "die" or (what == "die once" and not place.exists()):
        place.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return (lambda: None) if what == "no pickle" else what  # type: ignore[return-value]
