"""What a result says about itself: method, code, packages, machine, memory; and where it is kept."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pandas as pd

from wtal_lib.settings import sha256

METHOD = 7
"""Revision of the method, raised by hand when a change to the code changes a run's numbers: runs of another revision
are computed anew. ``tests/test_fingerprint.py`` notices a change that was not declared, and pins the new numbers."""


def project_root() -> Path:
    """The repository around the working directory, else an editable install's, else the working directory."""
    here = Path.cwd().resolve()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[2]):
        marker = folder / "pyproject.toml"
        if marker.is_file() and re.search(r'^name = "wtal_lib"$', marker.read_text(encoding="utf-8"), re.MULTILINE):
            return folder
    return here


def cache_root() -> Path:
    """Folder of what is computed on the way: ``$WTAL_CACHE``, else ``cache/`` in the project's root."""
    given = os.environ.get("WTAL_CACHE")
    return Path(given).expanduser().resolve() if given else project_root() / "cache"


def seen_from(given: str, root: Path) -> Path:
    """The path ``given``, where it exists seen from the working directory or else from ``root``; else the former."""
    places = [place / Path(given).expanduser() for place in (Path.cwd(), root)]
    return next((place for place in places if place.exists()), places[0])


def require_writable(folder: Path, remedy: str = "give another folder as `results`") -> None:
    """Make ``folder``, if need be, and check that files can be made in it; PermissionError says why they cannot."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"results cannot be written to {folder} ({error.strerror or error}); make it writable, or {remedy}"
        ) from None


def read_record(path: Path) -> dict[str, Any]:
    """A record as it was written; FileNotFoundError where there is none, ValueError for what is no record."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # covers undecodable bytes too
        raise ValueError(f"{path} is not a record ({error}): it was damaged; run its notebook again") from None
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise ValueError(f"{path} is not a record: it has no list of files; run its notebook again")
    return record


def code_state(root: Path) -> dict[str, Any]:
    """Revision of the code and whether it was changed since (null without git); hashes of the loaded files."""
    package = Path(__file__).parents[1]
    loaded = [Path(getattr(module, "__file__", None) or "") for module in sys.modules.values()]
    ours = sorted(path for path in {*loaded} if package in path.parents and path.is_file())
    files = {path.relative_to(package.parent).as_posix(): sha256(path.read_bytes()) for path in ours}
    changed = _git(root, "status", "--porcelain", "--", package.name, "pyproject.toml")
    return {
        "revision": _git(root, "rev-parse", "HEAD"),
        "dirty": changed if changed is None else changed != "",
        "files": files,
    }


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def environment() -> dict[str, Any]:
    """Python, packages and device of this process: the packages are those the project asks for, as installed."""
    required = [one for one in importlib.metadata.requires("wtal_lib") or [] if "extra ==" not in one]
    names = [re.split(r"[\[<>=!~; ]", one, maxsplit=1)[0] for one in required]
    torch = sys.modules.get("torch")
    device = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else "cpu"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
        "packages": {name: importlib.metadata.version(name) for name in names},
    }


def peak_memory() -> float:
    """Most memory this process has held so far, MiB; nan on a system that does not say."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def made(root: Path, began: float) -> dict[str, Any]:
    """How a result was made: code in ``root``, packages, end and seconds since ``began`` (monotonic), memory."""
    return {
        "code": code_state(root),
        "environment": environment(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "wall_seconds": round(time.monotonic() - began, 2),
        "peak_memory_mib": round(peak_memory(), 1),
    }


def rounded(value: Any) -> Any:
    """JSON values with their numbers to six digits, more than can be trusted of any."""
    return json.loads(json.dumps(value), parse_float=lambda text: float(f"{float(text):.6g}"))


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested values under dotted names."""
    row: Any = pd.json_normalize(dict(values))
    return row.to_dict("records")[0]
