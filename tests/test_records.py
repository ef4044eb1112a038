"""What a result says about itself: tables for people, and folders found from wherever a kernel starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wtal_lib.runs import records

ROOT = Path(__file__).resolve().parents[1]


def test_a_table_in_markdown_is_readable_by_people() -> None:
    frame = pd.DataFrame({"class": ["a", "b|c"], "n": [1, 2000], "share": [0.25, np.nan]})
    lines = records.markdown(frame).splitlines()
    assert lines[:2] == ["| class | n | share |", "| --- | ---: | ---: |"]
    assert lines[2:] == ["| a | 1 | 0.25 |", "| b\\|c | 2,000 |  |"]


@pytest.mark.parametrize("folder", [".", "notebooks", "wtal_lib"])
def test_the_root_is_found_from_wherever_a_kernel_starts(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / folder)
    assert records.project_root() == ROOT


def test_outside_of_the_repository_an_editable_install_points_back(tmp_path: Path) -> None:
    code = "from wtal_lib.runs.records import project_root; print(project_root())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) in (ROOT, tmp_path)


def test_a_relative_folder_is_seen_from_here_or_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "root/packs").mkdir(parents=True)
    (tmp_path / "root/notebooks/packs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "root")
    assert records.seen_from("packs", tmp_path / "root") == tmp_path / "root/packs"
    monkeypatch.chdir(tmp_path / "root/notebooks")
    assert records.seen_from("packs", tmp_path / "root") == tmp_path / "root/notebooks/packs"
    os.rmdir(tmp_path / "root/notebooks/packs")
    assert records.seen_from("packs", tmp_path / "root") == tmp_path / "root/packs"
