"""Files of strangers are checked before anything is allocated; files of ours appear whole or not at all."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import re
import tempfile
import tokenize
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wtal_lib.data.unpickle import unpickle

MAX_JSON = 1 << 30
"bytes of the largest json file that is read; ActivityNet's whole database takes 11 million"
MALFORMED = (
    *(ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError),
    *(SyntaxError, tokenize.TokenError),  # numpy parses headers as Python literals
)
"what a malformed file may provoke in its reader"


class UnreadableError(ValueError):
    """A file is not what it should be; the message names file, expectation, finding and remedy."""


@contextmanager
def readable(path: Path, expected: str, remedy: str) -> Iterator[None]:
    """A block whose errors over a malformed file become the one :class:`UnreadableError`."""
    try:
        yield
    except UnreadableError:
        raise
    except MALFORMED as error:
        found = instead(path) or (str(error).splitlines()[0] if str(error) else type(error).__name__)
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError):
            where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else f"byte {error.start}"
            found = instead(path) or f"at {where} it is no json, or is cut off"
        raise UnreadableError(f"{path}: expected {expected}, but {found}; {remedy}") from error


def instead(path: Path) -> str:
    """What a file that was never downloaded holds in place of its content; empty if that is not so."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        start = file.read(512)
    if start.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: run `git lfs pull`"
    return "" if start and start.lstrip()[:1] != b"<" else "it is a web page" if start else "it is empty"


def header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, Fortran order, dtype and data offset of an open ``.npy``; ValueError for none, or another size."""
    start = io.BytesIO(file.read(16 * 1024))  # a header is at most 10,000 characters; longer claims just run dry
    if start.getvalue()[:6] != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it is no npy file")
    version = np.lib.format.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"its npy version is {version}, not 1.0 or 2.0")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(start)
    if any(side < 0 for side in shape):
        raise ValueError(f"its header claims the shape {shape}")
    held, claimed = os.fstat(file.fileno()).st_size - start.tell(), math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and held != claimed:
        raise ValueError(f"its header claims {claimed} bytes of data ({shape}, {dtype}), where {held} follow")
    return shape, fortran, dtype, start.tell()


def read_array(path: Path, expected: str, remedy: str, kinds: str) -> np.ndarray:
    """The array of a ``.npy`` of dtype ``kinds``, numpy's letters; UnreadableError before a false size is allocated."""
    with readable(path, expected, remedy), open(path, "rb") as file:
        shape, fortran, dtype, offset = header(file)
        if dtype.kind not in kinds or dtype.itemsize == 0:
            raise ValueError(f"it holds {dtype}")
        file.seek(offset)
        return np.frombuffer(file.read(), dtype).reshape(shape, order="F" if fortran else "C")


def read_objects(
    path: Path, expected: str, remedy: str, on_array: Callable[[np.ndarray], Any] | None = None
) -> list[Any]:
    """Rows of an object ``.npy``: numbers, bytes, text, lists, ``on_array`` of arrays; UnreadableError otherwise."""
    with readable(path, expected, remedy), open(path, "rb") as file:
        shape, _, dtype, offset = header(file)
        if dtype.kind != "O":
            raise ValueError(f"it holds {dtype}, not objects")
        file.seek(offset)
        size, rows = math.prod(shape), unpickle(file, on_array)
        if len(rows) != size:
            raise ValueError(f"its header claims {size} rows, where its pickle holds {len(rows)}")
        return rows


def read_json(path: Path, expected: str, remedy: str) -> Any:
    """The content of a json file; UnreadableError for no json, nested too deeply, or beyond :data:`MAX_JSON`."""
    with readable(path, expected, remedy):
        if path.stat().st_size > MAX_JSON:
            raise ValueError(f"it takes {path.stat().st_size} bytes, more than {MAX_JSON}")
        return json.loads(path.read_bytes())


def read_text(path: Path) -> str:
    """Text of a file in UTF-8 or UTF-16, as its byte order mark says, without the mark."""
    content = path.read_bytes()
    wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return content.decode("utf-16" if wide else "utf-8-sig")


def opening(text: str) -> tuple[str, str, list[str]]:
    """What separates the columns of a table, its decimal sign, and the fields of its first line.

    Columns are separated by semicolons or tabs where the first line has one, else by commas, else by blanks.
    """
    first = text.partition("\n")[0]
    parts = next((one for one in (";", "\t", ",") if one in first), r"\s+")
    return parts, "," if parts == ";" and "," in text else ".", re.split(parts, first.strip())


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A binary file that becomes ``path``, synced to disk, if the block succeeds, and is removed if it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
