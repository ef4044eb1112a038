"""Videos to CBP packs, alone and beside VLP packs: random weights, small frames."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import clips as films_of
import made
import numpy as np
import pytest
import tiny
import torch

from wtal_lib import cli
from wtal_lib.data.features import find_pack
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.video import backbone, clips, extract, frames, i3d

SMALL = ("--rgb", "random", "--short-side", "36", "--crop", "32", "--precision", "float32", "--batch", "4")


@pytest.fixture(scope="module")
def films(tmp_path_factory) -> list[Path]:
    """Two numbered videos, of 4 and of 2 whole snippets, under names of THUMOS14."""
    folder = tmp_path_factory.mktemp("films")
    names = ("video_validation_0000000.mp4", "video_test_0000004.mkv")
    return [films_of.numbered(folder / name, count) for name, count in zip(names, (70, 40), strict=True)]


@pytest.fixture(scope="module")
def small() -> backbone.Backbone:
    return clips.load_backbone(i3d.RANDOM, short_side=36, crop=32)


def test_rows_are_those_of_the_frames_shown_in_each_snippet(tmp_path: Path, films, small) -> None:
    result = extract.extract_i3d(films, tmp_path / "p", small, batch=3)
    assert result.written == {"video_validation_0000000": 4, "video_test_0000004": 2}
    shown = frames.frames(films[0], (np.arange(64) + 0.5) / 25)
    images = np.stack(clips.resized([frame.image for frame in shown], 36))
    assert images.shape == (64, 36, 54, 3), "the short side counts"
    clip = torch.from_numpy(images[16:32, 2:34, 11:43].copy())[None]
    expected, _ = i3d.load(i3d.RANDOM)(clip.permute(0, 4, 1, 2, 3) / 127.5 - 1)
    rows = np.load(tmp_path / "p" / "features" / "video_validation_0000000.npy")
    assert (rows.shape, rows.dtype) == ((4, 1024), np.float16)
    assert np.allclose(rows[1], expected[0], atol=2e-3 * float(expected.max()))


def test_both_packs_come_of_one_decoding_and_equal_those_made_alone(tmp_path: Path, films, monkeypatch) -> None:
    opened: list[Path] = []
    read = frames.frames
    monkeypatch.setattr(backbone, "frames", lambda path, times: opened.append(path) or read(path, times))
    model = ["--model", tiny.folder(tmp_path / "model"), "--pretrained", "random"]
    given = ["extract", *map(str, films), *SMALL, *model]
    assert cli.main([*given, "--kind", "both", "--out", str(tmp_path / "thumos14")]) == 0
    assert sorted(opened) == sorted(films)
    (vlp,) = (tmp_path / "thumos14" / "vlp").iterdir()
    cbp = tmp_path / "thumos14" / "cbp" / "i3d-rgb"
    for kind, pack in (("cbp", cbp), ("vlp", vlp)):
        assert cli.main([*given, "--kind", kind, "--out", str(tmp_path / kind)]) == 0
        for film in films:
            files = [folder / "features" / f"{film.stem}.npy" for folder in (pack, tmp_path / kind)]
            assert np.array_equal(*map(np.load, files))
    meta = json.loads((cbp / "meta.json").read_text())
    assert (meta["columns"], meta["fps"], meta["stride"]) == ({"rgb": [0, 1024]}, 25, 16)
    assert (meta["short_side"], meta["crop"], meta["weights"], meta["origin"]) == (
        36,
        32,
        "random",
        {"rgb": {"seed": 0}},
    )
    opened.clear()
    (vlp / "features" / f"{films[0].stem}.npy").unlink()
    kept = (cbp / "features" / f"{films[0].stem}.npy").stat().st_mtime_ns
    assert cli.main([*given, "--kind", "both", "--out", str(tmp_path / "thumos14")]) == 0
    assert opened == films[:1], "what one pack lacks is extracted for that pack alone"
    assert (cbp / "features" / f"{films[0].stem}.npy").stat().st_mtime_ns == kept


def test_the_library_finds_a_pack_of_rgb_alone_and_reads_its_1024_columns(tmp_path: Path, films, small) -> None:
    extract.extract_i3d(films, tmp_path / "root" / "thumos14" / "cbp" / "i3d-rgb", small)
    found = find_pack(tmp_path / "root", "thumos14", "cbp", made.annotations(), cache=tmp_path / "cache")
    assert (found.layout, found.width, found.grid, found.text) == ("cbp", 1024, I3D_GRID, None)
    assert found.lengths == {"video_validation_0000000": 4, "video_test_0000004": 2}
    with pytest.raises(FileNotFoundError, match="no VLP features"):
        find_pack(tmp_path / "root", "thumos14", "vlp", made.annotations(), cache=tmp_path / "cache")


def test_what_was_extracted_otherwise_does_not_enter_a_pack(tmp_path: Path, films, small) -> None:
    extract.extract_i3d(films[1:], tmp_path / "p", small)
    other = clips.load_backbone(i3d.RANDOM, short_side=40, crop=32)
    with pytest.raises(ValueError, match="is a pack with short_side 36, not 40"):
        extract.extract_i3d(films, tmp_path / "p", other)
    with pytest.raises(ValueError, match=r"is a pack with origin .*'seed': 0.*, not .*'seed': 1"):
        extract.extract_i3d(films, tmp_path / "p", clips.load_backbone(i3d.RANDOM, seed=1, short_side=36, crop=32))


def test_flow_is_tv_l1_in_pixels_to_the_next_frame_the_last_into_the_next_snippet(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    field = rng.integers(0, 255, (12, 40, 3)).astype(np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    field = np.stack(clips.resized([field], 60))[0]
    images = [
        np.ascontiguousarray(field[:, 2 * i : 2 * i + 80]) for i in range(4)
    ]  # the camera pans by 2 pixels a frame
    moved = clips.flow(images)
    assert (moved.shape, moved.dtype) == ((3, 60, 80, 2), np.float32)
    assert np.abs(np.median(moved[:, 10:-10, 10:-10], axis=(0, 1, 2)) - [-2, 0]).max() < 0.2
    nets = {stream: i3d.load(i3d.RANDOM, stream) for stream in ("rgb", "flow")}
    both = clips.i3d_backbone(nets, Grid(25, 8), short_side=36, crop=32)
    assert (both.name, both.width, len(both.offsets)) == ("i3d-rgb-flow", 2048, 9)
    still = films_of.write(tmp_path / "still.mp4", [films_of.picture(0)] * 16)
    extract.extract_i3d([still], tmp_path / "p", both, grid=Grid(25, 8))
    rows = np.load(tmp_path / "p" / "features" / "still.npy")
    nothing, _ = nets["flow"](torch.zeros(1, 2, 8, 32, 32))
    assert rows.shape == (2, 2048)
    assert np.allclose(rows[:, 1024:], nothing, atol=0.02 * float(nothing.max())), "nothing moves: no flow"
    cut = torch.full((1, 8, 32, 32, 5), 300.0)
    assert clips.as_input(cut, "flow").unique().tolist() == [1.0], "cut off at 20 pixels"


def test_flow_without_opencv_is_one_error(monkeypatch) -> None:
    nets = {stream: i3d.load(i3d.RANDOM, stream) for stream in ("rgb", "flow")}
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ValueError, match=r"optical flow needs OpenCV .* pip install 'wtal_lib\[i3d\]'"):
        clips.i3d_backbone(nets)


def test_bad_videos_are_one_problem_each_and_the_others_go_on(tmp_path: Path, films, small) -> None:
    short = films_of.numbered(tmp_path / "short.mp4", 9)
    grey = films_of.numbered(tmp_path / "grey.mkv", 20, codec="ffv1", pixels="gray", options={})
    deep = films_of.numbered(tmp_path / "deep.mkv", 20, codec="ffv1", pixels="yuv420p10le", options={})
    cut = films_of.numbered(tmp_path / "cut.mkv", 150)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (tmp_path / "bad.mp4").write_text("no video")
    given = [short, grey, deep, cut, tmp_path / "bad.mp4", films[1]]
    result = extract.extract_i3d(given, tmp_path / "p", small)
    assert "short.mp4 lasts 0.36 s, less than one snippet of 0.64 s" in result.problems["short"]
    assert "cannot be read as a video" in result.problems["bad"]
    assert "of 9 snippets are written" in result.problems["cut"]
    assert set(result.problems) == {"short", "bad", "cut"}
    assert {name for name in result.written if name != "cut"} == {"grey", "deep", films[1].stem}


def test_arguments_that_make_no_sense_are_refused(tmp_path: Path, films, capsys) -> None:
    for arguments, message in {
        ("--kind", "clip"): "unknown kind of pack 'clip'; choose one of cbp, vlp, both",
        ("--kind", "cbp", "--stride", "4"): "stride must be a whole number of at least 8 frames for I3D, got 4",
        ("--kind", "cbp", "--crop", "400"): "crop must be at least 32 pixels and at most the short side, got 400 of 36",
        ("--kind", "cbp", "--rgb", "gone.pt"): "no file of I3D weights: gone.pt; `wtal weights i3d` fetches",
    }.items():
        assert cli.main(["extract", str(films[0]), "--out", str(tmp_path / "p"), *SMALL, *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "p").exists()
