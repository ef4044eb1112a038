"""Opens a notebook: parameters checked, generators seeded, data found; then keeps its results, claims and record.

``study = open_study("01_data", globals())`` is a notebook's first call. Results are held in memory until
:meth:`Study.close`, which writes them all: a notebook that fails on the way leaves the last good results as they were.
"""

from __future__ import annotations

import contextlib
import html
import io
import json
import os
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, cast

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import PlaceHolderLayoutEngine

from wtal_lib.data.datasets import DATASETS, get_dataset
from wtal_lib.data.features import marked
from wtal_lib.data.files import replacing
from wtal_lib.figures.draw import stamped, theme
from wtal_lib.runs import records
from wtal_lib.runs.sources import Data, Spec, open_data
from wtal_lib.runs.store import Store
from wtal_lib.settings import sha256, to_dict
from wtal_lib.studies import gallery
from wtal_lib.studies.cells import as_module
from wtal_lib.studies.parameters import PARAMETERS, check_parameters
from wtal_lib.studies.shown import Closed, Table, as_markdown, verdict

RestsOn = Literal["features", "annotations", "detections", "given"]
"""What a result is made from: features and annotations; annotations alone; a given file of detections and the
annotations that score it; or neither, as published scores and a user's videos"""


CI = "Profile ci: so little is trained that no number below means anything; the answer above is about profile quick."
"What stands at the head of a notebook that is run to see that it runs"


