"""Feature packs: one modality of one dataset, found whatever its layout, indexed once, memory-mapped afterwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from wtal_lib.data import cache as cache_files
from wtal_lib.data.annotations import Annotations, home_folder, searched
from wtal_lib.data.cache import Rows, cache_folder
from wtal_lib.data.containers import REMEDY, SUFFIXES
from wtal_lib.data.files import read_array, replacing
from wtal_lib.data.forms import shape_of
from wtal_lib.data.packs import LOOKED_FOR, WHERE, found_packs
from wtal_lib.data.segments import Grid, likely_unit, resampled
from wtal_lib.data.source import TIMED, Source
from wtal_lib.data.vlp_pack import read_text_rows


def column_moments(rows: Iterable[np.ndarray]) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """Mean and standard deviation of each column over arrays (t, d), one of which is held at a time; float32."""
    count, total, square = 0, np.float64(0), np.float64(0)
    for rows_td in rows:
        exact = rows_td.astype(np.float64)
        count, total, square = count + len(exact), total + exact.sum(axis=0), square + (exact**2).sum(axis=0)
    mean = total / count
    return mean.astype(np.float32), np.sqrt((square / count - mean**2).clip(min=0)).astype(np.float32)


@runtime_checkable
class Features(Protocol):
    """What models need of a pack; simulated packs have it too."""

    grid: Grid
    width: int
    "columns of a row"
    fingerprint: str
    "equal for equal content"
    lengths: dict[str, int]
    "rows of each video"

    def __getitem__(self, name: str) -> np.ndarray: ...

    @property
    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each column over the training videos."""


@dataclass(eq=False)
class Pack:
    """One modality of one dataset, memory-mapped."""

    kind: str
    "cbp or vlp"
    layout: str
    "w-talc, cola, actionformer or cbp; vlp or clip"
    path: Path
    grid: Grid
    width: int
    fingerprint: str
    "hash of names, rows, grid and text: equal content, equal fingerprint, on every machine"
    lengths: dict[str, int]
    "rows of each video, by its name in the annotations, or by the pack's own name if it is not annotated"
    text: np.ndarray | None
    "(c, e) float32 unit rows in the order of the annotations' classes; VLP packs of this library only"
    meta: dict[str, Any]
    "meta.json of a pack of this library, else empty"
    notes: tuple[str, ...]
    "remarks on rate and missing videos"
    faults: dict[str, str]
    "why the features of some videos cannot be used, by name"
    rows: Rows = field(repr=False)
    ids: dict[str, str] = field(repr=False)
    "the pack's own id of each name"
    training: tuple[str, ...] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its videos."""
        return tuple(self.lengths)

    def __getitem__(self, name: str) -> Float[np.ndarray, "t d"]:
        """Rows of a video: a read-only float16 or float32 view; KeyError if the pack has no such video."""
        return self.rows[self.ids[name]]

    def __contains__(self, name: object) -> bool:
        return name in self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def moments(self) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """Mean and standard deviation of each column over the training videos' snippets, float32; kept in the cache."""
        mark = hashlib.blake2b(repr(self.training).encode(), digest_size=8).hexdigest()
        path = self.rows.path.with_name(f"{self.rows.path.stem}-moments-{mark}.npy")
        found = read_array(path, f"moments (2, {self.width})", "delete it", "f") if path.exists() else np.empty(0)
        if found.shape != (2, self.width):
            found = np.stack(column_moments(self[name] for name in self.training or self.names))
            with replacing(path) as file:
                np.save(file, found)
        return found[0], found[1]

    def on(self, grid: Grid) -> Pack:
        """The pack on another snippet grid, indexed and cached in turn; the pack itself if that is its grid."""
        if grid == self.grid:
            return self
        snippets = {name: max(1, round(rows * self.grid.step / grid.step)) for name, rows in self.lengths.items()}

        def feed(add: cache_files.Add) -> dict[str, cache_files.Token]:
            return {key: add(aligned(self, name, grid, snippets[name])) for name, key in self.ids.items()}

        path, size = self.rows.path, 4 * self.width * sum(snippets.values())
        place = path.parent, f"{path.stem}-on-{grid.fps:g}-{grid.stride:g}", self.rows.fingerprint
        rows = cache_files.opened(*place) or cache_files.built(*place, feed, size, {})
        lengths = {name: rows.starts[key][1] for name, key in self.ids.items()}
        fingerprint = _digest(rows.fingerprint, grid, self.text)
        return replace(self, grid=grid, rows=rows, lengths=lengths, fingerprint=fingerprint)


