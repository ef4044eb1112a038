"""The feature cache: all rows of a pack in one flat, memory-mapped file, with an index that tells when it is stale."""

from __future__ import annotations

import errno
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wtal_lib.data.files import replacing

VERSION = 2
"version of the cache's files; those of another one are built anew"
ABANDONED = 86400
"seconds after which an unfinished cache file is taken to be a killed run's, and removed"
RESIDENT = 256 << 20
"bytes of rows served after which mapped pages are released; they are read again when touched"


@dataclass(frozen=True)
class Kept:
    """First row and number of rows of a cached array."""

    start: int
    count: int


@dataclass(frozen=True)
class Fault:
    """Why an array is not cached."""

    why: str


Token = Kept | Fault
ZEROS = Fault("all zeros")
Add = Callable[[np.ndarray], Token]


@dataclass(eq=False)
class Rows:
    """The cached rows of one pack."""

    width: int
    starts: dict[str, tuple[int, int]]
    "first row and number of rows, by the pack's own video ids"
    fingerprint: str
    "hash of all ids and rows: equal content, equal fingerprint, on every machine"
    faults: dict[str, str]
    "why the features of some videos cannot be used, by id"
    zeros: list[str]
    "ids whose features are all zeros, which stands for a missing video"
    info: dict[str, Any]
    "further content of the index: the pack's rate and remarks"
    path: Path
    _map: mmap.mmap | None = None
    _table: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    _served: int = 0

    def __getitem__(self, key: str) -> Float[np.ndarray, "t d"]:
        """A read-only view of a video's rows."""
        start, count = self.starts[key]
        rows = self._table[start : start + count]
        self._served += rows.nbytes
        if self._served > RESIDENT and self._map is not None and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)
            self._served = 0
        return rows


