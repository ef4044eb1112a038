"""What a notebook shows: how far a cell is, tables with their stamp, and the last line with thumbnails and links."""

from __future__ import annotations

import html
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pandas as pd
from IPython import get_ipython
from IPython.display import display

from wtal_lib.parallel import duration
from wtal_lib.runs.records import project_root

EVERY = 15.0
"seconds between two lines at the terminal, at most"


class Closed(str):
    """What :meth:`Study.close` says; in a notebook with thumbnails of the figures and links to the tables."""

    folder: str
    files: tuple[str, ...]

    def __new__(cls, said: str, folder: str, files: tuple[str, ...]) -> Closed:
        """``folder`` of the results, seen from the project's root, and the ``files`` in it."""
        closed = super().__new__(cls, said)
        closed.folder, closed.files = folder, files
        return closed

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Text and page, and the folder, from which :func:`wtal_lib.studies.book.keep` knows where they belong."""
        seen = Path(os.path.relpath(project_root() / self.folder)).as_posix()  # from where the notebook runs
        size = 'style="height:5em;margin:0 .4em .4em 0"'
        of = {kind: [name for name in self.files if name.endswith(kind)] for kind in (".png", ".md")}
        links = [f'<a href="{seen}/{name}"><img {size} src="{seen}/{name}" alt="{name}"></a>' for name in of[".png"]]
        links += [f'<a href="{seen}/{name}">{name}</a>' for name in (*of[".md"], "record.json")]
        page = f"<p>{html.escape(self)}</p><p>{' '.join(links)}</p>"
        return {"text/plain": str(self), "text/html": page}, {"wtal": {"folder": self.folder, "seen": seen}}


def verdict(claim: str, holds: bool) -> None:
    """Show in a notebook, where the claim is examined, whether it holds."""
    if get_ipython() is not None:
        display({"text/markdown": f"**{'Holds' if holds else 'Does not hold'}:** {claim}"}, raw=True)


class Table(pd.DataFrame):
    """A frame that a notebook shows for readers: plain names, empty cells for nan, no index, its stamp under it."""

    stamp: str = ""

    def _repr_html_(self) -> str:
        page = plain(self).to_html(index=False, na_rep="", notebook=True)
        return f"{page}<small>{html.escape(self.stamp)}</small>"


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame in a reader's words: ``late fusion`` for ``late_fusion``, yes or nothing for a truth, 2023 for a year."""
    words = {name: frame[name].map({True: "yes", False: ""}) for name in frame.select_dtypes("bool")}
    words |= {name: frame[name].astype(str) for name in frame if name == "year"}
    frame = pd.DataFrame(frame).assign(**words).rename(columns=lambda name: str(name).replace("_", " "))
    return frame.replace(r"^([a-z]+)_([a-z]+)$", r"\1 \2", regex=True)


def as_markdown(frame: pd.DataFrame) -> str:
    """A frame as a GitHub table without its index, numbers to three significant places."""
    frame = plain(frame)
    large = [name for name, most in frame.select_dtypes("float").abs().max().items() if most >= 1000]
    frame = frame.assign(**{str(name): frame[name].round().astype("Int64") for name in large})
    cells = frame.astype(object).where(frame.notna(), None).replace(r"\|", r"\\|", regex=True)
    words = [at for at, kind in enumerate(frame.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    return cells.to_markdown(index=False, floatfmt=".3g", intfmt=",", missingval="", disable_numparse=words) + "\n"


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
