"""Figures of what a change brings: differences with their intervals, by row, by knob, and by rule and target.

Scores and differences are points of mAP (percent). Axes are made where none are given, and returned.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from wtal_lib.figures import draw
from wtal_lib.figures.style import COLOURS


def intervals(frame: pd.DataFrame, unit: str = "points of mAP", ax: Axes | None = None) -> Axes:
    """Forest plot: a difference a row with its 95 % interval, in the order given; full where the interval excludes 0.

    ``frame`` has the columns row, difference, low and high.

    Raises:
        ValueError: a column is missing, or an interval does not hold its difference.
    """
    draw.require(frame, "row", "difference", "low", "high")
    ax = draw.single(ax, 0.8, 0.75 + 0.25 * len(frame))
    ax.axvline(0, color="0.55", lw=0.9, zorder=1)
    for y, (difference, low, high) in enumerate(frame[["difference", "low", "high"]].to_numpy(dtype=float)):
        shade = COLOURS["fused"] if low > 0 else COLOURS["vlp"] if high < 0 else "0.45"
        ax.hlines(y, low, high, color=shade, lw=1.8)
        ax.plot(difference, y, "o", ms=6, mfc=shade if low > 0 or high < 0 else "white", mec=shade, mew=1.3)
        text = f"{difference:+.1f}  [{low:+.1f}, {high:+.1f}]".replace("[+nan, +nan]", "[unknown]")
        draw.note(ax, text, (1, y), (6, 0), xycoords=ax.get_yaxis_transform())
    draw.rows_down(ax, frame["row"].tolist())
    ax.set(xlabel=f"difference ({unit}) with its 95 % interval, better →")
    return ax


def gain_by_sharing(frame: pd.DataFrame, xlabel: str = "", ax: Axes | None = None) -> Axes:
    """Gain in points against a knob in [0, 1], with its 95 % interval as a band; a line a dataset.

    ``frame`` has the columns shared (the knob), difference, low and high, and dataset where there are several.

    Raises:
        ValueError: a column is missing, an interval does not hold its difference, or a knob lies outside [0, 1].
    """
    draw.require(frame, "shared", "difference", "low", "high")
    if not frame["shared"].between(0, 1).all():
        low, high = frame["shared"].min(), frame["shared"].max()
        raise ValueError(f"expected shared in [0, 1]; got values from {low:g} to {high:g}: a share, not a percentage")
    ax = draw.single(ax, 0.72, 2.6)
    ax.axhline(0, color="0.55", lw=0.9, zorder=1)
    named = frame if "dataset" in frame else frame.assign(dataset="")
    by_dataset = named.sort_values("shared").groupby("dataset", sort=False)
    for (name, part), shade in zip(by_dataset, itertools.cycle(("#35506B", "#B0722A", "#6B8E23")), strict=False):
        ax.fill_between(part["shared"], part["low"], part["high"], color=shade, alpha=0.2, lw=0)
        ax.plot(part["shared"], part["difference"], "o-", ms=4, color=shade, lw=1.7)
        end = tuple(part[["shared", "difference"]].iloc[-1])
        draw.note(ax, str(name), end, (6, 0), color=shade, fontweight="bold")
    ax.set(xlabel=xlabel or "share of the difficulty common to both modalities", ylabel="gain (points of mAP)")
    ax.set(ylim=(min(0, ax.get_ylim()[0]), max(0, ax.get_ylim()[1])), xticks=np.linspace(0, 1, 6))
    return ax


def factorial(
    frame: pd.DataFrame, base: Mapping[str, float] | None = None, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Mean mAP by rule (whose confidence, which labels) and target of the pseudo-labels; a heat-map table a dataset.

    ``frame`` has the columns dataset, confidence, labels, target and map (percent); rows that differ in nothing else
    are averaged. The colours are centred on the score in ``base`` (of the dataset without distillation), or else on the
    mean of the cells, and at least 10 points wide.

    Raises:
        ValueError: a column is missing.
    """
    draw.require(frame, "dataset", "confidence", "labels", "target", "map")
    cells = frame.assign(rule=frame["confidence"] + ": " + frame["labels"]).groupby("dataset", sort=False)
    tables = {name: part.pivot_table("map", "rule", "target", sort=False) for name, part in cells}
    axes = draw.panels(axes, len(tables), 0.9 + 0.28 * max(map(len, tables.values())), sharey=True)
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        draw.heat_map(ax, table, float((base or {}).get(str(name), table.mean(axis=None))), "mean mAP (%)")
        ax.set(title=name, xlabel="labels go into", ylabel="confidence: labels" if ax is axes[0] else "")
    return axes
