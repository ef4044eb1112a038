"""Temporal structure where no annotations are given: videos, classes and instances drawn like a dataset's own."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from wtal_lib.data.annotations import Annotations, Video
from wtal_lib.data.datasets import get_dataset
from wtal_lib.simulate.knobs import Simulator

GROUPS: dict[str, tuple[str, ...]] = {
    "thumos14": (
        "CliffDiving,Diving",
        "HammerThrow,JavelinThrow,Shotput,ThrowDiscus",
        "HighJump,LongJump,PoleVault",
        "BasketballDunk,FrisbeeCatch,SoccerPenalty,VolleyballSpiking",
        "BaseballPitch,CricketBowling,CricketShot",
        "Billiards,CleanAndJerk,GolfSwing,TennisSwing",
    ),
    "activitynet12": (
        "Plataform diving,Springboard diving,Bungee jumping",
        "Discus throw,Hammer throw,Javelin throw,Shot put,Archery",
        "High jump,Long jump,Pole vault,Triple jump,Hopscotch",
        "Tumbling,Using parallel bars,Using the balance beam,Using the pommel horse,Using uneven bars",
        "Cricket,Layup drill in basketball,Playing field hockey,Playing kickball,Playing lacrosse,Playing volleyball",
        "Ping-pong,Playing badminton,Playing racquetball,Playing squash,Tennis serve with ball bouncing",
        "Playing polo,Playing water polo,Dodgeball,Paintball",
        "Clean and jerk,Snatch,Spinning,Doing step aerobics",
        "Ballet,Belly dance,Breakdancing,Cheerleading,Cumbia,Tango,Zumba",
        "Doing karate,Doing kickboxing,Tai chi",
        "Playing accordion,Playing bagpipes,Playing flauta,Playing guitarra,Playing harmonica,Playing piano",
        "Playing saxophone,Playing violin",
        "Brushing hair,Doing nails,Getting a haircut,Putting on makeup,Removing curlers,Shaving,Shaving legs",
        "Getting a piercing,Getting a tattoo",
        "Brushing teeth,Washing face,Washing hands,Washing dishes,Hand washing clothes",
        "Cleaning shoes,Cleaning windows,Ironing clothes,Polishing forniture,Polishing shoes,Vacuuming floor",
        "Drinking beer,Drinking coffee,Smoking a cigarette,Smoking hookah",
        "Making a sandwich,Mixing drinks,Preparing pasta,Preparing salad,Wrapping presents",
        "Bathing dog,Grooming horse,Horseback riding,Walking the dog",
        "Chopping wood,Mowing the lawn,Painting,Shoveling snow,Starting a campfire,Fixing bicycle",
        "Doing motocross,Kayaking,Rock climbing,Sailing,Skateboarding,Windsurfing",
    ),
}
"Classes that look alike, in their official spelling"


@dataclass(frozen=True)
class Statistics:
    """What drawn videos share with a dataset's real ones, measured on its annotations."""

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


STATISTICS = {
    "thumos14": Statistics(
        names=("video_validation_{:07d}", "video_test_{:07d}"),
        duration=(4.98, 0.88, 9.0, 1700.0),
        count=(2.10, 1.15, 0.65),
        foreground=((1.3, 3.1), (1.3, 3.1)),
        spread=(0.4, 1.3),
        shortest=1.2,
        two=0.16,
    ),
    "activitynet12": Statistics(
        names=("video_{:d}", "video_{:d}"),
        duration=(4.55, 0.82, 3.0, 239.0),
        count=(-0.45, 1.1, 0.35),
        foreground=((1.31, 0.6), (1.5, 1.45)),
        spread=(0.6, 0.7),
        shortest=1.0,
        two=0.001,
    ),
}


def groups(classes: Sequence[str]) -> Int[np.ndarray, " c"]:
    """Group of each class, from 0; classes that no known group holds form groups of four in their order."""
    known = {name: row for rows in GROUPS.values() for row in rows for name in row.split(",")}
    keys = [known.get(name, f"other {i // 4}") for i, name in enumerate(classes)]
    order = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    return np.array([order[key] for key in keys], dtype=np.int64)


def seconds(video: Video) -> float:
    """How long a video lasts; where its layout has no duration, until 5 s after its last instance."""
    return video.duration if np.isfinite(video.duration) else 5.0 + float(video.segments.max(initial=5.0))


def subset(annotations: Annotations, config: Simulator) -> Annotations:
    """As many videos as the profile takes: class by class in turn, short ones first where the profile says so.

    The choice follows the videos' names alone; the order stays the layout's.
    """
    kept: set[str] = set()
    for part, most in zip(("train", "test"), config.size.videos[config.dataset], strict=True):
        kept |= _in_turn(annotations.subset(part), most, config.size.longest)
    if len(kept) == len(annotations.videos):
        return annotations
    return replace(annotations, videos={name: v for name, v in annotations.videos.items() if name in kept})


