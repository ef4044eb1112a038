"""Parts of one's own by name: they train, they name the run, they travel, and what is wrong with them is said first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import parts
import pytest
from faulty import SPEC

from wtal_lib import extensions
from wtal_lib.cli import main
from wtal_lib.method.config import Config
from wtal_lib.method.presets import preset
from wtal_lib.runs.experiment import Experiment, identity, resolved
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import Data, open_data
from wtal_lib.settings import from_dict, replaced, to_dict

OWN: dict[str, Any] = {
    "cbp__head": "my_heads:Tanh",
    "losses__extra": {"my_losses:smoothness": 0.1},
    "pseudo_labels__rule": "my_rules:quantiles",
    "fusion": "my_fusions:geometric",
}
SHORT = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 1, "training__videos": 4}
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def data() -> Data:
    return open_data(SPEC)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a part of each kind."""
    texts = {"my_heads": parts.HEAD, "my_losses": parts.LOSS, "my_rules": parts.RULE, "my_fusions": parts.FUSION}
    monkeypatch.chdir(parts.written(tmp_path / "here", **texts))
    return tmp_path / "here"


def short(**changes: Any) -> Config:
    return preset("full", profile="ci", **{**SHORT, **changes})


def begun(config: Config, data: Data) -> Any:
    one = Experiment(config, data, "cpu")
    return one.fresh()


def named(config: Config, data: Data) -> str:
    return identity(*resolved(config, "cpu")[:1], data, "cpu")


def test_a_run_of_own_parts_is_named_by_their_text_and_keeps_it(here: Path, data: Data, tmp_path: Path) -> None:
    record = run(short(**OWN), data, tmp_path / "run")
    assert {name: one["text"] for name, one in record["extensions"].items()} == {
        path.stem: path.read_text() for path in here.glob("*.py")
    }
    assert (tmp_path / "run/my_heads.py").read_text() == parts.HEAD
    assert record["config"]["cbp"]["head"] == "my_heads:Tanh"
    assert record["card"]["changes"]["losses.extra.my_losses:smoothness"] == 0.1
    losses = record["history"][-1]["losses"]
    assert {"cbp.my_losses:smoothness", "cbp.distill"} <= set(losses)
    labels = record["history"][-1]["pseudo_labels"]["cbp"]
    assert labels["foreground"] / labels["eligible"] == pytest.approx(0.2, abs=0.05)  # the highest fifth
    assert labels["background"] > 0  # the other kind, which weighs less in an F step
    assert run(short(**OWN), data, tmp_path / "run") == record
    text = parts.HEAD.replace("tanh", "sigmoid")
    parts.written(here, my_heads=text)
    other = run(short(**OWN), data, tmp_path / "other")
    assert other["identity"] != record["identity"]
    assert other["metrics"] != record["metrics"]
    with pytest.raises(ValueError, match="holds another run"):
        run(short(**OWN), data, tmp_path / "run")


def test_a_killed_run_of_own_parts_goes_on_with_the_same_text_only(here: Path, data: Data, tmp_path: Path) -> None:
    whole, said = run(short(**OWN), data, tmp_path / "whole"), []

    def stop(line: str) -> None:
        said.append(line)
        if len(said) > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(short(**OWN), data, tmp_path / "run", progress=stop)
    parts.written(here, my_losses=parts.LOSS + "\n")
    with pytest.raises(ValueError, match=r"last\.safetensors belongs to another configuration"):
        run(short(**OWN), data, tmp_path / "run")
    parts.written(here, my_losses=parts.LOSS)
    assert run(short(**OWN), data, tmp_path / "run")["metrics"] == whole["metrics"]


def test_own_terms_are_read_from_text_too() -> None:
    config = replaced(Config(), **{"losses.extra": "a:b=0.5, c.d:e=2"})
    assert config.losses.extra == {"a:b": 0.5, "c.d:e": 2.0}
    assert from_dict(Config, to_dict(config)) == config


