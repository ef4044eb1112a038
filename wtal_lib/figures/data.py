"""Figures of the tables of :mod:`wtal_lib.data.census`: classes, videos, feature lengths, mismatches, structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from wtal_lib.figures import draw
from wtal_lib.figures.draw import COLOURS

SUBSETS = {"train": "#35506B", "test": "#C9A35B"}
"Training and test videos: dark and light, so that they differ in print too"
ORIGINS = {"real": COLOURS["truth"], "drawn": "#8E44AD"}
"Real structure in the colour of ground truth, beside what the simulator draws"
PANELS = {
    "length": "length of an instance (s)",
    "gap": "gap before an instance (s)",
    "instances": "instances in a video",
    "duration": "duration of a video (s)",
    "foreground": "share of a video that is action",
}
"Quantities of the structure, with their units"


def classes(table: pd.DataFrame, rows: int = 30, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Instances and length quartiles (s) of :func:`wtal_lib.data.census.by_class`, longest first; ``rows`` at most."""
    table = table.sort_values("length_median", ascending=False, kind="stable")
    counts, lengths = draw.panels(axes, 2, 1 + 0.165 * min(len(table), rows), sharey=True, width_ratios=[1, 1.25])
    index, place = draw.rows_down(counts, table["class"].tolist(), rows)
    part = table.iloc[index]
    for shift, (subset, shade) in zip((-0.2, 0.2), SUBSETS.items(), strict=True):
        counts.barh(place + shift, part[f"{subset}_instances"], 0.4, color=shade, label=subset)
    lengths.hlines(place, part["length_q1"], part["length_q3"], color="0.7", lw=3, label="middle half")
    lengths.plot(part["length_median"], place, "o", color="0.15", ms=3.5, label="median")
    draw.log_x(lengths)
    lengths.tick_params(axis="y", length=0)
    lengths.grid(axis="y", visible=False)
    for ax, quantity in ((counts, "annotated instances"), (lengths, "length of an instance (s)")):
        ax.set(xlabel=quantity, ylim=counts.get_ylim())
        ax.legend(ncols=2, **draw.ABOVE)
    return [counts, lengths]


