"""Completeness and over-completeness against numbers by hand, counted cells, and at the borders."""

from __future__ import annotations

import numpy as np
import pytest

from wtal_lib.data.segments import Detections, Grid, GroundTruth
from wtal_lib.score.completeness import activated, completeness, covered, shares, snippet_outcomes

NAMES, CLASSES = ("a", "b"), ("jump", "throw")


def table(*rows) -> Detections:
    """Rows of (video, class, start, stop, score)."""
    video, label, start, stop, score = np.array(rows, dtype=float).reshape(-1, 5).T
    segment = np.stack([start, stop], axis=1)
    return Detections(video.astype(int), label.astype(int), segment, score, NAMES, CLASSES)


def truth_of(*rows) -> GroundTruth:
    """Rows of (video, class, start, stop)."""
    video, label, start, stop = np.array(rows, dtype=float).reshape(-1, 4).T
    nothing = (np.empty(0, int), np.empty((0, 2)))
    return GroundTruth(video.astype(int), label.astype(int), np.stack([start, stop], axis=1), NAMES, CLASSES, *nothing)


def test_the_surest_segment_is_the_one_that_counts_not_the_closest():
    truth = truth_of((0, 0, 10, 20))
    found = table(
        (0, 0, 8, 14, 0.9), (0, 0, 11, 21, 0.5), (0, 1, 10, 20, 1.0), (1, 0, 10, 20, 1.0), (0, 0, 20, 30, 1.0)
    )
    surest = completeness(found, truth)
    assert (surest.row_m[0], surest.covered_m[0], surest.tiou_m[0]) == (0, 0.4, 4 / 12)
    assert (surest.inside_m[0], surest.context_m[0], surest.elsewhere_m[0]) == (4 / 6, 2 / 6, 0.0)


def test_what_lies_outside_is_context_within_one_length_and_elsewhere_beyond():
    assert shares(table((0, 0, 0, 40, 1)), truth_of((0, 0, 10, 20))).tolist() == [[0.25, 0.5, 0.25]]
    assert shares(table((0, 0, 0, 40, 1)), truth_of((0, 0, 10, 20)), margin=0.5).tolist() == [[0.25, 0.25, 0.5]]


def test_the_context_of_one_instance_is_the_inside_of_another():
    truth = truth_of((0, 0, 10, 20), (0, 0, 22, 30), (0, 0, 15, 18))
    assert shares(table((0, 0, 12, 28, 1)), truth).tolist() == [[14 / 16, 2 / 16, 0.0]]


def test_an_instance_that_nothing_meets_is_covered_by_0_and_has_no_shares():
    missed = completeness(table((0, 1, 0, 5, 1.0)), truth_of((0, 0, 0, 5)))
    assert (missed.row_m[0], missed.covered_m[0], missed.tiou_m[0]) == (-1, 0.0, 0.0)
    assert np.isnan([missed.inside_m[0], missed.context_m[0], missed.elsewhere_m[0]]).all()
    assert len(completeness(table(), truth_of((0, 0, 0, 5))).row_m) == 1
    assert len(completeness(table((0, 1, 0, 5, 1.0)), truth_of()).row_m) == 0


def test_without_length_there_is_no_share():
    assert np.isnan(shares(table((0, 0, 3, 3, 1)), truth_of((0, 0, 0, 5)))).all()
    assert np.isnan(covered(table((0, 0, 0, 5, 1)), truth_of((0, 0, 3, 3)))).all()
    assert np.isnan(completeness(table((0, 0, 0, 5, 1)), truth_of((0, 0, 3, 3))).covered_m).all()


def test_names_tell_which_video_is_meant_whatever_their_order():
    found = Detections(
        np.array([0, 1]), np.array([0, 0]), np.array([[0.0, 4], [0, 4]]), np.ones(2), ("b", "other"), ("throw",)
    )
    assert covered(found, truth_of((1, 1, 0, 8), (0, 1, 0, 8))).tolist() == [0.5, 0.0]
    assert np.isnan(shares(found, truth_of((1, 1, 0, 8)))[1]).all()


def test_coverage_is_that_of_all_segments_together():
    found = table((0, 0, 0, 3, 1), (0, 0, 2, 4, 1), (0, 0, 6, 7, 1), (0, 0, 9, 20, 1))
    assert covered(found, truth_of((0, 0, 0, 10))).tolist() == [(4 + 1 + 1) / 10]


