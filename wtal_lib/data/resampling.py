"""Features of one snippet grid on another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from wtal_lib.data.segments import Grid


def resampled(
    features_td: Float[np.ndarray, "t d"], source: Grid, target: Grid, snippets: int
) -> Float[np.ndarray, "s d"]:
    """``snippets`` rows on ``target``, float32: the mean of the ``source`` rows each overlaps, weighted by the overlap.

    Where the target is finer, the row at the snippet's middle; beyond the last row, that row again. Means of unit rows
    are shorter than unit.

    Raises:
        ValueError: No rows.
    """
    if not len(features_td):
        raise ValueError("expected at least one row to resample, got none; leave empty videos out")
    if source == target:
        return features_td[np.arange(snippets).clip(max=len(features_td) - 1)].astype(np.float32)
    edge = source.position(target.seconds(np.arange(snippets + 1)))
    if target.step <= source.step:
        middle = np.floor((edge[:-1] + edge[1:]) / 2).astype(int)
        return features_td[middle.clip(max=len(features_td) - 1)].astype(np.float32)
    start, stop = edge[:-1].clip(max=len(features_td) - 1), edge[1:].clip(max=len(features_td))
    first, total_sd, weight = (
        np.floor(start).astype(int),
        np.zeros((snippets, features_td.shape[1])),
        np.zeros(snippets),
    )
    for ahead in range(int(np.ceil(target.step / source.step)) + 1):
        row = first + ahead
        share = (np.minimum(row + 1, stop) - np.maximum(row, start)).clip(min=0)
        total_sd += share[:, None] * features_td[row.clip(max=len(features_td) - 1)]
        weight += share
    return (total_sd / weight[:, None]).astype(np.float32)
