"""Resampling: overlap-weighted means when coarser, the row in the middle when finer, the last row beyond the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wtal_lib.data.resampling import resampled
from wtal_lib.data.segments import Grid


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
