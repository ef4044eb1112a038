"""A class or function of a notebook's cell as a module: all that it needs, and nothing that the cell does besides."""

from __future__ import annotations

import linecache
from typing import Any

import pytest

from wtal_lib.studies.cells import as_module, module_text


def cell(text: str, known: dict[str, Any]) -> dict[str, Any]:
    """The variables of a notebook after a cell, whose text Python can look up as IPython's."""
    name = f"<cell of {abs(hash(text))}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    exec(compile(text, name, "exec"), known)
    return known


@pytest.fixture
def known() -> dict[str, Any]:
    return cell("import numpy as np\nfrom math import tau\ntable = [1, 2]", {"__name__": "__main__"})


def test_a_module_holds_the_cell_s_definitions_and_what_others_imported(known: dict[str, Any]) -> None:
    text = """from functools import cache
SHARE = 0.5
done = len(str(SHARE))


@cache
def half(x):
    table = np.ones(x)  # no variable of the notebook
    return SHARE * tau * len(table)


print_nothing = half(2)
"""
    made = module_text(cell(text, known)["half"].__wrapped__, known)
    assert made == "import numpy as np\ntau = 6.283185307179586\n\n\n" + "\n".join(
        ["from functools import cache", "SHARE = 0.5", *text.splitlines()[5:9], ""]
    )
    found: dict[str, Any] = {}
    exec(made, found)
    assert found["half"](2) == known["half"](2)


def test_what_rests_on_another_cell_or_on_none_is_refused(known: dict[str, Any], tmp_path) -> None:
    cell("class Uses:\n    def rows(self):\n        return table", known)
    with pytest.raises(ValueError, match="Uses uses 'table', which another cell defines; define it in the same cell"):
        module_text(known["Uses"], known)
    with pytest.raises(ValueError, match="expected a class or function that a cell of this notebook defines, got 3"):
        module_text(3, known)
    assert as_module(cell, tmp_path) == ("test_cells:cell", "")
