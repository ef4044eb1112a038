"""The contents of a data root, layout by layout: every mismatch, and whether a run on it would fail."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from wtal_lib.data.annotations import (
    Annotations,
    annotations_from,
    find_annotations,
    found_annotations,
    ground_truth,
    home_folder,
)
from wtal_lib.data.cache import cache_folder
from wtal_lib.data.datasets import DATASETS, get_dataset
from wtal_lib.data.features import Pack, find_pack, indexed, marked
from wtal_lib.data.packs import KINDS, found_packs

END_TOLERANCE = 0.1
"seconds by which an annotated segment may end after its video: durations are rounded"
LENGTH_TOLERANCE = (2, 0.02)
"snippets, and share of the expected ones, by which features may be shorter or longer than their video"
SHOWN = 3
"names in a line of the text; json has all"

COLUMNS = {
    "annotations": ("layout", "videos", "train", "test", "train_instances", "test_instances", "classes", "path"),
    "features": ("kind", "layout", "videos", "snippets", "width", "dtype", "fps", "stride", "simulated", "path"),
}
"columns of the text's tables"
REMARKS = {
    "label_disagreements": "videos whose video-level labels are not those of their instances",
    "without_labels": "videos without a video-level label, not trained on",
    "segments_beyond_end": "segments that end after their video",
    "segments_without_length": "instances without length, which count as misses",
    "instances_given_twice": "instances given twice, of which both are kept",
    "without_duration": "videos without a known duration",
    "ambiguous_segments": "ambiguous segments",
    "missing_train": "training videos that are missing, not trained on",
    "missing_test": "test videos that are missing, which count as misses",
    "not_annotated": "videos that are not annotated, not used",
    "too_short": "videos with fewer rows than their duration asks for (rows, expected)",
    "too_long": "videos with more rows than their duration asks for (rows, expected)",
    "faults": "videos whose features cannot be used",
}
"findings of annotations and of packs, in words"

Report = dict[str, Any]


def check(root: str | Path, dataset: str | None = None, cache: str | Path | None = None) -> Report:
    """Findings about each dataset in a data root: ``annotations``, ``features``, ``protocols`` and ``problems``.

    Packs that were never opened are indexed on the way. ``problems`` is empty if a run would find all it needs on the
    disk; without ``dataset``, the report covers those of which anything is there.

    Raises:
        FileNotFoundError: ``root`` does not exist.
        ValueError: Unknown dataset.
    """
    found = {name: _dataset(root, name, cache) for name in ([dataset] if dataset else DATASETS)}
    there = {name: report for name, report in found.items() if report["annotations"] or report["features"]}
    return {"data_root": str(root), "datasets": there or found}


def passes(report: Report) -> bool:
    """Whether a run on any of the datasets would start."""
    return all(not one["problems"] for one in report["datasets"].values())


def _dataset(root: str | Path, dataset: str, cache: str | Path | None) -> Report:
    report: Report = {"annotations": [], "features": [], "protocols": {}, "problems": []}
    used: Annotations | None = None
    for layout, path in found_annotations(root, dataset):
        first = not report["annotations"]
        try:
            one = annotations_from(path, dataset)
            report["annotations"].append({"used": first, **annotation_findings(one)})
            used = one if first else used
        except (ValueError, OSError) as error:
            report["annotations"].append({"layout": layout.name, "path": str(path), "unusable": str(error)})
            report["problems"] += [] if used else [str(error)]
    if used is None:
        return report | {"problems": report["problems"] or [_refusal(find_annotations, root, dataset)]}
    for protocol in get_dataset(dataset).protocols:
        report["protocols"][protocol.name] = _refusal(ground_truth, used, protocol)
    folder = cache_folder(home_folder(root, dataset), cache)
    for kind in KINDS:
        packs: list[Report] = []
        for source in found_packs(root, dataset, kind, used):
            entry = {"used": not packs, "kind": kind, "layout": source.layout, "path": str(source.path)}
            try:
                entry |= pack_findings(indexed(source, used, folder), used)
            except (ValueError, OSError) as error:
                entry["unusable"] = str(error)
            packs.append(entry)
        report["features"] += packs
        problem = _problem(packs[0], used) if packs else _refusal(find_pack, root, dataset, kind, used)
        report["problems"] += [problem] if problem else []
    return report


def _problem(pack: Report, annotations: Annotations) -> str:
    """Why a run on that pack would fail; empty if it would not."""
    if pack.get("unusable"):
        return pack["unusable"]
    if pack["faults"]:
        name, why = next(iter(pack["faults"].items()))
        faults = f"{len(pack['faults'])} videos have features that cannot be used"
        return f"{pack['path']}: {faults}, such as {name}: it {why}"
    if len(pack["missing_train"]) == len(annotations.subset("train")):
        return f"{pack['path']}: it holds none of the training videos"
    return ""


def _refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The error message of a call; empty if it succeeds."""
    try:
        call(*arguments)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def annotation_findings(annotations: Annotations) -> Report:
    """Counts of videos and instances, and every oddity of the annotations."""
    videos = annotations.videos.values()
    beyond = {v.name: int((v.segments[:, 1] > v.duration + END_TOLERANCE).sum()) for v in videos}
    rows = [Counter(zip(v.instance_labels, map(tuple, v.segments.tolist()), strict=True)) for v in videos]
    subsets = {part: annotations.subset(part) for part in ("train", "test")}
    return {
        "layout": annotations.layout,
        "path": str(annotations.path),
        "classes": len(annotations.classes),
        "videos": len(videos),
        **{part: len(members) for part, members in subsets.items()},
        **{f"{part}_instances": sum(len(v.segments) for v in members) for part, members in subsets.items()},
        "ambiguous_segments": sum(len(video.ambiguous) for video in videos),
        "label_disagreements": [v.name for v in videos if set(v.labels) != set(v.instance_labels)],
        "without_labels": [video.name for video in videos if not video.labels],
        "without_duration": sum(math.isnan(video.duration) for video in videos),
        "segments_beyond_end": {name: count for name, count in beyond.items() if count},
        "segments_without_length": sum(int((np.diff(video.segments) == 0).sum()) for video in videos),
        "instances_given_twice": sum(row.total() - len(row) for row in rows),
        "notes": list(annotations.notes),
    }


