"""What a result must say about itself: the code, packages, machine and memory behind it; and where it is kept."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd


def project_root(start: Path | None = None) -> Path:
    """The repository's root: the nearest folder at or above ``start`` (default: the working directory) that holds it.

    papermill's kernel starts where the shell stands, JupyterLab's beside the notebook: both find the same root. Outside
    of the repository it is the folder an editable install points at, else ``start`` itself.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents, Path(__file__).resolve().parents[2]):
        marker = folder / "pyproject.toml"
        if marker.is_file() and re.search(r'^name = "wtal_lib"$', marker.read_text(encoding="utf-8"), re.MULTILINE):
            return folder
    return start


def seen_from(given: str, root: Path) -> Path:
    """The folder ``given``, where it exists seen from the working directory or else from ``root``; else the former."""
    places = [place / Path(given).expanduser() for place in (Path.cwd(), root)]
    return next((place for place in places if place.is_dir()), places[0])


def require_writable(folder: Path) -> None:
    """Nothing, when files can be made in ``folder``, which then exists.

    Raises:
        PermissionError: they cannot; the message says why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"results cannot be written to {folder} ({error.strerror or error}); make it writable, or give another"
            " folder as `results`"
        ) from None


def read_record(path: Path) -> dict[str, Any]:
    """A record as it was written.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is not JSON, or not a record.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # covers undecodable bytes too
        raise ValueError(f"{path} is not a record ({error}): it was damaged; run its notebook again") from None
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        raise ValueError(f"{path} is not a record: it has no list of files; run its notebook again")
    return record


def sha256(content: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of text as UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def code_state(root: Path) -> dict[str, Any]:
    """Revision of the code, whether it was changed since, and a hash of every module of ours that was loaded.

    The revision is null where there is no git repository; the hashes are there always.
    """
    package = Path(__file__).parents[1]
    files = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] == package.name and file and Path(file).is_file():
            files[f"{package.name}/{Path(file).relative_to(package)}"] = sha256(Path(file).read_bytes())
    changed = _git(root, "status", "--porcelain", "--", package.name, "pyproject.toml")
    return {
        "revision": _git(root, "rev-parse", "HEAD"),
        "dirty": None if changed is None else bool(changed),
        "files": files,
    }


METHOD = (
    "data/segments", "method/config", "method/pooling", "method/losses", "method/layers", "method/models",
    "method/heads/__init__", "method/heads/conv", "method/heads/cola", "method/heads/co2net", "method/heads/contrast",
    "method/pseudo_labels", "method/schedule", "method/trainer", "method/state", "method/batches",
    "method/reliability", "method/predict", "method/localize", "data/proposals", "score/metrics", "score/matching",
    "score/completeness", "data/datasets", "simulate/packs", "simulate/structure", "simulate/timeline",
    "simulate/modalities", "simulate/knobs",
)  # fmt: skip
"modules that a run's numbers come out of"


@functools.cache
def method_digest() -> str:
    """Hash of the code that a run's numbers come out of: a change of comments, docstrings or layout leaves it alone.

    It is the same on every Python: fields of the syntax tree that are empty, or that only some versions have, are left
    out.
    """
    total = hashlib.sha256()
    for name in METHOD:
        total.update(_said(ast.parse((Path(__file__).parents[1] / f"{name}.py").read_bytes())).encode())
    return total.hexdigest()[:16]


def _said(node: object) -> str:
    """What a syntax tree says, docstrings aside."""
    if isinstance(node, list):
        return "[" + ",".join(_said(one) for one in node if not _is_text(one)) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return f"{type(node).__name__}({','.join(f'{name}={_said(value)}' for name, value in fields)})"


def _is_text(node: object) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=20)  # noqa: S603, S607
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def environment() -> dict[str, Any]:
    """Python, packages and device of this process: the packages are those the project asks for, as installed."""
    packages = {}
    for requirement in importlib.metadata.requires("wtal_lib") or []:
        if "extra ==" not in requirement:
            name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]
            packages[name] = importlib.metadata.version(name)
    torch = sys.modules.get("torch")
    device = torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else "cpu"
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "device": device,
        "packages": packages,
    }


def peak_memory() -> float:
    """Most memory this process has held so far, MiB; nan on a system that does not say."""
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def markdown(frame: pd.DataFrame, digits: int = 3) -> str:
    """A frame as a GitHub table, numbers to ``digits`` significant places and right-aligned; its index is left out."""

    def cell(value: Any) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"
        return (
            f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value).replace("|", "\\|")
        )

    numeric = [pd.api.types.is_numeric_dtype(kind) for kind in frame.dtypes]
    rows = [list(map(str, frame.columns)), ["---:" if right else "---" for right in numeric]]
    rows += [[cell(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def rounded(value: Any) -> Any:
    """JSON values with numbers to six digits, which is more than any of them is sure of."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(one) for one in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
