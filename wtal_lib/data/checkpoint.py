"""Checkpoints: one safetensors file, its JSON in the header, its content under a checksum, whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from wtal_lib.data.files import replacing


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        total.update(name.encode())
        total.update(tensors[name].numpy().tobytes())
    return total.hexdigest()


def write(path: Path, groups: Mapping[str, Mapping[str, Tensor]], content: Mapping[str, Any]) -> None:
    """Write groups of tensors and JSON content to ``path``, whole or not at all; an OSError leaves it as it was."""
    text = json.dumps(content, sort_keys=True)
    named = {f"{group}/{name}": tensor for group, tensors in groups.items() for name, tensor in tensors.items()}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}
    blob = save(plain, metadata={"content": text, "sha256": _checksum(plain, text)})
    with replacing(path) as file:
        file.write(blob)


def read(path: Path) -> tuple[Mapping[str, dict[str, Tensor]], dict[str, Any]]:
    """The groups of tensors and the JSON content of a checkpoint; an absent group is empty. Runs no code from the file.

    Raises:
        ValueError: the file is damaged or no checkpoint of ours.
        FileNotFoundError: there is none.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); delete it, the run starts anew") from None
    if "content" not in header or header.get("sha256") != _checksum(tensors, header["content"]):
        raise ValueError(f"{path} is damaged: its content does not match its checksum; delete it, the run starts anew")
    groups: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in tensors.items():
        group, _, key = name.partition("/")
        groups[group][key] = tensor
    return groups, json.loads(header["content"])