@dataclass(frozen=True, eq=False, kw_only=True)
class Study(Data):
    """An open notebook: its data, and the results it keeps. Made by :func:`open_study`."""

    name: str
    parameters: dict[str, Any]
    spec: Spec
    "where the data come from, for the runs of a sweep"
    root: Path
    folder: Path
    "where results go: results/<source>/<dataset>/<name>, the source being one of :data:`gallery.SOURCES`"
    started: float
    "of the monotonic clock, seconds"
    claims: dict[str, bool] = field(default_factory=dict)
    "each claim, and whether it holds"
    broken: set[str] = field(default_factory=set)
    "the claims among them without which there is no result"
    files: dict[str, tuple[bytes, RestsOn]] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        """The seeds that were asked for; one run each."""
        return list(self.parameters["seeds"])

    @property
    def runs(self) -> Store:
        """The store of the runs that all notebooks on these data and `wtal sweep` share."""
        return replace(Store.below(self.folder.parents[2], self.place, self.dataset), lasting=True)

    def simulated_parts(self, rests_on: RestsOn = "features") -> str:
        """What is simulated in a result; empty when nothing is."""
        if rests_on == "features" and self.source == "simulated":
            return "simulated features" + ("" if self.structure == "real" else " and annotations")
        own = rests_on in ("features", "annotations") and self.structure == "simulated"
        return "simulated annotations" if own else ""

    def stamp(self, rests_on: RestsOn = "features") -> str:
        """The line below every figure and table: dataset, profile and seeds, protocol of scores, what is simulated."""
        seeds = f"seed{'s' * (len(self.seeds) > 1)} {', '.join(map(str, self.seeds))}"
        run = [f"profile {self.parameters['profile']}", seeds] if rests_on == "features" else []
        scored = [self.protocol_name] if rests_on in ("features", "detections") else []
        theirs = [f"detections of {self.parameters.get('whose') or 'another method'}"] * (rests_on == "detections")
        simulated = self.simulated_parts(rests_on).replace("simulated", "SIMULATED")
        return " · ".join(one for one in [self.known.title, *run, *scored, *theirs, simulated] if one)

    def figure(
        self, name: str, drawn: Figure | Axes | Sequence[Axes], data: pd.DataFrame, rests_on: RestsOn = "features"
    ) -> None:
        """Keep a figure, or that of some axes, as PNG and SVG and the data behind it as CSV.

        Its stamp stands below, and small within the largest axes, so that no cropping takes it away; simulated results
        have a watermark over the data. Equal figures give equal bytes.
        """
        first = drawn[0] if isinstance(drawn, Sequence) else drawn
        figure = cast(Figure, first.figure)
        if all(ax.get_subplotspec() is None for ax in figure.axes):  # placed by hand: no engine may move them
            figure.set_layout_engine(PlaceHolderLayoutEngine(adjust_compatible=True, colorbar_gridspec=True))
        below: dict[str, Any] = {"fontsize": 6.5, "color": "0.4", "style": "italic"}
        figure.supxlabel(self.stamp(rests_on), x=0.995, ha="right", wrap=True, **below)
        figure.draw_without_rendering()  # settles how large the axes are
        stamped(figure, self.stamp(rests_on), "SIMULATED" if self.simulated_parts(rests_on) else "")
        with mpl.rc_context({"svg.hashsalt": name}):
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
                held = io.BytesIO()
                figure.savefig(held, format=kind, dpi=200, metadata=metadata)
                self._keep(f"{name}.{kind}", held.getvalue(), rests_on)
        self._keep(f"{name}.csv", data.to_csv(index=False, float_format="%.6g"), rests_on)

    def table(
        self, name: str, frame: pd.DataFrame, caption: str = "", rests_on: RestsOn = "features", digits: int = 6
    ) -> pd.DataFrame:
        """The frame to ``digits`` decimals, shown with its stamp; kept unrounded as CSV, and as Markdown."""
        stamp, header = self.stamp(rests_on), f"{caption.rstrip('.')}.\n\n" if caption else ""
        self._keep(f"{name}.csv", frame.to_csv(index=False, float_format="%.6g"), rests_on)
        self._keep(f"{name}.md", f"{header}{as_markdown(frame)}\n<sub>{stamp}</sub>\n", rests_on)
        shown = Table(frame.round(digits))
        shown.stamp = stamp
        return shown

    def use(self, part: Any) -> str:
        """The name (``module:attribute``) in a config of a class or function of a cell, which becomes a module.

        The module is kept beside the results. ValueError: as :func:`wtal_lib.studies.cells.as_module`.
        """
        name, text = as_module(part, records.cache_root() / "own" / self.name)
        if text:
            self._keep(f"{name.partition(':')[0]}.py", text, "given")
        return name

    def check(self, claim: str, holds: bool) -> None:
        """Record a claim that must hold on a built-in dataset; AssertionError otherwise, which leaves results in place.

        On somebody's own dataset either answer is a result.
        """
        self.shows(claim, holds)
        self.broken.discard(claim)
        if not holds and not self.known.path:
            self.broken.add(claim)
            raise AssertionError(f"a claim of this notebook does not hold on these data: {claim}")

    def shows(self, claim: str, holds: bool) -> None:
        """Record, and say, whether an experiment supports a claim: either answer is a result."""
        self.claims[claim] = bool(holds)
        verdict(claim, bool(holds))

    def close(self) -> Closed:
        """Write the results and ``record.json`` into the study's folder, and return a line that sums them up.

        In a notebook the figures' thumbnails and the tables stand below it as links.

        Files that an earlier run of this notebook wrote and this one did not are removed. Raises AssertionError: a
        checked claim does not hold, and no file is written; OSError: a file cannot be written, as on a full disk, and
        each file is whole, old or new.
        """
        for claim in sorted(self.broken):
            self.check(claim, False)
        record, path, stale = self.record(), self.folder / "record.json", set[str]()
        with contextlib.suppress(OSError, ValueError):
            stale = set(records.read_record(path)["files"]) - set(self.files)
        contents = {name: content for name, (content, _) in self.files.items()}
        for name, content in {**contents, path.name: (json.dumps(record, indent=1) + "\n").encode()}.items():
            with replacing(self.folder / name) as file:
                file.write(content)
        for name in (name for name in stale if re.fullmatch(r"\w+\.(png|svg|csv|md|py)", name)):
            (self.folder / name).unlink(missing_ok=True)
        gallery.write(self.folder.parents[2], self.root / "notebooks")
        self.runs.tidy()
        against = [f"; does not hold on these data: {claim}" for claim, holds in self.claims.items() if not holds]
        said = (
            f"{sum(self.claims.values())} of {len(self.claims)} claims hold; {len(self.files)} files and record.json in"
            f" {self._shown(self.folder)}; {record['wall_seconds']:.0f} s, at most {record['peak_memory_mib']:.0f} MiB"
            + "".join(against)
        )
        return Closed(said, str(self._shown(self.folder)), tuple(self.files))

    def record(self) -> dict[str, Any]:
        """Everything a reader needs to trust the results or make them again, as JSON values."""
        data: dict[str, Any] = {}
        for kind, mark in self.fingerprint.items():
            found = getattr(self, kind)
            data[kind] = {"layout": found.layout, "path": self._shown(found.path), "fingerprint": mark}
            if kind == "annotations":
                data[kind]["videos"] = len(found.videos)
            else:
                size = {"videos": len(found), "width": found.width, "fps": found.grid.fps, "stride": found.grid.stride}
                data[kind] |= size
        given = {name: Path(self.parameters[name]) for name in ("data_root", "results")}
        folders = {name: str(self._shown(path)) for name, path in given.items() if path.is_absolute()}
        return {
            "study": self.name,
            "parameters": {**self.parameters, **folders},
            "source": self.source,
            "structure": self.structure,
            "data": {**data, "missing": sorted(self.missing)},
            "simulator": to_dict(self.world.config) if self.world else None,
            "method": records.METHOD,
            "notebook": gallery.code_mark(self.root / "notebooks" / f"{self.name}.ipynb"),
            **records.made(self.root, self.started),
            "claims": [{"claim": claim, "holds": holds} for claim, holds in self.claims.items()],
            "files": {
                name: {"sha256": sha256(content), "simulated": self.simulated_parts(rests_on)}
                for name, (content, rests_on) in sorted(self.files.items())
            },
        }

    def __repr__(self) -> str:
        found = self.annotations
        sizes = f"{len(found.videos)} videos, {len(found.classes)} classes"
        lines = [
            f"{self.name} on {self.dataset}, profile {self.parameters['profile']}, seeds {self.seeds}",
            f"annotations   {self.structure}, layout {found.layout}: {sizes}",
        ]
        for pack in (pack for pack in (self.cbp, self.vlp) if pack):
            kind = "simulated" if marked(pack) else "real"
            shape = f"{len(pack)} videos, width {pack.width}, {pack.grid.step:g} s a snippet"
            lines += [f"{pack.kind.upper()} features  {kind}, layout {pack.layout}: {shape}"]
        lines.append(f"results       {self._shown(self.folder)}")
        return "\n".join([CI, *lines] if self.parameters["profile"] == "ci" else lines)

    def _repr_html_(self) -> str:
        banner = f'<p style="border-left:4px solid #B00020;padding:.5em"><b>{CI}</b></p>'
        text = html.escape(repr(self).removeprefix(CI).lstrip())
        return (banner if self.parameters["profile"] == "ci" else "") + f"<pre>{text}</pre>"

    def _keep(self, name: str, content: bytes | str, rests_on: RestsOn) -> None:
        if not re.fullmatch(r"\w+\.\w+", name):
            raise ValueError(f"a result is named by letters, digits and underscores, got {name!r}")
        self.files[name] = (content.encode() if isinstance(content, str) else content, rests_on)

    def _shown(self, path: Path | None) -> str | None:
        """A path relative to the root, which tells no reader about this machine."""
        return None if path is None else Path(os.path.relpath(path, self.root)).as_posix()


