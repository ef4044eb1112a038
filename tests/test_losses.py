"""Pooling and losses: padding and the number of classes change nothing; numbers by hand."""

import math

import pytest
import torch

from wtal_lib.method import losses, pooling
from wtal_lib.method.config import Branch, Losses
from wtal_lib.method.models import Output
from wtal_lib.method.pseudo_labels import Labels


def draw(seed=0, b=3, t=12, c=4):
    generator = torch.Generator().manual_seed(seed)
    logit = torch.randn(b, t, c + 1, generator=generator)
    attention = torch.rand(b, t, generator=generator)
    mask = torch.arange(t)[None, :] < torch.tensor([[t], [t // 2], [1]])
    y = torch.eye(c)[torch.tensor([0, 1, 1])]
    y[0, 2] = 1
    return Output(logit, attention, logit * attention[..., None]), mask, y


def test_top_k_mean_by_hand():
    score = torch.tensor([[[1.0], [5.0], [3.0], [100.0]]])
    mask = torch.tensor([[True, True, True, False]])
    assert pooling.top_k_mean(score, mask, 2 / 3) == 4.0  # the best two of three
    assert pooling.top_k_mean(score, mask, 0.01) == 5.0  # never fewer than one


def test_top_k_mean_and_its_gradient_equal_those_of_topk():
    score = torch.randn(3, 40, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mask = torch.arange(40)[None, :] < torch.tensor([[40], [23], [1]])
    pooled = pooling.top_k_mean(score, mask, 0.2)
    lengths = mask.sum(dim=1).tolist()
    plain = [score[i, :n].topk(max(1, round(0.2 * n)), dim=0).values.mean(dim=0) for i, n in enumerate(lengths)]
    assert torch.allclose(pooled, torch.stack(plain), atol=1e-6)
    ours, theirs = (torch.autograd.grad(total.square().sum(), score)[0] for total in (pooled, torch.stack(plain)))
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_scores_that_tie_for_the_last_place_share_it():
    score = torch.tensor([[[2.0], [1.0], [1.0], [0.0]]], requires_grad=True)
    pooled = pooling.top_k_mean(score, torch.ones(1, 4, dtype=torch.bool), 0.5)
    pooled.sum().backward()
    assert pooled.item() == 1.5
    assert score.grad.flatten().tolist() == [0.5, 0.25, 0.25, 0.0]


def test_a_video_without_snippets_pools_to_zero():
    assert (pooling.top_k_mean(torch.ones(1, 4, 2), torch.zeros(1, 4, dtype=torch.bool), 0.5) == 0).all()


def test_padding_changes_no_loss():
    output, mask, y = draw()

    def pad(x, value):
        return torch.cat([x, torch.full((x.shape[0], 5, *x.shape[2:]), value, dtype=x.dtype)], dim=1)

    short = losses.video_label_terms(output, mask, y, 0.25)
    padded = Output(pad(output.logit, 9.0), pad(output.attention, 0.9), pad(output.suppressed, 9.0))
    long = losses.video_label_terms(padded, pad(mask, False), y, 0.25)
    assert set(short) == {"mil_orig", "mil_supp", "norm", "guide"}
    assert {name: value.item() for name, value in short.items()} == pytest.approx(
        {name: value.item() for name, value in long.items()}
    )


def test_classes_that_nobody_sees_change_no_loss():
    output, mask, y = draw()
    unseen = torch.full((*mask.shape, 80), -60.0)

    def wider(logit):
        return torch.cat([logit[..., :-1], unseen, logit[..., -1:]], dim=2)

    more = Output(wider(output.logit), output.attention, wider(output.suppressed))
    few = losses.video_label_terms(output, mask, y, 0.25)
    many = losses.video_label_terms(more, mask, torch.cat([y, torch.zeros(3, 80)], 1), 0.25)
    for name in few:
        assert few[name].item() == pytest.approx(many[name].item(), abs=1e-5)


@pytest.mark.parametrize("classes", [20, 100, 1000])
def test_the_labelled_class_is_pulled_as_hard_whatever_the_number_of_classes(classes):
    logit = torch.zeros(1, 8, classes, requires_grad=True)
    y = torch.eye(classes)[:1]
    losses.video_cross_entropy(logit, torch.ones(1, 8, dtype=torch.bool), y, 1.0).backward()
    assert logit.grad[..., 0].sum().item() == pytest.approx(-(1 - 1 / classes), abs=1e-5)


def test_cross_entropy_of_an_undecided_video_is_the_log_of_the_number_of_classes():
    logit = torch.zeros(1, 3, 5)
    assert losses.video_cross_entropy(
        logit, torch.ones(1, 3, dtype=torch.bool), torch.eye(5)[:1], 1.0
    ) == pytest.approx(math.log(5))


def test_videos_without_labels_weigh_nothing():
    output, mask, y = draw()
    terms = losses.video_label_terms(output, mask, torch.zeros_like(y), 0.25)
    assert terms["mil_orig"] == 0
    assert terms["mil_supp"] == 0


def test_balanced_bce_weighs_both_sides_alike_and_is_zero_when_nothing_is_kept():
    logit = torch.tensor([0.0, 0.0, 0.0, 2.0])
    target = torch.tensor([1.0, 0.0, 0.0, 0.0])
    keep = torch.tensor([True, True, True, False])
    assert losses.balanced_bce(logit, target, keep).item() == pytest.approx(math.log(2))
    assert losses.balanced_bce(logit, target, torch.zeros(4, dtype=torch.bool)) == 0


def test_a_kind_of_label_counts_by_its_weight_and_fully_where_the_other_is_missing():
    logit, target = torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])  # cross-entropies log 2 and log(1 + e^2)
    both, background = torch.tensor([True, True]), torch.tensor([False, True])
    weighted = (math.log(2) + 0.25 * math.log1p(math.e**2)) / 1.25
    assert losses.balanced_bce(logit, target, both, (0.25, 1.0)).item() == pytest.approx(weighted)
    assert losses.balanced_bce(logit, target, background, (0.25, 1.0)).item() == pytest.approx(math.log1p(math.e**2))
    assert losses.balanced_bce(logit, target, both, (0.0, 1.0)).item() == pytest.approx(math.log(2))


def test_activation_logit_is_the_logit_of_the_softmax():
    logit = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(1))
    p = logit.softmax(dim=2)[..., :-1]
    assert torch.allclose(losses.activation_logit(logit), torch.logit(p), atol=1e-4)
    far = torch.tensor([[[30.0, -40.0, 10.0, 30.0]]])  # by hand: 30 - 30, -40 - (30 + log 2), 10 - (30 + log 2)
    expected = [0.0, -70 - math.log(2), -20 - math.log(2)]
    assert losses.activation_logit(far)[0, 0].tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("right", [1.0, 0.0])
def test_a_confidently_wrong_snippet_keeps_its_whole_gradient(right):
    """The logit of a clamped probability passes 8e-7 of it on here, and the snippet never learns."""
    sign = 1 if right else -1
    logit = torch.tensor([[[-20.0 * sign, 20.0 * sign, 0.0]]], requires_grad=True)
    losses.activation_logit(logit)[0, 0, 0].backward()
    assert logit.grad[0, 0, 0].item() == pytest.approx(1, abs=1e-6)
    logit.grad = None
    keep = torch.tensor([[[True, False]]])
    target, y = torch.full((1, 1, 2), right), torch.tensor([[1.0, 0.0]])
    output = Output(logit.detach(), torch.ones(1, 1), logit)
    losses.distillation(output, Labels(target, keep), y, "activation").backward()
    assert logit.grad[0, 0, 0].item() == pytest.approx(-sign, abs=1e-6)


@pytest.mark.parametrize("into", ["activation", "attention", "both"])
def test_distillation_raises_foreground_and_lowers_background(into):
    logit = torch.zeros(1, 2, 3, requires_grad=True)
    raw = torch.zeros(1, 2, requires_grad=True)
    target = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    keep = torch.tensor([[[True, False], [True, False]]])
    output = Output(torch.zeros(1, 2, 3), raw.sigmoid(), logit)
    losses.distillation(output, Labels(target, keep), torch.tensor([[1.0, 0.0]]), into).backward()
    for name, gradient in (("attention", raw.grad), ("activation", logit.grad)):
        assert (gradient is not None) == (into in (name, "both"))
    moved = raw.grad[0] if into == "attention" else logit.grad[0, :, 0]
    assert moved[0] < 0 < moved[1]


@pytest.mark.parametrize(
    ("keep", "target", "gradient"),
    [
        ([True, False, False], [0.0, 0.0, 0.0], 0.0),  # A is background, B undecided: it may be B's foreground
        ([True, True, False], [0.0, 0.0, 0.0], 0.5),  # both are background: sigmoid(0) - 0
        ([True, True, False], [0.0, 1.0, 0.0], -0.5),  # B is foreground: sigmoid(0) - 1
        ([False, True, False], [0.0, 1.0, 0.0], -0.5),
        ([False, False, False], [0.0, 0.0, 0.0], 0.0),
    ],
)
def test_attention_is_taught_background_only_where_every_labelled_class_is(keep, target, gradient):
    raw = torch.zeros(1, 1, requires_grad=True)
    output = Output(torch.zeros(1, 1, 4), raw.sigmoid(), torch.zeros(1, 1, 4))
    y = torch.tensor([[1.0, 1.0, 0.0]])
    losses.distillation(output, Labels(torch.tensor([[target]]), torch.tensor([[keep]])), y, "attention").backward()
    assert raw.grad.item() == pytest.approx(gradient, abs=1e-5)


def test_total_adds_each_term_by_its_own_weight():
    terms = {"mil_orig": torch.tensor(2.0), "distill": torch.tensor(3.0), "snico": torch.tensor(0.5)}
    weighted = losses.total(terms, Losses(mil_orig=0.5), Branch(distill=2.0))
    assert weighted == 7.5  # a head's own term is weighted already


def test_smoothing_is_a_mean_over_real_neighbours():
    score = torch.tensor([[[0.0], [3.0], [6.0], [99.0]]])
    mask = torch.tensor([[True, True, True, False]])
    assert pooling.smoothed(score, mask, 3)[0, :3, 0].tolist() == [1.5, 3.0, 4.5]
    assert pooling.smoothed(score, mask, 1) is score
    assert pooling.smoothed(score, mask, 3, zeros=True)[0, :3, 0].tolist() == [1.0, 3.0, 3.0], "nothing beyond the ends"
