"""What files of strangers hold: hdf5, npz, tables, pickles, tensors; nothing that they name is imported or called."""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.files import header, opening, read_array, read_objects, read_text, readable
from wtal_lib.data.unpickle import bounded, unpickle_value

EXPECTED = "a float array (snippets, width)"
REMEDY = "fetch it again, or remove it: `wtal check` lists every file that cannot be used"
LAZY = (".npz", ".h5", ".hdf5")
"endings of files that are read array by array"
ARCHIVES = (".npy", *LAZY, ".pkl", ".pickle")
"endings of files that may hold several arrays"
SUFFIXES = (*ARCHIVES, ".csv", ".pt", ".pth")
"endings of files that may hold features"
INSIDE = "::"
"between an archive's path and the name of what is in it"
NAMES = ("features", "feature", "feats", "feat", "x", "data", "arr_0")
"what the array of a video is called where a file holds several things"
INDEX = ("", "unnamed: 0", "index", "snippet", "frame")
"what the first column of a table is called where it numbers the rows"
MAGIC = 0x1950A86A20F9469CFC6C
"the first pickle of what `torch.save` wrote before it wrote zip files"


def contents(path: Path) -> Any:
    """What a file holds, by its ending: an array, plain values, or either by name in dictionaries.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    suffix = path.suffix.lower()
    if suffix in LAZY:
        return {name: read(path, name) for name in arrays(path)}
    if suffix == ".csv":
        return _table(read_text(path))
    if suffix in (".pt", ".pth"):
        return _saved(path)
    if suffix == ".npy":
        if not of_objects(path):
            return read_array(path, EXPECTED, REMEDY, "f")
        rows = read_objects(path, EXPECTED, REMEDY)
        return rows[0] if len(rows) == 1 else rows
    return _unpickled(path)


def arrays(path: Path) -> Mapping[str, Any]:
    """What a file holds, by the names that lead to it; hdf5 and npz are read when it is looked at. Errors: as above."""
    return _opened(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)  # RGB and flow
def _opened(path: Path, changed: int) -> Mapping[str, Any]:
    suffix = path.suffix.lower()
    if suffix not in LAZY:
        return dict(_flat(contents(path)))
    if suffix == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no npz file, or is cut off")
        return np.load(path, allow_pickle=False)
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


def _flat(held: Any, within: str = "") -> Iterator[tuple[str, Any]]:
    """What a dictionary of dictionaries holds, under names joined by slashes; anything else is one thing, ``data``."""
    if isinstance(held, dict):
        for name, item in held.items():
            yield from _flat(item, f"{within}/{name}" if within else str(name))
    else:
        yield within or "data", held


def read(path: Path, inside: str) -> np.ndarray:
    """One array of an archive; errors as of :func:`contents`."""
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
    if suffix not in ARCHIVES or (suffix == ".npy" and not of_objects(path)):
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


def of_objects(path: Path) -> bool:
    """Whether a ``.npy`` holds objects."""
    with open(path, "rb") as file:
        return header(file)[2].kind == "O"


def _unpickled(path: Path) -> Any:
    with open(path, "rb") as file:
        return unpickle_value(file)


def _table(text: str) -> np.ndarray:
    """Numbers of a csv table, with or without a line of names."""
    import pandas as pd  # here: few files are tables, and it takes longer to import than all else

    parts, decimal, first = opening(text)
    try:
        names = list(map(float, first)) == list(range(len(first)))
    except ValueError:
        names = True
    table = pd.read_csv(io.StringIO(text), sep=parts, header=0 if names else None, decimal=decimal)
    if names and first[0].strip('" ').lower() in INDEX and (table.iloc[:, 0] == np.arange(len(table))).all():
        table = table.iloc[:, 1:]
    return table.to_numpy(dtype=np.float32)


def _saved(path: Path) -> Any:
    """What `torch.save` wrote, its tensors as arrays; ValueError unless these and plain containers are all it holds."""
    import torch  # here: few packs are tensors, and it takes longer to import than all else

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("its parts are compressed, which PyTorch never does")

    def as_arrays(held: Any) -> Any:
        if isinstance(held, dict):
            return {name: as_arrays(one) for name, one in held.items()}
        if isinstance(held, torch.Tensor):
            return (held.float() if held.dtype == torch.bfloat16 else held).detach().numpy()
        return [as_arrays(one) for one in held] if isinstance(held, list) else held

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AssertionError, struct.error) as error:
        raise ValueError("it is no file of tensors and plain containers alone, or is cut off") from error
    return as_arrays(bounded(held, path.stat().st_size))


def read_tensors(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Arrays by name of a state dict of PyTorch, or of a pickled dictionary of arrays; UnreadableError otherwise.

    Those of dictionaries in dictionaries are called ``outer/inner``, an array without a dictionary ``data``.
    """
    with readable(path, "a state dict of PyTorch, or a pickled dictionary of numpy arrays", remedy):
        held = MAGIC if zipfile.is_zipfile(path) else _unpickled(path)
        held = _saved(path) if isinstance(held, int) and held == MAGIC else held
        found = dict(_flat(held))
        for name, one in found.items():
            if not isinstance(one, np.ndarray):
                where = name if isinstance(held, dict) else "and no dictionary"
                raise ValueError(f"it holds {type(one).__name__} {where}")
        if not found:
            raise ValueError("it holds no arrays")
        return found
