"""What a notebook shows of its results: tables with their stamp, and the last line with thumbnails and links."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

import pandas as pd
from IPython import get_ipython
from IPython.display import display

from wtal_lib.runs.records import project_root


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
