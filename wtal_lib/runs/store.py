"""The results store: a folder of runs, each in a folder named by its content; safe for many writers, readable always.

A record appears whole or not at all, and carries a checksum. Its first line is its card, a summary, so that a store of
ten thousand runs is listed by reading ten thousand lines. One process computes a run, the others wait: a lock of the
operating system, which goes with the process that held it. Nothing here looks at a clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wtal_lib.data.files import replacing
from wtal_lib.method.config import Config
from wtal_lib.method.presets import PRESETS, PROFILE_FIELDS, preset
from wtal_lib.settings import from_dict, to_dict, unknown
from wtal_lib.simulate.knobs import DIFFICULTIES, difficulty

try:
    import fcntl
except ImportError:  # a system without such locks: nobody waits
    fcntl = None  # type: ignore[assignment]

RECORD, TRACEBACK, LOCK, CHECKPOINT = "record.json", "traceback.txt", ".lock", "last.safetensors"
WARMUP = "warmup-"
"how the folders begin in which runs keep a beginning that others share"


def write(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """What :func:`read` now returns of the folder: the record, before it its card and checksum.

    Raises:
        OSError: it cannot be written; what was there before is as it was.
    """
    content = {"card": card(record), **record}
    content["checksum"] = _checksum(content)
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in content.items())
    with replacing(folder / RECORD) as file:
        file.write(f"{{{lines}}}\n".encode())
    for stale in (folder / TRACEBACK, folder / "previous.safetensors"):
        stale.unlink(missing_ok=True)
    return read(folder)


def read(folder: Path) -> dict[str, Any]:
    """The record of a run, with its ``card`` and ``checksum``.

    Raises:
        FileNotFoundError: the folder holds no finished run.
        ValueError: the record is damaged: it is no JSON, or not what was written.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        whole = record["checksum"] == _checksum(record)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); run it again, or `wtal results prune damaged`") from None
    if not whole:
        raise ValueError(f"{path} is damaged: it does not match its checksum; run it again")
    return record


def finished(folder: Path, identity: str) -> dict[str, Any] | None:
    """The record of a finished run; None where there is none or it is damaged.

    Raises:
        ValueError: the folder holds a whole record, but of another run.
    """
    try:
        record = read(folder)
    except (OSError, ValueError):
        return None
    if record["identity"] != identity:
        raise ValueError(
            f"{folder} holds another run, {record['identity']}, not {identity}: another configuration, other data or"
            " another version of the method; choose another folder, or compute it anew"
        )
    return record


def clear(folder: Path) -> None:
    """Nothing; what killed processes left half-written in a run's folder is gone, a damaged record is set aside.

    To be called by whoever holds the run's lock.
    """
    for stale in folder.glob(".*.part"):
        stale.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        os.replace(folder / RECORD, folder / "record.damaged")


def forget(folder: Path) -> None:
    """Nothing; a run's record, traceback and checkpoints are gone, so that it is computed anew."""
    for path in (folder / RECORD, folder / TRACEBACK, *folder.glob("*.safetensors")):
        path.unlink(missing_ok=True)


