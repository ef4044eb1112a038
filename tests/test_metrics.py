"""Scores worked out by hand, what is left out of them, and the figures of the field's own evaluator."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scoring import CLASSES, found, truth

from wtal_lib.data.annotations import annotations_from, ground_truth
from wtal_lib.data.datasets import protocol
from wtal_lib.score.detections import read_detections
from wtal_lib.score.matching import assign, pairs, running_max, truth_indices
from wtal_lib.score.metrics import average_precision, match

ONE = [(0, 0, 10.0, 20.0)]
TWO = [(0, 0, 10.0, 20.0), (0, 0, 30.0, 40.0)]


def ap(rows, instances, iou=0.5, label=0, **options) -> float:
    return float(average_precision(found(rows), truth(instances, **options), [iou])[label, 0])


def test_average_precision_by_hand() -> None:
    rows = [(0, 0, 10, 20, 0.9), (0, 0, 50, 60, 0.8), (0, 0, 31, 40, 0.7)]  # hit, miss, hit
    assert ap(rows, TWO) == pytest.approx((1 + 2 / 3) / 2)


def test_precision_is_interpolated_from_later_recall() -> None:
    rows = [(0, 0, 50, 60, 0.9), (0, 0, 10, 20, 0.8), (0, 0, 30, 40, 0.7)]  # precision 0, 1/2, 2/3
    assert ap(rows, TWO) == pytest.approx(2 / 3)


def test_a_second_detection_of_an_instance_is_a_false_positive() -> None:
    rows = [(0, 0, 10, 20, 0.9), (0, 0, 10, 20, 0.8), (0, 0, 30, 40, 0.7)]
    assert ap(rows, TWO) == pytest.approx((1 + 2 / 3) / 2)


def test_a_detection_takes_the_best_instance_that_is_still_free() -> None:
    rows = [(0, 0, 10, 22, 0.9), (0, 0, 10, 22, 0.8)]  # both overlap [10, 20] most, and [14, 24] enough
    assert ap(rows, [(0, 0, 10.0, 20.0), (0, 0, 14.0, 24.0)]) == 1


def test_a_better_ranked_latecomer_displaces_the_first_to_ask() -> None:
    pair_n, pair_m = np.array([0, 0, 1]), np.array([0, 1, 1])
    holder = assign(pair_n, pair_m, np.array([0.9, 0.6, 0.8]), np.array([0.5, 0.7]), 2, 2)
    assert holder.tolist() == [[0, 1], [0, 1]]
    shifted = assign(np.array([0, 1, 1, 2, 2]), np.array([0, 0, 1, 1, 2]), np.full(5, 0.9), np.array([0.5]), 3, 3)
    assert shifted.tolist() == [[0, 1, 2]]


def test_a_class_without_instances_has_no_average_precision() -> None:
    scores = average_precision(found([(0, 0, 10, 20, 0.9)]), truth(ONE), [0.5, 0.7])
    assert scores.shape == (len(CLASSES), 2)
    assert np.isnan(scores[1:]).all()


def test_instances_without_any_detection_score_zero() -> None:
    assert ap([], ONE) == 0


def test_nothing_against_nothing_is_undefined() -> None:
    assert np.isnan(average_precision(found([]), truth([]), [0.5])).all()


def test_equal_scores_rank_by_video_name_then_time() -> None:
    miss, hit = (1, 0, 50, 60, 0.5), (0, 0, 10, 20, 0.5)  # video "a" comes before video "b"
    assert ap([hit, miss], ONE) == ap([miss, hit], ONE) == 0.5
    early, late = (0, 0, 0, 5, 0.5), (0, 0, 50, 60, 0.5)
    assert ap([hit, early], ONE) == 0.5
    assert ap([hit, late], ONE) == 1


def test_touching_segments_do_not_match() -> None:
    assert ap([(0, 0, 20, 30, 0.9)], ONE, 1e-9) == 0


def test_a_threshold_that_is_just_reached_is_enough() -> None:
    assert ap([(0, 0, 10, 15, 0.9)], ONE, 0.5) == 1


def test_segments_without_length_never_match() -> None:
    assert ap([(0, 0, 10, 10, 0.9)], [(0, 0, 10.0, 10.0)], 0.1) == 0
    assert ap([(0, 0, 12, 12, 0.9), (0, 0, 10, 20, 0.8)], ONE) == 0.5
    assert ap([(0, 0, 10, 20, 0.9)], [*ONE, (0, 0, 15.0, 15.0)]) == 0.5


def test_segments_before_zero_are_scored_as_they_are() -> None:
    assert ap([(0, 0, -10, 20, 0.9)], [(0, 0, -10.0, 20.0)], 1.0) == 1


def test_detections_outside_the_ground_truth_s_names_are_not_scored() -> None:
    table = found([(0, 0, 50, 60, 0.9), (1, 1, 10, 20, 0.8), (2, 0, 10, 20, 0.7)], ("x", "b", "b"), ("jump", "swim"))
    assert match(table, truth(ONE), [0.5]).row_n.tolist() == [2]
    assert [column.tolist() for column in truth_indices(table, truth(ONE))] == [[-1, -1, 0], [-1, -1, 0]]
    assert average_precision(table, truth(ONE), [0.5])[0, 0] == 1


def test_detections_that_share_time_with_an_ambiguous_segment_are_dropped_whatever_their_class() -> None:
    rows = [(0, 0, 48, 52, 0.9), (0, 1, 48, 52, 0.9), (0, 0, 45, 50, 0.8), (1, 0, 50, 60, 0.8), (0, 0, 10, 20, 0.7)]
    scored = match(found(rows), truth(ONE, [(0, 50.0, 60.0), (0, 51.0, 55.0)]), [0.5]).row_n
    assert sorted(scored) == [2, 3, 4]


def test_a_matching_names_the_finder_of_each_instance() -> None:
    rows = [(0, 0, 50, 60, 0.9), (0, 0, 30, 37, 0.8), (0, 1, 10, 20, 0.8)]
    finder = match(found(rows), truth([*TWO, (0, 1, 10.0, 20.0)]), [0.5, 0.8]).finder_km
    assert finder.tolist() == [[-1, 1, 2], [-1, -1, 2]]


def test_weights_must_fit_the_videos() -> None:
    with pytest.raises(ValueError, match="a weight for each of 4 videos, got 3"):
        match(found([]), truth(ONE), [0.5]).average_precision(np.ones((1, 3)))


@pytest.mark.parametrize("iou", [[], [50], [0.5, 0.0], [float("nan")]])
def test_thresholds_are_fractions(iou) -> None:
    with pytest.raises(ValueError, match="must be fractions in"):
        average_precision(found([]), truth(ONE), iou)


def test_pairs_come_best_first_and_stay_within_their_group() -> None:
    segments, groups = np.array([[0.0, 10.0], [0.0, 4.0]]), np.array([7, 3])
    n, m, tiou = pairs(groups, segments, np.array([7, 7, 3, 9]), np.array([[8.0, 12.0], [0, 9], [4, 5], [0, 9]]), 0.1)
    assert (n.tolist(), m.tolist()) == ([0, 0], [1, 0])
    assert tiou == pytest.approx([0.9, 2 / 12])


def test_of_instances_of_equal_tiou_the_one_that_starts_last_comes_first_whatever_the_order_of_rows() -> None:
    whole, thirds = np.array([[0.0, 12.0]]), np.array([[4.0, 8.0], [8, 12], [0, 4], [8, 12]])
    zero = np.zeros(4, np.int64)
    assert pairs(zero[:1], whole, zero, thirds, 0.1)[1].tolist() == [3, 1, 0, 2]
    assert (
        pairs(zero[:1], whole, zero, thirds, 0.1, "argsort")[1].tolist() == np.argsort(np.full(4, 1 / 3))[::-1].tolist()
    )


@pytest.mark.parametrize("instances", [HALVES := [(0, 0, 0.0, 10.0), (0, 0, 10.0, 20.0)], HALVES[::-1]])
def test_equal_tiou_and_equal_scores_by_hand(instances) -> None:
    whole, early, late = (0, 0, 0, 20, 0.9), (0, 0, 0, 9, 0.8), (0, 0, 11, 20, 0.8)
    assert ap([whole, early], instances) == 1  # the whole takes the later half and leaves the earlier one
    assert ap([whole, late], instances) == 0.5  # which here nothing finds
    assert ap([whole, late, early], instances) == 1  # of equal scores the earlier start comes first: hit, hit, miss
    first_found = match(found([late, whole, early]), truth(instances), [0.5]).finder_km[0]
    assert dict(zip([row[2] for row in instances], first_found.tolist(), strict=True)) == {0.0: 2, 10.0: 1}


def test_detections_alike_in_all_but_their_row_rank_by_row() -> None:
    rows = [(0, 0, 10, 20, 0.5)] * 40  # an unstable sort would mix so many
    assert match(found(rows), truth(ONE), [0.5]).row_n.tolist() == list(range(40))


def test_a_running_maximum_begins_anew_with_each_group() -> None:
    values = np.array([[1.0, 3, 2, 1, 2]])
    assert running_max(np.array([0, 0, 0, 4, 4]), values).tolist() == [[1, 3, 3, 1, 2]]


@pytest.mark.parametrize(("name", "kind"), [("212-seconds", "exact_seconds"), ("212-snippets", "rounded_snippet")])
def test_real_detections_score_as_with_the_common_evaluator(shared_data, name: str, kind: str) -> None:
    reference = json.loads((shared_data / "detections/reference_map.json").read_text())
    annotations = annotations_from(shared_data / "thumos14/wtalc", "thumos14")
    detections = read_detections(shared_data / "detections/detection_result_base_test.json", annotations)
    chosen = protocol(f"thumos14-{name}")
    instances = ground_truth(annotations, chosen)
    classes = [instances.classes.index(label) for label in reference["classes"]]
    expected = np.array(reference[kind]["ap_per_class"])
    latest = average_precision(detections, instances, reference["iou"])[classes]
    assert abs(latest - expected).max() < 0.01  # the same on every processor: only some equal tIoU fall differently
    if np.argsort(np.zeros(17)).tolist() != list(range(17)):
        pytest.skip("without AVX2 numpy sorts equal tIoU another way, and the common evaluator scores another way too")
    scores = average_precision(detections, instances, reference["iou"], "argsort")[classes]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-9)
    assert scores.mean() == pytest.approx(reference[kind]["avg"], abs=1e-9)
