"""Weight files of strangers to arrays by name: nothing that they name is imported or called.

Read are PyTorch's state dicts, of the zip format and of the one before it, and pickled dictionaries of numpy arrays.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from wtal_lib.data.files import readable
from wtal_lib.data.unpickle import unpickle_table

MAGIC = 0x1950A86A20F9469CFC6C
"first number of a state dict in the format before zip"
DTYPES = {"Float": "<f4", "Double": "<f8", "Half": "<f2", "Long": "<i8", "Int": "<i4"}
"of the storages of a state dict"


class _Tensor(NamedTuple):
    """Where the numbers of a tensor lie."""

    key: str
    "of its storage"
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]

    def of(self, raw: bytes) -> np.ndarray:
        """The tensor, given the bytes of its storage."""
        return np.frombuffer(raw, self.dtype, math.prod(self.shape), self.offset * self.dtype.itemsize).reshape(
            self.shape
        )


def _storage(found: Any) -> tuple[str, np.dtype]:
    """Key and dtype of the storage that a persistent id names."""
    kind, dtype, key, *_ = found
    if kind not in ("storage", b"storage") or not callable(dtype):
        raise ValueError(f"it refers to {found!r:.80}, which is no storage of a tensor")
    return (key.decode() if isinstance(key, bytes) else str(key)), np.dtype(dtype())


def _rebuilt(storage: tuple[str, np.dtype], offset: int, shape: tuple[int, ...], stride: Any, *_: Any) -> _Tensor:
    """The stand-in for a tensor; ValueError unless its numbers lie one after another."""
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    if any(size > 1 and step != own for size, step, own in zip(shape, stride, steps, strict=True)):
        raise ValueError("it holds a tensor whose numbers do not lie one after another")
    return _Tensor(*storage, offset, tuple(shape))


_STAND_INS: dict[str, Callable[..., Any]] = {
    "collections OrderedDict": lambda pairs=(): dict(pairs),
    "torch._utils _rebuild_tensor": _rebuilt,
    "torch._utils _rebuild_tensor_v2": _rebuilt,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
    **{f"torch {name}Storage": (lambda code=code: code) for name, code in DTYPES.items()},
}


def read_tensors(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Arrays by name, those of dictionaries in dictionaries under ``outer/inner``; UnreadableError otherwise."""
    expected = "a state dict of PyTorch, or a pickled dictionary of numpy arrays"
    with readable(path, expected, remedy), open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        table = _zipped(file) if zipped else unpickle_table(file)
        if table == MAGIC:
            table = _before_zip(file)
        found = dict(_flat(table))
        if not found:
            raise ValueError("it holds no arrays")
        return found


def _zipped(file: BinaryIO) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            (top,) = [name[: -len("data.pkl")] for name in names if name.endswith("/data.pkl")]
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("its parts are compressed, which PyTorch never does")
            if f"{top}byteorder" in names and archive.read(f"{top}byteorder") != b"little":
                raise ValueError("it was written on a big-endian machine")
            table = unpickle_table(archive.read(f"{top}data.pkl"), _STAND_INS, _storage)
            return {
                name: one.of(archive.read(f"{top}data/{one.key}")) if isinstance(one, _Tensor) else one
                for name, one in _flat(table)
            }
    except zipfile.BadZipFile as error:
        raise ValueError(str(error)) from error


def _before_zip(file: BinaryIO) -> dict[str, Any]:
    """After the magic number: version, machine, tensors, the storages' keys, then each one's length and numbers."""
    for _ in range(2):
        unpickle_table(file)
    dtypes: dict[str, np.dtype] = {}

    def load(found: Any) -> tuple[str, np.dtype]:
        key, dtype = _storage(found)
        dtypes[key] = dtype
        return key, dtype

    table, keys, held = unpickle_table(file, _STAND_INS, load), unpickle_table(file), {}
    for key in (key.decode() if isinstance(key, bytes) else str(key) for key in keys):
        size = int.from_bytes(file.read(8), "little") * dtypes[key].itemsize
        if size > os.fstat(file.fileno()).st_size - file.tell():
            raise ValueError("it ends early")
        held[key] = file.read(size)
    return {name: one.of(held[one.key]) if isinstance(one, _Tensor) else one for name, one in _flat(table)}


def _flat(table: Any, above: str = "") -> list[tuple[str, Any]]:
    """Arrays and tensors of nested dictionaries by their names; anything else is ValueError."""
    if isinstance(table, (np.ndarray, _Tensor)):
        return [(above, table)]
    if not isinstance(table, dict):
        raise ValueError(f"it holds {type(table).__name__} {above or 'and no dictionary'}")
    return [one for name, inner in table.items() for one in _flat(inner, f"{above}/{name}" if above else name)]
