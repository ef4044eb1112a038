"""Worlds that the project's own simulator knows nothing of: what they draw is well formed and reproducible."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from wtal_lib.data.annotations import Video
from wtal_lib.data.datasets import get_dataset

sys.path.append(str(Path(__file__).parent / "other_worlds"))
draw, footage = (importlib.import_module(name) for name in ("draw", "footage"))
CLASSES = get_dataset("thumos14").classes
LABELS = ("Diving", "CliffDiving", "HighJump")
VIDEO = Video(
    name="video_test_0000001",
    subset="test",
    duration=30.0,
    labels=LABELS,
    instance_labels=LABELS,
    segments=np.array([[4.0, 8.0], [4.1, 8.0], [15.0, 40.0]]),
    ambiguous=np.zeros((0, 2)),
)

each_world = pytest.mark.parametrize("name", draw.WORLDS)


def drawn(name: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    world = draw.WORLDS[name](CLASSES, seed)
    return (*world.draw(VIDEO, 0), world.text)


@each_world
def test_a_video_in_another_world_is_well_formed(name: str) -> None:
    cbp, vlp, text = drawn(name, 1)
    assert cbp.shape == vlp.shape == (46, 512)
    assert np.isfinite(cbp).all()
    assert cbp.min() >= 0
    assert text.shape == (20, 512)
    for embeddings in (vlp, text):
        assert np.linalg.norm(embeddings, axis=1) == pytest.approx(1, abs=1e-5)


@each_world
def test_equal_seeds_give_equal_bytes_and_others_do_not(name: str) -> None:
    one, same, other = (drawn(name, seed) for seed in (1, 1, 2))
    assert [array.tobytes() for array in one] == [array.tobytes() for array in same]
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_instances_end_with_the_video_and_two_labels_make_one_event() -> None:
    assert footage.instances(VIDEO, CLASSES)[-1].stop == pytest.approx(46 * 0.64)
    assert [len(one.labels) for one in footage.events(VIDEO, CLASSES)] == [2, 1]
