"""Video files through frozen backbones into feature packs: decode once, batch, forward, write."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from wtal_lib.data.files import header, read_json, replacing
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_rows
from wtal_lib.parallel import duration
from wtal_lib.video.frames import frames, probe

S = TypeVar("S")

IDENTITY = (
    *("kind", "model", "pretrained", "origin", "precision", "fps", "stride", "embed_dim", "sampling"),
    *("short_side", "crop"),
)
"what must be equal for features to stand in one pack"

PACKAGES = ("wtal_lib", "torch", "open_clip_torch", "av", "pillow", "numpy")
"whose versions a pack records"

SHORT = (1, 0.02)
"snippets, and share of all, that a file may deliver less than its duration promises"


@dataclass(frozen=True, eq=False)
class Backbone:
    """Frozen network that turns the frames of a snippet into a row of features."""

    name: str
    width: int
    "columns of a row"
    preprocess: Callable[[list[np.ndarray]], Tensor]
    "the frames of one snippet, RGB (h, w, 3) each, to a tensor"
    forward: Callable[[Tensor], Tensor]
    "snippets, stacked along a first axis, to rows (b, width)"
    meta: dict[str, Any]
    "for meta.json, what else the features follow from: the rest of :data:`IDENTITY`, and more"
    offsets: tuple[float, ...] = (0.5,)
    "when in a snippet its frames are shown, ascending, as shares of its length; 0.5 is the middle"


@dataclass(frozen=True)
class Extraction:
    """Result of an extraction, by video."""

    written: dict[str, int] = field(default_factory=dict)
    "number of snippets"
    skipped: list[str] = field(default_factory=list)
    "finished by an earlier call"
    problems: dict[str, str] = field(default_factory=dict)
    "why nothing or not all of it could be read"


@dataclass(frozen=True, eq=False)
class Target:
    """A pack to be filled."""

    out: Path
    backbone: Backbone
    begin: Callable[..., None]
    "``begin(out, meta=…)`` writes ``meta.json``, and what else stands beside the features"


def fill_packs(
    videos: Sequence[Path],
    targets: Sequence[Target],
    *,
    grid: Grid = I3D_GRID,
    batch: int = 32,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Extraction:
    """Extract the features of ``videos`` into packs, each video decoded once for all of them.

    ``workers`` videos are decoded at once, ``batch`` snippets go through a backbone together. Finished videos are
    skipped, pack by pack; a video that cannot be read is one of the ``problems``. ``say`` gets a line at first and
    after each, with the time to go. Raises ValueError for another origin than that of a pack and for names given twice,
    OSError for a full disk.
    """
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    metas: list[dict[str, Any]] = [
        {"model": one.name, "fps": grid.fps, "stride": grid.stride, "embed_dim": one.width, **one.meta}
        | {"versions": versions}
        for one in (target.backbone for target in targets)
    ]
    for target, meta in zip(targets, metas, strict=True):
        _require_same(target.out, meta)
    require_distinct(videos)
    wanted = {video: [one for one in targets if not _finished(one.out, video, one.backbone.width)] for video in videos}
    result = Extraction(skipped=[video.stem for video, missing in wanted.items() if not missing])
    size = {video: video.stat().st_size for video, missing in wanted.items() if missing}
    began, done = time.monotonic(), 0
    if size:
        say(f"0 of {len(size)} videos")
    rows: defaultdict[Path, list[list[Tensor]]] = defaultdict(list)

    def finish(video: Path, item: dict[str, Any] | Exception) -> str:
        """Write what a video has, and return how it went."""
        parts = rows.pop(video, [])
        if isinstance(item, Exception):
            result.problems[video.stem] = problem = str(item) or type(item).__name__
            return problem
        for target, of_target in zip(wanted[video], zip(*parts, strict=True), strict=True):
            write_rows(target.out, video.stem, torch.cat(of_target).cpu().numpy())
            with replacing(target.out / "features" / f"{video.stem}.json") as file:
                file.write(json.dumps(item).encode())
        result.written[video.stem] = item["rows"]
        if item["short"]:
            result.problems[video.stem] = item["short"]
        return item["short"] or f"{item['rows']} snippets"

    def read(video: Path) -> Iterator[Any]:
        return snippets(video, [target.backbone for target in wanted[video]], grid, batch)

    try:  # meta.json first, so that a killed call leaves a pack that says what it is
        for target, meta in zip(targets, metas, strict=True):
            target.begin(target.out, meta=meta)
        with closing(read_ahead(size, read, workers)) as arriving:
            for video, item in arriving:
                if isinstance(item, tuple):
                    forward = [target.backbone.forward for target in wanted[video]]
                    rows[video].append([call(part) for call, part in zip(forward, item, strict=True)])
                    continue
                what, done = finish(video, item), done + size[video]
                left = (time.monotonic() - began) * (sum(size.values()) - done) / max(1, done)
                count = len(result.written.keys() | result.problems.keys())
                what += f", {duration(left)} left" if left else ""
                say(f"{count} of {len(size)} videos, {video.stem}: {what}")
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(f"{batch} snippets at once do not fit into the GPU's memory; choose fewer") from error
    except OSError as error:
        raise OSError(
            f"cannot write {', '.join(str(one.out) for one in targets)}: {error.strerror or error}; "
            f"{len(result.written) + len(result.skipped)} finished videos are kept: make room and call again"
        ) from error
    return result


def snippets(
    video: Path, backbones: Sequence[Backbone], grid: Grid, batch: int
) -> Iterator[tuple[Tensor, ...] | dict[str, Any]]:
    """Preprocessed snippets of a video, at most ``batch`` a tensor and one for each backbone; at last, its properties.

    Raises ValueError for a video that is broken, or shorter than one snippet where a backbone takes several frames.
    """
    info = probe(video)
    offsets = sorted({offset for one in backbones for offset in one.offsets})
    places = [[offsets.index(offset) for offset in one.offsets] for one in backbones]
    if len(offsets) > 1 and info.duration + 0.5 / info.fps < grid.step:
        raise ValueError(f"{video} lasts {info.duration:.2f} s, less than one snippet of {grid.step:g} s; leave it out")
    count, taken, got = grid.count(info.duration), len(offsets), 0
    time_tk = grid.seconds(np.arange(count)[:, None] + np.array(offsets)).clip(0, info.duration - 0.5 / info.fps)
    shown = frames(video, np.maximum.accumulate(time_tk.ravel()))
    clips = iter(lambda: [frame.image for frame in islice(shown, taken)], [])
    ready = (
        [one.preprocess([images[i] for i in place]) for one, place in zip(backbones, places, strict=True)]
        for images in clips
        if len(images) == taken
    )
    while part := list(islice(ready, batch)):
        got += len(part)
        yield tuple(torch.stack(of) for of in zip(*part, strict=True))
    if not got:
        raise ValueError(f"{video} breaks off within its first snippet; if it was downloaded, download it again")
    ends = f"{video} ends after {grid.seconds(got):.1f} of {info.duration:.1f} s: {got} of {count} snippets are written"
    short = ends if count - got > max(SHORT[0], SHORT[1] * count) else ""
    size = {"bytes": video.stat().st_size, "content": content(video)}
    yield {"file": video.name, **size, **asdict(info), "rows": got, "short": short}


def read_ahead(
    sources: Iterable[S], read: Callable[[S], Iterator[Any]], workers: int
) -> Generator[tuple[S, Any], None, None]:
    """Sources with each item of ``read(source)``, in order, or the exception that ends it; ``workers`` at once."""
    end = object()

    def items(source: S) -> Iterator[Any]:
        try:
            yield from read(source)
        except Exception as error:  # whatever a stranger's file provokes, the other videos go on
            yield error

    opened = ((source, items(source)) for source in sources)
    with ThreadPoolExecutor(workers) as pool:
        reading = {pool.submit(next, one[1], end): one for one in islice(opened, workers)}
        while reading:
            for future in wait(reading, return_when=FIRST_COMPLETED).done:
                one, item = reading.pop(future), future.result()
                following = islice(opened, 1) if item is end else [one]
                reading |= {pool.submit(next, another[1], end): another for another in following}
                if item is not end:
                    yield one[0], item


def require_distinct(videos: Sequence[Path]) -> None:
    """Raise ValueError where two videos share a name, which is all that a pack knows them by."""
    twice = [name for name, times in Counter(video.stem for video in videos).items() if times > 1]
    if twice:
        raise ValueError(f"videos are told apart by their file names, but several are called {', '.join(twice[:3])}")


def pack_meta(out: Path) -> dict[str, Any]:
    """The ``meta.json`` of the pack ``out``; empty where there is none."""
    path = out / "meta.json"
    return dict(read_json(path, "the meta.json of a feature pack", "choose another --out")) if path.exists() else {}


def _require_same(out: Path, meta: dict[str, Any]) -> None:
    """Raise ValueError where ``out`` holds other features than ``meta`` describes; classes and templates may change."""
    there = pack_meta(out)
    if not there and (out / "features").exists():
        raise ValueError(f"{out} holds features but no meta.json that says whose; choose another --out")
    for key in IDENTITY if there else ():
        if there.get(key) != meta.get(key):
            raise ValueError(
                f"{out} is a pack with {key} {there.get(key)!r}, not {meta.get(key)!r}: features of different origin "
                "cannot stand in one pack; choose another --out"
            )


def _finished(out: Path, video: Path, width: int) -> bool:
    """Whether the pack holds all features of the video as its file is now: not short, of a file of other content."""
    place = out / "features" / f"{video.stem}.npy"
    with suppress(OSError, ValueError), open(place, "rb") as file:
        if header(file)[0][1:] != (width,):
            return False
        try:
            known = json.loads(place.with_suffix(".json").read_bytes())
        except (OSError, ValueError):
            return True
        same = known.get("bytes") == video.stat().st_size and known.get("content", content(video)) == content(video)
        return same and not known.get("short")
    return False


def content(path: Path) -> str:
    """Hash of the beginning, middle and end of a file: a mended download of equal size has another one."""
    mark, size = hashlib.blake2b(digest_size=8), path.stat().st_size
    with open(path, "rb") as file:
        for at in (0, size // 2, max(0, size - 65536)):
            file.seek(at)
            mark.update(file.read(65536))
    return mark.hexdigest()
