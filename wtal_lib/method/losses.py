"""The terms that a step adds up: pure functions of logits, attention and labels.

Every term is a mean over videos of a quantity that neither padding nor the number of classes rescales: a classification
term is a cross-entropy summed over the video's own labels (averaged over all C classes, 20-class settings fail on 100
classes), an attention term is a mean over the real snippets. Class logits have C + 1 columns, background last.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from wtal_lib.extensions import load
from wtal_lib.method.config import Branch, Losses
from wtal_lib.method.models import Output
from wtal_lib.method.pooling import masked_mean, top_k_mean
from wtal_lib.method.pseudo_labels import Labels


def video_cross_entropy(
    logit: Float[Tensor, "b t k"], mask: Bool[Tensor, "b t"], y: Float[Tensor, "b k"], share: float
) -> Float[Tensor, ""]:
    """Cross-entropy of the top-k pooled logits against the video labels; 0 when no video has any.

    ``-sum_c y_c / |y| * log softmax(top-k mean of logit)_c``, averaged over the videos that have a label. The gradient
    of a labelled class is ``p_c - y_c / |y|`` whatever C is (W-TALC eq. 3, BaS-Net).
    """
    log_p = functional.log_softmax(top_k_mean(logit, mask, share), dim=1)
    labelled = y.sum(dim=1) > 0
    entropy = -(y / y.sum(dim=1, keepdim=True).clamp(min=1) * log_p).sum(dim=1)
    return (entropy * labelled).sum() / labelled.sum().clamp(min=1)


def guide(
    logit: Float[Tensor, "b t k"], attention: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Mean of ``|1 - p_background - attention|``: two ways to call a snippet action, made to agree (CO2-Net)."""
    return masked_mean((1 - logit.softmax(dim=2)[..., -1] - attention).abs(), mask).mean()


def video_label_terms(
    output: Output, mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"], share: float
) -> dict[str, Float[Tensor, ""]]:
    """The terms that need video labels only, by CO2-Net's names: ``mil_orig``, ``mil_supp``, ``norm`` and ``guide``.

    An untrimmed video holds background somewhere (mil_orig: background is a label of every labelled video), and where
    attention suppresses it, it should hold none (mil_supp), after BaS-Net (Lee et al., AAAI 2020).
    """
    some = (y.sum(dim=1, keepdim=True) > 0).to(y.dtype)
    return {
        "mil_orig": video_cross_entropy(output.logit, mask, torch.cat([y, some], dim=1), share),
        "mil_supp": video_cross_entropy(output.suppressed, mask, functional.pad(y, (0, 1)), share),
        "norm": masked_mean(output.attention, mask).mean(),
        "guide": guide(output.logit, output.attention, mask),
    }


def balanced_bce(
    logit: Float[Tensor, "..."],
    target: Float[Tensor, "..."],
    keep: Bool[Tensor, "..."],
    weights: tuple[float, float] = (1.0, 1.0),
) -> Float[Tensor, ""]:
    """Binary cross-entropy of the kept entries: the weighted mean of that over background and that over foreground.

    Background are targets below 1/2; ``weights`` are of background and foreground. 0 when none is kept; where only
    one kind is kept, its mean alone.
    """
    value = functional.binary_cross_entropy_with_logits(logit, target, reduction="none")
    kinds = [keep & (target < 0.5), keep & (target >= 0.5)]
    means = torch.stack([(value * kind).sum() / kind.sum().clamp(min=1) for kind in kinds])
    weight = torch.stack([kind.any() * one for kind, one in zip(kinds, weights, strict=True)]).to(value.dtype)
    return (means * weight).sum() / weight.sum().clamp(min=1e-6)


def activation_logit(logit: Float[Tensor, "b t k"]) -> Float[Tensor, "b t c"]:
    """Logit of each class's activation, ``z_c - logsumexp of the others``: a confidently wrong one keeps its gradient.

    The others of the greatest logit are summed without it; for any other class the difference of sums is exact enough.
    """
    high, best = logit.max(dim=2, keepdim=True)
    is_best = torch.zeros_like(logit, dtype=torch.bool).scatter_(2, best, True)
    runner_up = logit.masked_fill(is_best, -torch.inf).logsumexp(dim=2, keepdim=True)
    share = (logit - high).exp()
    rest = high + (share.sum(dim=2, keepdim=True) - share).clamp(min=1).log()
    return (logit - torch.where(is_best, runner_up, rest))[..., :-1]


def distillation(
    output: Output, labels: Labels, y: Float[Tensor, "b c"], into: str, weights: tuple[float, float] = (1.0, 1.0)
) -> Float[Tensor, ""]:
    """The student against confident pseudo-labels: its labelled class up on foreground, down on background.

    ``into="activation"`` teaches the class activation that is thresholded, ``"attention"`` the class-agnostic one:
    foreground where any labelled class is, background where every one of the video's is. ``"both"`` adds the two.
    ``weights`` are those of background and of foreground labels (:func:`balanced_bce`).
    """
    (target, keep), terms = labels, []
    if into != "attention":
        terms.append(balanced_bce(activation_logit(output.suppressed), target, keep, weights))
    if into != "activation":
        best = target.masked_fill(~keep, 0.0).amax(dim=2)
        background = (keep | (y <= 0)[:, None, :]).all(dim=2) & keep.any(dim=2)
        action_or_not = (best >= 0.5) | background
        terms.append(balanced_bce(torch.logit(output.attention, eps=1e-6), best, action_or_not, weights))
    return torch.stack(terms).sum()


def extra_terms(weights: Losses) -> dict[str, Callable[[Output, Tensor, Tensor], Tensor]]:
    """Terms of your own by name: ``loss(output, mask, y)`` of a branch's output, a scalar; padding must not count."""
    return {name: load(name, "losses.extra") for name in weights.extra}


def total(terms: dict[str, Float[Tensor, ""]], weights: Losses, branch: Branch) -> Float[Tensor, ""]:
    """The weighted sum of the terms, each by the weight of its name; a head's own terms are weighted already."""
    own = {name: getattr(branch, name) for name in ("norm", "guide", "distill")}
    weight = {**vars(weights), **own, **weights.extra}
    return torch.stack([weight.get(name, 1.0) * term for name, term in terms.items()]).sum()