def pack_findings(pack: Pack, annotations: Annotations) -> Report:
    """Size, rate and coverage of a pack, and every video of it that does not fit the annotations."""
    short: dict[str, list[int]] = {}
    long: dict[str, list[int]] = {}
    for name, rows in pack.lengths.items():
        video = annotations.videos.get(name)
        if video is not None and video.duration > 0:
            expected = pack.grid.count(video.duration)
            if abs(rows - expected) > max(LENGTH_TOLERANCE[0], LENGTH_TOLERANCE[1] * expected):
                (short if rows < expected else long)[name] = [rows, expected]
    missing = {part: [v.name for v in annotations.subset(part) if v.name not in pack] for part in ("train", "test")}
    return {
        "videos": len(pack),
        "snippets": sum(pack.lengths.values()),
        "width": pack.width,
        "dtype": str(pack[pack.names[0]].dtype) if len(pack) else "",
        "fps": pack.grid.fps,
        "stride": pack.grid.stride,
        "fingerprint": pack.fingerprint,
        "simulated": marked(pack),
        "missing_train": missing["train"],
        "missing_test": missing["test"],
        "not_annotated": [name for name in pack.names if name not in annotations.videos],
        "too_short": short,
        "too_long": long,
        "faults": pack.faults,
        "notes": list(pack.notes),
    }


def count(finding: Any) -> int:
    """The number that a finding stands for: itself, the sum of its counts by video, or the number of its videos."""
    if isinstance(finding, dict) and all(isinstance(value, int) for value in finding.values()):
        return sum(finding.values())
    return finding if isinstance(finding, int) else len(finding)


def as_text(report: Report) -> str:
    """The report for people: tables and sentences, a few names of each kind."""
    return "\n".join(line for name, one in report["datasets"].items() for line in _lines(name, one))


def _lines(dataset: str, report: Report) -> Iterator[str]:
    yield dataset
    for section, columns in COLUMNS.items():
        entries = report[section]
        usable = [entry for entry in entries if "unusable" not in entry]
        yield f"  {section}" if entries else f"  {section}: none found"
        if usable:
            cells = [["*" if entry["used"] else "", *(_cell(entry[c]) for c in columns)] for entry in usable]
            header = ["", *(column.replace("_", " ") for column in columns)]
            table = tabulate([header, *cells], tablefmt="plain", disable_numparse=True)
            yield from (f"  {line}".rstrip() for line in table.splitlines())
        for entry in entries:
            if "unusable" in entry:
                yield f"    {entry['layout']} cannot be used: {entry['unusable']}"
        for entry in entries:
            start = f"    {' '.join(entry[key] for key in ('kind', 'layout') if key in entry)}: "
            found = {key: entry[key] for key in REMARKS if entry.get(key)}
            yield from (f"{start}{count(value):,} {REMARKS[key]}{_some(value)}" for key, value in found.items())
            yield from (start + note for note in entry.get("notes", ()))
    if report["protocols"]:
        yield "  protocols"
    headline = get_dataset(dataset).headline.name
    for name, why in report["protocols"].items():
        yield f"    {name:<32} {f'no: {why}' if why else 'yes' + ' (headline)' * (name == headline)}"
    yield from (f"  a run on real features would fail: {problem}" for problem in report["problems"])
    if not report["problems"]:
        yield "  a run would find all it needs"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _some(value: int | list[str] | dict[str, Any]) -> str:
    """The first few names, with the value of each; the largest counts first."""
    if isinstance(value, int):
        return ""
    items: Iterable[str] = value
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: -pair[1] if isinstance(pair[1], int) else 0)
        items = [f"{name} ({', '.join(map(str, what)) if isinstance(what, list) else what})" for name, what in pairs]
    listed = list(items)
    return ": " + ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")
