"""A function over many items by Dask workers, of this machine or a cluster: what fails is reported, the rest goes on.

The function and its items travel by pickle and must be importable where they arrive; large data do not travel: items
say where they lie. Functions that keep what they have done on disk lose nothing when they are stopped half-way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import multiprocessing
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, NamedTuple
from unittest.mock import patch

PATIENCE = 600.0
"seconds in which a scheduler that was lost may come back"
ATTEMPTS = 3
"processes that may end over an item before the item is taken to be the cause"
LOST = (CancelledError, OSError, asyncio.TimeoutError)
"what a client raises whose scheduler is gone"
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1)
PRODUCTS = dict.fromkeys(("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"), 8192)
"compiled matrix products that PyTorch keeps, one a shape, by default a thousand: run after run meets the same videos"
METHODS = multiprocessing.get_all_start_methods()
LOCAL = {
    "distributed.worker.multiprocessing-method": "forkserver" if "forkserver" in METHODS else "spawn",
    # in place of Dask's own, which trims freed memory: a third of a training's time
    "distributed.nanny.pre-spawn-environ": ONE_THREAD | PRODUCTS,
    "distributed.scheduler.worker-saturation": 1.0,  # one item in hand: no other is taken to be the cause
    "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
    "distributed.scheduler.no-workers-timeout": 10,  # seconds; then others are started
}
"Dask's settings for the processes of this machine"


class Failure(NamedTuple):
    """What stands in a result's place: kind and message of the exception, in a line, and its traceback."""

    error: str
    traceback: str


class Progress(NamedTuple):
    """Numbers of items done (failed ones too), running, failed and in all; seconds left, nan at first."""

    done: int
    running: int
    failed: int
    total: int
    left: float

    def __str__(self) -> str:
        left = "" if math.isnan(self.left) or self.done == self.total else f", {duration(self.left)} left"
        return f"{self.done} of {self.total} done, {self.running} running, {self.failed} failed{left}"


def duration(seconds: float) -> str:
    """A duration as people say it: 40 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cores() -> int:
    """Cores that this process may use, by its affinity and a container's quota."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def mapped(function: Callable[[Any], Any], items: Sequence[Any], **options: Any) -> list[Any]:
    """Results of ``function`` in the order of ``items``; ``options`` and errors as of :func:`completed`."""
    with closing(completed(function, items, **options)) as arriving:
        results = dict(arriving)
    return [results[i] for i in range(len(items))]


