"""Where runs are kept: their records below ``results/``, what is computed on the way below ``cache/``.

A record appears whole or not at all, and carries a checksum. Its first line is its card, a summary, so that ten
thousand runs are listed by reading ten thousand lines. One process computes a run, the others wait: a lock of the
operating system, which goes with the process that held it. Nothing here looks at a clock.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.files import replacing
from wtal_lib.data.segments import Detections
from wtal_lib.method.config import Config
from wtal_lib.method.presets import PRESETS, PROFILE_FIELDS, preset
from wtal_lib.runs.records import cache_root, flat, project_root
from wtal_lib.score.detections import read_detections
from wtal_lib.settings import from_dict, sha256, to_dict
from wtal_lib.simulate.knobs import DIFFICULTIES, DRAWN, difficulty

RECORD, TRACEBACK, CHECKPOINT, WARMUP = "record.json", "traceback.txt", "last.safetensors", "warmup-"
"names in the cache; a folder that begins with the last one holds a warm-up that runs share"
DETECTIONS = {"fused": "detections.json", "cbp": "detections_cbp.json", "vlp": "detections_vlp.json"}
"by branch, in ActivityNet's format"
KEPT = {"networks": CHECKPOINT, "detections": "detections.json*"}
"what may be kept of a finished run beside its record, and its files"


@dataclass(frozen=True)
class Store:
    """The runs on one dataset from one source."""

    records: Path
    "results/SOURCE/DATASET/runs: IDENTITY.json of every finished run"
    cache: Path
    "cache/runs/SOURCE/DATASET: a folder IDENTITY of every run that is not finished, or of which more is kept"
    lasting: bool = False
    "whether the warm-ups that runs of a sweep share stay for the sweeps to come, until :meth:`tidy`"

    @classmethod
    def below(cls, results: Path | None, source: str, dataset: str) -> Store:
        """The store of a dataset and source in a folder of results, default the project's ``results/``."""
        results = results or project_root() / "results"
        return cls(results / source / dataset / "runs", cache_root() / "runs" / source / dataset)

    def tidy(self, pattern: str = f"{WARMUP}*") -> None:
        """Remove warm-ups, unless another sweep uses them."""
        for shared in self.cache.glob(pattern):
            with suppress(Timeout), alone(shared, wait=False):
                shutil.rmtree(shared, ignore_errors=True)

    def places(self, identity: str) -> list[Path]:
        """Where a run's record may lie: among the results, and in the run's folder in the cache."""
        return [self.records / f"{identity}.json", self.cache / identity / RECORD]


def write(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write a record under its card and checksum, and :func:`read` it; OSError leaves what was there before."""
    content = {"card": card(record), **record}
    content["checksum"] = _checksum(content)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    with replacing(path) as file:
        file.write(f"{{{lines}}}\n".encode())
    return read(path)


def read(path: Path) -> dict[str, Any]:
    """A record, with its ``card`` and ``checksum``; FileNotFoundError for none, ValueError where it is damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["checksum"] != _checksum(record):
            raise ValueError("it does not match its checksum")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); run it again, or `wtal results prune damaged`") from None
    return record


def _checksum(record: Mapping[str, Any]) -> str:
    return sha256(json.dumps({name: value for name, value in record.items() if name != "checksum"}, sort_keys=True))


def finished(identity: str, places: Sequence[Path]) -> dict[str, Any] | None:
    """The first whole record of a run in ``places``; None where there is none. ValueError for one of another run."""
    for path in places:
        try:
            record = read(path)
        except (OSError, ValueError):
            continue
        if record["identity"] == identity:
            return record
        raise ValueError(
            f"{path.parent} holds another run, {record['identity']}, not {identity}: another configuration, other data,"
            " another kind of device or another version of the method; choose another folder, or compute it anew"
        )
    return None


def clear(folder: Path, places: Sequence[Path] = ()) -> None:
    """Remove what killed processes left half-written of a run, and set damaged records aside, under the run's lock."""
    for stale in folder.glob(".*.part"):
        stale.unlink(missing_ok=True)
    for path in places:
        try:
            read(path)
        except FileNotFoundError:
            continue
        except ValueError:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.move(path, folder / "record.damaged")


def forget(folder: Path, places: Sequence[Path]) -> None:
    """Remove all that is kept of a run, so that it is computed anew."""
    for path in places:
        path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def card(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a list shows of a run: how it differs from its preset, and its headline mAP, a fraction."""
    config, headline, simulator = from_dict(Config, record["config"]), record["headline"], record["data"]["simulator"]
    mean, value = next(iter(record["metrics"][headline["branch"]][headline["protocol"]]["means"].items()))
    profile, changes = differences(config)
    return {
        **{name: record[name] for name in ("identity", "source", "structure", "preset", "seed", "method")},
        **{"dataset": config.dataset, "setting": _setting(simulator) if simulator else "", "profile": profile},
        **{"changes": changes, "device": record["device"], "precision": record["precision"], **headline},
        **{"mean": mean, "map": value, "seconds": record["wall_seconds"]},
    }


def differences(config: Config) -> tuple[str, dict[str, Any]]:
    """The profile a configuration is nearest to, and its fields that differ from the preset there, precision apart."""
    own, settled, found = flat(to_dict(config)), {"training__precision": config.training.precision}, []
    for profile in PROFILE_FIELDS if config.preset in PRESETS else ():
        usual = preset(config.preset, config.dataset, profile, config.seed, **settled)
        found.append((profile, dict(own.items() - flat(to_dict(usual)).items())))
    return min(found, key=lambda one: len(one[1]), default=("", {}))


def _setting(knobs: Mapping[str, Any]) -> str:
    """The name of a simulated world's difficulty; empty when it has none."""
    fixed = {name: knobs[name] for name in ("dataset", "profile", "seed")}
    return next((name for name in [*DIFFICULTIES, DRAWN] if to_dict(difficulty(name, **fixed)) == dict(knobs)), "")


def pack_detections(folder: Path) -> None:
    """Compress the detections in a run's folder, to a fifth of their size."""
    for path in folder.glob("detections*.json"):
        with replacing(path.with_suffix(".json.gz")) as file:
            file.write(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()


def kept_detections(folder: Path, annotations: Annotations, branch: str = "fused") -> Detections:
    """The detections of a branch that a run has kept, compressed or not; FileNotFoundError where it has kept none."""
    for path in folder.glob(f"{DETECTIONS[branch]}*"):
        return read_detections(path, annotations)
    raise FileNotFoundError(
        f"{folder / DETECTIONS[branch]} is missing, of a run whose record is there: let its task keep detections, and"
        " compute it again with `anew`"
    )


@contextmanager
def alone(folder: Path, wait: bool = True) -> Iterator[None]:
    """One thread of one process at a time is in this block for a run's folder; Timeout where it shall not ``wait``."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(_lock(folder), timeout=-1 if wait else 0):
        try:
            yield
        finally:
            with suppress(OSError):
                os.unlink(_lock(folder))  # before it is let go, so that no lock is left behind


def state(folder: Path) -> str:
    """State of a run without a record: ``running`` (by a process that is alive), ``failed`` or ``unfinished``."""
    if _lock(folder).exists():
        try:
            with FileLock(_lock(folder), timeout=0):
                pass
        except Timeout:
            return "running"
        except OSError:  # a folder that can only be read
            pass
    return "failed" if (folder / TRACEBACK).exists() else "unfinished"


def _lock(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.lock")
