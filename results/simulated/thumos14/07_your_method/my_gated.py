from wtal_lib.method.layers import Convolution
from wtal_lib.method.models import Output
from wtal_lib.method.layers import Rescale
import torch.nn as nn


class Gated(nn.Module):
    def __init__(self, moments, classes, config):
        super().__init__()
        self.rescale, width = Rescale(moments), config.hidden
        self.embed, self.mix = Convolution(len(moments[0]), 2 * width), Convolution(width, width)
        self.classify, self.attend = nn.Linear(width, classes + 1), nn.Linear(width, 1)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x, mask):
        value, gate = self.embed(self.rescale(x, mask)).chunk(2, dim=2)
        hidden = self.drop(value.tanh() * gate.sigmoid()) * mask[:, :, None]
        hidden = (hidden + self.mix(hidden).tanh()) * mask[:, :, None]
        return Output.attended(self.classify(hidden), self.attend(hidden).sigmoid(), self.classify.bias)
