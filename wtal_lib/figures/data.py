"""Figures of the data: classes, videos, feature lengths, mismatches, and drawn structure beside the real one.

Each takes a table of :mod:`wtal_lib.data.census`, draws into ``axes`` (its own where none are given) and gives them back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from wtal_lib.figures.style import COLOURS, FULL_WIDTH

SUBSETS = {"train": "#35506B", "test": "#C9A35B"}
"Training and test videos: dark and light, so that they differ in print too"
ORIGINS = {"real": COLOURS["truth"], "drawn": "#8E44AD"}
"Real structure in the colour of ground truth, what the simulator draws beside it"
DASHES = {"real": "-", "drawn": (0, (4, 1.5))}
ROWS = 50
"Classes in one column of a figure"

PANELS = {
    "length": "length of an instance (s)",
    "gap": "gap before an instance (s)",
    "instances": "instances in a video",
    "duration": "duration of a video (s)",
    "foreground": "share of a video that is action",
}
"Quantities of the structure, with their units"


def classes(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Instances by class and subset, and quartiles of their length in seconds; classes sorted by the median length.

    ``table`` comes from :func:`wtal_lib.data.census.by_class`. Two axes a column of at most 50 classes.
    """
    table = table.sort_values("length_median", ascending=False, kind="stable").reset_index(drop=True)
    columns = math.ceil(len(table) / ROWS)
    rows = math.ceil(len(table) / columns)
    if axes is None:
        size = (FULL_WIDTH, max(3.0, 0.165 * rows + 0.9))
        axes = list(plt.subplots(1, 2 * columns, figsize=size, width_ratios=[1, 1.25] * columns)[1])
    most = table[["train_instances", "test_instances"]].to_numpy().max()
    shortest, longest = table["length_q1"].min(), table["length_q3"].max()
    for i in range(columns):
        part = table.iloc[i * rows : (i + 1) * rows]
        counts, lengths = axes[2 * i : 2 * i + 2]
        place = np.arange(len(part))
        for shift, (subset, colour) in zip((-0.2, 0.2), SUBSETS.items(), strict=True):
            counts.barh(place + shift, part[f"{subset}_instances"], 0.4, color=colour, label=subset)
        counts.set(xlabel="instances", xlim=(0, 1.05 * most), yticks=place)
        counts.set_yticklabels(part["class"], fontsize=8 if columns == 1 else 6)
        lengths.hlines(place, part["length_q1"], part["length_q3"], color="0.7", lw=3)
        lengths.plot(part["length_median"], place, "o", color="0.15", ms=3.5)
        lengths.set(xlabel="length (s)", xscale="log", yticks=place, yticklabels=[])
        lengths.set_xlim(0.8 * max(shortest, 0.1), 1.25 * longest)
        _plain_log(lengths)
        for ax in (counts, lengths):
            ax.set_ylim(rows - 0.4, -0.6)
            ax.tick_params(axis="y", length=0)
            ax.grid(axis="y", visible=False)
    _legend_above(axes[0], 2)
    return list(axes)


