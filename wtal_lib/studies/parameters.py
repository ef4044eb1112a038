"""Parameters of a notebook, and the tasks of a grid that asks the notebooks' questions.

papermill writes given parameters into a cell headed ``# Parameters``, after the notebook's defaults. It only warns of a
name that the notebook does not have; here that is an error.
"""

from __future__ import annotations

import ast
import os.path
import re
import typing
from collections.abc import Mapping
from typing import Any, Literal

from wtal_lib.data.datasets import DATASETS
from wtal_lib.settings import coerced, require_known

PARAMETERS: dict[str, tuple[Any, Any]] = {
    "dataset": (str, "thumos14"),
    "source": (Literal["auto", "real", "simulated"], "auto"),
    "data_root": (str, ""),
    "profile": (Literal["ci", "quick", "full"], "quick"),
    "seeds": (list[int], [0]),
    "results": (str, ""),
    "fps": (float, 0.0),
    "stride": (float, 0.0),
    "kind": (Literal["cbp", "vlp"], "cbp"),
}
"Every notebook's parameters: kind and default"


def check_parameters(given: Mapping[str, Any], known: Mapping[str, tuple[Any, Any]] = PARAMETERS) -> dict[str, Any]:
    """The known parameters, in their order, each as its kind, ``~`` expanded; what ``given`` lacks has its default.

    ``given`` is a dictionary of parameters, or a notebook's ``globals()``, of which only parameters are looked at.
    Raises ValueError: a parameter of an unknown name (the nearest known one is offered), of the wrong kind, or with a
    value that is not among the choices, or an empty list.
    """
    for name in parameters_set(given, known):
        require_known(name, known, "parameter")
    checked = {}
    for name, (kind, default) in known.items():
        value, choices = given.get(name, default), typing.get_args(kind)
        if typing.get_origin(kind) is Literal and isinstance(value, str):
            require_known(value, choices, name)
        if name == "dataset" and re.fullmatch(r"[\w-]+", str(value)) and not os.path.exists(str(value)):
            require_known(str(value), DATASETS, name)  # else the path of somebody's own
        checked[name] = coerced("" if value is None and kind is str else value, kind, name)
        if isinstance(value, str) and kind is str:
            checked[name] = os.path.expanduser(value)
        if checked[name] == []:
            raise ValueError(f"{name} must name at least one, got an empty list")
    return checked


def parameters_set(given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Names that were set as parameters, misspelt ones among them.

    In a kernel: those assigned, since the last ``open_study``, in cells that papermill wrote or that set a known
    parameter; variables of other cells are none. Elsewhere: every name of ``given``.
    """
    history = given.get("In")
    if "get_ipython" not in given or not isinstance(history, list):
        return [name for name in given if not name.startswith("_")]
    opened = max((i for i, cell in enumerate(history[:-1]) if "open_study(" in cell), default=-1)
    names: list[str] = []
    for cell in history[opened + 1 : -1]:
        assigned = _assigned(cell)
        if cell.lstrip().startswith("# Parameters") or set(assigned) & set(known):
            names += assigned
    return list(dict.fromkeys(names))


def _assigned(cell: str) -> list[str]:
    """Names that a cell of nothing but plain assignments sets; empty for any other cell."""
    try:
        statements = ast.parse(cell).body
    except SyntaxError:
        return []
    if not all(isinstance(line, (ast.Assign, ast.AnnAssign)) for line in statements):
        return []
    targets = [target for line in statements for target in getattr(line, "targets", None) or [line.target]]  # type: ignore[attr-defined]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def grid_tasks(values: Mapping[str, Any]) -> list[Any]:
    """Tasks of a :func:`wtal_lib.runs.sweep.grid`, or of ``questions`` of the notebooks; ValueError for wrong keys."""
    from wtal_lib.runs.sweep import GRID, grid  # here: a notebook's parameters are checked without PyTorch
    from wtal_lib.studies import ablation

    if "questions" not in values:
        return grid(values)
    for name in (name for name in ("presets", "settings", "changes") if name in values):
        raise ValueError(f"questions have {name} of their own; leave {name} out, or ask without questions")
    asked = coerced(values["questions"], list[str], "questions")
    seeds = coerced(values.get("seeds", GRID["seeds"][1]), list[int], "seeds")
    spec = grid({name: value for name, value in values.items() if name not in ("questions", "seeds")})[0].spec
    about = (spec.dataset, spec.profile, seeds)
    rows = {"main": ablation.presets(ablation.MAIN, *about), **ablation.questions(*about)}
    for name in asked:
        require_known(name, rows, "question")
    return ablation.tasks([row for name in asked for row in rows[name]], spec)
