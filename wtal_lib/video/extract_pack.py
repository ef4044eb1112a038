"""What `wtal extract` does: files, a model and classes by name to a pack, here or shared out over a Dask cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import read_meta
from wtal_lib.method.precision import precision as native_precision
from wtal_lib.method.text import TEMPLATES, read_classes
from wtal_lib.parallel import Failure, completed, duration
from wtal_lib.parallel import Progress as Shares
from wtal_lib.video.extract import Extraction, Progress, extract, require_distinct
from wtal_lib.video.frames import videos_in
from wtal_lib.video.vlm import RANDOM, load

SHARE = 16
"videos that a worker of a cluster is given at once: enough to forget what loading a model costs"


def extract_to_pack(
    videos: Sequence[str | Path],
    out: str | Path,
    *,
    model: str = "ViT-B-16",
    pretrained: str = "openai",
    dataset: str = "thumos14",
    classes: str | Path | None = None,
    batch: int = 32,
    device: str = "auto",
    precision: str = "auto",
    workers: int = 1,
    fps: float = I3D_GRID.fps,
    stride: float = I3D_GRID.stride,
    part: str = "1/1",
    seed: int = 0,
    scheduler: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> Extraction:
    """What became of the videos of ``videos`` (files and folders), as ``wtal extract`` does it.

    ``classes`` is a file of class names instead of those of ``dataset``; ``say`` gets a line after each video. With a
    ``scheduler``, as of :func:`wtal_lib.parallel.completed`, the workers of its Dask cluster share the videos,
    :data:`SHARE` at a time; they need to see videos, weights and pack under the same paths.

    Raises:
        ValueError, OSError: as :func:`wtal_lib.video.vlm.load` and :func:`wtal_lib.video.extract.extract`, for arguments that make
            no sense, and for a scheduler that does not answer.
    """
    known = get_dataset(dataset)
    names = known.classes if classes is None else read_classes(classes)
    if min(batch, workers) < 1:
        raise ValueError(f"batch and workers must be at least 1, got {batch} and {workers}")
    chosen = _part(videos_in(videos), part)
    require_distinct(chosen)
    grid = Grid(fps, stride)
    if scheduler:
        options = {"model": model, "pretrained": _absolute(pretrained), "dataset": dataset, "batch": batch, "fps": fps}
        options |= {"device": device, "precision": precision, "workers": workers, "stride": stride, "seed": seed}
        options["classes"] = None if classes is None else _absolute(classes)
        result = _on_cluster([_absolute(video) for video in chosen], _absolute(out), options, scheduler, say)
    else:
        device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
        there = Path(out) / "meta.json"
        kept = read_meta(there)[0].get("precision") if there.exists() else None
        precision = kept if kept and precision == "auto" else native_precision(precision, device.partition(":")[0])
        weights = Path(pretrained)
        vlm = _loaded(model, pretrained, device, precision, seed, weights.stat().st_mtime_ns if weights.exists() else 0)
        templates = TEMPLATES["open"] if classes is not None else known.templates
        result = extract(
            chosen, out, vlm, names, templates,
            grid=grid, batch=batch, workers=workers, on_video=lambda one: say(_line(one)),
        )  # fmt: skip
    say(
        f"{sum(result.written.values())} snippets of {len(result.written)} videos written to {out}, "
        f"{len(result.skipped)} were there, {len(result.problems)} with problems"
        + (" (random weights: the embeddings mean nothing)" if pretrained == RANDOM else "")
    )
    return result


def _part(videos: list[Path], part: str) -> list[Path]:
    """Every n-th video from the i-th, for ``i/n`` counted from 1."""
    first, _, of = part.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise ValueError(f"part must be i/n with i from 1 to n, such as 3/16, got {part!r}")
    return videos[int(first) - 1 :: int(of)]


@functools.lru_cache(maxsize=1)
def _loaded(model: str, pretrained: str, device: str, precision: str, seed: int, changed: int) -> Any:
    """The model, which the shares of a worker have in common; ``changed`` is when its checkpoint file last did."""
    return load(model, pretrained, device=device, precision=precision, seed=seed)


def _line(one: Progress) -> str:
    left = f", {duration(one.left)} left" if one.left else ""
    return f"[{one.done}/{one.total}] {one.name}: {one.what}{left}"


def _absolute(path: str | Path) -> str:
    """A path that means the same to a worker started elsewhere; what is no file, such as a tag, as it is."""
    return str(Path(path).resolve()) if Path(path).exists() or isinstance(path, Path) else str(path)


def _on_cluster(
    videos: list[str], out: str, options: dict[str, Any], scheduler: str, say: Callable[[str], None]
) -> Extraction:
    """What became of ``videos`` in all shares together; a share that fails is a problem of each of its videos."""
    shares = [{**options, "videos": videos[i : i + SHARE], "out": out} for i in range(0, len(videos), SHARE)]
    result = Extraction()

    def tell(one: Shares) -> None:
        say(f"shares of {SHARE} videos: {one}")

    with closing(completed(_shared, shares, scheduler=scheduler, progress=tell)) as arriving:
        for i, found in arriving:
            if isinstance(found, Failure):
                result.problems.update({Path(video).stem: found.error for video in shares[i]["videos"]})
                continue
            result.written.update(found.written)
            result.skipped.extend(found.skipped)
            result.problems.update(found.problems)
    return result


def _shared(options: dict[str, Any]) -> Extraction:
    return extract_to_pack(**options)
