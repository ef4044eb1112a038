"""Videos to a VLP pack: frames through a frozen image-text model, and the pack to segments.

Snippet ``i`` of a video is represented by the frame shown at its middle, ``grid.seconds(i + 0.5)``.
"""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wtal_lib.data.files import header, replacing
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import read_meta, write_vlp_pack
from wtal_lib.method.text import text_rows
from wtal_lib.video.ahead import read_ahead
from wtal_lib.video.frames import frames, probe
from wtal_lib.video.vlm import RANDOM, Vlm

SAMPLING = "the frame shown at the middle of each snippet"
IDENTITY = ("model", "pretrained", "origin", "precision", "fps", "stride", "embed_dim", "sampling")
"what must be equal for embeddings to stand in one pack"

PACKAGES = ("wtal_lib", "torch", "open_clip_torch", "av", "pillow", "numpy")
"whose versions a pack records"

SHORT = (1, 0.02)
"snippets, and share of all, that a file may deliver less than its duration promises"


class Progress(NamedTuple):
    """What has just happened to one video, and how far all of them are."""

    name: str
    what: str
    "what was written, or what is wrong"
    failed: bool
    done: int
    total: int
    left: float
    "seconds to go, by the size of the files still to be read; nan before the first one"


@dataclass(frozen=True)
class Extraction:
    """What became of the videos."""

    written: dict[str, int] = field(default_factory=dict)
    "snippets by video"
    skipped: list[str] = field(default_factory=list)
    "finished by an earlier call"
    problems: dict[str, str] = field(default_factory=dict)
    "by video, why nothing or not all of it could be read"


def extract(
    videos: Sequence[Path],
    out: str | Path,
    vlm: Vlm,
    classes: Sequence[str],
    templates: Sequence[str],
    *,
    grid: Grid = I3D_GRID,
    batch: int = 32,
    workers: int = 1,
    on_video: Callable[[Progress], None] | None = None,
) -> Extraction:
    """What became of ``videos``, whose image embeddings the VLP pack ``out`` then holds beside the classes' text rows.

    ``workers`` videos are decoded at once, ``batch`` frames are encoded together. Each video's file appears whole when
    the video is through, so a killed call loses the videos in hand only, and finished ones are skipped by the next. A
    video that cannot be read is a problem of its own and stops nothing.

    Raises:
        ValueError: ``out`` holds a pack of another model, weights or grid; two videos share a name; a class name or
            template that cannot be used.
        OSError: the pack cannot be written (disk full); what was finished is kept.
    """
    out = Path(out)
    text_ce = text_rows(vlm, classes, templates).cpu().numpy()
    meta = described(vlm, classes, templates, grid, text_ce.shape[1])
    _require_same(out, meta)
    require_distinct(videos)
    result = Extraction(skipped=[video.stem for video in videos if _finished(out, video.stem, text_ce.shape[1])])
    todo = [video for video in videos if video.stem not in set(result.skipped)]
    streamed = _embedded(todo, out, vlm, grid, batch, workers, result, on_video or (lambda progress: None))
    try:  # meta.json first, so that a killed call leaves a pack that says what it is
        write_vlp_pack(out, meta=meta, text_ce=text_ce, features=())
        write_vlp_pack(out, meta=meta, text_ce=text_ce, features=streamed)
    except torch.cuda.OutOfMemoryError as error:
        raise ValueError(f"{batch} frames at once do not fit into the memory of {vlm.device}; choose fewer") from error
    except OSError as error:
        raise OSError(
            f"cannot write {out}: {error.strerror or error}; {len(result.written) + len(result.skipped)} finished "
            "videos are kept: make room and call again"
        ) from error
    finally:
        streamed.close()
    return result