BAD = {
    "no_module": ({"cbp__head": "nowhere:Tanh"}, {}, "no module nowhere; expected nowhere.py in "),
    "no_attribute": ({"cbp__head": "my_heads:Tan"}, {}, "my_heads holds no 'Tan'; it holds "),
    "no_import": ({"cbp__head": "bad:A"}, {"bad": "import nothing_of_the_kind"}, "bad.py does not import: ModuleNotF"),
    "no_syntax": ({"cbp__head": "bad:A"}, {"bad": "class A(:"}, "bad.py does not import: SyntaxError"),
    "head_signature": (
        {"cbp__head": "bad:Tanh"},
        {"bad": parts.HEAD.replace("moments, classes, config", "width", 1)},
        r"must be called as Head\(moments, classes, config\), got Tanh\(width\)",
    ),
    "head_fails": (
        {"cbp__head": "bad:Tanh"},
        {"bad": parts.HEAD.replace("super().__init__()", "0 / 0")},
        "cbp.head 'bad:Tanh' fails on a batch of two videos: ZeroDivisionError",
    ),
    "head_shape": (
        {"cbp__head": "bad:Tanh"},
        {"bad": parts.HEAD.replace("classes + 1", "classes")},
        r"logit must be of shape \(2, 40, 21\) for a batch of two videos, got shape \(2, 40, 20\)",
    ),
    "head_nan": (
        {"cbp__head": "bad:Tanh"},
        {"bad": parts.HEAD.replace(".tanh()", ".log()")},
        "logit must be finite for a batch of two videos",
    ),
    "head_mask": (
        {"cbp__head": "bad:Tanh"},
        {"bad": parts.HEAD.replace("* mask[:, :, None]", "- x.mean(dim=(1, 2), keepdim=True)")},
        "must give real snippets the same logit however long the padding is: use mask",
    ),
    "vlp_signature": ({"vlp__head": "my_heads:Tanh"}, {}, r"Head\(moments, text, logit_scale, config\), got Tanh"),
    "vlp_name": ({"vlp__head": "cola"}, {}, "unknown head 'cola'; .*choose one of conv"),
    "loss_signature": ({"losses__extra": {"bad:f": 1}}, {"bad": "def f(output): 0"}, r"loss\(output, mask, y\), got f"),
    "loss_shape": (
        {"losses__extra": {"bad:f": 1}},
        {"bad": "def f(output, mask, y): return output.attention"},
        r"losses.extra 'bad:f' must be of shape \(\) for a batch of two videos, got shape \(2, 40\)",
    ),
    "loss_number": (
        {"losses__extra": {"bad:f": 1}},
        {"bad": "def f(*_): return 1.0"},
        "must be a scalar tensor, got f",
    ),
    "loss_nan": (
        {"losses__extra": {"bad:f": 1}},
        {"bad": "def f(output, mask, y): return (output.attention - 2).log().mean()"},
        "losses.extra 'bad:f' must be finite",
    ),
    "loss_name": ({"losses__extra": {"smooth": 1}}, {}, "losses.extra must be one of module:attribute, got 'smooth'"),
    "rule_name": ({"pseudo_labels__rule": "top"}, {}, "rule must be one of thresholds, module:attribute, got 'top'"),
    "rule_signature": (
        {"pseudo_labels__rule": "bad:f"},
        {"bad": "def f(a, b): 0"},
        r"rule\(student, evidence, config, shares\), got f\(a, b\)",
    ),
    "rule_kind": (
        {"pseudo_labels__rule": "bad:f"},
        {"bad": "def f(*_): return 1"},
        "must return Confidence or Labels, got int",
    ),
    "rule_shape": (
        {"pseudo_labels__rule": "bad:quantiles"},
        {"bad": parts.RULE.replace("high.float()", "high.float()[1:]")},
        r"target must be of shape \(40, 1\) for a batch of two videos, got shape \(39, 1\)",
    ),
    "fusion_shape": (
        {"fusion": "bad:f"},
        {"bad": "def f(cas, share): return cas[0].sum(axis=1)"},
        r"fusion 'bad:f' must be of shape \(40, 20\) for a batch of two videos, got shape \(40,\)",
    ),
}


