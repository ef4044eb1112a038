"""Many runs: configurations to their records, on the cores of this machine or a Dask cluster, none computed twice."""

from __future__ import annotations

import functools
import itertools
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from wtal_lib.data.annotations import data_root
from wtal_lib.data.files import replacing
from wtal_lib.method.config import Config
from wtal_lib.method.presets import preset
from wtal_lib.parallel import Failure, Progress, completed
from wtal_lib.runs import records, store
from wtal_lib.runs.run import curved, identity, run
from wtal_lib.runs.sources import Data, Spec, open_data
from wtal_lib.settings import coerced, to_dict, unknown
from wtal_lib.simulate.knobs import DIFFICULTIES

PRELOAD = ("wtal_lib.runs.sweep", "torch._dynamo", "numba.core.compiler")
"what runs import, the last two when PyTorch makes an optimizer and numba compiles; seconds each"


@dataclass(frozen=True)
class Task:
    """One run of a sweep: what is computed, and where its data are found."""

    config: Config
    spec: Spec
    curve: bool = True
    "whether the test mAP after each phase is recorded too, which takes as long again as a short training"


@dataclass(frozen=True)
class _Job:
    """A task as it travels to a worker: no data, but how to know the right ones."""

    config: Config
    spec: Spec
    folder: str
    identity: str
    fingerprint: tuple[tuple[str, str], ...]
    device: str
    curve: bool


def sweep(
    tasks: Sequence[Task],
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str = "",
    anew: bool = False,
    retry: bool = False,
    device: str = "auto",
    progress: Callable[[Progress], None] | None = None,
) -> list[dict[str, Any]]:
    """The record of each task, in their order, which also lie in ``folder``, the store, each under its identity.

    What the store holds is not computed, and needs no folder that can be written. Of a run that failed the record is
    ``identity``, ``config``, ``preset``, ``seed``, ``error`` and ``traceback_file``; the others go on. A failed run is
    computed again with ``retry``, everything with ``anew``. Killed half-way, the same call goes on where it was.

    ``workers`` processes of this machine share the runs (by default one a core), or the workers of the Dask
    ``scheduler``, which need to see the store under the same path. Each run has one thread, so that its numbers do not
    depend on how many cores there are. ``progress`` is called whenever a run is done; ``print`` will do.

    Raises:
        ValueError, FileNotFoundError: as :func:`wtal_lib.runs.sources.open_data` or
            :func:`wtal_lib.parallel.completed`.
        PermissionError: something is to be computed and ``folder`` cannot be written.
    """
    jobs = _jobs(tasks, folder.resolve(), device)
    known = {} if anew else {job.identity: _known(job, retry) for job in jobs}
    todo = list({job.identity: job for job in jobs if known.get(job.identity) is None}.values())
    if todo:
        records.require_writable(folder)
    for job in todo if anew else ():
        with store.alone(Path(job.folder)):
            store.forget(Path(job.folder))
    before = [one for one in known.values() if one is not None]
    failed = sum("error" in one for one in before)

    def tell(one: Progress) -> None:
        if progress is not None:
            done, total = one.done + len(before), one.total + len(before)
            progress(one._replace(done=done, failed=one.failed + failed, total=total))

    options: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "preload": PRELOAD, "progress": tell}
    with closing(completed(_compute, todo, **options)) as arriving:
        for i, result in arriving:
            known[todo[i].identity] = _failed(todo[i], result) if isinstance(result, Failure) else result
    return [known[job.identity] for job in jobs]  # type: ignore[misc]


def _jobs(tasks: Sequence[Task], folder: Path, device: str) -> list[_Job]:
    """Each task under its identity, which its data have to be looked at for."""
    opened = {task.spec: open_data(task.spec) for task in tasks}
    roots = {spec: str(root) if (root := data_root(spec.root or None).resolve()).is_dir() else "" for spec in opened}
    jobs = []
    for config, spec, curve in ((task.config, task.spec, task.curve) for task in tasks):
        data = opened[spec]
        name, marks = identity(config, data), _sorted(data.fingerprint)
        # a path that means the same in another working directory
        jobs.append(_Job(config, replace(spec, root=roots[spec]), str(folder / name), name, marks, device, curve))
    curved_ones = {job.identity for job in jobs if job.curve}
    return [replace(job, curve=job.identity in curved_ones) for job in jobs]


def _sorted(fingerprint: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(fingerprint.items()))


