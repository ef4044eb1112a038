"""The community's feature layouts: found in a dataset's folders and read video by video."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from wtal_lib.data.annotations import Annotations, dataset_folders, of_another
from wtal_lib.data.cache import stamp
from wtal_lib.data.containers import ARCHIVES, SUFFIXES, members
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import MALFORMED, read_json, readable
from wtal_lib.data.layouts import read_column
from wtal_lib.data.segments import Grid
from wtal_lib.data.source import CLIP_FRAMES, Source
from wtal_lib.data.vlp_pack import read_meta
from wtal_lib.settings import require_known

KINDS = ("cbp", "vlp")
"classification-based pre-training: I3D, RGB and then flow, or RGB alone; vision-language pre-training: CLIP"
MODALITIES = ("rgb", "flow")
WORDS = {"cbp": ("i3d", "tsp", "tsn", "c3d", "slowfast", "videomae"), "vlp": ("clip", "coca", "siglip", "blip")}
"words in the names of folders by the kind of features in them"
TOLD = "features.json"
TOLD_EXPECTED = 'an object like {"fps": 25, "stride": 16, "kind": "cbp"}, kind being cbp or vlp'
FEW = 8
"archives in a folder; of more files each is taken to be a video's own"
SUBSETS = ("train", "test", "val", "validation", "training")


def found_packs(root: str | Path, dataset: str, kind: str, annotations: Annotations) -> Iterator[Source]:
    """Packs of a kind, the preferred first; ValueError for an unknown kind, FileNotFoundError for no ``root``."""
    require_known(kind, KINDS, "kind of features")
    folders, seen = dataset_folders(root, dataset), set[Path]()
    ours, anybodys = partial(_ours, kind=kind), partial(_anybodys, kind=kind)
    for find in (_joint, _two_stream, anybodys, ours) if kind == "cbp" else (ours, anybodys):
        for source in (source for folder in folders for source in find(folder, annotations)):
            place = source.path.resolve()
            if (told := _told(source.path)) and told.get("kind", kind) != kind:
                continue
            if told and "fps" in told:
                source.grid = Grid(told["fps"], told.get("stride", 1))
            if place not in seen and not of_another(source.path, annotations.dataset):
                seen.add(place)
                yield source


def given_grid(fps: float, stride: float, kind: str) -> Grid | None:
    """The grid of ``fps`` and ``stride`` as somebody gives them, 0 where they do not; None without fps.

    Raises:
        ValueError: a stride without fps, no rate, or an unknown kind.
    """
    require_known(kind, KINDS, "kind of features")
    if stride and not fps:
        raise ValueError(f"a stride of {stride:g} frames needs the frames per second, got none; give fps too")
    return Grid(fps, stride or {"cbp": CLIP_FRAMES, "vlp": 1}[kind]) if fps else None


LOOKED_FOR = {
    "cbp": "*-I3D-JOINTFeatures.npy (W-TALC), [features/]{train,test}/{rgb,flow}/VIDEO.npy (CoLA),"
    " [features/]*i3d*/VIDEO.npy (ActionFormer), cbp/*/meta.json (written by this library)",
    "vlp": "vlp/*/meta.json (written by this library), *CLIP*/[{train,test}/]VIDEO.npy (foreign CLIP packs)",
}
"files that :func:`found_packs` looks for, by kind"
WHERE = {
    "cbp": "I3D features are linked from github.com/harlanhong/MM2021-CO2-Net (W-TALC layout),"
    " github.com/zhang-can/CoLA and github.com/happyharrycn/actionformer_release; `wtal extract --kind cbp` makes one",
    "vlp": "`wtal extract` makes one from the videos",
}
"where packs can be had, by kind"


def _joint(folder: Path, annotations: Annotations) -> Iterator[Source]:
    """W-TALC / CO2-Net: one object array; names by row stand in the annotations beside it, or in those given."""
    for path in sorted(folder.glob("*-JOINTFeatures.npy")):
        prefix = re.sub(r"-[^-]*-JOINTFeatures\.npy$", "", path.name)
        names = path.parent / f"{prefix}-Annotations" / "videoname.npy"
        ids = tuple(annotations.videos)
        if names.exists():
            ids = tuple(read_column(names, "SU"))
            if not set(ids) & set(annotations.videos) and names.with_name("url.npy").exists():
                ids = tuple(url[-11:] for url in read_column(names.with_name("url.npy"), "SU"))
        grid, status = Grid(10, 4) if "-UNT-" in path.name else get_dataset(annotations.dataset).grid, path.stat()
        mark = stamp([(str(path), status.st_size, status.st_mtime_ns)], ids)
        yield Source("cbp", "w-talc", path, grid, {path.name: (str(path),)}, mark, status.st_size, joint=ids)


def _two_stream(folder: Path, annotations: Annotations) -> Iterator[Source]:
    """CoLA / BaS-Net: a folder per subset and modality, one file a video in each."""
    for top in (folder, folder / "features"):
        streams = [top / subset / modality for subset in SUBSETS for modality in MODALITIES]
        if any(stream.is_dir() for stream in streams):
            yield _files("cbp", "cola", top, get_dataset(annotations.dataset).grid, streams, annotations)


def _anybodys(folder: Path, annotations: Annotations, kind: str) -> Iterator[Source]:
    """ActionFormer's or OpenTAD's I3D, CLIP of other projects, anybody's folder: files a video or a modality.

    Also archives that lie beside the annotations and are called after a kind of features. No layout tells the rate.
    """
    layout = {"cbp": "actionformer", "vlp": "clip"}[kind]
    for tops in _tops(folder, kind, annotations):
        leaves = [leaf for top in (tops if kind == "cbp" else tops[:1]) for leaf in _leaves(top)]
        yield _files(kind, layout, tops[0], None, leaves, annotations)
    own = [path for path in sorted(folder.glob("*.*")) if path.suffix.lower() in ARCHIVES and kind in _kinds(path)]
    own = [path for path in own if path.is_file() and not path.name.endswith("-JOINTFeatures.npy")]
    if own and kind not in _kinds(folder):
        yield _files(kind, layout, own[0], None, own[:FEW], annotations)


def _ours(folder: Path, annotations: Annotations, kind: str) -> Iterator[Source]:
    """Packs that `wtal extract` writes, their layout called as their kind."""
    for path in sorted({*folder.glob("meta.json"), *folder.glob("*/meta.json"), *folder.glob(f"{kind}/*/meta.json")}):
        meta, grid = read_meta(path)
        if meta.get("kind", "vlp") == kind:
            yield replace(_files(kind, kind, path.parent, grid, [path.parent / "features"], annotations), meta=meta)


def _tops(folder: Path, kind: str, annotations: Annotations) -> list[list[Path]]:
    """Folders called after a kind of features, told to be of it, or with files called after videos; RGB with its flow.

    They are ``folder`` itself, those in it and those in its ``features/``.
    """
    inside = [path for path in (folder, *folder.glob("*/"), *folder.glob("features/*/")) if path.is_dir()]
    inside = [path for path in sorted(set(inside)) if not any((p / "meta.json").exists() for p in (path, path.parent))]
    own = [path for path in inside if kind in _kinds(path)]
    own += [path for path in inside if not _kinds(path) and _told(path).get("kind") == kind and any(path.iterdir())]
    if kind == "cbp":
        names = {*annotations.videos, *(video.youtube_id for video in annotations.videos.values())}
        own += [path for path in inside if path not in own and not _kinds(path) and _holds(path, names)]
    groups: dict[tuple[Path, str], list[Path]] = {}
    for path in own:
        plain = re.sub(r"[-_.]?(rgb|flow)(?=[-_.]|$)", "", path.name.lower())
        groups.setdefault((path.parent, plain), []).append(path)
    return [sorted(paths, key=_modality, reverse=True) for paths in groups.values()]


def _kinds(folder: Path) -> list[str]:
    """The kinds of features that a folder's name says."""
    return [kind for kind, words in WORDS.items() if any(word in folder.name.lower() for word in words)]


