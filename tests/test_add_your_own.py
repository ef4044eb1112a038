"""The page "Add your own": its code as it stands, each part where the page says it goes."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import clips
import numpy as np
import pytest
from faulty import SPEC, TINY
from test_extensions import begun, short

from wtal_lib.data import get_dataset
from wtal_lib.data.features import find_pack
from wtal_lib.runs.experiment import Experiment
from wtal_lib.runs.sources import open_data
from wtal_lib.runs.sweep import read_grid
from wtal_lib.settings import replaced
from wtal_lib.studies.parameters import grid_tasks

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "notebooks/ADD_YOUR_OWN.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- page: (.*?) -->\n```\w+\n(.*?)\n```", PAGE, re.DOTALL))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files of the page."""
    for name, text in BLOCKS.items():
        if "." in name:
            (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_run_of_the_page_s_grid_can_begin(here: Path) -> None:
    tasks, data = grid_tasks(read_grid(here / "grid.yaml")), open_data(SPEC)
    assert len(tasks) == 3 * 2 * 3
    for one in {task.config.preset + repr(task.config.cbp.head): task for task in tasks}.values():
        begun(replaced(one.config, **TINY), data)


@pytest.mark.parametrize("line", re.findall(r"--set (\S+=[^`\s]+)`", PAGE))
def test_the_page_s_lines_name_its_parts(line: str, here: Path) -> None:
    field, _, value = line.partition("=")
    if not value.startswith("precomputed:"):
        begun(short(**{field: value}), open_data(SPEC))


def test_the_page_s_scores_are_taken(here: Path) -> None:
    data = open_data(SPEC)
    (here / "scores").mkdir()
    other_method = {name: np.random.default_rng(0).random((50, 20)) for name in data.annotations.videos}
    exec(BLOCKS["scores"], {"other_method": other_method})
    assert Experiment(short(cbp__head="precomputed:scores"), data, "cpu").batches.cbp.width == 21


def test_the_page_s_backbone_fills_a_pack_that_is_found(here: Path) -> None:
    place = here / "data/throws"
    (place / "videos").mkdir(parents=True)
    database: dict[str, Any] = {}
    for name, subset in {"clip1": "training", "clip2": "validation"}.items():
        clips.numbered(place / "videos" / f"{name}.mp4", 80)
        annotation = {"label": "HighJump", "segment": [0.0, 3.2]}
        database[name] = {"subset": subset, "duration": 3.2, "annotations": [annotation]}
    (place / "throws.json").write_text(json.dumps({"database": database}))
    subprocess.run([sys.executable, "extract_mine.py"], check=True)
    from wtal_lib.data.annotations import find_annotations

    known = get_dataset(place / "throws.json")
    pack = find_pack(here / "data", known.name, "cbp", find_annotations(here / "data", known.name))
    assert (len(pack), pack.width) == (2, 3)


@pytest.mark.usefixtures("house_style")
def test_the_page_s_figure_gives_its_axes_back(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(here))
    ax = importlib.import_module("my_figures").scores_over_time(np.array([0.0, 1.0, 0.5]), 0.64)
    assert ax.lines[0].get_xydata()[-1].tolist() == [1.28, 0.5]
    assert ax.get_xlabel() == "time (s)"


def test_the_page_s_dataset_is_known_by_its_file(here: Path) -> None:
    own = get_dataset(here / "kitchen.json")
    assert (own.name, own.classes, own.headline.name) == ("kitchen", ("cut", "pour"), "kitchen-val")


def test_the_page_s_tests_to_copy_are_there() -> None:
    named = re.findall(r"`(tests/test_\w+\.py)`", PAGE)
    assert len(named) == 7
    assert all((ROOT / name).is_file() for name in named)
