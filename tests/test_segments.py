"""Segments and the snippet grid: properties, numbers by hand, refusals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtal_lib.data.segments import I3D_GRID, Grid, overlap, resampled, rounded, runs, tiou, union

seconds = st.floats(0, 500, allow_nan=False, width=32)
segments = st.lists(st.tuples(seconds, seconds).map(sorted), max_size=8).map(
    lambda rows: np.array(rows, dtype=np.float64).reshape(-1, 2)
)


def test_touching_segments_do_not_overlap():
    assert tiou(np.array([[0.0, 1.0]]), np.array([[1.0, 2.0]])) == 0


def test_half_covered_segment_has_tiou_one_third():
    assert tiou(np.array([[0.0, 2.0]]), np.array([[1.0, 3.0]])) == pytest.approx(1 / 3)
    assert overlap(np.array([[0.0, 2.0]]), np.array([[1.0, 3.0]])) == 1


def test_zero_length_segments_have_tiou_zero_even_with_themselves():
    point = np.array([[3.0, 3.0]])
    assert tiou(point, point) == 0


@given(segments, segments)
def test_tiou_is_symmetric_and_lies_between_zero_and_one(a, b):
    value = tiou(a, b)
    assert np.array_equal(value, tiou(b, a).T)
    assert ((value >= 0) & (value <= 1)).all()


@given(segments)
def test_union_is_disjoint_sorted_and_covers_the_same_time(rows):
    joined = union(rows)
    assert (joined[1:, 0] > joined[:-1, 1]).all()
    probe = np.linspace(0, 500, 1999) + 0.1234
    inside = ((probe[:, None] >= rows[:, 0]) & (probe[:, None] < rows[:, 1])).any(axis=1)
    covered = ((probe[:, None] >= joined[:, 0]) & (probe[:, None] < joined[:, 1])).any(axis=1)
    assert np.array_equal(inside, covered)


def test_runs_keep_single_snippets_at_both_ends():
    assert runs(np.array([True, False, True, True, False, True])).tolist() == [[0, 1], [2, 4], [5, 6]]
    assert runs(np.zeros(3, dtype=bool)).shape == (0, 2)


def test_i3d_snippet_lasts_064_seconds_and_the_published_example_has_52_rows():
    assert I3D_GRID.step == pytest.approx(0.64)
    assert I3D_GRID.count(33.82) == 52


@given(st.integers(0, 5000), st.sampled_from([I3D_GRID, Grid(30, 4), Grid(10, 1), Grid(29.97, 16)]))
def test_seconds_and_position_are_inverse(i, grid):
    assert grid.position(grid.seconds(i)) == pytest.approx(i)


def test_mask_takes_snippets_at_least_half_inside():
    # snippets end at 0.64, 1.28, 1.92, 2.56; [1, 2) covers 0.28 s, 0.64 s and 0.08 s of the last three
    assert I3D_GRID.mask(np.array([[1.0, 2.0]]), 4).tolist() == [False, False, True, False]
    assert I3D_GRID.coverage(np.array([[1.0, 2.0]]), 4) == pytest.approx([0, 0.28 / 0.64, 1, 0.08 / 0.64])


def test_coverage_counts_overlapping_annotations_once():
    assert I3D_GRID.coverage(np.array([[0.0, 0.64], [0.0, 0.64]]), 1) == pytest.approx([1.0])


def test_rounding_to_snippets_is_pythons_own():
    rows = np.random.default_rng(0).uniform(0, 200, (100, 2))
    expected = [[round(t * 25 / 16) * 16 / 25 for t in row] for row in rows]
    assert rounded(rows) == pytest.approx(np.array(expected))


@pytest.mark.parametrize(("fps", "stride"), [(0, 16), (25, -1), (float("nan"), 16)])
def test_a_grid_without_positive_rate_is_refused(fps, stride):
    with pytest.raises(ValueError, match="must be a positive number"):
        Grid(fps, stride)


def test_two_rows_of_half_the_length_make_their_mean() -> None:
    rows = np.array([[1.0], [3.0], [5.0], [9.0]], np.float32)
    coarse = resampled(rows, Grid(4, 1), Grid(2, 1), 2)
    np.testing.assert_array_equal(coarse, [[2], [7]])
    np.testing.assert_array_equal(resampled(rows, Grid(3, 1), Grid(2, 1), 2), np.float32([[5 / 3], [13 / 3]]))
    np.testing.assert_array_equal(resampled(coarse, Grid(2, 1), Grid(4, 1), 4), [[2], [2], [7], [7]])
    np.testing.assert_array_equal(resampled(rows, Grid(4, 1), Grid(4, 1), 6)[:, 0], [1, 3, 5, 9, 9, 9])
    with pytest.raises(ValueError, match="at least one row"):
        resampled(rows[:0], Grid(4, 1), Grid(2, 1), 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.floats(0.2, 20), st.floats(0.2, 20), st.integers(1, 60))
def test_resampling_keeps_what_is_constant_and_stays_within_range(
    count: int, source: float, target: float, out: int
) -> None:
    rows = np.random.default_rng(count).random((count, 2), np.float32)
    rows[:, 1] = 0.5
    got = resampled(rows, Grid(source, 1), Grid(target, 1), out)
    assert got.shape == (out, 2)
    np.testing.assert_allclose(got[:, 1], 0.5, rtol=1e-6)
    assert rows[:, 0].min() - 1e-6 <= got[:, 0].min() <= got[:, 0].max() <= rows[:, 0].max() + 1e-6
