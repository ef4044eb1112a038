"""What a notebook's cell defines, as a module that other processes can import."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
import types
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from symtable import SymbolTable, symtable
from typing import Any

from wtal_lib.data.files import replacing


def as_module(part: Any, folder: Path) -> tuple[str, str]:
    """The name ``module:attribute`` of a class or function, and its module's text where it was made for it.

    What was imported keeps its name, without a text. Of a notebook's cell it becomes a module in ``folder``, which is
    on Python's path from then on. ValueError: as :func:`module_text`.
    """
    if getattr(part, "__module__", "__main__") != "__main__":
        return f"{part.__module__}:{part.__qualname__}", ""
    text = module_text(part, vars(sys.modules["__main__"]))
    module = f"my_{part.__name__.lower()}"
    with replacing(folder / f"{module}.py") as file:
        file.write(text.encode())
    sys.path[:] = [str(folder), *(one for one in sys.path if one != str(folder))]
    return f"{module}:{part.__name__}", text


def module_text(part: Any, known: Mapping[str, Any]) -> str:
    """The text of a module that defines ``part``, a class or function of a notebook's cell.

    It holds what its cell imports and defines, plain values too, and what other cells have imported for it or given a
    name as a number or text (``known`` are the notebook's variables). Raises ValueError: no cell defines it, or it
    rests on what another cell defines.
    """
    text = _cell(part)
    lines, kept = text.splitlines(), [node for node in ast.parse(text).body if _is_definition(node)]
    first = [min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", ()))]) for node in kept]
    own = "\n".join("\n".join(lines[start - 1 : node.end_lineno]) for start, node in zip(first, kept, strict=True))
    table = symtable(own, "<cell>", "exec")
    made = {one.get_name() for one in table.get_symbols() if one.is_assigned() or one.is_imported()}
    missing = sorted((_global_names(table) - made) & known.keys())
    imports = "".join(f"{_import(name, known[name], part)}\n" for name in missing)
    return f"{imports}\n\n{own}\n" if imports else f"{own}\n"


def _cell(part: Any) -> str:
    """The text of the cell that defines a class or function."""
    functions = [part] if inspect.isfunction(part) else list(vars(part).values()) if inspect.isclass(part) else []
    files = {one.__code__.co_filename for one in functions if isinstance(one, types.FunctionType)}
    text = "".join("".join(linecache.getlines(one)) for one in files)
    if len(files) != 1 or not text:
        raise ValueError(f"expected a class or function that a cell of this notebook defines, got {part!r:.80}")
    return text


def _is_definition(node: ast.stmt) -> bool:
    """Whether a statement imports, defines, or gives a plain value a name."""
    if isinstance(node, ast.Assign):
        with suppress(ValueError):
            ast.literal_eval(node.value)
            return True
    return isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))


def _global_names(table: SymbolTable) -> set[str]:
    """Names that a module and the functions in it look up among its globals."""
    outermost = table.get_type() == "module"
    found = {one.get_name() for one in table.get_symbols() if one.is_referenced() and (outermost or one.is_global())}
    return found.union(*map(_global_names, table.get_children()))


def _import(name: str, value: Any, part: Any) -> str:
    """The line that imports what another cell imported, or repeats its plain value."""
    if isinstance(value, (int, float, str)):
        return f"{name} = {value!r}"
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}"
    module, own = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if module in (None, "__main__") or own is None:
        raise ValueError(f"{part.__name__} uses {name!r}, which another cell defines; define it in the same cell")
    return f"from {module} import {own}" + (f" as {name}" if name != own else "")
