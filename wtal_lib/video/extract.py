"""Videos to CBP and VLP packs, as `wtal extract` does it: on this machine, or shared out over a Dask cluster."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from wtal_lib.compute import precision as native_precision
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_meta, write_vlp_pack
from wtal_lib.parallel import Failure, mapped
from wtal_lib.video import clips, i3d
from wtal_lib.video.backbone import Backbone, Extraction, Target, fill_packs, pack_meta, require_distinct
from wtal_lib.video.frames import videos_in
from wtal_lib.video.text import TEMPLATES, read_classes, text_rows
from wtal_lib.video.vlm import RANDOM, Vlm, load

KINDS = ("cbp", "vlp", "both")
"of packs to extract"

SHARE = 16
"videos that a worker of a cluster is given at once: enough to forget what loading a model costs"


def extract_to_pack(
    videos: Sequence[str | Path],
    out: str | Path,
    *,
    kind: str = "vlp",
    model: str = "ViT-B-16",
    pretrained: str = "openai",
    rgb: str = i3d.KINETICS,
    flow: str = "",
    short_side: int = clips.SHORT_SIDE,
    crop: int = clips.CROP,
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
    """Extract the pack ``out`` from ``videos`` (files and folders), as ``wtal extract`` does.

    ``kind`` is ``vlp`` (by the open_clip ``model``), ``cbp`` (by I3D with weights ``rgb`` and, if given, ``flow``) or
    ``both``, side by side in ``out``, a dataset's folder: ``cbp/i3d-rgb``, ``vlp/MODEL-PRETRAINED``. ``classes`` is a
    file of class names instead of those of ``dataset``; ``say`` gets a line after each video. With a ``scheduler``, as
    of :func:`wtal_lib.parallel.completed`, the workers of its Dask cluster share the videos, :data:`SHARE` at a time,
    under the same paths. Raises ValueError or OSError as the loaders of the models and :func:`fill_packs`, for
    arguments that make no sense, and for a scheduler that does not answer.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of pack {kind!r}; choose one of {', '.join(KINDS)}")
    known = get_dataset(dataset)
    names, templates = (known.classes, known.templates) if classes is None else (read_classes(classes), TEMPLATES)
    if min(batch, workers) < 1:
        raise ValueError(f"batch and workers must be at least 1, got {batch} and {workers}")
    first, _, of = part.partition("/")
    if not (first.isdigit() and of.isdigit() and 1 <= int(first) <= int(of)):
        raise ValueError(f"part must be i/n with i from 1 to n, such as 3/16, got {part!r}")
    chosen = videos_in(videos)[int(first) - 1 :: int(of)]
    require_distinct(chosen)
    model_of = {"model": model, "pretrained": _absolute(pretrained)}
    i3d_of = {"rgb": _absolute(rgb), "flow": _absolute(flow), "short_side": short_side, "crop": crop}
    folder, tag = Path(out).absolute(), Path(pretrained).stem if Path(pretrained).exists() else pretrained
    both = {"cbp": "cbp/i3d-rgb" + "-flow" * bool(flow), "vlp": f"vlp/{re.sub('[/:]', '-', f'{model}-{tag}')}"}
    outs = {one: folder / place for one, place in both.items()} if kind == "both" else {kind: folder}
    form = {"outs": outs, "vlp": model_of, "cbp": i3d_of, "classes": names, "templates": templates}
    form |= {"device": device, "precision": precision, "seed": seed}
    options = {"grid": Grid(fps, stride), "batch": batch, "workers": workers}
    work: Callable[..., Extraction] = functools.partial(_extract_here, form, options)
    result = _on_cluster(work, chosen, scheduler, say) if scheduler else work(chosen, say=say)
    random = {"vlp": pretrained == RANDOM, "cbp": i3d.RANDOM in (rgb, flow)}
    say(
        f"{sum(result.written.values())} snippets of {len(result.written)} videos written to {out}, "
        f"{len(result.skipped)} were there, {len(result.problems)} with problems"
        + (" (random weights: the features mean nothing)" if any(random[one] for one in outs) else "")
    )
    return result


def _absolute(weights: str) -> str:
    """The same for workers of a cluster, whose working directory is another."""
    return str(Path(weights).absolute()) if weights and Path(weights).exists() else weights


def _extract_here(form: dict[str, Any], options: dict[str, Any], videos: Sequence[Path], **more: Any) -> Extraction:
    """Extract one share, on this machine's device and in the precision of the pack unless ``form`` names others."""
    device = form["device"]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    targets = []
    for kind, out in form["outs"].items():
        known = pack_meta(out).get("precision") or native_precision("auto", device.partition(":")[0])
        precision = known if form["precision"] == "auto" else form["precision"]
        about = {"device": device, "precision": precision, "seed": form["seed"], **form[kind]}
        files = [Path(name) for name in map(str, form[kind].values()) if Path(name).is_file()]
        changed = tuple(file.stat().st_mtime_ns for file in files)
        if kind == "vlp":
            targets.append(vlp_target(out, _vlm(changed, **about), form["classes"], form["templates"]))
        else:
            targets.append(Target(out, _i3d(changed, grid=options["grid"], **about), write_meta))
    return fill_packs(videos, targets, **options, **more)


@functools.lru_cache(maxsize=1)
def _vlm(changed: tuple[int, ...], **form: Any) -> Vlm:
    """The model, cached for all shares of a worker until its checkpoint file changes."""
    return load(**form)


@functools.lru_cache(maxsize=1)
def _i3d(changed: tuple[int, ...], **form: Any) -> Backbone:
    return clips.load_backbone(**form)


def _on_cluster(
    work: Callable[..., Extraction], videos: Sequence[Path], scheduler: str, say: Callable[[str], None]
) -> Extraction:
    """All shares together; a share that fails is a problem of each of its videos."""
    shares = [[video.absolute() for video in videos[i : i + SHARE]] for i in range(0, len(videos), SHARE)]
    result = Extraction()
    found = mapped(work, shares, scheduler=scheduler, progress=lambda one: say(f"shares of {SHARE} videos: {one}"))
    for share, one in zip(shares, found, strict=True):
        if isinstance(one, Failure):
            one = Extraction(problems={video.stem: one.error for video in share})
        result.written.update(one.written)
        result.skipped.extend(one.skipped)
        result.problems.update(one.problems)
    return result


def extract(
    videos: Sequence[Path], out: str | Path, vlm: Vlm, classes: Sequence[str], templates: Sequence[str], **options: Any
) -> Extraction:
    """Embeddings of snippets' middle frames into the pack ``out``; ``options``, result, errors: :func:`fill_packs`."""
    return fill_packs(videos, [vlp_target(Path(out), vlm, classes, templates)], **options)


def extract_i3d(videos: Sequence[Path], out: str | Path, backbone: Backbone, **options: Any) -> Extraction:
    """Rows of I3D into the CBP pack ``out``; ``options``, result, errors as :func:`fill_packs`."""
    return fill_packs(videos, [Target(Path(out), backbone, write_meta)], **options)


def vlp_target(out: Path, vlm: Vlm, classes: Sequence[str], templates: Sequence[str]) -> Target:
    """A VLP pack to be filled by ``vlm``."""
    text_ce = text_rows(vlm, classes, templates).cpu().numpy()
    backbone = image_backbone(vlm, text_ce.shape[1], classes=list(classes), templates=list(templates))
    return Target(out, backbone, functools.partial(write_vlp_pack, text_ce=text_ce, features=()))


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
    } | more
    return Backbone(vlm.name, width, lambda images: vlm.preprocess(Image.fromarray(images[0])), vlm.encode_images, meta)
