"""Feature packs: every layout gives the same rows under the same names, and the index knows when it is stale."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import made
import numpy as np
import pytest

from wtal_lib.data.annotations import Annotations, find_annotations
from wtal_lib.data.cache import built, cache_folder
from wtal_lib.data.features import Pack, aligned, find_pack
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_vlp_pack

DATA = made.annotations()
ROWS = made.features(DATA)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "thumos14").mkdir(parents=True)
    return tmp_path / "data"


def opened(root: Path, kind: str = "cbp", data: Annotations = DATA, **named: object) -> Pack:
    return find_pack(root, "thumos14", kind, data, cache=root.parent / "cache", **named)  # type: ignore[arg-type]


def agree(pack: Pack, rows: dict[str, np.ndarray]) -> None:
    assert set(pack.names) == set(rows)
    for name, expected in rows.items():
        np.testing.assert_array_equal(pack[name], expected)
        assert (name in pack, pack.lengths[name]) == (True, len(expected))
    assert (len(pack), pack.width) == (len(rows), next(iter(rows.values())).shape[1])


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_joint_array_of_w_talc_is_read(root: Path, dtype: type, protocol: int) -> None:
    rows = made.features(DATA, dtype=dtype)
    made.write_joint(root / "thumos14", rows, protocol=protocol)
    pack = opened(root)
    agree(pack, rows)
    assert (pack.layout, pack.grid, pack[pack.names[0]].dtype) == ("w-talc", I3D_GRID, dtype)
    assert not pack[pack.names[0]].flags.writeable


def test_rows_of_the_joint_array_follow_the_names_beside_it(root: Path) -> None:
    backwards = made.annotations(videos=dict(reversed(DATA.videos.items())))
    made.write_wtalc(root / "thumos14", DATA)
    made.write_joint(root / "thumos14", ROWS)
    agree(opened(root, data=backwards), ROWS)


def test_rgb_and_flow_of_cola_stand_side_by_side(root: Path) -> None:
    made.write_streams(root / "thumos14", ROWS)
    pack = opened(root)
    agree(pack, ROWS)
    assert (pack.layout, pack.grid) == ("cola", I3D_GRID)


def test_rows_of_actionformer_move_to_the_middle_of_their_clips(root: Path) -> None:
    data = made.annotations(seconds=64)
    rows = made.features(data, rows=477)  # 64 s at 30 fps: 477 clips of 16 frames, 4 apart
    made.write_files(root / "thumos14" / "i3d_features", rows)
    pack = opened(root, data=data)
    assert (pack.layout, pack.grid) == ("actionformer", Grid(30, 4))
    name = pack.names[0]
    np.testing.assert_array_equal(pack[name], np.concatenate([rows[name][[0, 0]], rows[name]]))


def test_rows_of_a_video_of_another_native_rate_keep_their_time(root: Path) -> None:
    data = made.annotations(seconds=64)
    name = next(iter(data.videos))
    slow = replace(data, videos=data.videos | {name: replace(data.videos[name], fps=25.0)})
    rows = made.features(data, rows=477) | {name: np.arange(397, dtype=np.float32)[:, None].repeat(4, 1)}
    made.write_files(root / "thumos14" / "i3d_features", rows)
    pack = opened(root, data=slow)
    assert pack.lengths[name] == pack.grid.count(399 * 4 / 25)
    row = round(float(pack.grid.position(32.0)))
    assert pack[name][row, 0] == pytest.approx(32.0 * 25 / 4 - 2, abs=1)


def test_a_pack_of_ours_comes_back_with_its_text_in_class_order(root: Path) -> None:
    text = np.eye(3, 4, dtype=np.float32)
    meta = made.meta(classes=["LongJump", "Diving", "HighJump"], simulated=True)
    write_vlp_pack(root / "thumos14" / "vlp" / "tiny-none", meta=meta, text_ce=text, features=ROWS.items())
    pack = opened(root, "vlp")
    agree(pack, {name: rows.astype(np.float16) for name, rows in ROWS.items()})
    assert (pack.layout, pack.grid, pack.meta) == ("vlp", I3D_GRID, meta)
    assert pack.text is not None
    np.testing.assert_array_equal(pack.text, text[[1, 2, 0]])
    assert pack[pack.names[0]].dtype == np.float16


def test_of_several_vlp_packs_one_is_picked_by_name(root: Path) -> None:
    for model in ("a", "b"):
        folder = root / "thumos14" / "vlp" / model
        write_vlp_pack(folder, meta=made.meta(model=model), text_ce=np.eye(3, 4), features=ROWS.items())
    assert opened(root, "vlp").meta["model"] == "a"
    assert opened(root, "vlp", model="b").meta["model"] == "b"
    with pytest.raises(FileNotFoundError, match="no VLP features of c for thumos14"):
        opened(root, "vlp", model="c")


@pytest.mark.parametrize("folder", ["Thumos14_CLIP/train", "Thumos14_CLIP", "features/clip_vit_b16"])
def test_foreign_clip_packs_are_read_at_an_inferred_rate(root: Path, folder: str) -> None:
    rows = made.features(DATA, rows=159)
    made.write_files(root / "thumos14" / folder, {f"v_{name}": array for name, array in rows.items()})
    pack = opened(root, "vlp")
    agree(pack, rows)
    assert (pack.layout, pack.grid, pack.notes) == ("clip", Grid(10, 1), ())


def test_a_rate_that_nobody_uses_is_taken_as_found_and_remarked(root: Path) -> None:
    made.write_files(root / "thumos14" / "clip", made.features(DATA, rows=48))
    pack = opened(root, "vlp")
    assert pack.grid == Grid(3, 1)
    assert pack.notes == ("its rate, 3.000 rows a second, is none of those in use; give fps and stride if known",)
    assert opened(root, "vlp", fps=25, stride=8).grid == Grid(25, 8)


def test_without_durations_a_rate_must_be_given(root: Path) -> None:
    made.write_files(root / "thumos14" / "clip", ROWS)
    unknown = made.annotations(seconds=float("nan"))
    with pytest.raises(ValueError, match="no duration is known; give fps and stride"):
        opened(root, "vlp", data=unknown)
    assert opened(root, "vlp", data=unknown, fps=25, stride=16).grid == I3D_GRID


def test_videos_are_known_by_their_youtube_ids_too(root: Path) -> None:
    rows = {f"v_{DATA.videos[name].youtube_id}": array for name, array in ROWS.items()} | {"stranger": np.ones((3, 4))}
    made.write_files(root / "thumos14" / "i3d", rows)
    assert set(opened(root, fps=25, stride=16).names) == {*DATA.videos, "stranger"}


def test_a_missing_pack_is_told_with_what_was_looked_for(root: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"JOINTFeatures\.npy.*flow.*i3d.* in .*thumos14\. .*github\.com.*simulate"
    ):
        opened(root)
    with pytest.raises(FileNotFoundError, match=r"meta\.json.*CLIP.*wtal extract"):
        opened(root, "vlp")
    with pytest.raises(ValueError, match="unknown kind of features 'rgb'; choose one of cbp, vlp"):
        opened(root, "rgb")


FAULTS = {
    "has NaN or infinity in 2 of 25 rows": lambda x: np.where(np.arange(25)[:, None] < 2, np.nan, x),
    "has 5 columns, the videos before it 4": lambda x: np.ones((25, 5), np.float32),
    r"has the shape \(25,\), not": lambda x: x[:, 0],
    r"has the shape \(0, 4\), not": lambda x: x[:0],
    "holds int64, not float16": lambda x: x.astype(int),
}


@pytest.mark.parametrize("why", FAULTS)
def test_a_faulty_video_is_one_error_that_names_it(root: Path, why: str) -> None:
    name = list(ROWS)[3]
    made.write_joint(root / "thumos14", ROWS | {name: FAULTS[why](ROWS[name])})
    with pytest.raises(
        ValueError, match=rf"JOINTFeatures\.npy: expected finite features .* but {name} {why}.*wtal check"
    ):
        opened(root)


def test_a_joint_array_of_another_length_is_refused(root: Path) -> None:
    made.write_joint(root / "thumos14", dict(list(ROWS.items())[:5]))
    with pytest.raises(ValueError, match="one for each of the 6 videos, but it holds 5"):
        opened(root)


def test_a_video_without_flow_is_a_fault(root: Path) -> None:
    made.write_streams(root / "thumos14", ROWS)
    next((root / "thumos14").glob("features/train/flow/*.npy")).unlink()
    with pytest.raises(ValueError, match="has only one of its two modalities"):
        opened(root)


def test_zeros_stand_for_a_missing_video_and_are_noted(root: Path) -> None:
    name = list(ROWS)[2]
    made.write_joint(root / "thumos14", ROWS | {name: np.zeros((25, 4), np.float32)})
    pack = opened(root)
    assert name not in pack
    assert pack.notes == (f"1 videos are all zeros, which stands for missing: {name}",)


def test_float16_gives_way_to_float32_where_one_video_needs_it(root: Path) -> None:
    name = list(ROWS)[4]
    rows = made.features(DATA, dtype=np.float16) | {name: ROWS[name] + np.float32(1e-4)}
    made.write_joint(root / "thumos14", rows)
    agree(opened(root), rows)


def test_a_changed_pack_is_noticed_and_indexed_again(root: Path) -> None:
    path = made.write_joint(root / "thumos14", ROWS)
    first = opened(root)
    before = first[first.names[0]].copy()
    status = path.stat()
    made.write_joint(root / "thumos14", {name: rows + 1 for name, rows in ROWS.items()})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # same size, same time: told by its content
    second = opened(root)
    np.testing.assert_array_equal(second[second.names[0]], before + 1)
    np.testing.assert_array_equal(first[first.names[0]], before), "what was open stays what it was"
    assert first.fingerprint != second.fingerprint
    assert len(list((root.parent / "cache").glob("*.bin"))) == 1


def test_an_opened_pack_reads_its_index_and_no_feature_file(root: Path) -> None:
    made.write_joint(root / "thumos14", ROWS)
    kept = opened(root).rows.path
    written = kept.stat().st_mtime_ns
    assert opened(root).rows.path.stat().st_mtime_ns == written
    for damage in (b"", b"{", b"[]", b'{"version": 1}'):
        next(kept.parent.glob("*.json")).write_bytes(damage)
        agree(opened(root), ROWS)
    kept.write_bytes(b"short")
    agree(opened(root), ROWS)


def test_equal_content_has_an_equal_fingerprint_wherever_it_lies(tmp_path: Path) -> None:
    prints = set()
    for place in ("a", "b"):
        made.write_joint(tmp_path / place / "thumos14", ROWS)
        prints.add(opened(tmp_path / place).fingerprint)
    assert len(prints) == 1


def test_two_processes_that_index_at_once_do_no_harm(root: Path) -> None:
    made.write_joint(root / "thumos14", made.features(DATA, width=256, rows=500))
    code = (
        "import made; from wtal_lib.data.features import find_pack; import sys; "
        "pack = find_pack(sys.argv[1], 'thumos14', 'cbp', made.annotations(), cache=sys.argv[2]); "
        "print(pack.fingerprint, sum(float(pack[n].sum()) for n in pack.names))"
    )
    command = [sys.executable, "-c", code, str(root), str(root.parent / "cache")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    assert len({process.communicate()[0] for process in running}) == 1
    assert all(process.returncode == 0 for process in running)
    assert not list((root.parent / "cache").glob("*.part"))


def test_the_cache_lies_beside_the_data_root_unless_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WTAL_CACHE", raising=False)
    assert cache_folder(tmp_path / "data") == tmp_path / "cache"
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "set"))
    assert cache_folder(tmp_path / "data") == tmp_path / "set"
    assert cache_folder(tmp_path / "data", tmp_path / "given") == tmp_path / "given"
    (tmp_path / "file").touch()
    with pytest.raises(PermissionError, match="expected a folder for the feature cache"):
        cache_folder(tmp_path / "data", tmp_path / "file" / "inside")


def test_moments_are_those_of_the_training_snippets(root: Path) -> None:
    made.write_joint(root / "thumos14", ROWS)
    rows = np.concatenate([ROWS[video.name] for video in DATA.subset("train")])
    for _ in range(2):  # computed, then read
        mean, deviation = opened(root).moments
        np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-6)
        np.testing.assert_allclose(deviation, rows.std(axis=0), rtol=1e-6)


def test_a_pack_on_another_grid_is_its_resampled_rows(root: Path) -> None:
    made.write_files(root / "thumos14" / "clip", made.features(DATA, rows=160))
    pack = opened(root, "vlp")
    coarse = pack.on(I3D_GRID)
    name = pack.names[1]
    assert (coarse.grid, coarse.lengths[name], pack.on(pack.grid)) == (I3D_GRID, 25, pack)
    np.testing.assert_array_equal(coarse[name], aligned(pack, name, I3D_GRID, 25))
    assert coarse.fingerprint != pack.fingerprint


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"a pack's cache takes .* are free; set WTAL_CACHE to a folder on a larger disk"):
        built(tmp_path, "stem", "stamp", lambda add: {}, 10**18, {})
    assert not list(tmp_path.iterdir())


def test_one_folder_may_hold_the_files_of_both_datasets(tmp_path: Path) -> None:
    other = made.annotations(3, dataset="activitynet12")
    rows = made.features(other, width=8)
    for data, given, prefix in ((DATA, ROWS, "Thumos14reduced"), (other, rows, "ActivityNet1.2")):
        made.write_wtalc(tmp_path, data, prefix)
        made.write_joint(tmp_path, given, prefix)
    for dataset, expected in (("thumos14", ROWS), ("activitynet12", rows)):
        found = find_annotations(tmp_path, dataset)
        agree(find_pack(tmp_path, dataset, "cbp", found, cache=tmp_path / "cache"), expected)
