"""Annotations and packs in numbers: tables with a row an instance, a video, a class or a kind of mismatch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from wtal_lib.data.annotations import Annotations
from wtal_lib.data.check import FINDINGS, annotation_findings, count, pack_findings
from wtal_lib.data.features import Pack
from wtal_lib.data.segments import union

QUANTITIES = ("length", "gap", "instances", "duration", "foreground")
"quantities of a temporal structure: of an instance its length and the gap before it, of a video the rest"


def instances(annotations: Annotations) -> pd.DataFrame:
    """A row an instance: video, subset, class, start, stop, length, gap after the last earlier stop (s; nan: first)."""
    rows = [
        (video.name, video.subset, video.instance_labels[i], *map(float, video.segments[i]))
        for video in annotations.videos.values()
        for i in np.argsort(video.segments[:, 0], kind="stable")
    ]
    frame = pd.DataFrame(rows, columns=["video", "subset", "class", "start", "stop"])
    reach = frame.groupby("video", sort=False)["stop"].transform(lambda stop: stop.cummax().shift())
    return frame.assign(length=frame["stop"] - frame["start"], gap=(frame["start"] - reach).clip(lower=0))


def videos(annotations: Annotations, lengths: Mapping[str, int] | None = None, step: float = 0.64) -> pd.DataFrame:
    """A row a video: subset, duration (s), numbers of instances and of classes, share of foreground in [0, 1].

    Without a duration, of the last annotated stop; nan for a video that has labels alone. With a pack's ``lengths``
    also the snippets (0 where the pack has none) and the seconds they cover, ``step`` each.
    """
    rows = []
    for video in annotations.videos.values():
        end = video.duration if np.isfinite(video.duration) else float(video.segments.max(initial=0.0))
        inside = float(np.diff(union(np.clip(video.segments, 0, end))).sum())
        share = inside / end if end > 0 and (len(video.segments) or not video.labels) else np.nan
        classes = len(set(video.instance_labels or video.labels))
        rows.append((video.name, video.subset, video.duration, len(video.segments), classes, share))
    frame = pd.DataFrame(rows, columns=["video", "subset", "duration", "instances", "classes", "foreground"])
    if lengths is None:
        return frame
    snippets = frame["video"].map(lengths).fillna(0).astype(int)
    return frame.assign(snippets=snippets, covered=snippets * step)


def by_class(frame: pd.DataFrame, classes: Iterable[str]) -> pd.DataFrame:
    """A row a class, in the classes' order, of :func:`instances`: counts by subset, quartiles of the length (s)."""
    classes = list(classes)
    table = pd.DataFrame({"class": classes}).set_index("class")
    for subset in ("train", "test"):
        part = frame[frame["subset"] == subset].groupby("class")
        table[f"{subset}_instances"] = part.size().reindex(classes, fill_value=0)
        table[f"{subset}_videos"] = part["video"].nunique().reindex(classes, fill_value=0)
    lengths = frame.groupby("class")["length"]
    for name, share in (("q1", 0.25), ("median", 0.5), ("q3", 0.75)):
        table[f"length_{name}"] = lengths.quantile(share).reindex(classes)
    return table.reset_index()


def samples(annotations: Annotations) -> dict[str, np.ndarray]:
    """Values of each of :data:`QUANTITIES`, of all instances or of all videos; unknown ones are left out."""
    segments, table = instances(annotations), videos(annotations)
    columns = [(segments if name in segments else table)[name] for name in QUANTITIES]
    return {str(column.name): column.dropna().to_numpy(dtype=np.float64) for column in columns}


def quantiles(by_origin: Mapping[str, Mapping[str, np.ndarray]], steps: int = 200) -> pd.DataFrame:
    """A row an origin, quantity and share in [0, 1]: the value below which that share of the :func:`samples` lies."""
    share = np.linspace(0, 1, steps + 1)
    parts = [
        pd.DataFrame({"origin": origin, "quantity": name, "share": share, "value": np.quantile(value, share)})
        for origin, values in by_origin.items()
        for name, value in values.items()
    ]
    return pd.concat(parts, ignore_index=True)


def timelines(annotations: Annotations, count: int = 24) -> pd.DataFrame:
    """The :func:`instances` of ``count`` videos at even ranks of duration, short to long, with rank and duration."""
    known = videos(annotations).query("instances > 0").dropna(subset="duration").sort_values("duration", kind="stable")
    picked = known.iloc[np.unique(np.linspace(0, 0.97 * (len(known) - 1), count).round().astype(int))]
    rank = pd.DataFrame({"video": picked["video"], "rank": range(len(picked)), "duration": picked["duration"]})
    return rank.merge(instances(annotations)[["video", "class", "start", "stop"]], on="video")


def mismatches(annotations: Annotations, packs: Iterable[Pack] = ()) -> pd.DataFrame:
    """A row a kind of mismatch, in the annotations and in each pack: its number, and the first of them."""
    findings = [("annotations", annotation_findings(annotations))]
    findings += [(pack.kind.upper(), pack_findings(pack, annotations)) for pack in packs]
    rows = [
        (where, words[1], count(found[key]), "" if isinstance(found[key], int) else ", ".join(list(found[key])[:3]))
        for where, found in findings
        for key, words in FINDINGS.items()
        if key in found and len(words) > 1
    ]
    return pd.DataFrame(rows, columns=["in", "what", "found", "first"])


def apart(a_n: np.ndarray, b_m: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance in [0, 1] of two samples, nan left out; ValueError for one without finite values."""
    a_n, b_m = (np.sort(x[np.isfinite(x)]) for x in (np.asarray(a_n, float), np.asarray(b_m, float)))
    if not (len(a_n) and len(b_m)):
        raise ValueError(f"two samples are compared, got {len(a_n)} and {len(b_m)} finite values")
    both = np.concatenate([a_n, b_m])
    share_a, share_b = (np.searchsorted(x, both, side="right") / len(x) for x in (a_n, b_m))
    return float(np.abs(share_a - share_b).max())
