"""A notebook's parameters: read out of its globals, coerced, checked, and misspelt ones refused.

papermill writes what it was given into a cell of its own, headed ``# Parameters``, after the notebook's defaults. About
a name that the notebook does not have it only warns, and the default is used in silence: here that is an error.
"""

from __future__ import annotations

import ast
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from wtal_lib.settings import coerced, unknown

PARAMETERS: dict[str, tuple[Any, Any]] = {
    "dataset": (Literal["thumos14", "activitynet12"], "thumos14"),
    "source": (Literal["auto", "real", "simulated"], "auto"),
    "data_root": (str, ""),
    "profile": (Literal["ci", "quick", "full"], "quick"),
    "seeds": (list[int], [0]),
    "results": (str, ""),
}
"Every notebook's parameters: kind and default"

OPENING = "open_study("
"The call that ends the cells in which parameters are set"


def check_parameters(given: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]] = PARAMETERS) -> dict[str, Any]:
    """The known parameters, in their order, each as its kind; those that ``given`` lacks have their default.

    ``given`` is a dictionary of parameters, or a notebook's ``globals()``, of which only parameters are looked at.

    Raises:
        ValueError: a parameter of an unknown name (the nearest known one is offered), of the wrong kind, or with a
            value that is not among the choices; an empty list.
    """
    for name in parameters_set(given, known):
        if name not in known:
            raise ValueError(unknown(name, list(known), "parameter"))
    return {name: _value(name, given.get(name, default), kind) for name, (kind, default) in known.items()}


def _value(name: str, value: Any, kind: Any) -> Any:
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    if choices and isinstance(value, str) and value not in choices:
        raise ValueError(unknown(value, list(choices), name))
    value = coerced("" if value is None and kind is str else value, kind, name)
    if value == []:
        raise ValueError(f"{name} must name at least one, got an empty list")
    return value


def parameters_set(given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Names that were set as parameters, misspelt ones among them.

    In a kernel these are the names assigned in the cells run since the notebook was last opened which papermill wrote
    or which set a known parameter: variables of the notebook's other cells are none, however often it is run again.
    Elsewhere every name of ``given`` is one.
    """
    history = given.get("In")
    if "get_ipython" not in given or not isinstance(history, list):
        return [name for name in given if not name.startswith("_")]
    opened = [i for i, cell in enumerate(history[:-1]) if OPENING in cell]
    names: dict[str, None] = {}
    for cell in history[opened[-1] + 1 if opened else 0 : -1]:
        assigned = _assigned(cell)
        if cell.lstrip().startswith("# Parameters") or set(assigned) & set(known):
            names.update(dict.fromkeys(assigned))
    return list(names)


def _assigned(cell: str) -> Sequence[str]:
    """Names that a cell of nothing but plain assignments sets; empty for any other cell."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:
        return []
    if not all(isinstance(statement, (ast.Assign, ast.AnnAssign)) for statement in statements):
        return []
    targets = [t for s in statements for t in (s.targets if isinstance(s, ast.Assign) else [s.target])]  # type: ignore[attr-defined]
    return [target.id for target in targets if isinstance(target, ast.Name)]
