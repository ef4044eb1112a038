"""Detections to a report: average precision under one or several named protocols, and what looks wrong with them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wtal_lib.data.annotations import Annotations, annotations_from, ground_truth
from wtal_lib.data.datasets import DATASETS, Protocol, get_dataset, protocol
from wtal_lib.data.segments import Detections, GroundTruth
from wtal_lib.score.detections import checked, read_detections, write_detections
from wtal_lib.score.metrics import Matching, match, scored

__all__ = ["as_text", "read_detections", "report", "score_file", "write_detections"]

LEVEL = 0.95
"Share of the bootstrap's resamplings that an interval holds"


def score_file(
    path: str | Path,
    annotation_path: str | Path,
    dataset: str | None = None,
    protocols: Sequence[str] = (),
    *,
    bootstrap: int = 0,
) -> dict[str, Any]:
    """The :func:`report` on a file of detections, with the file's name and what was odd about it.

    Without a ``dataset`` it is the protocols' own, else the one whose annotations are found and name most videos.

    Raises:
        FileNotFoundError: no such detections or annotations.
        ValueError: as :func:`report`, or one of the files is not what it should be.
    """
    named = {protocol(name).dataset for name in protocols}
    found, refusals = [], []
    for one in [dataset] if dataset else sorted(named) or DATASETS:
        try:
            found.append(annotations_from(annotation_path, one))
        except (ValueError, OSError) as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read = [(read_detections(path, annotations), annotations) for annotations in found]
    detections, annotations = max(read, key=lambda pair: len(pair[1].videos.keys() & set(pair[0].videos)))
    scores = report(detections, annotations, protocols, bootstrap=bootstrap)
    return {
        "file": str(path),
        **scores,
        "warnings": [*dict.fromkeys(str(one.message) for one in caught), *scores["warnings"]],
    }


def report(
    detections: Detections,
    annotations: Annotations,
    protocols: Sequence[str | Protocol] | None = None,
    *,
    bootstrap: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores under each protocol, as plain JSON values; every score is a fraction, None for a class without instances.

    ``{"dataset", "detections", "protocols": {NAME: {"iou", "map", "means", "ap": {CLASS: [...]}, "videos",
    "ground_truth", "ignored"}}, "unknown_videos", "unknown_classes", "warnings"}``. ``map`` is the mean over the
    classes that have instances. ``ignored`` counts the detections a protocol does not score: outside its videos or
    classes, or touching an ambiguous segment. Videos without detections are misses. With a ``bootstrap``, a protocol
    also has ``interval``: the central 95 % of ``map`` and of ``means`` over as many resamplings of its videos.

    Args:
        detections: seconds; the order of the rows is of no account.
        annotations: whose test videos are scored.
        protocols: names or protocols; all that these annotations can be scored under when absent.
        bootstrap: number of resamplings; 0 for no interval.
        seed: of the resampling.

    Raises:
        ValueError: a score or segment that is no finite number, a reversed segment, an unknown protocol or one that
            these annotations do not fit, or a negative ``bootstrap``.
    """
    if bootstrap < 0:
        raise ValueError(f"bootstrap must be a number of resamplings, 0 for none, got {bootstrap}")
    checked(detections)
    truths = _truths(annotations, protocols)
    scores = {chosen.name: _scores(detections, truth, chosen, bootstrap, seed) for chosen, truth in truths}
    unknown_video_b = np.array([name not in annotations.videos for name in detections.videos], dtype=bool)
    unknown_class_c = np.array([name not in annotations.classes for name in detections.classes], dtype=bool)
    videos = _unknown(detections.videos, unknown_video_b, detections.video_n)
    classes = _unknown(detections.classes, unknown_class_c, detections.label_n)
    return {
        "dataset": annotations.dataset,
        "detections": len(detections),
        "protocols": scores,
        "unknown_videos": videos,
        "unknown_classes": classes,
        "warnings": [
            *(
                _unknown_warning(found, kind)
                for kind, found in (("video", videos), ("class", classes))
                if found["names"]
            ),
            *_coverage_warnings(detections, truths[0][1], annotations),
            *_unit_warnings(detections, annotations),
        ],
    }


def _truths(annotations: Annotations, protocols: Sequence[str | Protocol] | None) -> list[tuple[Protocol, GroundTruth]]:
    """The protocols and what they score; when none is named, those that these annotations fit."""
    if protocols:
        chosen = [protocol(one) if isinstance(one, str) else one for one in protocols]
        return [(one, ground_truth(annotations, one)) for one in chosen]
    found, refusals = [], []
    for one in get_dataset(annotations.dataset).protocols:
        try:
            found.append((one, ground_truth(annotations, one)))
        except ValueError as error:
            refusals.append(error)
    if not found:
        raise refusals[0]
    return found


def _scores(detections: Detections, truth: GroundTruth, chosen: Protocol, bootstrap: int, seed: int) -> dict[str, Any]:
    matching = match(detections, truth, chosen.iou)
    ap_ck = matching.average_precision()[0]
    map_k = _class_mean(ap_ck)
    found: dict[str, Any] = {
        "iou": list(chosen.iou),
        "map": _plain(map_k),
        "means": {name: _plain(_mean_over(map_k, chosen, iou)) for name, iou in chosen.means},
        "ap": {name: _plain(ap_k) for name, ap_k in zip(truth.classes, ap_ck, strict=True)},
        "videos": len(truth.videos),
        "ground_truth": len(truth),
        "ignored": len(detections) - len(matching.video_n),
    }
    if bootstrap and len(truth):
        found["interval"] = _interval(matching, chosen, bootstrap, seed)
    return found