def completed(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    *,
    workers: int | None = None,
    scheduler: str = "",
    preload: Sequence[str] = (),
    prepare: Callable[[Any], None] = lambda client: None,
    progress: Callable[[Progress], None] = lambda one: None,
) -> Generator[tuple[int, Any], None, None]:
    """Position and result of each item as it is done; a :class:`Failure` in place of the result where it raised.

    ``workers`` processes of this machine share the items (by default one a core); a single one is this process itself.
    With a ``scheduler``, the address (``tcp://…``) or scheduler file (``….json``) of a Dask cluster, its workers do. A
    worker that dies is replaced and its item given out again, to :data:`ATTEMPTS` workers at most; a scheduler that is
    lost is waited for, and gets all that is not done yet. ``preload`` names modules that the processes of this machine
    import once for all; ``prepare`` is given the client before anything is computed. Closing the iterator, or Ctrl-C,
    ends these processes at once; a cluster's workers finish what they have in hand. Raises ValueError: ``workers`` is
    not positive; OSError: no scheduler answers, or one that was lost has not come back within :data:`PATIENCE` seconds.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    count, todo = min(workers or cores(), len(items)), dict(enumerate(items))
    connect = partial(_remote, scheduler) if scheduler else partial(_local, count, preload) if count > 1 else None
    began, failed = time.monotonic(), 0
    with closing(_results(function, todo, connect, prepare)) as arriving:
        for i, result, threads in arriving:
            if i is not None:
                del todo[i]
                failed += isinstance(result, Failure)
            done = len(items) - len(todo)
            left = (time.monotonic() - began) / done * len(todo) if done else math.nan
            progress(Progress(done, min(threads, len(todo)), failed, len(items), left))
            if i is not None:
                yield i, result


def _results(
    function: Any, todo: dict[int, Any], connect: Any, prepare: Any
) -> Generator[tuple[int | None, Any, int], None, None]:
    """Position (at the start none), result and number of threads; the caller strikes off ``todo`` what is done."""
    if connect is None:
        yield None, None, 1
        yield from ((i, _attempt(function, item), 1) for i, item in list(todo.items()))
        return
    from distributed import as_completed

    for name in ("distributed", "distributed.client"):  # what is lost is dealt with here
        logging.getLogger(name).setLevel(logging.CRITICAL)
    patience, work = 0.0, partial(_attempt, function, dumps=pickle.dumps)
    while todo:
        with connect(patience) as client:
            prepare(client)
            futures = client.map(work, list(todo.values()), pure=False, key="wtal")
            position = dict(zip((future.key for future in futures), list(todo), strict=True))
            threads, asked = sum(client.nthreads().values()), time.monotonic()
            yield None, None, threads
            for future in as_completed(futures, loop=client.loop):
                try:
                    if time.monotonic() - asked > 1:
                        threads, asked = sum(client.nthreads().values()), time.monotonic()
                    result = future.result()
                except Exception as error:
                    if isinstance(error, LOST) or type(error).__name__ == "NoWorkerError":
                        continue  # with the cluster; its successor gets all that is left
                    result = _failure(error)  # its workers died, or cannot import the function
                future.release()
                result = pickle.loads(result) if isinstance(result, bytes) else result  # noqa: S301 - our own
                yield position[future.key], result, threads
        patience = PATIENCE


def _attempt(function: Callable[[Any], Any], item: Any, dumps: Callable[[Any], Any] = lambda result: result) -> Any:
    try:
        return dumps(function(item))
    except Exception as error:  # whatever it is, the other items go on
        return _failure(error)


def _failure(error: Exception) -> Failure:
    text = f"{type(error).__name__}: {error}"
    if times := getattr(error, "allowed_failures", None):  # Dask's KilledWorker
        text = f"ChildProcessError: its process ended {times + 1} times; the system does that when memory runs out"
    return Failure(" ".join(text.split()), "".join(traceback.format_exception(error)))


@contextmanager
def _local(workers: int, preload: Sequence[str], patience: float) -> Iterator[Any]:
    """A client of ``workers`` new processes of this machine, which end with the block."""
    import dask
    from distributed import Client, LocalCluster
    from distributed.utils import get_mp_context

    options: dict[str, Any] = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": logging.CRITICAL}
    # no dashboard, and no warning where its usual port is taken
    options |= {"dashboard_address": None, "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"}}

    def start(attempts: int = ATTEMPTS) -> LocalCluster:
        get_mp_context().set_forkserver_preload(["__main__", "distributed", *preload])  # heeded once in a program
        with patch.dict(os.environ):  # Dask sets the workers' variables here first
            try:
                return LocalCluster(n_workers=workers, **options)
            except RuntimeError:  # a worker was killed before it was ready
                if attempts == 1:
                    raise
        return start(attempts - 1)

    with dask.config.set(LOCAL), ThreadPoolExecutor(1) as thread:
        starting = thread.submit(start)  # Ctrl-C does not stop a thread half-way
        try:
            with Client(starting.result(), set_as_default=False) as client:
                yield client
        finally:
            for nanny in starting.result().workers.values():
                starting.result().sync(_end, nanny)
            starting.result().close()


async def _end(nanny: Any, patience: float = 10.0) -> None:
    """Kill the process of a nanny, which is to start no other; one that is about to start cannot be ended before."""
    nanny.close_gracefully()
    end = time.monotonic() + patience
    await asyncio.sleep(0.01)  # a start that has been decided on begins
    while (begun := nanny.process) and begun.status.name in ("init", "starting") and not nanny.pid:
        if time.monotonic() > end:
            return
        await asyncio.sleep(0.01)
    with suppress(OSError):
        os.kill(nanny.pid, getattr(signal, "SIGKILL", signal.SIGTERM)) if nanny.pid else None


def _remote(scheduler: str, patience: float) -> Any:
    """A client of a running scheduler, which is waited for as long as ``patience`` lasts, seconds."""
    from distributed import Client

    end, kind = time.monotonic() + patience, "scheduler_file" if scheduler.endswith(".json") else "address"
    while True:
        try:
            return Client(**{kind: scheduler}, set_as_default=False)
        except LOST as error:
            if time.monotonic() >= end:
                raise ConnectionError(
                    f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` and workers"
                    f" with `dask worker {scheduler} --nthreads 1 --nworkers N`, or leave the scheduler out"
                ) from error
            time.sleep(1)
