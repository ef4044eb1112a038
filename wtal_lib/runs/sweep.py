"""Many runs: configurations to their records, on the cores of this machine or a Dask cluster, none computed twice."""

from __future__ import annotations

import functools
import itertools
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from wtal_lib import extensions
from wtal_lib.data.annotations import data_root
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import read_text, replacing
from wtal_lib.method.config import Config, own
from wtal_lib.method.presets import preset
from wtal_lib.parallel import Failure, Progress, completed, cores
from wtal_lib.runs import records, store
from wtal_lib.runs.experiment import identity, resolved
from wtal_lib.runs.run import finished, run, warmup_name
from wtal_lib.runs.sources import Data, Spec, open_data
from wtal_lib.settings import coerced, require_known, to_dict
from wtal_lib.simulate.knobs import DIFFICULTIES, DRAWN

PRELOAD = ("wtal_lib.runs.sweep", "torch._dynamo", "numba.core.compiler")
"what runs import, the last two when PyTorch makes an optimizer and numba compiles; seconds each"


@dataclass(frozen=True)
class Task:
    """One run of a sweep: what is computed, on which data, and what is kept of it."""

    config: Config
    spec: Spec
    curve: bool = False
    "whether the test mAP after each phase is recorded too, which takes as long again as a short training"
    keep: tuple[str, ...] = ()
    "what is kept beside the record: networks, detections"


@dataclass(frozen=True)
class _Job:
    """A task as it travels to a worker: no data, but how to know the right ones."""

    task: Task
    device: str
    identity: str
    fingerprint: Mapping[str, str]
    place: store.Store
    warmup: str
    extensions: Mapping[str, str]
    "hashes of your own modules"

    @property
    def folder(self) -> Path:
        """The run's folder in the cache."""
        return self.place.cache / self.identity


def sweep(
    tasks: Sequence[Task],
    place: store.Store,
    *,
    workers: int | None = None,
    scheduler: str = "",
    anew: bool = False,
    retry: bool = False,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> list[dict[str, Any]]:
    """The record of each task, in their order, each of which also lies in the store ``place``.

    What the store holds is not computed, and needs no folder that can be written. Of a run that failed the record is
    ``identity``, ``config``, ``preset``, ``seed``, ``error`` and ``traceback_file``; the others go on. A failed run is
    computed again with ``retry``, everything with ``anew``. Killed half-way, the same call goes on where it was.

    ``workers`` processes of this machine share the runs (by default one a core), or the workers of the Dask
    ``scheduler``, which need to see the store under the same paths. Each run has one thread, so that its numbers do not
    depend on how many cores there are. ``progress`` is called whenever a run is done; ``print`` will do. Raises
    ValueError, FileNotFoundError: as :func:`open_data` and :func:`wtal_lib.parallel.completed`; PermissionError:
    something is to be computed and the store cannot be written.
    """
    opened = {task.spec: open_data(task.spec) for task in tasks}
    named = [_job(task, opened[task.spec], place, device) for task in tasks]
    jobs: dict[str, _Job] = {}
    for job in named:  # what equal ones keep, all together
        one = jobs.get(job.identity, job).task
        keep = tuple(dict.fromkeys((*one.keep, *job.task.keep)))
        jobs[job.identity] = replace(job, task=replace(job.task, curve=one.curve or job.task.curve, keep=keep))
    known = {} if anew else {name: record for name, job in jobs.items() if (record := _known(job, retry)) is not None}
    todo = _in_turn([job for name, job in jobs.items() if name not in known], 0 if scheduler else workers or cores())
    if todo:
        records.require_writable(place.records)
        records.require_writable(place.cache, "set WTAL_CACHE to another folder")
    for job in todo if anew else ():
        with store.alone(job.folder):
            store.forget(job.folder, place.places(job.identity))
    before, failed = len(known), sum("error" in record for record in known.values())

    def tell(one: Progress) -> None:
        if progress is not None:
            progress(one._replace(done=one.done + before, failed=one.failed + failed, total=one.total + before))

    options: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "preload": PRELOAD, "progress": tell}
    options["prepare"] = functools.partial(extensions.share, modules={one for job in todo for one in job.extensions})
    with closing(completed(_compute, todo, **options)) as arriving:
        for i, result in arriving:
            known[todo[i].identity] = _failed(todo[i], result) if isinstance(result, Failure) else result
    for warmup in () if place.lasting else {job.warmup for job in named}:
        place.tidy(warmup)
    return [known[job.identity] for job in named]


