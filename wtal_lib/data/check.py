"""The contents of a data root, layout by layout: every mismatch, and whether a run on it would fail."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from wtal_lib.data import annotations as reader
from wtal_lib.data.annotations import Annotations
from wtal_lib.data.cache import cache_folder
from wtal_lib.data.datasets import DATASETS, Dataset, get_dataset
from wtal_lib.data.features import Pack, find_pack, ill_fitting, indexed, marked, misfits
from wtal_lib.data.packs import KINDS, found_packs
from wtal_lib.data.segments import Grid

END_TOLERANCE = 0.1
"seconds by which an annotated segment may end after its video: durations are rounded"
NO_YES = {"False": "no", "True": "yes"}
SHOWN = 3
"names in a line of the text; json has all"

COLUMNS = {
    "annotations": ("layout", "videos", "train", "test", "train_instances", "test_instances", "classes", "path"),
    "features": ("kind", "layout", "videos", "snippets", "width", "dtype", "fps", "stride", "simulated", "path"),
}
"columns of the text's tables"
FINDINGS: dict[str, list[str]] = json.loads(Path(__file__).with_name("findings.json").read_bytes())
"findings of annotations and of packs, in words; those that are mismatches also in fewer"

Report = dict[str, Any]


def check(
    root: str | Path,
    dataset: str | None = None,
    cache: str | Path | None = None,
    grid: Grid | None = None,
    kind: str = "cbp",
) -> Report:
    """Findings about each dataset in a data root: ``annotations``, ``features``, ``protocols`` and ``problems``.

    Packs are indexed on the way. ``problems`` is empty if a run would find all it needs; without ``dataset``, those of
    which anything is there, somebody's own too. A ``grid`` overrules what packs of a ``kind`` are taken for. Raises
    FileNotFoundError for no such ``root``, ValueError for an unknown dataset.
    """
    if dataset or Path(root).is_file():
        names = [get_dataset(dataset or root).name]
    else:
        names = [name for name in DATASETS if not _of_other_release(root, name)]
        names += [own.name for own in _own_datasets(Path(root))]
    found = {name: _dataset(root, name, cache, {kind: grid}) for name in names}
    there = {name: report for name, report in found.items() if report["annotations"] or report["features"]}
    return {"data_root": str(root), "datasets": there or found}


def passes(report: Report) -> bool:
    """Whether a run on any of the datasets would start."""
    return all(not one["problems"] for one in report["datasets"].values())


def _of_other_release(root: str | Path, dataset: str) -> bool:
    """Whether the annotations there are another release's, which is checked under its own name."""
    larger = any(one.within == dataset for one in DATASETS.values())
    for _, path in reader.found_annotations(root, dataset)[:1] if larger else ():
        try:
            reader.annotations_from(path, dataset)
        except (ValueError, OSError) as error:
            return isinstance(error, reader.OtherReleaseError)
    return False


def _own_datasets(root: Path) -> Iterator[Dataset]:
    """Somebody's own datasets in a data root: folders of another name than the built-in ones', of other classes."""
    for folder in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        try:
            own = None if reader.named_after(folder) else get_dataset(folder.absolute())
        except (ValueError, OSError):
            continue
        if own and not any(all(map(one.official, own.classes)) for one in DATASETS.values()):
            yield own