def aligned(pack: Features, name: str, grid: Grid, snippets: int) -> Float[np.ndarray, "t d"]:
    """A video's features as ``snippets`` rows of ``grid``, float32: resampled if need be, the last row repeated."""
    return resampled(pack[name], pack.grid, grid, snippets)


def find_pack(
    root: str | Path,
    dataset: str,
    kind: str,
    annotations: Annotations,
    *,
    model: str | None = None,
    fps: float | None = None,
    stride: float = 1,
    cache: str | Path | None = None,
) -> Pack:
    """The pack of ``kind`` (cbp or vlp) in a data root, whatever its layout; indexed on first use in ``cache``.

    Of several, W-TALC comes before CoLA before ActionFormer, our own VLP packs before foreign ones, then by name;
    ``model`` picks the one whose folder has that name. ``fps`` and ``stride`` (frames from row to row) overrule the
    layout's rate. Raises FileNotFoundError for none, ValueError for broken, non-finite or ill-fitting files, OSError
    for a cache that cannot be written.
    """
    found = found_packs(root, dataset, kind, annotations)
    source = next((source for source in found if model in (None, source.path.name)), None)
    if source is None:
        raise FileNotFoundError(
            f"no {kind.upper()} features{f' of {model}' if model else ''} for {dataset} in {root}: looked for"
            f" {LOOKED_FOR[kind]} in {searched(root, dataset)}. {WHERE[kind]}; or draw some with `wtal simulate`"
        )
    if fps is not None:
        source.grid = Grid(fps, stride)
    pack = indexed(source, annotations, cache_folder(home_folder(root, dataset), cache))
    if pack.faults:
        name, why = next(iter(pack.faults.items()))
        more = f" (and {len(pack.faults) - 1} more videos have faults)" if len(pack.faults) > 1 else ""
        raise ValueError(f"{pack.path}: expected finite features of one width, but {name} {why}{more}; {REMEDY}")
    if not len(pack):
        raise ValueError(f"{pack.path}: expected features of {dataset}, but it holds none; {REMEDY}")
    return pack


LENGTH_TOLERANCE = (2, 0.02)
"snippets, and share of the expected ones, by which features may be shorter or longer than their video"


def misfits(pack: Pack, annotations: Annotations) -> dict[str, list[int]]:
    """Rows and expected rows of each video whose features are shorter or longer than it."""
    found = {}
    for name, rows in pack.lengths.items():
        video = annotations.videos.get(name)
        if video is not None and video.duration > 0:
            expected = pack.grid.count(video.duration)
            if abs(rows - expected) > max(LENGTH_TOLERANCE[0], LENGTH_TOLERANCE[1] * expected):
                found[name] = [rows, expected]
    return found


def ill_fitting(pack: Pack, annotations: Annotations) -> str:
    """Why the rows of a pack cannot be right, if those of most videos do not fit their durations; else empty."""
    both = [video for name, video in annotations.videos.items() if name in pack.lengths]
    if not any(video.duration > 0 for video in both):
        latest_b = np.array([video.segments.max(initial=0.0) for video in both])
        unit, why = likely_unit(latest_b, np.array([pack.lengths[video.name] * pack.grid.step for video in both]))
        return f"{annotations.path}: segments must be in seconds, these are likely {unit}: {why}" if unit else ""
    timed = [video.name for video in both if video.duration > 0]
    wrong = misfits(pack, annotations)
    if 2 * len(wrong) <= len(timed):
        return ""
    name, (rows, expected) = next(iter(wrong.items()))
    return (
        f"{pack.path}: at {pack.grid.fps:g} fps and stride {pack.grid.stride:g} the rows of {len(wrong)} of"
        f" {len(timed)} videos do not fit their durations, such as {name} with {rows} where {expected} are expected;"
        " give fps and stride (--fps, --stride, or features.json beside the pack), or annotations of these videos"
    )


