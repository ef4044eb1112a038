"""Average precision against the plainest version of it, on random tables full of ties, duplicates and holes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import CLASSES, VIDEOS, Row, found, plain_ap, truth

from wtal_lib.data.segments import Grid
from wtal_lib.score.diagnose import KINDS, error_kinds
from wtal_lib.score.metrics import average_precision, match

IOU = (0.1, 0.3, 0.5, 1.0)
HALVES = st.integers(0, 12).map(lambda i: i / 2)
SEGMENTS = st.tuples(HALVES, HALVES).map(lambda pair: (min(pair), max(pair)))  # half of a second: many equal tIoU
PLACES = st.tuples(st.integers(0, 2), st.integers(0, 1))  # the last video and the last class stay empty
INSTANCES = st.lists(st.tuples(PLACES, SEGMENTS).map(lambda row: (*row[0], *row[1])), max_size=12)
SCORES = st.sampled_from((0.1, 0.2, 0.5))
ROWS = st.lists(st.tuples(PLACES, SEGMENTS, SCORES).map(lambda row: (*row[0], *row[1], row[2])), max_size=25)


def random_tables(rng: np.random.Generator) -> tuple[list[Row], list[tuple]]:
    """Rows whose times and scores come from few values; some instances repeat, some detections copy an instance."""
    instances = [
        (*map(int, rng.integers((2, 2))), *sorted(rng.integers(0, 9, 2) / 2.0)) for _ in range(rng.integers(14))
    ]
    instances += instances[: rng.integers(3)]
    rows = [(*map(int, rng.integers((4, 3))), *sorted(rng.integers(0, 9, 2) / 2.0)) for _ in range(rng.integers(30))]
    rows += [instances[i] for i in rng.integers(len(instances), size=4)] if instances else []
    scored = [(*row, float(rng.integers(1, 6)) / 8) for row in rows]
    return scored + scored[: rng.integers(4)], instances


@pytest.mark.parametrize("ties", ["argsort", "latest"])
def test_thousands_of_random_tables_agree_with_the_plain_version(ties: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        rows, instances = random_tables(rng)
        ap = average_precision(found(rows), truth(instances), IOU, equal_tiou=ties)
        plain = [[plain_ap(rows, instances, label, iou, ties) for iou in IOU] for label in range(len(CLASSES))]
        np.testing.assert_allclose(ap, plain, atol=1e-12)


def test_many_equal_instances_in_one_video_agree_with_the_plain_version() -> None:
    rng = np.random.default_rng(1)
    instances = [(0, 0, float(2 * i), float(2 * i + 1)) for i in range(70)]  # numpy sorts so many in an unstable way
    for _ in range(20):
        start = rng.integers(0, 120, 60)
        rows = [
            (0, 0, float(s), float(s + n), float(rng.random()))
            for s, n in zip(start, rng.integers(1, 20, 60), strict=True)
        ]
        for ties in ("argsort", "latest"):
            plain = [plain_ap(rows, instances, 0, iou, ties) for iou in IOU]
            ap = average_precision(found(rows), truth(instances), IOU, ties)[0]
            np.testing.assert_allclose(ap, plain, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(ROWS, INSTANCES, st.randoms())
def test_the_order_of_detections_changes_nothing(rows: list[Row], instances: list[tuple], random) -> None:
    before = average_precision(found(rows), truth(instances), IOU)
    random.shuffle(rows)
    np.testing.assert_array_equal(average_precision(found(rows), truth(instances), IOU), before)


@settings(max_examples=50, deadline=None)
@given(ROWS, INSTANCES, PLACES, SEGMENTS)
def test_a_detection_below_all_scores_raises_no_other_class(rows, instances, place, segment) -> None:
    before = average_precision(found(rows), truth(instances), IOU)
    after = average_precision(found([*rows, (*place, *segment, 0.01)]), truth(instances), IOU)
    others = [label for label in range(len(CLASSES)) if label != place[1]]
    np.testing.assert_array_equal(after[others], before[others])
    taken, still = (
        match(found(table), truth(instances), IOU).finder_km for table in (rows, [*rows, (*place, *segment, 0.01)])
    )
    assert (still[taken >= 0] == taken[taken >= 0]).all()


@settings(max_examples=50, deadline=None)
@given(ROWS, INSTANCES)
def test_a_false_positive_below_all_scores_changes_nothing(rows, instances) -> None:
    missed = [*rows, (3, 0, 0.0, 9.0, 0.01), (0, 1, 100.0, 109.0, 0.01)]
    before = average_precision(found(rows), truth(instances), IOU)
    np.testing.assert_array_equal(average_precision(found(missed), truth(instances), IOU), before)


@settings(max_examples=50, deadline=None)
@given(INSTANCES, SCORES)
def test_a_perfect_prediction_scores_one(instances: list[tuple], score: float) -> None:
    long = [row for row in instances if row[3] > row[2]]
    ap = average_precision(found([(*row, score) for row in long]), truth(long), IOU)
    present = np.isin(np.arange(len(CLASSES)), [row[1] for row in long])
    assert (ap[present] == 1).all()
    assert np.isnan(ap[~present]).all()


@settings(max_examples=50, deadline=None)
@given(ROWS, INSTANCES, st.integers(-1000, 1000), st.integers(-8, 8))
def test_shifting_and_scaling_time_changes_nothing(rows, instances, shift: int, power: int) -> None:
    def moved(time: float) -> float:
        return (time + shift) * 2.0**power  # exact in floating point, so that ties stay ties

    before = average_precision(found(rows), truth(instances), IOU)
    rows = [(video, label, moved(start), moved(stop), score) for video, label, start, stop, score in rows]
    instances = [(video, label, moved(start), moved(stop)) for video, label, start, stop in instances]
    np.testing.assert_array_equal(average_precision(found(rows), truth(instances), IOU), before)


@settings(max_examples=50, deadline=None)
@given(ROWS, INSTANCES, st.lists(st.integers(0, 3), min_size=4, max_size=4))
def test_a_weighted_video_counts_like_as_many_copies(rows, instances, weight: list[int]) -> None:
    spread = [
        (*row[:4], row[4] + i / 1000) for i, row in enumerate(rows)
    ]  # copies of other videos may not come between
    weighted = match(found(spread), truth(instances), IOU).average_precision(np.array([weight]))[0]
    names = [(video, copy) for video, count in enumerate(weight) for copy in range(count)]
    copied = [(at, *row[1:]) for at, (video, _) in enumerate(names) for row in spread if row[0] == video]
    true = [(at, *row[1:]) for at, (video, _) in enumerate(names) for row in instances if row[0] == video]
    videos = tuple(f"{VIDEOS[video]}{copy}" for video, copy in names)
    replaced = truth(true)
    object.__setattr__(replaced, "videos", videos)
    np.testing.assert_allclose(average_precision(found(copied, videos), replaced, IOU), weighted, atol=1e-12)


def test_a_grid_counts_in_its_snippets() -> None:
    table, exact = found([(0, 0, 0.64, 1.92, 0.9)]), truth([(0, 0, 0.6, 2.0)])
    rounded = replace(exact, grid=Grid(25, 16))
    for instances, same in ((exact, 0), (rounded, 1)):
        assert average_precision(table, instances, [1.0])[0, 0] == same
        assert (error_kinds(table, instances, [1.0])[0, 0] == KINDS.index("true positive")) == same
