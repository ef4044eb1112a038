"""The public cases: forms in which people really have their files, and what a user gets from each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wtal_lib.cli import main
from wtal_lib.data.annotations import Annotations, find_annotations
from wtal_lib.data.check import annotation_findings
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.features import find_pack
from wtal_lib.data.segments import I3D_GRID

Case = Callable[[str], Path]


@pytest.fixture(scope="session")
def case(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The folder of a case by name, made by the public script on first use."""
    script, made = shared_data.parent / "cases" / "make.py", tmp_path_factory.mktemp("cases")
    if not script.is_file():
        pytest.skip(f"needs {script}, which is not on this machine")

    def folder(name: str) -> Path:
        if not (made / name).exists():
            subprocess.run([sys.executable, script, made, name], check=True, capture_output=True)
        return made / name

    return folder


@pytest.mark.parametrize("form", ["label_spaced", "bom", "utf16", "start_end", "duration_null"])
def test_spellings_keys_and_encodings_of_ground_truth_are_read(case: Case, form: str) -> None:
    found = find_annotations(case("gt_forms") / form, "thumos14")
    assert len(found.subset("test")) == 210
    assert sum(len(video.segments) for video in found.subset("test")) == 3311
    assert found.classes == get_dataset("thumos14").classes


def test_ids_need_names_and_are_read_with_a_class_map(case: Case, tmp_path: Path) -> None:
    place = case("gt_forms") / "label_id_only"
    with pytest.raises(ValueError, match=r"gt\.json: .*names are needed.*classes\.txt beside it"):
        find_annotations(place, "thumos14")
    shutil.copytree(place, tmp_path / "named")
    names = "\n".join(get_dataset("thumos14").classes)
    (tmp_path / "named" / "thumos14" / "classes.txt").write_text(f"\ufeff{names}\n", encoding="utf-8")
    read = find_annotations(tmp_path / "named", "thumos14").videos
    plain = find_annotations(case("gt_forms") / "bom", "thumos14").videos
    assert {n: v.instance_labels for n, v in read.items()} == {n: v.instance_labels for n, v in plain.items()}


def test_a_video_without_annotations_is_named(case: Case) -> None:
    found = find_annotations(case("gt_forms") / "no_annotations_key", "thumos14")
    assert len(found.subset("test")) == 209
    assert found.notes == ("1 videos without annotations are left out: video_test_0000896",)


def test_segments_in_frames_are_one_error_that_says_so(case: Case) -> None:
    with pytest.raises(ValueError, match=r"segments must be in seconds, these are likely frames"):
        find_annotations(case("gt_forms") / "segment_in_frames", "thumos14")


def test_a_byte_order_mark_hides_no_ambiguous_segment(case: Case) -> None:
    found = annotation_findings(find_annotations(case("ambiguous_bom"), "thumos14"))
    assert found["ambiguous_segments"] == 96


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ([], "activitynet13-val (110 of 4,926 videos) 100.00"),
        (["--dataset", "activitynet13"], "activitynet13-val (110 of 4,926 videos) 100.00"),
        (["--dataset", "activitynet12"], "activitynet12-val (100 of 2,383 videos) 100.00"),
    ],
)
def test_release_1_3_is_scored_as_both(
    case: Case, capsys: pytest.CaptureFixture[str], dataset: list[str], said: str
) -> None:
    place = case("anet13_names")
    assert main(["score", str(place / "detections.json"), "--annotations", str(place), *dataset]) == 0
    assert said in " ".join(capsys.readouterr().out.split())


def test_check_says_which_release_it_is(case: Case, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(case("anet13_names"))]) == 1
    text = capsys.readouterr().out
    assert "ActivityNet1.3, from a file of VERSION 1.3" in text
    assert "ActivityNet1.3 with 110 classes, cut to the 200 videos of the 100 of ActivityNet1.2" in text


