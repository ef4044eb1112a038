"""Knobs drawn at random, and what the newer ones do to a world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wtal_lib.data.annotations import find_annotations
from wtal_lib.score import read_detections, report
from wtal_lib.simulate.knobs import KINDS, RANGES, Simulator, draw
from wtal_lib.simulate.modalities import known
from wtal_lib.simulate.packs import World, simulate
from wtal_lib.simulate.structure import groups
from wtal_lib.simulate.timeline import _spread


def test_a_drawn_world_depends_on_its_seed_alone() -> None:
    assert draw(3) == draw(3)
    assert draw(3).seed == 3
    one, other = vars(draw(3)), vars(draw(4))
    assert all(one[name] != other[name] for name in RANGES)


def test_every_knob_that_is_drawn_lies_within_its_range_and_fills_it() -> None:
    worlds = [vars(draw(seed)) for seed in range(200)]
    for name, (low, high) in RANGES.items():
        values = np.array([world[name] for world in worlds])
        assert low <= values.min() < values.max() <= high, name
        log = low > 0 and high / low >= 3
        share = np.log(values / low) / np.log(high / low) if log else (values - low) / (high - low)
        assert np.histogram(share, bins=4, range=(0, 1))[0].min() > 25, f"{name} is not drawn evenly"
    for name, options in KINDS.items():
        assert {world[name] for world in worlds} == set(options)


def test_fields_that_are_held_are_not_drawn() -> None:
    held = draw(3, dataset="activitynet12", profile="ci", shared=0.25, rectifier="relu")
    assert (held.dataset, held.profile, held.shared, held.rectifier) == ("activitynet12", "ci", 0.25, "relu")
    assert {name: getattr(held, name) for name in ("scale", "noise_cbp")} == {
        name: getattr(draw(3), name) for name in ("scale", "noise_cbp")
    }


def test_every_kind_of_world_draws_finite_features() -> None:
    for rectifier in KINDS["rectifier"]:
        one = simulate(draw(1, profile="ci", rectifier=rectifier))
        name = one.cbp.names[0]
        rows = one.cbp[name].astype(np.float32)
        assert np.isfinite(rows).all()
        assert (rows.min() < 0) == (rectifier == "none")
        assert (rows == 0).any() == (rectifier == "relu")
        assert np.isfinite(one.vlp[name]).all()


def visibility(world: World) -> np.ndarray:
    """Log visibility (m, 2) of every instance in CBP and VLP."""
    return np.log(np.concatenate([world.timeline(name).visible_m2 for name in world.cbp.names]))


def test_shared_says_how_alike_both_modalities_see_an_instance() -> None:
    correlation = {}
    for shared in (0.0, 0.5, 1.0):
        seen = visibility(simulate(Simulator(shared=shared, hard=0.0)))
        correlation[shared] = float(np.corrcoef(seen.T)[0, 1])
        if shared == 1.0:
            assert np.array_equal(seen[:, 0], seen[:, 1])
    assert abs(correlation[0.0]) < 0.06
    assert correlation[0.5] == pytest.approx(0.5, abs=0.06)


def test_knownness_is_shared_too() -> None:
    group_c = groups(simulate(Simulator(profile="ci")).annotations.classes)
    one, apart = ([known(Simulator(shared=s), group_c, of) for of in ("CBP", "VLP")] for s in (1.0, 0.0))
    assert np.array_equal(one[0], one[1])
    assert not np.allclose(apart[0], apart[1])


def test_scale_multiplies_cbp_rows_and_nothing_else() -> None:
    one, ten = (simulate(Simulator(profile="ci", scale=scale)) for scale in (1.0, 8.0))
    name = one.cbp.names[0]
    assert np.allclose(8 * one.cbp[name].astype(np.float32), ten.cbp[name], rtol=2e-3)
    assert np.array_equal(one.vlp[name], ten.vlp[name])


def test_cuts_show_something_else_in_the_midst_of_an_instance() -> None:
    plain, cut = (simulate(Simulator(cuts=cuts)) for cuts in (0.0, 0.4))
    name = plain.cbp.names[0]
    covered = [world.timeline(name).phase_mt3.sum(axis=(0, 2)) for world in (plain, cut)]
    assert np.all(covered[1] <= covered[0] + 1e-12)
    gone = sum((covered[0] > 0.9) & (covered[1] == 0))
    assert 0 < gone < (covered[0] > 0.9).sum()
    assert (cut.timeline(name).scene_t[(covered[0] > 0.9) & (covered[1] == 0)] == 0).all()


def test_bleeding_evidence_spreads_beyond_the_ends_and_keeps_its_sum() -> None:
    grid = simulate(Simulator(profile="ci")).grid
    phase = np.zeros((1, 11, 3))
    phase[0, 5, 1] = 3.0
    assert _spread(phase, 2.0, grid)[0, :, 1] == pytest.approx([0, 0, 0, *[0.6] * 5, 0, 0, 0])
    assert _spread(phase, 0.0, grid) is phase


def test_the_default_world_lies_within_the_ranges_of_drawn_ones() -> None:
    default = vars(Simulator())
    assert [name for name, (low, high) in RANGES.items() if not low <= default[name] <= high] == []
    assert [name for name, options in KINDS.items() if default[name] not in options] == []


def test_the_reported_cbp_baseline_is_about_as_good_as_real_detections(shared_data: Path) -> None:
    """A baseline that gets stronger makes the default world too easy: choose its knobs anew (tests/likeness.py)."""
    annotations = find_annotations(shared_data, "thumos14")
    found = read_detections(shared_data / "detections" / "detection_result_base_test.json", annotations)
    real_k = 100 * np.array(report(found, annotations)["protocols"]["thumos14-210-seconds"]["map"])
    main = pd.read_csv(Path(__file__).parent.parent / "results/simulated/thumos14/02_main_results/main.csv")
    ours_k = main[main["line"] == "CBP"][[f"0.{k}" for k in range(1, 8)]].mean().to_numpy()
    assert ((ours_k - real_k) ** 2).mean() ** 0.5 < 4
