"""Reliability: how well a branch ranks the labels of held-out videos, and what it may claim by that."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import made
import numpy as np
import pytest
import torch
from test_batches import batches
from torch import Tensor, nn

from wtal_lib.data.annotations import Annotations
from wtal_lib.method import preset, trainer
from wtal_lib.method.config import Config
from wtal_lib.method.localize import VideoScores
from wtal_lib.method.models import Output
from wtal_lib.method.predict import fuse
from wtal_lib.method.reliability import claims, label_ranking, measure, shares
from wtal_lib.method.schedule import Phase
from wtal_lib.method.state import State
from wtal_lib.runs import Spec, checkpoints, open_data
from wtal_lib.runs.experiment import Experiment


def test_label_ranking_by_hand() -> None:
    score = np.array([[0.9, 0.2, 0.1], [0.5, 0.8, 0.1]])
    one = np.eye(3, dtype=bool)[[0, 0]]  # ranked first, then second: (1 + 1/2) / 2
    chance = (1 + 1 / 2 + 1 / 3) / 3
    assert label_ranking(score, one) == pytest.approx((3 / 4 - chance) / (1 - chance))
    two = np.array([[True, True, False, False]])  # ranks 1 and 3: (1/1 + 2/3) / 2
    chance = (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
    assert label_ranking(np.array([[4.0, 2, 3, 1]]), two) == pytest.approx((5 / 6 - chance) / (1 - chance))


def test_label_ranking_is_0_by_chance_1_when_perfect_and_never_negative() -> None:
    rng = np.random.default_rng(0)
    y = np.eye(20, dtype=bool)[rng.integers(20, size=4000)]
    assert label_ranking(rng.random(y.shape), y) < 0.01
    assert label_ranking(y + rng.random(y.shape) / 2, y) == 1
    assert label_ranking(-1.0 * y, y) == 0
    assert label_ranking(np.ones(y.shape), y) == 0, "a branch that scores all classes alike knows nothing"
    assert 0.3 < label_ranking(y + rng.random(y.shape) * 2, y) < 0.9
    assert label_ranking(rng.random((5, 1)), np.ones((5, 1), dtype=bool)) == 1


@pytest.mark.parametrize(
    ("reliability", "earned", "expected"),
    [
        ({"cbp": 0.8, "vlp": 0.5}, True, (1, 0.5)),  # 4 x 0.5 / 0.8 - 2
        ({"cbp": 0.6, "vlp": 0.8}, True, (1, 1)),  # three quarters
        ({"cbp": 0.4, "vlp": 0.8}, True, (0, 1)),  # one half
        ({"cbp": 0.0, "vlp": 0.3}, True, (0, 1)),
        ({"cbp": 0.0, "vlp": 0.0}, True, (1, 1)),
        ({"cbp": 0.8, "vlp": 0.2}, False, (1, 1)),
        (None, True, (1, 1)),
    ],
)
def test_claims_by_hand(reliability: dict | None, earned: bool, expected: tuple[float, float]) -> None:
    assert tuple(claims(reliability, earned).values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reliability", "earned", "share", "cbp"),
    [
        ({"cbp": 0.8, "vlp": 0.5}, True, 0.65, 0.65 / (0.65 + 0.35 * 0.5)),
        ({"cbp": 0.8, "vlp": 0.2}, False, 0.65, 0.65),
        ({"cbp": 0.0, "vlp": 0.2}, True, 0.65, 0.0),
        ({"cbp": 0.9, "vlp": 0.0}, True, 0.5, 1.0),
        ({"cbp": 0.9, "vlp": 0.0}, True, 0.0, 0.5),  # CBP has no share, VLP no claim
        (None, True, 0.5, 0.5),
    ],
)
def test_shares_by_hand(reliability: dict | None, earned: bool, share: float, cbp: float) -> None:
    found = shares(reliability, earned, share)
    assert found["cbp"] == pytest.approx(cbp)
    assert found["cbp"] + found["vlp"] == pytest.approx(1)


def test_the_fusion_does_not_hear_a_branch_that_ranks_no_better_than_chance() -> None:
    def scores(value: list[float]) -> VideoScores:
        cas = np.array(value, dtype=np.float32)[:, None]
        return VideoScores("v", cas, cas[:, 0], cas[:1, 0], cas)

    one, other = scores([0.0, 1.0, 0.5]), scores([1.0, 0.0, 0.0])
    alone = fuse([one, other], Config(), {"cbp": 0.5, "vlp": 0.0})
    assert (alone.cas_tc / 2).tolist() == one.cas_tc.tolist()
    assert alone.video_c == one.video_c
    both = fuse([one, other], replace(Config(), earned=False, fusion="mean"), {"cbp": 0.5, "vlp": 0.0})
    assert both.cas_tc[:, 0] == pytest.approx([0.2, 0.8, 0.4])


class Given(nn.Module):
    """A branch whose class logits are the columns of its features."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("here", torch.zeros(1))

    def forward(self, x: Tensor, mask: Tensor) -> Output:
        logit = nn.functional.pad(x, (0, 1))
        return Output(logit, torch.ones_like(mask, dtype=x.dtype), logit)


