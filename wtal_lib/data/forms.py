"""Anybody's feature files: one array of a video, in the containers and orientations that extractors leave behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.containers import EXPECTED, INSIDE, NAMES, REMEDY, contents, read
from wtal_lib.data.files import header, readable

CROPS = (1, 5, 10)
"crops of a frame that extractors keep beside one another"
WIDTHS = (200, 256, 400, 512, 640, 768, 1024, 1280, 2048, 4096)
"usual widths, which tell the axes of videos of one length apart"


@dataclass(frozen=True)
class Form:
    """Where time, crops and columns are among the axes of a pack's arrays, by their number of axes."""

    axes: dict[int, tuple[int, int, int]]
    "axis of time, of crops (-1: none) and of columns"
    notes: tuple[str, ...] = ()
    "what is done to arrays that are not (snippets, width)"

    def rows(self, array: np.ndarray) -> np.ndarray:
        """The array as (snippets, width), the mean over its crops; as it is where its axes are unknown."""
        time, crops, columns = self.axes.get(array.ndim, (0, -1, 1))
        if array.ndim < 2 or (crops < 0 and (time, columns) == (0, 1)):
            return array
        if crops < 0:
            return array.T
        turned = np.moveaxis(array, (time, crops, columns), (0, 1, 2))
        return turned[:, 0] if turned.shape[1] == 1 else turned.mean(axis=1, dtype=np.float32)

    def snippets(self, shape: Sequence[int]) -> int:
        """The number of rows of an array of that shape; 0 where it has no rows."""
        time = self.axes.get(len(shape), (0, -1, 1))[0]
        return shape[time] if len(shape) > 1 else 0


def form_of(shapes: Sequence[tuple[int, ...]]) -> Form:
    """The form of a pack from the shapes of some of its arrays: what differs from video to video is time."""
    axes, notes = dict[int, tuple[int, int, int]](), []
    for count in (2, 3):
        alike = [shape for shape in shapes if len(shape) == count]
        if not alike:
            continue
        first, constant = alike[0], [len({shape[axis] for shape in alike}) == 1 for axis in range(count)]
        if count == 2:
            told = any(constant) and not all(constant)
            turned = constant[0] if told else first[0] in WIDTHS and first[1] not in WIDTHS
            axes[2] = (1, -1, 0) if turned else (0, -1, 1)
            notes += ["arrays are (width, snippets) and were turned"] * turned
            continue
        crops = next((axis for axis in (1, 0, 2) if constant[axis] and first[axis] in CROPS), -1)
        if crops < 0:
            continue
        rest = [axis for axis in range(3) if axis != crops]
        turned = constant[rest[0]] and not constant[rest[1]]
        axes[3] = (rest[1], crops, rest[0]) if turned else (rest[0], crops, rest[1])
        notes.append(f"the mean over {first[crops]} crops is taken" if first[crops] > 1 else "an axis of 1 is dropped")
    return Form(axes, tuple(notes))


def _few(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape of at most three axes: of more, those of size 1 are dropped, the last first."""
    while len(shape) > 3 and 1 in shape:
        last = len(shape) - 1 - shape[::-1].index(1)
        shape = shape[:last] + shape[last + 1 :]
    return shape


def shape_of(path: Path) -> tuple[int, ...]:
    """The shape of the array in a feature file; of a ``.npy`` from its header alone. Errors as of :func:`read_form`."""
    if path.suffix.lower() == ".npy" and INSIDE not in str(path):
        with readable(path, EXPECTED, REMEDY), open(path, "rb") as file:
            shape, _, dtype, _ = header(file)
        if dtype.kind != "O":
            return _few(shape)
    return read_form(path).shape


def read_form(path: Path) -> np.ndarray:
    """The float array in a feature file in any container; UnreadableError names what it holds instead."""
    archive, _, inside = str(path).partition(INSIDE)
    path = Path(archive)
    with readable(path, EXPECTED, REMEDY):
        array = _one(read(path, inside) if inside else contents(path))
        if array.dtype.kind != "f":
            raise ValueError(f"it holds {array.dtype}")
        return array.reshape(_few(array.shape))


def _one(held: Any) -> np.ndarray:
    """The one array of what a file holds: RGB and flow side by side, or the array that is called features."""
    if isinstance(held, dict):
        named = {str(name).lower(): value for name, value in held.items()}
        if {"rgb", "flow"} <= set(named):
            parts = [_one(named["rgb"]), _one(named["flow"])]
            least = min(map(len, parts))
            if max(map(len, parts)) > least + 1:
                raise ValueError(f"its rgb and flow have {len(parts[0])} and {len(parts[1])} rows")
            return np.concatenate([part[:least] for part in parts], axis=-1)
        known = [named[name] for name in NAMES if name in named] or list(named.values())
        if len(known) == 1 or any(name in named for name in NAMES):
            return _one(known[0])
        raise ValueError(f"it holds a dictionary of {', '.join(list(named)[:5])}, none of them called features")
    array = held if isinstance(held, np.ndarray) else np.asarray(held, dtype=np.float32)
    if array.ndim == 0:
        raise ValueError("it holds a single number")
    return array
