from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import parts
import pytest
import tiny
import torch

from wtal_lib import cli
from wtal_lib.data import checkpoint
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_vlp_pack
from wtal_lib.method.config import Config
from wtal_lib.method.heads.conv import CbpBranch
from wtal_lib.method.localize import min_max
from wtal_lib.method.models import VlpBranch, video_level
from wtal_lib.method.predict import fuse
from wtal_lib.method.text import TextResidual
from wtal_lib.runs.records import sha256
from wtal_lib.settings import replaced, to_dict
from wtal_lib.video import text
from wtal_lib.video.open_vocabulary import cbp_features, localize_pack, open_pack, scores, trained, vanilla

WIDTH = 8


def write_pack(folder: Path, classes: tuple[str, ...], videos: dict[str, np.ndarray], **meta: object) -> Path:
    """A pack whose text rows are the first unit vectors."""
    known = {"model": "m", "pretrained": "p", "fps": 25, "stride": 16, "embed_dim": WIDTH, "logit_scale": 100.0}
    content = {**known, "classes": list(classes), "templates": ["{}"], **meta}
    text_ce = np.eye(len(classes), WIDTH, dtype=np.float32)
    write_vlp_pack(folder, meta=content, text_ce=text_ce, features=videos.items())
    return folder


def planted(snippets: int, **spans: tuple[int, int, int]) -> np.ndarray:
    """Rows that look like nothing, and within each span (start, stop, class) like that class."""
    rows = np.zeros((snippets, WIDTH), np.float32)
    rows[:, -1], rows[:, 0] = 1.0, 0.02
    for start, stop, label in spans.values():
        rows[start:stop] = 0
        rows[start:stop, label] = 1
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_what_looks_like_a_class_is_found_where_it_is(tmp_path) -> None:
    folder = write_pack(tmp_path / "p", ("juggling", "ironing"), {"a": planted(50, one=(10, 20, 1)), "b": planted(3)})
    pack = open_pack(folder)
    found = localize_pack(pack, vanilla(pack))
    assert (found.videos, found.classes) == (("a", "b"), ("juggling", "ironing"))
    mine = (found.video_n == 0) & (found.label_n == 1)
    best = found.segment_n2[mine][np.argmax(found.score_n[mine])]
    assert best.tolist() == pytest.approx([6.4, 12.8])


