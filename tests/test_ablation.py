"""Rows of the paper's questions: what each changes, in which worlds, and how their scores come together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from wtal_lib.method.config import Config
from wtal_lib.method.presets import preset
from wtal_lib.runs.records import flat
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Spec, open_data
from wtal_lib.runs.store import Store
from wtal_lib.settings import to_dict
from wtal_lib.simulate.knobs import DIFFICULTIES
from wtal_lib.studies import ablation

ASKED = ("thumos14", "quick")


def differing(config: Config, base: Config) -> set[str]:
    """Parts of a configuration, by dotted name, that are not the base's."""
    ours, theirs = flat(to_dict(config)), flat(to_dict(base))
    return {name for name in ours if ours[name] != theirs[name] and name != "preset"}


def test_every_step_has_every_seed_and_equal_updates() -> None:
    rows = ablation.steps(*ASKED, [0, 1])
    assert [row.row for row in rows] == [row for row in ablation.STEPS for _ in range(2)]
    assert {row.config.seed for row in rows} == {0, 1}
    schedules = [row.config.schedule for row in rows]
    assert len({(one.warmup, one.rounds * one.period) for one in schedules}) == 1
    curved = [row.row for row in ablation.presets(ablation.MAIN, *ASKED, [0, 1]) if row.curve]
    assert curved == ["late_fusion"] * 2 + ["full"] * 2


def test_a_side_question_changes_nothing_but_what_it_asks_about() -> None:
    base, *rows = ablation.sides(*ASKED, [0], wide=True, context=True)
    parts = {
        "schedule": "schedule",
        "pseudo-labels": "pseudo_labels|earned",
        "distillation": "cbp|vlp|pseudo_labels",
        "class rows": "prompts",
        "temporal model": "cbp|vlp",
    }
    assert base.config == preset("full", *ASKED, 0)
    assert {row.question for row in rows} == set(parts)
    for row in rows:
        changed = differing(row.config, base.config)
        assert changed
        assert {name.partition(".")[0] for name in changed} <= set(parts[row.question].split("|"))
        schedule, whole = row.config.schedule, base.config.schedule
        assert schedule.period * schedule.rounds == whole.period * whole.rounds
    assert len(ablation.sides("thumos14", "ci", [0])) < len(ablation.sides(*ASKED, [0])) < len(rows) + 1


def test_the_default_thresholds_are_among_those_tried() -> None:
    for profile in ("ci", "quick"):
        configs = [row.config for row in ablation.thresholds("thumos14", profile, 0)]
        wide = [row.config for row in ablation.thresholds("thumos14", profile, 0, wide=True)]
        assert set(configs) < set(wide), "whoever has the time computes nothing twice"
        assert preset("full", "thumos14", profile, 0) in configs
        assert len({config.pseudo_labels for config in configs}) == len(configs)
    pairs = ablation.threshold_pairs(ablation.thresholds(*ASKED, 0, wide=True))
    assert (pairs["below"] <= pairs["above"]).all()
    assert len(pairs) == 9


def test_worlds_of_each_setting_have_late_fusion_and_the_full_method() -> None:
    for settings in (ablation.WEAK, ablation.SHARING):
        rows = ablation.in_settings(settings, *ASKED, [0, 1])
        assert {row.setting for row in rows} == set(settings) <= set(DIFFICULTIES)
        assert len(rows) == 2 * 2 * len(settings)
        assert [one.spec.setting for one in ablation.tasks(rows, Spec())] == [row.setting for row in rows]


def test_held_out_worlds_are_drawn_and_none_of_those_that_chose_a_constant() -> None:
    rows = ablation.held_out(*ASKED, 0)
    specs = [one.spec for one in ablation.tasks(rows, Spec(world=3))]
    assert {one.setting for one in specs} == {"drawn"}
    assert {one.world for one in specs} == set(ablation.HELD_OUT)
    assert min(ablation.HELD_OUT) >= 100
    assert len(ablation.HELD_OUT) >= 5
    wide = ablation.held_out(*ASKED, 0, wide=True)
    assert {"supervised", "late fusion, head cola"} <= {row.row for row in wide}
    assert {row.config for row in rows} < {row.config for row in wide}


