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
    length_b = torch.tensor([len(row) for row in rows])
    batch = torch.zeros(len(rows), int(length_b.max()), rows[0].shape[1])
    for i, row in enumerate(rows):  # a copy of its own: PyTorch warns of arrays that cannot be written
        batch[i, : len(row)] = torch.from_numpy(np.array(row))
    return batch, torch.arange(batch.shape[1]) < length_b[:, None]


@torch.inference_mode()
def whole_videos(
    names: Sequence[str],
    lengths: Mapping[str, int],
    load: Callable[[str], Sequence[np.ndarray]],
    forward: Callable[..., Mapping[str, Tensor]],
) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """What ``forward(x, …, mask)`` says of each video, cut to its length: name, then arrays (t, …) or (…) by key.

    ``load`` gives a video's features of each modality that is asked for, (t, d) on one grid. Values have a time axis,
    and come back with the video's own number of rows, unless their key begins with ``video``. Memory is bounded by one
    batch.
    """
    for group in similar({name: lengths[name] for name in names}):
        batches = [padded(rows) for rows in zip(*(load(name) for name in group), strict=True)]
        said = {key: value.float().cpu() for key, value in forward(*(x for x, _ in batches), batches[0][1]).items()}
        for i, name in enumerate(group):
            cut = {
                key: value[i] if key.startswith("video") else value[i, : lengths[name]] for key, value in said.items()
            }
            yield name, {key: value.numpy() for key, value in cut.items()}
