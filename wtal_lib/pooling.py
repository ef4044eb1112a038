"""Snippet scores to one score a video: masked top-k pooling."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def top_k_mean(score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"], share: float) -> Float[Tensor, "b c"]:
    """Mean of the highest ``max(1, round(share * length))`` scores of each class in each video, over its real snippets.

    Padding changes nothing: the number of rows averaged follows each video's own length (W-TALC, Paul et al., ECCV
    2018, eq. 1). A video without any real snippet pools to 0.
    """
    length_b = mask.sum(dim=1)
    k_b = (length_b * share).round().long().clamp(min=1)
    masked = score.masked_fill(~mask[:, :, None], -torch.inf)
    best = masked.topk(min(int(k_b.max()), score.shape[1]), dim=1).values
    rank = torch.arange(best.shape[1], device=score.device)
    kept = (rank[None, :] < k_b[:, None]) & (rank[None, :] < length_b[:, None])
    total = best.masked_fill(~kept[:, :, None], 0.0).sum(dim=1)
    return total / kept.sum(dim=1).clamp(min=1)[:, None]


def masked_mean(value: Float[Tensor, "b t"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """Mean of each video's real snippets; 0 where it has none."""
    return (value * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def smoothed(score: Float[Tensor, "b t c"], mask: Bool[Tensor, "b t"], width: int) -> Float[Tensor, "b t c"]:
    """Centred temporal mean over ``width`` snippets (made odd), real ones only; ``width < 2`` changes nothing."""
    half = width // 2
    if half < 1:
        return score
    weight = mask[:, :, None].to(score.dtype)
    total = torch.cat([score * weight, weight], dim=2).cumsum(dim=1)
    total = torch.nn.functional.pad(total, (0, 0, 1, 0))
    last = score.shape[1]
    t = torch.arange(last, device=score.device)
    window = total[:, (t + half + 1).clamp(max=last)] - total[:, (t - half).clamp(min=0)]
    return torch.where(mask[:, :, None], window[..., :-1] / window[..., -1:].clamp(min=1), score)
