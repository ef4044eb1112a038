"""What parts of one's own owe, checked on a batch of two videos before anything is trained.

Each is ``module:attribute`` in the config: ``cbp.head`` and ``vlp.head`` (:func:`wtal_lib.method.heads.head`),
``pseudo_labels.rule`` (:func:`rule`), ``losses.extra`` (:func:`extra_losses`), ``fusion`` (:func:`fusion`). The text of
its module is part of a run's identity, and stands in its record; what that module imports in turn is not looked at.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wtal_lib import extensions
from wtal_lib.data.batches import Batches
from wtal_lib.method.config import Branch, Config
from wtal_lib.method.heads import head
from wtal_lib.method.models import Output
from wtal_lib.method.pooling import arithmetic
from wtal_lib.method.pseudo_labels import OTHER, Confidence, Labels, confidence
from wtal_lib.method.schedule import Name

SNIPPETS, SHORTER, PADDING = 40, 30, 7
"snippets of the two videos, and what the batch is padded by"


def own(config: Config) -> dict[str, str]:
    """The parts of one's own in a config: the field of each, by its name."""
    named = [(config.cbp.head, "cbp.head"), (config.vlp.head, "vlp.head"), (config.fusion, "fusion")]
    named += [(config.pseudo_labels.rule, "pseudo_labels.rule")]
    named += [(name, "losses.extra") for name in config.losses.extra]
    return {name: field for name, field in named if extensions.is_own(name)}


def marks(config: Config, anew: bool = False) -> dict[str, dict[str, str]]:
    """What a run's identity holds of parts of one's own: under ``extensions`` each module's SHA-256; else nothing.

    The text is the one that this process runs; ``anew`` reads it again. ValueError: a part that is not there, or that
    is called otherwise than its kind is.
    """
    texts = extensions.texts(own(config), anew)
    for name, field in own(config).items():
        _part(name, field)
    hashed = {module: hashlib.sha256(text.encode()).hexdigest() for module, text in texts.items()}
    return {"extensions": hashed} if hashed else {}


def rule(config: Config) -> Callable[..., Confidence | Labels]:
    """The rule that labels a whole video: ``rule(student, evidence, config, shares)``.

    ``student`` is ``cbp`` or ``vlp``; ``evidence`` maps the branches that ``pseudo_labels.word`` names (``teacher``:
    the other one alone) to scores (t, k) in [0, 1], a column a class that the video is labelled with; ``config`` is
    the config's ``pseudo_labels``, ``shares`` what each branch has earned in a mean. It returns a ``Confidence``
    (background, foreground), which the thresholds cut, or ``Labels`` (target, keep), each of shape (t, k).
    """
    name = config.pseudo_labels.rule
    return _part(name, "pseudo_labels.rule") if extensions.is_own(name) else confidence


def extra_losses(config: Config) -> dict[str, Callable[[Output, Tensor, Tensor], Tensor]]:
    """Terms of one's own by name: ``loss(output, mask, y)`` of a branch's output, a scalar; padding must not count."""
    return {name: _part(name, "losses.extra") for name in config.losses.extra}


def fusion(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A fusion of one's own: ``fusion(cas_btc, share_b)`` of both branches' normalised sequences, CBP's first; (t, c).

    ``share_b`` is the share that each branch has earned.
    """
    return _part(name, "fusion")


EXPECTED = {
    "cbp.head": "Head(moments, classes, config)",
    "vlp.head": "Head(moments, text, logit_scale, config)",
    "pseudo_labels.rule": "rule(student, evidence, config, shares)",
    "losses.extra": "loss(output, mask, y)",
    "fusion": "fusion(cas_btc, share_b)",
}
"how a part of each kind is called"


def _part(name: str, field: str) -> Any:
    """A part of one's own. ValueError: it is not there, or is called otherwise than its kind is."""
    part, expected = extensions.load(name, field), EXPECTED[field]
    try:
        inspect.signature(part).bind(*range(expected.count(",") + 1))
    except (TypeError, ValueError):
        came = f"{name.partition(':')[2]}{inspect.signature(part)}" if callable(part) else repr(part)
        raise ValueError(f"{field} {name!r} must be called as {expected}, got {came}") from None
    return part


def built(branch: str, config: Branch, *given: Any) -> nn.Module:
    """A branch's network, made by its class of what is ``given`` and its config.

    Raises:
        ValueError: an unknown name; or one of your own that takes other arguments, fails, or makes something else.
    """
    name, field = config.head, f"{branch}.head"
    if not extensions.is_own(name):
        return head(name, branch)(*given, config)
    with _blamed(field, name):
        made = _part(name, field)(*given, config)
    if not isinstance(made, nn.Module):
        raise ValueError(f"{field} {name!r} must make a torch.nn.Module, got {type(made).__name__}")
    return made


@torch.no_grad()
def check(config: Config, batches: Batches, branches: Mapping[Name, nn.Module], device: str = "cpu") -> None:
    """Put a batch of two videos through every part that needs it.

    Raises:
        ValueError: a part's output has another shape or kind than it should, is not finite, or changes with padding.
    """
    classes, losses = len(batches.classes), extra_losses(config)
    y = functional.one_hot(torch.tensor([0, classes - 1]), classes).float().to(device)
    for kind, branch in branches.items():
        name, width = getattr(config, kind).head, getattr(batches, kind).width
        if kind == "cbp" or extensions.is_own(name) or losses:
            with arithmetic(config.training.precision, torch.device(device).type):
                output, mask = probe(name, branch, width, classes, device, f"{kind}.head")
            terms = getattr(branch, "video_label_terms", None)
            if terms is not None and extensions.is_own(name):
                with _blamed(f"{kind}.head", name):
                    found = dict(terms(output, mask, y, config.training.pool))
                for term, value in found.items():
                    _require_scalar(value, f"the term {term!r} of {kind}.head {name!r}")
        for loss, function in losses.items():
            with _blamed("losses.extra", loss):
                value = function(output, mask, y)
            _require_scalar(value, f"losses.extra {loss!r}")
    if extensions.is_own(config.pseudo_labels.rule):
        _check_rule(config)
    if extensions.is_own(config.fusion):
        cas_btc = np.random.default_rng(0).random((2, SNIPPETS, classes), dtype=np.float32)
        with _blamed("fusion", config.fusion):
            fused = fusion(config.fusion)(cas_btc, np.array([0.5, 0.5]))
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
    with _blamed(field, name):
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
            with _blamed("pseudo_labels.rule", name):
                found = rule(config)(student, evidence, config.pseudo_labels, {"cbp": 0.5, "vlp": 0.5})
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


@contextmanager
def _blamed(field: str, name: str) -> Iterator[None]:
    """A block in which an error of one's own part becomes a ValueError that names it."""
    try:
        yield
    except Exception as error:
        if not extensions.is_own(name) or str(error).startswith(field):
            raise
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{field} {name!r} fails on a batch of two videos: {what}") from error
