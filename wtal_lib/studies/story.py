"""One short training told on a few videos: what both branches say at each turn, and what they teach each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.segments import union
from wtal_lib.method import predict, pseudo_labels, trainer
from wtal_lib.method.config import Config
from wtal_lib.method.localize import VideoScores
from wtal_lib.method.schedule import Phase, alternate
from wtal_lib.method.state import State, fresh
from wtal_lib.runs.run import Scores, Task, chosen_device
from wtal_lib.runs.sources import Data
from wtal_lib.studies.complementarity import stretched


@dataclass(frozen=True, eq=False)
class Chapter:
    """The branches at one point of the training."""

    name: str
    "untrained; B and F, each as that step is about to begin for the first time; end"
    scores: Scores
    "by branch, then by video; vlp alone while untrained"
    taught: dict[str, Float[np.ndarray, "t c"]]
    "by video, the confidence from which the step takes its pseudo-labels; empty where nobody is taught"


def told(
    config: Config, data: Data, videos: Sequence[str], progress: Callable[[str], None] | None = None
) -> tuple[Task, dict[str, Chapter]]:
    """The task and the chapters of a training, by name: untrained, B, F, end. Nothing is kept on disk.

    The ``videos`` are looked at and never trained on, if they are test videos. Deterministic under the config's seed.

    Raises:
        ValueError, FloatingPointError: as :func:`wtal_lib.method.trainer.train`.
    """
    task = Task(config, data, chosen_device("auto"))
    state = fresh(config, task.batches, task.text(), task.logit_scale, task.device)
    phases = list(alternate(config.schedule))
    seen = predict.video_scores(config, task.batches, {"vlp": task.vanilla()}, videos)
    chapters = {"untrained": Chapter("untrained", seen, {})}

    def said(name: str, state: State, taught: dict[str, np.ndarray]) -> Chapter:
        return Chapter(name, predict.video_scores(config, task.batches, state.averages, videos), taught)

    def on_phase(phase: Phase, state: State) -> None:
        if progress is not None:
            progress(f"{phase.name} to update {phase.start + phase.steps}, phase {phase.index + 1} of {len(phases)}")
        following = phases[phase.index + 1] if phase.index + 1 < len(phases) else None
        if following is not None and following.taught and following.name not in chapters:
            sure = trainer.teach(config, task.batches, state, following, videos)
            student = following.taught[0]
            taught = {video: _spread(task, video, of[student].numpy()) for video, of in sure.items()}
            chapters[following.name] = said(following.name, state, taught)

    trainer.train(config, task.batches, state, truth=task.snippet_truth, on_phase=on_phase)
    return task, {**chapters, "end": said("end", state, {})}


def _spread(task: Task, video: str, sure_tk: Float[np.ndarray, "t k"]) -> Float[np.ndarray, "t c"]:
    """The columns of a video's labelled classes among those of all classes, zeros elsewhere."""
    sure_tc = np.zeros((len(sure_tk), len(task.batches.classes)), dtype=sure_tk.dtype)
    sure_tc[:, task.batches.labelled(video)] = sure_tk
    return sure_tc


def labels(sure_t: Float[np.ndarray, " t"], config: Config) -> tuple[Bool[np.ndarray, " t"], Bool[np.ndarray, " t"]]:
    """Which snippets a confidence calls background and which foreground, by the config's thresholds."""
    sure = torch.from_numpy(np.ascontiguousarray(sure_t, dtype=np.float32))[None, :, None]
    mask, y = torch.ones(sure.shape[:2], dtype=torch.bool), torch.ones(1, 1)
    given = pseudo_labels.label(sure, mask, y, config.pseudo_labels, (True, True))
    target_t, keep_t = given.target[0, :, 0].numpy(), given.keep[0, :, 0].numpy()
    return keep_t & (target_t < 0.5), keep_t & (target_t >= 0.5)


def sequences(
    task: Task, said: Mapping[str, Mapping[str, VideoScores]], video: str, c: int
) -> dict[str, Float[np.ndarray, " _"]]:
    """By branch, what it says of one class in one video, stretched to [0, 1] over the video."""
    return {branch: stretched(task, {video: of[video]})[video][:, c] for branch, of in said.items()}


def instances(annotations: Annotations, videos: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """By video and class, the annotated segments (m, 2), seconds."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for video in (annotations.videos[name] for name in videos):
        label_m = np.array(video.instance_labels)
        found[video.name] = {label: video.segments[label_m == label] for label in dict.fromkeys(video.instance_labels)}
    return found


def telling(annotations: Annotations, names: Sequence[str], share: float = 1 / 3, count: int = 1) -> list[str]:
    """The test videos that show most at a glance, by their annotations alone, whatever a method makes of them.

    Of those with one class and two to twelve instances, the ones whose share of action lies nearest to ``share``:
    enough of both action and background to be seen.

    Raises:
        ValueError: no video is like that.
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
