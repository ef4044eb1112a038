"""Object arrays from strangers: what numpy wrote comes back, whatever else is refused, and nothing runs."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtal_lib.data.files import UnreadableError, read_array, read_json, read_objects, replacing

HEAD = b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
"what numpy's pickle of an array begins with in Python 2"


def state(count: int, items: bytes) -> bytes:
    """The rest of it: an object array of ``count`` items, which the opcodes ``items`` put into a list."""
    dtype = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"
    return b"(K\x01M" + struct.pack("<H", count) + b"\x85" + dtype + b"\x89](" + items + b"etb."


def write(path: Path, content: bytes, count: int) -> Path:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (count,)})
    path.write_bytes(header.getvalue() + content)
    return path


def rows(path: Path, **named: Any) -> list[Any]:
    return read_objects(path, "rows", "get another", **named)


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


values = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=9), st.binary(), st.none()
)
nested = st.one_of(values, st.lists(values, max_size=3), st.tuples(values, st.lists(values, max_size=3)))


@settings(max_examples=40, deadline=None)
@given(st.lists(nested, max_size=5), st.integers(2, 4))
def test_whatever_numpy_wrote_comes_back(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], protocol: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.npy"
    made.save_objects(path, items, protocol)
    assert rows(path) == plain(items)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "f2", "i8", "S5", "U7", "?"])
def test_arrays_inside_come_back_in_their_type(tmp_path: Path, dtype: str, protocol: int) -> None:
    inner = [np.arange(6).reshape(2, 3).astype(dtype), np.asfortranarray(np.arange(1000).reshape(250, 4)).astype(dtype)]
    made.save_objects(tmp_path / "a.npy", [*inner, inner[0].ravel()[1]], protocol)
    got = rows(tmp_path / "a.npy")
    assert [array.dtype for array in got[:2]] == [np.dtype(dtype)] * 2
    assert all((a == b).all() for a, b in zip(got, inner, strict=False))
    assert got[2] == inner[0].ravel()[1]


def test_a_python_2_pickle_is_read_by_hand(tmp_path: Path) -> None:
    content = HEAD + state(2, b"](U\x06Divinge](G" + struct.pack(">d", 1.5) + b"K\x03e")
    assert rows(write(tmp_path / "py2.npy", content, 2)) == [[b"Diving"], [1.5, 3]]


def test_streamed_arrays_are_replaced_and_freed(tmp_path: Path) -> None:
    shared = np.ones((1000, 512), np.float32)
    arrays = [np.full((1000, 512), i, np.float32) for i in range(20)]
    for protocol in (2, 3, 4):
        made.save_objects(tmp_path / "big.npy", [*arrays, shared, shared], protocol)
        tracemalloc.start()
        sums = rows(tmp_path / "big.npy", on_array=lambda array: float(array.sum()))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert sums == [512_000.0 * i for i in range(20)] + [512_000.0] * 2
        assert peak < 5 * shared.nbytes, "one array at a time, however it was pickled"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_pickle_that_wants_to_run_code_is_refused(tmp_path: Path, protocol: int) -> None:
    flag = tmp_path / "ran"
    for call in (
        made.Hostile(os.system, f"touch {flag}"),
        made.Hostile(eval, f"open({str(flag)!r}, 'w')"),
        made.Hostile(np.save, flag, 1),
    ):
        made.save_objects(tmp_path / "evil.npy", [call], protocol)
        with pytest.raises(
            UnreadableError, match=r"evil\.npy: expected rows, but its pickle wants to run \w+.*; get another"
        ):
            rows(tmp_path / "evil.npy")
    assert not flag.exists()


BOMBS = {
    "cycle": b"]q\x01h\x01a",
    "laughs": b"]q\x00(" + b"K\x01" * 9 + b"e" + b"".join(b"](" + b"h%c" % i * 9 + b"eq%c" % (i + 1) for i in range(9)),
    "same text again and again": b"T" + struct.pack("<I", 60_000) + b"a" * 60_000 + b"q\x010" + b"h\x01" * 3000,
    "text of 10 GB": b"\x8e" + struct.pack("<Q", 10 << 30) + b"a",
    "memo of 2 billion": b"Nr\xff\xff\xff\x7f" + b"X\xff\xff\xff\xff",
    "unknown opcode": b"I12\n",
    "structured array": b"cnumpy\ndtype\nU\x02V8K\x00K\x01\x87R",
    "array of 10 GB": HEAD[2:] + b"(K\x01J\x00\x00\x00\x7f\x85cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R\x89U\x04abcdtb",
    "an array filled twice": HEAD[2:] + state(1, b"N")[:-1] + state(1, b"N")[:-1],
    "a call of a list": b"]K\x01\x85R",
    "endless": b"N" * 2_000_100,
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_bounded_memory(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "bomb.npy", HEAD + state(1, BOMBS[name]), 1)
    tracemalloc.start()
    with pytest.raises(UnreadableError, match=r"bomb\.npy: expected rows, but .*; get another"):
        rows(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_a_header_that_claims_10_gb_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1_310_720, 2048)})
    (tmp_path / "claim.npy").write_bytes(header.getvalue() + b"\0" * 64)
    with pytest.raises(UnreadableError, match=r"claims 10737418240 bytes of data .* where 64 follow"):
        read_array(tmp_path / "claim.npy", "features", "get another", "f")
    (tmp_path / "long.npy").write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{")
    with pytest.raises(UnreadableError, match="expected features"):
        read_array(tmp_path / "long.npy", "features", "get another", "f")
    write(tmp_path / "rows.npy", HEAD + state(1, b"N"), 10**9)
    with pytest.raises(UnreadableError, match="claims 1000000000 rows, where its pickle holds 1"):
        rows(tmp_path / "rows.npy")


def test_an_array_of_another_type_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "text.npy", np.array(["a"]))
    with pytest.raises(UnreadableError, match="expected numbers, but it holds <U1; get another"):
        read_array(tmp_path / "text.npy", "numbers", "get another", "f")
    with pytest.raises(UnreadableError, match="holds <U1, not objects"):
        rows(tmp_path / "text.npy")


def test_plain_arrays_come_back_in_either_order(tmp_path: Path) -> None:
    for array in (np.arange(6.0).reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.zeros((0, 3))):
        np.save(tmp_path / "a.npy", array)
        np.testing.assert_array_equal(read_array(tmp_path / "a.npy", "numbers", "", "f"), array)


def test_json_nested_beyond_reason_is_refused(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UnreadableError, match=r"deep\.json: expected a list, but .*; get another"):
        read_json(tmp_path / "deep.json", "a list", "get another")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.bin"
    with replacing(path) as file:
        file.write(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.write(b"half of the new" + None)  # type: ignore[operator]
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_the_pickles_of_real_packs_agree_with_numpys_reader(shared_data: Path) -> None:
    for path in shared_data.glob("*/wtalc/*/labels_all.npy"):
        with open(path, "rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            assert rows(path) == pickle.load(file, encoding="bytes").tolist()
