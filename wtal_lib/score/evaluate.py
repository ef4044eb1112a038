"""Reports: detections scored under one or several named protocols, with warnings on what looks wrong with them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from wtal_lib.data.annotations import Annotations, annotations_from, earned_name, ground_truth
from wtal_lib.data.datasets import DATASETS, PROTOCOLS, Protocol, get_dataset, protocol
from wtal_lib.data.segments import BEYOND, Detections, GroundTruth, likely_unit
from wtal_lib.score.detections import checked, read_detections
from wtal_lib.score.matching import EqualTiou, ratio
from wtal_lib.score.metrics import Candidates, Matching, candidates, match

LEVEL = 0.95
"Share of the bootstrap's resamplings that an interval holds"


def score_file(
    path: str | Path,
    annotation_path: str | Path,
    dataset: str | None = None,
    protocols: Sequence[str] = (),
    *,
    bootstrap: int = 0,
    allow_missing: bool = False,
    equal_tiou: EqualTiou = "latest",
) -> dict[str, Any]:
    """The :func:`report` on a file of detections, with the file's name and the warnings of reading it.

    Without a ``dataset`` it is the protocols' own, else the one whose annotations are found and name most videos, else
    somebody's own, which the annotations are themselves. Raises FileNotFoundError: no such detections or annotations;
    ValueError: as :func:`report`, or one of the files is not what it should be.
    """
    datasets = [dataset] if dataset else sorted({_dataset_of(name) for name in protocols} - {""}) or DATASETS
    found = _accepted([*datasets, *([] if dataset else [annotation_path])], partial(_annotations, annotation_path))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tables = [(read_detections(path, annotations), annotations) for annotations in found.values()]
    detections, annotations = max(tables, key=lambda pair: len(pair[1].videos.keys() & set(pair[0].videos)))
    options: Any = {"bootstrap": bootstrap, "allow_missing": allow_missing, "equal_tiou": equal_tiou}
    scores = report(detections, annotations, protocols, **options)
    raised = dict.fromkeys(str(one.message) for one in caught)
    return {"file": str(path), **scores, "warnings": [*raised, *scores["warnings"]]}


def _dataset_of(name: str) -> str:
    """The built-in dataset of a protocol; empty for what is none's."""
    return PROTOCOLS[plain].dataset if (plain := name.partition(" (")[0]) in PROTOCOLS else ""


def _annotations(path: str | Path, dataset: str | Path) -> Annotations:
    """Annotations of a dataset; of somebody's own, given by ``path`` itself, where they are no built-in one's."""
    known = get_dataset(dataset)
    shares = [sum(map(bool, map(one.official, known.classes))) / len(known.classes) for one in DATASETS.values()]
    if dataset == path and max(shares) > 0.5:
        raise ValueError(f"{path}: most of its classes are those of a built-in dataset; mend the others")
    return annotations_from(path, known.name)


def report(
    detections: Detections,
    annotations: Annotations,
    protocols: Sequence[str | Protocol] | None = None,
    *,
    bootstrap: int = 0,
    seed: int = 0,
    allow_missing: bool = False,
    equal_tiou: EqualTiou = "latest",
) -> dict[str, Any]:
    """Scores under each protocol, as plain JSON values; every score is a fraction, None for a class without instances.

    ``{"dataset", "detections", "protocols": {NAME: {"iou", "map", "means", "ap": {CLASS: [...]}, "videos",
    "ground_truth", "ignored"}}, "unknown_videos", "unknown_classes", "warnings"}``. ``map`` is the mean over the
    classes that have instances. ``ignored`` counts the detections a protocol does not score: outside its videos or
    classes, or touching an ambiguous segment. Test videos without detections are misses. Without ``protocols`` (names
    or records) there are all that the annotations can be scored under. With a ``bootstrap``, a protocol also has
    ``interval``: the central 95 % of ``map`` and of ``means`` over as many resamplings of its videos, drawn with
    ``seed``. A protocol of whose videos the annotations lack some has their number in its name, and a warning unless
    ``allow_missing``. ``equal_tiou``: the rule for instances of equal tIoU, see :mod:`wtal_lib.score.metrics`. Raises
    ValueError: a score or segment that is no finite number, a reversed segment, times that are no seconds, an unknown
    protocol or one that these annotations do not fit, or a negative ``bootstrap``.
    """
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be a number of resamplings, 0 for none, got {bootstrap}")
    checked(detections)
    if protocols:
        chosen = [protocol(one) if isinstance(one, str) else one for one in protocols]
        truths = {one: ground_truth(annotations, one) for one in chosen}
    else:
        truths = _accepted(get_dataset(annotations.dataset).protocols, partial(ground_truth, annotations))
    matchings = _matchings(detections, truths, equal_tiou)
    require_seconds(detections, annotations, next(iter(truths.values())))
    earned = {one: earned_name(one, len(truth.videos)) for one, truth in truths.items()}
    scores = {earned[one]: _scores(found, one, len(detections), bootstrap, seed) for one, found in matchings.items()}
    videos = _unknown(detections.videos, annotations.videos, detections.video_n)
    classes = _unknown(detections.classes, annotations.classes, detections.label_n)
    raised = [
        f"{found['detections']} detections are of {len(names)} unknown {kind}, and are not scored:"
        f" {', '.join(names[:5])}" + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        for kind, found in (("videos", videos), ("classes", classes))
        if (names := found["names"])
    ]
    raised += _coverage_warnings(detections, annotations, next(iter(matchings.values())))
    if not allow_missing and (short := [name for one, name in earned.items() if name != one.name]):
        raised.append(f"the annotations lack videos of the protocol: {', '.join(short)}")
    head = {"dataset": annotations.dataset, "detections": len(detections), "protocols": scores}
    return {**head, "unknown_videos": videos, "unknown_classes": classes, "warnings": raised}


