"""Real weights on real videos: the values that FEATURES.md prints for comparison, the actions named, notebook 06."""

from __future__ import annotations

import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from test_notebooks import assert_whole, papermill

from wtal_lib.data.segments import I3D_GRID
from wtal_lib.runs.records import read_record
from wtal_lib.video import clips, i3d, kinetics
from wtal_lib.video.backbone import snippets

ROOT = Path(__file__).resolve().parents[1]
TABLE = re.findall(
    r"^\| (v\S+) \| ([\d., ]+) \| ([\d., ]+) \| (.+?) \|$",
    (ROOT / "notebooks/FEATURES.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def numbers(text: str) -> list[float]:
    return [float(one) for one in text.split(",")]


def test_the_table_of_the_recipe_has_all_five_videos(shared_data) -> None:
    assert sorted(row[0] for row in TABLE) == sorted(path.stem for path in (shared_data / "videos").glob("*.mp4"))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_features_of_the_first_snippets_are_those_of_the_recipe(shared_data, i3d_weights, row) -> None:
    name, mean, norm, action = row
    net = i3d.load(str(i3d_weights))
    (part,) = next(snippets(shared_data / "videos" / f"{name}.mp4", [clips.i3d_backbone({"rgb": net})], I3D_GRID, 3))
    feature, _ = net(clips.as_input(part, "rgb"))
    assert np.allclose(feature.mean(dim=1), numbers(mean), atol=1e-3)
    assert np.allclose(feature.norm(dim=1), numbers(norm), atol=5e-2)
    likely = net.logits(feature).mean(dim=0).argsort(descending=True)
    assert kinetics.classes()[int(likely[0])] == action


def test_bfloat16_features_point_the_same_way(shared_data, i3d_weights) -> None:
    video = shared_data / "videos" / "v_GGSY1Qvo990.mp4"
    nets = [i3d.load(str(i3d_weights), precision=precision) for precision in ("float32", "bfloat16")]
    parts = list(islice(snippets(video, [clips.i3d_backbone({"rgb": nets[0]})], I3D_GRID, 1), 10))
    for (part,) in parts[8:]:
        features = [net(clips.as_input(part, "rgb"))[0] for net in nets]
        assert float(torch.cosine_similarity(*features).min()) >= 0.999


@pytest.mark.notebook
def test_notebook_06_names_real_actions(shared_data, i3d_weights, tmp_path: Path) -> None:
    (tmp_path / "cache/weights").mkdir(parents=True)
    shutil.copy(i3d_weights, tmp_path / "cache/weights/i3d-kinetics-400.ckpt")
    done = papermill("06_your_videos", tmp_path / "out.ipynb", data_root=str(shared_data))
    assert done.returncode == 0, done.stderr[-3000:]
    assert_whole(tmp_path / "out.ipynb", "thumos14", "06_your_videos")
    record = read_record(tmp_path / "results/real/thumos14/06_your_videos/record.json")
    assert {"kinetics_v_GGSY1Qvo990.png", "v_GGSY1Qvo990_random_weights.png", "completeness_i3d.csv"} <= set(
        record["files"]
    )
