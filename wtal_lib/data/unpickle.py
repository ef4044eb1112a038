"""Reads numpy's arrays from pickles of strangers; nothing that a pickle names is imported or called.

Protocols 2 to 4, of Python 2 and 3. Of the opcodes (standard library's ``pickletools``) those that numpy writes are
carried out, with stand-ins for numpy's classes, and all others are refused. An array is handed over as soon as it is
complete, and its bytes are freed: a pack of many gigabytes takes the memory of two videos.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pickletools import genops
from typing import Any, BinaryIO

import numpy as np

MAX_OPERATIONS = 2_000_000
"pickle opcodes carried out before a file is refused; the largest community pack takes about 100 thousand"
MAX_DEPTH = 8
"containers inside containers; community packs need two, the weights of I3D six"
LONG = 1024
"length from which a string is taken out of the pickle's memo once an array has it"
SMALL = 1 << 24
"bytes of a file that is read at once"

OnArray = Callable[[np.ndarray], Any]


def unpickle(file: BinaryIO, on_array: OnArray | None = None) -> list[Any]:
    """The items of the object array pickled from the file's position on: numbers, bytes, text, arrays, nested lists.

    ``on_array`` replaces each array as it is read. Raises ValueError for what is truncated, cyclic, hostile or no
    object array; malformed opcodes may raise what they provoke.
    """
    size = os.fstat(file.fileno()).st_size
    array = _run(file.read() if size < SMALL else file, on_array)
    if not isinstance(array, _Array) or not isinstance(array.value, list):
        raise ValueError("its pickle holds no object array")
    return bounded(array, size)


def unpickle_value(file: BinaryIO) -> Any:
    """What any pickle of arrays, numbers, text, lists and dictionaries holds; errors as of :func:`unpickle`."""
    return bounded(_run(file.read(), None), os.fstat(file.fileno()).st_size)


def bounded(whole: Any, size: int) -> Any:
    """``whole`` of a file of ``size`` bytes with its tuples as lists; shared parts become copies.

    Raises:
        ValueError: it contains itself, is nested more than :data:`MAX_DEPTH` deep, or repeats its parts without end.
    """
    left = [size]

    def plain(value: Any, depth: int = 0) -> Any:
        if isinstance(value, _Array):
            value = value.value
        value = value.data if isinstance(value, _Long) else value
        if not isinstance(value, (list, tuple, bytes, str, dict)):
            return value
        left[0] -= len(value)
        if left[0] < 0:  # a file of n bytes cannot honestly hold more than n bytes or values
            raise ValueError("its pickle holds the same parts over and over")
        if depth > MAX_DEPTH:
            raise ValueError(f"its lists are nested more than {MAX_DEPTH} deep, or contain themselves")
        if isinstance(value, (bytes, str)):
            return value
        if isinstance(value, dict):
            return {plain(key, MAX_DEPTH): plain(item, depth + 1) for key, item in value.items()}
        return [item if type(item) in _LEAVES else plain(item, depth + 1) for item in value]

    return plain(whole)


@dataclass
class _Long:
    """A long string; the array that takes it leaves nothing behind for the pickle's memo to keep."""

    data: Any

    def take(self) -> Any:
        data, self.data = self.data, None
        return data


class _Array:
    """An array under construction: ``value`` is None, an ndarray, the items of an object array, or a stand-in."""

    def __init__(self, *_: Any) -> None:
        self.value: Any = None

    def build(self, state: Any, on_array: OnArray | None) -> None:
        _, shape, kind, fortran, data = state
        if self.value is not None:
            raise ValueError("its pickle fills what is no new array")
        count = math.prod(side if isinstance(side, int) and side >= 0 else -1 for side in shape)
        if kind.dtype == object:
            if not isinstance(data, list) or len(data) != count:
                raise ValueError(f"its pickle claims an array of {shape} objects and holds another number of them")
            self.value = data
            return
        raw = data.take() if isinstance(data, _Long) else data
        if not isinstance(raw, bytes) or len(raw) != count * kind.dtype.itemsize:
            raise ValueError(f"its pickle claims an array {shape} of {kind.dtype} and holds another number of bytes")
        array = np.frombuffer(raw, kind.dtype).reshape(shape, order="F" if fortran else "C")
        self.value = array if on_array is None else on_array(array)


