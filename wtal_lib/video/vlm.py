"""Frozen open_clip models: loading and image embeddings. The only importer of open_clip."""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from wtal_lib.settings import require_known
from wtal_lib.video.weights import WeightsError, first_line, plain_weights, require_weights, warn_of_quick_gelu

RANDOM = "random"
"instead of a tag of open_clip: seeded random weights, for tests and for trying things out"
PRECISIONS = {"float32": "fp32", "bfloat16": "bf16"}
"of the weights, and what open_clip calls it"
TORCHVISION_SCHEMAS = [f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms")]
_LIBRARY: list[torch.library.Library] = []  # schemas live as long as their library object


def import_open_clip() -> ModuleType:
    """Import ``open_clip``, with the operators declared that a torchvision built for another torch does not bring."""
    spec = importlib.util.find_spec("torchvision")
    if spec is not None and spec.origin is not None and not _LIBRARY:
        for compiled in Path(spec.origin).parent.glob("_C*"):
            with suppress(OSError):
                torch.ops.load_library(str(compiled))
        for schema in TORCHVISION_SCHEMAS:
            if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
                _LIBRARY.append(torch.library.Library("torchvision", "FRAGMENT"))
                _LIBRARY[-1].define(schema)
    import open_clip

    return open_clip


@dataclass(frozen=True, eq=False)
class Vlm:
    """A frozen image-text model with its own preprocessing and tokenizer."""

    model: Any
    "open_clip's CLIP, CustomTextCLIP or CoCa, in evaluation mode"
    preprocess: Callable[[Any], Tensor]
    "PIL image to (3, h, w) float32"
    tokenizer: Callable[..., Tensor]
    name: str
    pretrained: str
    "tag, name of the checkpoint file, or random"
    precision: str = "float32"
    origin: dict[str, Any] = field(default_factory=dict)
    "what else the weights follow from: the seed of random ones, the hash of a file's"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def logit_scale(self) -> float:
        """Factor on the cosines before the softmax: 100 for most trained models, 14.3 for untrained ones."""
        return float(self.model.logit_scale.detach().float().exp())

    @torch.inference_mode()
    def encode_images(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Unit float32 rows of preprocessed images."""
        rows = self.model.encode_image(images.to(self.device, getattr(torch, self.precision), non_blocking=True))
        return normalize(rows.float(), dim=1)


def wrap(model: Any, name: str, pretrained: str, tokenizer: Callable[..., Tensor] | None = None, **known: Any) -> Vlm:
    """Wrap a ``model`` built by open_clip as a frozen :class:`Vlm`, of which ``known`` are further fields."""
    open_clip = import_open_clip()
    settings = getattr(model.visual, "preprocess_cfg", {"size": getattr(model.visual, "image_size", 224)})
    preprocess = open_clip.transform.image_transform_v2(open_clip.transform.PreprocessCfg(**settings), is_train=False)
    tokenizer = tokenizer or open_clip.SimpleTokenizer(context_length=model.context_length)
    return Vlm(model.eval().requires_grad_(False), preprocess, tokenizer, name, pretrained, **known)


def load(
    model: str,
    pretrained: str,
    device: str | torch.device = "cpu",
    *,
    precision: str = "float32",
    seed: int = 0,
    text_only: bool = False,
) -> Vlm:
    """Load the open_clip ``model`` with the weights ``pretrained``, frozen.

    ``model`` is a name of ``open_clip.list_models()``, ``hf-hub:OWNER/REPO`` or ``local-dir:FOLDER``; ``pretrained``
    one of open_clip's tags for it, a checkpoint file (safetensors, or a plain torch state dict), or ``random``, of
    ``seed``. ``text_only`` drops the image tower; ``precision`` (of the weights) is ``float32`` or ``bfloat16``. Raises
    ValueError for what does not fit, FileNotFoundError for no such file, ConnectionError for weights out of reach.
    """
    require_usable(device, precision)
    open_clip = import_open_clip()
    model = model if ":" in model else model.replace("/", "-")
    if ":" not in model and model not in open_clip.list_models():
        raise ValueError(f"unknown open_clip model {model!r}; {_nearest(model, open_clip.list_models())}")
    tag, wanted = open_clip.get_pretrained_cfg(model, pretrained), pretrained != RANDOM
    from_file = wanted and ":" not in model and not tag
    if from_file:
        _check_file(model, pretrained, open_clip.list_pretrained_tags_by_model(model))
        pretrained = str(Path(pretrained).expanduser())
    options = dict.fromkeys(("load_weights", "pretrained_text", "require_pretrained"), wanted)
    options |= {"force_quick_gelu": bool(tag.get("quick_gelu"))}
    held = plain_weights(Path(pretrained)) if from_file else nullcontext(pretrained)
    try:
        with _hub(), torch.random.fork_rng(devices=[]), held as plain:
            torch.manual_seed(seed)
            weights = str(plain) if wanted and ":" not in model else None
            built = open_clip.create_model(model, weights, precision=PRECISIONS[precision], device=device, **options)
            tokenizer = open_clip.get_tokenizer(model)
    except (RuntimeError, OSError, ImportError) as error:
        if from_file:
            raise WeightsError(f"{pretrained} does not hold weights of {model}: {_reason(error)}") from error
        raise ConnectionError(_no_weights(model, pretrained, tag, error)) from error
    origin: dict[str, Any] = {} if wanted else {"seed": seed}
    if from_file:
        warn_of_quick_gelu(Path(pretrained), built, model)
        with open(pretrained, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
            pretrained, origin = Path(pretrained).name, {"sha256": hashlib.sha256(content).hexdigest()}
    vlm = wrap(built, model, pretrained, tokenizer, precision=precision, origin=origin)
    if text_only:
        built.visual = None
    return vlm


def require_usable(device: str | torch.device, precision: str) -> None:
    """Raise ValueError for a device that is not here, or a precision that is none of :data:`PRECISIONS`."""
    require_known(precision, PRECISIONS, "precision")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {str(device)!r} cannot be used here: {first_line(error)}; try cpu") from error


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=4, cutoff=0.4) or list(known)[:4]
    return f"nearest: {', '.join(near)}" if near else "open_clip has none for this model"


def _check_file(model: str, weights: str, tags: Sequence[str]) -> None:
    """Raise where ``weights``, which is no tag, is no checkpoint file that can be read without running its code."""
    path = Path(weights).expanduser()
    if not path.is_file():
        if path.suffix in (".safetensors", ".pt", ".pth", ".bin") or len(path.parts) > 1:
            raise FileNotFoundError(f"no checkpoint file {weights}")
        what = f"unknown weights {weights!r} for {model}: neither a file nor a tag"
        raise ValueError(f"{what}; {_nearest(weights, tags)}")
    require_weights(path)


@contextmanager
def _hub() -> Iterator[None]:
    """Load quietly; without a route to the model hub, from its cache at once instead of after a minute of retries."""
    from huggingface_hub import constants

    offline, handlers = constants.HF_HUB_OFFLINE, list(logging.root.handlers)
    proxied = any(os.environ.get(key) for key in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"))
    logging.disable(logging.CRITICAL)
    try:
        if not proxied:
            socket.getaddrinfo(urlsplit(constants.ENDPOINT).hostname, 443)
    except OSError:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline
        logging.disable(logging.NOTSET)
        logging.root.handlers[:] = handlers


def _no_weights(model: str, pretrained: str, tag: dict[str, Any], error: Exception) -> str:
    hub, url = str(tag.get("hf_hub", "")), str(tag.get("url", ""))
    source = f"https://huggingface.co/{hub.rstrip('/')}" if hub else url or model
    name = f"{model}-quickgelu" if tag.get("quick_gelu") and "quickgelu" not in model else model
    return (
        f"cannot fetch what {model} with {pretrained!r} needs from {source} ({first_line(error)}). On a machine with "
        f"a network run: python -c \"import open_clip; open_clip.create_model('{model}', '{pretrained}')\" and copy "
        "its ~/.cache/huggingface here; or download open_clip_model.safetensors from that page and name the file: "
        f"--model {name} --pretrained FOLDER/open_clip_model.safetensors"
    )


def _reason(error: Exception) -> str:
    """The first telling line of PyTorch's complaint about a state dict: the first tensor that does not fit."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith("Error(s) in loading")), type(error).__name__)[:200]
