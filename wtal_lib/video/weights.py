"""Checkpoint files as they come: told apart from what is none, unwrapped, and checked before a model is built."""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from wtal_lib.data.files import instead

WRAPPERS = ("state_dict", "model_state_dict", "model")
"keys under which training code keeps the weights, beside the state of an optimizer"
PREFIXES = ("module.", "model.")
"what wrappers put before every name"


class WeightsError(ValueError):
    """A file does not hold usable weights."""

    status = 1
    "with which the command line ends"


def require_weights(path: Path) -> None:
    """Raise WeightsError for a pointer, a web page, a file cut off, and one that cannot be read without its code."""
    size, again = path.stat().st_size, "download the file itself again"
    if found := instead(path):
        raise WeightsError(f"{path}: expected weights, but {found}; {again}")
    if path.suffix == ".safetensors":
        try:
            with open(path, "rb") as file:
                length = int.from_bytes(file.read(8), "little")
                entries = json.loads(file.read(length)) if length < size else {}
            ends = [one["data_offsets"][1] for name, one in entries.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise WeightsError(f"{path} is no safetensors file; {again}") from None
        if length >= size or max(ends, default=0) + 8 + length > size:
            raise WeightsError(f"{path} is cut off: its header claims more than the {size:,} bytes there are; {again}")
        return
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:
        raise WeightsError(
            f"{path} is not a plain state dict and is not opened (it might run code, or be cut off): "
            f"{first_line(error)}; convert it to safetensors where you trust it, or use open_clip's own tag"
        ) from error


def first_line(error: Exception) -> str:
    """What an error of another library says first, or its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def plain_weights(path: Path) -> Iterator[Path]:
    """The checkpoint ``path`` itself, or a temporary safetensors file of it where its weights are wrapped or prefixed.

    Raises WeightsError: it holds no tensors, or one that is not finite.
    """
    held: Any = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    state = unwrapped(held)
    if not state:
        raise WeightsError(f"{path} holds no weights, only {', '.join(map(str, list(held)[:5])) or 'nothing'}")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{path}: {name} holds NaN or infinity; take another checkpoint")
    if state.keys() == getattr(held, "keys", dict)():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.safetensors"
        save_file({key: tensor.contiguous().clone() for key, tensor in state.items()}, plain)
        yield plain


def unwrapped(held: Any) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name, without wrappers and prefixes; empty where it has none."""
    if not isinstance(held, Mapping):
        return {}
    inner = next((held[key] for key in WRAPPERS if isinstance(held.get(key), Mapping)), None)
    if inner is not None:
        return unwrapped(inner)
    state = {str(key): value for key, value in held.items() if isinstance(value, Tensor)}
    while state and (prefix := next((one for one in PREFIXES if all(key.startswith(one) for key in state)), "")):
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def warn_of_quick_gelu(path: Path, model: Any, name: str) -> None:
    """Warn where weights were trained with QuickGELU, as file name or configuration say, and the model has none."""
    beside = path.with_name("open_clip_config.json")
    told = any(word in str(path).lower() for word in ("quickgelu", "openai"))
    if beside.is_file():
        told = bool(json.loads(beside.read_bytes()).get("model_cfg", {}).get("quick_gelu", told))
    if told and not any(type(part).__name__ == "QuickGELU" for part in model.modules()):
        warnings.warn(f"{path.name} was trained with QuickGELU, {name} has none: take {name}-quickgelu", stacklevel=3)
