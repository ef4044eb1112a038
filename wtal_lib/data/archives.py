"""One file with the features of many videos: hdf5, npz or a pickled dictionary, read array by array."""

from __future__ import annotations

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.files import header, read_objects
from wtal_lib.data.unpickle import unpickle_value

ARCHIVES = (".h5", ".hdf5", ".npz", ".pkl", ".pickle", ".npy")
"endings of files that may hold several arrays"
INSIDE = "::"
"between an archive's path and the name of what is in it"
FEW = 8
"archives in a folder; of more files each is taken to be a video's own"
NAMES = ("features", "feature", "feats", "feat", "x", "data", "arr_0")
"what the array of a video is called where a file holds several things"


def arrays(path: Path) -> Mapping[str, Any]:
    """Arrays in a file, by the names that lead to them; those of hdf5 and npz are read when they are looked at.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    return _opened(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)  # RGB and flow
def _opened(path: Path, changed: int) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix in (".h5", ".hdf5"):
        try:
            import h5py
        except ImportError:
            raise ValueError("h5py, which reads hdf5, is not installed: `pip install h5py`") from None
        found: dict[str, Any] = {}
        try:
            file = h5py.File(path, "r")
            file.visititems(lambda name, item: found.update({name: item} if isinstance(item, h5py.Dataset) else {}))
        except (OSError, RuntimeError):
            raise ValueError("it is no hdf5 file, or is cut off") from None
        return found
    if suffix == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no npz file, or is cut off")
        return np.load(path, allow_pickle=False)
    if suffix == ".npy":
        rows = read_objects(path, "an object array", "fetch it again")
        held = rows[0] if len(rows) == 1 else rows
    else:
        with open(path, "rb") as pickled:
            held = unpickle_value(pickled)
    return dict(_flat(held))


def _flat(held: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """What a dictionary of dictionaries holds, under names joined by slashes; anything else is one thing, ``data``."""
    if isinstance(held, dict):
        for name, item in held.items():
            text = name.decode() if isinstance(name, bytes) else str(name)
            yield from _flat(item, f"{within}/{text}" if within else text)
    else:
        yield within or "data", held


def read(path: Path, inside: str) -> np.ndarray:
    """One array of an archive; errors as of :func:`arrays`."""
    try:
        item = arrays(path)[inside]
        return np.asarray(item[()] if hasattr(item, "id") else item)
    except (OSError, zipfile.BadZipFile, EOFError):
        raise ValueError(f"what it holds as {inside!r} cannot be read: it is damaged or cut off") from None


def members(path: Path, naming: Callable[[str], str], videos: Container[str]) -> dict[str, dict[str, str]]:
    """What stands in an archive of several videos, by video and modality; empty for any other file.

    The videos are called by the part of the arrays' names that most often is a video's, as ``validation/VIDEO/rgb``.
    """
    suffix = path.suffix.lower()
    if suffix not in ARCHIVES or (suffix == ".npy" and not _of_objects(path)):
        return {}
    split = {name: name.split("/") for name in arrays(path)}
    at = Counter(i for parts in split.values() for i, part in enumerate(parts) if naming(part) in videos)
    found: dict[str, dict[str, str]] = {}
    for name, parts in split.items() if at else ():
        place = at.most_common(1)[0][0]
        if len(parts) > place:
            rest = [part.lower() for part in (*parts[:place], *parts[place + 1 :])]
            of = next((word for word in (*rest, *re.split("[-_.]", path.stem.lower())) if word in ("rgb", "flow")), "")
            if of in rest or len(parts) == place + 1 or rest[-1] in NAMES:
                found.setdefault(parts[place], {}).setdefault(of, f"{path}{INSIDE}{name}")
    return found


def _of_objects(path: Path) -> bool:
    with open(path, "rb") as file:
        return header(file)[2].kind == "O"
