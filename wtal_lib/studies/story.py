"""One short training looked at in a few videos: scores at each turn, confidence, pseudo-labels, and an explorer."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ipywidgets
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.segments import Detections, tiou, union
from wtal_lib.figures import draw
from wtal_lib.figures.video import timeline
from wtal_lib.method import predict, trainer
from wtal_lib.method.config import Config
from wtal_lib.method.localize import localize, min_max
from wtal_lib.method.schedule import Phase, alternate
from wtal_lib.method.state import State
from wtal_lib.runs.experiment import Experiment, Scores
from wtal_lib.runs.sources import Data


class Chapter(NamedTuple):
    """The branches at one point of the training."""

    scores: Scores
    "by branch, then by video; vlp alone while untrained"
    confidence: dict[str, Float[np.ndarray, "t c"]]
    "by video, from which the step takes its pseudo-labels; empty where there are none"


def chapters(
    config: Config, data: Data, videos: Sequence[str], progress: Callable[[str], None] | None = None
) -> tuple[Experiment, dict[str, Chapter]]:
    """Train, and return the task and the chapters by name: untrained, B, F, end. Nothing is kept on disk.

    B and F are as that step is about to begin for the first time. The ``videos`` are never trained on, if they are test
    videos. Deterministic under the config's seed. Raises ValueError, FloatingPointError: as
    :func:`wtal_lib.method.trainer.train`.
    """
    task = Experiment(config, data)
    state = task.fresh()
    phases = list(alternate(config.schedule))
    found = {"untrained": Chapter(predict.video_scores(config, task.batches, {"vlp": task.vanilla()}, videos), {})}

    def add(name: str, state: State, confidence: dict[str, np.ndarray]) -> None:
        scores = predict.video_scores(config, task.batches, state.averages, videos, state.reliability)
        found[name] = Chapter(scores, confidence)

    def on_phase(phase: Phase, state: State) -> None:
        if progress is not None:
            progress(f"{phase.name} to update {phase.start + phase.steps}, phase {phase.index + 1} of {len(phases)}")
        following = phases[phase.index + 1] if phase.index + 1 < len(phases) else None
        if following is not None and following.taught and following.name not in found:
            student = following.taught[0]
            of = trainer.teach(config, task.batches, state, following, videos)[student]
            kind = "background" if student == "vlp" else "foreground"  # one and the same but for the rule `ternary`
            heard = {name: _all_classes(task, name, getattr(one, kind).numpy()) for name, one in of.items()}
            add(following.name, state, heard)

    trainer.train(config, task.batches, state, truth=task.snippet_truth, on_phase=on_phase)
    add("end", state, {})
    return task, found


def _all_classes(task: Experiment, video: str, confidence_tk: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t c"]:
    """The columns of a video's labelled classes among those of all classes, zeros elsewhere."""
    confidence_tc = np.zeros((len(confidence_tk), len(task.batches.classes)), dtype=confidence_tk.dtype)
    confidence_tc[:, task.batches.labelled(video)] = confidence_tk
    return confidence_tc


def labels(
    confidence_t: Float[np.ndarray, " t"], config: Config
) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
    """Which snippets a confidence labels as background and which as foreground, by the config's thresholds."""
    limits = config.pseudo_labels
    return confidence_t < limits.background_below, confidence_t > limits.foreground_above


def curves(task: Experiment, scores: Scores, video: str, c: int) -> dict[str, Float[np.ndarray, " _"]]:
    """By branch, its CAS of one class in one video, normalized to [0, 1]."""
    return {branch: task.normalized_cas({video: of[video]})[video][:, c] for branch, of in scores.items()}


def timelines(
    task: Experiment,
    scores: Scores,
    videos: Sequence[str],
    detections: Callable[[str], Mapping[str, Detections]] = lambda video: {},
) -> tuple[list[Axes], pd.DataFrame]:
    """:func:`wtal_lib.figures.timeline` of the first class of each video, one below the other, and its curves."""
    lanes, parts = len(scores), []
    axes = draw.panels(None, len(videos), 0.75 + 0.55 * lanes, rows=len(videos))
    for ax, name in zip(axes, videos, strict=True):
        video = task.data.annotations.videos[name]
        label = video.instance_labels[0]
        of = curves(task, scores, name, task.batches.classes.index(label))
        timeline(video.segments, of, task.batches.grid.step, detections(name), ax)
        ax.set(title=f"{label} in {name}", xlabel="time (s)" if name == videos[-1] else "")
        parts.append(pd.DataFrame(of).rename_axis("snippet").reset_index().assign(video=name))
    return axes, pd.concat(parts, ignore_index=True)


def clear_videos(annotations: Annotations, names: Sequence[str], share: float = 1 / 3, count: int = 1) -> list[str]:
    """The videos that show most at a glance, chosen by their annotations alone, whatever a method makes of them.

    Of those with one class and two to twelve instances, the ones whose share of action lies nearest to ``share``:
    enough of both action and background to be seen. Raises ValueError: no video is like that.
    """
    distance = {}
    for name in names:
        video = annotations.videos[name]
        if len(set(video.instance_labels)) == 1 and 2 <= len(video.segments) <= 12 and video.duration > 0:
            action = float(np.diff(union(video.segments)).sum()) / video.duration
            distance[name] = abs(action - share)
    if not distance:
        raise ValueError(f"expected a video of one class with 2 to 12 instances among {len(names)} videos, got none")
    return sorted(distance, key=lambda name: (distance[name], name))[:count]


class Explorer:
    """CAS and detections of some videos, and how well they fit, under CAS thresholds chosen by ``widgets``.

    A front end without widgets shows a still picture.
    """

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
        return {**self.view._repr_mimebundle_(**options), "text/plain": self._fit(), "image/png": self.picture()}

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
        figure = Figure(figsize=(draw.FULL_WIDTH, 0.9 + 0.78 * len(curves)), layout="constrained")
        ax = timeline(self.truth[video][label], curves, self.grid.step, self.detections(), figure.add_subplot())
        ax.set_title(f"{label} in {video}")
        if self.simulated:
            figure.draw_without_rendering()
            draw.stamped(figure, "SIMULATED features", "SIMULATED")
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
