"""Figures of rules, shared difficulty and the paper's Figure 1: what they draw, and that their texts keep apart."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from test_figures import assert_legible

from wtal_lib import figures

pytestmark = pytest.mark.usefixtures("house_style")


def test_each_rule_has_a_cell_with_the_mean_of_its_seeds_and_colours_centred_on_the_base() -> None:
    rows = [
        (word, kinds, into, 40.0 + seed)
        for word in ("teacher", "mean")
        for kinds in ("both", "one")
        for into in ("activation", "attention")
        for seed in (0, 1)
    ]
    ax = figures.factorial(pd.DataFrame(rows, columns=["word", "kinds", "into", "mean"]), 38.0)
    assert [text.get_text() for text in ax.texts] == ["40.5"] * 8
    assert ax.collections[0].get_clim() == (33, 43)
    assert [tick.get_text() for tick in ax.get_yticklabels()][:2] == ["teacher: both", "teacher: one"]
    assert_legible(ax)


def test_the_gain_is_the_mean_over_seeds_at_each_share_with_zero_in_view() -> None:
    table = pd.DataFrame({"shared": [0.0, 0.0, 1.0], "seed": [0, 1, 0], "gain": [8.0, 6.0, 2.0]})
    ax = figures.gain_by_sharing(table)
    line = next(line for line in ax.lines if line.get_marker() == "o")
    assert line.get_xydata().tolist() == [[0, 7], [1, 2]]
    assert ax.get_ylim()[0] <= 0
    assert_legible(ax)


def test_errors_meet_at_the_line_between_action_and_background() -> None:
    shares = pd.DataFrame({"row": ["CBP", "VLP"], "TP": [0.1, 0.3], "FN": [0.3, 0.1], "FP": [0.05, 0.4]})
    shares["TN"] = 1 - shares[["TP", "FN", "FP"]].sum(axis=1)
    ax = figures.outcomes(shares)
    ends = {bars.get_label(): [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in bars] for bars in ax.containers}
    assert list(ends) == ["TP", "FN", "FP", "TN"]
    assert ends["FN"][0] == pytest.approx((10, 40))
    assert ends["FP"][1] == pytest.approx((40, 80))
    assert ends["TN"][1][1] == pytest.approx(100)
    assert_legible(ax)


def test_found_missed_and_added_are_shares_of_the_action() -> None:
    truth = np.array([[2.0, 6.0]])  # snippets 2 to 5 of one second
    curve_t = np.array([0.0, 0.9, 0.8, 0.7, 0.2, 0.1, 0.0, 0.0])
    ax = figures.branches_over_truth(truth, {"CBP": curve_t}, 1.0, {"CBP": 0.5})
    assert ax.texts[0].get_text() == "50 % found\n50 % missed\n25 % added"
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["ground truth", "CBP"]
    assert_legible(ax)