def _matchings(
    detections: Detections, truths: Mapping[Protocol, GroundTruth], equal_tiou: EqualTiou
) -> dict[Protocol, Matching]:
    """The match under each protocol; those that differ in their videos alone share that of the one with most.

    Those of the same videos share the order of the detections, and their candidates too where they are on one grid.
    """
    found, wanted = dict[Protocol, Matching](), dict[Protocol, Candidates]()
    for one in sorted(truths, key=lambda one: len(one.excluded)):
        own: dict[str, Any] = {"name": one.name, "means": one.means, "videos": one.videos}
        alike = [of for of in found if replace(of, **own, excluded=one.excluded) == one and of.excluded <= one.excluded]
        if alike:
            found[one] = found[alike[0]].within(truths[one])
            continue
        own["ignore_ambiguous"] = one.ignore_ambiguous
        same = next((wanted[of] for of in wanted if replace(of, **own) == one), None)
        ranked = next((wanted[of] for of in wanted if of.excluded == one.excluded), None)
        wanted[one] = same or candidates(detections, truths[one], one.iou, equal_tiou, ranked)
        found[one] = wanted[one].matching(truths[one])
    return {one: found[one] for one in truths}


def _accepted(candidates: Iterable[Any], make: Callable[[Any], Any]) -> dict[Any, Any]:
    """What ``make`` returns for each candidate that it does not refuse; raises the first refusal if it refuses all."""
    found, refusals = {}, []
    for one in candidates:
        try:
            found[one] = make(one)
        except (ValueError, OSError) as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return found


def _scores(matching: Matching, chosen: Protocol, detections: int, bootstrap: int, seed: int) -> dict[str, Any]:
    """One protocol's part of the report; percentile bootstrap."""
    ap_ck, videos = matching.average_precision()[0], len(matching.truth.videos)
    found = {
        "iou": list(chosen.iou),
        **_averages(ap_ck, chosen, _plain),
        "ap": {name: _plain(ap_k) for name, ap_k in zip(matching.truth.classes, ap_ck, strict=True)},
        "videos": videos,
        "ground_truth": len(matching.truth),
        "ignored": detections - len(matching.row_n),
    }
    if bootstrap and len(matching.truth):
        drawn_rb = np.random.default_rng(seed).multinomial(videos, np.full(videos, 1 / videos), size=bootstrap)
        ap_rck, ends = matching.average_precision(drawn_rb), ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
        central = _averages(ap_rck, chosen, lambda score_r: _plain(np.nanquantile(score_r, ends, axis=0).T))
        found["interval"] = {"level": LEVEL, "resamplings": bootstrap, "seed": seed, **central}
    return found


