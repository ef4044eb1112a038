"""What a result says about itself: numbers rounded, and folders found from wherever a kernel starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from wtal_lib.runs import records

ROOT = Path(__file__).resolve().parents[1]


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


def test_the_cache_lies_in_the_root_or_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("WTAL_CACHE", raising=False)
    monkeypatch.chdir(ROOT / "notebooks")
    assert records.cache_root() == ROOT / "cache"
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path))
    assert records.cache_root() == tmp_path


def test_numbers_of_a_record_have_six_digits() -> None:
    assert records.rounded({"a": [1 / 3, 2, True, None], "b": (1e-9 / 3, "0.123456789")}) == {
        "a": [0.333333, 2, True, None],
        "b": [3.33333e-10, "0.123456789"],
    }


def test_the_state_of_the_code_is_clean_changed_or_unknown(tmp_path: Path) -> None:
    assert records.code_state(tmp_path)["dirty"] is None
    commands = ("init -q", "-c user.name=a -c user.email=a@b commit -q --allow-empty -m x")
    for command in commands:
        subprocess.run(["git", "-C", str(tmp_path), *command.split()], check=True)
    assert records.code_state(tmp_path)["dirty"] is False
    (tmp_path / "pyproject.toml").write_text("")
    assert records.code_state(tmp_path)["dirty"] is True
