"""An explorer of single videos: widgets in a notebook, a still picture without a front end."""

from __future__ import annotations

import html
import io
from dataclasses import replace
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure

from wtal_lib.data.segments import Detections, tiou
from wtal_lib.figures.style import FULL_WIDTH, stamped
from wtal_lib.figures.video import timeline
from wtal_lib.method.localize import localize, min_max
from wtal_lib.runs.experiment import Experiment, Scores


class Explorer:
    """CAS and detections of some videos, and how well they fit, under CAS thresholds chosen by ``widgets``."""

    def __init__(self, task: Experiment, scores: Scores) -> None:
        """``scores`` by branch of some videos of the task, each with an instance; the first one is shown first."""
        self.scores, self.grid, self.classes = scores, task.batches.grid, task.batches.classes
        self.config = config = task.config.localize
        self.simulated = task.data.source == "simulated"
        self.truth: dict[str, dict[str, np.ndarray]] = {}
        for video in (task.data.annotations.videos[name] for name in next(iter(scores.values()))):
            labels = video.instance_labels
            self.truth[video.name] = {each: video.segments[np.array(labels) == each] for each in dict.fromkeys(labels)}
        first = next(iter(self.truth))
        style = {"description_width": "11em"}
        share: dict[str, Any] = {"min": 0.0, "max": 1, "step": 0.05}
        count: dict[str, Any] = {"min": 1, "max": 40, "step": 1}
        self.widgets: dict[str, Any] = {
            "video": ipywidgets.Dropdown(options=list(self.truth), value=first, description="video", style=style),
            "label": ipywidgets.Dropdown(options=list(self.truth[first]), description="class", style=style),
            "cuts": ipywidgets.FloatRangeSlider(value=(config.low, config.high), description="cut between", **share),
            "levels": ipywidgets.IntSlider(config.thresholds, description="levels", **count),
            "outer": ipywidgets.FloatSlider(config.outer, description="margins of contrast", **share),
            "shown": ipywidgets.IntSlider(8, description="segments shown", **count),
        }
        for slider in list(self.widgets.values())[2:]:
            slider.style, slider.layout.width, slider.continuous_update = style, "28em", False
        self.image = ipywidgets.Image(format="png", layout={"max_width": "100%"})
        self.summary = ipywidgets.HTML()
        for name, widget in self.widgets.items():
            widget.observe(self._video_changed if name == "video" else self._redraw, "value")
        self._redraw()
        rows = [ipywidgets.HBox(list(self.widgets.values())[at : at + 2]) for at in (0, 2, 4)]
        self.view = ipywidgets.VBox([*rows, self.image, self.summary])

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        """The widgets for a front end that has them, the picture for one that has not."""
        shown = self.view._repr_mimebundle_(**options)
        data = shown[0] if isinstance(shown, tuple) else shown
        return {**data, "text/plain": self._fit(), "image/png": self.picture()}

    def _video_changed(self, _: object) -> None:
        label = self.widgets["label"]
        before, options = label.value, list(self.truth[self.widgets["video"].value])
        label.options = options  # chooses the first one
        if label.value == before:
            self._redraw()

    def _redraw(self, _: object = None) -> None:
        if self.widgets["label"].value is not None:
            self.image.value, self.summary.value = self.picture(), f"<small>{html.escape(self._fit())}</small>"

    def detections(self, video: str = "") -> dict[str, Detections]:
        """The best segments of each branch for the chosen video and class, or the given video's first class.

        None lies over a better one.
        """
        chosen = {name: widget.value for name, widget in self.widgets.items()}
        chosen |= {"video": video, "label": next(iter(self.truth[video]))} if video else {}
        (low, high), label = chosen["cuts"], self.classes.index(chosen["label"])
        fields = {"thresholds": chosen["levels"], "outer": chosen["outer"], "nms": "hard", "nms_tiou": 0.0}
        config = replace(self.config, low=low, high=high, **fields)
        tables = {}
        for branch, videos in self.scores.items():
            table = localize([videos[chosen["video"]]], config, self.grid, self.classes)
            n = np.flatnonzero(table.label_n == label)[: chosen["shown"]]
            columns = (table.video_n[n], table.label_n[n], table.segment_n2[n], table.score_n[n])
            tables[branch] = Detections(*columns, table.videos, table.classes)
        return tables

    def picture(self) -> bytes:
        """The timeline that the widgets ask for, PNG."""
        video, label = self.widgets["video"].value, self.widgets["label"].value
        c = self.classes.index(label)
        curves = {branch: min_max(videos[video].cas_tc[:, [c]])[:, 0] for branch, videos in self.scores.items()}
        figure = Figure(figsize=(FULL_WIDTH, 0.9 + 0.78 * len(curves)), layout="constrained")
        ax = timeline(self.truth[video][label], curves, self.grid.step, self.detections(), figure.add_subplot())
        ax.set_title(f"{label} in {video}")
        if self.simulated:
            figure.draw_without_rendering()
            stamped(figure, "SIMULATED features", "SIMULATED")
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=120)
        return held.getvalue()

    def _fit(self) -> str:
        """How well the segments shown fit the instances, a branch after the other."""
        truth_m2 = self.truth[self.widgets["video"].value][self.widgets["label"].value]
        parts = []
        for branch, table in self.detections().items():
            best_m = tiou(truth_m2, table.segment_n2).max(axis=1, initial=0.0)
            parts.append(f"{branch}: {int((best_m >= 0.5).sum())} of {len(truth_m2)} instances met at tIoU 0.5")
        return "; ".join(parts)
