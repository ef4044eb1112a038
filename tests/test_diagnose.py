"""Kinds of error, and what mending them gains, against cases by hand and a plain reading of DETAD."""

from __future__ import annotations

import numpy as np
import pytest
from test_completeness import table, truth_of

from wtal_lib.data.annotations import find_annotations, ground_truth
from wtal_lib.data.datasets import get_dataset, protocol
from wtal_lib.score.detections import find_detections, read_detections
from wtal_lib.score.diagnose import (
    KINDS,
    characteristics,
    error_kinds,
    error_removal_gain,
    example,
    multiples,
    profile,
    rate_by_bin,
)
from wtal_lib.score.metrics import average_precision


def kinds(found, truth, iou=0.5) -> list[str]:
    return [KINDS[code] for code in error_kinds(found, truth, [iou])[0]]


def test_one_detection_of_each_kind():
    truth = truth_of((0, 0, 0, 10), (0, 1, 20, 30))
    found = table(
        (0, 0, 0, 9, 0.9), (0, 0, 0, 8, 0.8), (0, 0, 20, 29, 0.7), (0, 0, 0, 3, 0.6), (0, 0, 20, 23, 0.5),
        (0, 0, 0, 0.5, 0.4), (0, 0, 12, 18, 0.3), (1, 0, 0, 10, 0.2),
    )  # fmt: skip
    assert kinds(found, truth) == [*KINDS, "background", "background"]


def test_a_stricter_threshold_turns_doubles_into_bad_localization():
    found, truth = table((0, 0, 0, 10, 0.9), (0, 0, 0, 6, 0.8)), truth_of((0, 0, 0, 10))
    codes = error_kinds(found, truth, [0.5, 0.7])
    assert [[KINDS[code] for code in row] for row in codes] == [
        ["true positive", "double detection"],
        ["true positive", "bad localization"],
    ]


def test_where_two_classes_share_a_segment_a_detection_is_judged_by_its_own():
    truth = truth_of((0, 0, 0, 10), (0, 1, 0, 10))
    found = table((0, 0, 0, 9, 0.9), (0, 0, 0, 8, 0.8), (0, 1, 0, 8, 0.7))
    assert kinds(found, truth) == ["true positive", "double detection", "true positive"]


def test_what_the_protocol_does_not_score_has_no_kind():
    found, truth = table((0, 0, 0, 9, 0.9), (0, 0, 40, 50, 0.9)), truth_of((0, 0, 0, 10))
    object.__setattr__(truth, "ambiguous_video_a", np.array([0]))
    object.__setattr__(truth, "ambiguous_segment_a2", np.array([[45.0, 46.0]]))
    assert error_kinds(found, truth, [0.5]).tolist() == [[0, -1]]
    object.__setattr__(found, "videos", ("elsewhere", "b"))
    assert error_kinds(found, truth, [0.5]).tolist() == [[-1, -1]]


def plain_kinds(found, truth, iou) -> list[int]:
    """DETAD's ``analyze_fp_error_types``, one detection after the other, best first."""
    codes, taken = np.zeros(len(found), int), set()
    for n in sorted(range(len(found)), key=lambda n: -found.score_n[n]):
        mine, start, stop = (found.video_n[n], found.label_n[n]), *found.segment_n2[n]
        tious = []
        for m, (a, b) in enumerate(truth.segment_m2):
            shared = max(0.0, min(stop, b) - max(start, a)) * (truth.video_m[m] == mine[0])
            tious.append(shared / (stop - start + b - a - shared) if shared else 0.0)
        own = [m for m in range(len(tious)) if truth.label_m[m] == mine[1]]
        free = [m for m in own if m not in taken and tious[m] >= iou]
        if free:
            taken.add(max(free, key=lambda m: tious[m]))
            continue
        most = max(tious, default=0.0)
        other = max((tious[m] for m in own), default=0.0) < most
        codes[n] = 1 + other if most >= iou else 3 + other if most >= 0.1 else 5
    return codes.tolist()


def test_kinds_agree_with_the_plain_reading_on_random_tables():
    rng = np.random.default_rng(0)
    for case in range(300):
        found, truth = (
            np.column_stack([rng.integers(0, 2, (n, 2)), np.sort(rng.random((n, 2)), axis=1) * 20])
            for n in (rng.integers(0, 30), rng.integers(0, 8))
        )
        rows = table(*np.column_stack([found, rng.permutation(len(found))])), truth_of(*truth)
        iou = float(rng.choice([0.1, 0.3, 0.5]))
        assert error_kinds(*rows, [iou])[0].tolist() == plain_kinds(*rows, iou), f"case {case}"


def test_taking_a_false_positive_away_gains_what_it_cost():
    found, truth = table((0, 0, 50, 60, 0.9), (0, 0, 0, 10, 0.8)), truth_of((0, 0, 0, 10))
    gains = error_removal_gain(found, truth, [0.5])
    assert {name: gain.tolist() for name, gain in gains.items() if gain.any()} == {"background": [0.5]}
    assert list(gains) == [*KINDS[1:], "miss"]


