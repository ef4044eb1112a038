"""Networks of the branches by name: ours, those of other papers (a file of one class each), and your own."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from wtal_lib.extensions import blamed, is_own, load
from wtal_lib.method.config import Branch
from wtal_lib.settings import require_known

HEADS = {
    "conv": "wtal_lib.method.heads.conv:CbpBranch",
    "cola": "wtal_lib.method.heads.cola:Cola",
    "co2net": "wtal_lib.method.heads.co2net:CO2Net",
}
VLP_HEADS = {"conv": "wtal_lib.method.models:VlpBranch"}
PRECOMPUTED = "precomputed:"
"what a head's name begins with that is the path of another method's scores"


def head(name: str, branch: str = "cbp") -> Any:
    """The class of a head, by its name or as ``module:attribute``; called with features (b, t, d) and mask (b, t).

    CBP: ``Head(moments, classes, config)``; VLP: ``Head(moments, text, logit_scale, config)``, where ``text()`` gives
    unit class rows. It returns an :class:`~wtal_lib.method.models.Output`; padding must change nothing at the real
    snippets. One that has losses of its own has a method ``video_label_terms(output, mask, y, share)``, which replaces
    :func:`wtal_lib.method.losses.video_label_terms`.

    Raises:
        ValueError: an unknown name, with those there are; or as :func:`wtal_lib.extensions.load`.
    """
    known = HEADS if branch == "cbp" else VLP_HEADS
    if name.startswith(PRECOMPUTED):
        name = "wtal_lib.method.heads.precomputed:Precomputed"
    elif is_own(name):
        return load(name, f"{branch}.head")
    else:
        require_known(name, known, "head")
        name = known[name]
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def built(branch: str, config: Branch, *given: Any) -> nn.Module:
    """A branch's network, made by its class of what is ``given`` and its config.

    Raises:
        ValueError: an unknown name; or one of your own that takes other arguments, fails, or makes something else.
    """
    with blamed(f"{branch}.head", config.head):
        made = head(config.head, branch)(*given, config)
    if not isinstance(made, nn.Module):
        raise ValueError(f"{branch}.head {config.head!r} must make a torch.nn.Module, got {type(made).__name__}")
    return made
