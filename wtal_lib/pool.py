"""Processes of this machine that share a list of items, each with one in hand; one that is killed is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

S = TypeVar("S")
R = TypeVar("R")

START = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"how processes start: as forks of a server that has imported what they need, in 20 ms and free of the caller's threads"

ATTEMPTS = 3
"times that an item is given out whose process is ended from outside, before it is taken to be the cause; Dask's number"

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"set to 1 for processes started here, where they are not set: as many processes as cores, and none waits for another"


class Failure(NamedTuple):
    """What stands in a result's place."""

    error: str
    "kind and message of the exception, in a line"
    traceback: str


Arriving = Generator[tuple[int, Any, int], None, None]
"position, result, and how many are running after it"


def attempted(function: Callable[[S], R], item: S) -> R | Failure:
    """What ``function`` returns of an item, or the failure that it ended in."""
    try:
        return function(item)
    except Exception as error:  # whatever it is, the other items go on
        return Failure(line(error), traceback.format_exc())


def line(error: BaseException) -> str:
    """Kind and message of an exception, in a line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def on_this_machine(
    function: Callable[[S], R],
    items: Sequence[S],
    workers: int,
    preload: Sequence[str],
    tell: Callable[[int], None],
) -> Arriving:
    """By processes of this machine, each of which holds one item at a time; ``preload`` names modules they need."""
    context: Any = multiprocessing.get_context(START)
    if START == "forkserver":
        context.set_forkserver_preload(["__main__", *preload])  # heeded by the first call of a program
    todo, tries = deque(range(len(items))), Counter[int]()
    crew: dict[Connection, Any] = {}
    busy: dict[Connection, int] = {}
    told = 0
    try:
        while todo or busy:
            while todo and len(busy) < workers:
                pipe = next((one for one in crew if one not in busy), None) or _hired(context, function, crew)
                with suppress(OSError):  # one that was ended while idle: found out below
                    pipe.send(items[todo[0]])
                busy[pipe] = todo.popleft()
            if len(busy) != told:
                told = len(busy)
                tell(told)
            for ready in wait(list(busy)):
                pipe = ready  # type: ignore[assignment]
                index = busy.pop(pipe)
                try:
                    result = pipe.recv()
                except (EOFError, OSError):
                    tries[index] += 1
                    if tries[index] < ATTEMPTS:
                        todo.appendleft(index)
                    result = _ended(crew.pop(pipe), tries[index])
                    if tries[index] < ATTEMPTS:
                        continue
                told = min(workers, len(busy) + len(todo))
                yield index, result, told
    finally:
        for process in crew.values():
            process.kill()
        for process in crew.values():
            process.join()


def _hired(context: Any, function: Callable[[S], R], crew: dict[Connection, Any]) -> Connection:
    """A new process's end of the pipe, under which it stands in ``crew``."""
    ours, its = context.Pipe()
    process = context.Process(target=_work, args=(function, its), daemon=True)
    with _one_thread():
        process.start()
    its.close()  # so that its end alone holds the pipe open, and reading ends when it does
    crew[ours] = process
    return ours


@contextmanager
def _one_thread() -> Iterator[None]:
    """A block in which new processes get one thread each, where the environment does not say otherwise."""
    missing = [name for name in ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]


def _ended(process: Any, times: int) -> Failure:
    process.join()
    how = f"signal {-process.exitcode}" if process.exitcode < 0 else f"exit status {process.exitcode}"
    why = "; signal 9 is what the system sends when memory runs out" if process.exitcode == -9 else ""
    return Failure(f"ChildProcessError: its process was ended {times} times, the last time with {how}{why}", "")


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """The life of a process: items in, results out, until there are no more or whoever started it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the one who asked decides
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            result = attempted(function, pipe.recv())
            try:
                pipe.send(result)
            except (TypeError, AttributeError, ValueError) as error:
                pipe.send(Failure(line(error), traceback.format_exc()))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A block that Ctrl-C ends only after it is through, for what must not be left half-done, such as an import."""
    if threading.current_thread() is not threading.main_thread():  # where Ctrl-C does not arrive
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pressed:
            signal.raise_signal(signal.SIGINT)