def _interval(matching: Matching, chosen: Protocol, bootstrap: int, seed: int) -> dict[str, Any]:
    """The central share of each score over resamplings of the videos with replacement (percentile bootstrap)."""
    share_b = np.full(matching.videos, 1 / max(1, matching.videos))
    weight_rb = np.random.default_rng(seed).multinomial(matching.videos, share_b, size=bootstrap)
    map_rk = _class_mean(matching.average_precision(weight_rb))
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    return {
        "level": LEVEL,
        "resamplings": bootstrap,
        "seed": seed,
        "map": _plain(np.nanquantile(map_rk, ends, axis=0).T),
        "means": {name: _plain(np.nanquantile(_mean_over(map_rk, chosen, iou), ends)) for name, iou in chosen.means},
    }


def _class_mean(ap_ck: Float[np.ndarray, "*r c k"]) -> Float[np.ndarray, "*r k"]:
    """Mean over the classes that have instances; nan where none has."""
    count = np.isfinite(ap_ck).sum(axis=-2)
    return np.divide(np.nansum(ap_ck, axis=-2), count, out=np.full(count.shape, np.nan), where=count > 0)


def _mean_over(map_k: Float[np.ndarray, "*r k"], chosen: Protocol, iou: Sequence[float]) -> Float[np.ndarray, "*r"]:
    return np.asarray(map_k[..., [chosen.iou.index(one) for one in iou]].mean(axis=-1))


def _plain(values: np.ndarray) -> Any:
    """Nested lists of floats, None for nan: json has no nan."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


def _unknown(names: tuple[str, ...], unknown: np.ndarray, index_n: np.ndarray) -> dict[str, Any]:
    return {
        "detections": int(unknown[index_n].sum()) if len(index_n) else 0,
        "names": sorted(name for name, odd in zip(names, unknown, strict=True) if odd),
    }


def _unknown_warning(unknown: dict[str, Any], kind: str) -> str:
    names = unknown["names"]
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    many = {"video": "videos", "class": "classes"}[kind]
    return f"{unknown['detections']} detections are of {len(names)} unknown {many}, and are not scored: {shown}"


def _coverage_warnings(detections: Detections, truth: GroundTruth, annotations: Annotations) -> list[str]:
    """What is missing or can never match, as seen by the first protocol."""
    if not len(detections):
        return ["there are no detections: every instance counts as a miss"]
    found = []
    row_n, video_n, _ = scored(detections, truth)
    missing = len(truth.videos) - len(np.unique(video_n))
    if not len(row_n):
        subset = {annotations.videos[name].subset for name in detections.videos if name in annotations.videos}
        hint = " (they are of training videos)" if subset == {"train"} else ""
        found.append(f"none of the {len(detections)} detections lies in a test video{hint}: every instance is a miss")
    elif missing:
        found.append(f"{missing} of {len(truth.videos)} videos have no detection: their instances count as misses")
    empty = int((detections.segment_n2[:, 0] == detections.segment_n2[:, 1]).sum())
    if empty:
        found.append(f"{empty} detections have no length: they overlap nothing and count as false positives")
    return found


def _unit_warnings(detections: Detections, annotations: Annotations) -> list[str]:
    """A likely mistake of unit, told from how far the detections of each video reach beside its duration."""
    reach_b = np.full(len(detections.videos), -np.inf)
    np.maximum.at(reach_b, detections.video_n, detections.segment_n2[:, 1])
    videos = [annotations.videos.get(name) for name in detections.videos]
    duration_b = np.array([video.duration if video else np.nan for video in videos])
    use = np.isfinite(duration_b) & (duration_b > 0) & np.isfinite(reach_b)
    reach, duration, advice = reach_b[use], duration_b[use], "segments must be seconds"
    if (reach > 1.1 * duration).sum() > len(reach) / 2:
        times = float(np.median(reach / duration))
        unit = "frames" if times > 5 else "snippets"
        return [
            f"most videos have detections beyond their end, by a factor of {times:.3g}: {advice}, are these {unit}?"
        ]
    for top, unit, least in ((1, "fractions", 2), (100, "percents", 110)):
        told = reach[duration > least]
        if len(told) > 2 and 0.9 * top < told.max() <= reach.max() <= top * (1 + 1e-6):
            middle = f"in videos of {np.median(duration):.0f} s"
            return [f"no detection ends after {top}, {middle}: {advice}, are these {unit} of the duration?"]
    return []


def as_text(found: dict[str, Any]) -> str:
    """A table of a report in percent: a row per protocol, a column per threshold and mean."""
    rows = [("mAP in percent at tIoU", *_names(found), "videos", "ground truth", "ignored")]
    for name, row in found["protocols"].items():
        scores = [*row["map"], *row["means"].values()]
        rows.append((name, *map(_percent, scores), *(str(row[key]) for key in ("videos", "ground_truth", "ignored"))))
        if "interval" in row:
            interval = row["interval"]
            ends = [*interval["map"], *interval["means"].values()]
            for side, label in enumerate(("from", "to")):
                share = f"{interval['level']:.0%} of {interval['resamplings']} resamplings, {label}"
                rows.append((share, *(_percent(pair[side]) for pair in ends), "", "", ""))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _names(found: dict[str, Any]) -> list[str]:
    first = next(iter(found["protocols"].values()))
    return [f"{iou:g}" for iou in first["iou"]] + [f"mean {name}" for name in first["means"]]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"