def test_taking_a_missed_instance_away_gains_its_share_of_recall():
    gains = error_removal_gain(table((0, 0, 0, 10, 0.8)), truth_of((0, 0, 0, 10), (0, 0, 30, 40)), [0.5])
    assert gains["miss"].tolist() == [0.5]
    nothing_left = error_removal_gain(table((0, 0, 0, 10, 0.8)), truth_of((0, 0, 0, 10), (0, 1, 30, 40)), [0.5])
    assert nothing_left["miss"].tolist() == [0.0]


def test_no_kind_of_error_costs_less_than_nothing():
    rng = np.random.default_rng(2)
    found = np.column_stack([rng.integers(0, 2, (80, 2)), np.sort(rng.random((80, 2)), axis=1) * 50, rng.random(80)])
    truth = np.column_stack([rng.integers(0, 2, (12, 2)), np.sort(rng.random((12, 2)), axis=1) * 50])
    assert min(gain.min() for gain in error_removal_gain(table(*found), truth_of(*truth), [0.1, 0.5]).values()) >= 0


def test_groups_hold_as_many_detections_as_their_class_has_instances():
    truth = truth_of((0, 0, 0, 1), (0, 0, 2, 3))
    found = table((0, 0, 0, 1, 0.1), (1, 0, 0, 1, 0.9), (0, 0, 2, 3, 0.5), (0, 1, 0, 1, 0.9))
    group = multiples(found, truth)
    assert group.tolist() == [1, 0, 0, -1]
    share = profile(error_kinds(found, truth, [0.5])[0], group, groups=3)
    assert share[:2].tolist() == [[0.5, 0, 0, 0, 0, 0.5], [1, 0, 0, 0, 0, 0]]
    assert np.isnan(share[2]).all()


def test_characteristics_of_instances_and_misses_by_bin_by_hand():
    truth = truth_of((0, 0, 0, 3), (0, 0, 10, 16), (1, 0, 0, 7))
    what = characteristics(truth, np.array([100.0, 10.0]))
    assert {name: value.tolist() for name, value in what.items()} == {
        "length": [3, 6, 7],
        "instances": [2, 2, 1],
        "coverage": [0.03, 0.06, 0.7],
    }
    rate, count = rate_by_bin(np.array([True, False, True]), what["length"], get_dataset("thumos14").bins["length"])
    assert count.tolist() == [1, 1, 1, 0, 0]  # an edge belongs to the bin below
    assert rate[:3].tolist() == [1, 0, 1]
    assert np.isnan(rate[3:]).all()


def test_an_unknown_duration_leaves_its_instances_out_of_the_coverage_bins():
    coverage = characteristics(truth_of((0, 0, 0, 3), (1, 0, 0, 7)), np.array([100.0, np.nan]))["coverage"]
    assert np.isnan(coverage[1])
    assert rate_by_bin(np.ones(2, bool), coverage, (0.02,))[1].tolist() == [0, 1]


def test_the_example_is_the_video_that_shows_most_kinds():
    truth = truth_of(*((0, 0, 10 * i, 10 * i + 5) for i in range(4)), *((1, 0, 10 * i, 10 * i + 5) for i in range(4)))
    found = table((0, 0, 0, 5, 0.9), (1, 0, 0, 5, 0.8), (1, 0, 0, 4, 0.7), (1, 0, 99, 100, 0.6))
    rows, instances = example(found, truth, error_kinds(found, truth, [0.5])[0])
    assert rows.tolist() == [1, 2, 3]
    assert instances.tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="got none"):
        example(table((0, 1, 0, 5, 0.9)), truth, np.zeros(1, int))


def test_a_threshold_in_percent_is_refused():
    found, truth = table((0, 0, 0, 1, 1)), truth_of((0, 0, 0, 1))
    for function in (error_kinds, error_removal_gain):
        with pytest.raises(ValueError, match=r"0.5 means one half, not 50"):
            function(found, truth, [50])


def test_real_detections_are_judged_in_full(shared_data):
    annotations = find_annotations(shared_data, "thumos14")
    found = read_detections(shared_data / "detections" / "detection_result_base_test.json", annotations)
    truth = ground_truth(annotations, protocol("thumos14-210-seconds"))
    codes, group = error_kinds(found, truth, [0.3, 0.5]), multiples(found, truth)
    share = profile(codes[1], group)
    assert np.allclose(share.sum(axis=1), 1)
    assert share[0, 0] == share[:, 0].max()  # true positives come first
    gains, ap = error_removal_gain(found, truth, [0.3, 0.5]), average_precision(found, truth, [0.3, 0.5])
    assert all((np.nanmean(ap, axis=0) + gain <= 1).all() and (gain >= 0).all() for gain in gains.values())
    assert max(KINDS[1:], key=lambda name: gains[name][1]) == "bad localization"


def test_detections_are_found_beside_the_annotations_they_belong_to(shared_data):
    path = find_detections(find_annotations(shared_data, "thumos14"))
    assert path == shared_data / "detections" / "detection_result_base_test.json"
    assert find_detections(find_annotations(shared_data, "activitynet12")) is None
