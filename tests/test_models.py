"""The two branches: padding, scale and the vanilla start."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from wtal_lib.method.config import Branch
from wtal_lib.method.heads.conv import CbpBranch
from wtal_lib.method.layers import POSITIONS, Convolution, Rescale, Silence, Temporal
from wtal_lib.method.models import Vanilla, VlpBranch

KINDS = ["conv", "transformer", "none"]


class Rows(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.rows = rows

    def forward(self):
        return self.rows


def features(seed=0, b=2, t=9, d=6):
    return torch.randn(b, t, d, generator=torch.Generator().manual_seed(seed))


def cbp(kind="conv", mean=0.0, deviation=1.0, classes=4):
    torch.manual_seed(0)
    moments = np.full(6, mean), np.full(6, deviation)
    return CbpBranch(moments, classes, Branch(hidden=8, temporal=kind)).eval()


def vlp(classes=4, kind="conv", deviation=(1.0,) * 6):
    text = functional.normalize(features(3, 1, classes)[0], dim=1)
    torch.manual_seed(0)
    moments = np.zeros(6), np.array(deviation)
    return VlpBranch(moments, Rows(text), 20.0, Branch(hidden=8, temporal=kind)).eval(), text


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_that_is_real(kind):
    x, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    padded = torch.cat([x, torch.full((2, 4, 6), 50.0)], dim=1)
    longer = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    short, long = cbp(kind)(x, mask), cbp(kind)(padded, longer)
    assert torch.allclose(short.logit, long.logit[:, :9], atol=1e-5)
    assert torch.allclose(short.attention, long.attention[:, :9], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_the_vlp_branch_sees_no_padding_either(kind):
    z, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    padded, longer = functional.pad(z, (0, 0, 0, 4), value=50.0), functional.pad(mask, (0, 4))
    branch, _ = vlp(kind=kind)
    nn.init.normal_(branch.residual.weight)
    short, long = branch(z, mask), branch(padded, longer)
    for one, other in zip(short[:3], long[:3], strict=True):
        assert torch.allclose(one, other[:, :9], atol=1e-5)


def test_the_scale_of_a_cbp_pack_does_not_matter():
    x, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    as_is, scaled = cbp(mean=0.6, deviation=0.8)(x, mask), cbp(mean=0.006, deviation=0.008)(0.01 * x, mask)
    assert torch.allclose(as_is.logit, scaled.logit, atol=1e-4)
    assert cbp(mean=0.6, deviation=0.8).rescale.factor == pytest.approx(1)  # 1 / sqrt(0.36 + 0.64)
    assert cbp(mean=0.0, deviation=0.0).rescale.factor == 0


def test_a_vlp_dimension_that_never_varies_is_ignored():
    branch, _ = vlp(deviation=[1.0, 1, 1, 1, 1, 0])
    z, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    assert (branch.standardise(z, mask)[..., 5] == 0).all()


def test_suppression_leaves_the_bias_alone_whatever_the_sign_of_a_logit():
    """Logits times attention would raise those that are negative: background would rank above weak action."""
    x, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    branch, (words, _) = cbp(), vlp()
    with torch.no_grad():
        for each in (branch, words):
            each.attend.weight.zero_()
            each.attend.bias.fill_(-1e3)
        branch.classify.weight.abs_()  # hidden channels are never negative: every feature speaks for every class
        branch.classify.bias[:4], words.background.bias[:] = -30.0, 3.0
    output = branch(x, mask)
    assert torch.equal(output.suppressed, branch.classify.bias.expand(2, 9, 5))
    assert (output.suppressed[..., :4] < output.logit[..., :4]).float().mean() > 0.9
    assert (output.suppressed <= output.logit).all()
    assert (output.logit[..., :4] < 0).all(), "a product with the attention would raise them to 0"
    assert torch.equal(words(x, mask).suppressed, torch.tensor([0.0, 0, 0, 0, 3]).expand(2, 9, 5))
    for each in (branch, words):
        nn.init.constant_(each.attend.bias, 1e3)
        assert torch.allclose(each(x, mask).suppressed, each(x, mask).logit)


def test_positions_tell_the_transformer_where_a_snippet_is():
    """Without them its output would follow any shuffle of its input."""
    x, mask, order = features(), torch.ones(2, 9, dtype=torch.bool), torch.randperm(9)
    branch = cbp("transformer")
    nn.init.normal_(branch.temporal.position)
    gap = branch(x[:, order], mask).logit - branch(x, mask).logit[:, order]
    assert gap.abs().max() > 0.1
    nn.init.zeros_(branch.temporal.position)
    assert torch.allclose(branch(x[:, order], mask).logit, branch(x, mask).logit[:, order], atol=1e-5)


def test_a_video_longer_than_the_learned_positions_shares_them_out():
    branch = cbp("transformer")
    seen = []
    branch.temporal.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x, mask = torch.zeros(1, 2 * POSITIONS, 6), torch.ones(1, 2 * POSITIONS, dtype=torch.bool)
    with torch.no_grad():
        branch(x, mask)
    expected = branch.temporal.position + branch.temporal.enter.bias
    assert torch.allclose(seen[0][0, ::2], expected)
    assert torch.allclose(seen[0][0, 1::2], expected)


def test_convolution_equals_conv1d():
    layer = Convolution(6, 5)
    weight = layer.weight.reshape(5, 3, 6).transpose(1, 2)
    x = features()
    expected = nn.functional.conv1d(x.transpose(1, 2), weight, layer.bias, padding=1).transpose(1, 2)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_convolution_rounds_its_input_as_a_linear_layer_of_three_rows_does():
    layer, x = Convolution(6, 5), features()
    rows = torch.cat([functional.pad(x, (0, 0, 1, 0))[:, :-1], x, functional.pad(x, (0, 0, 0, 1))[:, 1:]], dim=2)
    with torch.autocast("cpu", torch.bfloat16):
        seen, expected = layer(x), functional.linear(rows, layer.weight, layer.bias)
        assert seen.dtype == torch.bfloat16
        assert torch.equal(seen, expected)
        x.requires_grad_()  # as what another layer hands over
        layer(x).float().square().sum().backward()
        ours, x.grad = x.grad, None
        rows = torch.cat([functional.pad(x, (0, 0, 1, 0))[:, :-1], x, functional.pad(x, (0, 0, 0, 1))[:, 1:]], dim=2)
        functional.linear(rows, layer.weight, layer.bias).float().square().sum().backward()
    assert torch.equal(ours, x.grad)


def test_moments_that_cannot_be_written_are_no_cause_for_a_warning(recwarn):
    torch.set_warn_always(True)
    try:
        moments = np.zeros(6), np.ones(6)
        for moment in moments:
            moment.flags.writeable = False  # as those of a pack that lies on disk are
        VlpBranch(moments, Rows(torch.eye(4, 6)), 20.0, Branch(hidden=8))
    finally:
        torch.set_warn_always(False)
    assert not list(recwarn)


def test_an_untrained_vlp_branch_ranks_classes_as_vanilla_vlp_up_to_a_constant_per_class():
    branch, text = vlp()
    z, mask = nn.functional.normalize(features(), dim=2), torch.ones(2, 9, dtype=torch.bool)
    ours, vanilla = branch(z, mask).logit[..., :-1], Vanilla(text, 20.0)(z, mask).logit[..., :-1]
    gap = (ours - vanilla) - (ours - vanilla).mean(dim=2, keepdim=True)
    assert torch.allclose(gap, gap[:1, :1].expand_as(gap), atol=1e-4)


def test_vanilla_vlp_has_no_background_and_its_activations_sum_to_one():
    output = Vanilla(features(2, 1, 4)[0], 100.0)(features(), torch.ones(2, 9, dtype=torch.bool))
    assert torch.allclose(output.activation().sum(dim=2), torch.ones(2, 9))
    assert torch.equal(output.score(), output.activation())
    assert (output.attention == 1).all()


def test_scores_are_the_activation_of_the_attended_features():
    output = cbp()(features(), torch.ones(2, 9, dtype=torch.bool))
    score = output.score()
    by_hand = output.suppressed.exp() / output.suppressed.exp().sum(dim=2, keepdim=True)
    assert torch.allclose(score, by_hand[..., :4], atol=1e-6)
    assert ((score >= 0) & (score <= 1)).all()


def test_a_single_class_is_enough():
    output = cbp(classes=1)(features(), torch.ones(2, 9, dtype=torch.bool))
    assert output.activation().shape == (2, 9, 1)


def test_hidden_channels_are_silenced_for_a_whole_video_keep_their_mean_and_leave_the_padding_0():
    config = Branch(hidden=64, dropout=0.25)
    torch.manual_seed(0)
    temporal, x = Temporal(8, config), torch.randn(200, 6, 8)
    mask = torch.ones(200, 6, dtype=torch.bool)
    mask[:, 4:] = False
    whole, seen = temporal.eval()(x * mask[:, :, None], mask), temporal.train()(x * mask[:, :, None], mask)
    assert (whole >= 0).all()
    assert (seen[:, 4:] == 0).all()
    share = seen.sum(dim=1) / whole.sum(dim=1)  # of each channel over a video: all of it, or nothing
    known = whole.sum(dim=1) > 0
    assert {round(one, 3) for one in share[known].tolist()} == {0.0, round(1 / 0.75, 3)}
    assert share[known].mean().item() == pytest.approx(1, abs=0.02)


def test_a_silenced_feature_falls_to_its_floor_for_a_whole_video_and_padding_stays_zero():
    moments = np.array([4.0, -4.0, 1.0]), np.array([2.0, 2.0, 3.0])  # floors 4 - 1, -4 + 1, and none
    rescale = Rescale(moments)
    assert (rescale.floor(moments) / rescale.factor).tolist() == pytest.approx([3.0, -3.0, 0.0])
    x, mask = torch.full((2000, 2, 3), 5.0), torch.tensor([[True, False]]).expand(2000, 2)
    x = x * mask[:, :, None]
    silence = Silence(0.25, torch.tensor([3.0, -3.0, 0.0])).train()
    torch.manual_seed(0)
    seen = silence(x, mask)
    assert (seen[:, 1] == 0).all()
    for feature, (dropped, kept) in enumerate([(3.0, 3 + 2 / 0.75), (-3.0, -3 + 8 / 0.75), (0.0, 5 / 0.75)]):
        assert {round(value, 4) for value in seen[:, 0, feature].tolist()} == {round(dropped, 4), round(kept, 4)}
    assert seen[:, 0].mean(dim=0).tolist() == pytest.approx([5.0] * 3, abs=0.3)
    assert torch.equal(silence.eval()(x, mask), x)
    both = silence.train()(torch.ones(50, 4, 3), torch.ones(50, 4, dtype=torch.bool))
    assert torch.equal(both, both[:, :1].expand_as(both))


@pytest.mark.parametrize("trained", [True, False])
def test_what_all_images_share_does_not_drown_their_differences_in_bfloat16(trained):
    branch, text = vlp()
    nn.init.zeros_(branch.temporal.enter.weight)  # the residual is zero anyway: what is left is the comparison
    z = nn.functional.normalize(features() + 50 * torch.eye(6)[0], dim=2)
    mask = torch.ones(2, 9, dtype=torch.bool)
    exact = branch(z, mask).logit if trained else Vanilla(text, 20.0)(z, mask).logit
    with torch.autocast("cpu", torch.bfloat16):
        rough = branch(z, mask).logit if trained else Vanilla(text, 20.0)(z, mask).logit
    assert torch.allclose(exact[..., :-1], rough[..., :-1], atol=1e-4)
