"""Ground truth: which videos there are, what happens in them, and what a protocol scores of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import numpy as np

from wtal_lib.data.datasets import DATASETS, Protocol, get_dataset
from wtal_lib.data.files import readable
from wtal_lib.data.layouts import REMEDY, Reading, Video, read_class_texts, read_database, read_wtalc
from wtal_lib.data.segments import GroundTruth, rounded


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
        if name not in ("train", "test"):
            raise ValueError(f"unknown subset {name!r}; choose one of train, test")
        return [video for video in self.videos.values() if video.subset == name]


@dataclass(frozen=True)
class Layout:
    """An annotation layout of the community."""

    name: str
    read: Callable[[Path, str], Reading]
    patterns: tuple[str, ...]
    "lower-case names of its json file; or one file by which its folder is known, {} being the dataset's first class"

    def find(self, folder: Path, dataset: str) -> list[Path]:
        """Its json files directly in a folder; or those that hold its files, of the folder and the folders in it."""
        if self.read is read_database:
            return sorted(
                p for p in folder.glob("*.json") if any(fnmatch(p.name.lower(), one) for one in self.patterns)
            )
        names = [pattern.format(get_dataset(dataset).classes[0]) for pattern in self.patterns]
        return [path.parent for name in names for path in sorted(folder.glob(name))]


LAYOUTS = (
    Layout("w-talc", read_wtalc, ("videoname.npy", "*-Annotations/videoname.npy")),
    Layout("actionformer", read_database, ("*thumos*.json", "*anet*.json")),
    Layout("cola", read_database, ("gt.json",)),
    Layout("official", read_database, ("*activity*net*.json",)),
    Layout("official", read_class_texts, ("{}_test.txt",)),
)
"every annotation layout; where a data root holds several, the first of this list is taken"


def data_root(given: str | Path | None = None) -> Path:
    """The folder of the datasets: as given, else ``$WTAL_DATA``, else ``data/`` beside the nearest ``wtal_lib/``."""
    if chosen := given or os.environ.get("WTAL_DATA"):
        return Path(chosen).expanduser()
    here = Path.cwd()
    return next((place for place in (here, *here.parents) if (place / "wtal_lib").is_dir()), here) / "data"


def dataset_folders(root: str | Path, dataset: str) -> list[Path]:
    """Folders that may hold a dataset's files: its own folder and those directly inside.

    ``root`` is a data root with a folder per dataset (of any usual name), that folder, or one that holds a layout.
    Raises FileNotFoundError where it does not exist, ValueError for an unknown dataset.
    """
    get_dataset(dataset)
    root = Path(root).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"{root}: expected a folder with the datasets ({', '.join(DATASETS)}), but there is none; give a data root,"
            " or set WTAL_DATA"
        )
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    own = [path for path in inside if _named_after(path) == dataset]
    if not own and _named_after(root) != dataset and any(_named_after(path) for path in (root, *inside)):
        return []
    return [place for top in own or [root] for place in (top, *sorted(p for p in top.iterdir() if p.is_dir()))]


def home_folder(root: str | Path, dataset: str) -> Path:
    """The data root in which ``root`` lies: above the dataset's own folder, else above ``root``."""
    place = next(iter(dataset_folders(root, dataset)), Path(root).expanduser()).resolve()
    return next((path.parent for path in (place, *place.parents) if _named_after(path) == dataset), place.parent)


def searched(root: str | Path, dataset: str) -> str:
    """The folders in which a dataset is looked for, for a message."""
    missing = Path(root).parent if _named_after(Path(root)) else Path(root)
    return ", ".join(map(str, dataset_folders(root, dataset))) or f"{missing / dataset} (which does not exist)"


def _named_after(folder: Path) -> str:
    """The dataset whose usual name a folder has; empty where it is none's."""
    name = re.sub(r"[^a-z0-9]", "", folder.name.lower())
    return next((one.name for one in DATASETS.values() if name in one.folders), "")


def of_another(path: Path, dataset: str) -> bool:
    """Whether a file or folder is called after another dataset: some keep several in one folder."""
    return any(path.name.lower().startswith(one.prefixes) for one in DATASETS.values() if one.name != dataset)


def found_annotations(root: str | Path, dataset: str) -> list[tuple[Layout, Path]]:
    """All annotations of a dataset in a data root, in the order of :data:`LAYOUTS`: the first is the one to be used."""
    folders = dataset_folders(root, dataset)
    found = [(layout, path) for layout in LAYOUTS for folder in folders for path in layout.find(folder, dataset)]
    return [(layout, path) for layout, path in dict.fromkeys(found) if not of_another(path, dataset)]


def find_annotations(root: str | Path, dataset: str) -> Annotations:
    """Annotations in a data root, the first of :data:`LAYOUTS`; FileNotFoundError for none, ValueError for damage."""
    found = found_annotations(root, dataset)
    if found:
        return _read(*found[0], dataset)
    known = get_dataset(dataset)
    looked_for = ", ".join(name.format(known.classes[0]) for layout in LAYOUTS for name in layout.patterns)
    raise FileNotFoundError(
        f"no {dataset} annotations in {root}: looked for {looked_for} in {searched(root, dataset)}; get them from"
        f" {known.source} and put them there"
    )


def annotations_from(path: str | Path, dataset: str) -> Annotations:
    """The annotations in a json file, or in a folder, of any layout; errors as of :func:`find_annotations`."""
    path, known = Path(path).expanduser(), get_dataset(dataset)
    if path.is_dir():
        return find_annotations(path, dataset)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected {known.name} annotations, but there is no such file; give its path")
    layout = next((layout for layout in LAYOUTS if path in layout.find(path.parent, dataset)), LAYOUTS[1])
    return _read(layout, path, dataset)


def _read(layout: Layout, path: Path, dataset: str) -> Annotations:
    with readable(path, f"{layout.name} annotations of {dataset}", REMEDY):
        classes, videos, notes = layout.read(path, dataset)
    return Annotations(dataset, classes, {video.name: video for video in videos}, layout.name, path, tuple(notes))


def ground_truth(annotations: Annotations, protocol: Protocol, subset: str = "test") -> GroundTruth:
    """What ``protocol`` scores: the instances of all its videos of ``subset``, in seconds.

    Zero-length instances stay, as misses; a ``-snippets`` protocol rounds all segments as CO2-Net does. Raises
    ValueError for another dataset's protocol, and for annotations without its videos or ambiguous segments.
    """
    if protocol.dataset != annotations.dataset:
        raise ValueError(
            f"protocol {protocol.name} scores {protocol.dataset}, these annotations are of {annotations.dataset}"
        )
    videos = [video for video in annotations.subset(subset) if video.name not in protocol.excluded]
    ambiguous = any(len(video.ambiguous) for video in annotations.videos.values())
    if subset == "test" and protocol.ignore_ambiguous and not ambiguous:
        raise ValueError(
            f"protocol {protocol.name} ignores detections that touch an ambiguous segment, and the {annotations.layout}"
            f" annotations have none; use {protocol.name.removesuffix('-ambiguous')}, or put Ambiguous_test.txt beside"
        )
    fitting = [p.name for p in get_dataset(protocol.dataset).protocols if p.videos == len(videos)]
    if subset == "test" and protocol.videos != len(videos) and fitting:
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
