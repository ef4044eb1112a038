"""Heads of other papers against worked numbers, and what every head owes: shapes, padding, its name in the config."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from test_trainer import task, trained, weights
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch
from wtal_lib.method.heads import HEADS, head
from wtal_lib.method.heads.contrast import best_rows, co_activity, dilated, info_nce
from wtal_lib.method.losses import video_label_terms
from wtal_lib.method.models import Output
from wtal_lib.runs.contracts import probe
from wtal_lib.runs.sources import Spec, open_data

EACH = pytest.mark.parametrize("name", HEADS)


def moments(width: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(width), np.ones(width)


def built(name: str, width: int = 6, classes: int = 3, hidden: int = 8) -> torch.nn.Module:
    torch.manual_seed(0)
    return head(name)(moments(width), classes, Branch(head=name, hidden=hidden)).eval()


def filled(branch: torch.nn.Module, **values: list) -> None:
    """Set parameters by name; the others to 0."""
    with torch.no_grad():
        for key, weight in branch.named_parameters():
            value = values.pop(key.replace(".", "_"), None)
            weight.copy_(torch.zeros_like(weight) if value is None else torch.tensor(value))
    assert not values


def real(snippets: int, videos: int = 1) -> torch.Tensor:
    return torch.ones(videos, snippets, dtype=torch.bool)


def terms_of(branch: torch.nn.Module, output, mask, y, share: float = 0.25) -> dict[str, float]:
    terms = getattr(branch, "video_label_terms", video_label_terms)(output, mask, y, share)
    return {name: term.item() for name, term in terms.items()}


@EACH
@pytest.mark.parametrize("width", [6, 5])  # RGB and flow; RGB alone, an odd number of columns
def test_a_head_gives_an_output_and_finite_losses_that_reach_its_weights(name: str, width: int) -> None:
    branch, x = built(name, width).train(), torch.randn(2, 9, width)
    y = torch.tensor([[1.0, 0, 0], [1.0, 1, 0]])
    output = branch(x, real(9, 2))
    assert output.logit.shape == output.suppressed.shape == (2, 9, 4)
    assert output.attention.shape == (2, 9)
    assert ((output.attention >= 0) & (output.attention <= 1)).all()
    assert output.score().shape == (2, 9, 3)
    terms = getattr(branch, "video_label_terms", video_label_terms)(output, real(9, 2), y, 0.25)
    torch.stack(list(terms.values())).sum().backward()
    grads = [weight.grad for weight in branch.parameters() if weight.grad is not None]
    assert len(grads) >= 3
    assert all(torch.isfinite(grad).all() for grad in grads)


@EACH
def test_padding_changes_no_score_and_no_loss_of_a_head(name: str) -> None:
    branch, y = built(name), torch.tensor([[1.0, 0, 0], [1.0, 1, 0]])
    x, mask = torch.randn(2, 40, 6, generator=torch.Generator().manual_seed(0)), real(40, 2)
    mask[1, 30:] = False
    with torch.no_grad():
        short = branch(x, mask)
        longer = functional.pad(mask, (0, 7))
        long = branch(functional.pad(x, (0, 0, 0, 7), value=50.0), longer)
    for one, other in zip(short[:3], long[:3], strict=True):
        assert torch.allclose(one[mask], other[:, :40][mask], atol=1e-5)
    assert terms_of(branch, short, mask, y) == pytest.approx(terms_of(branch, long, longer, y), abs=1e-5)


def test_cola_by_hand() -> None:
    branch, identity = built("cola", width=2, classes=2, hidden=2), torch.eye(2)
    middle = torch.cat([torch.zeros(2, 2), identity, torch.zeros(2, 2)], dim=1)
    filled(branch, embed_weight=middle.tolist(), classify_weight=identity.tolist())
    x = torch.tensor([[[1.0, 0], [0, 2], [-1, 3]]])
    output = branch(x, real(3))
    assert output.logit[0].tolist() == [[1, 0, 0], [0, 2, 0], [0, 3, 0]]
    assert output.attention[0].tolist() == pytest.approx([1 - math.exp(-n) for n in (1, 2, 3)])
    assert torch.equal(output.suppressed, output.logit)
    terms = terms_of(branch, output, real(3), torch.tensor([[1.0, 0]]), share=1 / 3)
    assert terms["mil_orig"] == pytest.approx(math.log(math.e + math.exp(3)) - 1)  # top 1 of each class: 1 and 3
    # actionness 1 2 3: the action is (0, 3), the background (1, 0), which is hard too; no action is hard: 0 for a query
    assert terms["snico"] == pytest.approx(0.01 * (math.log(2) + math.log(1 + math.exp(-1 / 0.07))), abs=1e-7)


def test_snippets_near_a_boundary_are_hard_by_hand() -> None:
    bright = torch.zeros(1, 20, dtype=torch.bool)
    bright[0, 10:] = True
    assert dilated(bright, 3)[0].nonzero()[:, 0].tolist() == list(range(9, 20))
    assert dilated(bright, 6)[0].nonzero()[:, 0].tolist() == list(range(8, 20))
    embedding = torch.arange(20.0)[None, :, None]
    score = torch.arange(20.0)[None] % 7
    assert best_rows(embedding, score, bright, 3)[0, :, 0].tolist() == [13, 12, 19]  # scores 6, 5, 5
    one = torch.zeros_like(bright)
    one[0, 4] = True
    assert best_rows(embedding, score, one, 3)[0, :, 0].tolist() == [4, 0, 0]


def test_info_nce_by_hand() -> None:
    a, b = torch.tensor([[[2.0, 0]]]), torch.tensor([[[0.0, 5], [0, 1]]])
    expected = math.log(1 + 2 * math.exp(-1 / 0.5))  # cosine 1 to the positive, 0 to two negatives
    assert info_nce(a, a, b, 0.5).item() == pytest.approx(expected, abs=1e-6)
    assert info_nce(b, a, b, 1.0).item() == pytest.approx(math.log(1 + 2 * math.e), rel=1e-5)


def test_co2net_by_hand() -> None:
    branch, three = built("co2net", width=2, classes=2, hidden=2), math.log(3)
    middle = [[0.0, 0, 1, 0, 0, 0], [0, 0, 0, 1, 0, 0]]
    filled(
        branch,
        rgb_globally_bias=[1.0], rgb_locally_bias=[three], flow_globally_bias=[1.0], flow_locally_bias=[three],
        flow_last_bias=[three], fuse_weight=[[1.0, 0], [0, 1]], embed_weight=middle,
        classify_weight=[[1.0, 0], [0, 1], [-1, -1]],
    )  # fmt: skip
    output = branch(torch.tensor([[[4.0, 8.0]]]), real(1))
    assert output.extra["embedding"][0, 0].tolist() == pytest.approx([3, 6])  # gate sigmoid(1 x log 3) = 3/4
    assert output.logit[0, 0].tolist() == pytest.approx([3, 6, -9])
    assert output.attention[0, 0].item() == pytest.approx((0.5 + 0.75) / 2)
    assert output.suppressed[0, 0].tolist() == pytest.approx([0.625 * 12 - 9, 0.625 * 15 - 9, -9])
    terms = terms_of(branch, output, real(1), torch.tensor([[1.0, 0]]))
    assert terms["mutual"] == pytest.approx(0.25**2)  # (0.25^2 + 0.25^2) / 2
    assert terms["norm"] == pytest.approx(0.625)
    assert terms["casl"] == 0  # a single video has no partner


def test_co2net_filters_each_modality_by_its_own_mean_and_the_other_modality() -> None:
    branch = built("co2net", width=2, classes=2, hidden=2)
    filled(branch, rgb_globally_weight=[[0.0, 1, 0]], rgb_locally_weight=[[0.0, 1, 0]], fuse_weight=[[1.0, 0], [0, 0]])
    rgb = branch(torch.tensor([[[1.0, 2], [3.0, 4]]]), real(2)).extra["embedding"][0, :, 0]
    gate = [1 / (1 + math.exp(-2 * flow)) for flow in (2, 4)]  # RGB's mean 2, times flow
    assert rgb.tolist() == pytest.approx([gate[0] * 1, gate[1] * 3])


def test_co_activity_by_hand() -> None:
    logit = torch.tensor([[[60.0, 0], [0, 0]]]).repeat(2, 1, 1)  # all of class 0's weight is on the first snippet
    embedding = torch.tensor([[[2.0, 0], [0, 1]], [[0.0, 1], [3, 0]]])
    y = torch.tensor([[1.0, 0], [1, 0]])
    assert co_activity(logit, embedding, real(2, 2), y).item() == pytest.approx(1.5)  # 1 - 0 + 1/2, both ways
    alike = embedding[:1].repeat(2, 1, 1)
    assert co_activity(logit, alike, real(2, 2), y).item() == 0  # 0 - 1 + 1/2 is below 0
    assert co_activity(logit, embedding, real(2, 2), torch.eye(2)).item() == 0  # no class in common


def test_an_unknown_head_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="unknown head 'colo'; did you mean 'cola'"):
        head("colo")


@pytest.mark.parametrize("head", ["cola", "co2net"])
def test_a_head_of_another_paper_trains_by_its_own_losses_and_resumes(tmp_path, head):
    data = open_data(Spec(source="simulated", root="", profile="ci"))
    one = task(data, cbp__head=head)
    state = trained(one, tmp_path)
    own = {"cola": "cbp.snico", "co2net": "cbp.casl"}[head]
    assert own in state.history[-1]["losses"]
    assert "cbp.distill" in state.history[-1]["losses"]
    assert torch.equal(weights(state), weights(trained(one, tmp_path)))
    with pytest.raises(ValueError, match="another configuration or other data"):
        trained(task(data), tmp_path)


@pytest.mark.parametrize(
    ("output", "match"),
    [
        (
            Output(torch.ones(2, 40, 4), torch.ones(2, 40), torch.ones(2, 40, 4)),
            r"logit must be of shape \(2, 40, 3\).*\(2, 40, 4\)",
        ),
        (Output(torch.ones(2, 40, 3), torch.ones(2, 40, 1), torch.ones(2, 40, 3)), r"attention .*shape \(2, 40, 1\)"),
        (Output(torch.ones(2, 40, 3), torch.ones(2, 40), torch.full((2, 40, 3), torch.nan)), "suppressed .*got NaN"),
        ((torch.ones(2, 40, 3),), "logit .*got nothing"),
    ],
)
def test_a_head_that_gives_something_else_is_refused_before_training(output: Output, match: str) -> None:
    class Other(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Output:
            return output

    with pytest.raises(ValueError, match=match):
        probe("mine", Other(), 4, 2)
