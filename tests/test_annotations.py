"""Annotations: every layout says the same of the same videos, every known quirk is handled on purpose."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest

from wtal_lib.data import annotations as reader
from wtal_lib.data.annotations import Annotations, annotations_from, find_annotations, ground_truth
from wtal_lib.data.datasets import get_dataset, protocol


@pytest.fixture(scope="module")
def thumos(shared_data: Path) -> Annotations:
    return find_annotations(shared_data, "thumos14")


@pytest.fixture(scope="module")
def activitynet(shared_data: Path) -> Annotations:
    return find_annotations(shared_data, "activitynet12")


def instances(annotations: Annotations, subset: str) -> int:
    return sum(len(video.segments) for video in annotations.subset(subset))


def said(annotations: Annotations) -> dict[str, Any]:
    """What every layout must agree on."""
    return {
        name: (video.subset, sorted(zip(video.instance_labels, video.segments.round(6).tolist(), strict=True)))
        for name, video in sorted(annotations.videos.items())
    }


def test_thumos14_has_412_videos_and_3007_and_3358_instances(thumos: Annotations) -> None:
    assert thumos.layout == "w-talc"
    assert [len(thumos.videos), len(thumos.subset("train")), len(thumos.subset("test"))] == [412, 200, 212]
    assert [instances(thumos, "train"), instances(thumos, "test")] == [3007, 3358]
    assert thumos.classes == get_dataset("thumos14").classes
    assert Counter(video.fps for video in thumos.videos.values()) == {30: 399, 25: 11, 24: 2}


def test_activitynet_has_4819_and_2383_videos_under_their_youtube_ids(activitynet: Annotations) -> None:
    assert [len(activitynet.subset("train")), len(activitynet.subset("test"))] == [4819, 2383]
    assert [instances(activitynet, "train"), instances(activitynet, "test")] == [7151, 3582]
    assert activitynet.classes == get_dataset("activitynet12").classes
    assert activitynet.videos["video_4"].youtube_id == "--0edUL8zmA"
    assert len({video.youtube_id for video in activitynet.videos.values()}) == 7202
    assert all(not set(v.labels) ^ set(v.instance_labels) for v in activitynet.videos.values())


def test_28_videos_of_thumos14_are_labelled_otherwise_than_their_instances(thumos: Annotations) -> None:
    differ = {v.name: v.subset for v in thumos.videos.values() if set(v.labels) != set(v.instance_labels)}
    assert Counter(differ.values()) == {"train": 8, "test": 20}
    assert thumos.videos["video_test_0001496"].labels == ("FrisbeeCatch",)
    assert set(thumos.videos["video_test_0001496"].instance_labels) == {"CricketShot"}


def test_video_270_has_no_label_and_22_of_29_instances_beyond_its_end(thumos: Annotations) -> None:
    video = thumos.videos["video_test_0000270"]
    assert video.labels == ()
    assert [len(video.segments), int((video.segments[:, 1] > video.duration).sum())] == [29, 22]


def test_ambiguous_segments_are_separated_by_two_spaces(thumos: Annotations) -> None:
    np.testing.assert_array_equal(thumos.videos["video_test_0000278"].ambiguous, [[0.0, 1.4], [95.7, 97.2]])
    assert sum(len(video.ambiguous) for video in thumos.videos.values()) == 96
    assert thumos.notes == ("ambiguous segments of videos that are not annotated: video_test_0001292",)


def test_ten_instances_of_activitynet_have_no_length_and_stay(activitynet: Annotations) -> None:
    segments = np.concatenate([video.segments for video in activitynet.videos.values()])
    empty = segments[segments[:, 0] == segments[:, 1]]
    assert len(empty) == 10
    assert (empty == 0).all(axis=1).sum() == 7
    truth = ground_truth(activitynet, protocol("activitynet12-val"))
    assert len(truth) == 3582


def test_the_layouts_of_the_shared_packs_say_the_same(shared_data: Path, thumos: Annotations) -> None:
    cola = annotations_from(shared_data / "thumos14" / "cola" / "gt.json", "thumos14")
    assert cola.layout == "cola"
    everything = said(thumos)
    assert said(cola) == {name: everything[name] for name in cola.videos}
    assert set(thumos.videos) - set(cola.videos) == {"video_test_0000270", "video_test_0001496"}
    keyed = annotations_from(shared_data / "thumos14" / "actionformer", "thumos14")
    assert keyed.layout == "actionformer"
    assert set(keyed.videos) == set(thumos.videos)
    assert keyed.videos["video_test_0000270"].duration == pytest.approx(176, abs=1)
    assert keyed.notes == ("1 videos without annotations are left out: video_test_0001292",)


@pytest.mark.parametrize("place", ["", "thumos14", "thumos14/wtalc", "thumos14/wtalc/Thumos14reduced-Annotations"])
def test_a_data_root_may_be_named_at_any_depth(shared_data: Path, place: str) -> None:
    found = find_annotations(shared_data / place, "thumos14")
    assert found.path == shared_data / "thumos14" / "wtalc" / "Thumos14reduced-Annotations"


def test_of_several_layouts_the_first_of_the_list_is_taken(shared_data: Path) -> None:
    found = [layout.name for layout, _ in reader.found_annotations(shared_data, "thumos14")]
    assert found == ["w-talc", "actionformer", "cola"]


def test_what_is_missing_is_listed_with_where_to_get_it(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no activitynet12 annotations .* looked for .*gt\.json.*3c-net"):
        find_annotations(shared_data / "thumos14", "activitynet12")
    (tmp_path / "thumos14" / "inside").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "thumos14" / "inside")):
        find_annotations(tmp_path, "thumos14")
    with pytest.raises(FileNotFoundError, match="expected a folder with the datasets"):
        find_annotations(tmp_path / "nowhere", "thumos14")
    with pytest.raises(ValueError, match="unknown dataset 'thumos'; did you mean 'thumos14'"):
        find_annotations(tmp_path, "thumos")
    with pytest.raises(FileNotFoundError, match="no such file"):
        annotations_from(tmp_path / "gt.json", "thumos14")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("training", "validation"),
        ("Validation", "Test"),
        ("validation", "test"),
        ("Training", "val"),
    ],
)
def test_subsets_are_understood_however_they_are_called(tmp_path: Path, train: str, test: str) -> None:
    names = {"youtube_000a": "train", "youtube_000b": "test"}
    spelt = {"train": train, "test": test}
    item = {"segment": ["1.0", "2.5"], "label": "Archery"}
    content = {name: {"subset": spelt[part], "annotations": [item]} for name, part in names.items()}
    path = made.write_json(tmp_path / "activitynet12" / "activity_net.v1-2.min.json", {"database": content})
    found = find_annotations(tmp_path, "activitynet12")
    assert (found.path, found.layout) == (path, "official")
    assert {video.name: video.subset for video in found.videos.values()} == names


def test_names_tell_the_subset_of_thumos14_whatever_a_layout_calls_it(tmp_path: Path) -> None:
    given = made.annotations()
    content = made.database(given, train="training", test="validation")  # OpenTAD's shifted names
    made.write_json(tmp_path / "thumos14" / "thumos_14_anno.json", {"database": content})
    assert said(find_annotations(tmp_path, "thumos14")) == said(given)


def test_ambiguous_labels_become_ambiguous_segments(tmp_path: Path) -> None:
    items = [{"segment": [1, 2.5], "label": "Diving"}, {"segment": [7, 9], "label": "Ambiguous"}]
    content = {
        "video_test_0000001": {"duration": 16.0, "fps": 30.0, "subset": "Test", "annotations": items},
        "video_test_0000002": {"duration": 16.0, "fps": 30.0, "subset": "Test", "annotations": items[1:]},
    }
    found = annotations_from(made.write_json(tmp_path / "thumos14.json", {"database": content}), "thumos14")
    (video,) = found.videos.values()
    assert (video.labels, video.instance_labels, video.duration, video.fps) == (("Diving",), ("Diving",), 16, 30)
    assert (video.segments.tolist(), video.ambiguous.tolist()) == ([[1, 2.5]], [[7, 9]])
    assert found.notes == ("video_test_0000002 holds ambiguous segments only and is left out",)


def test_thumos14s_own_text_files_are_read(tmp_path: Path) -> None:
    given, folder = made.annotations(), tmp_path / "thumos14" / "annotation"
    folder.mkdir(parents=True)
    for label in get_dataset("thumos14").classes:
        for part, ending in (("train", "val"), ("test", "test")):
            lines = [f"{v.name}  1.0 2.5" for v in given.subset(part) if v.instance_labels == (label,)]
            (folder / f"{label}_{ending}.txt").write_text("\n".join(lines))
    (folder / "Ambiguous_test.txt").write_text("video_test_0000004  3.0 4.5\n\n")
    found = find_annotations(tmp_path, "thumos14")
    assert (found.layout, said(found)) == ("official", said(given))
    assert found.videos["video_test_0000004"].ambiguous.tolist() == [[3.0, 4.5]]


def test_activitynet_1_3_is_cut_to_the_100_classes(tmp_path: Path) -> None:
    labels = [*get_dataset("activitynet12").classes, "Curling"]
    content = {
        f"video{i:06d}": {"duration": 9.0, "subset": "training", "annotations": [{"label": x, "segment": [0, 1]}]}
        for i, x in enumerate(labels)
    } | {"testing0001": {"duration": 9.0, "subset": "testing", "annotations": []}}
    path = made.write_json(tmp_path / "activity_net.v1-3.json", {"version": "VERSION 1.3", "database": content})
    found = annotations_from(path, "activitynet12")
    assert len(found.videos) == 100
    assert len(found.notes) == 2


def test_a_written_w_talc_pack_comes_back(tmp_path: Path) -> None:
    given = made.annotations()
    made.write_wtalc(tmp_path / "thumos14", given, labels_all=None, duration=None)
    found = find_annotations(tmp_path, "thumos14")
    assert said(found) == said(given)
    assert all(np.isnan(video.duration) and video.labels == video.instance_labels for video in found.videos.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segments": [[[2.5, 1.0]]] * 6}, r"segment \[2.5, 1.0\] does not run forward"),
        ({"segments": [[[1.0, float("inf")]]] * 6}, "does not run forward"),
        ({"segments": [[1.0, 2.5]] * 6}, "there are 2 segments for 1 labels"),
        ({"segments": [[[1.0, 2.5]]] * 5}, "expected 6 rows, one a video, but it holds 5 rows"),
        ({"labels": [["Dving"]] * 6}, "'Dving' is none of the classes Diving, HighJump"),
        ({"labels": [[3]] * 6}, "3 is no name"),
        ({"subset": np.array(["day"] * 6), "videoname": np.array(list("abcdef"))}, "a is in the subset 'day'"),
        ({"videoname": np.array(["video_test_1"] * 6)}, "some names of videos or of classes occur twice"),
        ({"duration": np.zeros(5)}, r"duration\.npy: expected 6 numbers"),
        ({"classlist": np.arange(3)}, r"classlist\.npy: expected an array of names.* but it holds int64"),
    ],
)
def test_broken_annotations_are_one_error(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    made.write_wtalc(tmp_path / "thumos14", made.annotations(), **changes)
    with pytest.raises(ValueError, match=message) as caught:
        find_annotations(tmp_path, "thumos14")
    assert "Thumos14reduced-Annotations" in str(caught.value)
    assert "wtal check" in str(caught.value)


def test_a_json_of_something_else_is_one_error(tmp_path: Path) -> None:
    for content in ([], {"a": 1}, {"database": {"v": {}}}, {"database": {"v": {"annotations": [{"label": []}]}}}):
        path = made.write_json(tmp_path / "gt.json", content)
        with pytest.raises(ValueError, match=r"gt\.json: expected a json object with a `database`"):
            annotations_from(path, "thumos14")


def test_an_unknown_subset_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown subset 'val'; choose one of train, test"):
        made.annotations().subset("val")


def test_the_data_root_is_given_or_set_or_beside_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WTAL_DATA", raising=False)
    (tmp_path / "wtal_lib").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert reader.data_root() == tmp_path / "data"
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "elsewhere"))
    assert reader.data_root() == tmp_path / "elsewhere"
    assert reader.data_root("~/mine") == Path.home() / "mine"


def test_the_shared_real_videos_agree_with_their_annotations(shared_data: Path, thumos: Annotations) -> None:
    content = json.loads((shared_data / "videos" / "ground_truth.json").read_text())
    for name, entry in content.items():
        if name in thumos.videos:
            expected = [item["segment"] for item in entry["annotations"]]
            assert thumos.videos[name].segments.tolist() == expected
