"""Typed settings: what papermill, json and the command line give, coerced and checked by pydantic.

A config is a frozen dataclass whose fields' types are their ranges: :data:`Share`, :data:`Positive`, ``Literal``, ….
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import typing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Gt, Interval

T = TypeVar("T")
Share = Annotated[float, Interval(ge=0, le=1)]
Positive = Annotated[float, Gt(0)]
PositiveInt = Annotated[int, Gt(0)]

EXPECTED = {"int_": "be a whole number", "string_": "be text", "greater_than_equal": "be not negative"}
"Plainer words than pydantic's, by how its name of the error begins"


def from_dict(kind: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """A config from plain values, coerced; fields not named keep defaults. ValueError for unknown or wrong ones."""
    kinds = _kinds(typing.cast(Any, kind))
    for name in values:
        require_known(path + name, [path + other for other in sorted(kinds)], "configuration field")
    return kind(**{name: coerced(value, kinds[name], path + name) for name, value in values.items()})


def replaced(config: T, **changes: Any) -> T:
    """A config with changes, as ``pseudo_labels__smoothing=0.1`` or a dict per part; errors as :func:`from_dict`."""
    merged = to_dict(config)
    for name, value in changes.items():
        part, _, rest = name.replace(".", "__").partition("__")
        value = {rest: value} if rest else value
        both = isinstance(value, Mapping) and isinstance(merged.get(part), dict)
        merged[part] = {**merged[part], **value} if both else value
    return from_dict(type(config), merged)


def coerced(value: Any, kind: Any, name: str, *, strict: bool = False) -> Any:
    """``value`` as ``kind``, read from text too (papermill's ``"[3,4]"``) unless ``strict``; ValueError names both."""
    if hasattr(kind, "__dataclass_fields__"):
        return value if isinstance(value, kind) else from_dict(kind, coerced(value, dict, name), name + ".")
    if (many := typing.get_origin(kind)) in (list, tuple):
        if isinstance(value, str):
            value = [part.strip(" '\"") for part in value.strip(" []()").split(",") if part.strip()]
        parts = value if isinstance(value, (list, tuple)) else [value]
        return many(coerced(part, typing.get_args(kind)[0], name) for part in parts)
    if many is dict and isinstance(value, str):  # name=weight, name=weight
        pairs = [part.strip(" '\"").rpartition("=") for part in value.strip(" {}").split(",") if part.strip()]
        value = {name.strip(): number for name, _, number in pairs}
    if isinstance(value, str) and int in (kind, *typing.get_args(kind)):
        with suppress(ValueError):
            value = float(value)  # "1e3" is a whole number too
    try:
        return _adapter(kind).validate_python(value, strict=strict or isinstance(value, bool))  # true is no number
    except ValueError as error:
        problem = error.errors()[0]  # type: ignore[attr-defined]
    words = problem["msg"].removeprefix("Input should ")
    expected = next((plain for start, plain in EXPECTED.items() if problem["type"].startswith(start)), words)
    if many is typing.Literal:
        expected = f"be one of {', '.join(map(str, typing.get_args(kind)))}"
    elif kind == Share and problem["type"].endswith("_equal"):
        expected = "lie in [0, 1]"
    came = repr(value) if type(value) in (int, float) else f"{value!r} ({type(value).__name__})"
    hint = ": it is a share, not a percent" if expected.startswith("lie") and 1 < float(value) <= 100 else ""
    raise ValueError(f"{name} must {expected}, got {came}{hint}")


@functools.cache
def _kinds(config: Any) -> dict[str, Any]:
    """The fields of a config, each with its type and range; a plain number must not be negative."""
    hints = typing.get_type_hints(config, include_extras=True).items()
    return {n: Annotated[kind, Ge(0)] if kind in (int, float) else kind for n, kind in hints}


@functools.cache
def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter  # here: most commands have no config, and are spared its 0.1 s

    return TypeAdapter(kind, config={"allow_inf_nan": False})


def check(config: Any, path: str = "") -> None:
    """Refuse a config with a value of the wrong kind or out of its range. Raises ValueError: as :func:`coerced`."""
    for name, kind in _kinds(config.__class__).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(value):
            check(value, f"{path}{name}.")
        else:
            coerced(value, kind, path + name, strict=True)


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, nested as its dataclasses are."""
    return dataclasses.asdict(config)


def sha256(content: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of text as UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def digest(content: Any, letters: int = 12) -> str:
    """Hexadecimal hash of a config or of plain JSON values; equal content gives equal hashes on every machine."""
    return sha256(json.dumps(content, sort_keys=True, default=to_dict))[:letters]


def require_known(name: str, known: Iterable[str], what: str) -> None:
    """Refuse a name that is not ``known`` with a ValueError: the message of :func:`unknown`."""
    if name not in (names := list(known)):
        raise ValueError(unknown(name, names, what))


def unknown(name: str, known: list[str], what: str) -> str:
    """The message for a name that is not known: what it was meant for, the nearest known one, and the list."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"unknown {what} {name!r}; {f'did you mean {near[0]!r}? ' if near else ''}choose one of {', '.join(known)}"