def _known(job: _Job, retry: bool) -> dict[str, Any] | None:
    """The record of a finished run, or what is known of one that failed; None where it is to be computed."""
    path = Path(job.folder)
    record = store.finished(path, job.identity)
    if record is not None and job.curve and not curved(record):
        return None
    if record is None and not retry and (path / store.TRACEBACK).exists():
        *_, error = (path / store.TRACEBACK).read_text(encoding="utf-8").rstrip().splitlines() or [""]
        return _failure(job, error, path / store.TRACEBACK)
    return record


def _failure(job: _Job, error: str, traceback_file: Path | str) -> dict[str, Any]:
    config = job.config
    said = {"config": to_dict(config), "preset": config.preset, "seed": config.seed}
    return {"identity": job.identity, **said, "error": error, "traceback_file": str(traceback_file)}


def _failed(job: _Job, failure: Failure) -> dict[str, Any]:
    """What stands in the record's place; the traceback lies in the run's folder, or where there is still room."""
    head = f"run {job.identity}: {job.config.preset}, seed {job.config.seed}\n"
    text = f"{head}{failure.traceback}\n{failure.error}\n".encode()
    for place in (Path(job.folder), Path(tempfile.gettempdir()) / f"wtal-{job.identity}"):
        try:
            with replacing(place / store.TRACEBACK) as file:
                file.write(text)
        except OSError:
            continue
        return _failure(job, failure.error, place / store.TRACEBACK)
    return _failure(job, failure.error, "")


_ONE_RUN = threading.Lock()
"held by the run of this process: threads of a Dask worker share torch's random state"


def _compute(job: _Job) -> dict[str, Any]:
    """The record of a run, on whatever machine this is.

    Raises:
        FileNotFoundError: the data are not here, or others are.
        ValueError: this is another version of the method than the one that asked; as :func:`wtal_lib.runs.run.run`.
    """
    with _ONE_RUN:
        data = _data(job)
        if identity(job.config, data) != job.identity:
            raise ValueError(
                f"the worker on {socket.gethostname()} has another version of wtal_lib than the one that started the"
                " sweep, or its files were changed since; install the same one and start both again"
            )
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return run(job.config, data, Path(job.folder), device=job.device, curve=job.curve)
        finally:
            torch.set_num_threads(threads)


@functools.lru_cache(maxsize=1)
def _opened(spec: Spec) -> Data:
    """Data that consecutive runs of a process share."""
    return open_data(spec)


def _data(job: _Job) -> Data:
    """The data of a job, at its path or wherever this worker has the same content."""
    places = list(dict.fromkeys((job.spec, replace(job.spec, root=""))))
    seen = []
    for spec in places:
        try:
            data = _opened(spec)
            if _sorted(data.fingerprint) != job.fingerprint:
                _opened.cache_clear()  # what lies there may have changed
                data = _opened(spec)
        except FileNotFoundError as error:
            seen.append(str(error))
            continue
        if _sorted(data.fingerprint) == job.fingerprint:
            return data
        other = [kind for kind, one in job.fingerprint if data.fingerprint.get(kind) != one]
        seen.append(f"{data_root(spec.root or None)} has other {' and '.join(other)}, taken as {data.source}")
    raise FileNotFoundError(
        f"the worker on {socket.gethostname()} lacks the data of this run: {'; '.join(seen)}. Make the folder"
        f" {job.spec.root or 'of the data'} visible there, or set WTAL_DATA for its workers"
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
}
"Keys of a grid: kind and default. ``changes`` are fields to replace, as ``pseudo_labels.foreground_above: 0.8``"


def grid(values: Mapping[str, Any]) -> list[Task]:
    """The tasks of a grid: every preset with every change, setting and seed.

    Raises:
        ValueError: an unknown key, preset, setting or field (the nearest known one is offered), or a wrong value.
    """
    for key in values:
        if key not in GRID:
            raise ValueError(unknown(str(key), list(GRID), "key of a grid"))
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
        if setting not in DIFFICULTIES:
            raise ValueError(unknown(setting, list(DIFFICULTIES), "setting"))
    dataset, profile = given["dataset"], given["profile"]
    return [
        Task(
            preset(name, dataset, profile, seed, **{str(field): value for field, value in change.items()}),
            Spec(dataset, given["source"], given["data_root"], profile, given["world"], setting),
        )
        for setting, name, change, seed in itertools.product(
            given["settings"], given["presets"], changes, given["seeds"]
        )
    ]


def read_grid(path: Path) -> dict[str, Any]:
    """The keys and values of a grid in a YAML file, for :func:`grid`.

    Raises:
        ValueError: no YAML, or no mapping.
        FileNotFoundError: there is no such file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no grid at {path}; give a YAML file of {', '.join(GRID)}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path} must map {', '.join(GRID)} to values, got {type(values).__name__}")
    return values
