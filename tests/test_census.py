"""Counts by hand, their properties, and the figures that show them."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from wtal_lib import figures
from wtal_lib.data import census
from wtal_lib.data.annotations import Annotations, Video, annotations_from, find_annotations
from wtal_lib.simulate.knobs import Simulator
from wtal_lib.simulate.structure import drawn_annotations


def video(name: str, subset: str, duration: float, *instances: tuple[str, float, float]) -> Video:
    labels = tuple(label for label, _, _ in instances)
    segments = np.array([segment for _, *segment in instances], dtype=np.float64).reshape(-1, 2)
    return Video(name, subset, duration, tuple(dict.fromkeys(labels)), labels, segments, np.zeros((0, 2)))


@pytest.fixture
def small() -> Annotations:
    """Two videos: one with three instances, of which two overlap and one runs past the end; one with none."""
    busy = video("busy", "train", 20.0, ("b", 10.0, 14.0), ("a", 2.0, 6.0), ("b", 4.0, 8.0), ("a", 18.0, 30.0))
    return Annotations("thumos14", ("a", "b", "c"), {"busy": busy, "idle": video("idle", "test", 5.0)}, "w-talc", None)


pytestmark = pytest.mark.usefixtures("house_style")


def test_a_gap_reaches_back_to_the_last_stop(small: Annotations) -> None:
    frame = census.instances(small)
    assert frame["start"].tolist() == [2.0, 4.0, 10.0, 18.0]
    assert frame["class"].tolist() == ["a", "b", "b", "a"]
    np.testing.assert_array_equal(frame["gap"], [np.nan, 0.0, 2.0, 4.0])


def test_foreground_is_the_union_inside_the_video(small: Annotations) -> None:
    frame = census.videos(small, {"busy": 30}, step=0.5)
    assert frame["foreground"].tolist() == [(6 + 4 + 2) / 20, 0.0]
    assert frame["covered"].tolist() == [15.0, 0.0]
    assert frame["classes"].tolist() == [2, 0]


def test_without_a_duration_the_last_stop_ends_the_video() -> None:
    unknown = Annotations("thumos14", ("a",), {"v": video("v", "test", np.nan, ("a", 5.0, 10.0))}, "cola", None)
    assert census.videos(unknown)["foreground"].tolist() == [0.5]


def test_classes_are_counted_by_subset(small: Annotations) -> None:
    frame = census.by_class(census.instances(small), small.classes).set_index("class")
    assert frame["train_instances"].tolist() == [2, 2, 0]
    assert frame["train_videos"].tolist() == [1, 1, 0]
    assert frame["test_instances"].tolist() == [0, 0, 0]
    assert frame.loc["a", "length_median"] == 8.0
    assert np.isnan(frame.loc["c", "length_median"])


def test_nothing_is_lost_in_the_counts(shared_data: Path) -> None:
    annotations = find_annotations(shared_data, "thumos14")
    segments, table = census.instances(annotations), census.videos(annotations)
    classes = census.by_class(segments, annotations.classes)
    assert (len(table), len(segments)) == (412, 6365)
    assert (classes["train_instances"].sum(), classes["test_instances"].sum()) == (3007, 3358)
    assert table["instances"].sum() == len(segments)
    assert table["foreground"].between(0, 1).all()


def test_every_known_mismatch_of_thumos14_is_counted(shared_data: Path) -> None:
    frame = census.mismatches(find_annotations(shared_data, "thumos14")).set_index("what")
    assert frame.loc["videos whose labels are not their instances'", "found"] == 28
    assert frame.loc["videos without a label", "first"] == "video_test_0000270"
    assert frame.loc["instances that end after their video", "found"] >= 22


def test_a_mismatch_that_was_not_found_is_said_to_be_none(small: Annotations) -> None:
    frame = census.mismatches(small).set_index("what")["found"]
    assert frame["instances that end after their video"] == 1
    assert frame["instances without length"] == 0


def test_videos_of_unknown_duration_can_be_drawn(shared_data: Path) -> None:
    cola = annotations_from(shared_data / "thumos14" / "cola" / "gt.json", "thumos14")
    table = census.videos(cola, dict.fromkeys(cola.videos, 10))
    for axes in (figures.videos(table), figures.feature_lengths(table, 0.64)):
        axes[0].figure.canvas.draw()


def test_samples_are_apart_by_the_largest_step_between_their_curves() -> None:
    assert census.apart(np.array([1.0, 2.0, 3.0, np.nan]), np.array([3.0, 1.0, 2.0])) == 0.0
    assert census.apart(np.array([1.0, 2.0]), np.array([3.0])) == 1.0
    assert census.apart(np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 5.0])) == 0.5


def test_an_empty_sample_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="got 2 and 0 finite values"):
        census.apart(np.array([1.0, 2.0]), np.array([np.nan]))


@pytest.mark.parametrize(("dataset", "rows"), [("thumos14", 20), ("activitynet12", 30)])
def test_a_class_has_a_row_of_its_own_and_of_many_the_longest_and_shortest(dataset: str, rows: int) -> None:
    drawn = drawn_annotations(Simulator(dataset=dataset, profile="ci"))
    table = census.by_class(census.instances(drawn), drawn.classes).sort_values("length_median", kind="stable")
    counts, lengths = figures.classes(table)
    shown = {label.get_text() for label in counts.get_yticklabels()}
    assert shown == {*table["class"].head(rows // 2), *table["class"].tail(rows // 2)}
    left_out = len(drawn.classes) - rows
    assert [text.get_text() for text in counts.texts] == ([f"… {left_out} more classes …"] if left_out else [])
    assert len(lengths.collections[0].get_segments()) == rows


def test_figures_draw_into_the_axes_they_are_given(small: Annotations) -> None:
    table = census.videos(small, {"busy": 30}, step=0.64)
    own = list(plt.subplots(1, 3)[1])
    assert figures.videos(table, own) == own
    assert figures.feature_lengths(table, 0.64, own[:2]) == own[:2]
    assert figures.mismatches(census.mismatches(small), own[2]) is own[2]
    assert own[0].get_xlabel().endswith("(s)")


def test_real_and_drawn_stand_in_the_same_axes() -> None:
    one, two = (drawn_annotations(Simulator(profile="ci", seed=seed)) for seed in (0, 1))
    table = census.quantiles({"real": census.samples(one), "drawn": census.samples(two)})
    axes = figures.structures(table, dict.fromkeys(census.QUANTITIES, 0.25))
    assert [len(ax.lines) for ax in axes] == [2] * 5
    assert {ax.get_title(loc="left") for ax in axes} == {"0.25 apart"}
    both = pd.concat([census.timelines(one).assign(origin="real"), census.timelines(two).assign(origin="drawn")])
    assert len({ax.get_xlim() for ax in figures.timelines(both)}) == 1


def test_quantiles_run_from_the_least_value_to_the_greatest(small: Annotations) -> None:
    table = census.quantiles({"real": census.samples(small)}, steps=2)
    lengths = table[table["quantity"] == "length"]
    assert lengths["share"].tolist() == [0.0, 0.5, 1.0]
    assert lengths["value"].tolist() == [4.0, 4.0, 12.0]
    assert table["value"].notna().all()


def test_timelines_run_from_short_videos_to_long_ones() -> None:
    table = census.timelines(drawn_annotations(Simulator(profile="ci")), count=10)
    ranks = table.drop_duplicates("rank")
    assert ranks["rank"].tolist() == list(range(10))
    assert ranks["duration"].is_monotonic_increasing
    assert (table["stop"] > table["start"]).all()


def test_no_kind_of_mismatch_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="at least one kind"):
        figures.mismatches(pd.DataFrame())


def test_a_table_without_its_columns_is_refused() -> None:
    with pytest.raises(KeyError):
        figures.videos(pd.DataFrame({"video": ["a"]}))
