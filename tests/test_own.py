"""Somebody's own dataset, and forms of files that no built-in dataset comes in: small ones, made here."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest

from wtal_lib.cli import main
from wtal_lib.data import datasets
from wtal_lib.data.annotations import Annotations, annotations_from, earned_name, find_annotations
from wtal_lib.data.check import check, passes
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.features import find_pack
from wtal_lib.data.forms import form_of
from wtal_lib.data.instances import Video
from wtal_lib.data.segments import I3D_GRID, Grid, likely_unit, unit_beside
from wtal_lib.data.source import timing
from wtal_lib.runs.sources import Spec, open_data
from wtal_lib.score.detections import read_detections
from wtal_lib.score.evaluate import score_file
from wtal_lib.video.weights import WeightsError, require_weights

INSTANCES = [{"label": "pour", "segment": [5.0, 9.5]}, {"label": "stir it", "segment": [20.0, 31.0]}]


def kitchen(root: Path, **changes: Any) -> Path:
    """Six training videos with labels alone, three annotated test videos; "cut" is in no test video."""
    labels = ["pour", "stir it", "cut"]
    base = {
        f"clip {i}": {"subset": "train", "duration": 40.0 + i, "fps": 29.97, "labels": [labels[i % 3]]}
        for i in range(6)
    }
    base |= {f"clip {i}": {"subset": "val", "duration": 40.0 + i, "annotations": INSTANCES} for i in range(6, 9)}
    return made.write_json(root / "kitchen" / "kitchen.json", {"database": base, **changes})


def test_a_file_describes_a_dataset(tmp_path: Path) -> None:
    path = kitchen(tmp_path)
    known = get_dataset(path)
    assert (known.name, known.classes) == ("kitchen", ("cut", "pour", "stir it"))
    assert [(one.name, one.videos) for one in known.protocols] == [("kitchen-val", 3)]
    assert get_dataset("kitchen") is known
    assert get_dataset(path.parent).classes == known.classes
    found = find_annotations(tmp_path / "nowhere", "kitchen")
    assert [len(found.subset("train")), len(found.subset("test"))] == [6, 3]
    assert found.videos["clip 2"].labels == ("cut",)
    assert not len(found.videos["clip 2"].segments)
    listed = get_dataset(kitchen(tmp_path, classes=["stir it", "pour", "cut"]))
    assert listed.classes == ("stir it", "pour", "cut")


def test_what_is_no_dataset_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        get_dataset(tmp_path / "kitchen.json")
    with pytest.raises(ValueError, match="expected annotated test videos, got the subsets 'train'"):
        get_dataset(made.write_json(tmp_path / "a.json", {"database": {"v": {"subset": "train", "labels": ["x"]}}}))
    with pytest.raises(ValueError, match="thumos14 is a built-in dataset"):
        get_dataset(
            made.write_json(
                tmp_path / "thumos14.json", {"database": {"v": {"subset": "test", "annotations": INSTANCES}}}
            )
        )
    with pytest.raises(ValueError, match="it holds detections"):
        get_dataset(made.write_json(tmp_path / "d.json", {"results": {}}))
    with pytest.raises(ValueError, match="it lists 1, which names no video"):
        get_dataset(made.write_json(tmp_path / "e.json", [1]))


def test_validation_and_test_videos_have_a_protocol_each(tmp_path: Path) -> None:
    base = {part: {"subset": part, "annotations": INSTANCES} for part in ("train", "val", "test")}
    known = get_dataset(made.write_json(tmp_path / "desk" / "gt.json", {"database": base}))
    assert [(one.name, one.videos, set(one.excluded)) for one in known.protocols] == [
        ("desk-test", 1, {"val"}),
        ("desk-val", 1, {"test"}),
    ]


def test_own_annotations_are_checked_scored_and_simulated_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kitchen(tmp_path)
    for folder, width in (("i3d_features", 8), ("clip_features", 4)):
        rows = {f"clip {i}": np.random.default_rng(i).random((int((40 + i) * 25 / 16), width)) for i in range(9)}
        made.write_files(path.parent / folder, rows)
    for place in (path, path.parent, tmp_path):
        assert passes(check(place, cache=tmp_path / "cache"))
    results = {f"v_clip {i}".removeprefix("v_"): [{**one, "score": 1} for one in INSTANCES] for i in range(6, 9)}
    made.write_json(tmp_path / "d.json", {"results": results})
    scored = score_file(tmp_path / "d.json", path)["protocols"]["kitchen-val"]
    assert (scored["means"]["0.1:0.7"], scored["ap"]["cut"]) == (1.0, [None] * 7)
    data = open_data(Spec(str(path), "simulated", profile="ci"))
    assert (data.dataset, data.place, data.structure) == ("kitchen", "simulated", "real")
    assert all(len(video.segments) for video in data.annotations.subset("train"))
    assert open_data(Spec(str(path), "real", profile="ci")).place == "real"


def test_a_broken_pack_does_not_stop_simulated_features(tmp_path: Path) -> None:
    path = kitchen(tmp_path)
    made.write_files(path.parent / "i3d_features", {"clip 0": np.full((62, 4), np.nan)})
    assert open_data(Spec(str(path), "simulated", profile="ci")).source == "simulated"
    with pytest.raises(ValueError, match="NaN"):
        open_data(Spec(str(path), "auto", profile="ci"))


def test_rows_that_fit_no_duration_fail_check_and_run_and_a_given_rate_settles_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = kitchen(tmp_path)
    pack = made.write_files(path.parent / "tsp", {f"clip {i}": np.ones((50 + 30 * (i % 3), 4)) for i in range(9)})
    assert main(["check", str(path), "--cache", str(tmp_path / "cache")]) == 1
    assert "expected rows in proportion to the videos' durations" in capsys.readouterr().out
    made.write_json(pack / "features.json", {"fps": 25, "stride": 16})
    with pytest.raises(ValueError, match="do not fit their durations, such as clip 0 with 50 where 62 are expected"):
        open_data(Spec(str(path), "auto", profile="ci"))
    made.write_json(pack / "features.json", {"fps": 25, "rate": 16})
    with pytest.raises(ValueError, match=r"features\.json: expected an object like"):
        find_pack(tmp_path, "kitchen", "cbp", find_annotations(tmp_path, "kitchen"))
    assert main(["check", str(path), "--stride", "8"]) == 2
    assert "needs the frames per second" in capsys.readouterr().err


def clips(seconds: list[float], fps: list[float]) -> dict[str, Video]:
    none = np.zeros((0, 2))
    return {
        str(i): Video(str(i), "test", d, (), (), none, none, f)
        for i, (d, f) in enumerate(zip(seconds, fps, strict=True))
    }


def test_the_stride_is_told_at_each_video_s_own_rate() -> None:
    videos = clips([100.0, 60.0, 80.0, 70.0], [30.0, 30.0, 25.0, 30.0])
    for stride in (2, 4, 8, 16, 24):
        rows = {key: int((v.duration * v.fps - 16) // stride + 1) for key, v in videos.items()}
        found = timing(rows, videos, 16)
        assert (found.grid, found.native, found.equal) == (Grid(30, stride), True, False)
        for key, video in videos.items():
            middles = ((np.arange(rows[key]) * stride + 8) / video.fps)[:, None]
            placed = found.placed(middles.astype(np.float32), video)[:, 0]
            wanted = (np.arange(len(placed)) + 0.5) * found.grid.step
            assert np.abs(placed - wanted)[8:-8].max() <= found.grid.step / 2 + 1e-3


def test_equal_rows_are_spread_over_each_video() -> None:
    videos = clips([32.0, 64.0, 128.0], [np.nan] * 3)
    found = timing(dict.fromkeys(videos, 100), videos, 16)
    assert (found.grid, found.equal) == (I3D_GRID, True)
    placed = found.placed(np.linspace(0, 1, 100, dtype=np.float32)[:, None], videos["2"])
    assert len(placed) == 200
    assert placed[[0, 100, 199], 0] == pytest.approx([0, 0.5, 1], abs=0.01)


def test_the_axes_of_arrays_are_told_by_what_varies() -> None:
    lengths = (30, 41, 57)
    for shape, notes in (
        (lambda t: (t, 8), 0),
        (lambda t: (8, t), 1),
        (lambda t: (1, t, 8), 1),
        (lambda t: (t, 10, 8), 1),
        (lambda t: (10, t, 8), 1),
        (lambda t: (1, 8, t), 1),
    ):
        form = form_of([shape(t) for t in lengths])
        assert form.rows(np.ones(shape(41))).shape == (41, 8)
        assert form.snippets(shape(41)) == 41
        assert len(form.notes) == notes


@pytest.mark.parametrize("suffix", ["npz", "pkl", "csv", "h5", "object.npy"])
def test_containers_hold_the_same_rows(tmp_path: Path, suffix: str) -> None:
    data = made.annotations()
    rows = made.features(data)
    folder = tmp_path / "thumos14" / "i3d_features"
    folder.mkdir(parents=True)
    for name, array in rows.items():
        if suffix == "npz":
            np.savez(folder / f"{name}.npz", feats=array, fps=np.float32(25))
        elif suffix == "pkl":
            (folder / f"{name}.pkl").write_bytes(pickle.dumps({"rgb": array[:, :2], "flow": array[:-1, 2:]}))
        elif suffix == "csv":
            np.savetxt(folder / f"{name}.csv", array, delimiter=",")
        elif suffix == "h5":
            h5py = pytest.importorskip("h5py")
            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["features"] = array
        else:
            np.save(folder / f"{name}.npy", {"x": array}, allow_pickle=True)
    pack = find_pack(tmp_path, "thumos14", "cbp", data, cache=tmp_path / "cache")
    cut = -1 if suffix == "pkl" else None
    for name, array in rows.items():
        np.testing.assert_array_equal(pack[name], array[:cut])


def test_times_that_are_no_seconds_are_told_by_their_unit() -> None:
    end = np.array([50.0, 80, 120])
    for times, unit in (
        (25 / 16, "snippets"),
        (30, "frames"),
        (1000, "milliseconds"),
        (1 / 130, "fractions of the duration"),
    ):
        assert likely_unit(0.98 * end * times, end)[0] == unit
    assert likely_unit(0.98 * end, end)[0] == likely_unit(end * 0, end)[0] == ""
    assert (unit_beside(30 * end, 90.0)[0], unit_beside(end, 90.0)[0]) == ("frames", "")


@pytest.mark.parametrize("form", ["pkl", "csv", "json", "rows"])
def test_detections_come_as_columns_or_rows_with_other_keys(tmp_path: Path, form: str) -> None:
    data: Annotations = annotations_from(kitchen(tmp_path), get_dataset(kitchen(tmp_path)).name)
    columns = {
        "video-id": ["clip 6", "clip 7"],
        "t-start": [5.0, 20],
        "t-end": [9.5, 31],
        "label": [1, 2],
        "score": [0.9, 0.8],
    }
    path = tmp_path / f"d.{form}"
    if form == "pkl":
        path.write_bytes(pickle.dumps({name: np.array(values) for name, values in columns.items()}))
    elif form == "csv":
        lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        path.write_text("\ufeff" + "\n".join(lines))
    elif form == "json":
        path.write_text(json.dumps(columns))
    else:
        rows = {"clip 6": [{"label": "POUR", "score": [0.9], "start": 5, "end": 9.5}]}
        path.write_text(
            json.dumps({"results": rows | {"clip 7": [{"label": "stir_it", "score": 0.8, "segment": ["20", "31"]}]}})
        )
    if form == "rows":
        found = read_detections(path, data)
    else:
        with pytest.warns(UserWarning, match="indices into the class list from 0: 1 is pour"):
            found = read_detections(path, data)
    assert [found.classes[label] for label in found.label_n] == ["pour", "stir it"]
    assert found.segment_n2.tolist() == [[5, 9.5], [20, 31]]
    assert found.score_n.tolist() == [0.9, 0.8]


def test_g_tad_keeps_subsets_and_durations_in_a_table_beside(tmp_path: Path) -> None:
    made.write_json(tmp_path / "d" / "d.json", {"v1": {"annotations": INSTANCES}, "v2": {"annotations": INSTANCES}})
    (tmp_path / "d" / "video_info_new.csv").write_text(
        "video,subset,seconds,fps\nv1,training,50,25\nv2,validation,60,\n"
    )
    found = find_annotations(tmp_path, get_dataset(tmp_path / "d" / "d.json").name)
    assert [(v.name, v.subset, v.duration) for v in found.videos.values()] == [("v1", "train", 50), ("v2", "test", 60)]


def test_a_name_with_its_number_of_videos_is_still_the_protocol() -> None:
    one = datasets.protocol("activitynet12-val (2,198 of 2,383 videos)")
    assert (one.name, earned_name(one, 2198)) == ("activitynet12-val", "activitynet12-val (2,198 of 2,383 videos)")
    assert earned_name(one, 2383) == "activitynet12-val"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\n<!doctype html><html>", "a web page"),
        ((99).to_bytes(8, "little") + b"{}", "is cut off"),
        ((2).to_bytes(8, "little") + b"[]", "no safetensors file"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(WeightsError, match=why):
        require_weights(tmp_path / "w.safetensors")
