"""Figures: what they draw, that they give their axes back, and that no text lies on another or is cut off."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from wtal_lib import figures
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import Detections
from wtal_lib.score.diagnose import KINDS

TENTHS = [0.1, 0.3, 0.5, 0.7]


pytestmark = pytest.mark.usefixtures("house_style")


def written(ax: Axes) -> list[Text]:
    """All text of some axes that is drawn; ticks beyond the limits are not."""
    texts = [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts, *(ax.get_legend().texts if ax.get_legend() else [])]
    for axis in (ax.xaxis, ax.yaxis):
        low, high = sorted(axis.get_view_interval())
        texts += [
            tick.label1
            for tick in axis.get_major_ticks()
            if low <= tick.get_loc() <= high and tick.label1.get_visible()
        ]
    return [text for text in texts if text.get_text().strip()]


def assert_legible(axes: Axes | Sequence[Axes]) -> None:
    """Every text lies inside the figure, and none on another."""
    figure = (axes if isinstance(axes, Axes) else axes[0]).figure
    figure.canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for ax in figure.axes for text in written(ax)]
    for text, box in boxes:
        inside = figure.bbox.padded(1)
        assert inside.x0 <= box.x0 <= box.x1 <= inside.x1, f"{text!r} is cut off"
        assert inside.y0 <= box.y0 <= box.y1 <= inside.y1, f"{text!r} is cut off"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.shrunk(0.96, 0.7).overlaps(b.shrunk(0.96, 0.7)), f"{one!r} lies on {other!r}"


def detections(*rows) -> Detections:
    """Rows of (start, stop, score) of one class in one video."""
    start, stop, score = np.array(rows, dtype=float).T
    none = np.zeros(len(rows), dtype=int)
    return Detections(none, none, np.stack([start, stop], axis=1), score, ("v",), ("c",))


def test_every_branch_has_a_colour_of_its_own_and_a_name():
    assert len(set(figures.COLOURS.values())) == len(figures.COLOURS) == len(figures.LABELS)
    assert figures.colour("cbp") == "#0072B2"
    assert figures.colour("something else") not in figures.COLOURS.values()


def test_the_timeline_draws_truth_curves_and_detections_in_seconds_into_the_axes_given():
    ax = plt.subplots()[1]
    found = {"cbp": detections((0, 10, 0.9), (30, 32, 0.1)), "fused": detections((0, 20, 0.5))}
    given = figures.timeline(np.array([[2.0, 12.0]]), {"cbp": np.linspace(0, 1, 50)}, 0.64, found, ax)
    assert given is ax
    assert ax.get_xlim() == (0, 32)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["ground truth", "CBP", "fused"]
    truth = ax.collections[0].get_paths()[0].get_extents()
    assert (truth.x0, truth.x1) == (2, 12)
    assert {text.get_text() for text in ax.texts} == {"0.90", "0.50"}
    assert_legible(figures.timeline(np.empty((0, 2)), {"vlp": np.zeros(9), "cbp": np.ones(9)}, 0.64))


def test_protocols_write_the_largest_distance_from_the_first():
    map_pk = np.array([[0.5, 0.4, 0.3, 0.2], [0.51, 0.4, 0.3, 0.2], [0.5, 0.4, 0.255, 0.2]])
    means, gains = figures.protocols(map_pk, TENTHS, ["x-a", "x-a-ambiguous", "x-b"])
    assert [label.get_text() for label in means.get_yticklabels()] == ["a", "a-ambiguous", "b"]
    assert [text.get_text() for text in gains.texts] == ["-4.5"]
    assert len({line.get_color() for line in gains.lines}) == 2  # the ambiguous filter shares its protocol's colour


def test_a_small_difference_between_protocols_looks_small():
    means, gains = figures.protocols(np.array([[0.5, 0.4], [0.501, 0.4]]), [0.5, 0.7], ["x-a", "x-b"])
    assert np.ptp(means.get_xlim()) >= 2
    assert gains.get_ylim() == (-1, 1)


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet12"])
def test_protocols_and_classes_of_each_dataset_are_legible(dataset):
    rng, iou = np.random.default_rng(0), list(get_dataset(dataset).protocols[0].iou)
    names = sorted(one.name for one in get_dataset(dataset).protocols)
    assert_legible(figures.protocols(np.sort(rng.random((len(names), len(iou)))), iou, names))
    ap_ck = np.sort(rng.random((len(get_dataset(dataset).classes), 4)))[:, ::-1]
    assert_legible(figures.class_ap(ap_ck, TENTHS, get_dataset(dataset).classes))


def test_classes_run_from_best_to_worst_and_those_without_instances_are_left_out():
    ap_ck = np.array([[0.4, 0.2], [np.nan, np.nan], [0.8, 0.6], [0.1, 0.0], [0.6, 0.4]])
    names = [label.get_text() for label in figures.class_ap(ap_ck, [0.3, 0.5], "abcde").get_yticklabels()]
    assert names == ["mean of 4", "c", "e", "a", "d"]
    ax = figures.class_ap(ap_ck, [0.3, 0.5], "abcde", rows=2)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["mean of 4", "c", "d"]
    assert [text.get_text() for text in ax.texts] == ["… 2 more classes …"]
    assert [bar.get_width() for bar in ax.containers[0]] == pytest.approx([47.5, 80, 10])


def test_kinds_fill_every_bar_and_gains_run_from_the_costliest():
    share = np.random.default_rng(0).dirichlet(np.ones(6), 10)
    axes = plt.subplots(1, 2, figsize=(7, 2.9), width_ratios=[1.5, 1])[1]
    kinds = figures.error_kinds(share, KINDS, axes[0])
    tops = [bar.get_y() + bar.get_height() for bar in kinds.containers[-1]]
    assert tops == pytest.approx([100] * 10)
    gains = figures.error_removal_gain({"confusion": 0.001, "miss": 0.132, "background": 0.05}, axes[1])
    assert [text.get_text() for text in gains.texts] == ["+13.2", "+5.0", "+0.1"]
    assert_legible(list(axes))


def test_verdicts_stand_in_rank_order_below_the_truth():
    segment = np.array([[0.0, 5], [20, 30], [2, 4]])
    verdict = ["true positive", "background", "double detection"]
    ax = figures.verdicts(np.array([[0.0, 6]]), segment, verdict, np.array([[22.0, 40]]))
    drawn = {bars.get_label(): bars[0].get_y() for bars in ax.containers}
    assert sorted(drawn, key=drawn.get) == verdict
    assert_legible(ax)


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet12"])
def test_bins_of_each_dataset_are_legible_side_by_side(dataset):
    rng, titles = np.random.default_rng(0), ("length (s)", "instances of its class", "share of the video (%)")
    bins = [figures.bin_names(edges, 100 if max(edges) < 1 else 1) for edges in get_dataset(dataset).bins.values()]
    rates = {
        title: (names, rng.random(len(names)), rng.integers(0, 3000, len(names)))
        for title, names in zip(titles, bins, strict=True)
    }
    assert_legible(figures.miss_rates(rates))
    value, of_bin = rng.random(400), rng.integers(0, 5, 400)
    assert_legible(figures.quantiles_by_bin({"cbp": value, "vlp": value}, of_bin, bins[0], "instance covered (%)"))
    assert_legible(figures.detection_parts(rng.dirichlet(np.ones(3), 5), rng.integers(1, 3000, 5), bins[0]))


def test_bin_names_by_hand():
    assert figures.bin_names((3, 6, 12)) == ["≤ 3", "3–6", "6–12", "> 12"]
    assert figures.bin_names((0.02, 0.04), scale=100) == ["≤ 2", "2–4", "> 4"]


def test_the_spread_shows_medians_and_leaves_nan_out():
    value = np.array([0.1, 0.2, 0.9, np.nan, 0.5])
    ax = figures.quantiles_by_bin({"detections": value}, np.array([0, 0, 0, 0, 2]), ["a", "b", "c"], "covered (%)")
    medians = next(line for line in ax.lines if line.get_marker() == "o").get_ydata()
    assert medians == pytest.approx([20, np.nan, 50], nan_ok=True)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a\n3", "b\n0", "c\n1"]


def test_misses_carry_wilsons_interval_and_the_share_of_all():
    rates = {"length (s)": (["a", "b", "c"], np.array([0.5, np.nan, 1.0]), np.array([10, 0, 30]))}
    ax = figures.miss_rates(rates)[0]
    low, high = ax.collections[0].get_segments()[0][:, 1]
    assert (low, high) == pytest.approx((23.66, 76.34), abs=0.01)
    assert ax.lines[0].get_ydata()[0] == pytest.approx(87.5)
    assert ax.texts[-1].get_text() == "all\n88 %"


def test_axes_that_do_not_fit_the_numbers_are_refused():
    axes = list(plt.subplots(1, 2)[1])
    with pytest.raises(ValueError, match=r"longer|shorter"):
        figures.miss_rates({"length (s)": (["a"], np.ones(1), np.ones(1, int))}, axes)
    with pytest.raises(ValueError, match=r"longer|shorter"):
        figures.protocols(np.ones((1, 4)), TENTHS, ["a", "b"])