def _holds(folder: Path, names: Collection[str]) -> bool:
    """Whether one of the first files of a folder is called after a video."""
    if folder.name.lower() in (*SUBSETS, *MODALITIES):
        return False
    stems = (entry.name.rpartition(".")[0] for entry in islice(os.scandir(folder), 50) if entry.name.endswith(SUFFIXES))
    return any(re.sub(r"^v_|[-_.](rgb|flow)$", "", stem) in names or stem in names for stem in stems)


def _modality(folder: Path) -> str:
    """Rgb or flow, as a folder's name says, else empty."""
    named = re.search(r"(?:^|[-_.])(rgb|flow)(?:[-_.]|$)", folder.name.lower())
    return named[1] if named else ""


def _told(folder: Path) -> dict[str, Any]:
    """What ``features.json`` in a folder of features, or beside it, says: fps, stride and kind.

    Raises:
        ValueError: it says something else.
    """
    path = next((path for path in (folder / TOLD, folder.parent / TOLD) if path.is_file()), None)
    if path is None or (folder / "meta.json").exists():
        return {}
    told = read_json(path, TOLD_EXPECTED, "write it so")
    with readable(path, TOLD_EXPECTED, "write it so"):
        if not isinstance(told, dict) or set(told) - {"fps", "stride", "kind"}:
            raise ValueError(f"it holds {told!r:.80}")
        numbers = {name: float(told[name]) for name in ("fps", "stride") if told.get(name) is not None}
        kinds = {word: kind for kind, words in WORDS.items() for word in (kind, *words)}
        kind = kinds.get(str(told.get("kind")).lower())
        if "stride" in numbers and "fps" not in numbers:
            raise ValueError("it has a stride and no fps")
        if told.get("kind") is not None and kind is None:
            raise ValueError(f"its kind is {told['kind']!r:.40}")
        if path.parent != folder and kind and _kinds(folder) not in ([], [kind]):  # it is beside another pack too
            return {}
        return {**numbers, **({"kind": kind} if kind else {})}