def cache_folder(home: Path, given: str | Path | None = None) -> Path:
    """The folder of the caches: as given, else ``$WTAL_CACHE``, else ``cache/`` beside the data root ``home``.

    If unwritable, ``wtal_lib/`` in ``$XDG_CACHE_HOME`` (``~/.cache``) or the temporary folder, else PermissionError.
    """
    chosen = given or os.environ.get("WTAL_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    usual = [home.resolve().parent / "cache", base / "wtal_lib", Path(tempfile.gettempdir()) / "wtal_lib"]
    for folder in [Path(chosen).expanduser()] if chosen else usual:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    raise PermissionError(
        f"{chosen or usual[-1]}: expected a folder for the feature cache that can be written; set WTAL_CACHE"
    )


def opened(folder: Path, stem: str, stamp: str) -> Rows | None:
    """The cache of that name; None if there is none, or it has another stamp or is damaged."""
    try:
        index = json.loads((folder / f"{stem}.json").read_bytes())
        if index["version"] != VERSION or index["stamp"] != stamp:
            return None
        path, width, dtype = folder / index["data"], int(index["width"]), np.dtype(index["dtype"])
        starts = dict(zip(index["ids"], zip(index["starts"], index["counts"], strict=True), strict=True))
        total = int(index["rows"])
        inside = all(start >= 0 and count >= 1 and start + count <= total for start, count in starts.values())
        if path.stat().st_size != total * width * dtype.itemsize or not inside:
            return None
        rows = Rows(width, starts, index["fingerprint"], index["faults"], index["zeros"], index["info"], path)
        if total:
            with open(path, "rb") as file:
                rows._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            rows._table = np.frombuffer(rows._map, dtype).reshape(total, width)
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    return rows


def built(
    folder: Path, stem: str, stamp: str, feed: Callable[[Add], dict[str, Token]], size: int, info: dict[str, Any]
) -> Rows:
    """The cache of what ``feed`` adds, one array (t, d) at a time; ``feed`` returns the tokens it got, by id.

    Stored as float16 if all arrays are, else as float32; two processes may build at once. OSError for a full disk.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        remedy = "set WTAL_CACHE to a folder on a larger disk"
        raise OSError(errno.ENOSPC, f"{folder}: a pack's cache takes {size:,} bytes, where {free:,} are free; {remedy}")
    for left in folder.glob(f".{stem}*.part"):
        if time.time() - left.stat().st_mtime > ABANDONED:
            left.unlink(missing_ok=True)
    part = folder / f"{stem}-{uuid.uuid4().hex}.part"
    for half in (True, False):
        with suppress(_NotHalf), replacing(part) as file:
            writer = _Writer(file.write, half)
            tokens = feed(writer.add)
            break
    kept = {key: token for key, token in tokens.items() if isinstance(token, Kept)}
    writer.hash.update(repr((writer.dtype, writer.width, kept)).encode())
    fingerprint = writer.hash.hexdigest()[:16]
    data = folder / f"{stem}-{fingerprint}.bin"
    os.replace(part, data)
    index = {
        "version": VERSION, "stamp": stamp, "fingerprint": fingerprint, "data": data.name, "rows": writer.total,
        "width": writer.width, "dtype": writer.dtype, "ids": list(kept), "info": info,
        "starts": [token.start for token in kept.values()], "counts": [token.count for token in kept.values()],
        "faults": {key: t.why for key, t in tokens.items() if isinstance(t, Fault) and t != ZEROS},
        "zeros": [key for key, token in tokens.items() if token == ZEROS],
    }  # fmt: skip
    with replacing(folder / f"{stem}.json") as file:
        file.write(json.dumps(index).encode())
    for old in set(folder.glob(f"{stem}-*.bin")) - {data}:
        old.unlink(missing_ok=True)
    rows = opened(folder, stem, stamp)
    if rows is None:
        raise OSError(f"{folder}: the cache {stem} was replaced while it was written; run again")
    return rows


class _NotHalf(Exception):  # noqa: N818 - a signal within this file
    """An array that float16 cannot hold."""


class _Writer:
    """Writes usable arrays one behind the other."""

    def __init__(self, write: Callable[[Any], Any], half: bool) -> None:
        self.write, self.half, self.dtype = write, half, "float16" if half else "float32"
        self.total, self.width, self.hash = 0, 0, hashlib.sha256()

    def add(self, array: np.ndarray) -> Token:
        """The place of the array's rows, or what is wrong with them."""
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            return Fault(f"holds {array.dtype}, not float16, float32 or float64")
        if array.ndim != 2 or 0 in array.shape:
            return Fault(f"has the shape {array.shape}, not (snippets, width)")
        if self.width and array.shape[1] != self.width:
            return Fault(f"has {array.shape[1]} columns, the videos before it {self.width}")
        if self.half and array.dtype.itemsize > 2:
            raise _NotHalf
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is refused
            rows = np.ascontiguousarray(array, dtype=self.dtype)
        # numpy has no fast float16 test: NaN and infinity are those whose exponent bits are all set
        bad = (rows.view(np.uint16) & 0x7C00) == 0x7C00 if self.half else ~np.isfinite(rows)
        if bad.any():
            return Fault(f"has NaN or infinity in {int(bad.any(axis=1).sum())} of {len(rows)} rows")
        if not rows[0].any() and not rows.any():
            return ZEROS
        start, self.total, self.width = self.total, self.total + len(rows), array.shape[1]
        self.write(rows.data)
        self.hash.update(rows.data)
        return Kept(start, len(rows))


def stamp(files: Iterable[tuple[str, int, int]], *extra: object) -> str:
    """Hash over the names, sizes and times of ``files`` and a few dozen sampled blocks of their content."""
    listed = list(files)
    mark = hashlib.blake2b(repr((listed, extra)).encode(), digest_size=16)
    for path, size, _ in listed[:: max(1, len(listed) // 8)]:
        with open(path, "rb") as file:
            for block in range(0, size, max(4096, size // 8)):
                file.seek(block)
                mark.update(file.read(4096))
    return mark.hexdigest()
