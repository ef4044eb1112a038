"""Video files through a frozen backbone into a feature pack: decode, batch, forward, write."""

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
from wtal_lib.parallel import duration
from wtal_lib.video.frames import frames, probe

S = TypeVar("S")

IDENTITY = ("model", "pretrained", "origin", "precision", "fps", "stride", "embed_dim", "sampling")
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


def fill_pack(
    videos: Sequence[Path],
    out: Path,
    backbone: Backbone,
    write: Callable[..., None],
    *,
    grid: Grid = I3D_GRID,
    batch: int = 32,
    workers: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Extraction:
    """Extract the features of ``videos`` into the pack ``out``, which ``write(out, meta=…, features=…)`` writes.

    ``workers`` videos are decoded at once, ``batch`` snippets go through the backbone together. Finished videos are
    skipped; a video that cannot be read is one of the ``problems``. ``say`` gets a line after each, with the time to
    go. Raises ValueError for another origin than that of ``out`` and for names given twice, OSError for a full disk.
    """
    meta = {"model": backbone.name, "fps": grid.fps, "stride": grid.stride, "embed_dim": backbone.width}
    meta |= {**backbone.meta, "versions": {name: importlib.metadata.version(name) for name in PACKAGES}}
    _require_same(out, meta)
    require_distinct(videos)
    result = Extraction(skipped=[video.stem for video in videos if _finished(out, video, backbone.width)])
    size = {video: video.stat().st_size for video in videos if video.stem not in set(result.skipped)}

    def written(arriving: Iterable[tuple[Path, Any]]) -> Iterator[tuple[str, np.ndarray]]:
        """Name and features of each video; ``result`` and ``say`` get its outcome."""
        began, done, total = time.monotonic(), 0, sum(size.values())
        rows: defaultdict[Path, list[Tensor]] = defaultdict(list)
        for video, item in arriving:
            if isinstance(item, Tensor):
                rows[video].append(backbone.forward(item))
                continue
            parts, done = rows.pop(video, []), done + size[video]
            if isinstance(item, Exception):
                problem = what = str(item) or type(item).__name__
            else:
                feature_td = torch.cat(parts).cpu().numpy()
                yield video.stem, feature_td
                with replacing(out / "features" / f"{video.stem}.json") as file:
                    file.write(json.dumps(item).encode())
                result.written[video.stem] = len(feature_td)
                problem, what = item["short"], item["short"] or f"{len(feature_td)} snippets"
            if problem:
                result.problems[video.stem] = problem
            left = (time.monotonic() - began) * (total - done) / max(1, done)
            count = len(result.written.keys() | result.problems.keys())
            say(f"[{count}/{len(size)}] {video.stem}: {what}" + (f", {duration(left)} left" if left else ""))

    try:  # meta.json first, so that a killed call leaves a pack that says what it is
        write(out, meta=meta, features=())
        with closing(read_ahead(size, lambda video: snippets(video, backbone, grid, batch), workers)) as arriving:
            write(out, meta=meta, features=written(arriving))
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(f"{batch} snippets at once do not fit into the GPU's memory; choose fewer") from error
    except OSError as error:
        raise OSError(
            f"cannot write {out}: {error.strerror or error}; {len(result.written) + len(result.skipped)} finished "
            "videos are kept: make room and call again"
        ) from error
    return result


def snippets(video: Path, backbone: Backbone, grid: Grid, batch: int) -> Iterator[Tensor | dict[str, Any]]:
    """Preprocessed snippets of a video, at most ``batch`` a tensor; at last, the file's properties."""
    info = probe(video)
    count, taken, got = grid.count(info.duration), len(backbone.offsets), 0
    time_tk = grid.seconds(np.arange(count)[:, None] + np.array(backbone.offsets))
    shown = frames(video, time_tk.clip(0, info.duration - 0.5 / info.fps).ravel())
    clips = iter(lambda: [frame.image for frame in islice(shown, taken)], [])
    ready = (backbone.preprocess(images) for images in clips if len(images) == taken)
    while part := list(islice(ready, batch)):
        got += len(part)
        yield torch.stack(part)
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
