"""Drawn videos are like a dataset's real ones; a profile's choice among real ones is fair and fixed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from wtal_lib.data import census
from wtal_lib.data.annotations import find_annotations, ground_truth
from wtal_lib.data.datasets import DATASETS, get_dataset
from wtal_lib.simulate.knobs import Simulator
from wtal_lib.simulate.structure import drawn_annotations, groups, seconds, structures, subset


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet12"])
def test_groups_hold_every_class_once_in_official_spelling(dataset: str) -> None:
    assert sorted(sum(structures()[dataset].groups, ())) == sorted(get_dataset(dataset).classes)
    assert np.bincount(groups(get_dataset(dataset).classes)).min() > 1


def test_groups_of_unknown_classes_follow_their_order() -> None:
    assert groups(["a", "Diving", "b", "CliffDiving", "c"]).tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("dataset", DATASETS)
def test_drawn_videos_are_well_formed(dataset: str) -> None:
    drawn = drawn_annotations(Simulator(dataset=dataset))
    assert (drawn.layout, drawn.path, drawn.classes) == ("simulated", None, get_dataset(dataset).classes)
    assert {len(drawn.subset(part)) for part in ("train", "test")} == set(
        Simulator(dataset=dataset).size.videos[dataset]
    )
    for part in ("train", "test"):
        assert {label for video in drawn.subset(part) for label in video.labels} == set(get_dataset(dataset).classes)
    for video in drawn.videos.values():
        assert len(video.segments) == len(video.instance_labels) > 0
        assert set(video.labels) == set(video.instance_labels)
        assert np.all(np.diff(video.segments, axis=1) >= 0)
        assert np.all(video.segments[1:, 0] >= video.segments[:-1, 1] - 0.11)
        assert 0 <= video.segments.min() <= video.segments.max() <= video.duration + 0.1


def test_the_same_seed_draws_the_same_videos() -> None:
    one, other, third = (drawn_annotations(Simulator(profile="ci", seed=seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(v.segments, other.videos[name].segments) for name, v in one.videos.items())
    assert one.videos.keys() != third.videos.keys()


@pytest.mark.parametrize("dataset", ["thumos14", "activitynet12"])
def test_drawn_structure_is_like_the_real_one(dataset: str, shared_data: Path) -> None:
    real = census.samples(find_annotations(shared_data, dataset))
    drawn = census.samples(drawn_annotations(Simulator(dataset=dataset, profile="full")))
    apart = {name: census.apart(value, drawn[name]) for name, value in real.items()}
    assert max(apart.values()) < 0.25, apart
    for name, value in real.items():
        assert np.median(drawn[name]) == pytest.approx(np.median(value), rel=0.5, abs=0.1), name


def test_every_protocol_scores_as_many_drawn_videos_as_it_says() -> None:
    for dataset in DATASETS:
        drawn = drawn_annotations(Simulator(dataset=dataset, profile="full"))
        for one in get_dataset(dataset).protocols:
            if not one.ignore_ambiguous:
                assert len(ground_truth(drawn, one).videos) == one.videos, one.name


def test_two_classes_share_a_video_as_often_as_in_thumos14(shared_data: Path) -> None:
    def two(videos: list) -> float:
        return float(np.mean([len(video.labels) > 1 for video in videos]))

    real = two(list(find_annotations(shared_data, "thumos14").videos.values()))
    assert two(list(drawn_annotations(Simulator()).videos.values())) == pytest.approx(real, abs=0.06)


@pytest.mark.parametrize(("dataset", "profile", "each"), [("thumos14", "ci", 2), ("activitynet12", "quick", 15)])
def test_a_subset_takes_every_class_alike(dataset: str, profile: str, each: int, shared_data: Path) -> None:
    real = find_annotations(shared_data, dataset)
    config = Simulator(dataset=dataset, profile=profile)
    kept = subset(real, config)
    train = kept.subset("train")
    assert (len(train), len(kept.subset("test"))) == config.size.videos[dataset]
    first = Counter(video.labels[0] for video in train)
    assert set(first.values()) == {len(train) // len(get_dataset(dataset).classes)}
    assert list(kept.videos) == [name for name in real.videos if name in kept.videos]
    assert np.mean([seconds(video) <= config.size.longest for video in train]) > 0.9
    turned = replace(real, videos=dict(reversed(real.videos.items())))
    assert subset(turned, config).videos.keys() == kept.videos.keys()


def test_a_profile_that_takes_all_videos_changes_nothing(shared_data: Path) -> None:
    real = find_annotations(shared_data, "thumos14")
    assert subset(real, Simulator()) is real
    assert seconds(replace(real.videos["video_test_0000004"], duration=float("nan"))) > 5
