"""CBP heads by name: ours and those of other papers, each a file of one class."""

from __future__ import annotations

import importlib
from typing import Any

from wtal_lib.settings import require_known

HEADS = {
    "conv": "wtal_lib.method.heads.conv:CbpBranch",
    "cola": "wtal_lib.method.heads.cola:Cola",
    "co2net": "wtal_lib.method.heads.co2net:CO2Net",
}


def head(name: str) -> Any:
    """The class of a CBP head: ``Head(moments, classes, config)``, called with features (b, t, d) and mask (b, t).

    It returns an :class:`~wtal_lib.method.models.Output`. One that has losses of its own has a method
    ``video_label_terms(output, mask, y, share)``, which replaces :func:`wtal_lib.method.losses.video_label_terms`.

    Raises:
        ValueError: an unknown name, with those there are.
    """
    require_known(name, HEADS, "head")
    module, _, attribute = HEADS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
