"""`wtal check`: the counts of the shared packs, every mismatch of a made one, and whether a run would fail."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import made
import numpy as np
import pytest

from wtal_lib import cli
from wtal_lib.data.annotations import Annotations
from wtal_lib.data.check import as_text, check, passes
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.vlp_pack import write_vlp_pack


@pytest.fixture(scope="module")
def shared_text(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return as_text(check(shared_data, cache=tmp_path_factory.mktemp("cache")))


@pytest.mark.parametrize(
    "said",
    [
        r"w-talc  412  200  212  3,007  3,358  20",
        r"28 videos whose video-level labels are not those of their instances",
        r"1 videos without a video-level label, not trained on: video_test_0000270",
        r"30 segments that end after their video: video_test_0000270 (22), video_test_0000814 (3)",
        r"w-talc  7,202  4,819  2,383  7,151  3,582  100",
        r"10 instances without length, which count as misses",
        r"34 instances given twice, of which both are kept",
        r"thumos14-210-seconds yes (headline)",
        r"activitynet12-val yes (headline)",
        r"a run on real features would fail: no CBP features for thumos14",
    ],
)
def test_the_shared_packs_are_counted(shared_text: str, said: str) -> None:
    assert " ".join(said.split()) in " ".join(shared_text.split())


def write(root: Path, data: Annotations, cbp: dict[str, np.ndarray], vlp: dict[str, np.ndarray]) -> Path:
    """A data root with annotations and both packs."""
    made.write_wtalc(root / "thumos14", data)
    made.write_joint(root / "thumos14", cbp)
    meta = made.meta(classes=list(data.classes), simulated=True)
    text = np.eye(len(data.classes), 4)
    write_vlp_pack(root / "thumos14" / "vlp" / "tiny", meta=meta, text_ce=text, features=vlp.items())
    return root


def test_a_complete_data_root_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = made.annotations(6)
    root = write(tmp_path / "data", data, made.features(data), made.features(data))
    assert cli.main(["check", str(root), "--cache", str(tmp_path / "cache")]) == 0
    text = capsys.readouterr().out
    assert "a run would find all it needs" in text
    assert "activitynet12" not in text
    assert cli.main(["check", str(root), "--json", "--cache", str(tmp_path / "cache")]) == 0
    cbp, vlp = json.loads(capsys.readouterr().out)["datasets"]["thumos14"]["features"]
    assert (cbp["videos"], cbp["snippets"], cbp["width"], cbp["fps"], cbp["stride"]) == (6, 150, 4, 25, 16)
    assert (cbp["simulated"], vlp["simulated"], vlp["dtype"]) == (False, True, "float16")


def test_every_mismatch_is_named(tmp_path: Path) -> None:
    data = made.annotations(9)
    names = list(data.videos)
    rows = made.features(data)
    cbp = rows | {names[1]: rows[names[1]][:9], names[2]: np.concatenate([rows[names[2]]] * 2)}
    cbp |= {names[0]: np.zeros((25, 4), np.float32), names[3]: rows[names[3]] * np.float32("nan")}
    vlp = {name: array for name, array in rows.items() if name != names[8]} | {"stranger": rows[names[0]]}
    report = check(write(tmp_path / "data", data, cbp, vlp), "thumos14", tmp_path / "cache")
    found, other = report["datasets"]["thumos14"]["features"]
    assert (found["too_short"], found["too_long"]) == ({names[1]: [9, 25]}, {names[2]: [50, 25]})
    assert found["faults"] == {names[3]: "has NaN or infinity in 25 of 25 rows"}
    assert (found["missing_train"], other["missing_test"], other["not_annotated"]) == (
        [names[0], names[3]], [names[8]], ["stranger"],
    )  # fmt: skip
    assert not passes(report)
    text = as_text(report)
    for said in (
        f"{names[1]} (9, 25)",
        "1 videos are all zeros",
        f"would fail: {found['path']}: 1 videos have features",
    ):
        assert said in text


def test_oddities_of_annotations_are_counted(tmp_path: Path) -> None:
    data = made.annotations(6)
    name = next(iter(data.videos))
    video = replace(
        data.videos[name],
        labels=("LongJump",),
        instance_labels=("Diving",) * 4,
        segments=np.array([[1, 2], [1, 2], [3, 3], [15, 17.0]]),
    )
    made.write_wtalc(tmp_path / "thumos14", replace(data, videos=data.videos | {name: video}))
    (found,) = check(tmp_path, "thumos14", tmp_path)["datasets"]["thumos14"]["annotations"]
    assert found["label_disagreements"] == [name]
    assert found["segments_beyond_end"] == {name: 1}
    assert (found["segments_without_length"], found["instances_given_twice"], found["train_instances"]) == (1, 1, 7)


def test_an_empty_data_root_fails_with_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", str(tmp_path)]) == 1
    text = capsys.readouterr().out
    assert text.count("annotations: none found") == 3
    assert "no thumos14 annotations in" in text
    assert cli.main(["check", str(tmp_path / "nowhere")]) == 2
    assert "wtal check: " in capsys.readouterr().err
    assert cli.main(["check", str(tmp_path), "--dataset", "thumos"]) == 2
    assert "choose one of thumos14, activitynet12" in capsys.readouterr().err


def test_a_broken_pack_does_not_hide_the_others(tmp_path: Path) -> None:
    data = made.annotations(6)
    made.write_json(tmp_path / "thumos14" / "gt.json", {"database": made.database(data)})
    (made.write_wtalc(tmp_path / "thumos14", data) / "labels.npy").write_bytes(b"nothing")
    report = check(tmp_path, "thumos14", tmp_path / "cache")
    broken, whole = report["datasets"]["thumos14"]["annotations"]
    assert "labels.npy: expected" in broken["unusable"]
    assert (whole["videos"], whole["classes"]) == (6, len(get_dataset("thumos14").classes))
    assert not passes(report)
    assert "w-talc cannot be used" in as_text(report)
