"""The examples in the docstrings of what people call from notebooks do what they say."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wtal_lib.method.localize import localize
from wtal_lib.method.trainer import train
from wtal_lib.score.metrics import average_precision
from wtal_lib.studies import open_study


@pytest.mark.parametrize("function", [open_study, average_precision, localize, train])
def test_an_example_gives_what_it_shows(
    function: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    known = dict(vars(sys.modules[function.__module__]))
    example = doctest.DocTestParser().get_doctest(function.__doc__ or "", known, function.__name__, None, 0)
    assert example.examples
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert not said, "".join(said)
