"""Progress of a notebook's cell: a bar in the notebook while it runs, and lines at the terminal behind it."""

from __future__ import annotations

import html
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from IPython import get_ipython
from IPython.display import display

from wtal_lib.parallel import duration

EVERY = 15.0
"seconds between two lines at the terminal, at most"


def live() -> Callable[[object], None]:
    """A callback that shows how far a cell is ("3 of 4 done"); quiet outside a notebook.

    The bar moves between calls too, by the time that an item took so far. It goes when the cell has ended, so that no
    saved notebook holds it. JupyterLab's terminal and papermill's get a line at least every :data:`EVERY` seconds.
    """
    shell = get_ipython()
    return (lambda line: None) if shell is None else _Live(shell)


class _Live:
    def __init__(self, shell: Any) -> None:
        self.shell, self.lock, self.ended = shell, threading.Lock(), threading.Event()
        self.began, self.said, self.handle = time.monotonic(), -EVERY, cast(Any, None)
        self.text, self.done, self.total, self.last = "", 0, 0, self.began

    def __call__(self, line: object) -> None:
        self.text, count = str(line), re.search(r"(\d+) of (\d+)", str(line))
        done, self.total = map(int, count.groups()) if count else (0, 0)
        self.last = time.monotonic() if done != self.done else self.last
        self.done = done
        if self.handle is None:
            self.handle = display({"text/html": ""}, raw=True, display_id=True)
            self.shell.events.register("post_run_cell", self._end)
            threading.Thread(target=self._tick, daemon=True).start()
        self._show()

    def _tick(self) -> None:
        while not self.ended.wait(1):
            self._show()

    def _show(self) -> None:
        now = time.monotonic()
        with self.lock:
            if self.ended.is_set() or self.handle is None:
                return
            text = f"{self.text} ({duration(now - self.began)} so far)"
            over = 0 < self.total == self.done
            if now - self.said >= EVERY - 1 or (over and self.said < self.last):
                to_terminal(text)
                self.said = math.inf if over else now
            bar = f"<progress {self._share(now)}></progress>" if self.total else ""
            # html alone: papermill logs whatever has a plain text
            self.handle.update({"text/html": f"<div>{bar} <small>{html.escape(text)}</small></div>"}, raw=True)

    def _share(self, now: float) -> str:
        """The attributes of the bar: none, and it swings, until there is something to go by."""
        if not self.done:
            return ""
        each = (self.last - self.began) / self.done
        within = min(0.9, (now - self.last) / each) if each else 0.0
        return f'value="{min(self.total, self.done + within):.2f}" max="{self.total}"'

    def _end(self, *_: object) -> None:
        with self.lock:
            self.ended.set()
            self.shell.events.unregister("post_run_cell", self._end)
            self.handle.update({"text/html": ""}, raw=True)


def to_terminal(line: str) -> None:
    """Write a line to the terminal, or log, of what started the kernel; it does not become an output of the cell."""
    descriptor = getattr(sys.stderr, "_original_stdstream_copy", None)  # ipykernel's own way past what it captures
    os.write(2 if descriptor is None else descriptor, f"\n{line}\n".encode())
