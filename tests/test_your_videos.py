"""The page "From your videos to a trained model": its own commands, on five short clips and small random models."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import clips
import pytest
import tiny

PAGE = (Path(__file__).resolve().parents[1] / "notebooks/YOUR_VIDEOS.md").read_text(encoding="utf-8")
TRUTH = {"clip4": [0.64, 1.92], "clip5": [1.28, 2.56]}
SMALL = "--rgb random --short-side 36 --crop 32 --pretrained random --precision float32 --model".split()  # noqa: SIM905


def block(name: str) -> str:
    found = re.search(rf"<!-- page: {name} -->\n```\w+\n(.*?)\n```", PAGE, re.DOTALL)
    assert found, f"the page has no block {name!r}"
    return found[1]


@pytest.fixture(autouse=True)
def _videos(tmp_path: Path) -> None:
    """Five clips and their dataset file."""
    folder = tmp_path / "data/throws"
    (folder / "videos").mkdir(parents=True)
    database = {}
    for i in range(1, 6):
        name, label = f"clip{i}", ("HighJump", "LongJump")[i % 2]
        clips.numbered(folder / "videos" / f"{name}.mp4", 80)
        segment = {"segment": TRUTH[name]} if name in TRUTH else {"segment": [0.0, 3.2]}
        subset = "validation" if name in TRUTH else "training"
        database[name] = {"subset": subset, "duration": 3.2, "annotations": [{"label": label, **segment}]}
    (folder / "throws.json").write_text(json.dumps({"database": database}))


def test_the_page_leads_from_videos_to_a_picture(tmp_path: Path) -> None:
    model, used = tiny.folder(tmp_path / "model"), []

    def here(text: str) -> str:
        text = text.replace("--profile quick", "--profile ci")
        pack = next(iter((tmp_path / "data").glob("*/vlp/*")), None)
        return text.replace("ViT-B-16-openai", pack.name) if pack else text

    def run(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
        used.append(command[2] if command[0] == "-m" else "picture")
        return done.stdout

    for part in ("extract", "train"):
        for line in block(part).splitlines():
            program, *words = shlex.split(here(line))
            assert program == "wtal"
            run("-m", "wtal_lib.cli", *words, *([*SMALL, model] if words[0] == "extract" else []))
    run("-c", f"import matplotlib; matplotlib.use('agg')\n{here(block('picture'))}")
    assert used == ["extract", "check", "run", "localize", "picture"]
    record = json.loads((tmp_path / "runs/throws/record.json").read_text())
    assert set(record["metrics"]) == {"cbp", "vlp", "fused"}
    found = json.loads((tmp_path / "detections.json").read_text())["results"]
    assert set(found) == {f"clip{i}" for i in range(1, 6)}
    assert (tmp_path / "clip4.png").stat().st_size > 10_000
    assert block("weights") == "wtal weights i3d"
