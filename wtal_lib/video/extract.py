"""Videos to a VLP pack, as `wtal extract` does it: on this machine, or shared out over a Dask cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_vlp_pack
from wtal_lib.method.pooling import precision as native_precision
from wtal_lib.parallel import Failure, completed
from wtal_lib.video.backbone import Backbone, Extraction, fill_pack, pack_meta, require_distinct
from wtal_lib.video.frames import videos_in
from wtal_lib.video.text import TEMPLATES, read_classes, text_rows
from wtal_lib.video.vlm import RANDOM, Vlm, load

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
    """Extract the VLP pack ``out`` from ``videos`` (files and folders), as ``wtal extract`` does.

    ``classes`` is a file of class names instead of those of ``dataset``; ``say`` gets a line after each video. With a
    ``scheduler``, as of :func:`wtal_lib.parallel.completed`, the workers of its Dask cluster share the videos,
    :data:`SHARE` at a time; they need to see videos, weights and pack under the same paths.

    Raises:
        ValueError, OSError: as :func:`wtal_lib.video.vlm.load` and :func:`extract`, for arguments that make no sense,
            and for a scheduler that does not answer.
    """
    known = get_dataset(dataset)
    names, templates = (known.classes, known.templates) if classes is None else (read_classes(classes), TEMPLATES)
    if min(batch, workers) < 1:
        raise ValueError(f"batch and workers must be at least 1, got {batch} and {workers}")
    first, _, of = part.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise ValueError(f"part must be i/n with i from 1 to n, such as 3/16, got {part!r}")
    chosen = videos_in(videos)[int(first) - 1 :: int(of)]
    require_distinct(chosen)
    weights = str(Path(pretrained).absolute()) if Path(pretrained).exists() else pretrained
    work = functools.partial(
        _extract_here, out=Path(out).absolute(), names=names, templates=templates, model=model, pretrained=weights,
        device=device, precision=precision, seed=seed, grid=Grid(fps, stride), batch=batch, workers=workers,
    )  # fmt: skip
    result = _on_cluster(work, chosen, scheduler, say) if scheduler else work(chosen, say=say)
    say(
        f"{sum(result.written.values())} snippets of {len(result.written)} videos written to {out}, "
        f"{len(result.skipped)} were there, {len(result.problems)} with problems"
        + (" (random weights: the embeddings mean nothing)" if pretrained == RANDOM else "")
    )
    return result


def _extract_here(
    videos: Sequence[Path],
    *,
    out: Path,
    names: Sequence[str],
    templates: Sequence[str],
    model: str,
    pretrained: str,
    device: str,
    precision: str,
    seed: int,
    **options: Any,
) -> Extraction:
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    kept = pack_meta(out).get("precision")
    precision = kept if kept and precision == "auto" else native_precision(precision, device.partition(":")[0])
    changed = Path(pretrained).stat().st_mtime_ns if Path(pretrained).exists() else 0
    vlm = _loaded(model, pretrained, device, precision, seed, changed)
    return extract(videos, out, vlm, names, templates, **options)


@functools.lru_cache(maxsize=1)
def _loaded(model: str, pretrained: str, device: str, precision: str, seed: int, changed: int) -> Vlm:
    """The model, loaded once for all shares of a worker; ``changed`` is when its checkpoint file last did."""
    return load(model, pretrained, device=device, precision=precision, seed=seed)


def _on_cluster(
    work: Callable[..., Extraction], videos: Sequence[Path], scheduler: str, say: Callable[[str], None]
) -> Extraction:
    """All shares together; a share that fails is a problem of each of its videos."""
    shares = [[video.absolute() for video in videos[i : i + SHARE]] for i in range(0, len(videos), SHARE)]
    result = Extraction()
    done = completed(work, shares, scheduler=scheduler, progress=lambda one: say(f"shares of {SHARE} videos: {one}"))
    with closing(done):
        for i, found in done:
            if isinstance(found, Failure):
                result.problems.update({video.stem: found.error for video in shares[i]})
                continue
            result.written.update(found.written)
            result.skipped.extend(found.skipped)
            result.problems.update(found.problems)
    return result


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
    say: Callable[[str], None] = lambda line: None,
) -> Extraction:
    """Extract image embeddings of ``videos`` into the VLP pack ``out``, beside the text rows of ``classes``.

    A snippet is represented by the frame shown at its middle. All else as of :func:`fill_pack`.

    Raises:
        ValueError: a class name or template that cannot be used.
    """
    text_ce = text_rows(vlm, classes, templates).cpu().numpy()
    backbone = image_backbone(vlm, text_ce.shape[1], classes=list(classes), templates=list(templates))
    write = functools.partial(write_vlp_pack, text_ce=text_ce)
    return fill_pack(videos, Path(out), backbone, write, grid=grid, batch=batch, workers=workers, say=say)


def image_backbone(vlm: Vlm, width: int, **more: Any) -> Backbone:
    """The image half of ``vlm`` as a backbone of one frame a snippet; ``more`` goes into the pack's ``meta.json``."""
    meta = {
        "pretrained": vlm.pretrained,
        "weights": "random" if vlm.pretrained == RANDOM else "pretrained",
        "origin": vlm.origin,
        "precision": vlm.precision,
        "logit_scale": vlm.logit_scale,
        "sampling": "the frame shown at the middle of each snippet",
        "preprocessing": " ".join(str(vlm.preprocess).split()),
    }

    def preprocess(images: list[np.ndarray]) -> Tensor:
        return vlm.preprocess(Image.fromarray(images[0]))

    return Backbone(vlm.name, width, preprocess, vlm.encode_images, {**meta, **more})
