"""A very small open_clip model with random weights, as files that ``local-dir:`` and checkpoints can name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from wtal_lib.video import vlm

VISION = {"layers": 2, "width": 64, "head_width": 32, "patch_size": 16, "image_size": 32}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 4, "layers": 3}


def model(kind: str = "CLIP", seed: int = 0, **text: Any) -> Any:
    """An untrained open_clip model of the class ``kind`` with settings of its text tower replaced."""
    torch.manual_seed(seed)
    return getattr(vlm.import_open_clip().model, kind)(32, VISION, {**TEXT, **text})


def loaded(kind: str = "CLIP", seed: int = 0, **text: Any) -> vlm.Vlm:
    """The same, wrapped."""
    return vlm.wrap(model(kind, seed, **text), "tiny", vlm.RANDOM)


def folder(path: Path) -> str:
    """``local-dir:`` name of a folder that holds the tiny model's configuration (and no weights)."""
    path.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": TEXT}}
    (path / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{path}"
