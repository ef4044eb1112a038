"""Confident pseudo-labels, and the schedule of who hands them to whom."""

import pytest
import torch

from wtal_lib.method.config import PseudoLabels, Schedule
from wtal_lib.method.pseudo_labels import class_min_max, confidence, evidence, label, quality
from wtal_lib.method.schedule import alternate

MASK = torch.tensor([[True, True, True, True, False]])
SCORE = torch.tensor([[[0.2], [0.4], [0.6], [1.0], [9.0]]])


def test_normalisation_uses_real_snippets_only():
    assert class_min_max(SCORE, MASK)[0, :, 0].tolist() == pytest.approx([0, 0.25, 0.5, 1, 0])


def test_a_flat_or_empty_video_is_confident_of_nothing_but_background():
    assert (class_min_max(torch.ones(1, 5, 1), MASK) == 0).all()
    assert (class_min_max(SCORE, torch.zeros_like(MASK)) == 0).all()


def test_scaling_and_shifting_a_teacher_changes_no_confidence():
    config = PseudoLabels()
    a = confidence(evidence(SCORE, MASK, 3), evidence(SCORE, MASK, 3), config)
    b = confidence(evidence(7 * SCORE + 2, MASK, 3), evidence(0.1 * SCORE, MASK, 3), config)
    assert torch.allclose(a, b, atol=1e-6)


def test_branches_that_disagree_leave_nothing_sure():
    teacher, student = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[1.0], [0.0]]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    confident = confidence(teacher, student, PseudoLabels())
    assert not label(confident, mask, torch.ones(1, 1), PseudoLabels(), (True, True)).keep.any()
    alone = confidence(teacher, student, PseudoLabels(confidence="teacher"))
    assert label(alone, mask, torch.ones(1, 1), PseudoLabels(), (True, True)).keep.all()


def test_only_confident_real_snippets_of_labelled_classes_are_kept():
    confident = torch.tensor([[[0.1, 0.9], [0.5, 0.9], [0.9, 0.9], [0.9, 0.9], [0.9, 0.9]]])
    labels = label(confident, MASK, torch.tensor([[1.0, 0.0]]), PseudoLabels(), (True, True))
    assert labels.keep[0, :, 0].tolist() == [True, False, True, True, False]
    assert not labels.keep[..., 1].any()
    assert labels.target[0, [0, 2], 0].tolist() == [0, 1]


def test_one_sided_labels_hold_one_side_only():
    confident = torch.tensor([[[0.1], [0.5], [0.9], [0.9], [0.9]]])
    y = torch.ones(1, 1)
    assert label(confident, MASK, y, PseudoLabels(), (True, False)).keep[0, :, 0].tolist() == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert label(confident, MASK, y, PseudoLabels(), (False, True)).keep[0, :, 0].tolist() == [
        False,
        False,
        True,
        True,
        False,
    ]


def test_soft_targets_teach_the_confidence_itself():
    confident = torch.tensor([[[0.1], [0.5], [0.9], [0.8], [0.9]]])
    labels = label(confident, MASK, torch.ones(1, 1), PseudoLabels(targets="soft"), (True, True))
    assert labels.target is confident


def test_quality_counts_by_hand():
    confident = torch.tensor([[[0.1], [0.1], [0.9], [0.9], [0.9]]])
    truth = torch.tensor([[[False], [True], [True], [False], [True]]])
    y = torch.ones(1, 1)
    counts = quality(label(confident, MASK, y, PseudoLabels(), (True, True)), truth, MASK, y)
    assert counts == {
        "eligible": 4, "foreground": 2, "foreground_right": 1, "background": 2, "background_right": 1, "truth": 2,
    }  # fmt: skip


def test_the_schedule_warms_up_then_takes_turns():
    phases = list(alternate(Schedule(warmup=100, period=50, rounds=2)))
    assert [phase.name for phase in phases] == ["warmup", "warmup", "B", "F", "B", "F"]
    assert phases[2].students == phases[2].taught == ("vlp",)
    assert phases[3].students == phases[3].taught == ("cbp",)
    assert [phase.start for phase in phases] == [0, 50, 100, 100, 150, 150]


@pytest.mark.parametrize("kind", ["alternate", "joint", "apart"])
@pytest.mark.parametrize("order", ["bf", "fb"])
def test_every_schedule_gives_both_branches_the_same_updates(kind, order):
    config = Schedule(kind=kind, order=order, warmup=70, period=30, rounds=3, f_step=False)
    for branch in ("cbp", "vlp"):
        seen = [step for p in alternate(config) if branch in p.students for step in range(p.start, p.start + p.steps)]
        assert seen == list(range(config.warmup + config.rounds * config.period))
        taught = any(branch in phase.taught for phase in alternate(config))
        assert taught == (kind != "apart" and branch == "vlp")
