"""Tensors and weights in files of strangers, as arrays: nothing that such a file names is imported or called."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.files import readable
from wtal_lib.data.unpickle import bounded, unpickle_value

MAGIC = 0x1950A86A20F9469CFC6C
"the first pickle of what `torch.save` wrote before it wrote zip files"


def read_saved(path: Path) -> Any:
    """What `torch.save` wrote, its tensors as arrays; ValueError unless these and plain containers are all it holds."""
    import torch  # here: few packs are tensors, and it takes longer to import than all else

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(one.compress_type != zipfile.ZIP_STORED for one in archive.infolist()):
                raise ValueError("its parts are compressed, which PyTorch never does")

    def arrays(held: Any) -> Any:
        if isinstance(held, dict):
            return {name: arrays(one) for name, one in held.items()}
        if isinstance(held, torch.Tensor):
            return (held.float() if held.dtype == torch.bfloat16 else held).detach().numpy()
        return [arrays(one) for one in held] if isinstance(held, list) else held

    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AssertionError, struct.error) as error:
        raise ValueError("it is no file of tensors and plain containers alone, or is cut off") from error
    return arrays(bounded(held, path.stat().st_size))


def read_tensors(path: Path, remedy: str) -> dict[str, np.ndarray]:
    """Arrays by name of a state dict of PyTorch, or of a pickled dictionary of arrays; UnreadableError otherwise.

    Those of dictionaries in dictionaries are called ``outer/inner``.
    """
    with readable(path, "a state dict of PyTorch, or a pickled dictionary of numpy arrays", remedy):
        held: Any = MAGIC
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                held = unpickle_value(file)
        found = dict(_flat(read_saved(path) if isinstance(held, int) and held == MAGIC else held))
        if not found:
            raise ValueError("it holds no arrays")
        return found


def _flat(table: Any, above: str = "") -> list[tuple[str, np.ndarray]]:
    """Arrays of nested dictionaries by their names; anything else is ValueError."""
    if isinstance(table, np.ndarray):
        return [(above, table)]
    if not isinstance(table, dict):
        raise ValueError(f"it holds {type(table).__name__} {above or 'and no dictionary'}")
    return [one for name, inner in table.items() for one in _flat(inner, f"{above}/{name}" if above else str(name))]
