"""Reports on detections, good and bad, and the files they come from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wtal_lib.data.annotations import Annotations, Video, annotations_from
from wtal_lib.data.datasets import PROTOCOLS, get_dataset, protocol
from wtal_lib.data.segments import Detections
from wtal_lib.score.detections import checked, read_detections, write_detections
from wtal_lib.score.evaluate import as_text, report, score_file

SECONDS = replace(protocol("thumos14-212-seconds"), name="tiny", videos=4)
AMBIGUOUS = replace(SECONDS, name="tiny-ambiguous", ignore_ambiguous=True)


def video(name: str, *rows: tuple[str, float, float], subset="test", ambiguous=(), youtube_id="") -> Video:
    labels, segments = tuple(row[0] for row in rows), np.array([row[1:] for row in rows], dtype=float).reshape(-1, 2)
    doubtful = np.array(ambiguous, dtype=float).reshape(-1, 2)
    return Video(name, subset, 200.0, tuple(dict.fromkeys(labels)), labels, segments, doubtful, youtube_id=youtube_id)


@pytest.fixture
def annotations() -> Annotations:
    videos = (
        video("one", ("Diving", 10, 20), ("Diving", 30, 40), ambiguous=[(60, 70)], youtube_id="abc"),
        video("two", ("Diving", 10, 20), ("HighJump", 120, 130)),
        video("three", ("HighJump", 10, 20)),
        video("none"),
        video("training", ("Diving", 10, 20), subset="train"),
    )
    return Annotations(
        "thumos14", get_dataset("thumos14").classes, {one.name: one for one in videos}, "simulated", None
    )


PERFECT = {
    "one": [("Diving", 0.9, 10, 20), ("Diving", 0.8, 30, 40)],
    "two": [("Diving", 0.9, 10, 20), ("HighJump", 0.7, 120, 130)],
    "three": [("HighJump", 0.9, 10, 20)],
    "none": [],
}


def written(path: Path, results: dict, whole: bool = True) -> Path:
    rows = {
        name: [{"label": label, "score": score, "segment": segment} for label, score, *segment in found]
        for name, found in results.items()
    }
    path.write_text(json.dumps({"version": "x", "results": rows, "external_data": {}} if whole else rows))
    return path


@pytest.fixture
def perfect(tmp_path, annotations) -> Detections:
    return read_detections(written(tmp_path / "perfect.json", PERFECT), annotations)


def scores(detections, annotations, *protocols) -> dict:
    return report(detections, annotations, protocols or [SECONDS])


def test_a_report_has_the_promised_shape_and_is_plain_json(perfect, annotations) -> None:
    found = json.loads(json.dumps(scores(perfect, annotations), allow_nan=False))
    assert found["dataset"] == "thumos14"
    assert found["detections"] == 5
    row = found["protocols"]["tiny"]
    assert row["map"] == [1.0] * 7
    assert row["means"] == {"0.1:0.7": 1.0, "0.1:0.5": 1.0, "0.3:0.7": 1.0}
    assert row["ap"]["Diving"] == [1.0] * 7
    assert row["ap"]["Billiards"] == [None] * 7
    assert (row["videos"], row["ground_truth"], row["ignored"]) == (4, 5, 0)
    assert "interval" not in row


def test_the_means_are_means_over_classes_with_instances(annotations, tmp_path) -> None:
    results = {
        "one": [("Diving", 0.9, 10, 20)],
        "two": [("HighJump", 0.9, 120, 130)],
        "three": [("HighJump", 0.8, 10, 20)],
    }
    row = scores(read_detections(written(tmp_path / "d.json", results), annotations), annotations)["protocols"]["tiny"]
    assert row["map"] == pytest.approx([(1 / 3 + 1) / 2] * 7)


def test_detections_that_touch_an_ambiguous_segment_are_ignored_when_the_protocol_says_so(
    annotations, tmp_path
) -> None:
    results = {**PERFECT, "one": [("Diving", 0.95, 61, 65), *PERFECT["one"]]}
    table = read_detections(written(tmp_path / "d.json", results), annotations)
    found = scores(table, annotations, SECONDS, AMBIGUOUS)["protocols"]
    assert (found["tiny"]["ignored"], found["tiny-ambiguous"]["ignored"]) == (0, 1)
    assert found["tiny"]["ap"]["Diving"][0] < 1 == found["tiny-ambiguous"]["ap"]["Diving"][0]


def test_protocols_scored_together_score_as_each_alone(annotations, perfect) -> None:
    fewer = [
        replace(one, name=f"{one.name}-fewer", excluded=frozenset({"two"}), videos=3) for one in (SECONDS, AMBIGUOUS)
    ]
    other = replace(
        SECONDS, name="tiny-other", excluded=frozenset({"three", "none"}), videos=2, iou=(0.1, 0.5), means=()
    )
    shifts = np.random.default_rng(0).normal(0, 3, perfect.segment_n2.shape)
    noisy = replace(perfect, segment_n2=np.sort(perfect.segment_n2 + shifts, axis=1))
    wide = replace(noisy, segment_n2=np.sort(noisy.segment_n2 + np.array([0, 30]), axis=1))  # meets an ambiguous one
    for table in (noisy, wide):
        protocols = [*fewer, other, SECONDS, AMBIGUOUS]
        together = report(table, annotations, protocols, bootstrap=20)["protocols"]
        assert list(together) == [one.name for one in protocols]
        for one in protocols:
            assert report(table, annotations, [one], bootstrap=20)["protocols"][one.name] == together[one.name]
        assert together["tiny-ambiguous"]["ignored"] == int(table is wide)


def test_equal_tiou_falls_as_in_other_evaluators_when_asked(annotations, tmp_path) -> None:
    rows = [("Diving", 0.9, 10, 40), ("Diving", 0.8, 31, 40)]  # [10, 20] and [30, 40] overlap the first alike
    table = read_detections(written(tmp_path / "d.json", {"one": rows}), annotations)
    common = replace(SECONDS, iou=(0.3,), means=(("0.3", (0.3,)),))
    by_rule = {rule: report(table, annotations, [common], equal_tiou=rule) for rule in ("latest", "argsort")}
    ap = {rule: found["protocols"]["tiny"]["ap"]["Diving"][0] for rule, found in by_rule.items()}
    assert ap["latest"] == pytest.approx(1 / 3)  # the first takes [30, 40], and leaves nothing for the second
    last = np.argsort([1 / 3, 1 / 3])[-1]
    assert ap["argsort"] == pytest.approx((1 / 3, 2 / 3)[1 - last])


def test_unknown_videos_and_classes_are_counted_named_and_not_scored(annotations, tmp_path) -> None:
    odd = {"elsewhere": [("Diving", 1, 1, 2), ("Diving", 1, 3, 4)], "training": [("Diving", 1, 10, 20)]}
    results = {**PERFECT, **odd, "three": [*PERFECT["three"], ("Yodelling", 1, 0, 9)]}
    found = scores(read_detections(written(tmp_path / "d.json", results), annotations), annotations)
    assert found["unknown_videos"] == {"detections": 2, "names": ["elsewhere"]}
    assert found["unknown_classes"] == {"detections": 1, "names": ["Yodelling"]}
    assert found["protocols"]["tiny"]["ignored"] == 4
    assert found["protocols"]["tiny"]["map"] == [1.0] * 7
    assert any("2 detections are of 1 unknown videos" in text and "elsewhere" in text for text in found["warnings"])


def test_no_detections_is_one_warning_and_all_misses(annotations, tmp_path) -> None:
    for content in ({"results": {}}, {}, {"results": {"one": []}}):
        (tmp_path / "d.json").write_text(json.dumps(content))
        found = scores(read_detections(tmp_path / "d.json", annotations), annotations)
        assert found["warnings"] == ["there are no detections: every instance counts as a miss"]
        assert found["protocols"]["tiny"]["map"] == [0.0] * 7


def test_missing_videos_and_segments_without_length_are_pointed_out(annotations, tmp_path) -> None:
    results = {"one": [*PERFECT["one"], ("Diving", 0.1, 5, 5)], "two": PERFECT["two"]}
    warned = scores(read_detections(written(tmp_path / "d.json", results), annotations), annotations)["warnings"]
    assert warned == [
        "2 of 4 videos have no detection: their instances count as misses",
        "1 detections have no length: they overlap nothing and count as false positives",
    ]


def test_detections_of_training_videos_alone_are_pointed_out(annotations, tmp_path) -> None:
    table = read_detections(written(tmp_path / "d.json", {"training": [("Diving", 1, 10, 20)]}), annotations)
    assert "of training videos" in scores(table, annotations)["warnings"][0]


@pytest.mark.parametrize(
    ("times", "unit"), [(25.0, "frames"), (25 / 16, "snippets"), (1 / 200, "fractions"), (1 / 2, "percents")]
)
def test_a_likely_mistake_of_unit_is_an_error_that_names_it(times: float, unit: str, annotations) -> None:
    start = np.array([10.0, 190, 190, 194])
    table = Detections(
        np.arange(4),
        np.zeros(4, np.int64),
        np.stack([start, start + 5], 1) * times,
        np.ones(4),
        tuple(PERFECT),
        ("Diving",),
    )
    with pytest.raises(ValueError, match=f"detections must be in seconds, these are likely {unit}"):
        scores(table, annotations)
    assert scores(replace(table, segment_n2=table.segment_n2 / times), annotations)["protocols"]


def test_an_interval_holds_the_middle_of_resampled_videos(perfect, annotations) -> None:
    noisy = replace(
        perfect,
        score_n=np.array([9.0, 1, 5, 7, 2]),
        segment_n2=perfect.segment_n2 + np.array([[0], [6], [0], [7], [0]]),
    )
    found = report(noisy, annotations, [SECONDS], bootstrap=300, seed=1)["protocols"]["tiny"]
    low, high = np.array(found["interval"]["map"]).T
    assert (low <= np.array(found["map"])).all()
    assert (high >= np.array(found["map"])).all()
    assert (low < high).any()
    again = report(noisy, annotations, [SECONDS], bootstrap=300, seed=1)["protocols"]["tiny"]
    assert again["interval"] == found["interval"]
    assert report(noisy, annotations, [SECONDS], bootstrap=300, seed=2)["protocols"]["tiny"] != found
    assert "resamplings" in as_text({"protocols": {"tiny": found}})


def test_a_negative_number_of_resamplings_is_refused(perfect, annotations) -> None:
    with pytest.raises(ValueError, match="0 for none, got -1"):
        report(perfect, annotations, [SECONDS], bootstrap=-1)


def test_an_unknown_protocol_is_refused_with_the_list(perfect, annotations) -> None:
    with pytest.raises(ValueError, match="thumos14-210-seconds"):
        report(perfect, annotations, ["thumos"])


def test_detections_survive_writing_and_reading(perfect, annotations, tmp_path) -> None:
    write_detections(tmp_path / "new" / "d.json", perfect)
    again = read_detections(tmp_path / "new" / "d.json", annotations)
    assert scores(again, annotations) == scores(perfect, annotations)
    assert again.videos == perfect.videos
    np.testing.assert_array_equal(again.segment_n2, perfect.segment_n2)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["d.json"]


def test_other_names_for_videos_and_classes_are_understood(annotations, tmp_path) -> None:
    results = {
        "v_abc": [("high jump", 1, 0, 1), ("HIGHJUMP", 1, 0, 1)],
        "abc": [("diving", 1, 0, 1)],
        "v_two": [("shot put", 1, 0, 1)],
    }
    table = read_detections(written(tmp_path / "d.json", results, whole=False), annotations)
    assert table.videos == ("one", "two")
    assert table.video_n.tolist() == [0, 0, 0, 1]
    assert [table.classes[label] for label in table.label_n] == ["HighJump", "HighJump", "Diving", "Shotput"]
    assert table.classes == annotations.classes


def test_labels_given_as_numbers_are_taken_as_indices_with_a_warning(annotations, tmp_path) -> None:
    path = written(tmp_path / "d.json", {"one": [(7, 1, 0, 1), ("11", 1, 0, 1)]})
    with pytest.warns(UserWarning, match="7 is Diving"):
        table = read_detections(path, annotations)
    assert [table.classes[label] for label in table.label_n] == ["Diving", "HighJump"]


ROW = {"label": "Diving", "score": 0.5, "segment": [1, 2]}


@pytest.mark.parametrize(
    "content",
    [[ROW], 3, None, "text", {"results": [ROW]}, {"results": {"one": ROW}}, {"version": "x", "database": {}}]
    + [{"one": [odd]} for odd in (3, None, {"label": "Diving"}, {**ROW, "segment": [1]}, {**ROW, "segment": 3})]
    + [
        {"one": [ROW, odd]}
        for odd in ({**ROW, "score": "high"}, {**ROW, "label": ["Diving"]}, {**ROW, "segment": [1, 2, 3]})
    ],
)
def test_json_of_another_shape_is_one_clear_error(content, annotations, tmp_path) -> None:
    (tmp_path / "d.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"d\.json: expected .*\"results\".*got .*; give a json file"):
        read_detections(tmp_path / "d.json", annotations)


def test_what_is_no_json_and_what_is_not_there_are_clear_errors(annotations, tmp_path) -> None:
    (tmp_path / "d.json").write_text('{"results": {"one": [')
    with pytest.raises(ValueError, match="expected"):
        read_detections(tmp_path / "d.json", annotations)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        read_detections(tmp_path / "e.json", annotations)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (("Diving", float("nan"), 1, 2), "no finite number"),
        (("Diving", float("inf"), 1, 2), "no finite number"),
        (("Diving", 0.5, 1, float("nan")), "start or stop that is no finite number"),
        (("Diving", 0.5, 2, 1), "stop before they start"),
    ],
)
def test_scores_and_segments_that_mean_nothing_are_refused(row, told, perfect, annotations, tmp_path) -> None:
    with pytest.raises(ValueError, match=rf"1 of 3 detections .*{told}; the first lies in two"):
        read_detections(written(tmp_path / "d.json", {"one": PERFECT["one"], "two": [row]}), annotations)
    assert checked(perfect) is perfect
    with pytest.raises(ValueError, match="of 5 detections"):
        report(replace(perfect, score_n=perfect.score_n * np.nan), annotations, [SECONDS])


def test_the_table_has_a_row_for_each_protocol_and_counts(perfect, annotations) -> None:
    lines = as_text(scores(perfect, annotations, SECONDS, AMBIGUOUS)).splitlines()
    assert [line.split()[0] for line in lines] == ["mAP", "tiny", "tiny-ambiguous"]
    assert lines[1].split()[1:] == ["100.00"] * 10 + ["4", "5", "0"]


def test_real_detections_are_scored_under_every_protocol(shared_data) -> None:
    path = shared_data / "detections/detection_result_base_test.json"
    found = score_file(path, shared_data / "thumos14/wtalc")
    assert set(found["protocols"]) == {name for name in PROTOCOLS if name.startswith("thumos14")}
    assert found["protocols"]["thumos14-212-seconds"]["means"]["0.1:0.7"] == pytest.approx(0.424284, abs=5e-5)
    assert found["protocols"]["thumos14-212-snippets"]["means"]["0.1:0.7"] == pytest.approx(0.434018, abs=5e-4)
    assert found["warnings"] == []
    annotations = annotations_from(shared_data / "thumos14/wtalc", "thumos14")
    table = read_detections(path, annotations)
    for times, unit in ((25.0, "frames"), (25 / 16, "snippets")):
        scaled = replace(table, segment_n2=table.segment_n2 * times)
        with pytest.raises(ValueError, match=f"likely {unit}"):
            report(scaled, annotations, ["thumos14-210-seconds"])