@pytest.mark.parametrize(("changes", "texts", "match"), BAD.values(), ids=BAD)
def test_what_is_wrong_with_a_part_is_one_sentence_before_training(
    changes: dict[str, Any], texts: dict[str, str], match: str, here: Path, data: Data
) -> None:
    parts.written(here, **texts)
    with pytest.raises(ValueError, match=match) as caught:
        begun(short(**changes), data)
    assert "\n" not in str(caught.value)


def test_a_part_that_was_changed_is_run_anew_and_not_before(here: Path) -> None:
    loss = extensions.load("my_losses:smoothness", "losses.extra")
    parts.written(here, my_losses=parts.LOSS.replace("diff(dim=1)", "diff(1 + 0, dim=1)"))
    assert extensions.load("my_losses:smoothness", "losses.extra") is loss
    assert extensions.read("my_losses", "loss").text != parts.LOSS
    assert extensions.load("my_losses:smoothness", "losses.extra") is not loss


GRID = """
profile: ci
source: simulated
seeds: [0, 1, 2]
changes:
  - {cbp.head: "my_heads:Tanh", losses.extra: {"my_losses:smoothness": 0.1}, schedule.warmup: 4, schedule.period: 2}
"""


def test_a_file_beside_a_grid_is_swept_by_local_workers_and_a_changed_line_makes_other_runs(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    (here / "grid.yaml").write_text(GRID)
    command = ["sweep", "grid.yaml", "--out", str(tmp_path / "results")]
    assert main([*command, "--workers", "2"]) == 0
    first = set((tmp_path / "results").glob("*/thumos14/runs/*.json"))
    for path in first:
        own = json.loads(path.read_text())["extensions"]
        assert {name: one["text"] for name, one in own.items()} == {"my_heads": parts.HEAD, "my_losses": parts.LOSS}
    parts.written(here, my_heads=parts.HEAD.replace("tanh", "sigmoid"))
    assert main([*command, "--workers", "1"]) == 0
    assert len(set((tmp_path / "results").glob("*/thumos14/runs/*.json")) - first) == len(first) == 3


def test_modules_are_sent_to_workers_that_lack_them_and_must_be_alike(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client, LocalCluster

    there = tmp_path / "there"
    there.mkdir()
    monkeypatch.chdir(there)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        monkeypatch.chdir(here)
        for text in (
            parts.LOSS,
            parts.LOSS + "\n# of another day\n",
        ):  # a worker that was sent an older one is sent this
            parts.written(here, my_losses=text)
            extensions.read("my_losses", "")
            extensions.share(client, ["my_losses"])
            assert {one for one, _ in client.run(extensions._there, "my_losses").values()} == {text}
        parts.written(there, my_heads=parts.HEAD + "\n# mine\n")
        extensions.read("my_heads", "")
        with pytest.raises(ValueError, match=r"the worker tcp.* has another my_heads than the one this run"):
            extensions.share(client, ["my_heads"])


def test_the_command_takes_own_parts(here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--profile", "ci", "--source", "simulated", "--out", str(tmp_path / "run")]
    for field, value in {**SHORT, "cbp__head": "my_heads:Tanh", "losses__extra": "my_losses:smoothness=0.1"}.items():
        given += ["--set", f"{field.replace('__', '.')}={value}"]
    assert main(["run", *given]) == 0
    assert json.loads((tmp_path / "run/record.json").read_text())["config"]["losses"]["extra"] == {
        "my_losses:smoothness": 0.1
    }
    assert main(["run", *given, "--set", "cbp.head=my_heads:Tan"]) == 2
    assert "my_heads holds no 'Tan'" in capsys.readouterr().err


def test_a_fusion_of_ones_own_by_hand(here: Path) -> None:
    fuse = extensions.load("my_fusions:geometric", "fusion")
    assert fuse(np.array([[[0.25]], [[1.0]]]), np.array([0.5, 0.5])).tolist() == [[0.5]]
