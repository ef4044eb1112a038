"""Kinetics classes in I3D's features, and the instances that stand beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wtal_lib.data.segments import Grid
from wtal_lib.video import examples, i3d, kinetics


def test_classes_of_a_group_are_added_and_all_probabilities_sum_to_one(tmp_path: Path) -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(5, 1024))).astype(np.float16)
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features/a.npy", rows)
    groups = {"HighJump": ["high jump"], "Throw": ["javelin throw", "shot put"]}
    found, names = kinetics.scores(tmp_path, i3d.RANDOM, groups, seed=4)
    assert names[:2] == ("HighJump", "Throw")
    assert len(names) == 400 - 3 + 2
    assert np.allclose(found["a"].sum(axis=1), 1, atol=1e-4)
    alone, each = kinetics.scores(tmp_path, i3d.RANDOM, {}, seed=4)
    assert each == kinetics.classes()
    parts = [alone["a"][:, each.index(name)] for name in groups["Throw"]]
    assert np.allclose(found["a"][:, 1], sum(parts), atol=1e-6)
    with pytest.raises(ValueError, match="'high jumping' is none of the 400 classes of Kinetics"):
        kinetics.scores(tmp_path, i3d.RANDOM, {"HighJump": ["high jumping"]})


def test_instances_of_known_classes_become_a_table_and_their_highest_scores() -> None:
    truth = {"a": [("HighJump", 1.0, 2.0), ("Diving", 0.0, 1.0)], "b": [("high jump", 3.0, 3.5)]}
    table = examples.as_ground_truth(truth, ("HighJump", "Throw"))
    assert (table.video_m.tolist(), table.label_m.tolist()) == ([0, 1], [0, 0])
    assert table.segment_m2.tolist() == [[1.0, 2.0], [3.0, 3.5]]
    scores = {"a": np.array([[0.9, 0], [0.1, 0], [0.3, 1]]), "b": np.array([[0.2, 0.0]] * 3)}
    assert kinetics.highest(scores, table, Grid(1, 1)).tolist() == [0.1, 0.0], "b ends before its instance"
    assert len(examples.as_ground_truth({"a": []}, ("HighJump",))) == 0


def test_results_of_random_weights_alone_have_a_place_of_their_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path))
    assert kinetics.place(i3d.RANDOM, "random") == kinetics.place(i3d.KINETICS, "random") == "random-weights"
    assert kinetics.place(i3d.KINETICS, "openai") == "real"
    assert "`wtal weights i3d` fetches" in kinetics.missing(i3d.KINETICS)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/i3d-kinetics-400.ckpt").touch()
    assert kinetics.place(i3d.KINETICS, "random") == "real"
    assert kinetics.missing(i3d.KINETICS) == ""