class _Dtype:
    """A dtype under construction."""

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else code
        if not re.fullmatch(r"[biuf][1248]|[SU][1-9]\d{0,6}|O[48]?", text):
            raise ValueError(f"it holds arrays of type {text!r:.40}")
        self.dtype = np.dtype(object) if text[0] == "O" else np.dtype(text)

    def build(self, state: Any, _: OnArray | None) -> None:
        order: Any = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order not in ("<", ">", "=", "|") or any(part is not None for part in state[2:5]):
            raise ValueError("it holds structured arrays")
        if order != "|":
            self.dtype = self.dtype.newbyteorder(order)

    def scalar(self, raw: Any) -> Any:
        return np.frombuffer(raw, self.dtype)[0]


def _latin1(text: Any = "", encoding: Any = "latin1") -> Any:
    """Bytes that Python 3 wrote for Python 2: as text of which each character is one byte."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"it encodes text as {encoding!r:.40}")
    return _Long(text.take().encode("latin1")) if isinstance(text, _Long) else text.encode("latin1")


_STAND_INS: dict[str, Callable[..., Any]] = {
    **{"_codecs encode": _latin1, "__builtin__ bytes": _latin1, "builtins bytes": _latin1},
    **{"numpy ndarray": _Array, "numpy dtype": _Dtype},
    **{f"numpy.{core}.multiarray _reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray scalar": _Dtype.scalar for core in ("core", "_core")},
}
"for each name that an array's pickle imports"
_CONSTANTS = {"NEWTRUE": True, "NEWFALSE": False}
_BYTES = {"SHORT_BINSTRING", "BINSTRING"}
_STRINGS = _BYTES | {"SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
_PLAIN = _STRINGS | {"BINFLOAT", "BININT", "BININT1", "BININT2", "LONG1", "NONE", *_CONSTANTS}
_EMPTY: dict[str, type] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_TAKEN = {
    **{"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "APPEND": 1, "SETITEM": 2},
    **dict.fromkeys(("TUPLE", "APPENDS", "SETITEMS"), 0),
}
"how many items go into a container; 0 for all since the mark"
_LEAVES = {float, int, str, bytes, bool, type(None)}


def _run(source: bytes | BinaryIO, on_array: OnArray | None) -> Any:
    """What a pickle holds: a machine that knows the opcodes numpy writes."""
    stack: list[Any] = []
    marks: list[list[Any]] = []
    memo: dict[int, Any] = {}
    opcode: Any
    argument: Any
    for opcode, argument, _ in islice(genops(source), MAX_OPERATIONS):
        name = opcode.name
        if name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif name in _PLAIN:
            value = argument.encode("latin1") if name in _BYTES else _CONSTANTS.get(name, argument)
            stack.append(_Long(value) if name in _STRINGS and len(value) >= LONG else value)
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(stack)
            stack = []
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _TAKEN:
            if count := _TAKEN[name]:
                items = [stack.pop() for _ in range(count)][::-1]
            else:
                items, stack = stack, marks.pop()
            if name.startswith("TUPLE"):
                stack.append(tuple(items))
            elif name.startswith("SETITEM"):
                stack[-1].update(zip(map(_key, items[::2]), items[1::2], strict=True))
            else:
                stack[-1].extend(items)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            _construct(stack, name, argument, on_array)
        value = argument = None  # frees the bytes of an array before the next one is read
    raise ValueError(f"its pickle takes more than {MAX_OPERATIONS} steps")


def _key(value: Any) -> Any:
    """A key of a dictionary: text or a number."""
    if not isinstance(value, (str, bytes, int, float)):
        raise ValueError("its pickle holds a dictionary whose keys are no names")
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _construct(stack: list[Any], opcode: str, argument: Any, on_array: OnArray | None) -> None:
    """Carry out an opcode that makes arrays."""
    if opcode in ("GLOBAL", "STACK_GLOBAL"):
        name = argument or " ".join(reversed([stack.pop(), stack.pop()]))
        if name not in _STAND_INS:
            raise ValueError(f"its pickle wants to run {name.replace(' ', '.'):.120}, which no array needs")
        stack.append(_STAND_INS[name])
    elif opcode == "REDUCE":
        arguments, call = stack.pop(), stack.pop()
        if not callable(call):
            raise ValueError("its pickle calls what is no constructor")
        stack.append(call(*arguments))
    elif opcode == "BUILD":
        state, target = stack.pop(), stack[-1]
        if not isinstance(target, (_Array, _Dtype)):
            raise ValueError("its pickle fills what is no new array")
        target.build(state, on_array)
    else:
        raise ValueError(f"its pickle uses the opcode {opcode}, which numpy never writes")
