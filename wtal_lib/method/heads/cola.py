"""CoLA (Zhang et al., CVPR 2021, arXiv 2103.16392): one embedding convolution, actionness, snippet contrast."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch
from wtal_lib.method.layers import Convolution, Gate, Moments, Rescale
from wtal_lib.method.losses import video_cross_entropy
from wtal_lib.method.models import Output
from wtal_lib.method.pooling import dilated

SNICO, TAU, INNER, OUTER = 0.01, 0.07, 3, 6
"weight of the contrast, its temperature, and the widths m and M of the masks around boundaries, snippets (section 4.1)"


class Cola(nn.Module):
    """Class activation by ReLU; the actionness of a snippet is the sum over classes (eq. 2)."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        self.rescale, self.embed = Rescale(moments), Convolution(len(moments[0]), config.hidden)
        self.relu, self.dropout = Gate(0.0), nn.Dropout(0.7)
        self.classify = nn.Linear(config.hidden, classes, bias=False)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Logits with a background of 0; attention ``1 - exp(-actionness)``."""
        embedding = self.relu(self.embed(self.rescale(x, mask)), mask)
        cas = functional.relu(self.classify(self.dropout(embedding))).float()
        attention = 1 - torch.exp(-cas.sum(dim=2))
        logit = functional.pad(cas, (0, 1))
        return Output(logit, attention, logit, {"embedding": embedding.float()})

    def video_label_terms(
        self, output: Output, mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"], share: float
    ) -> dict[str, Tensor]:
        """``mil_orig`` over the classes (eq. 4) and the two InfoNCE terms of SniCo (eq. 8)."""
        actionness, embedding = output.logit[..., :-1].detach().sum(dim=2), output.extra["embedding"]
        k = max(1, int(share * mask.sum(dim=1).min()))
        low = actionness.masked_fill(~mask, torch.inf)
        high = actionness.masked_fill(~mask, -torch.inf)
        bright = (actionness > actionness.masked_fill(~mask, torch.nan).nanmedian(dim=1, keepdim=True).values) & mask
        inner = dilated(~bright, OUTER) & ~dilated(~bright, INNER) & mask
        outer = dilated(bright, OUTER) & ~dilated(bright, INNER) & mask
        easy_action, easy_background = _rows(embedding, high, k), _rows(embedding, -low, k)
        hard_action, hard_background = (
            _rows(embedding, high.masked_fill(~where, -torch.inf), max(1, k // 4)) for where in (inner, outer)
        )
        contrast = _nce(hard_action, easy_action, easy_background) + _nce(hard_background, easy_background, easy_action)
        return {"mil_orig": video_cross_entropy(output.logit[..., :-1], mask, y, share), "snico": SNICO * contrast}


def _rows(embedding: Float[Tensor, "b t h"], score: Float[Tensor, "b t"], k: int) -> Float[Tensor, "b k h"]:
    return embedding.take_along_dim(score.topk(k, dim=1).indices[:, :, None], dim=1)


def _nce(query: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    """InfoNCE of the mean query against the mean positive and every negative, cosine over ``TAU``."""
    query, positive = (functional.normalize(rows.mean(dim=1), dim=1)[:, None] for rows in (query, positive))
    key = torch.cat([positive, functional.normalize(negative, dim=2)], dim=1)
    return -functional.log_softmax((query * key).sum(dim=2) / TAU, dim=1)[:, 0].mean()
