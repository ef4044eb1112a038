"""Damaged files: whatever is cut or flipped, a reader gives its one error or something valid, in bounded memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import made
import numpy as np
import pytest

from wtal_lib.data.annotations import find_annotations
from wtal_lib.data.features import find_pack
from wtal_lib.data.vlp_pack import write_vlp_pack

DATA = made.annotations(6)
MEMORY = 24 << 20
"bytes that reading a damaged file of a few kilobytes may take"


def wtalc(root: Path) -> Path:
    made.write_wtalc(root / "thumos14", DATA)
    return root / "thumos14" / "Thumos14reduced-Annotations"


def database(root: Path) -> Path:
    made.write_json(root / "thumos14" / "gt.json", {"database": made.database(DATA)})
    return root / "thumos14"


def texts(root: Path) -> Path:
    folder = root / "thumos14" / "annotation"
    folder.mkdir(parents=True)
    (folder / "BaseballPitch_test.txt").write_text("video_test_0000001  1.0 2.5\nvideo_test_0000002  1.0 2.5\n")
    (folder / "Ambiguous_test.txt").write_text("video_test_0000001  3.0 4.5\n")
    return folder


def joint(root: Path) -> Path:
    made.write_joint(root / "thumos14", made.features(DATA, width=64))
    return root / "thumos14"


def streams(root: Path) -> Path:
    made.write_streams(root / "thumos14", made.features(DATA))
    return root / "thumos14" / "features" / "test" / "rgb"


def ours(root: Path) -> Path:
    folder = root / "thumos14" / "vlp" / "tiny"
    write_vlp_pack(folder, meta=made.meta(), text_ce=np.eye(3, 4), features=made.features(DATA).items())
    return folder


def annotated(root: Path) -> object:
    return find_annotations(root, "thumos14")


def cbp(root: Path) -> object:
    return find_pack(root, "thumos14", "cbp", DATA, cache=root / "cache")


def vlp(root: Path) -> object:
    return find_pack(root, "thumos14", "vlp", DATA, cache=root / "cache")


CASES = {
    "w-talc annotations": (wtalc, annotated),
    "json annotations": (database, annotated),
    "text annotations": (texts, annotated),
    "joint features": (joint, cbp),
    "features by modality": (streams, cbp),
    "a pack of ours": (ours, vlp),
}


def outcome(read: Callable[[Path], object], root: Path, path: Path) -> str:
    """What reading came to; anything but a value or the one error fails the test."""
    tracemalloc.start()
    try:
        read(root)
        said = "read"
    except (ValueError, FileNotFoundError) as error:
        said = str(error)
        assert path.stem in said or path.parent.name in said, f"names no file: {said}"
        assert len(said) < 1000
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak} bytes for {path.name}"
    return said


@pytest.mark.parametrize("case", CASES)
def test_truncated_files_are_one_error(tmp_path: Path, case: str) -> None:
    write, read = CASES[case]
    errors = 0
    for path in sorted(p for p in write(tmp_path).iterdir() if p.is_file() and p.name != "extracted_fps.npy"):
        whole = path.read_bytes()
        for share in (0, 0.01, 0.3, 0.6, 0.9, 0.999):
            path.write_bytes(whole[: int(share * len(whole))])
            said = outcome(read, tmp_path, path)
            errors += said != "read"
            assert path.suffix == ".txt" or said != "read", f"{path.name} cut to {share:.1%} was taken for whole"
        path.write_bytes(whole)
    assert errors or case == "text annotations"
    assert outcome(read, tmp_path, tmp_path) == "read"


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore:Reading `.npy`")
def test_flipped_bytes_are_read_or_one_error(tmp_path: Path, case: str) -> None:
    write, read = CASES[case]
    rng = np.random.default_rng(0)
    errors = 0
    for path in sorted(p for p in write(tmp_path).iterdir() if p.is_file()):
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(25):
            broken = whole.copy()
            places = rng.integers(0, min(len(whole), rng.choice([200, 1000, len(whole)])), rng.integers(1, 5))
            broken[places] = rng.integers(0, 256, len(places))
            path.write_bytes(broken.tobytes())
            errors += outcome(read, tmp_path, path) != "read"
        path.write_bytes(whole.tobytes())
    assert errors > 5


@pytest.mark.parametrize("dtype", ["i4", "c8", "S4", "M8[s]", "O", [("a", "f4")]])
def test_arrays_of_another_type_are_one_error(tmp_path: Path, dtype: object) -> None:
    for case in ("w-talc annotations", "features by modality", "a pack of ours"):
        write, read = CASES[case]
        for path in sorted(write(tmp_path / case).glob("*.npy")):
            if path.stem in ("extracted_fps", "original_fps", "duration") and dtype == "i4":
                continue  # whole numbers are numbers, and extracted_fps is never read
            whole = path.read_bytes()
            np.save(path, np.zeros((6, 2), dtype))
            said = outcome(read, tmp_path / case, path)
            assert said != "read" or path.stem in ("extracted_fps",), path.name
            path.write_bytes(whole)
