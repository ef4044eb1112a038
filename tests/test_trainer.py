"""The alternating trainer: who moves, to the bit, through a kill, and what it refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wtal_lib.method import trainer
from wtal_lib.method.models import whole_videos
from wtal_lib.method.presets import preset
from wtal_lib.method.pseudo_labels import Labels
from wtal_lib.method.schedule import alternate
from wtal_lib.method.state import BRANCHES
from wtal_lib.runs import checkpoints
from wtal_lib.runs.checkpoints import identity, resume
from wtal_lib.runs.experiment import Experiment
from wtal_lib.runs.sources import Spec, open_data
from wtal_lib.settings import replaced

SHORT = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 2, "training__videos": 4}


@pytest.fixture(scope="module")
def data():
    return open_data(Spec(source="simulated", root="", profile="ci"))


def task(data, name="full", **changes):
    return Experiment(preset(name, profile="ci", **{**SHORT, **changes}), data)


def trained(one, folder=None, state=None):
    state = state or one.fresh()
    if folder is None:
        return trainer.train(one.config, one.batches, state, truth=one.snippet_truth)
    return checkpoints.train(one.config, one.batches, state, folder, truth=one.snippet_truth)


def weights(state):
    parts = [state.branches[name].state_dict() for name in BRANCHES]
    parts += [state.averages[name].state_dict() for name in BRANCHES]
    return torch.cat([value.flatten().float() for part in parts for value in part.values()])


def test_the_same_seed_gives_the_same_bits_and_another_does_not(data):
    first, again, other = (weights(trained(task(data, **change))) for change in ({}, {}, {"seed": 1}))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_callers_random_state_is_left_alone(data):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trained(task(data))
    assert torch.equal(torch.rand(3), expected)


def test_a_step_moves_its_student_and_freezes_its_teacher(data):
    one, seen = task(data), []
    state = one.fresh()
    before = {name: trainer_weights(state, name) for name in BRANCHES}

    def on_phase(phase, state):
        now = {name: trainer_weights(state, name) for name in BRANCHES}
        seen.append((phase.name, {name for name in now if not torch.equal(now[name], before[name])}))
        before.update(now)

    trainer.train(one.config, one.batches, state, on_phase=on_phase)
    assert seen == [
        *[("warmup", {"cbp", "vlp"})] * 2,
        *[("B", {"vlp"}), ("F", {"cbp"})] * 2,
    ]


def trainer_weights(state, name):
    return torch.cat([value.detach().flatten().clone() for value in state.branches[name].parameters()])


def test_presets_share_their_warm_up_to_the_bit(data):
    entries = [trained(task(data, name)).history[1]["losses"] for name in ("full", "late_fusion", "joint")]
    assert entries[0] == entries[1] == entries[2]


def test_pseudo_labels_are_counted_but_the_ground_truth_changes_nothing(data):
    one = task(data)
    blind = trainer.train(one.config, one.batches, one.fresh())
    seeing = trained(one)
    assert torch.equal(weights(blind), weights(seeing))
    counts = seeing.history[-1]["pseudo_labels"]["cbp"]
    assert 0 < counts["foreground_right"] <= counts["foreground"] < counts["eligible"]


def test_a_branch_is_asked_once_about_each_video_until_it_moves(data, monkeypatch):
    one, asked = task(data, "consensus"), []

    def noted(branch, names, *more):
        asked.append(set(names))
        return whole_videos(branch, names, *more)

    monkeypatch.setattr(trainer, "whole_videos", noted)
    trained(one)
    phases = [phase for phase in alternate(one.config.schedule) if phase.taught]
    needed = [{n for step in range(p.start, p.start + p.steps) for n in one.batches.names(step)} for p in phases]
    cbp, vlp = asked[::2], asked[1::2]
    assert cbp[::2] == [needed[0], needed[2]], "no evidence before the first B, none left after F has trained CBP"
    assert cbp[1::2] == [needed[1] - needed[0], needed[3] - needed[2]], "F has the evidence of B"
    assert vlp[0] == needed[0]
    assert vlp[1::2] == [needed[1], needed[3]], "B has trained VLP"
    assert vlp[2] == needed[2] - needed[1], "VLP stands as it stood in the F step before"


def test_the_paper_s_rule_asks_the_teacher_alone(data, monkeypatch):
    one, asked = task(data, "paper"), []
    state = one.fresh()

    def noted(branch, names, *more):
        asked.append(next(name for name in BRANCHES if state.averages[name] is branch))
        return whole_videos(branch, names, *more)

    monkeypatch.setattr(trainer, "whole_videos", noted)
    trained(one, state=state)
    assert asked == ["cbp", "vlp"] * 2  # B, F, B, F
    counts = [entry["pseudo_labels"] for entry in state.history if entry["name"] != "warmup"]
    assert all(b["vlp"]["background"] > b["vlp"]["foreground"] == 0 for b in counts[::2])
    assert all(f["cbp"]["foreground"] > f["cbp"]["background"] == 0 for f in counts[1::2])


@pytest.mark.parametrize("phases", [1, 3, 5])
def test_a_run_that_stopped_after_any_phase_resumes_to_the_same_bits(data, tmp_path, phases):
    one, whole = task(data), trained(task(data))

    class StoppedError(Exception):
        pass

    def stop(phase, state):
        if phase.index + 1 == phases:
            raise StoppedError

    state = one.fresh()
    with pytest.raises(StoppedError):
        checkpoints.train(one.config, one.batches, state, tmp_path, on_phase=stop)
    resumed = trained(one, tmp_path)
    assert torch.equal(weights(resumed), weights(whole))
    assert len(resumed.history) == len(whole.history)


def test_a_checkpoint_keeps_evidence_and_reliability(data, tmp_path):
    one = task(data)
    whole = trained(one, tmp_path)
    resumed = one.fresh()
    resume(one.config, one.batches, resumed, tmp_path)
    assert resumed.evidence["vlp"], "the last step trained CBP: VLP stands as it stood when it taught"
    assert {n: set(of) for n, of in resumed.evidence.items()} == {n: set(of) for n, of in whole.evidence.items()}
    assert all(torch.equal(rows, whole.evidence["vlp"][video]) for video, rows in resumed.evidence["vlp"].items())
    assert resumed.reliability == whole.reliability == whole.history[-1]["reliability"]
    assert 0 <= min(whole.reliability.values()) < max(whole.reliability.values()) <= 1
    assert whole.history[1]["reliability"] is None, "the warm-up is not over"


def test_reliability_is_measured_once_and_a_resumed_run_does_not_measure_again(data, tmp_path, monkeypatch):
    one, times = task(data), []
    monkeypatch.setattr(trainer, "measure", lambda *given: times.append(1) or {"cbp": 0.8, "vlp": 0.9})

    def stop(phase, state):
        if phase.name == "B":
            raise InterruptedError

    state = one.fresh()
    with pytest.raises(InterruptedError):
        checkpoints.train(one.config, one.batches, state, tmp_path, on_phase=stop)
    assert len(times) == 1
    trained(one, tmp_path)
    assert len(times) == 2, "stopped in B, before its checkpoint: the warm-up's checkpoint knows no reliability"
    trained(one, tmp_path)
    assert len(times) == 2


@pytest.mark.parametrize(
    ("word", "reliability", "earned", "expected"),
    [
        ("teacher", {"cbp": 0.5, "vlp": 0.8}, True, {"vlp": 0.5, "cbp": 1.0}),  # B by CBP, F by VLP
        ("teacher", {"cbp": 0.5, "vlp": 0.8}, False, {"vlp": 1.0, "cbp": 1.0}),
        ("ternary", {"cbp": 0.5, "vlp": 0.8}, True, {"vlp": 0.5, "cbp": 0.5}),
        ("mean", {"cbp": 0.5, "vlp": 0.8}, True, {"vlp": 1.0, "cbp": 1.0}),  # the mean is weighted itself
        ("teacher", {"cbp": 0.0, "vlp": 0.8}, True, {"vlp": 0.0, "cbp": 1.0}),
    ],
)
def test_a_teacher_s_labels_weigh_by_its_claim(data, word, reliability, earned, expected):
    one = task(data, pseudo_labels__word=word, pseudo_labels__earned=earned, training__precision="float32")
    batch = one.batches[0]
    labels = Labels(batch.y[:, None, :] * batch.mask[:, :, None], (batch.y > 0)[:, None, :] & batch.mask[:, :, None])
    for student, weight in expected.items():
        terms = []
        for known in (reliability, None):
            state = one.fresh()
            state.reliability = known
            terms.append(trainer.update(one.config, state, student, batch, labels, 0)["distill"])
        assert terms[0] == pytest.approx(weight * terms[1], rel=1e-5)


def test_a_rule_that_labels_nothing_is_a_warning_in_the_history(data):
    never = {"pseudo_labels__background_below": 0.0, "pseudo_labels__foreground_above": 1.0}
    history = trained(task(data, **never)).history
    warnings = {entry["name"]: entry["warnings"] for entry in history}
    assert warnings == {
        "warmup": [], "B": ["vlp: the rule gave no label"], "F": ["cbp: the rule gave no label"],
    }  # fmt: skip
    assert not any(entry["warnings"] for entry in trained(task(data)).history)
    assert not any(entry["warnings"] for entry in trained(task(data, "late_fusion")).history), "nobody is taught"


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_trainer import Spec, open_data, task, trained
print("ready", flush=True)
trained(task(open_data(Spec(source="simulated", profile="ci")), schedule__rounds=10), Path({folder!r}))
"""


