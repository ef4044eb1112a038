"""Datasets and protocols: records that are whole, what each protocol scores of the real annotations and refuses."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from wtal_lib.data.annotations import Annotations, annotations_from, find_annotations, ground_truth
from wtal_lib.data.datasets import DATASETS, PROTOCOLS, get_dataset, prompt_name, protocol
from wtal_lib.data.segments import rounded


@pytest.fixture(scope="module")
def thumos(shared_data: Path) -> Annotations:
    return find_annotations(shared_data, "thumos14")


def test_protocols_score_212_211_or_210_videos(thumos: Annotations) -> None:
    counts = {
        p.name: (len(ground_truth(thumos, p).videos), len(ground_truth(thumos, p)))
        for p in get_dataset("thumos14").protocols
    }
    assert counts["thumos14-212-seconds"] == counts["thumos14-212-snippets"] == (212, 3358)
    assert counts["thumos14-211-seconds"] == (211, 3358 - 29)
    assert counts["thumos14-210-seconds"] == counts["thumos14-210-seconds-ambiguous"] == (210, 3358 - 29 - 18)
    assert next(iter(counts)) == get_dataset("thumos14").headline.name


def test_rounding_to_snippets_collapses_17_test_instances(thumos: Annotations) -> None:
    seconds = ground_truth(thumos, protocol("thumos14-212-seconds"))
    snippets = ground_truth(thumos, protocol("thumos14-212-snippets-ambiguous"))
    np.testing.assert_array_equal(snippets.segment_m2, rounded(seconds.segment_m2))
    assert (np.diff(snippets.segment_m2) == 0).sum() == 17
    assert (len(seconds.ambiguous_video_a), len(snippets.ambiguous_video_a)) == (0, 96)
    np.testing.assert_array_equal(snippets.ambiguous_segment_a2, rounded(snippets.ambiguous_segment_a2))


def test_every_instance_of_the_ground_truth_keeps_video_class_and_time(thumos: Annotations) -> None:
    truth = ground_truth(thumos, protocol("thumos14-210-seconds"))
    rows = zip(truth.video_m, truth.label_m, truth.segment_m2.tolist(), strict=True)
    got = Counter((truth.videos[v], truth.classes[c], *pair) for v, c, pair in rows)
    expected = Counter(
        (v.name, label, *pair)
        for v in thumos.subset("test")
        for label, pair in zip(v.instance_labels, v.segments.tolist(), strict=True)
        if v.name in truth.videos
    )
    assert got == expected


def test_a_protocol_refuses_annotations_that_lack_what_sets_it_apart(shared_data: Path, thumos: Annotations) -> None:
    cola = annotations_from(shared_data / "thumos14" / "cola", "thumos14")
    with pytest.raises(
        ValueError, match=r"scores 212 videos, and the cola annotations have 210 .* thumos14-210-seconds"
    ):
        ground_truth(cola, protocol("thumos14-212-seconds"))
    with pytest.raises(ValueError, match="cola annotations have none; use thumos14-210-seconds"):
        ground_truth(cola, protocol("thumos14-210-seconds-ambiguous"))
    with pytest.raises(ValueError, match="activitynet12-val scores activitynet12, these annotations are of thumos14"):
        ground_truth(thumos, protocol("activitynet12-val"))
    with pytest.raises(ValueError, match="unknown protocol 'thumos14'; choose one of thumos14-210-seconds, "):
        protocol("thumos14")


def test_thresholds_and_means_are_the_published_ones() -> None:
    thumos, activitynet = protocol("thumos14-210-seconds"), protocol("activitynet12-val")
    assert thumos.iou == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    assert [name for name, _ in thumos.means] == ["0.1:0.7", "0.1:0.5", "0.3:0.7"]
    assert activitynet.iou == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)


def test_prompt_names_are_plain_words_and_all_different() -> None:
    assert [prompt_name(name) for name in ("CleanAndJerk", "Shotput", "ThrowDiscus", "Billiards")] == [
        "clean and jerk", "shot put", "throw discus", "billiards",
    ]  # fmt: skip
    assert prompt_name("Playing guitarra") == "playing guitar"
    assert prompt_name("Plataform diving") == "platform diving"
    for dataset in DATASETS.values():
        prompts = {prompt_name(name) for name in dataset.classes}
        assert len(prompts) == len(dataset.classes)
        assert all(prompt == prompt.lower() for prompt in prompts)


@pytest.mark.parametrize("name", DATASETS)
def test_the_record_of_a_dataset_is_whole(name: str) -> None:
    known = get_dataset(name)
    assert (known.name, known.headline.name) == (name, next(one for one in PROTOCOLS if one.startswith(name)))
    assert {one.dataset for one in known.protocols} == {name}
    assert set(known.prompt_spelling) <= set(known.classes)
    assert set(known.subsets) == {"train", "test"}
    assert known.published.is_file()
    assert all("{}" in template for template in known.templates)


def test_an_unknown_dataset_is_refused_with_the_list() -> None:
    with pytest.raises(ValueError, match="unknown dataset 'thumos'; did you mean 'thumos14'"):
        get_dataset("thumos")
