"""Runs looked at again, the premise measured, the story and its explorer: all on tiny runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_ablation import differing

from wtal_lib.data.segments import Detections, overlap
from wtal_lib.method.config import Config
from wtal_lib.method.localize import VideoScores
from wtal_lib.method.presets import preset
from wtal_lib.runs.experiment import Experiment
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Data, Spec, open_data
from wtal_lib.runs.store import Store
from wtal_lib.studies import complementarity, replay, story

TINY = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 1}


def tiny(name: str = "full", **changes: object) -> Config:
    return preset(name, profile="ci", **{**TINY, **changes})


@pytest.fixture(scope="module")
def data() -> Data:
    return open_data(Spec(source="simulated", profile="ci"))


@pytest.fixture(scope="module")
def task(data: Data) -> Experiment:
    return Experiment(tiny(), data)


def scored(task: Experiment, cas: dict[str, np.ndarray]) -> dict[str, VideoScores]:
    """Scores of every video whose CAS is the one given."""
    found = {}
    for name, score_tc in cas.items():
        snippets, classes = score_tc.shape
        attention_t, video_c = np.ones(snippets, np.float32), np.ones(classes, np.float32)
        found[name] = VideoScores(name, score_tc, attention_t, video_c, score_tc)
    return found


def test_a_restored_run_scores_what_its_record_says(data: Data, tmp_path: Path) -> None:
    store, config = Store(tmp_path / "runs", tmp_path / "cache"), tiny()
    first = replay.by_rule(config, data, store)
    record = run(config, data, store, keep=[])
    name = record["headline"]["protocol"]
    assert first["mean"][0] == pytest.approx(100 * record["metrics"]["fused"][name]["means"]["0.1:0.7"], abs=1e-3)
    for path in store.cache.rglob("*.safetensors"):
        path.unlink()
    assert replay.by_rule(config, data, store).equals(first), "what was scored once needs no checkpoint"
    task, scores = replay.scores(config, data, store)
    assert set(scores) == {"cbp", "vlp", "fused"}
    assert (store.cache / task.identity / "last.safetensors").is_file(), "a lost checkpoint is made again"


def test_kept_detections_are_resampled_by_video(data: Data, tmp_path: Path) -> None:
    store, configs = Store(tmp_path / "runs", tmp_path / "cache"), [tiny(seed=seed) for seed in (0, 1)]
    records = [run(config, data, store) for config in configs]
    map_rs = replay.resampled(["full", "full"], records, store, data.annotations)["full"]
    name = records[0]["headline"]["protocol"]
    means = [100 * record["metrics"]["fused"][name]["means"]["0.1:0.7"] for record in records]
    assert map_rs.shape == (1001, 2)
    assert map_rs[0].tolist() == pytest.approx(means, abs=1e-3)
    by_branch = replay.resampled(["full"], records[:1], store, data.annotations, "cbp")["full"]
    assert by_branch[0, 0] == pytest.approx(100 * records[0]["metrics"]["cbp"][name]["means"]["0.1:0.7"], abs=1e-3)
    (store.cache / records[0]["identity"] / "detections.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"detections\.json is missing.*compute it again with `anew`"):
        replay.resampled(["full"], records[:1], store, data.annotations)


def test_rules_change_what_comes_after_training_alone() -> None:
    base = tiny()
    for of in replay.RULES.values():
        for fields in of.values():
            changed = differing(preset("full", profile="ci", **{**TINY, **fields}), base)
            assert {name.partition(".")[0] for name in changed} <= {"localize", "fusion", "cbp_share"}
            assert changed


def test_a_branch_that_says_the_truth_is_complete_and_adds_nothing(task: Experiment) -> None:
    truth = {name: task.snippet_truth(name).astype(np.float64) for name in task.test}
    complete_m, over_m = complementarity.fit(task, task.normalized_cas(scored(task, truth)))
    long_m = np.diff(task.truth.segment_m2)[:, 0] > 4 * task.batches.grid.step
    assert np.nanmean(complete_m[long_m]) > 0.85
    assert np.nanmean(over_m[long_m]) < 0.1


def test_a_branch_that_always_says_yes_covers_all_and_adds_the_neighbourhood(task: Experiment) -> None:
    ones = {name: np.ones(task.snippet_truth(name).shape) for name in task.test}
    complete_m, over_m = complementarity.fit(task, ones)
    whole = [task.batches.lengths[name] * task.batches.grid.step for name in task.truth.videos]
    inside_m = task.truth.segment_m2[:, 1] <= np.array(whole)[task.truth.video_m]
    assert np.nanmin(complete_m[inside_m]) == pytest.approx(1)
    assert 0.3 < np.nanmean(over_m) <= 2.0


def test_a_lower_cut_covers_more_and_adds_more(task: Experiment) -> None:
    rng = np.random.default_rng(0)
    noisy = {name: task.snippet_truth(name) + rng.random(task.snippet_truth(name).shape) for name in task.test}
    curve = complementarity.trade(task, {"noisy": scored(task, noisy)}, [0.2, 0.5, 0.8])
    assert (curve["complete"].diff().dropna() < 0).all()
    assert (curve["over"].diff().dropna() < 0).all()
    each = complementarity.instances(task, {"noisy": scored(task, noisy)})
    assert len(each) == len(task.truth)
    assert each["complete"].mean() == pytest.approx(curve["complete"][1])


def test_misses_are_shared_or_not() -> None:
    cbp_m, vlp_m = np.array([True, True, False, False]), np.array([True, False, True, False])
    shares = complementarity.shared_misses(cbp_m, vlp_m)
    assert shares == {"both": 0.25, "CBP alone": 0.25, "VLP alone": 0.25, "neither": 0.25, "by chance": 0.25}


def test_only_as_many_detections_as_instances_can_find_them(task: Experiment) -> None:
    truth = task.truth
    score_n = np.linspace(1, 0.5, len(truth))
    perfect = Detections(truth.video_m, truth.label_m, truth.segment_m2, score_n, truth.videos, truth.classes)
    lengthy_m = np.diff(truth.segment_m2)[:, 0] > 0
    assert complementarity.found(perfect, truth)[lengthy_m].all()
    overlaps = complementarity.overlaps({"cbp": perfect, "vlp": perfect, "fused": perfect}, truth)
    assert overlaps["better"][lengthy_m].mean() > 0.9


def test_the_oracle_by_class_is_no_worse_than_either_branch() -> None:
    ap = {"cbp": {"a": [0.5], "b": [0.1], "c": [None]}, "vlp": {"a": [0.2], "b": [0.4], "c": [None]}}
    metrics = {branch: {"p": {"ap": of}} for branch, of in {**ap, "fused": ap["cbp"]}.items()}
    record = {"preset": "full", "seed": 0, "headline": {"protocol": "p"}, "metrics": metrics}
    row = complementarity.better_by_class([record]).iloc[0]
    assert (row["cbp"], row["vlp"], row["better"]) == (pytest.approx(30), pytest.approx(30), pytest.approx(45))


def test_the_story_has_its_chapters_and_trains_on_none_of_its_videos(data: Data) -> None:
    names = story.clear_videos(data.annotations, [video.name for video in data.annotations.subset("test")], count=2)
    lines: list[str] = []
    task, chapters = story.chapters(tiny(), data, names, lines.append)
    assert list(chapters) == ["untrained", "B", "F", "end"]
    assert set(chapters["untrained"].scores["vlp"]) == set(names)
    assert set(chapters["B"].confidence) == set(chapters["F"].confidence) == set(names)
    assert not chapters["end"].confidence
    assert not set(names) & set(task.batches.training)
    assert lines[-1].endswith("phase 4 of 4")
    again = story.chapters(tiny(), data, names)[1]["end"].scores["fused"][names[0]]
    np.testing.assert_array_equal(again.cas_tc, chapters["end"].scores["fused"][names[0]].cas_tc)


def test_the_clear_videos_are_chosen_by_its_annotations_alone(data: Data) -> None:
    names = [video.name for video in data.annotations.subset("test")]
    chosen = story.clear_videos(data.annotations, names, count=3)
    assert chosen == story.clear_videos(data.annotations, names[::-1], count=3)
    for name in chosen:
        assert len(set(data.annotations.videos[name].instance_labels)) == 1
    with pytest.raises(ValueError, match="expected a video of one class with 2 to 12 instances among 0 videos"):
        story.clear_videos(data.annotations, [])


def test_labels_lie_beyond_the_two_thresholds() -> None:
    background_t, foreground_t = story.labels(np.array([0.1, 0.5, 0.95]), tiny())
    assert background_t.tolist() == [True, False, False]
    assert foreground_t.tolist() == [False, False, True]


@pytest.fixture
def opened(task: Experiment) -> story.Explorer:
    names = story.clear_videos(task.data.annotations, task.test, count=2)
    truth = {name: task.snippet_truth(name).astype(np.float64) for name in names}
    return story.Explorer(task, {branch: scored(task, truth) for branch in ("cbp", "fused")})


def test_segments_follow_the_widgets_and_never_lie_over_a_better_one(opened: story.Explorer) -> None:
    before = opened.image.value
    table = opened.detections()["fused"]
    shared_nn = overlap(table.segment_n2, table.segment_n2)
    assert np.count_nonzero(shared_nn) == len(table) >= 2
    opened.widgets["shown"].value = 1
    assert len(opened.detections()["fused"]) == 1
    assert opened.image.value != before


def test_another_video_brings_its_own_classes(opened: story.Explorer) -> None:
    second = opened.widgets["video"].options[1]
    before = opened.image.value
    opened.widgets["video"].value = second
    assert list(opened.widgets["label"].options) == list(opened.truth[second])
    assert opened.image.value != before
    assert "instances met at tIoU 0.5" in opened.summary.value


def test_a_front_end_without_widgets_gets_the_picture(opened: story.Explorer) -> None:
    bundle = opened._repr_mimebundle_()
    assert bundle["image/png"].startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "cbp: " in bundle["text/plain"]
