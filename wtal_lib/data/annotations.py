"""Ground truth: which videos there are, what happens in them, and what a protocol scores of it."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wtal_lib.data.datasets import DATASETS, Dataset, Protocol, get_dataset, letters, part_of
from wtal_lib.data.files import UnreadableError, readable
from wtal_lib.data.instances import REMEDY, Reading, Video, plain_name
from wtal_lib.data.layouts import LAYOUTS, OWN, WTALC, Layout, own_file
from wtal_lib.data.segments import GroundTruth, likely_unit, rounded, unit_beside
from wtal_lib.settings import require_known


@dataclass(frozen=True, eq=False)
class Annotations:
    """All annotated videos of one dataset."""

    dataset: str
    classes: tuple[str, ...]
    "scoring names in official spelling; the index is the class id"
    videos: dict[str, Video]
    "in the layout's order"
    layout: str
    "w-talc, cola, actionformer, official or simulated"
    path: Path | None
    "what was read; None for a simulation that was never written"
    notes: tuple[str, ...] = ()
    "what the reader left out, and why"

    def subset(self, name: str) -> list[Video]:
        """The videos of subset ``train`` or ``test``, in order. Raises ValueError: another subset."""
        require_known(name, ("train", "test"), "subset")
        return [video for video in self.videos.values() if video.subset == name]

    def naming(self) -> Callable[[str], str]:
        """The name here of a video called by name or YouTube id, however spelt (:func:`plain_name`); else as given."""
        ids = [(one, v.name) for v in self.videos.values() for one in filter(None, (v.youtube_id, v.name))]
        exact = {one: name for alias, name in ids for one in (alias, f"v_{alias}", alias.removeprefix("v_"))}
        plain = {(plain_name(alias), name) for alias, name in ids}
        shared = Counter(alias for alias, _ in plain)
        sure = {alias: name for alias, name in plain if shared[alias] == 1}
        return lambda given: exact.get(given) or sure.get(plain_name(given)) or given


class OtherReleaseError(UnreadableError):
    """Annotations of a part of a dataset, which has a name of its own."""


def data_root(given: str | Path | None = None) -> Path:
    """The folder of the datasets: as given, else ``$WTAL_DATA``, else ``data/`` beside the nearest ``wtal_lib/``."""
    if chosen := given or os.environ.get("WTAL_DATA"):
        return Path(chosen).expanduser()
    here = Path.cwd()
    return next((place for place in (here, *here.parents) if (place / "wtal_lib").is_dir()), here) / "data"


def dataset_folders(root: str | Path, dataset: str) -> list[Path]:
    """Folders that may hold a dataset's files: its own folder and those directly inside.

    ``root`` is a data root with a folder per dataset (of any usual name), that folder, or one that holds a layout.
    Somebody's own dataset has its files beside its annotations, or in a folder of its name in ``root``. Raises
    FileNotFoundError where ``root`` does not exist, ValueError for an unknown dataset.
    """
    known, root = get_dataset(dataset), Path(root).expanduser()
    if known.path:
        packed = known.path.is_file() or (known.path / "videoname.npy").exists()
        beside = known.path.parent if packed else known.path
        tops = dict.fromkeys([beside, *(top for top in (root / known.name, root) if known.name == top.name)])
        return [place for top in tops if top.is_dir() for place in (top, *_inside(top))]
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: expected a folder with the datasets ({', '.join(DATASETS)}), but there is none; give a data root,"
            " or set WTAL_DATA"
        )
    inside = _inside(root)
    own = [path for path in inside if dataset in named_after(path)]
    own = [path for path in own if letters(path.name) == dataset] or own  # of several releases, its own
    if not own and dataset not in named_after(root) and any(named_after(path) for path in (root, *inside)):
        return []
    return [place for top in own or [root] for place in (top, *_inside(top))]


def _inside(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def home_folder(root: str | Path, dataset: str) -> Path:
    """The data root in which ``root`` lies: above the dataset's own folder, else above ``root``."""
    place = next(iter(dataset_folders(root, dataset)), Path(root).expanduser()).resolve()
    return next((path.parent for path in (place, *place.parents) if dataset in named_after(path)), place.parent)


def searched(root: str | Path, dataset: str) -> str:
    """The folders in which a dataset is looked for, for a message."""
    missing = Path(root).parent if named_after(Path(root)) else Path(root)
    return ", ".join(map(str, dataset_folders(root, dataset))) or f"{missing / dataset} (which does not exist)"


def named_after(folder: Path) -> list[str]:
    """The datasets whose usual name a folder has."""
    return [one.name for one in DATASETS.values() if letters(folder.name) in one.folders]


