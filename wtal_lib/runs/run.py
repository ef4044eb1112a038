"""One run: a configuration and data to a record, computed once, resumed where it was left off, never half-written."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wtal_lib.compute import deterministic
from wtal_lib.data import checkpoint
from wtal_lib.method import predict
from wtal_lib.method.config import Branch, Config, Localize, PseudoLabels, Schedule
from wtal_lib.method.localize import nms
from wtal_lib.method.schedule import Phase, alternate
from wtal_lib.method.state import State
from wtal_lib.runs import checkpoints, records, store
from wtal_lib.runs.experiment import Experiment, identity, resolved
from wtal_lib.runs.sources import Data
from wtal_lib.runs.store import Store
from wtal_lib.score.detections import write_detections
from wtal_lib.score.evaluate import report


def run(
    config: Config,
    data: Data,
    place: Path | Store,
    *,
    keep: Collection[str] = tuple(store.KEPT),
    share: bool = False,
    device: str = "auto",
    curve: bool = False,
    anew: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """The record of a run, which also lies in the folder ``place``, beside what ``keep`` names (:data:`store.KEPT`).

    In a store the record lies among the results, and the run's folder in the cache is there for what is kept alone. A
    finished run of the same configuration, data, method and kind of device is returned as it is, even from a folder
    that cannot be written, unless it lacks what is to be kept or the ``curve``; an unfinished one goes on from its last
    checkpoint; one that another process has in hand is waited for; ``anew`` forgets what there is. The curve is the
    test mAP after each phase, to be looked at and for nothing else (of many test videos on a fixed sample, which the
    record names as ``curve_videos``): the last weights are the result, on all of them. Runs of a store
    that ``share`` compute a common warm-up once. ``progress`` gets a line after each phase. Raises ValueError: the
    folder holds another run, or the data cannot be trained on; FloatingPointError: as
    :func:`wtal_lib.method.trainer.train`; OSError: the folder cannot be written.
    """
    config, device = resolved(config, device)
    name = identity(config, data, device)
    places = place.places(name) if isinstance(place, Store) else [place / store.RECORD]
    folder = places[-1].parent
    if not anew and (record := finished(config, name, places, keep, curve)) is not None:
        return record
    for path in places:
        records.require_writable(path.parent)
    load_libraries()
    with store.alone(folder):
        if not anew and (record := finished(config, name, places, keep, curve)) is not None:
            return record  # by another process, while this one waited
        store.clear(folder, places)
        before = None if anew else store.finished(name, places)
        if anew or (before is not None and curve and not curved(before)):
            store.forget(folder, places)
        elif before is not None:  # what was kept before stays
            keep = {*keep, *(kind for kind, files in store.KEPT.items() if any(folder.glob(files)))}
        folder.mkdir(parents=True, exist_ok=True)
        with deterministic(config.training.threads):
            record = _computed(Experiment(config, data, device), folder, keep, curve, share, progress)
        return _kept(record, folder, places, keep)


def finished(
    config: Config, name: str, places: Sequence[Path], keep: Collection[str] = (), curve: bool = False
) -> dict[str, Any] | None:
    """The record of a finished run, which then lies in the first of ``places``; None if anything asked for is gone."""
    record, folder = store.finished(name, places), places[-1].parent
    asked = [kind for kind in keep if kind != "networks" or list(alternate(config.schedule))]  # or nothing is trained
    if record is None or (curve and not curved(record)):
        return None
    if not all(any(folder.glob(store.KEPT[kind])) for kind in asked):
        return None
    if not places[0].exists():
        store.write(places[0], record)
    return record


def curved(record: dict[str, Any]) -> bool:
    """Whether a record has the test mAP after each phase beyond the warm-up."""
    return all("map" in entry for entry in record["history"] if entry["name"] != "warmup")


@functools.cache
def load_libraries() -> None:
    """Import what PyTorch and numba import at first use, in a thread: Ctrl-C in the midst of it would ruin a kernel."""

    def load() -> None:
        torch.optim.AdamW([torch.zeros(1)])
        nms(np.zeros(1, dtype=np.int64), np.array([[0.0, 1.0]]), np.ones(1), Localize())

    with ThreadPoolExecutor(1) as thread:
        thread.submit(load).result()


def _computed(
    experiment: Experiment,
    folder: Path,
    keep: Collection[str],
    curve: bool,
    share: bool,
    progress: Callable[[str], None] | None,
) -> dict[str, Any]:
    """The record of a run that goes on from its last checkpoint to its end."""
    began, config, batches = time.monotonic(), experiment.config, experiment.batches
    state = experiment.fresh()

    def on_phase(phase: Phase, state: State) -> None:
        entry = state.history[-1]
        if curve and phase.name != "warmup":
            found = predict.detect(config, batches, experiment.scores(state, experiment.sample))
            entry["map"] = {branch: experiment.headline_map(one, experiment.sample) for branch, one in found.items()}
        if progress is not None:
            progress(_line(phase, entry))

    for module, source in experiment.texts.items():
        (folder / f"{module}.py").write_text(source, encoding="utf-8")
    checkpoints.resume(config, batches, state, folder)
    if state.done == 0 and share:
        _warm_up(experiment, state, folder.parent, on_phase)
    checkpoints.train(config, batches, state, folder, truth=experiment.snippet_truth, on_phase=on_phase)
    scores = experiment.scores(state)
    detections = predict.detect(config, batches, scores)
    for branch, found in detections.items() if "detections" in keep else ():
        write_detections(folder / store.DETECTIONS[branch], found)
    return {
        **experiment.description(),
        "metrics": {
            branch: records.rounded(report(found, experiment.data.annotations)["protocols"])
            for branch, found in detections.items()
        },
        "complementarity": {branch: records.rounded(experiment.complementarity(of)) for branch, of in scores.items()},
        "history": records.rounded(state.history),
        **({"curve_videos": experiment.sample} if curve and len(experiment.sample) < len(experiment.test) else {}),
        **records.made(records.project_root(), began),
    }


def _kept(record: dict[str, Any], folder: Path, places: Sequence[Path], keep: Collection[str]) -> dict[str, Any]:
    """The record as it now lies in the first of ``places``; of the folder remains what is to be kept.

    A whole record that lies there already stays: its run was computed again for what was gone of it.
    """
    whole = store.finished(record["identity"], places[:1]) or store.write(places[0], record)
    if not keep and len(places) > 1:
        shutil.rmtree(folder)
        return whole
    store.write(places[-1], whole)
    for stale in (folder / store.TRACEBACK, folder / "previous.safetensors"):
        stale.unlink(missing_ok=True)
    last = folder / store.CHECKPOINT
    if "networks" not in keep:
        last.unlink(missing_ok=True)
    elif last.exists():  # without the moments of the optimizers
        tensors, content = checkpoint.read(last)
        weights = {key: value for key, value in tensors.items() if key.split(".")[1] in ("weights", "average")}
        checkpoint.write(last, weights, content)
    return whole


def warmup(config: Config) -> Config:
    """The beginning of a run, the same for all runs that begin alike: its warm-up, under fields that matter later."""
    distills = config.training.supervised  # from the first update on; nobody else before the warm-up is over
    return dataclasses.replace(
        config,
        preset="warmup",
        fusion=Config.fusion,
        cbp_share=Config.cbp_share,
        earned=Config.earned,
        pseudo_labels=config.pseudo_labels if distills else PseudoLabels(),
        localize=Localize(),
        schedule=Schedule(warmup=config.schedule.warmup, period=config.schedule.period, rounds=0),
        cbp=config.cbp if distills else dataclasses.replace(config.cbp, distill=Branch.distill),
        vlp=config.vlp if distills else dataclasses.replace(config.vlp, distill=Branch.distill),
    )


def warmup_name(config: Config, data: Data, device: str) -> str:
    """Name of the folder in the cache where a run's warm-up is kept for others that begin alike."""
    return store.WARMUP + identity(warmup(config), data, device)


def _warm_up(experiment: Experiment, state: State, cache: Path, on_phase: Callable[[Phase, State], None]) -> None:
    """Bring ``state`` to the end of its warm-up, which is computed once for all runs that begin alike."""
    shared = cache / warmup_name(experiment.config, experiment.data, experiment.device)
    alike, truth = warmup(experiment.config), experiment.snippet_truth
    with store.alone(shared):
        store.clear(shared)
        shared.mkdir(exist_ok=True)
        checkpoints.train(alike, experiment.batches, state, shared, truth=truth, on_phase=on_phase)


def _line(phase: Phase, entry: dict[str, Any]) -> str:
    """A phase in one line, for a log."""
    losses = ", ".join(
        f"{name} {value:.3f}" for name, value in entry["losses"].items() if name.endswith(("mil_orig", "distill"))
    )
    maps = "".join(f", {branch} {100 * value:.1f}" for branch, value in entry.get("map", {}).items())
    done = f"{phase.name} to update {entry['updates']} ({entry['seconds']:.1f} s)"
    return f"{done}: {losses}{maps and '; mAP' + maps[1:]}"
