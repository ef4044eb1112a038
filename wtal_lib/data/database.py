"""Json databases of annotations, in the spellings and with the keys that the community's repositories use."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.files import UnreadableError, opening, read_json, read_text, readable
from wtal_lib.data.instances import AMBIGUOUS, NONE, REMEDY, Reading, Video, read_ambiguous, segment_table

DATABASE = "a json object with a `database` of videos, each with subset and annotations"
KEYS = {
    "video": ("video-id", "video_id", "video", "video_name", "vid", "id", "name"),
    "score": ("score", "scores", "confidence", "conf"),
    "subset": ("subset", "split"),
    "duration": ("duration", "duration_second", "duration_seconds", "video_duration", "seconds"),
    "fps": ("fps", "original_fps", "frame_rate"),
    "frames": ("frame", "frames", "num_frames", "numFrame", "duration_frame"),
    "labels": ("labels", "label", "classes"),
    "label": ("label", "class", "class_name", "label_name", "category", "label_id", "category_id"),
    "segment": ("segment", "timestamp", "timestamps"),
    "start": ("start", "start_time", "t-start", "t_start", "start_sec", "startTime", "begin"),
    "stop": ("end", "end_time", "t-end", "t_end", "end_sec", "endTime", "stop"),
}
"what each thing is called in databases and tables, the usual name first"


def read_database(path: Path, _: tuple[str, ...] = ()) -> Reading:
    """A json database, keyed by video; those with neither annotations nor labels are left out, and named."""
    content = read_json(path, DATABASE, REMEDY)
    with readable(path, DATABASE, REMEDY):
        database = _by_video(content)
        content = content if isinstance(content, dict) else {}
        if "results" in content:
            raise ValueError("it holds detections")
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


def _by_video(content: Any, within: str = "") -> dict[str, Any]:
    """The videos of a database, by name: a list has its names inside, an object may have them under a further key.

    Of a list with a row an annotation, the rows of a video come together.
    """
    for key in ("database", "videos", "annotations") if isinstance(content, dict) else ():
        if isinstance(content.get(key), dict | list) and within != key * 2:
            return _by_video(content[key], within + key)
    if isinstance(content, dict):
        return content
    found: dict[str, Any] = {}
    for row in content if isinstance(content, list) else ():
        if not isinstance(row, dict) or first(row, "video") is None:
            raise ValueError(f"it lists {row!r:.60}, which names no video")
        own = [row] if first(row, "segment") is not None or first(row, "start") is not None else []
        video = found.setdefault(str(first(row, "video")), {**row, "annotations": []})
        video["annotations"] += row.get("annotations") or own
    if not found:
        raise ValueError(f"it holds a {type(content).__name__}")
    return found


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
    listed, pairs = entry.get("annotations") or (), entry.get("segments")
    if not listed and isinstance(pairs, list) and len(pairs) == len(whole):  # as W-TALC keeps them
        return list(zip(whole, pairs, strict=True)), []
    for item in listed.values() if isinstance(listed, dict) else listed:
        if not isinstance(item, dict):
            raise ValueError(f"an annotation of {name} is {item!r:.60}, no object with label and segment")
        label, pair = first(item, "label"), first(item, "segment")
        if pair is None and first(item, "start") is not None:
            pair = [first(item, "start"), first(item, "stop")]
        label = label[0] if isinstance(label, list) and len(label) == 1 else label
        label = int(label) if isinstance(label, float) and label.is_integer() else label
        if label is None or not isinstance(label, (str, int)):
            raise ValueError(f"an annotation of {name} has no label: {json.dumps(item)[:100]}")
        if pair is None:
            if odd := [key for key in item if re.match(r"seg|start|end|time|begin|frame|t[_-]", key.lower())]:
                raise ValueError(
                    f"the times of {name} are in {odd[0]!r:.40}: call it segment, or start and end, in seconds"
                )
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
            import pandas as pd  # here: few files are tables, and it takes longer to import than all else

            text = read_text(path)
            table = pd.read_csv(io.StringIO(text), sep=opening(text)[0], engine="python")
            rows = table.set_index(table.columns[0]).to_dict("index")
            return {
                str(name): {key: value for key, value in row.items() if value == value} for name, row in rows.items()
            }
    return {}
