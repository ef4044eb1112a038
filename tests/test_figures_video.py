from __future__ import annotations

import json

import matplotlib as mpl
import numpy as np
import pytest

from wtal_lib import figures
from wtal_lib.data.segments import Detections
from wtal_lib.video import examples, frames, text

mpl.use("Agg")


pytestmark = pytest.mark.usefixtures("house_style")


def detections() -> Detections:
    return Detections(
        video_n=np.array([0, 0, 1]),
        label_n=np.array([1, 0, 1]),
        segment_n2=np.array([[2.0, 4.0], [0.0, 1.0], [5.0, 6.0]]),
        score_n=np.array([0.9, 0.3, 0.8]),
        videos=("a", "b"),
        classes=("HighJump", "LongJump", "Diving"),
    )


IMAGES = [np.full((18, 32, 3), 25 * i, np.uint8) for i in range(10)]


@pytest.mark.filterwarnings("error")
def test_a_watched_video_has_one_time_axis_and_a_lane_for_each_known_class(tmp_path) -> None:
    activation = np.random.default_rng(0).random((20, 3)).astype(np.float32)
    axes = figures.video_overview(
        "a", IMAGES, activation, detections(), 0.5, ["LongJump", "long jump", "Diving", "Sneezing"],
        truth=[("LongJump", 2.0, 4.0)], note="made up",
    )  # fmt: skip
    strip, truth, lanes = axes
    assert {ax.get_xlim() for ax in axes} == {(0.0, 10.0)}
    assert len({round(ax.get_position().x0, 6) for ax in axes}) == 1
    assert len(strip.images) == 10
    assert [label.get_text() for label in lanes.get_yticklabels()] == ["long jump", "diving"]
    assert [label.get_text() for label in truth.get_yticklabels()] == ["ground truth"]
    assert {text.get_text() for text in lanes.texts} >= {"0.90"}
    assert "0.80" not in {text.get_text() for text in lanes.texts}, "another video's segment"
    assert [text.get_text() for text in strip.figure.texts] == ["a", "made up"]
    strip.figure.savefig(tmp_path / "a.png")


def test_a_film_strip_shows_its_pictures_undistorted(tmp_path) -> None:
    axes = figures.video_overview("b", IMAGES, np.ones((20, 3), np.float32), detections(), 0.5, ["Diving"])
    size = axes[0].get_window_extent()
    assert size.width / 10 / size.height == pytest.approx(32 / 18, rel=0.02)
    bare = figures.video_overview("b", [], np.ones((20, 3), np.float32), detections(), 0.5, ["Diving"])
    assert not bare[0].images
    assert bare[0].figure.get_size_inches()[1] < axes[0].figure.get_size_inches()[1]


def test_frame_ages_have_a_row_a_video() -> None:
    ax = figures.frame_ages({"a": np.array([0.0, 20.0]), "b": np.array([5.0])}, {"a": 33.3, "b": 40.0})
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert figures.safe_name("my film (2).x") == "my_film__2__x"


def test_without_videos_one_is_drawn_and_its_jumps_are_known(tmp_path) -> None:
    (drawn,) = examples.find_videos("", tmp_path / "none", tmp_path / "drawn")
    truth = examples.find_truth([drawn])[drawn.stem]
    assert truth == [("HighJump", 3.2, 5.12), ("HighJump", 8.32, 10.24)]
    assert frames.probe(drawn).duration == pytest.approx(13.0)
    height = []
    for frame in frames.frames(drawn, [1.0, 4.16, 6.5, 9.28]):
        ball = (frame.image[..., 0] > 170) & (frame.image[..., 2] < 90)
        height.append(np.flatnonzero(ball.any(axis=1)).mean())
    assert height[1] < height[0] - 40
    assert height[3] < height[2] - 40
    (tmp_path / "drawn" / "ground_truth.json").write_text(json.dumps({"x": {"annotations": [{"label": "a"}]}}))
    with pytest.raises(ValueError, match=r"ground_truth\.json: expected"):
        examples.find_truth([drawn])


def test_named_videos_come_first_then_the_usual_place(tmp_path) -> None:
    for name in ("usual/a.mp4", "own/b.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    assert examples.find_videos(tmp_path / "own", tmp_path / "usual", tmp_path)[0].name == "b.mp4"
    assert examples.find_videos("", tmp_path / "usual", tmp_path)[0].name == "a.mp4"
    with pytest.raises(FileNotFoundError, match="no such video file or folder"):
        examples.find_videos(tmp_path / "typo", tmp_path / "usual", tmp_path)


def test_names_that_mean_the_same_prompt_are_joined_once() -> None:
    assert text.joined(("CleanAndJerk", "Diving"), ["Clean and jerk", "Walking the dog"]) == (
        "CleanAndJerk",
        "Diving",
        "Walking the dog",
    )
