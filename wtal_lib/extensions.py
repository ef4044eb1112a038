"""Parts of one's own, by name: ``module:attribute`` to the object and its module's text, here and on Dask workers."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any, NamedTuple

SEPARATOR = ":"
"between a module and what it holds"
CALLED = {
    "cbp.head": "Head(moments, classes, config)",
    "vlp.head": "Head(moments, text, logit_scale, config)",
    "pseudo_labels.rule": "rule(student, evidence, config, shares)",
    "losses.extra": "loss(output, mask, y)",
    "fusion": "fusion(cas_btc, share_b)",
}
"how a part of each kind is called, by the config's field"


class Loaded(NamedTuple):
    """A module as it was run: its file, and the text that was run."""

    module: ModuleType
    path: Path
    text: str


_loaded: dict[str, Loaded] = {}
"modules by name; what a run was named by is what it runs, whatever becomes of the file meanwhile"
_LOCK = RLock()


def is_own(name: str) -> bool:
    """Whether a name in a config is ``module:attribute``, and neither a built-in one nor a path."""
    return re.fullmatch(r"(?!precomputed:)[^\W\d][\w.]*:[^\W\d][\w.]*", name) is not None


def load(name: str, field: str) -> Any:
    """What ``module:attribute`` names; its module is run once, until :func:`read` finds another text.

    Modules are looked for in the current folder too, as ``python -m`` does. ``field`` is what the name was given for.

    Raises:
        ValueError: no such module, one that does not import, or that holds no such thing, with those that it holds; or
            a part that is called otherwise than its kind is.
    """
    module, _, attribute = name.partition(SEPARATOR)
    found: Any = (_loaded.get(module) or read(module, f"{field} {name!r}")).module
    for part in attribute.split("."):
        if not hasattr(found, part):
            known = [one for one, value in vars(found).items() if callable(value) and one[0] != "_"]
            raise ValueError(f"{field} {name!r}: {module} holds no {part!r}; it holds {', '.join(known) or 'nothing'}")
        found = getattr(found, part)
    expected = CALLED[field]
    try:
        inspect.signature(found).bind(*range(expected.count(",") + 1))
    except (TypeError, ValueError):
        came = f"{attribute}{inspect.signature(found)}" if callable(found) else repr(found)
        raise ValueError(f"{field} {name!r} must be called as {expected}, got {came}") from None
    return found


@contextmanager
def blamed(field: str, name: str) -> Iterator[None]:
    """A block in which an error of one's own part becomes a ValueError that names it."""
    try:
        yield
    except Exception as error:
        if not is_own(name) or str(error).startswith(field):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{field} {name!r} fails on a batch of two videos: {what}") from error


def read(module: str, what: str) -> Loaded:
    """A module by the text of its file as it is now, run anew where it has changed. ValueError as :func:`load`."""
    with _LOCK, _here():
        spec = _spec(module, what)
        path = Path(spec.origin or "")
        text = spec.loader.get_source(module) if hasattr(spec.loader, "get_source") else None  # type: ignore[union-attr]
        if text is None:
            raise ValueError(f"{what}: {module} has no source text, by which a run could be named; give a .py file")
        known = _loaded.get(module)
        if known is None or (known.path, known.text) != (path, text):
            _loaded[module] = Loaded(_run(spec, text, path, what), path, text)
        return _loaded[module]


def _spec(module: str, what: str) -> ModuleSpec:
    """Where a module is now, whatever was imported under its name before."""
    importlib.invalidate_caches()
    before = sys.modules.pop(module, None)
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    finally:
        if before is not None:
            sys.modules[module] = before
    if spec is None:
        raise ValueError(f"{what}: no module {module}; expected {module}.py in {Path.cwd()} or on Python's path")
    return spec


def _run(spec: ModuleSpec, text: str, path: Path, what: str) -> ModuleType:
    """The module that ``text`` makes, which stands in ``sys.modules`` from then on."""
    module, before = module_from_spec(spec), sys.modules.get(spec.name)
    sys.modules[spec.name] = module
    try:
        exec(compile(text, str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own, named by the user
    except Exception as error:
        del sys.modules[spec.name]
        if before is not None:
            sys.modules[spec.name] = before
        raise ValueError(f"{what}: {path.name} does not import: {type(error).__name__}: {error}") from error
    return module


@contextmanager
def _here() -> Iterator[None]:
    """The current folder first on Python's path, as ``python -m`` has it."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def share(client: Any, modules: Iterable[str]) -> None:
    """Make every worker of a Dask client have ``modules``: sent by Dask where one is not importable.

    Raises:
        ValueError: a worker has another text of one, or lacks one within a package, which cannot be sent.
    """
    for module in modules:
        own, sent = _loaded[module], False
        for worker, (text, was_sent) in client.run(_there, module, on_error="ignore").items():
            if text == own.text:
                continue
            if text is not None and not was_sent:
                raise ValueError(differs(module, f"the worker {worker}"))
            if own.path.name != f"{module}.py":
                raise ValueError(f"the worker {worker} has no module {module}, and only single files can be sent there")
            sent = True
        if sent:
            client.upload_file(str(own.path), load=False)


def differs(module: str, where: str) -> str:
    """The message for another text of a module than the one that a run is named by."""
    return f"{where} has another {module} than the one this run is named by; put the same file there, or remove it"


def _there(module: str, dask_worker: Any) -> tuple[str | None, bool]:
    """The text of a module on a worker, None where it has none; and whether Dask was sent it."""
    try:
        found = read(module, module)
    except ValueError:
        return None, False
    return found.text, Path(dask_worker.local_directory) in found.path.parents


def texts(names: Mapping[str, str], anew: bool = False) -> dict[str, str]:
    """By module, the text that runs of each of ``names`` (what it was given for, by name); ``anew`` reads it again."""
    modules = {name.partition(SEPARATOR)[0]: f"{field} {name!r}" for name, field in names.items()}
    found = {module: (not anew and _loaded.get(module)) or read(module, what) for module, what in modules.items()}
    return {module: found[module].text for module in sorted(found)}


def marks(names: Mapping[str, str], anew: bool = False) -> dict[str, dict[str, str]]:
    """What a run's identity holds of the parts in ``names``: under ``extensions`` each module's SHA-256; else nothing.

    The text is the one that this process runs; ``anew`` reads it again. Raises ValueError: as :func:`load`.
    """
    found = texts(names, anew)
    for name, field in names.items():
        load(name, field)
    hashed = {module: hashlib.sha256(text.encode()).hexdigest() for module, text in found.items()}
    return {"extensions": hashed} if hashed else {}