def of_another(path: Path, dataset: str) -> bool:
    """Whether a file or folder is called after another dataset: some keep several in one folder."""
    name, own = path.name.lower(), tuple(get_dataset(dataset).prefixes)
    others = tuple(prefix for one in DATASETS.values() for prefix in one.prefixes if prefix not in own)
    return get_dataset(dataset).path is None and name.startswith(others)


def found_annotations(root: str | Path, dataset: str) -> list[tuple[Layout, Path]]:
    """All annotations of a dataset in a data root, in the order of ``LAYOUTS``: the first is the one to be used."""
    known = get_dataset(dataset)
    if known.path:
        return [own_file(known.path)]
    folders = dataset_folders(root, dataset)
    found = [
        (layout, path)
        for layout in LAYOUTS
        for folder in folders
        for path in layout.find(folder, known.classes, known.files)
    ]
    return [(layout, path) for layout, path in dict.fromkeys(found) if not of_another(path, dataset)]


def find_annotations(root: str | Path, dataset: str) -> Annotations:
    """Annotations in a data root, the first of ``LAYOUTS``; FileNotFoundError for none, ValueError for damage."""
    found = found_annotations(root, dataset)
    if found:
        return _read(*found[0], dataset)
    known = get_dataset(dataset)
    names = [*(name.format(known.classes[0]) for layout in LAYOUTS for name in layout.patterns), *known.files]
    raise FileNotFoundError(
        f"no {dataset} annotations in {root}: looked for {', '.join(names)} in {searched(root, dataset)}; get them from"
        f" {known.source} and put them there"
    )


def annotations_from(path: str | Path, dataset: str) -> Annotations:
    """The annotations in a json file, or in a folder, of any layout; errors as of :func:`find_annotations`."""
    path, known = Path(path).expanduser(), get_dataset(dataset)
    if path.is_dir() and not known.path:
        return find_annotations(path, dataset)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected {known.name} annotations, but there is no such file; give its path")
    if known.path:
        return _read(*own_file(path), known.name)
    found = (layout for layout in LAYOUTS if path in layout.find(path.parent, known.classes, known.files))
    return _read(next(found, OWN), path, dataset)


def _read(layout: Layout, path: Path, dataset: str) -> Annotations:
    known = get_dataset(dataset)
    with readable(path, f"{layout.name} annotations of {dataset}", REMEDY):
        reading = layout.read(path, known.classes)
        classes, videos, notes = _fitted(reading, known, path, names_are_ids=known.youtube and layout is not WTALC)
    return Annotations(known.name, classes, videos, layout.name, path, tuple(notes))


def _fitted(
    reading: Reading, known: Dataset, path: Path, names_are_ids: bool
) -> tuple[tuple[str, ...], dict[str, Video], list[str]]:
    """Classes, videos and notes in the dataset's own words: official classes, its part of them, train or test."""
    spelt = [*reading.classes, *(label for v in reading.videos for label in (*v.labels, *v.instance_labels))]
    official = {label: known.official(label) for label in dict.fromkeys(spelt)}
    notes, videos, larger = list(reading.notes), reading.videos, DATASETS.get(known.within)
    foreign = [label for label in reading.classes if official[label] is None and not known.path]
    covered = set(known.classes) <= set(official.values())
    if foreign and not covered:
        official |= {label: label for label in foreign}
        notes.append(f"{len(foreign)} classes are none of {known.title}'s: {', '.join(foreign[:3])}")
    unknown = [label for label, name in official.items() if name is None]
    within = larger is not None and all(larger.official(label) for label in official)
    if unknown and (within or (covered and len(unknown) > len(known.classes) / 2)):
        videos = [v for v in videos if all(official[label] for label in (*v.labels, *v.instance_labels))]
        whole = f"{larger.title if larger and within else 'a larger set'} with {len(official)} classes"
        notes.append(f"{whole}, cut to the {len(videos)} videos of the {len(known.classes)} of {known.title}")
    elif unknown:
        named = next((v.name for v in videos if {*v.labels, *v.instance_labels} & {unknown[0]}), "its list of classes")
        some = ", ".join((reading.classes or known.classes)[:3])
        raise ValueError(f"{named}: {unknown[0]!r:.60} is none of the classes {some}, …")
    else:
        _of_this_release(known, [*official], path, str(reading.about.get("version", "")))
    if reading.about.get("version") and not known.path and not unknown:
        notes.append(f"{known.title}, from a file of {reading.about['version']!s:.40}")
    words, parted, silent = dict.fromkeys(v.subset for v in videos), dict[str, Video](), []
    for video in videos:
        name = plain_name(video.name) if known.parts else video.name
        start = (part for start, part in known.parts.items() if name.startswith(start))
        part = next(start, None) or part_of(video.subset, words, video.name)
        if part == "test" and not video.instance_labels:
            silent.append(name)
            continue
        labels = tuple(dict.fromkeys(filter(None, map(official.get, video.labels))))
        instances = tuple(filter(None, map(official.get, video.instance_labels)))
        identity = video.name.removeprefix("v_") if names_are_ids else video.youtube_id
        rest = (video.segments, video.ambiguous, video.fps, identity)
        parted[name] = Video(name, part, video.duration, labels, instances, *rest)
    if silent:
        notes.append(f"{len(silent)} test videos have labels alone and are not scored: {', '.join(silent[:3])}")
    require_seconds(list(parted.values()), known)
    listed = () if unknown or known.path else dict.fromkeys(filter(None, map(official.get, reading.classes)))
    return tuple(listed) or known.classes, parted, notes


