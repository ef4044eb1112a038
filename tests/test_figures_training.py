"""Figures of runs and of the two branches: what they draw, and that no text lies on another or is cut off."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from test_figures import assert_legible

from wtal_lib import figures
from wtal_lib.figures import draw
from wtal_lib.studies import tables

RNG = np.random.default_rng(0)


pytestmark = pytest.mark.usefixtures("house_style")


def test_a_row_shows_its_seeds_their_mean_and_the_band_of_the_base() -> None:
    values = {"neither": [40.0, 42.0, 44.0], "full": [50.0, 51.0, 52.0], "one seed": [47.0]}
    ax = figures.dot_plot(values, base="full", spread=2.0)
    assert [text.get_text() for text in ax.texts] == ["42.0", "51.0", "47.0"]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == list(values)
    band = next(patch for patch in ax.patches if patch.get_width() == pytest.approx(4.0))
    assert band.get_x() == pytest.approx(49.0)
    assert_legible(ax)


def test_a_heading_stands_over_the_row_it_names() -> None:
    heads = {"CBP": "video labels alone", "full": "taught in turn"}
    ax = figures.dot_plot({"vanilla VLP": [20.0], "CBP": [30.0], "full": [40.0]}, heads=heads)
    place = {tick.get_text(): at for tick, at in zip(ax.get_yticklabels(), ax.get_yticks(), strict=True)}
    assert place["CBP"] < place["taught in turn"] < place["full"]
    bold = {tick.get_text() for tick in ax.get_yticklabels() if tick.get_fontweight() == "bold"}
    assert bold == set(heads.values())
    assert_legible(ax)


def test_no_band_is_drawn_where_no_spread_is_known() -> None:
    assert not figures.dot_plot({"full": [40.0]}, base="full", spread=float("nan")).patches


def test_the_main_figure_is_legible_with_every_line() -> None:
    figure, axes = plt.subplots(1, 2, figsize=(figures.FULL_WIDTH, 3.7), width_ratios=[1.1, 1])
    values = {line: (20 + 4 * i + RNG.normal(0, 1, 3)).tolist() for i, line in enumerate(tables.LINES)}
    figures.dot_plot(values, colours=figures.LINE_COLOURS, base="full", heads=tables.HEADS, spread=1, ax=axes[0])
    scores = {line: 60 - 8 * np.arange(7.0) + RNG.normal(0, 1, (3, 7)) for line in ("CBP", "VLP", "full", "supervised")}
    ax = figures.by_iou(scores, [i / 10 for i in range(1, 8)], figures.LINE_COLOURS, axes[1])
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "-", "--"]
    assert_legible(list(axes))
    assert figure is ax.figure


def curves() -> pd.DataFrame:
    rows = [
        (preset, seed, phase, updates, branch, score + seed)
        for preset, best in (("full", 120), ("late_fusion", 140))
        for seed in (0, 1)
        for branch in ("cbp", "vlp", "fused")
        for phase, updates, score in (("B", 100, 30.0), ("F", best, 40.0), ("B", 150, 38.0))
    ]
    return pd.DataFrame(rows, columns=["preset", "seed", "phase", "updates", "branch", "map"])


def test_the_last_point_is_a_disc_and_the_best_a_star() -> None:
    axes = figures.training_curves(curves(), 80)
    marks = {
        line.get_marker(): line.get_xydata()[0].tolist() for line in axes[2].lines[:3] if len(line.get_xdata()) == 1
    }
    assert marks == {"o": [150.0, 38.5], "*": [120.0, 40.5]}
    assert [ax.get_title("left") for ax in axes] == ["CBP branch", "VLP branch", "fused"]
    assert_legible(axes)


def test_the_cell_of_the_default_thresholds_is_framed() -> None:
    grid = pd.DataFrame([[50.0, 51.0], [52.0, np.nan]], index=[0.3, 0.4], columns=[0.7, 0.8])
    ax = figures.thresholds(grid, title="fused mAP (%)", default=(0.4, 0.7))
    assert [text.get_text() for text in ax.texts] == ["52.0", "50.0", "51.0"], "the lowest threshold at the bottom"
    frame = ax.patches[-1]
    assert 0 < frame.get_x() < frame.get_x() + frame.get_width() < 1
    assert 0 < frame.get_y() < frame.get_y() + frame.get_height() < 1
    assert ax.collections[0].get_clim() == (42, 62), "twenty points wide, centred on the default"
    assert_legible(ax)


def test_labels_are_drawn_for_both_kinds_and_both_students() -> None:
    rows = [
        ("full", 0, "B", updates, student, kind, 0.9, 0.5, 0.3, 0.25)
        for updates in (100, 200)
        for student in ("cbp", "vlp")
        for kind in ("foreground", "background")
    ]
    columns = ["preset", "seed", "phase", "updates", "student", "kind", "precision", "recall", "share", "there"]
    axes = figures.label_quality(pd.DataFrame(rows, columns=columns))
    assert [len(ax.lines) for ax in axes] == [6, 4, 4], "a guess of either kind in the first"
    assert [ax.lines[0].get_ydata()[0] for ax in axes] == pytest.approx([90, 50, 30])
    assert {line.get_color() for line in axes[1].lines} == {figures.COLOURS["cbp"], figures.COLOURS["vlp"]}
    assert_legible(axes)


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet12"])
@pytest.mark.parametrize("gaps", [(), (4.0, 2.0)])
def test_the_paper_is_marked_among_the_published(dataset: str, gaps: tuple[float, ...]) -> None:
    mean = tables.paper(dataset)["mean"]
    ours = [mean - gap for gap in gaps]
    ax = figures.published(tables.published(dataset), tables.PAPER[0], ours=ours)
    marked = next(text for text in ax.texts if text.get_fontweight() == "bold")
    assert marked.get_text() == f"Ju et al. {mean}"
    assert (f"ours {mean - 3:.1f}" in [text.get_text() for text in ax.texts]) == bool(ours)
    assert ax.get_ylabel().startswith("mAP" if ours else "published")
    assert_legible(ax)


def test_wrong_labels_are_hatched_and_unsure_snippets_blank() -> None:
    sure_t = np.array([0.1, 0.2, 0.5, 0.9, 0.8, 0.5])
    ax = figures.pseudo_labels(np.array([[3.0, 4.0]]), sure_t, sure_t < 0.4, sure_t > 0.7, 1.0, (0.4, 0.7), "cbp")
    spans = [
        (span.get_hatch(), path.get_extents().x0, path.get_extents().x1)
        for span in ax.collections
        for path in span.get_paths()
    ]
    assert (None, 0.0, 2.0) in spans, "background, right"
    assert (None, 3.0, 4.0) in spans, "foreground, right"
    assert ("//////", 4.0, 5.0) in spans, "foreground, wrong"
    assert_legible(ax)


def test_a_curve_runs_from_dashed_to_solid_as_the_branches_are_taught() -> None:
    level = np.linspace(0.1, 0.9, 9)
    stages = ("cbp before", "cbp after", "vanilla_vlp")
    frames = [pd.DataFrame({"stage": s, "level": level, "complete": 1 - level, "over": 1.2 - level}) for s in stages]
    ax = figures.completeness_curves(pd.concat(frames, ignore_index=True), {"cbp": stages[:2]}, stages[2:])
    drawn = [line for line in ax.lines if len(line.get_xdata()) > 1]
    assert [line.get_linestyle() for line in drawn] == ["--", "-", "-"]
    discs = [line.get_xydata()[0].tolist() for line in ax.lines if len(line.get_xdata()) == 1]
    assert discs == [pytest.approx([70, 50])] * 3
    assert_legible(ax)


def test_changes_are_drawn_from_hollow_to_full() -> None:
    when = {"before": np.array([0.3, 0.4]), "after": np.array([0.5, 0.6])}
    ax = figures.change_by_bin({"cbp": when, "vlp": when}, ["≤ 3", "> 3"], [10, 2000], "covered (%)")
    faces = [line.get_markerfacecolor() for line in ax.lines]
    assert faces[:4] == ["white", figures.COLOURS["cbp"], "white", figures.COLOURS["vlp"]]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["≤ 3\n10", "> 3\n2,000"]
    assert_legible(ax)


def test_of_many_classes_those_that_change_most_are_shown() -> None:
    was = {"covered by CBP (%)": {f"class {i}": 0.2 for i in range(60)}}
    now = {"covered by CBP (%)": {f"class {i}": 0.2 + (i - 30) / 100 for i in range(60)}}
    figure, ax = plt.subplots(figsize=(figures.FULL_WIDTH, 4))
    figures.change_by_class(was, now, rows=10, axes=[ax])
    shown = [f"class {i}" for i in (*range(59, 54, -1), *range(4, -1, -1))]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == shown
    assert [text.get_text() for text in ax.texts] == ["… 50 more classes …"]
    assert ax.get_xlabel() == "covered by CBP (%), better →"
    assert ax.get_title("left") == "better in 29 of 60 classes"
    assert ax.lines[-1].get_markerfacecolor() == "0.55", "worse is grey"
    figures.change_by_class(was, now, lower_is_better=list(was), axes=[plt.figure().add_subplot()])
    assert plt.gca().get_xlabel() == "← better, covered by CBP (%)"
    assert_legible(ax)
    assert figure.legends


def test_shares_of_who_finds_an_instance_fill_the_bar() -> None:
    of = {"both": 0.3, "CBP alone": 0.25, "VLP alone": 0.2, "neither": 0.25, "by chance": 0.22}
    ax = figures.instances_found({"before": of, "after": of})
    assert sum(patch.get_width() for patch in ax.patches) == pytest.approx(200)
    assert ax.collections[0].get_segments()[0][0, 0] == pytest.approx(78)
    assert_legible(ax)


EFFECTS = pd.DataFrame(
    {
        "row": ["better", "none", "worse", "one seed"],
        "difference": [3.0, 0.5, -2.0, 1.0],
        "low": [1.0, -1.0, -3.5, np.nan],
        "high": [5.0, 2.0, -0.5, np.nan],
    }
)


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


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_a_crowd_lie_on_no_other_and_on_no_point(seed: int) -> None:
    ax = plt.subplots(figsize=(6, 4))[1]
    points = np.random.default_rng(seed).normal(size=(25, 2)).tolist()
    ax.plot(*np.transpose(points), "o", ms=4)
    labels = draw.place_labels(ax, [(x, y) for x, y in points], {i: f"method {i}" for i in range(0, 25, 3)})
    assert_legible(ax)
    boxes = [label.get_window_extent() for label in labels]
    assert not any(box.contains(*point) for box in boxes for point in ax.transData.transform(points))