def _leaves(top: Path) -> list[Path]:
    """A folder and the folders of subsets and modalities in it."""
    known = {*SUBSETS, *MODALITIES}
    inside = [path for path in sorted(top.glob("*/")) if path.name.lower() in known]
    return [top, *(leaf for path in inside for leaf in _leaves(path))]


def _files(
    kind: str, layout: str, path: Path, grid: Grid | None, places: Iterable[Path], annotations: Annotations
) -> Source:
    """A pack of one file a video, in folders or given one by one; RGB and flow of the same name stand side by side.

    Of a few files, those that hold several videos are packs by what is in them.
    """
    found: dict[str, dict[str, str]] = {}
    listed: list[os.DirEntry[str] | Path] = []
    for place in filter(Path.exists, places):
        modality = _modality(place)
        entries = os.scandir(place) if place.is_dir() else [place]
        for entry in sorted((one for one in entries if one.name.lower().endswith(SUFFIXES)), key=lambda one: one.name):
            key = entry.name.rpartition(".")[0]
            named = re.fullmatch(r"(.+)[-_.](rgb|flow)", key, re.IGNORECASE) if layout != "vlp" else None
            key, of = (named[1], named[2].lower()) if named else (key, modality)
            found.setdefault(key, {}).setdefault(of, os.fspath(entry))
            listed.append(entry)
    if 0 < len(listed) <= FEW:
        naming, outer, found = annotations.naming(), found, {}
        for key, outside in outer.items():
            for of, file in outside.items():
                inside = {}
                with suppress(*MALFORMED, OSError):  # damage is told when it is read
                    inside = members(Path(file), naming, annotations.videos)
                for video, by in (inside or {key: {of: file}}).items():
                    found.setdefault(video, {}).update({of if one == "" else one: item for one, item in by.items()})
    files = {key: tuple(by[of] for of in sorted(by, reverse=True)) for key, by in found.items()}
    marks = [(os.fspath(entry), entry.stat().st_size, entry.stat().st_mtime_ns) for entry in listed]
    return Source(kind, layout, path, grid, files, stamp(marks), sum(size for _, size, _ in marks))
