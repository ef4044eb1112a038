"""Snippet scores to video scores and back: top-k pooling, masked means, smoothing."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional


def top_k_mean(score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"], share: float) -> Float[Tensor, "b c"]:
    """Mean of the highest ``max(1, round(share * length))`` scores of each class in each video, over its real snippets.

    Padding changes nothing (W-TALC, Paul et al., ECCV 2018, eq. 1). A video without any real snippet pools to 0. Scores
    that tie for the last place share it.
    """
    length_b = mask.sum(dim=1)
    k_b1 = (length_b * share).round().long().clamp(min=1).minimum(length_b)[:, None]
    with torch.no_grad():
        masked = score.detach().masked_fill(~mask[:, :, None], -torch.inf)
        last_b1c = _kth_largest(masked, k_b1)[:, None]
        above, equal = (masked > last_b1c).float(), (masked == last_b1c).float()
        place_b1c = (k_b1 - above.sum(dim=1))[:, None] / equal.sum(dim=1, keepdim=True).clamp(min=1)
        weight = (above + equal * place_b1c) * mask[:, :, None]
    return (score * weight).sum(dim=1) / k_b1.clamp(min=1)


def _kth_largest(score: Float[Tensor, "b t c"], k_b1: Int[Tensor, "b 1"]) -> Float[Tensor, "b c"]:
    """The ``k``-th largest score of each class; on a CPU by numpy's sort, ten times as fast as PyTorch's top-k."""
    row_bct = score.transpose(1, 2).contiguous()
    on_cpu = row_bct.device.type == "cpu"
    ordered = torch.from_numpy(np.sort(row_bct.numpy(), axis=2)) if on_cpu else row_bct.sort(dim=2).values
    place_b1 = (score.shape[1] - k_b1).clamp(max=score.shape[1] - 1)
    return ordered.gather(2, place_b1[:, :, None].expand(-1, score.shape[2], 1))[..., 0]


def masked_mean(value: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """Mean of each video's real snippets; 0 where it has none."""
    return (value * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def smoothed(
    score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"], width: int, *, zeros: bool = False
) -> Float[Tensor, "b t c"]:
    """Centred temporal mean over ``width`` snippets (made odd); ``width < 2`` changes nothing.

    Over the real snippets only or, with ``zeros``, as if nothing were seen before the first and after the last.
    """
    half, last = width // 2, score.shape[1]
    if half < 1:
        return score
    weight = mask[:, :, None].to(score.dtype)
    total = functional.pad(torch.cat([score * weight, weight], dim=2).cumsum(dim=1), (0, 0, 1, 0))
    t = torch.arange(last, device=score.device)
    window = total[:, (t + half + 1).clamp(max=last)] - total[:, (t - half).clamp(min=0)]
    among = window[..., -1:].clamp(min=2 * half + 1 if zeros else 1)
    return torch.where(mask[:, :, None], window[..., :-1] / among, score)
