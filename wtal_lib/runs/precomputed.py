"""Another method's scores in place of a branch's features: read, checked, and brought to the pack's grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.containers import SUFFIXES
from wtal_lib.data.features import Features
from wtal_lib.data.forms import read_form
from wtal_lib.data.segments import Grid, resampled
from wtal_lib.method.config import Config
from wtal_lib.method.heads import PRECOMPUTED
from wtal_lib.runs.records import project_root, seen_from
from wtal_lib.score.detections import read_detections
from wtal_lib.settings import to_dict

REMEDY = "give a folder of one array (snippets, classes) a video, or a file in ActivityNet's result format"


@dataclass(frozen=True, eq=False)
class Scores:
    """Probabilities (t, c + 1) of every video, background last, in the form of features."""

    grid: Grid
    width: int
    fingerprint: str
    lengths: dict[str, int]
    rows: dict[str, Float[np.ndarray, "t k"]]

    def __getitem__(self, name: str) -> Float[np.ndarray, "t k"]:
        return self.rows[name]

    @cached_property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Zeros and ones: nothing is scaled by them."""
        return np.zeros(self.width, dtype=np.float32), np.ones(self.width, dtype=np.float32)


def content(config: Config) -> dict[str, object]:
    """A config as what a run is named by: scores by what they hold, wherever they lie."""
    values = to_dict(config)
    for kind in ("cbp", "vlp"):
        if values[kind]["head"].startswith(PRECOMPUTED):
            values[kind]["head"] = PRECOMPUTED + fingerprint(place(values[kind]["head"]))
    return values


def place(head: str) -> Path:
    """The folder or file of ``precomputed:PATH``, seen from here or from the project; FileNotFoundError for none."""
    path = seen_from(head.removeprefix(PRECOMPUTED), project_root())
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected another method's scores, but nothing is there; {REMEDY}")
    return path


def fingerprint(path: Path) -> str:
    """Hash of the names and bytes of the files of ``path``."""
    return _fingerprint(tuple((one.absolute(), one.stat().st_mtime_ns, one.stat().st_size) for one in files(path)))


@lru_cache(maxsize=8)
def _fingerprint(found: tuple[tuple[Path, int, int], ...]) -> str:
    mark = hashlib.blake2b(digest_size=8)
    for one, _, size in found:
        mark.update(repr((one.stem, size)).encode() + one.read_bytes())
    return mark.hexdigest()


def files(path: Path) -> list[Path]:
    """The files of scores at a path, itself or all in a folder and below it."""
    return sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES) if path.is_dir() else [path]


def scores(head: str, pack: Features, annotations: Annotations, names: Sequence[str]) -> Scores:
    """The scores of the videos ``names`` on the grid of ``pack``, as ``head`` (``precomputed:PATH``) says.

    Columns c + 1, background last: probabilities, or logits of a softmax where rows do not add up to 1. Columns c, in
    any unit: what the other method thresholds. They keep their shape over time: a video's are moved up where they fall
    below 0 and divided by the greatest sum of a row, and what a row lacks to 1 is background. A detection's score is
    that of its class at the snippets of which it covers half; the greatest where several do. Rows spread evenly over
    the video. Raises ValueError: scores of other classes, a video without any, or NaN; FileNotFoundError: none there.
    """
    path, naming = place(head), annotations.naming()
    named = {naming(one.stem): one for one in files(path)}
    given: dict[str, Any] = named if path.is_dir() else _detected(path, pack, annotations)
    if missing := [name for name in names if name not in given]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ValueError(
            f"{path}: expected scores of all {len(names)} training and test videos, but {missing[0]}{more} have none;"
            " give them too (a detection file may name a video with an empty list)"
        )
    classes, rows = len(annotations.classes), {}
    for name in names:
        array = np.asarray(given[name] if path.is_file() else read_form(given[name]), dtype=np.float32)
        if array.ndim != 2 or array.shape[1] not in (classes, classes + 1) or not len(array):
            raise ValueError(
                f"{path}: expected {classes} columns, the classes of {annotations.dataset} in order, or {classes + 1}"
                f" with background last, but {name} has the shape {array.shape}: another class list, or turned"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: scores must be finite, but {name} has NaN or infinity; remove or mend it")
        found, length = probabilities(array, classes), pack.lengths[name]
        spread = Grid(len(found) / (length * pack.grid.step), 1)
        rows[name] = found if len(found) == length else resampled(found, spread, pack.grid, length)
    lengths = {name: len(row) for name, row in rows.items()}
    return Scores(pack.grid, classes + 1, fingerprint(path), lengths, rows)


def probabilities(array: Float[np.ndarray, "t k"], classes: int) -> Float[np.ndarray, "t c1"]:
    """Probabilities of the classes and background, whose rows add up to 1, of one video's scores (:func:`scores`)."""
    if array.shape[1] > classes:
        if array.min() >= 0 and np.allclose(array.sum(axis=1), 1, atol=1e-2):
            return array / array.sum(axis=1, keepdims=True)
        odds = np.exp(array - array.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)
    raised = array - min(0.0, float(array.min()))
    raised = raised / max(float(raised.sum(axis=1).max()), 1e-12)
    return np.hstack([raised, 1 - raised.sum(axis=1, keepdims=True)]).clip(0, 1)


def _detected(path: Path, pack: Features, annotations: Annotations) -> dict[str, np.ndarray]:
    """Scores (t, c) on the grid of ``pack`` from a file of detections; 0 where there are none."""
    found = read_detections(path, annotations)
    if odd := found.classes[len(annotations.classes) :]:
        raise ValueError(f"{path}: expected classes of {annotations.dataset}, got {', '.join(odd[:3])}; {REMEDY}")
    scores = {name: np.zeros((pack.lengths.get(name, 0), len(annotations.classes))) for name in found.videos}
    score_n = found.score_n - min(0.0, float(found.score_n.min(initial=0.0)))
    for at, label, segment, score in zip(found.video_n, found.label_n, found.segment_n2, score_n, strict=True):
        column = scores[found.videos[at]][:, label]
        np.maximum(column, score * pack.grid.mask(segment[None], len(column)), out=column)
    return scores
