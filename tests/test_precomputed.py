"""Another method's scores as a branch: read on any grid, taken at their word, teaching and fused, or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faulty import SPEC
from test_extensions import short

from wtal_lib.method.heads.precomputed import Precomputed
from wtal_lib.method.localize import min_max
from wtal_lib.method.models import whole_videos
from wtal_lib.runs import precomputed
from wtal_lib.runs.experiment import Experiment
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Data, open_data


@pytest.fixture(scope="module")
def data() -> Data:
    return open_data(SPEC)


def truths(data: Data, repeat: int = 1) -> dict[str, np.ndarray]:
    """A perfect method's scores (t, c) of every video, in a unit of its own, each row ``repeat`` times."""
    one = Experiment(short(), data, "cpu")
    return {name: np.repeat(3.0 * one.snippet_truth(name), repeat, axis=0) for name in data.annotations.videos}


def saved(folder: Path, scores: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in scores.items():
        np.save(folder / f"{name}.npy", array.astype(np.float32))
    return folder


@pytest.mark.parametrize("kind", ["cbp", "vlp"])
def test_it_teaches_is_fused_and_is_reported_like_a_trained_branch(kind: str, data: Data, tmp_path: Path) -> None:
    scores = saved(tmp_path / "scores", truths(data, 2))  # at twice the pack's rate
    both = {"pseudo_labels__other_kind": 1.0}
    record = run(short(**{f"{kind}__head": f"precomputed:{scores}"}, **both), data, tmp_path / "run")
    maps = {branch: next(iter(of.values()))["map"] for branch, of in record["metrics"].items()}
    assert maps[kind][0] > 0.8  # perfect scores, found again but for neighbours that touch
    assert maps["fused"][0] > 0.5
    other = {"cbp": "vlp", "vlp": "cbp"}[kind]
    assert not any(name.startswith(kind) for entry in record["history"] for name in entry["losses"])
    (taught,) = [entry for entry in record["history"] if f"{other}.distill" in entry["losses"]]
    labels = taught["pseudo_labels"][other]
    assert labels["foreground_right"] == labels["foreground"] > 0
    assert record["data"]["precomputed"].keys() == {kind}
    moved = run(
        short(**{f"{kind}__head": f"precomputed:{scores.rename(tmp_path / 'moved')}"}, **both), data, tmp_path / "run"
    )
    assert moved == record  # named by what the scores are, not by where they lie


def test_a_file_of_detections_is_scores_too(data: Data, tmp_path: Path) -> None:
    results: dict[str, list[Any]] = {}
    for name, video in data.annotations.videos.items():
        found = zip(video.instance_labels, video.segments.tolist(), strict=True)
        results[name] = [{"label": label, "score": 0.5, "segment": segment} for label, segment in found]
    (tmp_path / "found.json").write_text(json.dumps({"results": results}))
    one = Experiment(short(cbp__head=f"precomputed:{tmp_path / 'found.json'}"), data, "cpu")
    for name in one.batches.training[:5]:
        assert np.array_equal(one.batches.cbp[name][:, :-1] > 0, one.snippet_truth(name))
        assert one.batches.cbp[name].sum(axis=1) == pytest.approx(1)


def test_the_shape_of_the_scores_over_time_is_kept_by_hand() -> None:
    given = np.array([[-1.0, 1], [3, 0], [0, 0]], dtype=np.float32)
    found = precomputed.probabilities(given, 2)
    assert found == pytest.approx(np.array([[0, 0.4, 0.6], [0.8, 0.2, 0], [0.2, 0.2, 0.6]]), abs=1e-6)
    (output,) = [one for _, one in whole_videos(Precomputed(), ["a"], lambda _: found)]
    assert output.score()[0].numpy() == pytest.approx(found[:, :2], abs=1e-6)
    assert min_max(output.score()[0].numpy()) == pytest.approx(min_max(given), abs=1e-6)
    assert output.attention[0].tolist() == pytest.approx([0.4, 1, 0.4], abs=1e-6)
    already = np.array([[0.1, 0.2, 0.7]], dtype=np.float32)
    assert precomputed.probabilities(already, 2) == pytest.approx(already)
    assert precomputed.probabilities(np.zeros((1, 3), np.float32), 2) == pytest.approx(np.full((1, 3), 1 / 3))
    assert precomputed.probabilities(np.zeros((1, 2), np.float32), 2).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda scores: {name: one[:, :7] for name, one in scores.items()}, "expected 20 columns.*or 21.*shape"),
        (lambda scores: dict(list(scores.items())[:-3]), "expected scores of all .* and 2 more have none"),
        (lambda scores: {name: one * np.nan for name, one in scores.items()}, "scores must be finite, but .* has NaN"),
        (lambda scores: {name: one.T for name, one in scores.items()}, "another class list, or turned"),
        (lambda scores: {}, "expected scores of all"),
    ],
)
def test_scores_that_do_not_fit_are_refused_before_training(spoil: Any, match: str, data: Data, tmp_path: Path) -> None:
    scores = saved(tmp_path / "scores", spoil(truths(data)))
    with pytest.raises(ValueError, match=match) as caught:
        Experiment(short(cbp__head=f"precomputed:{scores}"), data, "cpu")
    assert "\n" not in str(caught.value)


def test_scores_that_are_nowhere_or_of_other_classes_are_refused(data: Data, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected another method's scores, but nothing is there"):
        Experiment(short(cbp__head="precomputed:nowhere/at/all"), data, "cpu")
    row = {"label": "Juggling", "score": 1.0, "segment": [0.0, 9.0]}
    (tmp_path / "found.json").write_text(json.dumps({"results": {name: [row] for name in data.annotations.videos}}))
    with pytest.raises(ValueError, match="expected classes of thumos14, got Juggling"):
        Experiment(short(vlp__head=f"precomputed:{tmp_path / 'found.json'}"), data, "cpu")