def measured(tmp_path: Path, data: Annotations, right: set[str]) -> dict[str, float]:
    """Reliability where VLP's features are 9 for a video's class if it is among ``right``, else -9; CBP's are flat."""
    rows = {}
    for name, video in data.videos.items():
        rows[name] = np.zeros((25, len(data.classes)), np.float32)
        rows[name][:, data.classes.index(video.labels[0])] = 9 if name in right else -9
    drawn = batches(tmp_path, data, vlp=rows, held_out=0.3, warmup=4)
    one = Given()

    class Flat(Given):
        def forward(self, x: Tensor, mask: Tensor) -> Output:
            return super().forward(torch.zeros(*mask.shape, len(data.classes)), mask)

    return measure(Config(), drawn, {"cbp": Flat(), "vlp": one})


def test_a_branch_is_measured_on_the_held_out_videos_only(tmp_path: Path) -> None:
    data = made.annotations(30)
    held = set(batches(tmp_path / "a", data, held_out=0.3, warmup=4).held_out)
    assert measured(tmp_path / "b", data, held) == {"cbp": 0, "vlp": 1}
    assert measured(tmp_path / "c", data, set(data.videos) - held) == {"cbp": 0, "vlp": 0}
    half = measured(tmp_path / "d", data, set(sorted(held)[:3]))["vlp"]  # half at rank 1, half at rank 3
    chance = (1 + 1 / 2 + 1 / 3) / 3
    assert half == pytest.approx((2 / 3 - chance) / (1 - chance))


def test_a_fold_without_a_class_fewer_than_five_videos_or_one_class_is_no_obstacle(tmp_path: Path) -> None:
    data = made.annotations(9)
    rare = replace(data.videos["video_validation_0000002"], labels=("Diving",), instance_labels=("Diving",))
    rare_data = replace(data, videos=data.videos | {rare.name: rare})
    assert measured(tmp_path / "a", rare_data, set(data.videos))["vlp"] == 1
    assert measured(tmp_path / "b", made.annotations(6), set()) == {"cbp": 1, "vlp": 1}
    videos = {name: replace(v, labels=("Diving",), instance_labels=("Diving",)) for name, v in data.videos.items()}
    assert measured(tmp_path / "c", replace(data, classes=("Diving",), videos=videos), set()) == {"cbp": 1, "vlp": 1}


def test_a_branch_that_learns_late_is_measured_again_and_the_held_out_videos_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 3, "training__videos": 4}
    one = Experiment(preset("full", profile="ci", **short), open_data(Spec(source="simulated", root="", profile="ci")))
    values = [0.1, 0.2, 0.8]
    said = iter(values)
    monkeypatch.setattr(trainer, "measure", lambda *given: {"cbp": next(said), "vlp": 0.9})

    def stop(phase: Phase, state: State) -> None:
        if phase.index == 3:  # between B and F of the first pair
            raise InterruptedError

    with pytest.raises(InterruptedError):
        checkpoints.train(one.config, one.batches, one.fresh(), tmp_path, on_phase=stop)
    said = iter(values[1:])  # F must not measure again
    history = checkpoints.train(one.config, one.batches, one.fresh(), tmp_path).history
    assert [entry["reliability"]["cbp"] for entry in history[2:]] == [0.1, 0.1, 0.2, 0.2, 0.8, 0.8]
    early = {name for step in range(8) for name in one.batches.names(step)}
    assert one.batches.held_out
    assert not early & set(one.batches.held_out)
    assert one.batches.warmup == 8, "all videos are drawn once both branches have earned their say"