def _averages(ap_ck: np.ndarray, chosen: Protocol, plain: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """Mean over the classes that have instances of (..., c, k) AP, at each threshold and over the named thresholds."""
    map_k = ratio(np.nansum(ap_ck, axis=-2), np.isfinite(ap_ck).sum(axis=-2))
    columns = {name: [chosen.iou.index(at) for at in iou] for name, iou in chosen.means}
    means = {name: plain(np.asarray(map_k[..., k].mean(axis=-1))) for name, k in columns.items()}
    return {"map": plain(map_k), "means": means}


def _plain(values: np.ndarray) -> Any:
    """Nested lists of floats, None for nan: json has no nan."""
    return np.where(np.isfinite(values), values, np.array(None)).tolist()


def _unknown(names: Sequence[str], known: Container[str], index_n: np.ndarray) -> dict[str, Any]:
    """Names that the annotations lack, sorted, and how many detections have one."""
    unknown = np.array([name not in known for name in names], dtype=bool)
    return {"detections": int(unknown[index_n].sum()), "names": sorted(np.array(names, dtype=object)[unknown])}


def _coverage_warnings(detections: Detections, annotations: Annotations, matching: Matching) -> list[str]:
    """What is missing or can never match, under the first protocol."""
    if not len(detections):
        return ["there are no detections: every instance counts as a miss"]
    found, videos = [], len(matching.truth.videos)
    missing = videos - len(np.unique(matching.video_n))
    if missing == videos:
        subsets = {annotations.videos[name].subset for name in detections.videos if name in annotations.videos}
        hint = " (they are of training videos)" if subsets == {"train"} else ""
        found.append(f"none of the {len(detections)} detections lies in a test video{hint}: every instance is a miss")
    elif missing:
        found.append(f"{missing} of {videos} videos have no detection: their instances count as misses")
    empty = int((detections.segment_n2[:, 0] == detections.segment_n2[:, 1]).sum())
    if empty:
        found.append(f"{empty} detections have no length: they overlap nothing and count as false positives")
    return found


UNITS = {"frames": (25.0, 30.0, 24.0, 10.0), "snippets": (25 / 16,), "milliseconds": (1000.0,)}
"Units that are taken for seconds, and how many of them there may be in a second"


def require_seconds(detections: Detections, annotations: Annotations, truth: GroundTruth) -> None:
    """Refuse detections whose times are likely no seconds: by durations or, where none is known, by the instances.

    Without durations another unit is tried where detections reach beyond the last instances: it is likely if more than
    twice as many instances are found by it.

    Raises:
        ValueError: with the likely unit.
    """
    latest_b = np.full(len(detections.videos), -np.inf)
    np.maximum.at(latest_b, detections.video_n, detections.segment_n2[:, 1])
    videos = [annotations.videos.get(name) for name in detections.videos]
    unit, why = likely_unit(latest_b, np.array([video.duration if video else np.nan for video in videos]))
    if not any(video and np.isfinite(video.duration) for video in videos):
        reach_b = np.array([video.segments.max(initial=0.0) if video else 0.0 for video in videos])
        use_b = (reach_b > 0) & np.isfinite(latest_b)
        if use_b.any() and np.median(latest_b[use_b] / reach_b[use_b]) > BEYOND:

            def found(many: float) -> int:
                scaled = replace(detections, segment_n2=detections.segment_n2 / many)
                matching = match(scaled, truth, [0.5])
                return int((matching.rank_km < len(matching.row_n)).sum())

            hits = {name: max(map(found, many)) for name, many in UNITS.items()}
            best = max(hits, key=lambda name: hits[name])
            if hits[best] > 2 * found(1.0):
                unit, why = best, f"read so they find {hits[best]} of {len(truth)} instances at tIoU 0.5"
    if unit:
        raise ValueError(f"detections must be in seconds, these are likely {unit}: {why}; divide them first")


def as_text(found: dict[str, Any]) -> str:
    """A table of a report in percent: a row per protocol, a column per threshold and mean."""
    first, counts = next(iter(found["protocols"].values())), ("videos", "ground_truth", "ignored")
    thresholds, means = [f"{iou:g}" for iou in first["iou"]], [f"mean {name}" for name in first["means"]]

    def percent(fraction: float | None) -> str:
        return "-" if fraction is None else f"{100 * fraction:.2f}"

    rows = [["mAP in percent at tIoU", *thresholds, *means, "videos", "ground truth", "ignored"]]
    for name, row in found["protocols"].items():
        rows.append([name, *map(percent, [*row["map"], *row["means"].values()]), *(row[key] for key in counts)])
        if "interval" in row:
            interval = row["interval"]
            ends = [*interval["map"], *interval["means"].values()]
            for side, label in enumerate(("from", "to")):
                share = f"{interval['level']:.0%} of {interval['resamplings']} resamplings, {label}"
                rows.append([share, *(percent(pair[side]) for pair in ends), *("" for _ in counts)])
    align = ("left", *["right"] * (len(rows[0]) - 1))
    return tabulate(rows, tablefmt="plain", colalign=align, disable_numparse=True)
