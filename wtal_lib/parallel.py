"""A function over items, on the cores of this machine or on a Dask cluster: what fails is reported, the rest goes on.

The function and its items travel by pickle and must be importable where they arrive; large data does not travel: items
say where it lies. Functions that keep what they have done on disk lose nothing when they are ended half-way.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, suppress
from typing import Any, NamedTuple, TypeVar

from wtal_lib.pool import Arriving, Failure, attempted, line, on_this_machine

S = TypeVar("S")
R = TypeVar("R")

PATIENCE = 600.0
"seconds in which a scheduler that was lost may come back"


class Progress(NamedTuple):
    """How far all items are; as text, a line."""

    done: int
    "finished ones, the failed among them"
    running: int
    failed: int
    total: int
    left: float
    "seconds to go at the pace so far; nan before the first one is done"

    def __str__(self) -> str:
        minutes = "" if math.isnan(self.left) or self.done == self.total else f", {duration(self.left)} left"
        return f"{self.done} of {self.total} done, {self.running} running, {self.failed} failed{minutes}"


def duration(seconds: float) -> str:
    """A time to wait, as people say it: 40 s, 12 min, 3.4 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def cores() -> int:
    """Processors that this process may use: the machine's, or fewer by affinity or a container's quota."""
    from dask.system import CPU_COUNT

    return int(CPU_COUNT)


def mapped(
    function: Callable[[S], R],
    items: Sequence[S],
    *,
    workers: int | None = None,
    scheduler: str = "",
    preload: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> list[R | Failure]:
    """What ``function`` returns of each item, in their order; a :class:`Failure` where it raised.

    Arguments and errors as of :func:`completed`.
    """
    results: dict[int, R | Failure] = {}
    options: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "preload": preload, "progress": progress}
    with closing(completed(function, items, **options)) as arriving:
        results.update(arriving)
    return [results[i] for i in range(len(items))]


def completed(
    function: Callable[[S], R],
    items: Sequence[S],
    *,
    workers: int | None = None,
    scheduler: str = "",
    preload: Sequence[str] = (),
    progress: Callable[[Progress], None] | None = None,
) -> Generator[tuple[int, R | Failure], None, None]:
    """Position and result of each item as it is done; a :class:`Failure` in place of the result where it raised.

    On this machine ``workers`` processes share the items (by default one a core); a single one is this process itself.
    With a ``scheduler``, the address (``tcp://…``) or scheduler file (``….json``) of a Dask cluster, its workers do. A
    process that is ended from outside is replaced and its item given out again, :data:`ATTEMPTS` times at most; a
    scheduler that is lost is waited for, and gets all that is not done yet. ``preload`` names modules that processes of
    this machine share instead of importing each its own. Closing the iterator, or Ctrl-C, ends the
    processes of this machine at once; a cluster's workers finish what they have in hand.

    Raises:
        ValueError: ``workers`` is not positive.
        OSError: no scheduler answers, or one that was lost has not come back within :data:`PATIENCE` seconds.
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    count = min(workers or cores(), len(items))
    began, done, failed = time.monotonic(), 0, 0

    def tell(running: int) -> None:
        if progress is not None:
            left = (time.monotonic() - began) / done * (len(items) - done) if done else math.nan
            progress(Progress(done, running, failed, len(items), left))

    if scheduler:
        arriving = _on_cluster(function, items, scheduler, tell)
    else:
        arriving = (
            _here(function, items, tell) if count <= 1 else on_this_machine(function, items, count, preload, tell)
        )
    with closing(arriving):
        for index, result, running in arriving:
            done, failed = done + 1, failed + isinstance(result, Failure)
            tell(running)
            yield index, result


def _here(function: Callable[[S], R], items: Sequence[S], tell: Callable[[int], None]) -> Arriving:
    """One after the other, in this process."""
    tell(1 if items else 0)
    for i, item in enumerate(items):
        yield i, attempted(function, item), int(i + 1 < len(items))


def _on_cluster(
    function: Callable[[S], R], items: Sequence[S], scheduler: str, tell: Callable[[int], None]
) -> Arriving:
    """By the workers of a Dask cluster; what a lost scheduler leaves undone is handed to its successor."""
    from distributed import as_completed

    todo, patience = dict(enumerate(items)), 0.0
    while todo:
        with closing(_client(scheduler, patience)) as client:
            futures = client.map(attempted, [function] * len(todo), list(todo.values()), pure=False, key="wtal")
            position = dict(zip((future.key for future in futures), list(todo), strict=True))
            threads, asked = _threads(client), time.monotonic()
            tell(min(threads, len(todo)))
            for future in as_completed(futures, loop=client.loop):
                if future.status in ("cancelled", "lost"):  # with the scheduler
                    continue
                try:
                    result = future.result()
                except LOST:
                    continue
                except Exception as error:  # its workers were killed, or cannot import the function
                    result = Failure(line(error), "".join(traceback.format_exception(error)))
                index = position[future.key]
                del todo[index]
                future.release()
                if time.monotonic() - asked > 1:
                    threads, asked = _threads(client), time.monotonic()
                yield index, result, min(threads, len(todo))
        patience = PATIENCE


LOST = (CancelledError, OSError, asyncio.TimeoutError)
"what a client raises whose scheduler is gone"


def _threads(client: Any) -> int:
    """How many items a cluster works on at once; 0 when it does not say."""
    with suppress(*LOST):
        return int(sum(client.nthreads().values()))
    return 0


def _client(scheduler: str, patience: float) -> Any:
    """A client of the scheduler, which is waited for as long as patience lasts, seconds.

    Raises:
        OSError: no scheduler answers.
    """
    from distributed import Client

    # a lost scheduler is dealt with here, and no reason to fill a notebook with tracebacks
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    where = "scheduler_file" if scheduler.endswith(".json") else "address"
    end = time.monotonic() + patience
    while True:
        try:
            return Client(**{where: scheduler}, set_as_default=False)
        except LOST as error:
            if time.monotonic() >= end:
                raise ConnectionError(
                    f"no Dask scheduler answers at {scheduler} ({error}); start one with `dask scheduler` and workers"
                    f" with `dask worker {scheduler} --nthreads 1 --nworkers N`, or leave the scheduler out"
                ) from error
            time.sleep(1)
