"""One run: a configuration and data to a record, computed once, resumed where it was left off, never half-written."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wtal_lib import memory
from wtal_lib.data.annotations import ground_truth
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import GroundTruth
from wtal_lib.method import predict, text, trainer
from wtal_lib.method.batches import Batches
from wtal_lib.method.config import Config, Localize, Losses, PseudoLabels, Schedule
from wtal_lib.method.localize import VideoScores, min_max, nms
from wtal_lib.method.models import Vanilla
from wtal_lib.method.pooling import precision
from wtal_lib.method.presets import HEADLINE_BRANCH
from wtal_lib.method.schedule import Phase
from wtal_lib.method.state import State, fresh, resume
from wtal_lib.pool import uninterrupted
from wtal_lib.runs import records, store
from wtal_lib.runs.sources import Data
from wtal_lib.score.completeness import activated, covered, shares
from wtal_lib.score.detections import write_detections
from wtal_lib.score.evaluate import report
from wtal_lib.settings import digest, to_dict
from wtal_lib.video.text import learner_for

Scores = dict[str, dict[str, VideoScores]]
"by branch, then by video"


def run(
    config: Config,
    data: Data,
    folder: Path,
    *,
    device: str = "auto",
    curve: bool = True,
    anew: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The record of a run, which also lies in ``folder/record.json``, beside its ``detections.json``.

    A finished run of the same configuration, data and method is returned as it is, unless it lacks the ``curve`` asked
    for, even from a folder that cannot be written; an unfinished one goes on from its last checkpoint; one that another
    process has in hand is waited for; ``anew`` forgets what there is. The curve is the test mAP after each phase, to be
    looked at and for nothing else: the last weights are the result. ``progress`` gets a line after each phase.

    Raises:
        ValueError: the folder holds another run, or the data cannot be trained on.
        FloatingPointError: as :func:`wtal_lib.method.trainer.train`.
        OSError: the folder cannot be written.
    """
    name = identity(config, data)
    if not anew and (record := store.finished(folder, name)) is not None and (curved(record) or not curve):
        return record
    records.require_writable(folder)
    load_libraries()
    with store.alone(folder):
        if anew:
            store.forget(folder)
        elif (record := store.finished(folder, name)) is not None:
            if curved(record) or not curve:  # by another process, while this one waited
                return record
            store.forget(folder)
        store.clear(folder)
        with memory.kept(), trainer.deterministic(config.training.threads):
            return _computed(Task(config, data, chosen_device(device)), folder, curve, progress)


@functools.cache
def load_libraries() -> None:
    """Nothing; what PyTorch and numba import at first use is there: Ctrl-C in the midst of it would ruin a kernel."""
    with uninterrupted():
        torch.optim.AdamW([torch.zeros(1)])
        nms(np.zeros(1, dtype=np.int64), np.array([[0.0, 1.0]]), np.ones(1), Localize())


def curved(record: dict[str, Any]) -> bool:
    """Whether a record has the test mAP after each phase beyond the warm-up."""
    return all("map" in entry for entry in record["history"] if entry["name"] != "warmup")