def _in_turn(jobs: Sequence[_Job], workers: int) -> list[_Job]:
    """Jobs in an order in which those that begin at once share neither their warm-up nor, if there are many, data.

    As many data sets as there are ``workers`` (0: any number) are worked on at once, so that each stays open in one.
    """
    place = {spec: i for i, spec in enumerate(dict.fromkeys(job.task.spec for job in jobs))}
    at_once = workers or max(1, len(place))
    begun, turns = Counter[str](), []
    for job in jobs:
        turns.append((place[job.task.spec] // at_once, begun[job.warmup]))
        begun[job.warmup] += 1
    return [jobs[i] for i in sorted(range(len(jobs)), key=turns.__getitem__)]


def _job(task: Task, data: Data, place: store.Store, device: str) -> _Job:
    config, device = resolved(task.config, device)
    root = data_root(task.spec.root or None).resolve()  # the same in another working directory
    task = replace(task, config=config, spec=replace(task.spec, root=str(root) if root.is_dir() else ""))
    place = replace(place, records=place.records.absolute(), cache=place.cache.absolute())
    name, shared = identity(config, data, device), warmup_name(config, data, device)
    marks = extensions.marks(own(config)).get("extensions", {})
    return _Job(task, device, name, data.fingerprint, place, shared, marks)


def _known(job: _Job, retry: bool) -> dict[str, Any] | None:
    """The record of a finished run, or what is known of one that failed; None where it is to be computed."""
    record = finished(job.task.config, job.identity, job.place.places(job.identity), job.task.keep, job.task.curve)
    if record is None and not retry and (job.folder / store.TRACEBACK).exists():
        lines = (job.folder / store.TRACEBACK).read_text(encoding="utf-8").rstrip().splitlines()
        return _failure(job, lines[-1] if lines else "", job.folder / store.TRACEBACK)
    return record


def _failure(job: _Job, error: str, traceback_file: Path | str) -> dict[str, Any]:
    config = job.task.config
    about = {"config": to_dict(config), "preset": config.preset, "seed": config.seed}
    return {"identity": job.identity, **about, "error": error, "traceback_file": str(traceback_file)}


def _failed(job: _Job, failure: Failure) -> dict[str, Any]:
    """What stands in the record's place; the traceback lies in the run's folder, or where there is still room."""
    head = f"run {job.identity}: {job.task.config.preset}, seed {job.task.config.seed}"
    for place in (job.folder, Path(tempfile.gettempdir()) / f"wtal-{job.identity}"):
        with suppress(OSError):
            with replacing(place / store.TRACEBACK) as file:
                file.write(f"{head}\n{failure.traceback}\n{failure.error}\n".encode())
            return _failure(job, failure.error, place / store.TRACEBACK)
    return _failure(job, failure.error, "")


_ONE_RUN = threading.Lock()
"held by the run of this process: threads of a Dask worker share torch's random state"


def _compute(job: _Job) -> dict[str, Any]:
    """The record of a run, on whatever machine this is; ValueError where it has another version of the method."""
    with _ONE_RUN:
        data, task, host = _data(job), job.task, socket.gethostname()
        here = extensions.marks(own(task.config), anew=True).get("extensions", {})
        for module in (one for one, mark in job.extensions.items() if here[one] != mark):
            raise ValueError(extensions.differs(module, f"the worker on {host}"))
        if identity(task.config, data, job.device) != job.identity:
            raise ValueError(
                f"the worker on {host} has another version of wtal_lib than the one that started the"
                " sweep; install the same one and start both again"
            )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # not `deterministic`: what it imports at first use, Ctrl-C would leave half-imported
        try:
            options: dict[str, Any] = {"keep": task.keep, "share": True, "curve": task.curve, "device": job.device}
            record = run(task.config, data, job.place, **options)
            store.pack_detections(job.folder)
            return record
        finally:
            torch.set_num_threads(threads)


_opened = functools.lru_cache(maxsize=1)(open_data)
"data that consecutive runs of a process share"


def _data(job: _Job) -> Data:
    """The data of a job, at its path or wherever this worker has the same content."""
    seen = []
    for spec in dict.fromkeys((job.task.spec, replace(job.task.spec, root=""))):
        try:
            data = _opened(spec)
            if data.fingerprint != job.fingerprint:
                _opened.cache_clear()  # what lies there may have changed
                data = _opened(spec)
        except FileNotFoundError as error:
            seen.append(str(error))
            continue
        if data.fingerprint == job.fingerprint:
            return data
        other = " and ".join(kind for kind, one in job.fingerprint.items() if data.fingerprint.get(kind) != one)
        seen.append(f"{data_root(spec.root or None)} has other {other}, taken as {data.source}")
    raise FileNotFoundError(
        f"the worker on {socket.gethostname()} lacks the data of this run: {'; '.join(seen)}. Make the folder"
        f" {job.task.spec.root or 'of the data'} visible there, or set WTAL_DATA for its workers"
    )


GRID: dict[str, tuple[Any, Any]] = {
    "dataset": (str, "thumos14"),
    "source": (str, "auto"),
    "data_root": (str, ""),
    "profile": (str, "quick"),
    "world": (int, 0),
    "presets": (list[str], ["full"]),
    "seeds": (list[int], [0]),
    "settings": (list[str], ["middle"]),
    "changes": (list[dict], [{}]),
    "fps": (float, 0.0),
    "stride": (float, 0.0),
    "kind": (str, "cbp"),
}
"Keys of a grid: kind and default. ``changes`` are fields to replace, as ``pseudo_labels.foreground_above: 0.8``"


def grid(values: Mapping[str, Any]) -> list[Task]:
    """The tasks of a grid: every preset with every change, setting and seed; ValueError for unknown or wrong ones."""
    for key in values:
        require_known(str(key), GRID, "key of a grid")
    given = {
        key: coerced(values.get(key, default), kind, key) for key, (kind, default) in GRID.items() if key != "changes"
    }
    changes = values.get("changes") or [{}]
    if not isinstance(changes, list) or not all(isinstance(one, dict) for one in changes):
        raise ValueError(f"changes must be a list of fields to replace, as `- schedule.period: 25`, got {changes!r}")
    for key in ("presets", "seeds", "settings"):
        if not given[key]:
            raise ValueError(f"{key} must name at least one, got an empty list")
    for setting in given["settings"]:
        require_known(setting, [*DIFFICULTIES, DRAWN], "setting")
    dataset, source, root, profile, world, presets, seeds, settings, *rate = given.values()
    dataset = get_dataset(dataset).given
    place = dataset, source, root, profile, world
    fields = [{str(field): value for field, value in change.items()} for change in changes]
    return [
        Task(preset(name, dataset, profile, seed, **change), Spec(*place, setting, *rate))
        for setting, name, change, seed in itertools.product(settings, presets, fields, seeds)
    ]


def read_grid(path: Path) -> dict[str, Any]:
    """A grid's keys and values from a YAML file; FileNotFoundError for none, ValueError for what is no mapping."""
    if not path.is_file():
        raise FileNotFoundError(f"no grid at {path}; give a YAML file of {', '.join(GRID)}")
    try:
        values = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must map {', '.join(GRID)} to values, got {type(values).__name__}")
    return values