def _embedded(
    videos: Sequence[Path],
    out: Path,
    vlm: Vlm,
    grid: Grid,
    batch: int,
    workers: int,
    result: Extraction,
    on_video: Callable[[Progress], None],
) -> Generator[tuple[str, np.ndarray], None, None]:
    """Name and embeddings of each video as it is through; ``result`` and ``on_video`` are told of all of them."""
    size = {video: video.stat().st_size for video in videos}
    began, through, done = time.monotonic(), 0, 0
    rows: dict[Path, list[Tensor]] = {video: [] for video in videos}
    for video, item in read_ahead(videos, lambda video: _batches(video, vlm, grid, batch), workers):
        if isinstance(item, Tensor):
            rows[video].append(vlm.encode_images(item))
            continue
        what = str(item)
        if isinstance(item, dict):
            embedding_te = torch.cat(rows[video]).cpu().numpy()
            what = item["short"] or f"{len(embedding_te)} snippets"
            yield video.stem, embedding_te
            with replacing(out / "features" / f"{video.stem}.json") as file:
                file.write(json.dumps(item).encode())
            result.written[video.stem] = len(embedding_te)
        failed = isinstance(item, Exception) or bool(item["short"])
        if failed:
            result.problems[video.stem] = what
        del rows[video]
        through, done = through + size[video], done + 1
        left = (time.monotonic() - began) * (sum(size.values()) - through) / max(1, through)
        on_video(Progress(video.stem, what, failed, done, len(videos), left))


def _batches(video: Path, vlm: Vlm, grid: Grid, batch: int) -> Iterator[Tensor | dict[str, Any]]:
    """Preprocessed frames of a video, ``batch`` at a time (b, 3, h, w); then what is to be known of it."""
    info = probe(video)
    count = grid.count(info.duration)
    middle_t = np.minimum(grid.seconds(np.arange(count) + 0.5), info.duration - 0.5 / info.fps)
    images: list[Tensor] = []
    got, last = 0, 0.0
    for frame in frames(video, middle_t):
        images.append(vlm.preprocess(Image.fromarray(frame.image)))
        got, last = got + 1, frame.time
        if len(images) == batch:
            yield torch.stack(images)
            images = []
    if images:
        yield torch.stack(images)
    short = ""
    if count - got > max(SHORT[0], SHORT[1] * count):
        short = f"{video} ends after {last:.1f} of {info.duration:.1f} s: {got} of {count} snippets are written"
    yield {"file": video.name, "bytes": video.stat().st_size, **asdict(info), "rows": got, "short": short}


def described(vlm: Vlm, classes: Sequence[str], templates: Sequence[str], grid: Grid, width: int) -> dict[str, Any]:
    """The ``meta.json`` of a pack: what its embeddings are, at what rate, and all they follow from."""
    return {
        "model": vlm.name,
        "pretrained": vlm.pretrained,
        "weights": "random" if vlm.pretrained == RANDOM else "pretrained",
        "origin": vlm.origin,
        "precision": vlm.precision,
        "fps": grid.fps,
        "stride": grid.stride,
        "embed_dim": width,
        "logit_scale": vlm.logit_scale,
        "sampling": SAMPLING,
        "preprocessing": " ".join(str(vlm.preprocess).split()),
        "classes": list(classes),
        "templates": list(templates),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def require_distinct(videos: Sequence[Path]) -> None:
    """Nothing.

    Raises:
        ValueError: two videos share a name, which is all that a pack knows them by.
    """
    twice = [name for name, times in Counter(video.stem for video in videos).items() if times > 1]
    if twice:
        raise ValueError(f"videos are told apart by their file names, but several are called {', '.join(twice[:3])}")


def _require_same(out: Path, meta: dict[str, Any]) -> None:
    """Nothing, where ``out`` is empty or a pack of the same embeddings; classes and templates may change."""
    path = out / "meta.json"
    if not path.exists():
        if (out / "features").exists():
            raise ValueError(f"{out} holds features but no meta.json that says whose; choose another --out")
        return
    there = read_meta(path)[0]
    for key in IDENTITY:
        if there.get(key) != meta[key]:
            raise ValueError(
                f"{out} is a pack with {key} {there.get(key)!r}, not {meta[key]!r}: embeddings of different origin "
                "cannot stand in one pack; choose another --out"
            )


def _finished(out: Path, name: str, width: int) -> bool:
    """Whether a whole file of embeddings lies in the pack."""
    with suppress(OSError, ValueError), open(out / "features" / f"{name}.npy", "rb") as file:
        return header(file)[0][1:] == (width,)
    return False
