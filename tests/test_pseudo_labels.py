"""Confident pseudo-labels, and the schedule of who hands them to whom."""

import pytest
import torch

from wtal_lib.method.config import PseudoLabels, Schedule
from wtal_lib.method.pseudo_labels import (
    Confidence,
    confidence,
    evidence,
    kind_weights,
    label,
    quality,
    restricted,
)
from wtal_lib.method.schedule import alternate, updates

MASK = torch.tensor([[True, True, True, True, False]])
SCORE = torch.tensor([[[0.2], [0.4], [0.6], [1.0], [9.0]]])


def test_normalisation_uses_real_snippets_only():
    assert evidence(SCORE, MASK, 0)[0, :, 0].tolist() == pytest.approx([0, 0.25, 0.5, 1, 0])


def test_a_flat_or_empty_video_is_confident_of_nothing_but_background():
    assert (evidence(torch.ones(1, 5, 1), MASK, 0) == 0).all()
    assert (evidence(SCORE, torch.zeros_like(MASK), 0) == 0).all()


def test_scaling_and_shifting_a_branch_changes_no_evidence():
    assert torch.allclose(evidence(SCORE, MASK, 3), evidence(7 * SCORE + 2, MASK, 3), atol=1e-6)


CBP, VLP = torch.tensor([0.0, 0.2, 0.9, 1.0]), torch.tensor([1.0, 0.1, 0.8, 0.0])
EVIDENCE = {"cbp": CBP, "vlp": VLP}
SHARES = {"cbp": 0.75, "vlp": 0.25}


@pytest.mark.parametrize(
    ("word", "student", "background", "foreground"),
    [
        ("teacher", "vlp", CBP, CBP),  # B
        ("teacher", "cbp", VLP, VLP),  # F
        ("mean", "vlp", 0.75 * CBP + 0.25 * VLP, 0.75 * CBP + 0.25 * VLP),
        ("mean", "cbp", 0.75 * CBP + 0.25 * VLP, 0.75 * CBP + 0.25 * VLP),
        ("ternary", "vlp", CBP, VLP),
        ("ternary", "cbp", CBP, VLP),
    ],
)
def test_the_rules_by_hand(word, student, background, foreground):
    found = confidence(student, EVIDENCE, PseudoLabels(word=word), SHARES)
    assert torch.equal(found.background, background)
    assert torch.equal(found.foreground, foreground)


def test_a_mean_does_not_hear_a_branch_that_has_earned_no_share():
    found = confidence("cbp", EVIDENCE, PseudoLabels(word="mean"), {"cbp": 1.0, "vlp": 0.0})
    assert torch.equal(found.background, CBP)


@pytest.mark.parametrize(
    ("word", "keep", "target"),
    [
        ("teacher", [True, True, True, True], [1, 0, 1, 0]),  # 1 0.1 0.8 0
        ("mean", [True, True, True, True], [0, 0, 1, 1]),  # 0.25 0.175 0.875 0.75
        ("ternary", [False, True, True, False], [0, 0, 1, 0]),  # CBP says background, VLP foreground: neither; none
    ],
)
def test_the_labels_of_each_rule_by_hand(word, keep, target):
    config = PseudoLabels(word=word)
    found = Confidence(*(part[None, :, None] for part in confidence("cbp", EVIDENCE, config, SHARES)))
    labels = label(found, torch.ones(1, 4, dtype=torch.bool), torch.ones(1, 1), config)
    assert labels.keep[0, :, 0].tolist() == keep
    assert labels.target[0, :, 0][labels.keep[0, :, 0]].tolist() == [t for t, k in zip(target, keep, strict=True) if k]


def test_b_teaches_vlp_background_above_all_and_f_teaches_cbp_foreground():
    paper, both = PseudoLabels(other_kind=0.0), PseudoLabels(other_kind=0.25)
    assert [kind_weights(student, paper) for student in ("vlp", "cbp")] == [(1, 0), (0, 1)]
    assert [kind_weights(student, both) for student in ("vlp", "cbp")] == [(1, 0.25), (0.25, 1)]


def both(confidence):
    return Confidence(confidence, confidence)


def test_only_confident_real_snippets_of_labelled_classes_are_kept():
    found = torch.tensor([[[0.1, 0.9], [0.5, 0.9], [0.9, 0.9], [0.9, 0.9], [0.9, 0.9]]])
    labels = label(both(found), MASK, torch.tensor([[1.0, 0.0]]), PseudoLabels())
    assert labels.keep[0, :, 0].tolist() == [True, False, True, True, False]
    assert not labels.keep[..., 1].any()
    assert labels.target[0, [0, 2], 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("weights", "keep"),
    [((1.0, 0.0), [True, False, False, False, False]), ((0.0, 0.1), [False, False, True, True, False])],
)
def test_labels_of_a_kind_that_weighs_nothing_are_not_given(weights, keep):
    found = torch.tensor([[[0.1], [0.5], [0.9], [0.9], [0.9]]])
    assert (
        restricted(label(both(found), MASK, torch.ones(1, 1), PseudoLabels()), weights).keep[0, :, 0].tolist() == keep
    )


def test_soft_targets_teach_the_confidence_itself():
    low, high = torch.tensor([[[0.1], [0.5], [0.9], [0.8], [0.9]]]), torch.tensor([[[0.2], [0.5], [0.8], [0.7], [0.9]]])
    labels = label(Confidence(low, high), MASK, torch.ones(1, 1), PseudoLabels(targets="soft"))
    assert labels.keep[0, :, 0].tolist() == [True, False, True, False, False]
    assert labels.target[0, [0, 2], 0].tolist() == pytest.approx([0.1, 0.8])


def test_quality_counts_by_hand():
    found = torch.tensor([[[0.1], [0.1], [0.9], [0.9], [0.9]]])
    truth = torch.tensor([[[False], [True], [True], [False], [True]]])
    y = torch.ones(1, 1)
    counts = quality(label(both(found), MASK, y, PseudoLabels()), truth, MASK, y)
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
        assert seen == list(range(updates(config)))
        taught = any(branch in phase.taught for phase in alternate(config))
        assert taught == (kind != "apart" and branch == "vlp")