def _computed(task: Task, folder: Path, curve: bool, progress: Callable[[str], None] | None) -> dict[str, Any]:
    """The record of a run that goes on from its last checkpoint to its end."""
    began, config = time.perf_counter(), task.config
    state = fresh(config, task.batches, task.text(), task.logit_scale, task.device)

    def on_phase(phase: Phase, state: State) -> None:
        entry = state.history[-1]
        if curve and (phase.taught or phase.name != "warmup"):
            found = predict.detect(config, task.batches, task.scores(state))
            entry["map"] = {branch: task.headline_map(detections) for branch, detections in found.items()}
        if progress is not None:
            progress(_line(phase, entry))

    resume(config, task.batches, state, folder)
    if state.done == 0 and folder.name == task.identity:
        _warm_up(task, state, folder.parent, on_phase)
    trainer.train(config, task.batches, state, truth=task.snippet_truth, folder=folder, on_phase=on_phase)
    scores = task.scores(state)
    detections = predict.detect(config, task.batches, scores)
    for branch, found in detections.items():
        write_detections(folder / ("detections.json" if branch == "fused" else f"detections_{branch}.json"), found)
    record = {
        "identity": task.identity,
        **task.description(),
        "metrics": {
            branch: records.rounded(report(found, task.data.annotations)["protocols"])
            for branch, found in detections.items()
        },
        "complementarity": {branch: records.rounded(task.complementarity(of)) for branch, of in scores.items()},
        "history": records.rounded(state.history),
        "code": records.code_state(records.project_root()),
        "environment": records.environment(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "wall_seconds": round(time.perf_counter() - began, 2),
        "peak_memory_mib": round(records.peak_memory(), 1),
    }
    return store.write(folder, record)


def _warm_up(task: Task, state: State, place: Path, on_phase: Callable[[Phase, State], None]) -> None:
    """Nothing; ``state`` has had its warm-up, which is computed once for all runs of a store that begin alike."""
    config = task.config
    distills = config.training.supervised  # from the first update on; nobody else before the warm-up is over
    losses = config.losses if distills else dataclasses.replace(config.losses, distill=Losses.distill)
    alike = dataclasses.replace(
        config,
        preset="warmup",
        fusion=Config.fusion,
        cbp_share=Config.cbp_share,
        earned=Config.earned,
        pseudo_labels=config.pseudo_labels if distills else PseudoLabels(),
        localize=Localize(),
        schedule=Schedule(warmup=config.schedule.warmup, period=config.schedule.period, rounds=0),
        losses=losses,
    )
    shared = place / f"{store.WARMUP}{identity(alike, task.data)}"
    records.require_writable(shared)
    with store.alone(shared):
        store.clear(shared)
        trainer.train(alike, task.batches, state, truth=task.snippet_truth, folder=shared, on_phase=on_phase)


def identity(config: Config, data: Data) -> str:
    """Names a run: equal for equal configuration, data and method."""
    content = {"config": to_dict(config), "data": data.fingerprint, "method": records.method_digest()}
    return digest(content, 16)


def chosen_device(device: str) -> str:
    """``cuda`` or ``cpu``; ``auto`` takes a GPU if there is one.

    Raises:
        ValueError: a GPU was asked for and there is none.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} was asked for, but PyTorch sees no GPU; use auto or cpu")
    return device


class Task:
    """A configuration on data: what training reads, what is scored, and what the record says of both."""

    def __init__(self, config: Config, data: Data, device: str = "cpu") -> None:
        assert data.cbp is not None
        assert data.vlp is not None
        self.config, self.data, self.device = config, data, device
        training = config.training
        self.batches = Batches(
            data.annotations,
            data.cbp,
            data.vlp,
            videos=training.videos,
            snippets=training.snippets,
            seed=config.seed,
            held_out=training.held_out,
            warmup=config.schedule.warmup,
        )
        self.truth: GroundTruth = ground_truth(data.annotations, get_dataset(config.dataset).headline)
        both = self.batches.cbp.lengths.keys() & self.batches.vlp.lengths.keys()
        test = [video.name for video in data.annotations.subset("test")]
        self.test = [name for name in test if name in both]
        self.missing = [name for name in test if name not in both]
        self._truth: dict[str, np.ndarray] = {}

    @property
    def identity(self) -> str:
        """Names the run."""
        return identity(self.config, self.data)

    @property
    def logit_scale(self) -> float:
        """The pack's own, of its image-text pre-training."""
        return float(self.data.vlp.meta.get("logit_scale", 100.0)) if self.data.vlp is not None else 100.0

    def text(self) -> torch.nn.Module:
        """The module of class rows: the pack's own, fixed or with a learnable residual; or learnt prompts.

        Raises:
            ValueError: the pack has no text rows; or learnt prompts are asked for and there is no text tower.
        """
        assert self.data.vlp is not None
        rows = self.data.vlp.text
        if rows is None:
            raise ValueError(f"the VLP pack {self.data.vlp.path} has no text.npy; extract one with `wtal extract`")
        if self.config.prompts == "context":
            meta = self.data.vlp.meta
            if meta.get("simulated"):
                raise ValueError(
                    "prompts='context' needs a text tower, which simulated features have not; use residual"
                )
            return learner_for(meta, self.batches.classes, self.device)
        module = text.TextResidual(torch.from_numpy(np.array(rows, dtype=np.float32)))
        return module.requires_grad_(self.config.prompts != "fixed")

    def vanilla(self) -> Vanilla:
        """The VLP branch before anybody trained it."""
        rows = torch.from_numpy(np.array(self.data.vlp.text, dtype=np.float32))  # type: ignore[union-attr]
        return Vanilla(rows, self.logit_scale).to(self.device)

    def snippet_truth(self, name: str) -> np.ndarray:
        """A video's ground truth on its snippets, (t, c) bool: to read, and for the supervised bound."""
        if name not in self._truth:
            video, classes = self.data.annotations.videos[name], self.batches.classes
            snippets = self.batches.lengths[name]
            self._truth[name] = np.zeros((snippets, len(classes)), dtype=bool)
            labels = np.array(video.instance_labels)
            for label in set(video.instance_labels):
                mask = self.batches.grid.mask(video.segments[labels == label], snippets)
                self._truth[name][:, classes.index(label)] = mask
        return self._truth[name]

    def scores(self, state: State) -> Scores:
        """What each branch and their fusion say of every test video; nothing trained means vanilla VLP."""
        branches = dict(state.averages)
        if state.done == 0:
            branches["vlp"] = self.vanilla()
        scores = predict.video_scores(self.config, self.batches, branches, self.test, state.reliability)
        return scores if state.done else {**scores, "fused": scores["vlp"]}

    def headline_map(self, detections: Any) -> float:
        """Mean mAP under the headline protocol and its headline mean."""
        scored = report(detections, self.data.annotations, [get_dataset(self.config.dataset).headline])["protocols"]
        return next(iter(next(iter(scored.values()))["means"].values()))

    def complementarity(self, scores: dict[str, VideoScores], level: float = 0.5) -> dict[str, float]:
        """Completeness and over-completeness of thresholded activations, in seconds over seconds.

        Each labelled class's sequence is stretched to [0, 1] over its video and cut at ``level``: ``completeness`` is
        the mean share of an instance that is covered, ``context`` and ``elsewhere`` the shares of the covered time that
        lie beside instances and away from them.
        """
        present = {name: self.snippet_truth(name).any(axis=0) for name in scores}
        cut = {}
        for name, video in scores.items():
            cas_tc = video.cas_tc
            cut[name] = np.zeros_like(cas_tc, dtype=np.float64)
            for c in np.flatnonzero(present[name]):
                cut[name][:, c] = min_max(cas_tc[:, c : c + 1])[:, 0]
        table = activated(cut, level, self.batches.grid, self.batches.classes)
        length_n = np.diff(table.segment_n2)[:, 0]
        share_n3 = np.nan_to_num(shares(table, self.truth))
        inside, context, elsewhere = (length_n[:, None] * share_n3).sum(axis=0) / max(length_n.sum(), 1e-9)
        complete = float(np.nanmean(covered(table, self.truth)))
        return {"completeness": complete, "inside": inside, "context": context, "elsewhere": elsewhere}

    def description(self) -> dict[str, Any]:
        """What the record says before anything is computed."""
        config, data = self.config, self.data
        return {
            "config": to_dict(config),
            "method": records.method_digest(),
            "preset": config.preset,
            "seed": config.seed,
            "source": data.source,
            "structure": data.structure,
            "uses_snippet_labels": config.training.supervised,
            "headline": {
                "protocol": get_dataset(config.dataset).headline.name,
                "branch": HEADLINE_BRANCH.get(config.preset, "fused"),
            },
            "data": {
                "fingerprint": data.fingerprint,
                "simulator": to_dict(data.world.config) if data.world is not None else None,
            },
            "missing": {"training": self.batches.missing, "test": self.missing},
            "device": self.device,
            "precision": precision(config.training.precision, self.device),
            "threads": torch.get_num_threads(),
        }


def _line(phase: Phase, entry: dict[str, Any]) -> str:
    """A phase in one line, for a log."""
    losses = ", ".join(
        f"{name} {value:.3f}" for name, value in entry["losses"].items() if name.endswith(("mil_orig", "distill"))
    )
    maps = "".join(f", {branch} {100 * value:.1f}" for branch, value in entry.get("map", {}).items())
    done = f"{phase.name} to update {entry['updates']} ({entry['seconds']:.1f} s)"
    return f"{done}: {losses}{maps and '; mAP' + maps[1:]}"
