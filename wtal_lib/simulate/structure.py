"""Temporal structure without annotations: videos, classes and instances drawn with a dataset's own statistics."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Int

from wtal_lib.data.annotations import Annotations, Video
from wtal_lib.data.datasets import get_dataset
from wtal_lib.settings import from_dict
from wtal_lib.simulate.knobs import Simulator


@dataclass(frozen=True)
class Structure:
    """Statistics of a dataset's videos, measured on its annotations, and its groups of classes."""

    names: tuple[str, str]
    "pattern of a training and of a test video's name"
    duration: tuple[float, float, float, float]
    "mean and standard deviation of the log duration in seconds; shortest and longest"
    count: tuple[float, float, float]
    "mean and standard deviation of the log number of instances; its correlation with the log duration"
    foreground: tuple[tuple[float, float], tuple[float, float]]
    "beta distribution of the share of a video that is action: with one instance, with several"
    spread: tuple[float, float]
    "standard deviation of the log length within a video, and of the log gap"
    shortest: float
    "least mean length of a video's instances, seconds"
    two: float
    "share of videos in which a second class, related or the same, takes part"
    groups: tuple[tuple[str, ...], ...]
    "classes that look alike, in their official spelling"


@cache
def structures() -> dict[str, Structure]:
    """Structure of each dataset by name, as in ``structure.json``."""
    read = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    return {dataset: from_dict(Structure, values) for dataset, values in read.items()}


def structure_of(dataset: str) -> Structure:
    """Structure of a dataset, or of the one that it is like."""
    return structures()[get_dataset(dataset).model]


def groups(classes: Sequence[str]) -> Int[np.ndarray, " c"]:
    """Group of each class, numbered from 0; classes of no known group form groups of four in their order."""
    known = {name: group for structure in structures().values() for group in structure.groups for name in group}
    keys = [known.get(name, (f"other {i // 4}",)) for i, name in enumerate(classes)]
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([order[key] for key in keys], dtype=np.int64)


def seconds(video: Video) -> float:
    """Duration of a video; 5 s beyond its last instance where its layout has none."""
    return video.duration if np.isfinite(video.duration) else 5.0 + float(video.segments.max(initial=5.0))


def subset(annotations: Annotations, config: Simulator) -> Annotations:
    """As many videos as the profile takes: class by class in turn, short ones first where the profile has a limit.

    The choice depends on the videos alone, not on their order, which is kept.
    """
    keep: set[str] = set()
    for part, most in zip(("train", "test"), config.videos, strict=True):
        by_class: dict[str, list[Video]] = defaultdict(list)
        for video in annotations.subset(part):
            by_class[next(iter(video.labels or video.instance_labels), "")].append(video)
        ranked = []
        for label, members in by_class.items():
            members.sort(key=lambda v: (seconds(v) > config.size.longest, hashlib.sha256(v.name.encode()).digest()))
            ranked += [(turn, label, video.name) for turn, video in enumerate(members)]
        keep |= {name for _, _, name in sorted(ranked)[:most]}
    if len(keep) == len(annotations.videos):
        return annotations
    return replace(annotations, videos={name: v for name, v in annotations.videos.items() if name in keep})


def with_instances(annotations: Annotations, config: Simulator) -> Annotations:
    """Annotations in which training videos that have labels alone get drawn instances, for features to show them."""
    videos = dict(annotations.videos)
    for video in annotations.subset("train"):
        if video.labels and not video.instance_labels:
            rng = np.random.default_rng([config.seed, *hashlib.sha256(video.name.encode()).digest()[:8]])
            main = annotations.classes.index(video.labels[0])
            like = _video(video.name, "train", main, config, rng)
            duration = video.duration if np.isfinite(video.duration) else like.duration
            labels = tuple(video.labels[i % len(video.labels)] for i in range(len(like.segments)))
            segments = like.segments * duration / like.duration
            videos[video.name] = replace(video, duration=duration, instance_labels=labels, segments=segments)
    return replace(annotations, videos=videos)


def drawn_annotations(config: Simulator) -> Annotations:
    """Drawn annotations of a dataset: every class present, layout ``"simulated"``, no path."""
    classes, patterns = get_dataset(config.dataset).classes, structure_of(config.dataset).names
    rng = np.random.default_rng([config.seed, len(classes)])
    videos: dict[str, Video] = {}
    for part, pattern, count in zip(("train", "test"), patterns, config.videos, strict=True):
        every = np.arange(1, 1 + 8 * count) if len(set(patterns)) > 1 else np.arange(count) + 1 + len(videos)
        left_out, named = _contested(config.dataset, count if part == "test" else 0)
        free = [i for i in every.tolist() if pattern.format(i) not in left_out]
        fixed = [i for i in every.tolist() if pattern.format(i) in named]
        number = np.sort(np.append(rng.choice(free, count - len(fixed), replace=False), fixed)).astype(int)
        main = rng.permutation(np.resize(np.arange(len(classes)), count))
        for i, c in zip(number.tolist(), main.tolist(), strict=True):
            videos[pattern.format(i)] = _video(pattern.format(i), part, c, config, rng)
    return Annotations(dataset=config.dataset, classes=classes, videos=videos, layout="simulated", path=None)


def _contested(dataset: str, count: int) -> tuple[set[str], set[str]]:
    """Test videos that some protocol leaves out, and those of them that a drawn test set of ``count`` must have.

    A set as large as what one protocol scores has every video which that protocol keeps: each of the others then
    scores as many videos as it states.
    """
    protocols = get_dataset(dataset).protocols
    left_out = set().union(*(protocol.excluded for protocol in protocols))
    fitting = [protocol.excluded for protocol in protocols if protocol.videos == count]
    return left_out, left_out - set().union(*fitting) if fitting else set()


def _video(name: str, part: str, main: int, config: Simulator, rng: np.random.Generator) -> Video:
    """One video: log-normal duration, more instances the longer it is, log-normally uneven lengths and gaps."""
    rule, classes = structure_of(config.dataset), get_dataset(config.dataset).classes
    mean, deviation, least, most = rule.duration
    z, own = rng.standard_normal(2)
    duration = float(np.clip(np.exp(mean + deviation * z), least, min(most, config.size.longest)))
    mean, deviation, tied = rule.count
    count = max(1, round(float(np.exp(mean + deviation * (tied * z + np.sqrt(1 - tied**2) * own)))))
    action = duration * float(np.clip(rng.beta(*rule.foreground[count > 1]), 0.01, 0.99))
    count = max(1, min(count, int(action / rule.shortest)))
    length = np.exp(rule.spread[0] * rng.standard_normal(count))
    gap = np.exp(rule.spread[1] * rng.standard_normal(count + 1))
    length, gap = length * action / length.sum(), gap * (duration - action) / gap.sum()
    start = np.cumsum(gap[:-1]) + np.cumsum(length) - length
    segments = np.stack([start, start + length], axis=1).round(1 if count > 1 else 2)
    group_c = groups(classes)
    others = np.flatnonzero(group_c == group_c[main])
    second = int(rng.choice(others)) if rng.random() < rule.two else main
    label_m = np.where(np.arange(count) * rng.random(count) < 0.5, main, second)
    instances = tuple(classes[c] for c in label_m)
    return Video(name, part, duration, tuple(dict.fromkeys(instances)), instances, segments, np.zeros((0, 2)))
