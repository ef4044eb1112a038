"""The two branches: padding, scale and the vanilla start."""

import numpy as np
import pytest
import torch
from torch import nn

from wtal_lib.method.config import Branch
from wtal_lib.method.models import CbpBranch, Convolution, Gate, Vanilla, VlpBranch

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


def vlp(classes=4):
    text = nn.functional.normalize(features(3, 1, classes)[0], dim=1)
    torch.manual_seed(0)
    return VlpBranch((np.zeros(6), np.ones(6)), Rows(text), 20.0, Branch(hidden=8)).eval(), text


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_nothing_that_is_real(kind):
    x, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    padded = torch.cat([x, torch.full((2, 4, 6), 50.0)], dim=1)
    longer = torch.cat([mask, torch.zeros(2, 4, dtype=torch.bool)], dim=1)
    short, long = cbp(kind)(x, mask), cbp(kind)(padded, longer)
    assert torch.allclose(short.logit, long.logit[:, :9], atol=1e-5)
    assert torch.allclose(short.attention, long.attention[:, :9], atol=1e-5)


def test_the_scale_and_offset_of_a_pack_do_not_matter():
    x, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    as_is, scaled = cbp()(x, mask), cbp(mean=0.3, deviation=0.01)(0.01 * x + 0.3, mask)
    assert torch.allclose(as_is.logit, scaled.logit, atol=1e-4)


def test_a_dimension_that_never_varies_is_ignored():
    branch = CbpBranch((np.zeros(6), np.array([1.0, 1, 1, 1, 1, 0])), 4, Branch(hidden=8)).eval()
    x, mask = features(), torch.ones(2, 9, dtype=torch.bool)
    other = x.clone()
    other[..., 5] = 1e6
    assert torch.equal(branch(x, mask).logit, branch(other, mask).logit)


def test_convolution_equals_conv1d():
    layer = Convolution(6, 5)
    weight = layer.weight.reshape(5, 3, 6).transpose(1, 2)
    x = features()
    expected = nn.functional.conv1d(x.transpose(1, 2), weight, layer.bias, padding=1).transpose(1, 2)
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_an_untrained_vlp_branch_ranks_classes_as_vanilla_vlp_up_to_a_constant_per_class():
    branch, text = vlp()
    z, mask = nn.functional.normalize(features(), dim=2), torch.ones(2, 9, dtype=torch.bool)
    ours, vanilla = branch(z, mask).logit[..., :-1], Vanilla(text, 20.0)(z, mask).logit[..., :-1]
    gap = (ours - vanilla) - (ours - vanilla).mean(dim=2, keepdim=True)
    assert torch.allclose(gap, gap[:1, :1].expand_as(gap), atol=1e-4)


def test_vanilla_vlp_has_no_background_and_its_activations_sum_to_one():
    z = features()
    output = Vanilla(features(2, 1, 4)[0], 100.0)(z, torch.ones(2, 9, dtype=torch.bool))
    assert torch.allclose(output.activation().sum(dim=2), torch.ones(2, 9))
    assert (output.attention == 1).all()


def test_scores_are_activation_times_attention_and_lie_in_the_unit_interval():
    output = cbp()(features(), torch.ones(2, 9, dtype=torch.bool))
    assert torch.equal(output.score(), output.activation() * output.attention[..., None])
    assert ((output.score() >= 0) & (output.score() <= 1)).all()


def test_a_single_class_is_enough():
    output = cbp(classes=1)(features(), torch.ones(2, 9, dtype=torch.bool))
    assert output.activation().shape == (2, 9, 1)


def test_a_gate_rectifies_keeps_the_mean_and_closes_the_padding():
    x, mask = torch.rand(4, 500, 64, generator=torch.Generator().manual_seed(0)), torch.ones(4, 500, dtype=torch.bool)
    mask[:, 400:] = False
    gate = Gate(0.25)
    torch.manual_seed(0)
    output = gate.train()(x, mask)
    assert (output[:, 400:] == 0).all()
    assert (output[:, :400] == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert output[:, :400].mean().item() == pytest.approx(x[:, :400].mean().item(), rel=0.01)
    assert torch.equal(gate(-x, mask), torch.zeros_like(x))
    assert torch.equal(gate.eval()(x, mask), x * mask[:, :, None])


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
