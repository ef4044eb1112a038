"""Json databases of annotations, in the spellings and with the keys that the community's repositories use."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from wtal_lib.data.files import UnreadableError, read_json, read_text, readable
from wtal_lib.data.instances import AMBIGUOUS, NONE, REMEDY, Reading, Video, read_ambiguous, segment_table

DATABASE = "a json object with a `database` of videos, each with subset and annotations"
KEYS = {
    "subset": ("subset", "split"),
    "duration": ("duration", "duration_second", "duration_seconds", "video_duration", "seconds"),
    "fps": ("fps", "original_fps", "frame_rate"),
    "frames": ("frame", "frames", "num_frames", "numFrame", "duration_frame"),
    "labels": ("labels", "label", "classes"),
    "label": ("label", "class", "class_name", "category", "label_id", "category_id"),
    "segment": ("segment", "timestamp", "timestamps"),
    "start": ("start", "start_time", "t-start", "t_start"),
    "stop": ("end", "end_time", "t-end", "t_end", "stop"),
}
"what each thing is called in json databases, the usual name first"


def read_database(path: Path, _: tuple[str, ...] = ()) -> Reading:
    """A json database, keyed by video; those with neither annotations nor labels are left out, and named."""
    content = read_json(path, DATABASE, REMEDY)
    with readable(path, DATABASE, REMEDY):
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
        database = content.get("database", content)
        if not isinstance(database, dict) or "results" in content:
            raise ValueError("it holds detections" if "results" in content else "its database is no object by video")
        if odd := [name for name, entry in database.items() if not isinstance(entry, dict)]:
            raise ValueError(f"{odd[0]!r:.60} is no video")
        beside = _video_info(path.parent)
        entries = {name: {**beside.get(name, {}), **entry} for name, entry in database.items()}
        listed = {name: _items(name, entry) for name, entry in entries.items()}
        empty = [name for name, (items, labels) in listed.items() if not items and not labels]
        names = _class_map(path.parent, content, listed)
    about = {key: value for key, value in content.items() if key != "database"} if database is not content else {}
    doubtful, notes = read_ambiguous(path.parent, set(database) - set(empty))
    if empty:
        notes = [f"{len(empty)} videos without annotations are left out: {', '.join(empty[:3])}", *notes]
    videos, vague = [], []
    for name, (items, labels) in listed.items():
        with readable(path, f"annotations of {name} with label and segment", REMEDY):
            sure = [(names[label], pair) for label, pair in items if names[label].lower() != AMBIGUOUS.lower()]
            unsure = [pair for label, pair in items if names[label].lower() == AMBIGUOUS.lower()]
            table = segment_table([pair for _, pair in sure], len(sure))
            extra = np.concatenate([segment_table(unsure, len(unsure)), doubtful.get(name, NONE)])
            fps, frames = (_number(entries[name], key) for key in ("fps", "frames"))
            duration = _number(entries[name], "duration")
            duration = frames / fps if math.isnan(duration) and fps > 0 else duration
        instances = tuple(label for label, _ in sure)
        video_labels = tuple(dict.fromkeys((*instances, *(names[label] for label in labels))))
        subset = str(first(entries[name], "subset") or "")
        if video_labels:
            videos.append(Video(name, subset, duration, video_labels, instances, table, extra, fps))
        elif name not in empty:
            vague.append(f"{name} holds ambiguous segments only and is left out")
    if not videos and not vague:
        raise UnreadableError(f"{path}: expected {DATABASE}, but none of its {len(database)} videos has any; {REMEDY}")
    classes = content.get("classes") if database is not content else None
    return Reading(videos, tuple(map(str, classes or ())), [*vague, *notes], about)


def first(entry: Mapping[str, Any], kind: str) -> Any:
    """What an entry holds under any of the names of a kind; None for nothing."""
    return next((entry[key] for key in KEYS[kind] if entry.get(key) is not None), None)


def _number(entry: Mapping[str, Any], kind: str) -> float:
    """A positive number of an entry; nan where it has none, or null."""
    value = first(entry, kind)
    return float(value) if value not in (None, "") and float(value) > 0 else math.nan


def _items(name: str, entry: Mapping[str, Any]) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """Label and segment of each annotation of a video, and the labels that stand for the whole of it."""
    labels = first(entry, "labels") or []
    whole, items = list(labels) if isinstance(labels, list) else [labels], []
    for item in entry.get("annotations") or ():
        if not isinstance(item, dict):
            raise ValueError(f"an annotation of {name} is {item!r:.60}, no object with label and segment")
        label, pair = first(item, "label"), first(item, "segment")
        if pair is None and first(item, "start") is not None:
            pair = [first(item, "start"), first(item, "stop")]
        if label is None or not isinstance(label, (str, int)):
            raise ValueError(f"an annotation of {name} has no label: {json.dumps(item)[:100]}")
        if pair is None:
            whole.append(label)
        else:
            items.append((label, pair))
    return items, whole


def _class_map(folder: Path, content: Mapping[str, Any], listed: Mapping[str, Any]) -> dict[Any, str]:
    """Class name of each label that occurs: itself; for a number, from a list of classes in the file or beside it."""
    labels = dict.fromkeys(label for items, whole in listed.values() for label in (*(one for one, _ in items), *whole))
    numbers = [label for label in labels if not isinstance(label, str) or label.isdecimal()]
    if not numbers:
        return {label: label for label in labels}
    names: dict[int, str] = dict(enumerate(content["classes"])) if isinstance(content.get("classes"), list) else {}
    for path in () if names else sorted(folder.glob("*class*")):
        if path.suffix in (".txt", ".csv", ".json"):
            names = read_class_map(path)
            break
    if missing := [number for number in numbers if int(number) not in names]:
        what = f"the ids {', '.join(map(str, missing[:3]))} have no class name"
        raise ValueError(
            f"{what}: names are needed, as a list `classes` in the file or as classes.txt beside it, a name a line from"
            " id 0 on, or an id and a name a line"
        )
    return {label: names[int(label)] if label in numbers else label for label in labels}


def read_class_map(path: Path) -> dict[int, str]:
    """Class names by id, of a file of names (from 0 on), of ids with names, or json; UnreadableError otherwise."""
    expected = "class names in the order of their ids, or an id and a name a line"
    with readable(path, expected, "write a name a line"):
        if path.suffix == ".json":
            content = read_json(path, expected, "write a list of names")
            pairs = list(content.items() if isinstance(content, dict) else enumerate(content))
        else:
            lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
            split = [re.match(r"(\d+)[\s,:;]+(.+)|(.+?)[\s,:;]+(\d+)$", line) for line in lines]
            pairs = [(m[1] or m[4], m[2] or m[3]) for m in split if m] if all(split) else list(enumerate(lines))
        turned = [(value, key) if str(value).isdecimal() else (key, value) for key, value in pairs]
        return {int(number): str(name) for number, name in turned}


def _video_info(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of G-TAD's and BSN's ``video_info*.csv`` beside a json file, by video: subset, seconds, fps."""
    for path in sorted(folder.glob("video_info*.csv")):
        with readable(path, "a csv table with the columns video, subset, seconds and fps", REMEDY):
            table = pd.read_csv(path, encoding="utf-8-sig")
            rows = table.set_index(table.columns[0]).to_dict("index")
            return {
                str(name): {key: value for key, value in row.items() if value == value} for name, row in rows.items()
            }
    return {}