def test_questions_are_answered_in_their_rows_order_by_one_sweep(tmp_path: Path, monkeypatch: Any) -> None:
    asked = ablation.questions(*ASKED, [0, 1])
    assert tuple(asked)[-3:] == ablation.OTHER_WORLDS
    assert {row.setting for name in asked if name not in ablation.OTHER_WORLDS for row in asked[name]} == {"middle"}
    monkeypatch.setattr(ablation, "sweep", lambda tasks, place: [(one.config, one.spec.setting) for one in tasks])
    found = ablation.computed(asked, Spec(), Store(tmp_path, tmp_path))
    assert found == {name: [(row.config, row.setting) for row in rows] for name, rows in asked.items()}


def test_the_rules_are_every_combination_and_hold_those_with_a_name() -> None:
    rows = ablation.rules(*ASKED, [0], wide=True)
    table = ablation.rule_table(rows[1:])
    assert len(table.drop_duplicates()) == len(table) == 3 * 2 * 3
    assert preset("full", *ASKED, 0) in [row.config for row in rows]
    for row in rows[1:]:
        changed = {"pseudo_labels.word", "pseudo_labels.other_kind", "pseudo_labels.into"}
        assert differing(row.config, preset("full", *ASKED, 0)) <= changed


def test_each_world_has_its_own_late_fusion_to_be_compared_with() -> None:
    def record(cbp: float, vlp: float, fused: float) -> dict[str, Any]:
        scored = {"iou": [0.5], "map": [0.0]}
        by_branch = {"cbp": cbp, "vlp": vlp, "fused": fused}
        metrics = {
            name: {"thumos14-210-seconds": {**scored, "means": {"0.1:0.7": of}}} for name, of in by_branch.items()
        }
        return {
            "config": {"dataset": "thumos14"},
            "headline": {"branch": "fused", "protocol": "thumos14-210-seconds"},
            "metrics": metrics,
        }

    rows = ablation.held_out(*ASKED, 0)[:4]
    rows += ablation.in_settings(["shared_1"], *ASKED, [0])
    records = [record(0.1, 0.2, one) for one in (0.3, 0.4, 0.5, 0.7, 0.6, 0.65)]
    table = ablation.by_world(rows, records, 2.0)
    assert table["world"].tolist() == ["drawn 5000"] * 2 + ["drawn 5001"] * 2 + ["shared 1"] * 2
    assert table["difference"].tolist() == pytest.approx([0, 10, 0, 20, 0, 5])
    assert table["cbp"].tolist() == pytest.approx([10.0] * 6)
    assert table["low"][1] == pytest.approx(8.0)
    gain = ablation.by_sharing(rows[4:], records[4:])
    assert gain[["shared", "gain"]].to_numpy().tolist() == [[1.0, pytest.approx(5.0)]]


def test_scores_stand_in_the_rows_order(tmp_path: Path) -> None:
    config = preset("full", profile="ci", schedule__warmup=4, schedule__period=2, schedule__rounds=1)
    row = ablation.Row("tiny", config, question="what")
    record = run(row.config, open_data(Spec(source="simulated", profile="ci")), tmp_path / "a")
    frame = ablation.scored([row, replace(row, row="again")], [record, record])
    assert frame["row"].tolist() == ["tiny", "again"]
    name = record["headline"]["protocol"]
    assert frame["mean"][0] == pytest.approx(100 * record["metrics"]["fused"][name]["means"]["0.1:0.7"])
    with pytest.raises(ValueError, match=r"1 of 1 runs failed"):
        ablation.scored([row], [{"error": "no"}])