def open_study(
    name: str,
    given: Mapping[str, Any],
    *,
    needs: Sequence[str] = ("cbp", "vlp"),
    extra: Mapping[str, tuple[Any, Any]] | None = None,
    place: str = "",
) -> Study:
    """The study of a notebook whose parameters are among ``given``, usually its ``globals()``.

    ``needs`` names the packs without which everything is simulated; ``extra`` adds parameters to :data:`PARAMETERS`,
    each with kind and default. ``place``, of :data:`gallery.SOURCES`, is where results go that do not rest on the data.
    Raises ValueError: a parameter that is unknown (the nearest known one is offered) or has a wrong value, or broken
    data; FileNotFoundError: ``source`` is real and something needed is missing, or ``data_root`` does not exist;
    PermissionError: results cannot be written.

    >>> study = open_study("my_question", {"profile": "ci", "source": "simulated", "results": "out"})
    >>> study.seeds, study.source
    ([0], 'simulated')
    """
    started = time.monotonic()
    parameters = check_parameters(given, {**PARAMETERS, **(extra or {})})
    random.seed(parameters["seeds"][0])
    np.random.seed(parameters["seeds"][0])  # noqa: NPY002 - what a notebook's own cells may draw from
    root = records.project_root()
    own = parameters["dataset"] not in DATASETS and records.seen_from(parameters["dataset"], root)
    known = get_dataset(own if own and own.exists() else parameters["dataset"])
    dataset = parameters["dataset"] = known.name
    given_root = parameters["data_root"] and records.seen_from(parameters["data_root"], root)
    rate = {name: parameters.pop(name) for name in ("fps", "stride", "kind")}
    spec = Spec(known.given, parameters["source"], str(given_root or ""), parameters["profile"], **rate)
    parameters |= rate if spec.grid else {}
    data = open_data(spec, needs)
    results = records.seen_from(parameters["results"], root) if parameters["results"] else root / "results"
    folder = results / (place or data.place) / dataset / name
    records.require_writable(folder)
    theme()
    held = {item.name: getattr(data, item.name) for item in fields(data)}
    return Study(**held, name=name, parameters=parameters, spec=spec, root=root, folder=folder, started=started)