def _dataset(root: str | Path, dataset: str, cache: str | Path | None, grids: dict[str, Grid | None]) -> Report:
    report: Report = {"annotations": [], "features": [], "protocols": {}, "problems": []}
    used: Annotations | None = None
    for layout, path in reader.found_annotations(root, dataset):
        one, why = _tried(reader.annotations_from, path, dataset)
        findings = {"layout": layout.name, "path": str(path), "unusable": why} if why else annotation_findings(one)
        used, first = used or one, not report["annotations"]
        report["annotations"].append({"used": first, **findings})
        report["problems"] += [why] if why and used is None else []
    if used is None:
        return report | {"problems": report["problems"] or [_tried(reader.find_annotations, root, dataset)[1]]}
    for protocol in get_dataset(dataset).protocols:
        truth, why = _tried(reader.ground_truth, used, protocol)
        report["protocols"][reader.earned_name(protocol, len(truth.videos)) if truth else protocol.name] = why
    folder = cache_folder(reader.home_folder(root, dataset), cache)
    for kind in KINDS:
        packs: list[Report] = []
        for source in found_packs(root, dataset, kind, used):
            source.grid = grids.get(kind) or source.grid
            pack, why = _tried(indexed, source, used, folder)
            entry = {"used": not packs, "kind": kind, "layout": source.layout, "path": str(source.path)}
            packs.append(entry | ({"unusable": why} if why else pack_findings(pack, used)))
        report["features"] += packs
        problem = _problem(packs[0], used) if packs else _tried(find_pack, root, dataset, kind, used)[1]
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
    return pack["ill_fitting"]


def _tried(call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """The result of a call, and its error message if it failed."""
    try:
        return call(*arguments), ""
    except (ValueError, OSError) as error:
        return None, str(error)


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
        "label_disagreements": [v.name for v in videos if set(v.labels) != set(v.instance_labels or v.labels)],
        "without_labels": [video.name for video in videos if not video.labels],
        "without_duration": sum(math.isnan(video.duration) for video in videos),
        "segments_beyond_end": {name: count for name, count in beyond.items() if count},
        "segments_without_length": sum(int((np.diff(video.segments) == 0).sum()) for video in videos),
        "instances_given_twice": sum(row.total() - len(row) for row in rows),
        "notes": list(annotations.notes),
    }


def pack_findings(pack: Pack, annotations: Annotations) -> Report:
    """Size, rate and coverage of a pack, and every video of it that does not fit the annotations."""
    wrong = misfits(pack, annotations)
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
        **{f"missing_{part}": names for part, names in missing.items()},
        "not_annotated": [name for name in pack.names if name not in annotations.videos],
        "too_short": {name: pair for name, pair in wrong.items() if pair[0] < pair[1]},
        "too_long": {name: pair for name, pair in wrong.items() if pair[0] > pair[1]},
        "ill_fitting": ill_fitting(pack, annotations),
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
            header = ["read", *(column.replace("_", " ") for column in columns)]
            cells = [["*" * entry["used"], *(NO_YES.get(str(entry[c]), entry[c]) for c in columns)] for entry in usable]
            table = tabulate(cells, header, tablefmt="plain", intfmt=",", floatfmt="g", numalign="left")
            yield from (f"  {line}".rstrip() for line in table.splitlines())
        broken = [entry for entry in entries if "unusable" in entry]
        yield from (f"    {entry['layout']} cannot be used: {entry['unusable']}" for entry in broken)
        for entry in entries:
            start = f"    {' '.join(entry[key] for key in ('kind', 'layout') if key in entry)}: "
            found = {words[0]: entry[key] for key, words in FINDINGS.items() if entry.get(key)}
            yield from (f"{start}{count(value):,} {words}{_some(value)}" for words, value in found.items())
            yield from (start + note for note in entry.get("notes", ()))
    if report["protocols"]:
        yield "  protocols"
    headline = get_dataset(dataset).headline.name
    for name, why in report["protocols"].items():
        yield f"    {name:<32} {f'no: {why}' if why else 'yes' + ' (headline)' * (name.split()[0] == headline)}"
    yield from (f"  a run on real features would fail: {problem}" for problem in report["problems"])
    if not report["problems"]:
        yield "  a run would find all it needs"


def _some(value: int | list[str] | dict[str, Any]) -> str:
    """The first few names, with the value of each; the largest counts first."""
    if isinstance(value, int):
        return ""
    listed = list(value)
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: -pair[1] if isinstance(pair[1], int) else 0)
        listed = [f"{name} ({', '.join(map(str, what)) if isinstance(what, list) else what})" for name, what in pairs]
    return ": " + ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")
