"""Reading ahead: threads fill a short queue while the caller works on what is there."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

S = TypeVar("S")


def read_ahead(sources: Iterable[S], read: Callable[[S], Iterator[Any]], workers: int) -> Iterator[tuple[S, Any]]:
    """Each source with each item that ``read`` gives of it, and with the exception it ends with, if it does.

    Items come in the order of their source; those of several sources, read by several threads, are mixed. The queue
    between is short (two items a thread), so memory does not grow with the number of items. Closing the iterator ends
    the threads.
    """
    todo, ready, stop = deque(sources), queue.Queue[tuple[S, Any] | None](2 * workers), threading.Event()

    def put(item: tuple[S, Any] | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                return ready.put(item, timeout=0.1)
        return None

    def work() -> None:
        while todo and not stop.is_set():
            try:
                source = todo.popleft()
            except IndexError:  # another thread was faster
                break
            try:
                for item in read(source):
                    put((source, item))
                    if stop.is_set():
                        break
            except Exception as error:  # whatever a stranger's file provokes, the other videos go on
                put((source, error))
        put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            while (item := ready.get()) is not None:
                yield item
    finally:
        stop.set()
        for thread in threads:
            thread.join()