def indexed(source: Source, annotations: Annotations, folder: Path) -> Pack:
    """The pack of a source, through its cache in ``folder``; ValueError if it is unreadable, or of unknown rate."""
    naming = annotations.naming()
    where = hashlib.blake2b(str(source.path.resolve()).encode(), digest_size=4).hexdigest()
    stem = f"{annotations.dataset}-{source.kind}-{source.layout}-{where}"
    called = {key: naming(key) for key in source.files}
    source.videos = {key: annotations.videos[name] for key, name in called.items() if name in annotations.videos}
    times = [(key, video.fps, video.duration) for key, video in source.videos.items() if source.layout in TIMED]
    mark = hashlib.blake2b(repr(times).encode(), digest_size=8).hexdigest()
    place = folder, stem, f"{source.stamp} {source.grid} {mark}"
    rows = cache_files.opened(*place)
    if rows is None:
        if source.layout in TIMED and source.grid is None and not source.videos:
            raise ValueError(f"{source.path}: {_unnamed(source, annotations)}")
        source.look()
        assert source.grid is not None
        info = {"fps": source.grid.fps, "stride": source.grid.stride, "notes": source.notes}
        rows = cache_files.built(*place, source.feed, source.size, info)
    grid = Grid(rows.info["fps"], rows.info["stride"])
    ids = {naming(key): key for key in rows.starts}
    own = source.layout == "vlp"
    text = read_text_rows(source.path, source.meta, annotations.classes, rows.width) if own else None
    notes = list(rows.info["notes"])
    if rows.zeros:
        notes.append(f"{len(rows.zeros)} videos are all zeros, which stands for missing: {', '.join(rows.zeros[:3])}")
    return Pack(
        kind=source.kind,
        layout=source.layout,
        path=source.path,
        grid=grid,
        width=rows.width,
        fingerprint=_digest(rows.fingerprint, grid, text),
        lengths={name: rows.starts[key][1] for name, key in ids.items()},
        text=text,
        meta=source.meta,
        notes=tuple(notes),
        faults={naming(key): why for key, why in rows.faults.items()},
        rows=rows,
        ids=ids,
        training=tuple(video.name for video in annotations.subset("train") if video.name in ids),
    )


def _unnamed(source: Source, annotations: Annotations) -> str:
    """Why no file of a source is known to be of a video; UnreadableError where it is for the first one's damage."""
    if source.files:
        shape_of(Path(next(iter(source.files.values()))[0]))
        wanted = f"the videos of {annotations.dataset}, such as {next(iter(annotations.videos), 'none')}"
        return f"expected files called after {wanted}, got {next(iter(source.files))}; call them so"
    there = sorted({one.suffix for one in source.path.iterdir() if one.is_file()}) if source.path.is_dir() else []
    return f"expected files ending in {', '.join(SUFFIXES)}, got {', '.join(there) or 'none'}; {WHERE[source.kind]}"


def marked(data: Annotations | Features | None) -> bool:
    """Whether annotations or a pack are simulated: by meta data, or a ``SIMULATED.json`` up to three folders up."""
    path: Path | None = getattr(data, "path", None)
    folders = () if path is None else (path, *path.parents[:3])
    own = getattr(data, "layout", "") == "simulated" or getattr(data, "meta", {}).get("simulated")
    return bool(own) or any((folder / "SIMULATED.json").is_file() for folder in folders)


def _digest(fingerprint: str, grid: Grid, text: np.ndarray | None) -> str:
    content = repr((fingerprint, grid)).encode() + (b"" if text is None else text.tobytes())
    return hashlib.blake2b(content, digest_size=8).hexdigest()
