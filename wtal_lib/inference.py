"""A branch over whole videos: padded batches of similar length, in evaluation mode, at full resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

BATCH_ROWS = 8192
"rows of one padded batch: large enough to keep the matrix products busy, small enough for 2,048-d features (64 MiB)"


def similar(lengths: Mapping[str, int], rows: int = BATCH_ROWS) -> Iterator[list[str]]:
    """Groups of names of similar length, each of at most ``rows`` padded rows (or one longer video)."""
    group: list[str] = []
    for name in sorted(lengths, key=lambda name: (lengths[name], name)):
        if group and (len(group) + 1) * lengths[name] > rows:
            yield group
            group = []
        group.append(name)
    if group:
        yield group


def padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Arrays (t_i, d) as one float32 batch (b, t, d) with zeros behind, and the mask (b, t) of real rows."""
    length = max(len(row) for row in rows)
    batch = torch.zeros(len(rows), length, rows[0].shape[1])
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        batch[i, : len(row)] = torch.from_numpy(np.asarray(row, dtype=np.float32))
        mask[i, : len(row)] = True
    return batch, mask


@torch.inference_mode()
def whole_videos(
    names: Sequence[str],
    lengths: Mapping[str, int],
    load: Callable[[str], tuple[np.ndarray, np.ndarray]],
    forward: Callable[[Tensor, Tensor, Tensor], Mapping[str, Tensor]],
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What ``forward(x, z, mask)`` says of each video, cut to its length: name, then arrays (t, …) or (…) by key.

    ``load`` gives a video's CBP features (t, d) and VLP features (t, e) on one grid. Values have a time axis, and come
    back with the video's own number of rows, unless their key begins with ``video``. Memory is bounded by one batch.
    """
    for group in similar({name: lengths[name] for name in names}):
        x_rows, z_rows = zip(*(load(name) for name in group), strict=True)
        (x, mask), (z, _) = padded(x_rows), padded(z_rows)
        said = forward(x, z, mask)
        for i, name in enumerate(group):
            cut = {
                key: value[i] if key.startswith("video") else value[i, : lengths[name]] for key, value in said.items()
            }
            yield name, {key: value.float().cpu().numpy() for key, value in cut.items()}
