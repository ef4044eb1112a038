"""A pickle machine for numpy's object arrays: it knows the opcodes numpy writes, and never runs what a file names.

Protocols 2 to 4, Python 2 and 3, and four constructors: numpy's array, dtype and scalar, and bytes written as latin-1
text. Anything else is refused. Long strings stay in the file until an array needs them, so that a pack of many
gigabytes can be streamed, one video's features at a time.
"""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

MAX_OPERATIONS = 2_000_000
"pickle opcodes carried out before a file is refused; the largest community pack takes about 100 thousand"
MAX_DEPTH = 4
"containers inside containers that a row may hold; community packs need two"
LONG = 1024
"bytes above which a string is left in the file until it is needed"


def unpickle(file: BinaryIO, on_array: Callable[[np.ndarray], Any] | None = None) -> list[Any]:
    """The items of the object array pickled from the file's position on: numbers, bytes, text, arrays, nested lists.

    ``on_array`` is handed every array of numbers or strings while the file streams by, and what it returns stands in
    the array's place, so that what is not kept is freed.

    Raises:
        ValueError: Truncated, cyclic, hostile, or no object array. Malformed opcodes may also raise the errors of the
            operation they ask for (LookupError, TypeError, AttributeError, OverflowError); none leaves a trace.
    """
    machine = _Machine(file, on_array)
    array = machine.run()
    if not isinstance(array, _Array) or not isinstance(array.value, list):
        raise ValueError("its pickle holds no object array")
    return machine.plain(array)


class _Array:
    """An array under construction: ``value`` is None, an ndarray, the items of an object array, or a stand-in."""

    value: Any = None


class _Dtype:
    """A dtype under construction."""

    def __init__(self, code: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not re.fullmatch(r"[biuf][1248]|[SU][1-9]\d{0,6}|O[48]?", text):
            raise ValueError(f"it holds arrays of type {text!r:.40}")
        self.dtype = np.dtype(object) if text[0] == "O" else np.dtype(text)

    def build(self, state: Any) -> None:
        order: Any = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise ValueError("it holds structured arrays")
        if order != "|":
            self.dtype = self.dtype.newbyteorder(order)


class _Blob:
    """A long string that is still in the file."""

    def __init__(self, position: int, length: int, kind: str) -> None:
        self.position, self.length, self.kind = position, length, kind


def _new_array(*_: Any) -> _Array:
    return _Array()


def _new_dtype(code: Any, *_: Any) -> _Dtype:
    return _Dtype(code)


def _scalar(dtype: _Dtype, raw: Any) -> Any:
    return np.frombuffer(raw, dtype.dtype)[0]


def _latin1(text: Any = "", encoding: Any = "latin1") -> Any:
    """Bytes that Python 3 wrote for Python 2: as text of which each character is one byte."""
    if isinstance(text, _Blob) and text.kind == "text":
        return _Blob(text.position, text.length, "latin1")
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"it encodes text as {encoding!r:.40}")
    return text.encode("latin1")


_NDARRAY = object()
_CALLS: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _latin1,
    ("builtins", "bytes"): _latin1,
    ("numpy", "dtype"): _new_dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _new_array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}
_CONSTANTS: dict[bytes, Any] = {b"N": None, b"\x88": True, b"\x89": False}
_STRINGS = {  # opcode: size of the length that follows it, what the string is
    **{b"U": (1, "bytes"), b"T": (4, "bytes"), b"C": (1, "bytes"), b"B": (4, "bytes"), b"\x8e": (8, "bytes")},
    **{b"\x8c": (1, "text"), b"X": (4, "text"), b"\x8d": (8, "text")},
}
_INTEGERS = {b"K": 1, b"M": 2, b"J": 4}
_TUPLES = {b")": 0, b"\x85": 1, b"\x86": 2, b"\x87": 3}
_LEAVES = {float, int, str, bytes, bool, type(None)}
_PUT, _GET = {b"q": 1, b"r": 4}, {b"h": 1, b"j": 4}


