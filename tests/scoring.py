"""Small tables of detections and instances, and the plainest average precision there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wtal_lib.data.segments import Detections, GroundTruth

VIDEOS, CLASSES = ("b", "a", "c", "empty"), ("jump", "dive", "never")
Row = tuple[int, int, float, float, float]


def found(rows: Sequence[Row], videos: tuple[str, ...] = VIDEOS, classes: tuple[str, ...] = CLASSES) -> Detections:
    """Detections from rows of video, class, start, stop, score."""
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    video, label = table[:, :2].astype(np.int64).T
    return Detections(video, label, table[:, 2:4], table[:, 4], videos, classes)


def truth(
    rows: Sequence[tuple[int, int, float, float]], ambiguous: Sequence[tuple[int, float, float]] = ()
) -> GroundTruth:
    """Ground truth from rows of video, class, start, stop, and of video, start, stop."""
    table, doubtful = np.array(rows, dtype=np.float64).reshape(-1, 4), np.array(ambiguous, dtype=float).reshape(-1, 3)
    video, label = table[:, :2].astype(np.int64).T
    return GroundTruth(video, label, table[:, 2:], VIDEOS, CLASSES, doubtful[:, 0].astype(np.int64), doubtful[:, 1:])


def plain_ap(
    detections: Sequence[Row], instances: Sequence[tuple], label: int, iou: float, ties: str = "latest"
) -> float:
    """Average precision of one class at one threshold, one detection after the other."""
    ranked = sorted((d for d in detections if d[1] == label), key=lambda d: (-d[4], VIDEOS[d[0]], d[2], d[3]))
    own = [g for g in instances if g[1] == label]
    own = sorted(own, key=lambda g: g[2:]) if ties == "latest" else own
    free, hits = set(range(len(own))), []
    for video, _, start, stop, _ in ranked:
        near = [j for j, g in enumerate(own) if g[0] == video]
        tious = np.array([plain_tiou(start, stop, *own[j][2:]) for j in near])
        order = np.argsort(tious, kind="stable" if ties == "latest" else None)[::-1]
        taken = next((near[j] for j in order if near[j] in free and tious[j] >= iou), None)
        free -= {taken}
        hits.append(taken is not None)
    precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    best = sum(max(precision[i:]) for i, hit in enumerate(hits) if hit)
    return best / len(own) if own else float("nan")


def plain_tiou(start: float, stop: float, other_start: float, other_stop: float) -> float:
    shared = min(stop, other_stop) - max(start, other_start)
    return shared / ((stop - start) + (other_stop - other_start) - shared) if shared > 0 else 0.0
