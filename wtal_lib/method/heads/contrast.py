"""Contrast terms of other papers' heads: co-activity similarity (W-TALC) and snippet contrast (CoLA)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional


def co_activity(
    logit: Float[Tensor, "b t c"], embedding: Float[Tensor, "b t h"], mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"]
) -> Float[Tensor, ""]:
    """Hinge over pairs of videos that share a class: activity looks more like activity than like the rest, by 1/2.

    Activity is the mean embedding under a softmax of the class over time, the rest the mean under its complement; alike
    is by cosine (W-TALC, Paul et al., ECCV 2018, eq. 5 to 7).
    """
    weight = logit.masked_fill(~mask[:, :, None], -torch.inf).softmax(dim=1)
    rest = (1 - weight) * mask[:, :, None] / (mask.sum(dim=1)[:, None, None] - 1).clamp(min=1)
    high, low = (functional.normalize(torch.einsum("bth,btc->bch", embedding, part), dim=2) for part in (weight, rest))
    alike, unlike = torch.einsum("ich,jch->ijc", high, high), torch.einsum("ich,jch->ijc", high, low)
    pair = torch.einsum("ic,jc->ijc", y, y) * (1 - torch.eye(len(y), device=y.device))[:, :, None]
    return (functional.relu(unlike - alike + 0.5) * pair).sum() / pair.sum().clamp(min=1)


def dilated(where: Bool[Tensor, "b t"], width: int) -> Bool[Tensor, "b t"]:
    """Where any of the ``width`` snippets around is marked (morphological dilation)."""
    wide = functional.max_pool1d(where.float()[:, None], width, 1, width // 2)
    return wide[:, 0, : where.shape[1]] > 0


def best_rows(
    embedding: Float[Tensor, "b t h"], score: Float[Tensor, "b t"], where: Bool[Tensor, "b t"], count: int
) -> Float[Tensor, "b k h"]:
    """Embeddings of the ``count`` best-scored snippets among those marked, the earlier of equals first.

    Rows of zeros where fewer are marked.
    """
    marked = score.masked_fill(~where, -torch.inf)
    best = marked.argsort(dim=1, descending=True, stable=True)[:, :count, None]
    return embedding.take_along_dim(best, dim=1) * where[:, :, None].take_along_dim(best, dim=1)


def info_nce(
    query: Float[Tensor, "b k h"], positive: Float[Tensor, "b n h"], negative: Float[Tensor, "b m h"], tau: float
) -> Float[Tensor, ""]:
    """InfoNCE of the mean query against the mean positive and every negative, by cosine over ``tau`` (CoLA eq. 8)."""
    mean, key = (functional.normalize(rows.mean(dim=1), dim=1)[:, None] for rows in (query, positive))
    keys = torch.cat([key, functional.normalize(negative, dim=2)], dim=1)
    return -functional.log_softmax((mean * keys).sum(dim=2) / tau, dim=1)[:, 0].mean()
