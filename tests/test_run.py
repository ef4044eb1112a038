"""One run, one record: its shape, that it is never computed twice, and the odd data it must survive."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from faulty import plain

from wtal_lib.data import checkpoint
from wtal_lib.method.localize import VideoScores, min_max
from wtal_lib.method.presets import PRESETS, preset
from wtal_lib.runs import experiment, store
from wtal_lib.runs import run as runs
from wtal_lib.runs.experiment import Experiment, identity, resolved
from wtal_lib.runs.results import as_text
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Spec, open_data
from wtal_lib.score.detections import read_detections
from wtal_lib.score.evaluate import report

SHORT = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 1, "training__videos": 4}

HEADLINE = "thumos14-210-seconds (40 of 210 videos)"
"what the headline protocol is called on the test videos of this profile"


@pytest.fixture(scope="module")
def data():
    return open_data(Spec(source="simulated", profile="ci"))


def short(name="full", **changes):
    return preset(name, profile="ci", **{**SHORT, **changes})


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_makes_a_record_with_scores_for_each_branch(data, tmp_path, name):
    record = run(short(name) if name != "vanilla_vlp" else preset(name, profile="ci"), data, tmp_path)
    assert json.loads((tmp_path / "record.json").read_text()) == record
    for branch in ("cbp", "vlp", "fused"):
        report = record["metrics"][branch][HEADLINE]
        assert {"iou", "map", "means", "ap", "videos", "ground_truth", "ignored"} <= set(report)
        assert 0 <= report["means"]["0.1:0.7"] <= 1
    assert set(json.loads((tmp_path / "detections.json").read_text())["results"]) == {
        video.name for video in data.annotations.subset("test")
    }
    assert record["uses_snippet_labels"] == (name == "supervised")
    assert ("upper bound" in as_text(record)) == (name == "supervised")
    assert "simulated features" in as_text(record)


def test_a_finished_run_is_never_computed_twice_unless_asked(data, tmp_path, monkeypatch):
    first = run(short(), data, tmp_path)
    trained = []
    original = runs.checkpoints.train
    monkeypatch.setattr(runs.checkpoints, "train", lambda *a, **k: trained.append(1) or original(*a, **k))
    assert run(short(), data, tmp_path) == first
    assert not trained
    again = run(short(), data, tmp_path, anew=True)
    assert trained
    assert again["metrics"] == first["metrics"]


def test_a_run_says_the_same_with_any_number_of_threads(data, tmp_path):
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(run(short(), data, tmp_path / str(threads)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert plain(found[0]) == plain(found[1])
    assert found[0]["threads"] == 1


def test_runs_of_a_store_share_their_warm_up_and_give_what_they_give_alone(data, tmp_path):
    for name in ("full", "late_fusion"):
        config = short(name)
        shared = run(config, data, store.Store(tmp_path / "results", tmp_path / "store"), share=True)
        alone = run(config, data, tmp_path / name)
        assert shared["metrics"] == alone["metrics"]
    assert len(list((tmp_path / "store").glob("warmup-*"))) == 1


def test_a_damaged_record_is_computed_again(data, tmp_path):
    first = run(short(), data, tmp_path)
    (tmp_path / "record.json").write_text('{"metrics": ')
    assert run(short(), data, tmp_path)["metrics"] == first["metrics"]


def test_the_curve_is_looked_at_and_changes_nothing(data, tmp_path):
    with_curve, without = (run(short(), data, tmp_path / str(curve), curve=curve) for curve in (True, False))
    assert with_curve["metrics"] == without["metrics"]
    assert "map" in with_curve["history"][-1]
    assert "map" not in without["history"][-1]


def test_the_curve_over_many_test_videos_is_that_of_a_sample_which_the_record_names(data, tmp_path, monkeypatch):
    whole = run(short(), data, tmp_path / "whole", curve=True)
    monkeypatch.setattr(experiment, "CURVE_VIDEOS", 7)
    record = run(short(), data, tmp_path / "part", curve=True)
    test = [video.name for video in data.annotations.subset("test")]
    assert "curve_videos" not in whole
    assert record["curve_videos"] == test[::6] == test[::6][:7]
    assert record["metrics"] == whole["metrics"]
    few = {name: data.annotations.videos[name] for name in record["curve_videos"]}
    table = replace(data.annotations, videos=few)
    part = read_detections(tmp_path / "part" / "detections.json", table)
    scored = next(iter(report(part, table, ["thumos14-210-seconds"])["protocols"].values()))
    assert record["history"][-1]["map"]["fused"] == pytest.approx(scored["means"]["0.1:0.7"], abs=1e-4)


def test_a_test_video_without_features_is_a_miss_and_is_named(data, tmp_path):
    test = [video.name for video in data.annotations.subset("test")]
    lost = test[0]
    cbp = copy.copy(data.cbp)
    cbp.lengths = {name: rows for name, rows in cbp.lengths.items() if name != lost}
    record = run(short(), replace(data, cbp=cbp), tmp_path)
    report = record["metrics"]["fused"][HEADLINE]
    whole = run(short(), data, tmp_path / "whole")["metrics"]["fused"][HEADLINE]
    assert record["missing"]["test"] == [lost]
    assert report["ground_truth"] == whole["ground_truth"]


def only(data, keep):
    """The data with some videos only."""
    videos = {name: video for name, video in data.annotations.videos.items() if keep(video)}
    return replace(data, annotations=replace(data.annotations, videos=videos))


def test_a_single_training_video_and_classes_without_any_are_enough(data, tmp_path):
    first = data.annotations.subset("train")[0].name
    few = only(data, lambda video: video.subset == "test" or video.name == first)
    assert np.isfinite(run(short(), few, tmp_path)["metrics"]["fused"][HEADLINE]["map"]).all()


def test_training_videos_without_labels_are_refused_with_the_reason(data, tmp_path):
    videos = {
        name: replace(video, labels=()) if video.subset == "train" else video
        for name, video in data.annotations.videos.items()
    }
    bare = replace(data, annotations=replace(data.annotations, videos=videos))
    with pytest.raises(ValueError, match="expected training videos with labels and features, got none"):
        run(short(), bare, tmp_path)


def test_learnt_prompts_need_a_text_tower(data, tmp_path):
    with pytest.raises(ValueError, match="needs a text tower"):
        run(short(prompts="context"), data, tmp_path)


def test_a_gpu_that_is_not_there_is_refused(data, tmp_path):
    if runs.torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ValueError, match="sees no GPU"):
        run(short(), data, tmp_path, device="cuda")


def test_completeness_of_the_truth_itself_is_one(data):
    task = Experiment(short(), data)
    scores = {}
    for name in task.test:
        truth_tc = task.snippet_truth(name).astype(np.float32)
        scores[name] = VideoScores(name, truth_tc, np.ones(len(truth_tc), np.float32), truth_tc.max(axis=0))
    measured = task.complementarity(scores)
    assert measured["completeness"] > 0.85  # instances end within snippets
    assert measured["elsewhere"] < 0.02
    assert measured["inside"] > 0.85


def test_sequences_are_smoothed_before_they_are_fused(data):
    plain_one, smooth = (Experiment(short(localize__smoothing=width), data) for width in (0.0, 2.0))
    state = plain_one.fresh()
    state.done = 1
    name = smooth.test[0]
    before, after = (one.scores(state, [name]) for one in (plain_one, smooth))
    raw = before["cbp"][name].cas_tc.astype(np.float64)
    mean = np.apply_along_axis(lambda row: np.convolve(row, np.ones(3) / 3, "same"), 0, raw)  # 2 s are three snippets
    inner = slice(1, -1)
    ours = after["cbp"][name].cas_tc
    scaled = np.polyfit(mean[inner].ravel(), ours[inner].ravel(), 1)  # min-max alone lies between the two
    assert np.allclose(np.polyval(scaled, mean[inner]), ours[inner], atol=1e-4)
    shares = [smooth.config.cbp_share, 1 - smooth.config.cbp_share]
    both = np.average([after[branch][name].cas_tc for branch in ("cbp", "vlp")], axis=0, weights=shares)
    assert np.allclose(min_max(after["fused"][name].cas_tc), min_max(both), atol=1e-5)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_of_a_run_remains_what_is_asked_and_its_record_stays_as_it_was(data, tmp_path, monkeypatch):
    place, trained = store.Store(tmp_path / "results", tmp_path / "cache"), []
    own, record = place.places(Experiment(short(), data).identity)
    folder = record.parent
    original = runs.checkpoints.trainer._run_phase
    monkeypatch.setattr(runs.checkpoints.trainer, "_run_phase", lambda *a, **k: trained.append(1) or original(*a, **k))

    def computed(*keep):
        trained.clear()
        record = run(short(), data, place, keep=keep)
        return plain(record), len(trained)

    first, phases = computed()
    content = own.read_bytes()
    assert not files(tmp_path / "cache"), "the record is all there is"
    assert computed() == (first, 0)
    assert computed("networks") == (first, phases), "they were gone"
    assert files(folder) == ["last.safetensors", "record.json"]
    names = checkpoint.read(folder / "last.safetensors")[0]
    assert {name.split(".")[1] for name in names} == {"weights", "average"}, "no state of the optimizers"
    assert computed("detections") == (first, 0)
    assert files(folder)[:3] == ["detections.json", "detections_cbp.json", "detections_vlp.json"]
    assert computed("networks", "detections") == (first, 0), "what was kept before was not removed"
    assert own.read_bytes() == content
    own.unlink()
    assert computed() == (first, 0), "a record in the cache is one, and goes to the results"
    assert own.read_bytes() == content


def test_kept_detections_are_those_that_were_scored_compressed_or_not(data, tmp_path):
    record = run(short(), data, tmp_path)
    before = store.kept_detections(tmp_path, data.annotations, "cbp")
    size = (tmp_path / "detections_cbp.json").stat().st_size
    store.pack_detections(tmp_path)
    assert (tmp_path / "detections_cbp.json.gz").stat().st_size < size / 3
    assert not (tmp_path / "detections_cbp.json").exists()
    after = store.kept_detections(tmp_path, data.annotations, "cbp")
    assert np.array_equal(after.score_n, before.score_n)
    scored = report(after, data.annotations, [HEADLINE])["protocols"][HEADLINE]
    assert scored["map"] == pytest.approx(record["metrics"]["cbp"][HEADLINE]["map"], abs=1e-5)


def test_a_run_is_named_by_what_its_numbers_come_from(data, monkeypatch):
    def name(device="cpu", **changes):
        config, device = resolved(short(**changes), device)
        return identity(config, data, device)

    assert name() == Experiment(short(), data, "cpu").identity
    exact, short_ones = (name(training__precision=kind) for kind in ("float32", "bfloat16"))
    assert exact != short_ones
    assert name() in (exact, short_ones), "auto is settled first"
    assert name("cuda", training__precision="bfloat16") == name("cuda:1", training__precision="bfloat16") != short_ones
    assert name(seed=1) != name()
    assert name(localize__smoothing=2.0) != name()
    before = name()
    monkeypatch.setattr(experiment, "METHOD", experiment.METHOD + 1)
    assert name() != before


def test_records_say_where_videos_and_features_come_from(data, tmp_path):
    assert data.place == "drawn"
    record = run(short(), data, tmp_path)
    assert (record["source"], record["structure"], record["card"]["profile"]) == ("drawn", "simulated", "ci")
    assert "simulated features over drawn annotations" in as_text(record)
    assert replace(data, annotations=replace(data.annotations, layout="w-talc")).place == "simulated"
