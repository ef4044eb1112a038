"""What lives in a notebook's front end: a line of progress, and an explorer of single videos.

In a log both are quiet. Where there is no front end the explorer is the picture it opens with.
"""

from __future__ import annotations

import html
import io
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import ipywidgets
import numpy as np
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from wtal_lib.data.segments import Detections, Grid, overlap, tiou
from wtal_lib.figures.style import FULL_WIDTH, timeline
from wtal_lib.method.config import Localize
from wtal_lib.method.localize import VideoScores, localize

BranchScores = Mapping[str, Mapping[str, VideoScores]]
"by branch, then by video"


def live(every: float = 0.3) -> Callable[[object], None]:
    """A callback that shows what it is called with in one line of a notebook, rewritten in place; quiet elsewhere.

    At most one line every so many seconds is shown; a line that says how many of how many also gets a bar.
    """
    shown: dict[str, Any] = {"at": -1e9, "handle": None}

    def show(line: object) -> None:
        text, now = str(line), time.monotonic()
        counted = re.match(r"(\d+) of (\d+)|.* phase (\d+) of (\d+)$", text)
        done, total = ([int(one) for one in counted.groups() if one] if counted else (0, 0))[:2]
        if get_ipython() is None or (now - shown["at"] < every and done < total):
            return
        bar = f'<progress value="{done}" max="{total}"></progress> ' if total else ""
        # html alone: papermill logs whatever has a plain text
        bundle = {"text/html": f"<div>{bar}<small>{html.escape(text)}</small></div>"}
        if shown["handle"] is None:
            shown["handle"] = display(bundle, raw=True, display_id=True)
        else:
            shown["handle"].update(bundle, raw=True)
        shown["at"] = now

    return show


class Explorer:
    """Some videos under a choice of cut levels: sequences, detections and how well they fit, redrawn as knobs move.

    ``widgets`` holds the knobs by name; :meth:`picture` is what they now show, as PNG.
    """

    def __init__(
        self,
        scores: BranchScores,
        truth: Mapping[str, Mapping[str, np.ndarray]],
        grid: Grid,
        classes: tuple[str, ...],
        config: Localize,
    ) -> None:
        """``truth`` holds the segments (m, 2), seconds, by video and class; its first video is shown first."""
        self.scores, self.truth, self.grid, self.classes, self.config = scores, truth, grid, classes, config
        first = next(iter(truth))
        style = {"description_width": "11em"}
        wide: dict[str, Any] = {"style": style, "layout": {"width": "28em"}, "continuous_update": False}
        self.widgets: dict[str, Any] = {
            "video": ipywidgets.Dropdown(options=list(truth), value=first, description="video", style=style),
            "label": ipywidgets.Dropdown(options=list(truth[first]), description="class", style=style),
            "cuts": ipywidgets.FloatRangeSlider(
                value=(config.low, config.high), min=0, max=1, step=0.05, description="cut between", **wide
            ),
            "levels": ipywidgets.IntSlider(config.thresholds, min=1, max=40, description="levels", **wide),
            "outer": ipywidgets.FloatSlider(
                config.outer, min=0.05, max=1, step=0.05, description="margins of contrast", **wide
            ),
            "shown": ipywidgets.IntSlider(8, min=1, max=40, description="segments shown", **wide),
        }
        self.image = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.says = ipywidgets.HTML()
        for name, widget in self.widgets.items():
            widget.observe(self._video_changed if name == "video" else self._redraw, "value")
        self._redraw()
        rows = [ipywidgets.HBox(list(self.widgets.values())[at : at + 2]) for at in (0, 2, 4)]
        self.view = ipywidgets.VBox([*rows, self.image, self.says])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widgets for a front end that has them, the picture for one that has not."""
        data = self.view._repr_mimebundle_(**options)
        data = data[0] if isinstance(data, tuple) else data
        return {**data, "text/plain": self._summary(), "image/png": self.picture()}

    def _video_changed(self, _: object) -> None:
        label = self.widgets["label"]
        before, options = label.value, list(self.truth[self.widgets["video"].value])
        label.options = options  # chooses the first one
        if label.value == before:
            self._redraw()

    def _redraw(self, _: object = None) -> None:
        if self.widgets["label"].value is not None:
            self.image.value, self.says.value = self.picture(), f"<small>{html.escape(self._summary())}</small>"

    def found(self) -> dict[str, Detections]:
        """The best segments of each branch under the knobs, of the chosen video and class, none over a better one."""
        knobs = {name: widget.value for name, widget in self.widgets.items()}
        low, high = knobs["cuts"]
        config = replace(self.config, low=low, high=high, thresholds=knobs["levels"], outer=knobs["outer"])
        chosen = self.classes.index(knobs["label"])
        tables = {}
        for branch, videos in self.scores.items():
            table = localize([videos[knobs["video"]]], config, self.grid, self.classes)
            rows: list[int] = []
            for row in np.flatnonzero(table.label_n == chosen):
                if len(rows) < knobs["shown"] and not overlap(table.segment_n2[[row]], table.segment_n2[rows]).any():
                    rows.append(int(row))
            columns = (table.video_n[rows], table.label_n[rows], table.segment_n2[rows], table.score_n[rows])
            tables[branch] = Detections(*columns, table.videos, table.classes)
        return tables

    def picture(self) -> bytes:
        """The timeline that the knobs now show, PNG."""
        video, label = self.widgets["video"].value, self.widgets["label"].value
        c, curves = self.classes.index(label), {}
        for branch, videos in self.scores.items():
            cas_t = videos[video].cas_tc[:, c]
            curves[branch] = (cas_t - cas_t.min()) / max(float(np.ptp(cas_t)), 1e-9)
        figure = Figure(figsize=(FULL_WIDTH, 0.9 + 0.78 * len(curves)), layout="constrained")
        ax = timeline(self.truth[video][label], curves, self.grid.step, self.found(), figure.add_subplot())
        ax.set_title(f"{label} in {video}")
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=120)
        return held.getvalue()

    def _summary(self) -> str:
        """How well the segments shown fit the instances, a branch after the other."""
        truth_m2 = self.truth[self.widgets["video"].value][self.widgets["label"].value]
        parts = []
        for branch, table in self.found().items():
            best_m = tiou(truth_m2, table.segment_n2).max(axis=1, initial=0.0)
            parts.append(f"{branch}: {int((best_m >= 0.5).sum())} of {len(truth_m2)} instances met at tIoU 0.5")
        return "; ".join(parts)