def _checksum(record: Mapping[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def card(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a list says of a run: how it differs from its preset, and its headline number, a fraction."""
    config = from_dict(Config, record["config"])
    profile, changes = differences(config)
    headline, simulator = record["headline"], record["data"]["simulator"]
    scored = record["metrics"][headline["branch"]][headline["protocol"]]
    mean, value = next(iter(scored["means"].items()))
    return {
        "identity": record["identity"], "dataset": config.dataset, "source": record["source"],
        "setting": _setting(simulator) if simulator else "", "preset": config.preset, "profile": profile,
        "changes": changes, "seed": config.seed, "method": record["method"], "protocol": headline["protocol"],
        "branch": headline["branch"], "mean": mean, "map": value, "seconds": record["wall_seconds"],
    }  # fmt: skip


def differences(config: Config) -> tuple[str, dict[str, Any]]:
    """The profile that a configuration is nearest to, and the fields in which it differs from its preset there."""
    own = flat(to_dict(config))
    found = []
    for profile in PROFILE_FIELDS if config.preset in PRESETS else ():
        usual = flat(to_dict(preset(config.preset, config.dataset, profile, config.seed)))
        found.append((profile, {name: value for name, value in own.items() if value != usual[name]}))
    return min(found, key=lambda one: len(one[1]), default=("", {}))


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values under dotted names."""
    content: dict[str, Any] = {}
    for name, value in values.items():
        content |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return content


def _setting(knobs: Mapping[str, Any]) -> str:
    """The name of a simulated world's difficulty; empty when it has none."""
    fixed = {name: knobs[name] for name in ("dataset", "profile", "seed")}
    return next((name for name in DIFFICULTIES if to_dict(difficulty(name, **fixed)) == dict(knobs)), "")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A block that one process (and one thread of it) at a time enters for a run's folder; the others wait.

    The lock is the operating system's: it goes with the process, however that ends, on shared file systems too. Where
    the file system has no locks, nobody waits, and a run may be computed twice, to the same record.
    """
    handle = _locked(folder / LOCK)
    try:
        yield
    finally:
        with suppress(OSError):
            os.unlink(folder / LOCK)  # before it is let go, so that no lock is left behind
        os.close(handle)


def _locked(path: Path, wait: bool = True) -> int:
    """A handle that holds the lock.

    Raises:
        BlockingIOError: it is held by another, and not to be waited for.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(handle)
            raise
        except OSError:  # no locks here
            return handle
        except BaseException:
            os.close(handle)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)  # whoever held it has removed it meanwhile: it would lock nothing


def state(folder: Path) -> str:
    """``finished``, ``failed``, ``running`` (by a process that is alive), or ``unfinished``."""
    if (folder / RECORD).exists():
        return "finished"
    with suppress(OSError):
        handle = os.open(folder / LOCK, os.O_RDONLY)
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return "running"
        finally:
            os.close(handle)
    return "failed" if (folder / TRACEBACK).exists() else "unfinished"


def cards(store: Path) -> list[dict[str, Any]]:
    """The card of each run of a store with its ``state``; a run that is not finished has nothing else but its identity.

    Safe while others write. A record whose first line cannot be read is ``damaged``; :func:`read` looks at the rest.
    """
    found = []
    with os.scandir(store) as entries:
        names = sorted(entry.name for entry in entries if re.fullmatch("[0-9a-f]{16}", entry.name))
    for name in names:
        content: dict[str, Any] = {"identity": name}
        try:
            with open(f"{store}/{name}/{RECORD}", "rb") as file:
                first = json.loads(file.readline().rstrip().rstrip(b",") + b"}")
            content = {**first["card"], "state": "finished"}
        except FileNotFoundError:
            content["state"] = state(store / name)
        except (ValueError, LookupError, TypeError):
            content["state"] = "damaged"
        found.append(content)
    return found


PRUNABLE = {
    "leftovers": "what killed processes left half-written",
    "damaged": "damaged records and checkpoints that were set aside, and records that do not match their checksum",
    "failed": "runs that failed",
    "unfinished": "runs that were begun and not finished, with their checkpoints",
    "superseded": "finished runs of another version of the method",
    "checkpoints": "checkpoints of finished runs: they can no longer be applied to other videos",
    "warmups": "beginnings that several runs share: the next one computes its own again",
}
"What :func:`prune` can remove"


def prune(store: Path, what: Collection[str], *, method: str, remove: bool = False) -> list[Path]:
    """Files and folders of a store that ``what`` names, among :data:`PRUNABLE`; they are gone if ``remove`` is true.

    A run that is being computed is left alone. ``method`` is the present version of the method.

    Raises:
        ValueError: an unknown kind.
    """
    for name in what:
        if name not in PRUNABLE:
            raise ValueError(unknown(name, list(PRUNABLE), "kind of thing to prune"))
    gone: list[Path] = []
    warmups = [{"identity": path.name, "state": state(path)} for path in sorted(store.glob(f"{WARMUP}*"))]
    for one in (*cards(store), *warmups):
        folder = store / one["identity"]
        chosen = [] if one["state"] == "running" else _chosen(folder, one, what, method)
        if chosen and remove:
            try:
                handle = _locked(folder / LOCK, wait=False)
            except BlockingIOError:  # somebody has just begun it
                continue
            for path in (*chosen, folder / LOCK):
                shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            os.close(handle)
        gone += chosen
    return gone


def _chosen(folder: Path, one: Mapping[str, Any], what: Collection[str], method: str) -> list[Path]:
    """What is to go of one run: its folder, or files in it."""
    condition = "warmups" if folder.name.startswith(WARMUP) else one["state"]
    other = condition == "finished" and one["method"] != method
    if condition in {"failed", "unfinished", "warmups"} & set(what) or (other and "superseded" in what):
        return [folder]
    patterns = {"leftovers": (".*.part", LOCK), "damaged": ("*.damaged",)}
    if condition == "finished":
        patterns["checkpoints"] = ("*.safetensors",)
    chosen = [path for name, globs in patterns.items() if name in what for glob in globs for path in folder.glob(glob)]
    if condition in ("finished", "damaged") and "damaged" in what:
        try:
            read(folder)
        except ValueError:
            chosen.append(folder / RECORD)
    return chosen
