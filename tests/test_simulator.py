"""What a simulated world promises: the same bytes, errors that features make likely, and packs that read back."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from wtal_lib.data.annotations import Video
from wtal_lib.data.features import Features
from wtal_lib.simulate.knobs import DIFFICULTIES, Simulator, difficulty
from wtal_lib.simulate.modalities import noise, rng_of
from wtal_lib.simulate.packs import World, simulate
from wtal_lib.simulate.structure import groups
from wtal_lib.simulate.timeline import phases

DIGEST = (
    "import hashlib; from wtal_lib.simulate import simulate, Simulator; w = simulate(Simulator(profile='ci'));"
    "rows = [pack[n].tobytes() for pack in (w.cbp, w.vlp) for n in pack.names];"
    "print(hashlib.sha256(b''.join([*rows, w.text.tobytes()])).hexdigest())"
)
PINNED = "d9fe8bb0d34d0721fe4d253c4c43543d515586a2423215a4080047b9bcaf7034"
"of every row of the world of profile ci"


@pytest.fixture(scope="module")
def world() -> World:
    """A drawn world as wide as `quick`, with fewer videos."""
    whole = simulate(Simulator(bleed=0.0))  # phases with sharp ends
    kept = {v.name: v for v in [*whole.annotations.subset("train")[:60], *whole.annotations.subset("test")[:20]]}
    return World(whole.config, replace(whole.annotations, videos=kept))


def causes(world: World) -> dict[str, np.ndarray]:
    """Rows of every video side by side, with what happens in each: class, phase, context."""
    parts: dict[str, list[np.ndarray]] = {"cbp": [], "vlp": [], "label": [], "phase": [], "context": [], "apart": []}
    for name in world.cbp.names:
        line = world.timeline(name)
        phase_t3 = line.phase_mt3.sum(axis=0)
        parts["cbp"].append(world.cbp[name].astype(np.float32))
        parts["vlp"].append(world.vlp[name].astype(np.float32))
        parts["label"].append(line.class_t)
        parts["phase"].append(np.where(phase_t3.max(axis=1) > 0.9, phase_t3.argmax(axis=1), -1))
        parts["context"].append((line.still_t > 0.99) & (line.scene_t > 0.99))
        parts["apart"].append((line.still_t > 0.99) & (line.scene_t < 0.01))
    return {key: np.concatenate(value) for key, value in parts.items()}


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_any_subset() -> None:
    one, other = simulate(Simulator(profile="ci")), simulate(Simulator(profile="ci"))
    names = one.cbp.names
    few = World(one.config, replace(one.annotations, videos={n: one.annotations.videos[n] for n in names[5:8]}))
    for name in reversed(names):
        assert np.array_equal(one.vlp[name], other.vlp[name])
    assert np.array_equal(one.cbp[names[6]], few.cbp[names[6]])
    assert np.array_equal(one.timeline(names[6]).segment_m2, few.timeline(names[6]).segment_m2)
    assert (one.cbp.fingerprint, one.cbp[names[6]].dtype) == (other.cbp.fingerprint, np.float16)
    assert few.cbp.fingerprint != one.cbp.fingerprint


@pytest.mark.parametrize(
    "environment",
    [
        {"OPENBLAS_NUM_THREADS": "1"},
        {"OPENBLAS_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Nehalem"},
        {"NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX2 FMA3 AVX512F AVX512_SKX"},
    ],
    ids=lambda given: " ".join(given),
)
def test_the_bytes_are_pinned_whatever_the_threads_and_the_processor(environment: dict[str, str]) -> None:
    command = [sys.executable, "-W", "ignore", "-c", DIGEST]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert printed.strip() == PINNED, "equal knobs give other bytes: raise modalities.REVISION, list it in CHANGELOG.md"


def test_another_seed_is_another_world() -> None:
    one, other = simulate(Simulator(profile="ci")), simulate(Simulator(profile="ci", seed=1))
    assert not np.array_equal(one.text, other.text)
    assert one.annotations.videos.keys() != other.annotations.videos.keys()


def test_packs_have_the_interface_that_models_read(world: World) -> None:
    for pack, width in ((world.cbp, 256), (world.vlp, 128)):
        assert isinstance(pack, Features)
        name = pack.names[0]
        assert pack[name].shape == (pack.lengths[name], width)
        assert (name in pack, "nobody" in pack, len(pack)) == (True, False, 80)
        rows = np.concatenate([pack[v.name] for v in world.annotations.subset("train")]).astype(np.float64)
        mean, deviation = pack.moments
        assert np.allclose(mean, rows.mean(axis=0), atol=1e-5)
        assert np.allclose(deviation, rows.std(axis=0), atol=1e-4)
        with pytest.raises(KeyError):
            pack["nobody"]
        with pytest.raises(ValueError, match="read-only"):
            pack[name][0, 0] = 1


def test_rows_beyond_the_memory_limit_are_drawn_again_alike() -> None:
    pack = simulate(Simulator(profile="ci")).cbp
    pack._free = 0
    assert np.array_equal(pack[pack.names[0]], pack[pack.names[0]])
    assert not pack._keep


def test_cbp_is_never_negative_and_vlp_has_unit_length(world: World) -> None:
    for name in world.cbp.names:
        assert world.cbp[name].min() == 0
        assert np.allclose(np.linalg.norm(world.vlp[name].astype(np.float32), axis=1), 1, atol=2e-3)
    assert np.allclose(np.linalg.norm(world.text, axis=1), 1, atol=1e-5)


def test_texts_of_related_classes_are_closer_and_a_gap_parts_them_from_images(world: World) -> None:
    group_c = groups(world.annotations.classes)
    cosine = world.text @ world.text.T
    alike = (group_c[:, None] == group_c) & ~np.eye(len(group_c), dtype=bool)
    assert cosine[alike].mean() > cosine[group_c[:, None] != group_c].mean() + 0.05
    images = np.concatenate([world.vlp[name] for name in world.vlp.names]).astype(np.float32)
    across = images @ world.text.T
    assert across.mean() < 0.2 < min(cosine.min(), (images[::50] @ images[::50].T).mean())


def test_texts_tell_the_class_better_than_chance_and_worse_than_perfectly(world: World) -> None:
    seen = causes(world)
    action = seen["phase"] >= 0
    right = ((seen["vlp"] @ world.text.T).argmax(axis=1) == seen["label"])[action].mean()
    assert 0.5 < right < 0.95


def test_context_looks_almost_like_the_action_to_vlp_but_not_to_cbp(world: World) -> None:
    seen = causes(world)
    score = np.take_along_axis(seen["vlp"] @ world.text.T, seen["label"][:, None], axis=1)[:, 0]
    action, context, apart = (score[at].mean() for at in (seen["phase"] >= 0, seen["context"], seen["apart"]))
    vlp = (context - apart) / (action - apart)
    telling = _peak_score(seen)
    action, context, apart = (telling[at].mean() for at in (seen["phase"] == 1, seen["context"], seen["apart"]))
    assert 0.4 < vlp < 0.8
    assert (context - apart) / (action - apart) < vlp - 0.2


def _peak_score(seen: dict[str, np.ndarray]) -> np.ndarray:
    """Each row's own class's peak, as a linear probe sees it: along the mean peak, against the mean of all else."""
    score = np.zeros(len(seen["label"]))
    for c in np.unique(seen["label"]):
        peak, rest = (seen["label"] == c) & (seen["phase"] == 1), seen["apart"]
        if peak.sum() > 5:
            toward = seen["cbp"][peak].mean(axis=0) - seen["cbp"][rest].mean(axis=0)
            own = seen["label"] == c
            score[own] = (seen["cbp"][own] - seen["cbp"][rest].mean(axis=0)) @ toward / (toward @ toward)
    return score


def test_cbp_shows_the_peak_and_little_of_preparation_and_end(world: World) -> None:
    seen = causes(world)
    score = _peak_score(seen)
    prepare, peak, end = (score[seen["phase"] == phase].mean() for phase in range(3))
    assert peak > prepare + 0.3
    assert peak > end + 0.3
    assert min(prepare, end) > score[seen["apart"]].mean() + 0.1


def test_preparation_looks_alike_across_related_classes(world: World) -> None:
    seen, group_c = causes(world), groups(world.annotations.classes)
    flow = seen["cbp"][:, 128:] - seen["cbp"][:, 128:].mean(axis=0)
    means = {
        phase: {
            c: flow[(seen["label"] == c) & (seen["phase"] == phase)].mean(axis=0)
            for c in range(20)
            if ((seen["label"] == c) & (seen["phase"] == phase)).sum() > 8
        }
        for phase in (0, 1)
    }

    def alike(phase: int) -> float:
        rows = {c: row / np.linalg.norm(row) for c, row in means[phase].items()}
        return float(np.mean([rows[a] @ rows[b] for a in rows for b in rows if a < b and group_c[a] == group_c[b]]))

    assert alike(0) > alike(1) + 0.04


def test_noise_has_unit_variance_and_lasts_as_asked() -> None:
    quick, lasting = (noise(rng_of("noise"), 4000, 8, Simulator(correlation=share)) for share in (0.0, 0.9))
    for rows in (quick, lasting):
        assert rows.std() == pytest.approx(1, abs=0.05)
    following = [float((rows[1:] * rows[:-1]).mean()) for rows in (quick, lasting)]
    assert following[0] == pytest.approx(0, abs=0.03)
    assert following[1] == pytest.approx(0.9 * 6 / 7, abs=0.06)


def test_phases_by_hand_add_up_to_the_coverage() -> None:
    grid = simulate(Simulator(profile="ci")).grid
    segment = grid.seconds(np.array([[2.0, 12.5]]))
    found = phases(segment, np.array([[0.2, 0.2]]), 100.0, grid, 14)[0]
    assert found.sum(axis=1) == pytest.approx([0, 0, *[1] * 10, 0.5, 0])
    assert found[2] == pytest.approx([1, 0, 0])
    assert found[7] == pytest.approx([0, 1, 0])
    assert found[12] == pytest.approx([0, 0, 0.5])
    again = phases(segment, np.array([[0.2, 0.2]]), grid.step * 3, grid, 14)[0]
    assert ((again[:-1, 1] < 0.5) & (again[1:, 1] >= 0.5)).sum() > 1


def test_replays_touch_no_instance(world: World) -> None:
    replays = 0
    for name, video in list(world.annotations.videos.items())[:40]:
        line = world.timeline(name)
        annotated = len(video.segments)
        assert np.array_equal(
            line.segment_m2[:annotated], video.segments.clip(max=world.grid.seconds(len(line.still_t)))
        )
        for start, stop in line.segment_m2[annotated:]:
            assert all(stop <= a or b <= start for a, b in video.segments)
        replays += len(line.segment_m2) - annotated
    assert replays > 0


def test_instances_beyond_the_end_and_missing_labels_are_drawn_without() -> None:
    empty = np.zeros((0, 2))
    late = Video("late", "train", 10.0, (), ("Diving", "Diving"), np.array([[2.0, 4.0], [20.0, 30.0]]), empty)
    nothing = Video("nothing", "train", 3.0, (), (), empty, empty)
    unknown = replace(late, name="unknown", duration=float("nan"))
    given = simulate(Simulator(profile="ci")).annotations
    one = World(Simulator(jitter=0.0), replace(given, videos={v.name: v for v in (late, nothing, unknown)}))
    assert one.cbp.lengths == {"late": 15, "nothing": 4, "unknown": 54}
    assert one.timeline("late").phase_mt3.sum(axis=(1, 2))[0] == pytest.approx(2 / 0.64, rel=0.3)
    assert len(one.timeline("nothing").class_m) == 0
    assert one.annotations.videos["late"].labels == ()
    assert all(np.isfinite(one.vlp[name]).all() for name in one.vlp.names)


def test_strengths_are_what_difficulties_change() -> None:
    assert difficulty("middle") == Simulator()
    assert difficulty("vlp_weak").vlp_strength < 1 < difficulty("vlp_strong", seed=3).vlp_strength
    assert difficulty("premise", profile="ci").confusion < Simulator().confusion
    assert set(DIFFICULTIES) >= {"vlp_weak", "vlp_strong", "cbp_weak", "cbp_strong", "middle", "premise"}
    with pytest.raises(ValueError, match="did you mean 'vlp_weak'"):
        difficulty("vlp_weka")


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"profile": "huge"}, "full, quick, ci"),
        ({"dataset": "thumos"}, "did you mean 'thumos14'"),
        ({"hard": 15.0}, "hard must lie in"),
        ({"noise_cbp": -1.0}, "noise_cbp must be not negative"),
        ({"phase_share": 0.6}, "phase_share must lie"),
    ],
)
def test_impossible_worlds_are_refused(knobs: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        difficulty("middle", **knobs)


def test_annotations_of_another_dataset_are_refused() -> None:
    drawn = simulate(Simulator(profile="ci")).annotations
    with pytest.raises(ValueError, match=r"give Simulator\(dataset='thumos14'\)"):
        simulate(Simulator(dataset="activitynet12"), drawn)
