"""``wtal score``: a table for anybody's detections, or one line that says what is wrong with them."""

from __future__ import annotations

import json

import pytest

from wtal_lib.cli import main


@pytest.fixture
def detections(shared_data):
    return shared_data / "detections/detection_result_base_test.json"


def test_real_detections_print_a_table_of_all_protocols(detections, shared_data, capsys) -> None:
    assert main(["score", str(detections), "--annotations", str(shared_data / "thumos14/wtalc")]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 9
    assert next(line for line in lines if line.startswith("thumos14-212-seconds ")).split()[5] == "33.48"
    assert printed.err == ""


def test_one_protocol_with_an_interval_goes_to_a_file_too(detections, shared_data, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "report.json"
    options = ["--protocol", "thumos14-210-seconds", "--bootstrap", "20", "--out", str(out)]
    assert main(["score", str(detections), "--annotations", str(shared_data / "thumos14/cola"), *options]) == 0
    found = json.loads(out.read_text())
    assert list(found["protocols"]) == ["thumos14-210-seconds"]
    assert found["file"] == str(detections)
    assert found["protocols"]["thumos14-210-seconds"]["interval"]["resamplings"] == 20
    assert "95% of 20 resamplings, from" in capsys.readouterr().out


def test_annotations_without_ambiguous_segments_leave_those_protocols_out(detections, shared_data, capsys) -> None:
    assert main(["score", str(detections), "--annotations", str(shared_data / "thumos14/cola/gt.json")]) == 0
    printed = capsys.readouterr()
    assert [line.split()[0] for line in printed.out.splitlines()] == ["mAP", "thumos14-210-seconds"]


def test_detections_of_the_training_videos_are_a_warning(shared_data, capsys) -> None:
    path = shared_data / "detections/detection_result_base_train.json"
    assert main(["score", str(path), "--annotations", str(shared_data / "thumos14/cola")]) == 0
    assert "wtal score: warning: none of the 33895 detections lies in a test video" in capsys.readouterr().err


def test_the_dataset_is_recognised_by_the_videos(shared_data, tmp_path, capsys) -> None:
    for name in ("thumos14", "activitynet12"):
        (tmp_path / name).mkdir()
    (tmp_path / "thumos14" / "gt.json").symlink_to(shared_data / "thumos14/cola/gt.json")
    row = {"label": "Dodgeball", "segment": [1, 2]}
    one = {"subset": "validation", "duration": 9, "annotations": [row]}
    database = {"--0edUL8zmA": one, "other": {**one, "subset": "training"}}
    (tmp_path / "activitynet12" / "activity_net.v1-2.json").write_text(json.dumps({"database": database}))
    (tmp_path / "d.json").write_text(json.dumps({"results": {"v_--0edUL8zmA": [{**row, "score": 0.5}]}}))
    assert main(["score", str(tmp_path / "d.json"), "--annotations", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.splitlines()[1].split())
    assert said.startswith("activitynet12-val (1 of 2,383 videos) 100.00")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--protocol", "thumos14"], "unknown protocol 'thumos14'; choose one of"),
        (["--dataset", "thumos"], "unknown dataset 'thumos'; did you mean 'thumos14'"),
        (["--dataset", "activitynet12"], "no activitynet12 annotations in"),
        (["--bootstrap", "-3"], "got -3"),
    ],
)
def test_what_cannot_be_scored_is_one_line_and_status_2(options, told, detections, shared_data, capsys) -> None:
    assert main(["score", str(detections), "--annotations", str(shared_data / "thumos14"), *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert told in printed.err


@pytest.mark.parametrize("content", ["", "[1, 2", '{"database": {}}', '{"one": [{"label": "Diving"}]}'])
def test_a_file_of_another_kind_is_one_line_and_status_2(content, shared_data, tmp_path, capsys) -> None:
    (tmp_path / "d.json").write_text(content)
    assert main(["score", str(tmp_path / "d.json"), "--annotations", str(shared_data / "thumos14/cola")]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("wtal score: ")
    assert printed.err.count("\n") == 1


def test_missing_files_are_one_line_and_status_2(detections, tmp_path, capsys) -> None:
    assert main(["score", str(detections), "--annotations", str(tmp_path / "nowhere")]) == 2
    assert main(["score", str(tmp_path / "d.json"), "--annotations", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 2
