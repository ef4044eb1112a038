"""The numbers of a few training steps, pinned: a change of them that is not declared by raising METHOD fails here.

``python tests/test_fingerprint.py --pin`` writes the present numbers, and METHOD, into this file.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wtal_lib.data.annotations import Annotations, Video
from wtal_lib.data.segments import I3D_GRID
from wtal_lib.method import predict, trainer
from wtal_lib.method.presets import PRESETS, preset
from wtal_lib.method.state import fresh
from wtal_lib.runs.experiment import Experiment
from wtal_lib.runs.records import METHOD
from wtal_lib.runs.sources import Data
from wtal_lib.simulate.packs import SimulatedPack

# pinned numbers
PINNED: dict[str, Any] = {
    "method": 7,
    "full": "12.4 146.4 0.5152 19.13 0.09561 0.03992 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "late_fusion": "10.55 146.4 0.5191 19.13 0.09715 0.03985 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "cbp": "10.55 146.4 0.5191 19.13 0.09715 0.03985 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "vlp": "10.55 146.4 0.5191 19.13 0.09715 0.03985 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "vanilla_vlp": "0.0 0.0 0.461 19.3 0.1025 0.03731 0.3333 18.28 0.9988 0.08402 0.3333 18.28 0.9988 0.08402",
    "b_only": "10.55 146.4 0.5191 19.13 0.09715 0.03985 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "f_only": "12.4 146.4 0.5152 19.13 0.09561 0.03992 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "joint": "12.42 146.4 0.5147 19.12 0.09582 0.03948 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "paper": "12.51 153.9 0.5065 19.08 0.0981 0.03314 0.3316 18.09 0.7419 0.2152 0.9431 18.99 0.194 0.08199",
    "mutual": "12.4 146.4 0.5152 19.13 0.09561 0.03992 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "consensus": "12.4 147.7 0.5149 19.12 0.0957 0.03939 0.3316 18.13 0.7381 0.218 0.6632 18.18 1.361 0.216",
    "ternary": "10.55 146.4 0.5191 19.13 0.09715 0.03985 0.3316 18.15 0.7455 0.2152 0.6632 18.2 1.375 0.216",
    "supervised": "15.11 155.5 0.5269 18.93 0.1024 0.09917 0.3315 17.78 0.7765 0.2097 0.663 17.8 1.416 0.2096",
}
# end of the pinned numbers

TOLERANCE = 1e-3
"of a number; processors differ by less than a tenth of it, a loss left out by twenty times as much"
SHORT = {"schedule__warmup": 4, "schedule__period": 2, "schedule__rounds": 1, "training__videos": 4}
CLASSES = ("BaseballPitch", "BasketballDunk", "Billiards")
ROWS = 60


def features(kind: str, annotations: Annotations, width: int, seed: int) -> SimulatedPack:
    """Noise, one direction a class within its instances, and a mean of CBP's; nothing is drawn by the package."""
    rng = np.random.default_rng(seed)
    class_cd, rows = rng.normal(size=(len(CLASSES), width)), {}
    for name, video in annotations.videos.items():
        rows[name] = rng.normal(size=(ROWS, width)) + (kind == "cbp")
        for label, segment in zip(video.instance_labels, video.segments, strict=True):
            rows[name][I3D_GRID.mask(segment[None], ROWS)] += class_cd[CLASSES.index(label)]
    text = (class_cd / np.linalg.norm(class_cd, axis=1, keepdims=True)).astype(np.float32)
    about: dict[str, Any] = {"grid": I3D_GRID, "fingerprint": "synthetic", "training": (), "text": text}
    return SimulatedPack(kind, width, dict.fromkeys(rows, ROWS), rows.__getitem__, **about)


@cache
def data() -> Data:
    """Sixteen videos with two instances each, half of them for testing."""
    videos = {}
    for i in range(16):
        start = np.array([[3.0 + i / 2], [20.0 + i / 4]])
        segments, none = np.hstack([start, start + np.array([[4.0], [6.0 + i / 3]])]), np.zeros((0, 2))
        name, subset, labels = f"video_{i:07d}", ("train", "test")[i % 2], (CLASSES[i % 3], CLASSES[i % 5 % 3])
        seconds, distinct = ROWS * I3D_GRID.step, tuple(dict.fromkeys(labels))
        videos[name] = Video(name, subset, seconds, distinct, labels, segments, none, 25.0, "")
    found = Annotations(dataset="thumos14", classes=CLASSES, videos=videos, layout="official", path=None)
    packs = (features("cbp", found, 16, 12), features("vlp", found, 12, 13))
    return Data("thumos14", "real", found, found, *packs, None, {})


def numbers(name: str) -> list[float]:
    """Losses by branch, then by branch and for their fusion the mean activation, the detections' place and score, and
    the mean mAP."""
    config = preset(name, profile="ci", training__precision="float32", **({} if name == "vanilla_vlp" else SHORT))
    run = Experiment(config, data(), "cpu")
    state = fresh(config, run.batches, run.text(), run.logit_scale)
    trainer.train(config, run.batches, state, truth=run.snippet_truth)
    found = []
    for branch in ("cbp", "vlp"):
        terms = [one for entry in state.history for key, one in entry["losses"].items() if key.startswith(branch)]
        found.append(sum(terms))
    scores = run.scores(state)
    for branch, detections in predict.detect(config, run.batches, scores).items():
        found.append(np.mean([video.cas_tc.mean() for video in scores[branch].values()]))
        found.append(np.average(detections.segment_n2.mean(axis=1), weights=detections.score_n))
        found.append(detections.score_n.mean())
        found.append(run.headline_map(detections))
    return [float(f"{value:.4g}") for value in found]


def pinned(name: str) -> list[float]:
    return [float(number) for number in PINNED[name].split()]


@pytest.mark.parametrize("name", PRESETS)
def test_a_change_of_the_numbers_is_declared_by_raising_method(name: str) -> None:
    assert PINNED["method"] == METHOD, "METHOD was raised: pin the new numbers, python tests/test_fingerprint.py --pin"
    remedy = "these numbers moved; if they should, raise METHOD in runs/records.py and pin them, with --pin"
    assert numbers(name) == pytest.approx(pinned(name), rel=TOLERANCE, abs=1e-6), remedy


def test_a_loss_that_is_left_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = trainer.losses.total
    fewer = lambda terms, *weights: original({key: terms[key] for key in list(terms)[:3]}, *weights)  # noqa: E731
    monkeypatch.setattr(trainer.losses, "total", fewer)
    assert numbers("late_fusion") != pytest.approx(pinned("late_fusion"), rel=TOLERANCE, abs=1e-6)


def pin() -> None:
    """Write the present numbers into this file."""
    torch.set_num_threads(1)
    lines = [f'    "method": {METHOD},', *(f'    "{name}": "{" ".join(map(str, numbers(name)))}",' for name in PRESETS)]
    block = "\n".join(["# pinned numbers", "PINNED: dict[str, Any] = {", *lines, "}", "# end"])
    text = re.sub("(?s)# pinned numbers\n.*?# end", lambda _: block, Path(__file__).read_text(), count=1)
    Path(__file__).write_text(text)
    print("\n".join(lines))


if __name__ == "__main__":
    pin() if sys.argv[1:] == ["--pin"] else sys.exit(__doc__)
