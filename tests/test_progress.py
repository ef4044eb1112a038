"""A notebook says how far it is, at the terminal too, and keeps nothing of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from wtal_lib.studies import live

CELL = """
import time
from wtal_lib.studies import shown
shown.EVERY = 2
show = shown.live()
for done in range(3):
    show(f"{done} of 2 done, 1 running")
    time.sleep(3)
"""


@pytest.mark.notebook
def test_papermill_s_log_has_a_line_every_few_seconds_and_the_notebook_none(tmp_path: Path) -> None:
    notebook = new_notebook(cells=[new_code_cell(CELL)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, str(tmp_path / "in.ipynb"))
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--no-progress-bar"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if " of 2 done" in line]
    assert len(lines) >= 5, "some between two calls"
    assert sum(line.startswith("2 of 2 done") for line in lines) == 1
    assert "so far)" in lines[0]
    saved = (tmp_path / "out.ipynb").read_text()
    assert "<progress" not in saved
    assert "stderr" not in saved


def test_it_is_quiet_outside_a_notebook(capfd: pytest.CaptureFixture[str]) -> None:
    live()("1 of 2 done")
    assert capfd.readouterr() == ("", "")