def videos(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Histograms of duration, instances and foreground of :func:`wtal_lib.data.census.videos`; dashed: medians."""
    axes = draw.panels(axes, 3, 2.2)
    known = table["duration"][table["duration"] > 0].tolist() or [1.0, 10.0]
    bins = {
        "duration": np.geomspace(min(known), 1.001 * max(known), 25),
        "instances": np.unique(np.geomspace(0.9, table["instances"].max() + 1, 25).round().clip(1)) - 0.5,
        "foreground": np.linspace(0, 1, 21),
    }
    style: dict[str, Any] = {"hue": "subset", "hue_order": SUBSETS, "palette": SUBSETS, "element": "step"}
    style |= {"alpha": 0.25, "stat": "percent", "common_norm": False, "legend": False}
    for ax, (name, edges) in zip(axes, bins.items(), strict=True):
        shown = table.dropna(subset=name)
        if len(shown):
            sns.histplot(shown, x=name, bins=edges, ax=ax, **style)
        for subset, shade in SUBSETS.items():
            middle = table.loc[table["subset"] == subset, name].median()
            ax.axvline(middle, color=shade, ls="--", lw=1.2, label=f"{subset} (dashed: median)")
        if name != "foreground":
            draw.log_x(ax)
        ax.set(xlabel=PANELS[name], ylabel="videos of the subset (%)" if ax is axes[0] else "")
    axes[0].figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return axes


def feature_lengths(table: pd.DataFrame, step: float, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Seconds covered by features minus the video's duration, in snippets of ``step`` seconds, cut at ±10.

    Left by duration, where a wrong frame rate shows as a slope; right their histogram, of a census with ``lengths``.
    """
    against, number = draw.panels(axes, 2, 2.6, width_ratios=[1.8, 1], sharey=True)
    there = table[table["snippets"] > 0]
    off = ((there["covered"] - there["duration"]) / step).clip(-10, 10)
    for shift, (subset, shade) in zip((0.2, -0.2), SUBSETS.items(), strict=True):
        own, every = there["subset"] == subset, (table["subset"] == subset).sum()
        label = f"{subset}: {own.sum():,} of {every:,} videos have features"
        against.scatter(there["duration"][own], off[own], 9, lw=0, alpha=0.5, color=shade, label=label, rasterized=True)
        share = 100 * off[own].round().value_counts(normalize=True)
        number.barh(share.index + shift, share, 0.4, color=shade)
    draw.log_x(against)
    against.set(xlabel="duration of the video (s)", ylabel=f"features − duration\n(snippets of {step:g} s)")
    against.set_yticks([-10, -5, 0, 5, 10], ["≤ −10", "−5", "0", "5", "≥ 10"])
    against.set_ylim(-10.8, 10.8)
    number.set(xlabel="videos of the subset (%)", ylabel="", ylim=(-10.8, 10.8))
    handles, labels = against.get_legend_handles_labels()
    against.figure.legend(handles, labels, loc="outside upper left", ncols=2, markerscale=2)
    return [against, number]


def mismatches(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Bars of a :func:`wtal_lib.data.census.mismatches` table, one a kind; ValueError where it is empty."""
    if table.empty:
        raise ValueError("mismatches needs at least one kind, with 0 where none was found")
    ax = draw.single(ax, 1, 0.26 * len(table) + 0.9)
    bars = ax.barh(range(len(table)), table["found"], 0.7, color="#B5473C")
    ax.bar_label(bars, [f"{n:,}" if n else "none" for n in table["found"]], padding=4, fontsize=8)
    ax.set(xlabel="videos or instances found", xlim=(0, 1.12 * max(1, table["found"].max())))
    draw.rows_down(ax, (table["in"] + ": " + table["what"]).str.removeprefix("annotations: ").tolist())
    return ax


def structures(
    table: pd.DataFrame, apart: Mapping[str, float] | None = None, axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """Cumulative distributions, real and drawn, of :func:`wtal_lib.data.census.quantiles`; titles: ``apart``."""
    axes = draw.panels(axes, len(PANELS), 2.2, rows=2)
    style: dict[str, Any] = {"hue": "origin", "palette": ORIGINS, "style": "origin", "lw": 1.8}
    style |= {"dashes": {"real": "", "drawn": (4, 1.5)}, "estimator": None, "sort": False, "legend": False}
    for ax, (name, label) in zip(axes, PANELS.items(), strict=True):
        part = table[table["quantity"] == name]
        sns.lineplot(part, x="value", y="share", ax=ax, **style)
        ax.set(xlabel=label, ylabel="cumulative share" if ax in axes[::3] else "", ylim=(0, 1.02))
        ax.set_title(f"{apart[name]:.2f} apart" if apart else "")
        if name != "foreground":
            draw.log_x(ax)
            ax.set_xlim(left={"length": 0.3, "gap": 0.2}.get(name))
    axes[-1].legend(axes[-1].lines, table["origin"].unique(), loc="lower right")
    return axes


def timelines(table: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Videos as rows, instances as bars (s), of :func:`wtal_lib.data.census.timelines`; a panel an ``origin``."""
    origins = table["origin"].unique()
    axes = draw.panels(axes, len(origins), 2.8)
    for ax, origin in zip(axes, origins, strict=True):
        for rank, part in table[table["origin"] == origin].groupby("rank"):
            lane = (float(str(rank)) - 0.36, 0.72)
            ax.broken_barh([(0, part["duration"].iloc[0])], lane, color="0.92")
            ax.broken_barh(draw.spans(part[["start", "stop"]].to_numpy()), lane, color=ORIGINS[origin])
        ax.set(title=f"{origin} structure", xlabel="time (s)", yticks=[], xlim=(0, 1.01 * table["duration"].max()))
        ax.grid(visible=False)
    axes[0].set_ylabel("videos, short to long")
    return axes