def test_missing_videos_stand_in_the_name_of_the_protocol(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = case("anet_missing_videos")
    found = find_annotations(place, "activitynet12")
    perfect = {
        video.name: [
            {"label": label, "score": 0.9, "segment": segment.tolist()}
            for label, segment in zip(video.instance_labels, video.segments, strict=True)
        ]
        for video in found.subset("test")
    }
    (tmp_path / "d.json").write_text(json.dumps({"results": perfect}))
    command = ["score", str(tmp_path / "d.json"), "--annotations", str(place), "--out", str(tmp_path / "r.json")]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "activitynet12-val (2,185 of 2,383 videos)" in printed.out
    assert "the annotations lack videos of the protocol" in printed.err
    (name,) = json.loads((tmp_path / "r.json").read_text())["protocols"]
    assert name == "activitynet12-val (2,185 of 2,383 videos)"
    assert main([*command, "--allow-missing"]) == 0
    assert "lack videos" not in capsys.readouterr().err


@pytest.mark.parametrize("unit", ["frames", "snippets"])
@pytest.mark.parametrize("annotations", ["cola/gt.json", "wtalc"])
def test_other_units_are_one_error_with_and_without_durations(
    case: Case, shared_data: Path, capsys: pytest.CaptureFixture[str], unit: str, annotations: str
) -> None:
    command = [
        "score",
        str(case("detections") / f"{unit}.json"),
        "--annotations",
        str(shared_data / "thumos14" / annotations),
    ]
    assert main(command) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert f"these are likely {unit}" in printed.err


@pytest.mark.parametrize(
    ("name", "said"), [("ids_from_one", "into the class list from 1"), ("ids_as_floats", "into the class list from 0")]
)
def test_labels_as_numbers_are_understood(
    case: Case, shared_data: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    options = ["--annotations", str(shared_data / "thumos14/wtalc"), "--protocol", "thumos14-212-seconds"]
    assert main(["score", str(case("detections") / f"{name}.json"), *options]) == 0
    printed = capsys.readouterr()
    assert " 42.43 " in printed.out
    assert said in printed.err


FORMS = {
    "transposed": (16, "arrays are (width, snippets) and were turned"),
    "tencrop": (16, "the mean over 10 crops is taken"),
    "npz": (16, ""),
    "pkl": (16, ""),
    "dict_npy": (32, ""),
    "rgb_flow_suffix": (32, ""),
    "subset_folders": (16, ""),
    "flow_one_short": (32, "412 videos have one row less of one of RGB and flow: the other's last row is cut"),
}


@pytest.mark.parametrize("form", FORMS)
def test_feature_folders_of_every_form_are_read(case: Case, tmp_path: Path, form: str) -> None:
    place = case("features") / form
    pack = find_pack(place, "thumos14", "cbp", find_annotations(place, "thumos14"), cache=tmp_path)
    width, said = FORMS[form]
    assert (len(pack), pack.width, pack.grid, pack.notes) == (412, width, I3D_GRID, (said,) if said else ())


@pytest.mark.parametrize("stride", [4, 8, 16])
def test_no_row_is_more_than_half_a_snippet_off(case: Case, tmp_path: Path, stride: int) -> None:
    place = case("native_rate") / f"stride{stride}"
    found: Annotations = find_annotations(place, "thumos14")
    pack = find_pack(place, "thumos14", "cbp", found, cache=tmp_path).on(I3D_GRID)
    off = {}
    for name in pack.names:
        middle = (np.arange(pack.lengths[name]) + 0.5) * I3D_GRID.step
        off[name] = np.abs(pack[name][:, 0] - middle).max()
    assert len(off) == 412
    assert max(off.values()) <= 0.32


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("wrong_width.pt", "text_projection"),
        ("truncated.safetensors", "is cut off"),
        ("pointer.safetensors", "Git LFS"),
    ],
)
def test_unusable_weights_are_one_sentence_and_nothing_is_written(
    case: Case, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, why: str
) -> None:
    video, weights = case("videos") / "three_frames.mp4", case("checkpoints") / name
    options = ["--model", "ViT-S-32-alt", "--pretrained", str(weights), "--out", str(tmp_path / "pack")]
    assert main(["extract", str(video), *options]) == 1
    assert why in capsys.readouterr().err
    assert not (tmp_path / "pack").exists()


@pytest.mark.parametrize("name", ["plain.pt", "wrapped.pth", "lightning.ckpt"])
def test_wrapped_weights_load_as_plain_ones(case: Case, tmp_path: Path, name: str) -> None:
    options = ["--model", "ViT-S-32-alt", "--device", "cpu", "--out", str(tmp_path / "pack")]
    weights = str(case("checkpoints") / name)
    assert main(["extract", str(case("videos") / "three_frames.mp4"), "--pretrained", weights, *options]) == 0
    plain = str(case("checkpoints") / "plain.safetensors")
    options[-1] = str(tmp_path / "same")
    assert main(["extract", str(case("videos") / "three_frames.mp4"), "--pretrained", plain, *options]) == 0
    rows = [np.load(tmp_path / place / "features" / "three_frames.npy") for place in ("pack", "same")]
    assert rows[0].shape[0] == 1
    np.testing.assert_array_equal(*rows)


def test_a_mended_download_is_extracted_again(case: Case, tmp_path: Path) -> None:
    folder, out = tmp_path / "videos", tmp_path / "pack"
    folder.mkdir()
    options = ["--model", "ViT-S-32-alt", "--pretrained", "random", "--device", "cpu", "--out", str(out)]
    shutil.copy(case("videos") / "cut_off.mp4", folder / "v.mp4")
    assert main(["extract", str(folder), *options]) == 1
    shutil.copy(case("videos") / "whole.mp4", folder / "v.mp4")
    assert main(["extract", str(folder), *options]) == 0
    about = json.loads((out / "features" / "v.json").read_text())
    assert about["rows"] == I3D_GRID.count(about["duration"]) == len(np.load(out / "features" / "v.npy"))
    shutil.copy(case("videos") / "starts_late.mkv", folder / "late.mkv")
    assert main(["extract", str(folder), *options]) == 0
    about = json.loads((out / "features" / "late.json").read_text())
    assert (round(about["duration"], 2), about["rows"], about["short"]) == (10.0, 15, "")