def test_vanilla_activations_are_the_softmax_of_scaled_cosines(tmp_path) -> None:
    rows = np.random.default_rng(0).normal(size=(6, WIDTH)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    pack = open_pack(write_pack(tmp_path / "p", ("x", "y", "z"), {"a": rows}, logit_scale=3.0))
    logit = 3.0 * pack["a"].astype(np.float32)[:, :3]
    expected = np.exp(logit) / np.exp(logit).sum(axis=1, keepdims=True)
    assert np.allclose(scores(pack, vanilla(pack))["a"].activation_tc, expected, atol=2e-3)


def test_a_single_class_is_found_by_its_cosine(tmp_path) -> None:
    pack = open_pack(write_pack(tmp_path / "p", ("diving",), {"a": planted(40, one=(5, 15, 0))}))
    found = localize_pack(pack, vanilla(pack))
    assert found.segment_n2[np.argmax(found.score_n)].tolist() == pytest.approx([3.2, 9.6])


CONFIG = replaced(Config(), cbp={"hidden": 8}, vlp={"hidden": 8}, training={"precision": "float32"})


@dataclass
class Cbp:
    """CBP features in memory."""

    rows: dict[str, np.ndarray]
    grid: Grid = I3D_GRID
    width: int = 6
    fingerprint: str = "f"

    @property
    def lengths(self) -> dict[str, int]:
        return {name: len(rows) for name, rows in self.rows.items()}

    def __getitem__(self, name: str) -> np.ndarray:
        return self.rows[name]

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(6, np.float32), np.ones(6, np.float32)


CONTENT = {
    "width": {"cbp": 6, "vlp": WIDTH},
    "reliability": {"cbp": 0.5, "vlp": 0.8},
    "classes": get_dataset("thumos14").classes,
}
"what a run's checkpoint says beside its weights"


@pytest.fixture
def run(tmp_path) -> tuple[Path, dict[str, torch.nn.Module]]:
    """A finished run as it lies on disk, and its branches."""
    torch.manual_seed(0)
    moments = [(np.full(n, 0.1, np.float32), np.full(n, 0.5, np.float32)) for n in (6, WIDTH)]
    residual = TextResidual(torch.randn(20, WIDTH))
    branches = {"cbp": CbpBranch(moments[0], 20, CONFIG.cbp), "vlp": VlpBranch(moments[1], residual, 50.0, CONFIG.vlp)}
    for weight in (weight for branch in branches.values() for weight in branch.parameters()):
        weight.data.add_(0.1 * torch.randn_like(weight))
    groups = {f"{name}.average": branch.state_dict() for name, branch in branches.items()}
    checkpoint.write(tmp_path / "run" / "last.safetensors", groups, CONTENT)
    (tmp_path / "run" / "record.json").write_text(json.dumps({"config": to_dict(CONFIG)}))
    return tmp_path / "run", {name: branch.eval() for name, branch in branches.items()}


def test_a_trained_run_scores_a_pack_as_its_branches_do(tmp_path, run) -> None:
    rows = planted(30, one=(3, 9, 1))
    pack = open_pack(write_pack(tmp_path / "p", ("juggling",), {"a": rows, "b": rows[:7]}))
    scorer = trained(run[0], pack)
    found = scores(pack, scorer)
    mask = torch.ones(1, 30, dtype=torch.bool)
    with torch.no_grad():
        output = run[1]["vlp"](torch.from_numpy(pack["a"].astype(np.float32))[None], mask)
    assert scorer.classes == get_dataset("thumos14").classes
    assert np.allclose(found["a"].activation_tc, output.activation()[0].numpy(), atol=1e-5)
    assert np.allclose(found["a"].video_c, video_level(output, CONFIG.training.pool), atol=1e-5)
    assert np.allclose(found["a"].cas_tc, min_max(output.score()[0].numpy()), atol=1e-5)
    assert list(found) == ["a", "b"]


def test_a_run_of_other_parts_or_of_scores_cannot_be_applied(tmp_path, run, monkeypatch) -> None:
    pack = open_pack(write_pack(tmp_path / "p", ("juggling",), {"a": planted(30)}))
    monkeypatch.chdir(parts.written(tmp_path / "here", my_fusions=parts.FUSION))
    record = {"config": to_dict(replaced(CONFIG, fusion="my_fusions:geometric"))}
    for text_of_then, refused in ((parts.FUSION, None), ("of another day", "has another my_fusions than the one this")):
        own = {"my_fusions": {"sha256": sha256(text_of_then), "text": text_of_then}}
        (run[0] / "record.json").write_text(json.dumps({**record, "extensions": own}))
        with pytest.raises(ValueError, match=refused) if refused else nullcontext():
            assert trained(run[0], pack).config.fusion == "my_fusions:geometric"
    foreign = {"config": to_dict(replaced(CONFIG, cbp__head="precomputed:scores"))}
    (run[0] / "record.json").write_text(json.dumps(foreign))
    with pytest.raises(ValueError, match="is another method's scores, of its own videos alone"):
        trained(run[0], pack)


@pytest.mark.parametrize("form", [{}, text.EFFICIENT_PROMPT])
def test_learnt_prompts_come_back_with_their_run(tmp_path, run, form) -> None:
    model = {"model": tiny.folder(tmp_path / "tiny"), "pretrained": "random", "origin": {"seed": 3}}
    learner = text.learner_for(model, get_dataset("thumos14").classes, **form)
    with torch.no_grad():
        for context in learner.parameters():
            context.add_(0.1 * torch.randn_like(context))
    branches = run[1] | {"vlp": VlpBranch((np.zeros(32), np.ones(32)), learner, 50.0, CONFIG.vlp)}
    groups = {f"{name}.average": branch.state_dict() for name, branch in branches.items()}
    checkpoint.write(run[0] / "last.safetensors", groups, CONTENT | {"width": {"cbp": 6, "vlp": 32}})
    config = to_dict(replaced(CONFIG, prompts="context"))
    (run[0] / "record.json").write_text(json.dumps({"config": config}))
    rows = np.eye(5, 32, dtype=np.float32)
    write_vlp_pack(
        tmp_path / "p",
        meta={**model, "fps": 25, "stride": 16, "embed_dim": 32, "logit_scale": 9.0, "classes": ["x"], "templates": []},
        text_ce=rows[:1],
        features=[("a", rows)],
    )
    assert torch.equal(trained(run[0], open_pack(tmp_path / "p")).branches["vlp"].text(), learner().detach())


def test_both_branches_score_where_cbp_features_are_there(tmp_path, run) -> None:
    videos = {"a": planted(30, one=(3, 9, 1)), "b": planted(12)}
    pack = open_pack(write_pack(tmp_path / "p", ("juggling",), videos))
    cbp = Cbp({"a": np.random.default_rng(0).random((29, 6), dtype=np.float32)})
    scorer = trained(run[0], pack)
    found = scores(pack, scorer, cbp)
    with torch.no_grad():
        output = run[1]["cbp"](torch.from_numpy(cbp["a"])[None], torch.ones(1, 29, dtype=torch.bool))
    alone = scores(pack, scorer)
    assert found["a"].activation_tc.shape == (29, 20)
    share = 0.8 * 0.5 / (0.8 * 0.5 + 0.2)  # CBP claims half: 4 x 0.5 / 0.8 - 2
    mean = share * output.activation()[0].numpy() + (1 - share) * alone["a"].activation_tc[:29]
    assert np.abs(found["a"].activation_tc - mean).max() < 0.15  # the last rows see another neighbour
    assert np.allclose(found["a"].activation_tc[:20], mean[:20], atol=1e-5)
    assert np.array_equal(found["b"].activation_tc, alone["b"].activation_tc)
    assert found["a"].score_tc is not None
    assert fuse([alone["b"], alone["b"]], Config()).score_tc.shape == (12, 20)


def test_packs_and_runs_that_do_not_fit_are_refused(tmp_path, run) -> None:
    with pytest.raises(FileNotFoundError, match=r"no VLP pack in .*expected meta\.json there"):
        open_pack(tmp_path)
    write_pack(tmp_path / "empty", ("x",), {})
    with pytest.raises(FileNotFoundError, match="holds no video yet"):
        open_pack(tmp_path / "empty")
    broken = planted(4)
    broken[1, 1] = np.nan
    pack = open_pack(write_pack(tmp_path / "p", ("x",), {"a": broken}))
    with pytest.raises(ValueError, match=r"a\.npy: expected finite embeddings \(snippets, 8\)"):
        localize_pack(pack, vanilla(pack))
    with pytest.raises(FileNotFoundError, match="no finished run in"):
        trained(tmp_path, pack)
    pack.meta["embed_dim"] = 9
    with pytest.raises(ValueError, match=r"was trained on embeddings of width 8, .* has 9"):
        trained(run[0], pack)
    with pytest.raises(ValueError, match="CBP features serve the CBP branch of a trained run"):
        cbp_features(tmp_path, vanilla(pack))


def test_an_unreadable_video_is_named_and_the_others_are_localized(tmp_path, capsys) -> None:
    rows = {name: planted(30, one=(3, 9, 1)) for name in ("a", "b")}
    folder, out = write_pack(tmp_path / "p", ("juggling", "ironing"), rows), tmp_path / "out.json"
    (folder / "features" / "a.npy").write_bytes(b"<html>")
    assert cli.main(["localize", str(folder), "--out", str(out)]) == 1
    assert list(json.loads(out.read_text())["results"]) == ["b"]
    assert "a.npy: expected finite embeddings (snippets, 8), but it is a web page" in capsys.readouterr().err
    (folder / "features" / "b.npy").write_bytes(b"")
    assert cli.main(["localize", str(folder), "--out", str(out)]) == 2
    assert "none of its 2 videos can be read" in capsys.readouterr().err


def test_the_command_writes_detections_with_a_run_and_without(tmp_path, run, capsys) -> None:
    folder = write_pack(tmp_path / "p", ("juggling", "ironing"), {"a": planted(30, one=(3, 9, 1))})
    out = tmp_path / "out.json"
    assert cli.main(["localize", str(folder), "--out", str(out)]) == 0
    assert {row["label"] for row in json.loads(out.read_text())["results"]["a"]} <= {"juggling", "ironing"}
    assert cli.main(["localize", str(folder), "--checkpoint", str(run[0]), "--out", str(out)]) == 0
    assert {row["label"] for row in json.loads(out.read_text())["results"]["a"]} <= set(get_dataset("thumos14").classes)
    assert "segments in 1 videos" in capsys.readouterr().out
    assert cli.main(["localize", str(tmp_path / "none"), "--out", str(out)]) == 2
