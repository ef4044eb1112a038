"""Our own formats: VLP packs of a vision-language model, CBP packs of an action classifier.

``meta.json`` names model, rate and classes, ``text.npy`` holds a row (classes, width) for each class name,
``features/VIDEO.npy`` (snippets, width) float16; all rows of a VLP pack have unit length. A CBP pack has neither
classes nor text rows; its ``columns`` say which belong to RGB and which to flow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wtal_lib.data.files import read_array, read_json, readable, replacing
from wtal_lib.data.segments import Grid

META = ("model", "pretrained", "fps", "stride", "embed_dim", "logit_scale", "classes", "templates")
"what meta.json of a VLP pack must hold"
CBP_META = ("model", "pretrained", "fps", "stride", "embed_dim", "columns")
"of a CBP pack, whose ``kind`` is cbp"
REMEDY = "write the pack again"


def write_vlp_pack(
    folder: str | Path,
    *,
    meta: dict[str, Any],
    text_ce: Float[np.ndarray, "c e"],
    features: Iterable[tuple[str, np.ndarray]],
) -> None:
    """Write a pack into ``folder``, each file whole, ``meta.json`` last; ValueError for parts that do not fit."""
    folder, shape = Path(folder), (len(meta.get("classes", ())), meta.get("embed_dim"))
    if missing := ", ".join(name for name in META if name not in meta):
        raise ValueError(f"expected meta data with {', '.join(META)}, but {missing} are missing; add them")
    if text_ce.shape != shape:
        raise ValueError(
            f"expected text rows {shape} as classes and embed_dim say, got {text_ce.shape}; make them agree"
        )
    for name, rows in features:
        if rows.shape[1:] != shape[1:] or Path(name).name != name:
            raise ValueError(f"expected rows of width {shape[1]} under a plain name, got {rows.shape} for {name!r}")
        write_rows(folder, name, rows)
    with replacing(folder / "text.npy") as file:
        np.save(file, text_ce.astype(np.float32))
    write_meta(folder, meta)


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Write the ``meta.json`` of a pack: all that a CBP pack has beside its features."""
    with replacing(folder / "meta.json") as file:
        file.write(json.dumps(meta, indent=1).encode())


def write_rows(folder: Path, name: str, rows: np.ndarray) -> None:
    """Write the features of a video into a pack, float16."""
    with replacing(folder / "features" / f"{name}.npy") as file:
        np.save(file, rows.astype(np.float16))


def read_meta(path: Path) -> tuple[dict[str, Any], Grid]:
    """A pack's ``meta.json`` and its snippet grid; UnreadableError where something is missing or odd."""
    meta = read_json(path, f"the json of a feature pack, with {', '.join(META)}", REMEDY)
    kind, needed = ("CBP", CBP_META) if isinstance(meta, dict) and meta.get("kind") == "cbp" else ("VLP", META)
    with readable(path, f"the json of a {kind} pack, with {', '.join(needed)}", REMEDY):
        if missing := ", ".join(name for name in needed if name not in meta):
            raise ValueError(f"{missing} are missing")
        grid = Grid(float(meta["fps"]), float(meta["stride"]))
        return {**meta, "embed_dim": int(meta["embed_dim"]), "classes": list(map(str, meta.get("classes", ())))}, grid


def read_text_rows(folder: Path, meta: dict[str, Any], classes: Sequence[str], width: int) -> Float[np.ndarray, "c e"]:
    """Text rows (float32) of ``classes``, in order, ``width`` columns; UnreadableError where these do not fit."""
    path, shape = folder / "text.npy", (len(meta["classes"]), width)
    expected = f"finite text rows {shape}, as wide as the features, one for each class"
    text = read_array(path, expected, REMEDY, "f").astype(np.float32)
    with readable(path, expected, REMEDY):
        if text.shape != shape or not np.isfinite(text).all():
            raise ValueError(f"got {text.shape}")
        index = {label: i for i, label in enumerate(meta["classes"])}
        if missing := [label for label in classes if label not in index]:
            raise ValueError(f"{', '.join(missing[:3])} lack one")
        return text[[index[label] for label in classes]]
