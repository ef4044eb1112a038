"""The community's feature layouts: found in a dataset's folders and read video by video."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.annotations import Annotations, dataset_folders, of_another
from wtal_lib.data.cache import Add, Fault, Kept, Token, stamp
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.files import UnreadableError, header, read_array, read_objects
from wtal_lib.data.layouts import read_column
from wtal_lib.data.segments import Grid, resampled
from wtal_lib.data.vlp_pack import read_meta

KINDS = ("cbp", "vlp")
"classification-based pre-training: I3D, RGB and then flow, or RGB alone; vision-language pre-training: CLIP"
REMEDY = "fetch it again, or remove it: `wtal check` lists every file that cannot be used"
RATES = (Grid(25, 16), Grid(10, 1), Grid(30, 4), Grid(30, 16), Grid(1, 1))
"grids of community packs; a rate inferred from rows and durations becomes the nearest one"
RATE_TOLERANCE = 0.02
"relative difference from one of them that still counts as it"
CLIP_FRAMES = 16
"frames of the clip behind one I3D row; if the stride is shorter, rows are moved to the middle of their clips"
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
    fps: dict[str, float] = field(default_factory=dict)
    "frames per second of the videos whose native rate is not the pack's"
    joint: tuple[str, ...] = ()
    "ids of the rows of a joint file"

    def feed(self, add: Add) -> dict[str, Token]:
        """Hand every video's features to ``add``, one at a time; returns its token for each, by id."""
        if self.joint:
            expected = f"an object array of (snippets, width) arrays, one for each of the {len(self.joint)} videos"
            rows = read_objects(self.path, expected, REMEDY, on_array=add)
            if len(rows) != len(self.joint):
                raise UnreadableError(f"{self.path}: expected {expected}, but it holds {len(rows)}; {REMEDY}")
            tokens = [row if isinstance(row, (Kept, Fault)) else Fault("holds no array") for row in rows]
            return dict(zip(self.joint, tokens, strict=True))
        return {key: self._read(key, add) for key in self.files}

    def _read(self, key: str, add: Add) -> Token:
        try:
            parts = [read_array(Path(p), "a float array (snippets, width)", REMEDY, "f") for p in self.files[key]]
        except UnreadableError as error:
            return Fault(str(error))
        if len(parts) == 1 and self.layout == "cola":
            return Fault("has only one of its two modalities, RGB and flow")
        if any(part.ndim != 2 or len(part) != len(parts[0]) for part in parts):
            return Fault(f"has the shapes {[part.shape for part in parts]}, which do not fit side by side")
        return add(self._placed(key, parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)))

    def _placed(self, key: str, rows: np.ndarray) -> np.ndarray:
        """Rows of overlapping clips at the middle of their clips, at the pack's rate."""
        grid = self.grid if self.layout == "actionformer" and len(rows) else None
        if grid is None or not 1 < grid.stride < CLIP_FRAMES:
            return rows
        lead = round((CLIP_FRAMES - grid.stride) / 2 / grid.stride)
        rows = np.concatenate([np.repeat(rows[:1], lead, axis=0), rows])
        if key not in self.fps:
            return rows
        native = Grid(self.fps[key], grid.stride)
        return resampled(rows, native, grid, grid.count(native.step * len(rows))).astype(rows.dtype)

    def infer_grid(self, durations: dict[str, float]) -> str:
        """Set the grid that fits rows and ``durations`` (s, by id); a remark on a rare rate. ValueError for none."""
        rates = []
        for key in (key for key, duration in durations.items() if duration > 0):
            with suppress(ValueError, IndexError), open(self.files[key][0], "rb") as file:
                rates.append(header(file)[0][0] / durations[key])
        if not rates:
            raise ValueError(
                f"{self.path}: expected rows whose rate follows from the videos' durations, but no duration is known;"
                " give fps and stride, or annotations with durations"
            )
        rate = float(np.median(rates))
        self.grid = min(RATES, key=lambda grid: abs(math.log(rate * grid.step)))
        if abs(rate * self.grid.step - 1) <= RATE_TOLERANCE:
            return ""
        self.grid = Grid(rate, 1)
        return f"its rate, {rate:.3f} rows a second, is none of those in use; give fps and stride if known"


def found_packs(root: str | Path, dataset: str, kind: str, annotations: Annotations) -> Iterator[Source]:
    """Packs of a kind, the preferred first; ValueError for an unknown kind, FileNotFoundError for no ``root``."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of features {kind!r}; choose one of {', '.join(KINDS)}")
    folders, seen = dataset_folders(root, dataset), set[Path]()
    for find in (_joint, _two_stream, _per_video, partial(_ours, kind="cbp")) if kind == "cbp" else (_ours, _clip):
        for source in (source for folder in folders for source in find(folder, annotations)):
            place = source.path.resolve()
            if place not in seen and not of_another(source.path, annotations.dataset):
                seen.add(place)
                yield source


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
        streams = [top / subset / modality for subset in SUBSETS for modality in ("rgb", "flow")]
        if any(stream.is_dir() for stream in streams):
            yield _files("cbp", "cola", top, get_dataset(annotations.dataset).grid, streams)


def _per_video(folder: Path, annotations: Annotations) -> Iterator[Source]:
    """ActionFormer / OpenTAD: one joint file a video; THUMOS14's follow the native rate of each video."""
    videos = annotations.videos if get_dataset(annotations.dataset).native_rate else {}
    for top in _named(folder, "i3d"):
        fps = {name: v.fps for name, v in videos.items() if abs(v.fps / 30 - 1) > RATE_TOLERANCE}
        yield replace(_files("cbp", "actionformer", top, None, [top]), fps=fps)


def _ours(folder: Path, annotations: Annotations, kind: str = "vlp") -> Iterator[Source]:
    """Packs that `wtal extract` writes, their layout called as their kind."""
    for path in sorted({*folder.glob("meta.json"), *folder.glob("*/meta.json"), *folder.glob(f"{kind}/*/meta.json")}):
        meta, grid = read_meta(path)
        if meta.get("kind", "vlp") == kind:
            yield replace(_files(kind, kind, path.parent, grid, [path.parent / "features"]), meta=meta)


def _clip(folder: Path, annotations: Annotations) -> Iterator[Source]:
    """CLIP features of other projects: flat, or a folder per subset; the rate is given or inferred."""
    for top in _named(folder, "clip"):
        parts = [top / subset for subset in SUBSETS if (top / subset).is_dir()] or [top]
        yield _files("vlp", "clip", top, None, parts)


def _named(folder: Path, word: str) -> list[Path]:
    """Folders with ``word`` in their names: ``folder`` itself, those in it and in its ``features/``."""
    inside = [folder, *folder.glob("*/"), *folder.glob("features/*/")]
    return [path for path in sorted(inside) if word in path.name.lower() and not (path / "meta.json").exists()]


def _files(kind: str, layout: str, path: Path, grid: Grid | None, folders: list[Path]) -> Source:
    """A pack of one file a video and folder; of the same name, they stand side by side."""
    files: dict[str, tuple[str, ...]] = {}
    listed: list[tuple[str, int, int]] = []
    for folder in filter(Path.is_dir, folders):
        for entry in sorted((e for e in os.scandir(folder) if e.name.endswith(".npy")), key=lambda e: e.name):
            status, key = entry.stat(), entry.name[:-4]
            files[key] = (*files.get(key, ()), entry.path)
            listed.append((entry.path, status.st_size, status.st_mtime_ns))
    return Source(kind, layout, path, grid, files, stamp(listed), sum(size for _, size, _ in listed))