def _of_this_release(known: Dataset, labels: list[str], path: Path, version: str) -> None:
    """Refuse annotations whose classes all are a smaller release's, unless file or version say that they are not."""
    number = re.search(r"\d\.\d$", known.title)
    for part in (one for one in DATASETS.values() if one.within == known.name):
        told = number and number[0] in re.sub(r"[-_]", ".", f"{version} {path.name}")
        if not told and all(part.official(label) for label in labels):
            raise OtherReleaseError(f"{path}: all its classes are {part.title}'s; give {part.name}, not {known.name}")


def require_seconds(videos: list[Video], known: Dataset) -> None:
    """Refuse segments that are likely no seconds, by the videos' durations, or by how far this dataset's reach.

    Raises:
        ValueError: with the likely unit.
    """
    latest_b = np.array([video.segments[:, 1].max(initial=-np.inf) for video in videos])
    duration_b = np.array([video.duration for video in videos])
    unit, why = likely_unit(latest_b, duration_b)
    if not np.isfinite(duration_b).any():
        unit, why = unit_beside(latest_b[latest_b > 0], known.reach)
    if unit:
        raise ValueError(f"segments must be in seconds, these are likely {unit}: {why}")


def earned_name(protocol: Protocol, videos: int) -> str:
    """A protocol's name, with the number of videos where these are not all that it scores."""
    part = f" ({videos:,} of {protocol.videos:,} videos)"
    return protocol.name + part * (videos != protocol.videos)


def ground_truth(annotations: Annotations, protocol: Protocol) -> GroundTruth:
    """What ``protocol`` scores: the instances of all its test videos, in seconds.

    Zero-length instances stay, as misses; a ``-snippets`` protocol rounds all segments as CO2-Net does. Raises
    ValueError for another dataset's protocol, and for annotations without its videos or ambiguous segments.
    """
    if protocol.dataset != annotations.dataset:
        raise ValueError(
            f"protocol {protocol.name} scores {protocol.dataset}, these annotations are of {annotations.dataset}"
        )
    videos = [video for video in annotations.subset("test") if video.name not in protocol.excluded]
    ambiguous = any(len(video.ambiguous) for video in annotations.videos.values())
    if protocol.ignore_ambiguous and not ambiguous:
        raise ValueError(
            f"protocol {protocol.name} ignores detections that touch an ambiguous segment, and the {annotations.layout}"
            f" annotations have none; use {protocol.name.removesuffix('-ambiguous')}, or put Ambiguous_test.txt beside"
        )
    fitting = [p.name for p in get_dataset(protocol.dataset).protocols if p.videos == len(videos)]
    if protocol.videos != len(videos) and fitting:
        raise ValueError(
            f"protocol {protocol.name} scores {protocol.videos} videos, and the {annotations.layout} annotations have"
            f" {len(videos)} of them: they fit {fitting[0]}"
        )
    grid = get_dataset(protocol.dataset).grid if protocol.snippets else None
    doubtful = [(i, video.ambiguous) for i, video in enumerate(videos) if protocol.ignore_ambiguous]

    def table(parts: list[np.ndarray]) -> np.ndarray:
        segments = np.concatenate([np.zeros((0, 2)), *parts])
        return segments if grid is None else rounded(segments, grid)

    identity = {label: i for i, label in enumerate(annotations.classes)}
    return GroundTruth(
        video_m=np.repeat(np.arange(len(videos)), [len(video.segments) for video in videos]),
        label_m=np.array([identity[label] for video in videos for label in video.instance_labels], dtype=np.int64),
        segment_m2=table([video.segments for video in videos]),
        videos=tuple(video.name for video in videos),
        classes=annotations.classes,
        ambiguous_video_a=np.array([i for i, segments in doubtful for _ in segments], dtype=np.int64),
        ambiguous_segment_a2=table([segments for _, segments in doubtful]),
        grid=grid,
    )
