"""Parts of one's own as a user would write them, and the folder they lie in."""

from __future__ import annotations

from pathlib import Path

HEAD = """
from torch import nn
from wtal_lib.method.layers import Convolution, Rescale
from wtal_lib.method.models import Output


class Tanh(nn.Module):
    def __init__(self, moments, classes, config):
        super().__init__()
        self.rescale, self.embed = Rescale(moments), Convolution(len(moments[0]), config.hidden)
        self.classify, self.attend = nn.Linear(config.hidden, classes + 1), nn.Linear(config.hidden, 1)

    def forward(self, x, mask):
        hidden = self.embed(self.rescale(x, mask)).tanh() * mask[:, :, None]
        return Output.attended(self.classify(hidden), self.attend(hidden).sigmoid(), self.classify.bias)
"""
LOSS = """
def smoothness(output, mask, y):
    both = mask[:, 1:] & mask[:, :-1]
    return ((output.attention.diff(dim=1) ** 2) * both).sum() / both.sum().clamp(min=1)
"""
RULE = """
from wtal_lib.method.pseudo_labels import Labels


def quantiles(student, evidence, config, shares):
    (score,) = evidence.values()
    high, low = score > score.quantile(0.8, dim=0), score < score.quantile(0.4, dim=0)
    return Labels(high.float(), high | low)
"""
FUSION = """
def geometric(cas_btc, share_b):
    return (cas_btc ** share_b[:, None, None]).prod(axis=0)
"""


def written(folder: Path, **texts: str) -> Path:
    """A folder of modules, each by its name."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder
