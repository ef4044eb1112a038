"""The community's feature layouts: found in a dataset's folders and read video by video."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations, dataset_folders, of_another
from wtal_lib.data.cache import Add, Fault, Kept, Token, stamp
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import UnreadableError, read_json, read_objects, readable
from wtal_lib.data.forms import REMEDY, SUFFIXES, Form, form_of, read_form, shape_of
from wtal_lib.data.instances import Video
from wtal_lib.data.layouts import read_column
from wtal_lib.data.segments import Grid
from wtal_lib.data.timing import Timing, timing
from wtal_lib.data.vlp_pack import read_meta
from wtal_lib.settings import require_known

KINDS = ("cbp", "vlp")
"classification-based pre-training: I3D, RGB and then flow, or RGB alone; vision-language pre-training: CLIP"
CLIP_FRAMES = 16
"frames of the clip behind one I3D row"
TIMED = ("actionformer", "clip")
"layouts of one file a video, whose rows may follow each video's own rate"
SAMPLE = 256
"files whose shapes are looked at to find a pack's form and rate"
MODALITIES = ("rgb", "flow")
WORDS = {"cbp": ("i3d", "tsp", "tsn", "c3d", "slowfast", "videomae"), "vlp": ("clip", "coca", "siglip", "blip")}
"words in the names of folders by the kind of features in them"
TOLD = "features.json"
TOLD_EXPECTED = 'an object like {"fps": 25, "stride": 16, "kind": "cbp"}, kind being cbp or vlp'
SUBSETS = ("train", "test", "val", "validation", "training")


@dataclass
class Source:
    """A feature pack as it lies on disk."""

    kind: str
    layout: str
    path: Path
    grid: Grid | None
    "None if neither the layout nor a file tells it"
    files: dict[str, tuple[str, ...]]
    "by video id, the files whose columns stand side by side (RGB, flow); a joint file under its own name"
    stamp: str
    size: int
    "bytes on disk"
    meta: dict[str, Any] = field(default_factory=dict)
    joint: tuple[str, ...] = ()
    "ids of the rows of a joint file"

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.videos: dict[str, Video] = {}
        self.form, self.cut = Form({}), 0
        self.timing: Timing | None = None

    def feed(self, add: Add) -> dict[str, Token]:
        """Hand every video's features to ``add``, one at a time; returns its token for each, by id."""
        if self.joint:
            expected = f"an object array of (snippets, width) arrays, one for each of the {len(self.joint)} videos"
            rows = read_objects(self.path, expected, REMEDY, on_array=add)
            if len(rows) != len(self.joint):
                raise UnreadableError(f"{self.path}: expected {expected}, but it holds {len(rows)}; {REMEDY}")
            tokens = [row if isinstance(row, (Kept, Fault)) else Fault("holds no array") for row in rows]
            return dict(zip(self.joint, tokens, strict=True))
        both = self.layout == "cola" or any(len(files) > 1 for files in self.files.values())
        self.cut = 0
        found = {key: self._read(key, both, add) for key in self.files}
        if self.cut:
            self.notes.append(
                f"{self.cut} videos have one row less of one of RGB and flow: the other's last row is cut"
            )
        return found

    def _read(self, key: str, both: bool, add: Add) -> Token:
        try:
            parts = [self.form.rows(read_form(Path(path))) for path in self.files[key]]
        except UnreadableError as error:
            return Fault(str(error))
        if len(parts) == 1 and both:
            return Fault("has only one of its two modalities, RGB and flow")
        least = min(map(len, parts))
        if len(parts) > 1 and (any(part.ndim != 2 for part in parts) or max(map(len, parts)) > least + 1):
            return Fault(f"has the shapes {[part.shape for part in parts]}, which do not fit side by side")
        self.cut += len(parts) > 1 and max(map(len, parts)) > least
        rows = parts[0] if len(parts) == 1 else np.concatenate([part[:least] for part in parts], axis=1)
        timed = self.timing is not None and rows.ndim == 2 and len(rows) > 0
        return add(self.timing.placed(rows, self.videos.get(key)) if timed else rows)  # type: ignore[union-attr]

    def look(self) -> None:
        """Find form and timing from the shapes of up to :data:`SAMPLE` of its arrays.

        Raises:
            ValueError: it has no rate of its own, and none follows from rows and durations.
        """
        shapes = dict[str, tuple[int, ...]]()
        for key in list(self.files)[:: max(1, len(self.files) // SAMPLE)] if not self.joint else ():
            with suppress(UnreadableError, OSError):
                shapes[key] = shape_of(Path(self.files[key][0]))
        self.form = form_of(list(shapes.values()))
        self.notes = list(self.form.notes)
        if self.layout in TIMED:
            rows = {key: self.form.snippets(shape) for key, shape in shapes.items()}
            try:
                self.timing = timing(rows, self.videos, CLIP_FRAMES if self.kind == "cbp" else 1, self.grid)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
            self.grid = self.timing.grid
            self.notes += [self.timing.note] if self.timing.note else []


def found_packs(root: str | Path, dataset: str, kind: str, annotations: Annotations) -> Iterator[Source]:
    """Packs of a kind, the preferred first; ValueError for an unknown kind, FileNotFoundError for no ``root``."""
    require_known(kind, KINDS, "kind of features")
    folders, seen = dataset_folders(root, dataset), set[Path]()
    for find in (_joint, _two_stream, _per_video, partial(_ours, kind="cbp")) if kind == "cbp" else (_ours, _clip):
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
            yield _files("cbp", "cola", top, get_dataset(annotations.dataset).grid, streams)


def _per_video(folder: Path, annotations: Annotations) -> Iterator[Source]:
    """ActionFormer / OpenTAD, and anybody's folder: one file a video, or one a modality."""
    for tops in _tops(folder, "cbp", annotations):
        yield _files("cbp", "actionformer", tops[0], None, [leaf for top in tops for leaf in _leaves(top)])


def _ours(folder: Path, annotations: Annotations, kind: str = "vlp") -> Iterator[Source]:
    """Packs that `wtal extract` writes, their layout called as their kind."""
    for path in sorted({*folder.glob("meta.json"), *folder.glob("*/meta.json"), *folder.glob(f"{kind}/*/meta.json")}):
        meta, grid = read_meta(path)
        if meta.get("kind", "vlp") == kind:
            yield replace(_files(kind, kind, path.parent, grid, [path.parent / "features"]), meta=meta)


def _clip(folder: Path, annotations: Annotations) -> Iterator[Source]:
    """CLIP features of other projects: flat, or a folder per subset; the rate is given or inferred."""
    for tops in _tops(folder, "vlp", annotations):
        yield _files("vlp", "clip", tops[0], None, _leaves(tops[0]))


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
        kind = {word: kind for kind, words in WORDS.items() for word in (kind, *words)}.get(
            str(told.get("kind")).lower()
        )
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


def _files(kind: str, layout: str, path: Path, grid: Grid | None, folders: list[Path]) -> Source:
    """A pack of one file a video and folder; RGB and flow of the same name stand side by side."""
    found: dict[str, dict[str, str]] = {}
    listed: list[tuple[str, int, int]] = []
    for folder in filter(Path.is_dir, folders):
        modality = _modality(folder)
        entries = (entry for entry in os.scandir(folder) if entry.name.lower().endswith(SUFFIXES))
        for entry in sorted(entries, key=lambda entry: entry.name):
            status, (key, _, _) = entry.stat(), entry.name.rpartition(".")
            named = re.fullmatch(r"(.+)[-_.](rgb|flow)", key, re.IGNORECASE) if layout != "vlp" else None
            key, of = (named[1], named[2].lower()) if named else (key, modality)
            found.setdefault(key, {}).setdefault(of, entry.path)
            listed.append((entry.path, status.st_size, status.st_mtime_ns))
    files = {key: tuple(by[of] for of in sorted(by, reverse=True)) for key, by in found.items()}
    return Source(kind, layout, path, grid, files, stamp(listed), sum(size for _, size, _ in listed))
