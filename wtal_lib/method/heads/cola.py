"""CoLA (Zhang et al., CVPR 2021, arXiv 2103.16392): one embedding convolution, actionness, snippet contrast."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.method.config import Branch
from wtal_lib.method.heads.contrast import best_rows, dilated, info_nce
from wtal_lib.method.layers import Convolution, Moments, Rescale
from wtal_lib.method.losses import video_cross_entropy
from wtal_lib.method.models import Output

SNICO, TAU, INNER, OUTER = 0.01, 0.07, 3, 6
"weight and temperature of the contrast, and the widths m and M of the masks around boundaries, snippets (section 4.1)"


class Cola(nn.Module):
    """Class activation by ReLU; the actionness of a snippet is the sum over classes (eq. 2)."""

    def __init__(self, moments: Moments, classes: int, config: Branch) -> None:
        super().__init__()
        self.rescale, self.embed = Rescale(moments), Convolution(len(moments[0]), config.hidden)
        self.dropout = nn.Dropout(0.7)
        self.classify = nn.Linear(config.hidden, classes, bias=False)

    def forward(self, x: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"]) -> Output:
        """Logits with a background of 0; attention ``1 - exp(-actionness)``."""
        embedding = functional.relu(self.embed(self.rescale(x, mask))) * mask[:, :, None]
        cas = functional.relu(self.classify(self.dropout(embedding))).float()
        logit = functional.pad(cas, (0, 1))
        return Output(logit, 1 - torch.exp(-cas.sum(dim=2)), logit, {"embedding": embedding.float()})

    def video_label_terms(
        self, output: Output, mask: Bool[Tensor, "b t"], y: Float[Tensor, "b c"], share: float
    ) -> dict[str, Tensor]:
        """``mil_orig`` over the classes (eq. 4), and ``snico``: hard snippets beside boundaries drawn to easy ones."""
        score, embedding = output.logit.detach().sum(dim=2), output.extra["embedding"]
        median = score.masked_fill(~mask, torch.nan).nanmedian(dim=1, keepdim=True).values
        bright, dark = (score > median) & mask, (score <= median) & mask
        inner = bright & dilated(dark, OUTER) & ~dilated(dark, INNER)
        outer = dark & dilated(bright, OUTER) & ~dilated(bright, INNER)
        k = max(1, int(share * mask.sum(dim=1).min()))
        action, background = (best_rows(embedding, sign * score, mask, k) for sign in (1, -1))
        hard_action, hard_background = (best_rows(embedding, score, at, max(1, k // 4)) for at in (inner, outer))
        snico = info_nce(hard_action, action, background, TAU) + info_nce(hard_background, background, action, TAU)
        return {"mil_orig": video_cross_entropy(output.logit[..., :-1], mask, y, share), "snico": SNICO * snico}
