"""Plain values to typed ones: what papermill, json and the command line hand over, checked against a dataclass."""

from __future__ import annotations

import ast
import dataclasses
import difflib
import hashlib
import json
import math
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, TypeVar

T = TypeVar("T")


def from_dict(kind: type[T], values: Mapping[str, Any], path: str = "") -> T:
    """A config from plain values, each coerced to its field's type; fields that are not named keep their default.

    Raises:
        ValueError: an unknown name (the nearest known one is offered), or a value of the wrong kind.
    """
    hints = typing.get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            raise ValueError(unknown(path + name, [path + other for other in sorted(known)], "configuration field"))
    given = {name: coerced(value, hints[name], path + name) for name, value in values.items()}
    return kind(**given)


def replaced(config: T, **changes: Any) -> T:
    """A config with some fields changed, named as in ``pseudo_labels__foreground_above=0.8`` or with a dict per part.

    Raises:
        ValueError: as :func:`from_dict`.
    """
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        part, _, rest = name.replace(".", "__").partition("__")
        if rest:
            nested.setdefault(part, {})[rest] = value
        else:
            nested[part] = value
    merged = dataclasses.asdict(config)  # type: ignore[call-overload]
    for part, value in nested.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(part), dict)
        merged[part] = {**merged[part], **value} if both else value
    return from_dict(type(config), merged)


def coerced(value: Any, kind: Any, name: str) -> Any:
    """``value`` as ``kind``, read from text where need be: papermill hands over ``"[3,4]"`` and ``"3e-5"`` as strings.

    Raises:
        ValueError: naming the parameter, the kind that was expected and what came.
    """
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            return value if isinstance(value, typing.cast(type, kind)) else _refuse(value, kind, name)
        return from_dict(typing.cast(type, kind), value, name + ".")
    if typing.get_origin(kind) is Literal:
        if value not in typing.get_args(kind):
            raise ValueError(f"{name} must be one of {', '.join(typing.get_args(kind))}, got {value!r}")
        return value
    if kind is str:
        return value if isinstance(value, str) else _refuse(value, str, name)
    if typing.get_origin(kind) in (list, tuple):
        return _coerced_list(value, kind, name)
    return _coerced_number(value, kind, name)


def _coerced_list(value: Any, kind: Any, name: str) -> Any:
    inner = typing.get_args(kind)[0]
    if isinstance(value, str):
        try:
            value = ast.literal_eval(f"[{value.strip().strip('[]()')}]")
        except (ValueError, SyntaxError):
            value = [part.strip() for part in value.strip("[]() ").split(",")]
    if not isinstance(value, (list, tuple)):
        value = [value]
    return typing.get_origin(kind)(coerced(part, inner, name) for part in value)


def _coerced_number(value: Any, kind: Any, name: str) -> Any:
    if isinstance(value, str):
        text = value.strip()
        try:
            value = {"true": True, "false": False}[text.lower()] if kind is bool else float(text)
        except (KeyError, ValueError):
            _refuse(value, kind, name)
    if kind is bool:
        return value if isinstance(value, bool) else _refuse(value, kind, name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or (kind is int and value != int(value)):
        _refuse(value, kind, name)
    return kind(value)


def _refuse(value: Any, kind: Any, name: str) -> Any:
    expected = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}.get(kind, str(kind))
    raise ValueError(f"{name} must be {expected}, got {value!r} ({type(value).__name__})")


def unknown(name: str, known: list[str], what: str) -> str:
    """The message for a name that is not known: what it was meant for, the nearest known one, and the list."""
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"unknown {what} {name!r}; {f'did you mean {near[0]!r}? ' if near else ''}choose one of {', '.join(known)}"


POSITIVE = {
    "hidden",
    "period",
    "videos",
    "snippets",
    "upsample",
    "thresholds",
    "learning_rate",
    "nms_sigma",
    "per_video",
}
SHARES = {
    "dropout",
    "background_below",
    "foreground_above",
    "pool",
    "average",
    "low",
    "high",
    "class_threshold",
    "cbp_share",
}


def check(config: Any, path: str = "") -> None:
    """Nothing, when every value of a config lies where it must.

    Raises:
        ValueError: one message with the field, what was expected and what came.
    """
    for item in fields(config):
        value, name = getattr(config, item.name), path + item.name
        if is_dataclass(value):
            check(value, name + ".")
        elif item.name in SHARES and not 0 <= value <= 1:
            hint = ": it is a share, not a percent" if 1 < value <= 100 else ""
            raise ValueError(f"{name} must lie in [0, 1], got {value}{hint}")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            least = "positive" if item.name in POSITIVE else "not negative"
            if not math.isfinite(value) or value < 0 or (value == 0 and item.name in POSITIVE):
                raise ValueError(f"{name} must be {least}, got {value}")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON values, nested as its dataclasses are."""
    return dataclasses.asdict(config)


def digest(content: Any, letters: int = 12) -> str:
    """Hexadecimal hash of a config or of plain JSON values; equal content gives equal hashes on every machine."""
    plain = to_dict(content) if is_dataclass(content) else content
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:letters]
