"""Further forms of files from the field: archives of many videos, names, keys, tables, damaged files."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made
import numpy as np
import pytest

from wtal_lib.data.annotations import annotations_from, find_annotations
from wtal_lib.data.features import find_pack
from wtal_lib.data.forms import form_of
from wtal_lib.score.detections import read_detections

DATA = made.annotations()
ROWS = made.features(DATA)
Split = Callable[[str, np.ndarray], dict[str, np.ndarray]]


def pack_of(root: Path, kind: str = "cbp") -> dict[str, np.ndarray]:
    found = find_pack(root, "thumos14", kind, DATA, cache=root / "cache")
    return {name: found[name] for name in found.names}


def archive(path: Path, content: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            for name, array in content.items():
                file[name] = array
    elif path.suffix == ".npz":
        np.savez(path, **content)
    elif path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        np.save(path, content, allow_pickle=True)


SPLITS: dict[str, Split] = {
    "NAME": lambda name, a: {name: a},
    "NAME.mp4": lambda name, a: {f"{name}.mp4": a},
    "NAME/features": lambda name, a: {f"{name}/features": a, f"{name}/fps": np.float32(25)},
    "NAME/rgb": lambda name, a: {f"{name}/rgb": a[:, :2], f"{name}/flow": a[:, 2:]},
    "rgb/NAME": lambda name, a: {f"rgb/{name}": a[:, :2], f"flow/{name}": a[:, 2:]},
    "part/NAME": lambda name, a: {f"{'test' if '_test_' in name else 'train'}/{name}": a},
}


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("place", ["i3d/all.h5", "i3d_all.h5", "i3d/all.npz", "i3d/all.pkl", "i3d/all.npy"])
def test_one_file_holds_all_videos(tmp_path: Path, split: str, place: str) -> None:
    content = {name: part for video, a in ROWS.items() for name, part in SPLITS[split](video, a).items()}
    archive(tmp_path / "thumos14" / place, content)
    found = pack_of(tmp_path)
    assert set(found) == set(ROWS)
    for name, array in ROWS.items():
        np.testing.assert_array_equal(found[name], array)


def test_an_archive_for_rgb_and_one_for_flow_are_one_pack(tmp_path: Path) -> None:
    for of, half in (("rgb", slice(0, 2)), ("flow", slice(2, 4))):
        archive(tmp_path / f"thumos14/i3d/thumos_{of}.npz", {name: a[:, half] for name, a in ROWS.items()})
    found = pack_of(tmp_path)
    for name, array in ROWS.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("suffix", ["h5", "npz", "pkl"])
def test_a_damaged_archive_is_one_sentence_with_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"thumos14/i3d/all.{suffix}"
    archive(path, ROWS)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(ValueError, match=rf"all\.{suffix}") as raised:
        pack_of(tmp_path)
    assert not any(word in str(raised.value) for word in ("Errno", "zip file", "synchronously", "Traceback"))


NAMINGS: dict[str, Callable[[str], str]] = {
    "v_NAME": lambda name: f"v_{name}",
    "NAME.mp4": lambda name: f"{name}.mp4",
    "capitals": str.upper,
    "NAME_i3d": lambda name: f"{name}_i3d",
    "NAME-features": lambda name: f"{name}-features",
}


@pytest.mark.parametrize("naming", NAMINGS)
def test_names_are_told_however_they_are_spelt(tmp_path: Path, naming: str) -> None:
    spelt = NAMINGS[naming]
    made.write_files(tmp_path / "thumos14/i3d", {spelt(name): array for name, array in ROWS.items()})
    assert set(pack_of(tmp_path)) == set(ROWS)
    results = {spelt(name): [{"label": "Diving", "score": 1, "segment": [1, 2]}] for name in DATA.videos}
    found = read_detections(made.write_json(tmp_path / "d.json", {"results": results}), DATA)
    assert set(found.videos) == set(DATA.videos)
    if "_i3d" not in naming:
        truth = {spelt(name): entry for name, entry in made.database(DATA).items()}
        read = annotations_from(made.write_json(tmp_path / "gt.json", {"database": truth}), "thumos14")
        assert set(read.videos) == set(DATA.videos)


def test_names_that_mean_two_videos_mean_none() -> None:
    videos = {name: DATA.videos[next(iter(DATA.videos))] for name in ("Clip", "clip")}
    two = made.annotations(videos={name: made.annotations(1).videos.popitem()[1] for name in videos})
    assert two.naming()("somebody else") == "somebody else"


@pytest.mark.parametrize("dtype", ["<f8", ">f4", ">f8", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_float_and_order_is_read(tmp_path: Path, dtype: str, order: Any) -> None:
    rows = {name: np.asarray(array, dtype=dtype, order=order) for name, array in ROWS.items()}
    made.write_files(tmp_path / "thumos14/i3d", rows)
    for name, array in pack_of(tmp_path).items():
        np.testing.assert_array_equal(array, rows[name])


def test_trailing_axes_of_one_are_dropped() -> None:
    form = form_of([(t, 8, 1) for t in (30, 41)])
    assert form.rows(np.ones((41, 8, 1))).shape == (41, 8)


@pytest.mark.parametrize("separator", [",", ";", "\t", " "])
@pytest.mark.parametrize("numbered", [False, True])
def test_tables_of_features_are_told_by_their_separator(tmp_path: Path, separator: str, numbered: bool) -> None:
    folder = tmp_path / "thumos14/i3d"
    folder.mkdir(parents=True)
    for name, array in ROWS.items():
        lines = [separator.join(map(str, row)) for row in array]
        if numbered:
            lines = [separator.join(["index", *(f"x{i}" for i in range(4))])] + [
                f"{i}{separator}{line}" for i, line in enumerate(lines)
            ]
        (folder / f"{name}.csv").write_text("\n".join(lines))
    for name, array in pack_of(tmp_path).items():
        np.testing.assert_allclose(array, ROWS[name], rtol=1e-6)


@pytest.mark.parametrize("held", [lambda t: t, lambda t: {"features": t.bfloat16(), "fps": 25.0}])
def test_saved_tensors_are_read_and_run_no_code(tmp_path: Path, held: Callable[[Any], Any]) -> None:
    import torch

    folder = tmp_path / "thumos14/i3d"
    folder.mkdir(parents=True)
    for name, array in ROWS.items():
        torch.save(held(torch.from_numpy(array.astype(np.float32))), folder / f"{name}.pt")
    for name, array in pack_of(tmp_path).items():
        np.testing.assert_allclose(array, ROWS[name], rtol=1e-2)
    torch.save({"features": made.Hostile(os.system, f"touch {tmp_path / 'ran'}")}, folder / f"{next(iter(ROWS))}.pt")
    with pytest.raises(ValueError, match=r"\.pt: .*no file of tensors and plain containers alone"):
        pack_of(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"", "it is empty"),
        (b"MATLAB 5.0 MAT-file", "it is no npy file"),
    ],
)
def test_what_is_no_array_is_named(tmp_path: Path, content: bytes, why: str) -> None:
    folder = made.write_files(tmp_path / "thumos14/i3d", ROWS)
    next(folder.iterdir()).write_bytes(content)
    with pytest.raises(ValueError, match=why):
        pack_of(tmp_path)


def test_files_that_are_no_features_or_of_other_videos_are_said_to_be(tmp_path: Path) -> None:
    made.write_files(tmp_path / "thumos14/i3d", {"somebody": ROWS[next(iter(ROWS))]})
    with pytest.raises(ValueError, match=r"expected files called after the videos of thumos14, .*got somebody"):
        pack_of(tmp_path)
    (tmp_path / "thumos14/i3d/somebody.npy").rename(tmp_path / "thumos14/i3d/somebody.mat")
    with pytest.raises(ValueError, match=r"expected files ending in \.npy.*got \.mat"):
        pack_of(tmp_path)


def changed(annotation: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    base = made.database(DATA, train="validation")
    return {k: {**e, "annotations": [annotation(one) for one in e["annotations"]]} for k, e in base.items()}


PLAIN = changed(dict)
DATABASES: dict[str, Any] = {
    "capital subsets": {n: {**e, "subset": e["subset"].title()} for n, e in PLAIN.items()},
    "nested": {"version": "1", "database": {"database": PLAIN}},
    "videos": {"info": "", "videos": PLAIN},
    "list of videos": [{"video_id": name, **entry} for name, entry in PLAIN.items()],
    "a row an annotation": [
        {"video": n, "subset": e["subset"], **one} for n, e in PLAIN.items() for one in e["annotations"]
    ],
    "label in a list": changed(lambda one: {**one, "label": [one["label"]]}),
    "label_name": changed(lambda one: {"label_name": one["label"], "segment": one["segment"]}),
    "ids as floats": {
        "classes": list(made.LABELS),
        "database": changed(lambda one: {**one, "label": float(made.LABELS.index(one["label"]))}),
    },
    "start_sec": changed(
        lambda one: {"label": one["label"], "start_sec": one["segment"][0], "end_sec": one["segment"][1]}
    ),
    "segments beside labels": {
        n: {
            "subset": e["subset"],
            "labels": [one["label"] for one in e["annotations"]],
            "segments": [one["segment"] for one in e["annotations"]],
        }
        for n, e in PLAIN.items()
    },
}


@pytest.mark.parametrize("form", DATABASES)
def test_databases_of_other_keys_are_the_same_annotations(tmp_path: Path, form: str) -> None:
    made.write_json(tmp_path / "thumos14/gt.json", DATABASES[form])
    found = find_annotations(tmp_path, "thumos14").videos
    assert {name: (one.subset, one.instance_labels, one.segments.tolist()) for name, one in found.items()} == {
        name: (one.subset, one.instance_labels, one.segments.tolist()) for name, one in DATA.videos.items()
    }


@pytest.mark.parametrize("key", ["segment(frames)", "startFrame", "times"])
def test_times_under_an_unknown_key_are_not_taken_for_labels_alone(tmp_path: Path, key: str) -> None:
    made.write_json(tmp_path / "thumos14/gt.json", changed(lambda one: {"label": one["label"], key: one["segment"]}))
    with pytest.raises(ValueError, match="call it segment, or start and end, in seconds"):
        find_annotations(tmp_path, "thumos14")


DETECTED = [("video_test_0000004", "Diving", 0.5, 1.0, 2.5), ("video_test_0000005", "HighJump", 0.25, 2.0, 3.0)]
DICTS = [dict(zip(("video-id", "label", "score", "t-start", "t-end"), row, strict=True)) for row in DETECTED]
OFFICIAL = {"Diving": 26, "HighJump": 40}
NESTED = {v: [{"label": c, "score": str(s), "segment": [a, b]}] for v, c, s, a, b in DETECTED}


def table(separator: str, decimal: str = ".", names: tuple[str, ...] = tuple(DICTS[0])) -> str:
    text = io.StringIO()
    lines = csv.writer(text, delimiter=separator)
    lines.writerows([names, *([str(one).replace(".", decimal) for one in row] for row in DETECTED)])
    return text.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("d.json", json.dumps({"results": {"results": NESTED}})),
        ("d.json", json.dumps({"version": "1", "detections": NESTED})),
        ("d.json", json.dumps(DICTS)),
        ("d.json", json.dumps([{"video": v, **row} for v, rows in NESTED.items() for row in rows])),
        (
            "d.json",
            json.dumps({v: [{**rs[0], "confidence": rs[0]["score"], "score": None}] for v, rs in NESTED.items()}),
        ),
        ("d.csv", table(",")),
        ("d.csv", table(";")),
        ("d.csv", table(";", ",")),
        ("d.tsv", table("\t")),
        ("d.csv", table(",", names=("Video", "Class", "Score", "Start", "End"))),
        ("d.txt", "\n".join(f"{v} {a} {b} {OFFICIAL[c]} {s}" for v, c, s, a, b in DETECTED)),
        ("d.txt", "\n".join(f"{v}\t{a}\t{b}\t{c}\t{s}" for v, c, s, a, b in DETECTED)),
        ("d.json", json.dumps([{**row, "label": OFFICIAL[row["label"]]} for row in DICTS])),
    ],
)
def test_detections_of_every_nesting_and_table_are_the_same(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    found = read_detections(tmp_path / name, DATA)
    columns = (found.video_n, found.label_n, found.score_n, *found.segment_n2.T)
    rows = [(found.videos[v], found.classes[c], *rest) for v, c, *rest in zip(*columns, strict=True)]
    assert rows == DETECTED