def videos(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Histograms over videos, by subset, of duration, number of instances and share of foreground.

    ``table`` comes from :func:`wtal_lib.data.census.videos`; heights are shares of the subset's videos, the dashed lines
    medians.
    """
    axes = _panels(3) if axes is None else list(axes)
    bins = {
        "duration": np.geomspace(*_range(table["duration"]), 25),
        "instances": np.geomspace(0.9, table["instances"].max() + 1, 25).round().clip(1) - 0.5,
        "foreground": np.linspace(0, 1, 21),
    }
    for ax, (name, edges) in zip(axes, bins.items(), strict=True):
        edges = np.unique(edges)
        for subset, colour in SUBSETS.items():
            values = table.loc[table["subset"] == subset, name].dropna()
            share = np.full(len(values), 1 / max(1, len(values)))
            for style, alpha, label in (("stepfilled", 0.3, subset), ("step", 1.0, None)):
                ax.hist(values, edges, weights=share, color=colour, histtype=style, alpha=alpha, label=label, lw=1.3)  # type: ignore[arg-type]
            ax.axvline(values.median(), color=colour, ls="--", lw=1.2)
        ax.set(xlabel=PANELS[name])
        if name != "foreground":
            ax.set_xscale("log")
            _plain_log(ax)
    axes[0].set_ylabel("share of videos")
    axes[0].plot([], [], "--", color="0.4", lw=1.2, label="medians")
    _legend_above(axes[0], 3)
    return list(axes)


def feature_lengths(table: pd.DataFrame, step: float, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Seconds covered by features against the video's duration, and the difference in snippets of ``step`` seconds.

    ``table`` comes from :func:`wtal_lib.data.census.videos` with a pack's lengths. Videos without features stand on the
    lower edge; differences beyond 10 snippets are gathered in the outermost bars.
    """
    if axes is None:
        axes = _panels(2, height=2.6, width_ratios=[1, 1.3])
    match, rest = axes
    lowest = 0.7 * _range(pd.concat([table["duration"], table.loc[table["covered"] > 0, "covered"]]))[0]
    match.axline((lowest, lowest), (2 * lowest, 2 * lowest), color="0.6", lw=0.8, zorder=0)
    gap = ((table["covered"] - table["duration"]) / step).round().clip(-10, 10)
    for shift, (subset, colour) in zip((-0.2, 0.2), SUBSETS.items(), strict=True):
        part = table[table["subset"] == subset]
        there = part["snippets"] > 0
        shown = part["covered"].clip(lower=lowest)
        match.plot(part["duration"], shown, "o", ms=2.5, mew=0, alpha=0.6, color=colour, rasterized=True)
        count = gap[part.index[there]].value_counts()
        label = f"{subset}: {there.sum():,} of {len(part):,} videos"
        rest.bar(count.index + shift, count, 0.4, color=colour, label=label)
    match.set(xscale="log", yscale="log", xlabel="duration of the video (s)", ylabel="covered by features (s)")
    _plain_log(match)
    rest.set(xlabel=f"features minus duration (snippets of {step:g} s)", ylabel="videos", yscale="log")
    rest.set(xscale="linear", xlim=(-10.6, 10.6), ylim=(0.7, 30 * max(1, len(table))))
    _plain_log(rest)
    rest.set_xticks([-10, -5, 0, 5, 10], ["≤ −10", "−5", "0", "5", "≥ 10"])
    rest.legend(title="with features", loc="upper left")
    return list(axes)


def mismatches(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Bars of how many videos or instances do not fit, by kind, each with its number; log scale.

    ``table`` comes from :func:`wtal_lib.data.census.mismatches`.

    Raises:
        ValueError: an empty table: nothing was looked for.
    """
    if table.empty:
        raise ValueError("mismatches needs at least one kind, with 0 where none was found")
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 0.26 * len(table) + 0.9))[1]
    place, number = np.arange(len(table)), table["found"].to_numpy()
    ax.barh(place, np.maximum(number, 0.6), color="#B5473C")
    for y, n in zip(place, number, strict=True):
        ax.annotate(f"{n:,}" if n else "none", (max(n, 0.6), y), (4, 0), textcoords="offset points", va="center")
    ax.set(xscale="log", xlim=(0.6, 3 * max(10, number.max())), xlabel="found", ylim=(len(table) - 0.4, -0.6))
    ax.set_yticks(place, (table["in"] + ": " + table["what"]).str.removeprefix("annotations: "))
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    _plain_log(ax)
    return ax


def structures(
    table: pd.DataFrame, apart: Mapping[str, float] | None = None, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Cumulative shares of each quantity of the structure, real and drawn in the same axes.

    ``table`` comes from :func:`wtal_lib.data.census.quantiles`; the distances in ``apart`` become the panels' titles.
    """
    axes = _panels(len(PANELS), rows=2) if axes is None else list(axes)
    for ax, (name, label) in zip(axes, PANELS.items(), strict=True):
        for origin, part in table[table["quantity"] == name].groupby("origin", sort=False):
            ax.plot(
                part["value"], part["share"], color=ORIGINS[str(origin)], ls=DASHES[str(origin)], lw=1.8, label=origin
            )
        if apart:
            ax.set_title(f"{apart[name]:.2f} apart")
        ax.set(xlabel=label, ylim=(0, 1.02))
        if name != "foreground":
            ax.set_xscale("log")
            ax.set_xlim(left={"length": 0.3, "gap": 0.2}.get(name))
            _plain_log(ax)
    for ax in axes[::3]:
        ax.set_ylabel("cumulative share")
    axes[-1].legend(loc="lower right")
    return list(axes)


def timelines(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Videos as rows, instances as bars, seconds to the right; one panel an origin, all to the same scale.

    ``table`` holds :func:`wtal_lib.data.census.timelines` of each origin, and a column ``origin``.
    """
    origins = table["origin"].unique()
    axes = _panels(len(origins), height=2.8) if axes is None else list(axes)
    for ax, origin in zip(axes, origins, strict=True):
        for rank, part in table[table["origin"] == origin].groupby("rank"):
            place = (float(str(rank)) - 0.36, 0.72)
            ax.broken_barh([(0, part["duration"].iloc[0])], place, color="0.92")
            ax.broken_barh(
                list(zip(part["start"], part["stop"] - part["start"], strict=True)), place, color=ORIGINS[origin]
            )
        ax.set(title=f"{origin} structure", xlabel="time (s)", yticks=[], xlim=(0, 1.01 * table["duration"].max()))
        ax.grid(visible=False)
    axes[0].set_ylabel("videos, from short to long")
    return list(axes)


def _panels(count: int, rows: int = 1, height: float = 2.2, **options: Any) -> list[Axes]:
    """Axes in a figure of their own, in as many rows as asked for; places that are left over stay empty."""
    columns = math.ceil(count / rows)
    grid = plt.subplots(rows, columns, figsize=(FULL_WIDTH, height * rows), squeeze=False, **options)[1].ravel()
    for ax in grid[count:]:
        ax.set_axis_off()
    return list(grid[:count])


def _legend_above(ax: Axes, columns: int) -> None:
    """A legend in one line above the axes, where it hides nothing."""
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, borderpad=0, handlelength=1.2, columnspacing=1)


def _range(values: pd.Series) -> tuple[float, float]:
    """Least and greatest of the known values, for a logarithmic axis."""
    known = values[values > 0]
    return (float(known.min()), 1.001 * float(known.max())) if len(known) else (1.0, 10.0)


def _plain_log(ax: Axes) -> None:
    """Plain numbers at powers of ten of a logarithmic axis."""
    for axis, scale in ((ax.xaxis, ax.get_xscale()), (ax.yaxis, ax.get_yscale())):
        if scale == "log":
            axis.set_major_locator(LogLocator(10))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