def test_shares_agree_with_counted_cells_on_random_tables():
    rng = np.random.default_rng(0)
    for _ in range(100):
        drawn = rng.integers(0, 20, (rng.integers(0, 12), 2)) + [0, 1] * rng.integers(0, 9, (1, 1))
        m = rng.integers(0, 6)
        spans = [np.sort(rng.integers(0, 24, (count, 2)), axis=1) for count in (len(drawn), m)]
        kinds = [rng.integers(0, 2, (count, 2)) for count in (len(drawn), m)]
        found = table(*np.column_stack([kinds[0], spans[0], rng.random(len(drawn))]).tolist())
        truth = truth_of(*np.column_stack([kinds[1], spans[1]]).tolist())
        got, covers = shares(found, truth), covered(found, truth)
        for n, (a, b) in enumerate(spans[0]):
            same = [tuple(s) for s, kind in zip(spans[1], kinds[1], strict=True) if (kind == kinds[0][n]).all()]
            inside = {i for i in range(a, b) if any(x <= i < y for x, y in same)}
            near = {i for i in range(a, b) if any(2 * x - y <= i < 2 * y - x for x, y in same)}
            want = [len(inside), len(near - inside), b - a - len(near | inside)]
            assert np.allclose(got[n], np.array(want) / (b - a)) if b > a else np.isnan(got[n]).all()
        for i, (a, b) in enumerate(spans[1]):
            same = [tuple(s) for s, kind in zip(spans[0], kinds[0], strict=True) if (kind == kinds[1][i]).all()]
            want = sum(any(x <= j < y for x, y in same) for j in range(a, b))
            assert np.isclose(covers[i], want / (b - a)) if b > a else np.isnan(covers[i])


def test_order_of_rows_shift_and_scale_change_nothing():
    rng = np.random.default_rng(1)
    found = np.column_stack([rng.integers(0, 2, (60, 2)), np.sort(rng.random((60, 2)), axis=1) * 99, rng.random(60)])
    truth = np.column_stack([rng.integers(0, 2, (9, 2)), np.sort(rng.random((9, 2)), axis=1) * 99])
    base = completeness(table(*found), truth_of(*truth))
    mixed = completeness(table(*rng.permutation(found)), truth_of(*truth))
    moved = completeness(
        table(*(found * [1, 1, 2, 2, 1] + [0, 0, 8, 8, 0])), truth_of(*(truth * [1, 1, 2, 2] + [0, 0, 8, 8]))
    )
    for name in ("covered_m", "tiou_m", "inside_m", "context_m", "elsewhere_m"):
        assert np.allclose(getattr(base, name), getattr(mixed, name), equal_nan=True)
        assert np.allclose(getattr(base, name), getattr(moved, name), equal_nan=True)


def test_a_thresholded_activation_becomes_its_runs_at_both_ends_too():
    score = np.array([[0.9, 0.1], [0.7, 0.6], [0.2, 0.5], [0.5, 0.0]])
    found = activated({"a": score, "b": np.zeros((0, 2))}, 0.5, Grid(fps=1, stride=2), CLASSES)
    assert found.segment_n2.tolist() == [[0, 4], [6, 8], [2, 6]]
    assert found.label_n.tolist() == [0, 0, 1]
    assert np.allclose(found.score_n, [0.8, 0.5, 0.55])
    assert found.videos == ("a", "b")


def test_what_cannot_be_meant_is_refused():
    found, truth = table((0, 0, 0, 1, 1)), truth_of((0, 0, 0, 1))
    with pytest.raises(ValueError, match="margin must not be negative, got -1"):
        shares(found, truth, margin=-1)
    with pytest.raises(ValueError, match="a: expected a column for each of 2 classes, got 3"):
        activated({"a": np.zeros((4, 3))}, 0.5, Grid(fps=1, stride=1), CLASSES)


def test_outcomes_count_the_snippets_of_the_classes_that_occur() -> None:
    cas = {"a": np.array([[0.9, 1.0], [0.9, 1.0], [0.1, 0.0], [0.2, 1.0]]), "b": np.array([[0.0, 0.5]])}
    truth = {"a": np.array([[1, 0], [0, 0], [1, 0], [0, 0]], bool), "b": np.array([[0, 1]], bool)}
    assert snippet_outcomes(cas, truth, 0.5) == pytest.approx({"TP": 0.4, "FN": 0.2, "FP": 0.2, "TN": 0.2})