def _in_turn(videos: Sequence[Video], most: int, longest: float) -> set[str]:
    if len(videos) <= most:
        return {video.name for video in videos}
    by_class: dict[str, list[Video]] = defaultdict(list)
    for video in videos:
        by_class[next(iter(video.labels or video.instance_labels), "")].append(video)
    ranked = []
    for label, members in by_class.items():
        members.sort(key=lambda v: (seconds(v) > longest, hashlib.sha256(v.name.encode()).digest()))
        ranked += [(turn, label, video.name) for turn, video in enumerate(members)]
    return {name for _, _, name in sorted(ranked)[:most]}


def drawn_annotations(config: Simulator) -> Annotations:
    """Annotations of a dataset that might have been: every class present, layout ``"simulated"``, no path."""
    classes, patterns = get_dataset(config.dataset).classes, STATISTICS[config.dataset].names
    rng = np.random.default_rng([config.seed, len(classes)])
    videos: dict[str, Video] = {}
    for part, pattern, count in zip(("train", "test"), patterns, config.size.videos[config.dataset], strict=True):
        every = np.arange(1, 1 + 8 * count) if len(set(patterns)) > 1 else np.arange(count) + 1 + len(videos)
        left_out, named = contested(config.dataset, count if part == "test" else 0)
        free = [i for i in every.tolist() if pattern.format(i) not in left_out]
        fixed = [i for i in every.tolist() if pattern.format(i) in named]
        number = np.sort(np.append(rng.choice(free, count - len(fixed), replace=False), fixed)).astype(int)
        main = rng.permutation(np.resize(np.arange(len(classes)), count))
        for i, c in zip(number.tolist(), main.tolist(), strict=True):
            videos[pattern.format(i)] = _video(pattern.format(i), part, c, config, rng)
    return Annotations(dataset=config.dataset, classes=classes, videos=videos, layout="simulated", path=None)


def contested(dataset: str, count: int) -> tuple[set[str], set[str]]:
    """Names of the test videos that some protocol leaves out, and those of them that a drawn test set must have.

    A test set of as many videos as a protocol scores has all that it does not leave out, so that every other protocol
    finds as many videos as it says.
    """
    protocols = get_dataset(dataset).protocols
    left_out = set().union(*(protocol.excluded for protocol in protocols))
    fitting = [protocol.excluded for protocol in protocols if protocol.videos == count]
    return left_out, left_out - set().union(*fitting) if fitting else set()


def _video(name: str, part: str, main: int, config: Simulator, rng: np.random.Generator) -> Video:
    """One video: a log-normal duration, a number of instances that grows with it, shares of action and of gaps."""
    rule, classes = STATISTICS[config.dataset], get_dataset(config.dataset).classes
    mean, deviation, least, most = rule.duration
    z, own = rng.standard_normal(2)
    duration = float(np.clip(np.exp(mean + deviation * z), least, min(most, config.size.longest)))
    mean, deviation, tied = rule.count
    count = max(1, round(float(np.exp(mean + deviation * (tied * z + np.sqrt(1 - tied**2) * own)))))
    action = duration * float(np.clip(rng.beta(*rule.foreground[count > 1]), 0.01, 0.99))
    count = max(1, min(count, int(action / rule.shortest)))
    segments = _placed(count, action, duration, rule.spread, rng)
    group_c = groups(classes)
    others = np.flatnonzero(group_c == group_c[main])
    second = int(rng.choice(others)) if rng.random() < rule.two else main
    label_m = np.where(np.arange(count) * rng.random(count) < 0.5, main, second)
    instances = tuple(classes[c] for c in label_m)
    return Video(name, part, duration, tuple(dict.fromkeys(instances)), instances, segments, np.zeros((0, 2)))


def _placed(
    count: int, action: float, duration: float, spread: tuple[float, float], rng: np.random.Generator
) -> Float[np.ndarray, "m 2"]:
    """``count`` disjoint, sorted segments that share ``action`` seconds; gaps share the rest, log-normally uneven."""
    length = np.exp(spread[0] * rng.standard_normal(count))
    gap = np.exp(spread[1] * rng.standard_normal(count + 1))
    length, gap = length * action / length.sum(), gap * (duration - action) / gap.sum()
    start = np.cumsum(gap[:-1]) + np.cumsum(length) - length
    return np.stack([start, start + length], axis=1).round(1 if count > 1 else 2)