class _Machine:
    """A pickle machine over a file, which it never reads beyond."""

    def __init__(self, file: BinaryIO, on_array: Callable[[np.ndarray], Any] | None) -> None:
        self.file, self.on_array = file, on_array
        self.size = self.budget = os.fstat(file.fileno()).st_size
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """What the pickle holds. Reads that run dry end in an empty opcode."""
        read, memo, number = self.file.read, self.memo, int.from_bytes
        for _ in range(MAX_OPERATIONS):
            opcode, stack = read(1), self.stack
            if opcode in _PUT:
                memo[number(read(_PUT[opcode]), "little")] = stack[-1]
            elif opcode == b"\x94":
                memo[len(memo)] = stack[-1]
            elif opcode in _GET:
                stack.append(memo[number(read(_GET[opcode]), "little")])
            elif opcode == b"G":
                stack.append(struct.unpack(">d", read(8).ljust(8))[0])
            elif opcode in _STRINGS:
                size, kind = _STRINGS[opcode]
                length = number(read(size), "little")
                if length >= LONG:
                    stack.append(self.blob(length, kind))
                else:
                    stack.append(read(length) if kind == "bytes" else read(length).decode("utf-8", "surrogatepass"))
            elif opcode == b"(":
                self.marks.append(stack)
                self.stack = []
            elif opcode == b"]":
                stack.append([])
            elif opcode == b"a":
                item = stack.pop()
                stack[-1].append(item)
            elif opcode == b"e":
                self.stack = self.marks.pop()
                self.stack[-1].extend(stack)
            elif opcode == b"t":
                self.stack = self.marks.pop()
                self.stack.append(tuple(stack))
            elif opcode in _TUPLES:
                stack.append(tuple(reversed([stack.pop() for _ in range(_TUPLES[opcode])])))
            elif opcode in _INTEGERS:
                stack.append(number(read(_INTEGERS[opcode]), "little", signed=opcode == b"J"))
            elif opcode == b"\x8a":
                stack.append(number(read(number(read(1), "little")), "little", signed=True))
            elif opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            elif opcode == b".":
                return stack.pop()
            else:
                self.construct(opcode)
        raise ValueError(f"its pickle takes more than {MAX_OPERATIONS} steps")

    def construct(self, opcode: bytes) -> None:
        """Carry out an opcode that makes arrays, or that only frames the pickle."""
        stack = self.stack
        if opcode == b"R":
            arguments, call = stack.pop(), stack.pop()
            if not any(call is known for known in _CALLS.values()):
                raise ValueError("its pickle calls what is no constructor")
            stack.append(call(*arguments))
        elif opcode == b"b":
            state, target = stack.pop(), stack[-1]
            if isinstance(target, _Dtype):
                target.build(state)
            else:
                self.fill(target, *state)
        elif opcode == b"c":
            module, name = (self.file.readline(256).rstrip(b"\n").decode() for _ in range(2))
            stack.append(self.known(module, name))
        elif opcode == b"\x93":
            name, module = stack.pop(), stack.pop()
            stack.append(self.known(module, name))
        elif opcode in (b"\x80", b"\x95"):
            self.file.read(1 if opcode == b"\x80" else 8)
        elif opcode == b"":
            raise ValueError("it ends in the middle of its pickle")
        else:
            raise ValueError(f"its pickle uses the opcode {opcode!r}, which numpy never writes")

    def known(self, module: str, name: str) -> Any:
        """The stand-in for a name the pickle imports."""
        if (module, name) == ("numpy", "ndarray"):
            return _NDARRAY
        if (module, name) not in _CALLS:
            raise ValueError(f"its pickle wants to run {module!s:.60}.{name!s:.60}, which no array needs")
        return _CALLS[module, name]

    def fill(self, target: Any, version: Any, shape: Any, kind: _Dtype, fortran: Any, data: Any) -> None:
        """Give an array its content, and hand it to ``on_array``."""
        if not isinstance(target, _Array) or target.value is not None:
            raise ValueError("its pickle fills what is no new array")
        count = math.prod(side if isinstance(side, int) and side >= 0 else -1 for side in shape)
        if kind.dtype == object:
            if not isinstance(data, list) or len(data) != count:
                raise ValueError(f"its pickle claims an array of {shape} objects and holds another number of them")
            target.value = data
            return
        raw = self.load(data) if isinstance(data, _Blob) else data
        if not isinstance(raw, bytes) or len(raw) != count * kind.dtype.itemsize:
            raise ValueError(f"its pickle claims an array {shape} of {kind.dtype} and holds another number of bytes")
        array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")
        target.value = array if self.on_array is None else self.on_array(array)

    def blob(self, length: int, kind: str) -> _Blob:
        """A long string, left in the file."""
        if length > self.size - self.file.tell():
            raise ValueError(f"its pickle claims a string of {length} bytes, where the file ends before")
        blob = _Blob(self.file.tell(), length, kind)
        self.file.seek(length, os.SEEK_CUR)
        return blob

    def load(self, blob: _Blob) -> bytes | str:
        """A long string, read now."""
        self.pay(blob.length)
        here = self.file.tell()
        self.file.seek(blob.position)
        raw = self.file.read(blob.length)
        self.file.seek(here)
        return raw if blob.kind == "bytes" else raw.decode().encode("latin1") if blob.kind == "latin1" else raw.decode()

    def plain(self, value: Any, depth: int = 0) -> Any:
        """``value`` with its arrays unwrapped and its tuples as lists; shared parts become copies."""
        if isinstance(value, _Array):
            value = value.value
        if isinstance(value, _Blob):
            return self.load(value)
        if not isinstance(value, list | tuple):
            return value
        if depth > MAX_DEPTH:
            raise ValueError(f"its lists are nested more than {MAX_DEPTH} deep, or contain themselves")
        self.pay(len(value))
        return [item if type(item) in _LEAVES else self.plain(item, depth + 1) for item in value]

    def pay(self, size: int) -> None:
        """Count what is taken out of the file: one of n bytes cannot honestly hold more than n bytes or values."""
        self.budget -= size
        if self.budget < 0:
            raise ValueError("its pickle holds the same parts over and over")
