"""Figures of differences, rules and outcomes: what they draw, what they refuse, and that their texts keep apart."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_figures import assert_legible

from wtal_lib import figures
from wtal_lib.figures import draw


@pytest.fixture(autouse=True)
def _house_style() -> Iterator[None]:
    mpl.use("Agg")
    with mpl.rc_context():
        figures.theme()
        yield
    plt.close("all")


EFFECTS = pd.DataFrame(
    {
        "row": ["better", "none", "worse", "one seed"],
        "difference": [3.0, 0.5, -2.0, 1.0],
        "low": [1.0, -1.0, -3.5, np.nan],
        "high": [5.0, 2.0, -0.5, np.nan],
    }
)
GAIN = pd.DataFrame({"shared": [1.0, 0.0], "difference": [2.0, 8.0], "low": [0.5, 7.0], "high": [3.0, 9.0]})
RULES = pd.DataFrame(
    [
        (dataset, confidence, labels, target, 40.0 + seed)
        for dataset in ("THUMOS14", "ActivityNet1.2")
        for confidence in ("own word", "mean of both")
        for labels in ("one kind", "both kinds")
        for target in ("activation", "attention")
        for seed in (0, 1)
    ],
    columns=["dataset", "confidence", "labels", "target", "map"],
)
RATES = pd.DataFrame({"row": ["CBP", "VLP"], "TP": [0.1, 0.3], "FP": [0.05, 0.4], "TN": [0.55, 0.2], "FN": [0.3, 0.1]})


def test_intervals_stand_in_the_order_given_and_are_full_beyond_zero() -> None:
    ax = figures.intervals(EFFECTS)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == EFFECTS["row"].tolist()
    faces = [line.get_markerfacecolor() for line in ax.lines if line.get_marker() == "o"]
    assert [face == "white" for face in faces] == [False, True, False, True]
    assert ax.texts[0].get_text() == "+3.0  [+1.0, +5.0]"
    assert ax.texts[3].get_text() == "+1.0  [unknown]"
    assert ax.collections[0].get_segments()[0][:, 0].tolist() == [1, 5]
    assert_legible(ax)


def test_an_interval_that_does_not_hold_its_difference_is_refused() -> None:
    with pytest.raises(ValueError, match=r"low ≤ difference ≤ high; got .*'better'"):
        figures.intervals(EFFECTS.assign(low=4.0))
    with pytest.raises(ValueError, match="columns row, difference, low, high; got 4 rows of row"):
        figures.intervals(EFFECTS[["row"]])
    with pytest.raises(ValueError, match="got 0 rows"):
        figures.intervals(EFFECTS.head(0))


def test_the_gain_runs_from_left_to_right_with_its_band_and_the_zero_line_in_view() -> None:
    ax = figures.gain_by_sharing(GAIN)
    assert ax.lines[1].get_xydata().tolist() == [[0, 8], [1, 2]]
    band = ax.collections[0].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == (0.5, 9)
    assert ax.get_ylim()[0] <= 0
    both = pd.concat([GAIN.assign(dataset="THUMOS14"), (GAIN - [0, 4, 4, 4]).assign(dataset="ActivityNet1.2")])
    ax = figures.gain_by_sharing(both)
    assert {text.get_text() for text in ax.texts} == {"THUMOS14", "ActivityNet1.2"}
    assert_legible(ax)


def test_a_knob_in_percent_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 100: a share, not a percentage"):
        figures.gain_by_sharing(GAIN.assign(shared=[100.0, 0.0]))


def test_a_factorial_has_a_panel_a_dataset_and_the_mean_of_the_seeds_in_each_cell() -> None:
    axes = figures.factorial(RULES, {"THUMOS14": 38.0})
    assert [ax.get_title("left") for ax in axes] == ["THUMOS14", "ActivityNet1.2"]
    assert [text.get_text() for text in axes[0].texts] == ["40.5"] * 8
    assert [ax.collections[0].get_clim() for ax in axes] == [(33, 43), (35.5, 45.5)]
    assert axes[0].get_yticklabels()[0].get_text() == "own word: one kind"
    assert_legible(axes)
    with pytest.raises(ValueError, match="columns dataset, confidence, labels, target, map"):
        figures.factorial(RULES.drop(columns="target"))


def test_errors_meet_at_the_line_between_action_and_background() -> None:
    ax = figures.rates(RATES)
    ends = {bars.get_label(): [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] for bars in ax.containers}
    assert list(ends) == ["TP", "FN", "FP", "TN"]
    assert ends["FN"][0] == pytest.approx((10, 40))
    assert ends["FP"][1] == pytest.approx((40, 80))
    assert ends["TN"][1][1] == pytest.approx(100)
    assert [segment[0, 0] for segment in ax.collections[0].get_segments()] == pytest.approx([40, 40])
    assert_legible(ax)


def test_shares_that_do_not_add_to_one_are_refused() -> None:
    with pytest.raises(ValueError, match=r"add to 1; those of 'VLP' add to 1\.2"):
        figures.rates(RATES.assign(TN=[0.55, 0.4]))
    with pytest.raises(ValueError, match="columns row, TP, FN, FP, TN"):
        figures.rates(RATES.drop(columns="TN"))


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_a_crowd_lie_on_no_other_and_on_no_point(seed: int) -> None:
    ax = plt.subplots(figsize=(6, 4))[1]
    points = np.random.default_rng(seed).normal(size=(25, 2)).tolist()
    ax.plot(*np.transpose(points), "o", ms=4)
    labels = draw.place_labels(ax, [(x, y) for x, y in points], {i: f"method {i}" for i in range(0, 25, 3)})
    assert_legible(ax)
    boxes = [label.get_window_extent() for label in labels]
    assert not any(box.contains(*point) for box in boxes for point in ax.transData.transform(points))
