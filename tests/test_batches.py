"""Batches: a function of seed and step alone, every video once an epoch, both modalities at the same moments."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import made
import numpy as np
import pytest
import torch

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.batches import Batches
from wtal_lib.data.features import find_pack
from wtal_lib.data.segments import I3D_GRID


def batches(
    tmp_path: Path, data: Annotations, rows: int = 25, vlp: dict[str, np.ndarray] | None = None, **named: float
) -> Batches:
    """Batches over a W-TALC pack and a CLIP pack whose rows tell video and snippet."""
    root, cache = tmp_path / "data", tmp_path / "cache"
    made.write_joint(root / "thumos14", made.features(data, rows=rows))
    made.write_files(root / "thumos14" / "clip", vlp or made.features(data, width=2, rows=rows))
    cbp = find_pack(root, "thumos14", "cbp", data, cache=cache)
    return Batches(data, cbp, find_pack(root, "thumos14", "vlp", data, cache=cache), **named)


def test_a_batch_depends_on_seed_and_step_alone(tmp_path: Path) -> None:
    data = made.annotations(9)
    forward = batches(tmp_path, data, videos=4, snippets=10, seed=3)
    again = batches(tmp_path, data, videos=4, snippets=10, seed=3)
    other = batches(tmp_path, data, videos=4, snippets=10, seed=4)
    for step in (7, 0, 3):
        a, b = forward[step], again[step]
        assert a.names == b.names == forward.names(step)
        for one, two in ((a.index, b.index), (a.x, b.x), (a.z, b.z), (a.mask, b.mask), (a.y, b.y)):
            torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert any((forward[step].index != other[step].index).any() for step in range(3))
    assert forward.fingerprint == again.fingerprint == other.fingerprint


def test_every_training_video_comes_once_an_epoch(tmp_path: Path) -> None:
    data = made.annotations(9)  # six of them for training
    drawn = batches(tmp_path, data, videos=4)
    names = [name for step in range(9) for name in drawn.names(step)]
    for epoch in range(6):
        assert Counter(names[6 * epoch : 6 * epoch + 6]) == Counter(video.name for video in data.subset("train"))
    assert len({tuple(names[6 * epoch : 6 * epoch + 6]) for epoch in range(6)}) > 1


def test_a_fold_is_held_out_of_the_warm_up_alone(tmp_path: Path) -> None:
    data = made.annotations(30)  # twenty of them for training, six or seven of each class
    drawn = batches(tmp_path, data, videos=4, held_out=0.3, warmup=10)
    early = Counter(name for step in range(10) for name in drawn.names(step))
    held = set(drawn.held_out)
    assert len(held) == 6
    assert not held & set(early)
    assert set(early) | held == set(drawn.training)
    assert {label for name in early for label in data.videos[name].labels} == set(data.classes)
    for name, y in drawn.held_out.items():
        assert np.flatnonzero(y).tolist() == drawn.labelled(name).tolist()
    first = Counter(name for step in range(10, 15) for name in drawn.names(step))
    assert first == Counter(drawn.training), "the first epoch after the warm-up has every video once"
    again = batches(tmp_path, data, videos=7, held_out=0.3, warmup=3, seed=5)
    assert list(again.held_out) == list(drawn.held_out), "the fold is the same for every seed and batch"


def test_every_class_keeps_a_video_and_small_sets_hold_none_out(tmp_path: Path) -> None:
    data = made.annotations(9)  # six for training, two of each class
    rare = replace(data.videos["video_validation_0000002"], labels=("Diving",), instance_labels=("Diving",))
    one = replace(data, videos=data.videos | {rare.name: rare})  # LongJump has a single video left
    drawn = batches(tmp_path, one, held_out=0.9, warmup=10)
    assert 0 < len(drawn.held_out) <= 3
    left = set(drawn.training) - set(drawn.held_out)
    assert {label for name in left for label in one.videos[name].labels} == set(data.classes)
    assert not batches(tmp_path / "few", made.annotations(6), held_out=0.9, warmup=10).held_out  # four for training
    assert not batches(tmp_path, data, held_out=0.0, warmup=10).held_out


def test_a_long_video_gives_one_snippet_of_each_bin_at_the_same_moments(tmp_path: Path) -> None:
    data = made.annotations(6)
    drawn = batches(tmp_path, data, videos=4, snippets=10)
    for step in range(20):
        batch = drawn[step]
        assert batch.x.shape == (4, 10, 4)
        assert batch.z.shape == (4, 10, 2)
        for i, name in enumerate(batch.names):
            index = batch.index[i].numpy()
            assert (index * 10 // 25 == np.arange(10)).all() or (np.diff(index) > 0).all()
            np.testing.assert_array_equal(batch.x[i], drawn.cbp[name][index])
            np.testing.assert_array_equal(batch.z[i], drawn.vlp[name][index])
    edges = np.arange(11) * 25 // 10
    low, high = drawn.positions(25, np.zeros(10)), drawn.positions(25, np.full(10, 1 - 1e-9))
    np.testing.assert_array_equal(low, edges[:-1])
    np.testing.assert_array_equal(high, edges[1:] - 1)
    np.testing.assert_array_equal(drawn.positions(7, np.zeros(10)), np.arange(7))


def test_short_videos_are_padded_with_zeros_under_the_mask(tmp_path: Path) -> None:
    data = made.annotations(6)
    batch = batches(tmp_path, data, videos=4, snippets=320)[0]
    assert batch.x.shape == (4, 25, 4)
    assert batch.mask.all()
    names = list(data.videos)
    root = tmp_path / "data" / "thumos14"
    rows = made.features(data)
    made.write_joint(root, rows | {names[0]: rows[names[0]][:9]})
    cbp = find_pack(tmp_path / "data", "thumos14", "cbp", data, cache=tmp_path / "cache")
    drawn = Batches(
        data, cbp, find_pack(tmp_path / "data", "thumos14", "vlp", data, cache=tmp_path / "cache"), videos=4
    )
    batch = drawn[0]
    i = batch.names.index(names[0])
    assert batch.mask.sum(dim=1).tolist() == [9 if j == i else 25 for j in range(4)]
    for padded in (batch.x[i, 9:], batch.z[i, 9:], batch.index[i, 9:]):
        assert not padded.any()
    x, z = (drawn.rows(kind, names[0]) for kind in ("cbp", "vlp"))
    assert (len(x), len(z)) == (9, 9)


def test_labels_are_the_video_level_ones(tmp_path: Path) -> None:
    data = made.annotations(6)
    name = next(iter(data.videos))
    video = replace(data.videos[name], labels=("Diving", "LongJump"))
    data = replace(data, videos=data.videos | {name: video})
    drawn = batches(tmp_path, data, videos=4)
    batch = drawn[0]
    assert batch.y[batch.names.index(name)].tolist() == [1, 0, 1]
    assert sorted(drawn.labelled(name)) == [0, 2]
    assert batch.y.sum() == 5


def test_videos_that_cannot_be_trained_on_are_reported(tmp_path: Path) -> None:
    data = made.annotations(9)
    names = list(data.videos)
    data = replace(data, videos=data.videos | {names[0]: replace(data.videos[names[0]], labels=())})
    vlp = {name: rows for name, rows in made.features(data, width=2).items() if name != names[1]}
    drawn = batches(tmp_path, data, vlp=vlp, videos=4)
    assert drawn.missing == {names[0]: "no video-level label", names[1]: "no VLP features"}
    assert not set(drawn.missing) & set(drawn.training)


def test_vlp_features_at_another_rate_come_on_the_grid_of_cbp(tmp_path: Path) -> None:
    data = made.annotations(6)
    drawn = batches(tmp_path, data, vlp=made.features(data, width=2, rows=160), videos=4)  # ten a second
    assert drawn.grid == drawn.vlp.grid == I3D_GRID
    batch = drawn[0]
    first = batch.z[:, :, 0] - batch.z[:, :1, 0]
    torch.testing.assert_close(first, (torch.arange(25) * 6.4).expand(4, -1), rtol=0, atol=0.1)
    x, z = (drawn.rows(kind, next(iter(data.videos))) for kind in ("cbp", "vlp"))
    assert (len(x), len(z)) == (25, 25)


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    data = made.annotations(6)
    unlabelled = replace(data, videos={name: replace(video, labels=()) for name, video in data.videos.items()})
    with pytest.raises(
        ValueError, match=r"expected training videos .* got none: no video-level label; see `wtal check`"
    ):
        batches(tmp_path, unlabelled)
    with pytest.raises(ValueError, match="at least 1 video and 1 snippet a batch, got 0 and 320"):
        batches(tmp_path, data, videos=0)