def test_a_run_killed_with_kill_9_resumes_to_the_same_bits(data, tmp_path):
    code = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert process.stdout.readline() == b"ready\n"
    while not (tmp_path / "last.safetensors").exists() and process.poll() is None:
        pass
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    one = task(data, schedule__rounds=10)
    assert torch.equal(weights(trained(one, tmp_path)), weights(trained(one)))


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_taken(data, tmp_path):
    one = task(data)
    whole = trained(one, tmp_path)
    content = bytearray((tmp_path / "last.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "last.safetensors").write_bytes(content)
    state = trained(one, tmp_path)
    assert (tmp_path / "last.damaged").exists()
    assert torch.equal(weights(state), weights(whole))


def test_a_checkpoint_of_another_configuration_is_refused(data, tmp_path):
    trained(task(data), tmp_path)
    with pytest.raises(ValueError, match="another configuration or other data"):
        trained(task(data, cbp__hidden=16), tmp_path)


def test_a_loss_that_is_not_a_number_stops_with_step_videos_and_checkpoint(data, tmp_path):
    one = task(data, cbp__learning_rate=1e30, training__precision="float32")
    with pytest.raises(FloatingPointError, match=r"not a number at update \d+ .*video.*checkpoint"):
        trained(one, tmp_path)


def test_the_supervised_bound_wants_ground_truth(data):
    one = task(data, "supervised")
    state = one.fresh()
    with pytest.raises(ValueError, match="trains on ground truth, and none was given"):
        trainer.train(one.config, one.batches, state)


@pytest.mark.parametrize(
    "changes",
    [
        {"pseudo_labels__targets": "soft"}, {"pseudo_labels__into": "attention"}, {"vlp__temporal": "transformer"},
        {"schedule__kind": "joint", "pseudo_labels__word": "mean"}, {"pseudo_labels__word": "ternary"},
        {"prompts": "fixed"},
        {"training__average": 0.0}, {"schedule__order": "fb"}, {"training__precision": "float32"},
    ],
    ids=lambda changes: ",".join(changes),
)  # fmt: skip
def test_every_variant_trains_to_finite_scores(data, changes):
    one = task(data, **changes)
    scores = one.scores(trained(one))
    assert all(np.isfinite(video.cas_tc).all() for branch in scores.values() for video in branch.values())


def test_precision_changes_the_arithmetic_and_not_the_outcome(data):
    low, high = (trained(task(data, training__precision=p)).history for p in ("bfloat16", "float32"))
    assert low[-1]["losses"]["cbp.mil_orig"] == pytest.approx(high[-1]["losses"]["cbp.mil_orig"], rel=0.1)


def test_replacing_the_fingerprint_of_the_data_changes_the_identity(data):
    one = task(data)
    assert identity(one.config, one.batches) != identity(replaced(one.config, seed=9), one.batches)
