"""Published methods as they were published; our runs with their spread, and differences with their intervals."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from wtal_lib.studies import tables
from wtal_lib.studies.shown import as_markdown


def record(preset: str = "full", seed: int = 0, **means: float) -> dict[str, Any]:
    """A finished run whose branches have these mean mAPs, fractions, at every tIoU."""
    name, iou = "thumos14-210-seconds", [i / 10 for i in range(1, 8)]
    metrics = {
        branch: {name: {"iou": iou, "map": [mean] * 7, "means": dict.fromkeys(("0.1:0.7", "0.1:0.5", "0.3:0.7"), mean)}}
        for branch, mean in {"cbp": 0.1, "vlp": 0.2, "fused": 0.3, **means}.items()
    }
    headline = {"protocol": name, "branch": "fused"}
    return {"preset": preset, "seed": seed, "config": {"dataset": "thumos14"}, "headline": headline, "metrics": metrics}


def rows(**values: list[float]) -> pd.DataFrame:
    """A frame of rows by name, a score a seed."""
    content = [(row, seed, score) for row, scores in values.items() for seed, score in enumerate(scores)]
    return pd.DataFrame(content, columns=["row", "seed", "mean"])


@pytest.mark.parametrize(("dataset", "methods", "mean"), [("thumos14", 65, 49.4), ("activitynet12", 39, 29.6)])
def test_the_published_methods_hold_the_paper_s_line(dataset: str, methods: int, mean: float) -> None:
    assert len(tables.published(dataset)) == methods
    assert tables.paper(dataset)["mean"] == mean
    assert tables.paper(dataset)["extra"]


def test_the_paper_s_scores_stand_at_their_tiou() -> None:
    theirs = tables.paper("thumos14")
    assert [theirs[f"0.{i}"] for i in range(1, 8)] == [73.5, 68.8, 61.5, 53.8, 42.0, 29.4, 16.8]
    theirs = tables.paper("activitynet12")
    assert [theirs[name] for name in ("0.5", "0.75", "0.95")] == [48.3, 29.3, 6.1]


def test_what_a_paper_does_not_report_is_empty_and_no_zero() -> None:
    table = tables.published("thumos14").set_index("method")
    assert math.isnan(table.loc["UntrimmedNets", "0.7"])
    assert table.loc["STPN", "venue"] == "CVPR 2018"


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet12"])
def test_nothing_was_changed_when_the_published_figures_were_carried_over(dataset: str, shared_data: Path) -> None:
    given = pd.read_csv(shared_data / "published" / f"{dataset}.csv")
    kept = tables.published(dataset)
    names = {name: name.partition("@")[2] for name in given.columns if "@" in name}
    pd.testing.assert_frame_equal(kept[[*names.values()]], given[[*names]].rename(columns=names))
    np.testing.assert_array_equal(kept["mean"], given["mAP_avg"])


def test_an_unknown_dataset_has_no_published_methods() -> None:
    with pytest.raises(ValueError, match="unknown dataset 'thumos'; did you mean 'thumos14'"):
        tables.published("thumos")


def test_a_score_is_in_percent_under_the_record_s_own_branch() -> None:
    score = tables.score(record(fused=0.301))
    assert score["0.5"] == pytest.approx(30.1)
    assert score["mean"] == score["mean 0.1:0.7"] == pytest.approx(30.1)


def test_a_branch_or_protocol_that_was_not_scored_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a branch and a protocol of .*cbp.*, got 'flow'"):
        tables.score(record(), "flow")
    with pytest.raises(ValueError, match="got 'fused' and 'activitynet12-val'"):
        tables.score(record(), "fused", "activitynet12-val")


def test_a_run_that_failed_is_named_with_its_traceback() -> None:
    failed = {"error": "ValueError: no", "traceback_file": "runs/x/traceback.txt"}
    with pytest.raises(ValueError, match=r"1 of 2 runs failed.*ValueError: no .*runs/x/traceback.txt"):
        tables.lines([record(), failed])


def test_each_line_takes_its_own_preset_and_branch() -> None:
    frame = tables.lines([record("late_fusion", cbp=0.1, vlp=0.2, fused=0.3), record("full", fused=0.4)])
    means = frame.set_index("line")["mean"]
    assert means[["CBP", "VLP", "late fusion", "full"]].tolist() == pytest.approx([10, 20, 30, 40])
    assert not {"supervised", "vanilla VLP"} & set(means.index)


def test_means_over_seeds_carry_their_standard_deviation() -> None:
    assert tables.plus_minus([1.0, 2.0, 3.0]) == "2.0 ± 1.0"
    assert tables.plus_minus([1.25]) == "1.2"
    table = tables.over_seeds(rows(full=[49.0, 51.0], vanilla=[10.0]), by="row")
    assert table["mean"].tolist() == ["50.0 ± 1.4", "10.0"]
    assert table["seeds"].tolist() == [2, 1]


def test_the_headline_mean_comes_once() -> None:
    table = tables.over_seeds(tables.lines([record("full"), record("full", seed=1)]))
    assert [name for name in table.columns if "mean" in name] == ["mean 0.1:0.7", "mean 0.1:0.5", "mean 0.3:0.7"]


def test_a_difference_is_called_by_its_interval_over_seeds() -> None:
    frame = rows(base=[40.0, 50.0, 60.0], steady=[42.0, 52.0, 62.5], shaky=[47.0, 44.0, 60.5], worse=[30.0, 41.0, 50.0])
    table = tables.effects(frame, "base").set_index("row")
    verdicts = {"base": "the base", "steady": "better", "shaky": "no difference shown", "worse": "worse"}
    assert table["verdict"].to_dict() == verdicts
    assert table.loc["steady", "difference"] == pytest.approx(2.1667, abs=1e-3)
    margin = 4.3027 * np.std([2, 2, 2.5], ddof=1) / np.sqrt(3)
    assert table.loc["steady", ["low", "high"]].tolist() == pytest.approx([2.1667 - margin, 2.1667 + margin], abs=1e-3)
    assert math.isnan(table.loc["base", "low"])


def test_a_difference_is_over_videos_too_where_these_were_resampled() -> None:
    frame = rows(base=[40.0, 50.0, 60.0], steady=[42.0, 52.0, 62.5])
    base = np.tile([40.0, 50.0, 60.0], (101, 1))
    videos = np.r_[0.0, np.random.default_rng(0).normal(0, 5, 100)][:, None]
    resampled = {"base": base, "steady": base + np.array([2, 2, 2.5]) + videos}
    table = tables.effects(frame, "base", resampled=resampled).set_index("row")
    assert table.loc["steady", "difference"] == pytest.approx(2.1667, abs=1e-3)
    assert table.loc["steady", "verdict"] == "no difference shown"


def test_a_single_seed_is_held_against_the_margin_given_or_none_at_all() -> None:
    frame = rows(base=[40.0], other=[42.0])
    assert tables.effects(frame, "base", margin=1.0)["verdict"].tolist() == ["the base", "better"]
    assert tables.effects(frame, "base", margin=3.0)["verdict"].tolist() == ["the base", "no difference shown"]
    assert tables.effects(frame, "base")["verdict"].tolist() == ["the base", "no difference shown"]
    with pytest.raises(ValueError, match="expected a row 'full' to compare with, got base, other"):
        tables.effects(frame, "full")


def test_the_usual_margin_pools_the_spread_of_all_rows() -> None:
    frame = rows(base=[40.0, 50.0, 60.0], steady=[42.0, 52.0, 62.5], shaky=[47.0, 44.0, 60.5])
    spreads = [np.std([2, 2, 2.5], ddof=1), np.std([7, -6, 0.5], ddof=1)]
    degrees = 2 * 2 / (1 + 1 / 4)
    expected = scipy.stats.t.ppf(0.975, degrees) * np.sqrt(np.mean(np.square(spreads)))
    assert tables.usual_margin(frame, "base") == pytest.approx(expected, rel=1e-3)
    assert math.isnan(tables.usual_margin(rows(base=[40.0], other=[42.0]), "base"))


def test_five_in_a_hundred_single_seeds_are_called_different() -> None:
    rng, wrong = np.random.default_rng(0), []
    for _ in range(400):
        main = rows(**{name: rng.normal(0, 1, 3).tolist() for name in ("base", "b", "c", "d", "e")})
        side = rows(base=[rng.normal()], other=[rng.normal()])
        table = tables.effects(side, "base", margin=tables.usual_margin(main, "base"))
        wrong.append(table["verdict"][1] != "no difference shown")
    assert 0.02 < np.mean(wrong) < 0.085


def test_the_share_of_the_gap_is_worked_out_seed_by_seed() -> None:
    frame = rows(**{"late fusion": [40.0, 50.0, 40.0], "full": [45.0, 50.0, 46.0], "supervised": [50.0, 49.0, 45.0]})
    table = tables.gap_closed(frame.rename(columns={"row": "line"}))
    assert table["seed"].tolist() == ["0", "1", "2", "mean"]
    assert table["closed"].tolist()[0] == pytest.approx(0.5)
    assert math.isnan(table["closed"][1]), "a bound below the floor leaves no gap"
    assert math.isnan(table["closed"][2]), "what the full method passes is no bound"
    assert table["closed"][3] == pytest.approx(11 / 14)


def test_our_line_is_set_beside_the_paper_s_where_both_have_a_score() -> None:
    table = tables.beside_paper(tables.lines([record("full", fused=0.5)]), "thumos14").set_index("row")
    assert list(table.columns) == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "mean"]
    assert table.loc["difference", "mean"] == pytest.approx(0.6)
    assert table.loc["difference", "0.1"] == pytest.approx(-23.5)


COUNTS = {
    "eligible": 100, "truth": 20, "foreground": 10, "foreground_right": 8, "background": 50, "background_right": 45,
}  # fmt: skip
RECORD = {
    **record(),
    "history": [
        {
            "name": "warmup",
            "updates": 4,
            "losses": {"cbp.mil_orig": 1.0, "vlp.mil_orig": 1.0},
            "pseudo_labels": {"cbp": {}, "vlp": {}},
        },
        {
            "name": "B",
            "updates": 6,
            "losses": {"vlp.mil_orig": 1.0},
            "pseudo_labels": {"vlp": COUNTS},
            "map": {"fused": 0.5},
        },
        {
            "name": "F",
            "updates": 6,
            "losses": {"cbp.mil_orig": 1.0},
            "pseudo_labels": {"cbp": COUNTS},
            "map": {"fused": 0.4},
        },
    ],
}


def test_updates_count_both_branches_together() -> None:
    curve = tables.curve([RECORD])
    assert curve["updates"].tolist() == [10, 12]
    assert curve["map"].tolist() == [50.0, 40.0]
    assert tables.curve([{**RECORD, "history": RECORD["history"][:1]}]).empty


def test_the_last_moment_is_the_result_and_the_best_an_oracle() -> None:
    table = tables.last_and_best(tables.curve([RECORD]))
    assert table[["last", "best", "peeking"]].values.tolist() == [[40.0, 50.0, 10.0]]


def test_pseudo_labels_are_right_over_given_and_over_what_there_is() -> None:
    table = tables.pseudo_labels([RECORD])
    assert len(table) == 4
    b = table[table["phase"] == "B"].set_index("kind")
    assert b.loc["foreground", ["precision", "recall", "share"]].tolist() == [0.8, 0.4, 0.1]
    assert b.loc["background", ["precision", "recall", "share"]].tolist() == [0.9, 45 / 80, 0.5]
    overall = tables.labels_overall([RECORD])
    assert overall.loc[0, ["foreground precision", "background there"]].tolist() == [0.8, 0.8]


def test_a_table_in_markdown_is_readable_by_people() -> None:
    frame = pd.DataFrame({"class": ["a", "b|c"], "n": [1, 2000], "share": [0.25, np.nan], "long": [1.0, 12345.6]})
    head, _, *lines = as_markdown(frame.assign(word=["50.0", "1.0 ± 2"])).splitlines()
    cells = [[cell.strip() for cell in line.split(" |")[:-1]] for line in (head, *lines)]
    assert cells == [
        ["| class", "n", "share", "long", "word"],
        ["| a", "1", "0.25", "1", "50.0"],
        ["| b\\|c", "2,000", "", "12,346", "1.0 ± 2"],
    ]
