"""What parts of one's own owe, checked on a batch of two videos before anything is trained.

Each is ``module:attribute`` in the config: ``cbp.head`` and ``vlp.head`` (:func:`wtal_lib.method.heads.head`),
``pseudo_labels.rule`` (:func:`wtal_lib.method.pseudo_labels.rule`), ``losses.extra``
(:func:`wtal_lib.method.losses.extra_terms`), ``fusion`` (:func:`wtal_lib.method.predict.fuse`). The text of its module
is part of a run's identity, and stands in its record; what that module imports in turn is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib.compute import arithmetic
from wtal_lib.data.batches import Batches
from wtal_lib.extensions import blamed, is_own, load
from wtal_lib.method.config import Config
from wtal_lib.method.losses import extra_terms
from wtal_lib.method.models import Output
from wtal_lib.method.pseudo_labels import OTHER, Confidence, Labels, rule
from wtal_lib.method.schedule import Name

SNIPPETS, SHORTER, PADDING = 40, 30, 7
"snippets of the two videos, and what the batch is padded by"


@torch.no_grad()
def check(config: Config, batches: Batches, branches: Mapping[Name, nn.Module], device: str = "cpu") -> None:
    """Put a batch of two videos through every part that needs it.

    Raises:
        ValueError: a part's output has another shape or kind than it should, is not finite, or changes with padding.
    """
    classes, losses = len(batches.classes), extra_terms(config.losses)
    y = functional.one_hot(torch.tensor([0, classes - 1]), classes).float().to(device)
    for kind, branch in branches.items():
        name, width = getattr(config, kind).head, getattr(batches, kind).width
        if kind == "cbp" or is_own(name) or losses:
            with arithmetic(config.training.precision, torch.device(device).type):
                output, mask = probe(name, branch, width, classes, device, f"{kind}.head")
            terms = getattr(branch, "video_label_terms", None)
            if terms is not None and is_own(name):
                with blamed(f"{kind}.head", name):
                    found = dict(terms(output, mask, y, config.training.pool))
                for term, value in found.items():
                    _require_scalar(value, f"the term {term!r} of {kind}.head {name!r}")
        for loss, function in losses.items():
            with blamed("losses.extra", loss):
                value = function(output, mask, y)
            _require_scalar(value, f"losses.extra {loss!r}")
    if is_own(config.pseudo_labels.rule):
        _check_rule(config)
    if is_own(config.fusion):
        cas_btc = np.random.default_rng(0).random((2, SNIPPETS, classes), dtype=np.float32)
        with blamed("fusion", config.fusion):
            fused = load(config.fusion, "fusion")(cas_btc, np.array([0.5, 0.5]))
        _require_shape(fused, cas_btc.shape[1:], f"fusion {config.fusion!r}")


@torch.no_grad()
def probe(
    name: str, branch: nn.Module, width: int, classes: int, device: str = "cpu", field: str = "head"
) -> tuple[Output, Tensor]:
    """The output of a network for two videos of 40 and 30 snippets, and their mask.

    Raises:
        ValueError: it is not finite, has not the shapes of :class:`~wtal_lib.method.models.Output`, or changes when the
            batch is padded further.
    """
    x = torch.rand(2, SNIPPETS, width, generator=torch.Generator().manual_seed(0))
    mask = torch.arange(SNIPPETS) < torch.tensor([[SNIPPETS], [SHORTER]])
    padded = functional.pad(x * mask[:, :, None], (0, 0, 0, PADDING)), functional.pad(mask, (0, PADDING))
    with blamed(field, name):
        short, long = (
            branch.eval()(one.to(device), at.to(device)) for one, at in ((x * mask[:, :, None], mask), padded)
        )
    for part, shape in {"logit": (classes + 1,), "attention": (), "suppressed": (classes + 1,)}.items():
        _require_shape(getattr(short, part, None), (2, SNIPPETS, *shape), f"{field} {name!r}: {part}")
        one, other = (getattr(output, part).float().cpu() for output in (short, long))
        least = 1e-3 * max(1.0, float(one.abs().max()))
        if not torch.allclose(one[mask], other[:, :SNIPPETS][mask], rtol=1e-2, atol=least):
            raise ValueError(
                f"{field} {name!r} must give real snippets the same {part} however long the padding is: use mask, which"
                " is False there, where snippets see one another"
            )
    return short, mask.to(device)


def _check_rule(config: Config) -> None:
    name, generator = config.pseudo_labels.rule, torch.Generator().manual_seed(0)
    for student, teacher in OTHER.items():
        for shape in ((SNIPPETS, 1), (SHORTER, 2)):
            asked = (teacher,) if config.pseudo_labels.word == "teacher" else tuple(OTHER)
            evidence = {branch: torch.rand(shape, generator=generator) for branch in asked}
            with blamed("pseudo_labels.rule", name):
                found = rule(config.pseudo_labels)(student, evidence, config.pseudo_labels, {"cbp": 0.5, "vlp": 0.5})
            what = f"pseudo_labels.rule {name!r}"
            if not isinstance(found, Confidence | Labels):
                raise ValueError(f"{what} must return Confidence or Labels, got {type(found).__name__}")
            for part, value in found._asdict().items():
                _require_shape(value, shape, f"{what}: {part}")


def _require_shape(value: Any, shape: tuple[int, ...], what: str) -> None:
    came = getattr(value, "shape", None)
    got = "nothing" if value is None else type(value).__name__ if came is None else f"shape {tuple(came)}"
    if came is None or tuple(came) != shape:
        raise ValueError(f"{what} must be of shape {shape} for a batch of two videos, got {got}")
    if not np.isfinite(np.asarray(torch.as_tensor(value).float().cpu())).all():
        raise ValueError(f"{what} must be finite for a batch of two videos, got NaN or infinity")


def _require_scalar(value: Any, what: str) -> None:
    if not isinstance(value, Tensor):
        raise ValueError(f"{what} must be a scalar tensor, got {type(value).__name__}")
    _require_shape(value, (), what)
