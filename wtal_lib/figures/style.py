"""The house style, the colours of the branches, and one video's timeline.

A figure takes arrays and axes (its own where none are given) and gives the axes back; nothing is shown or saved here.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes

from wtal_lib.data.segments import Detections

COLOURS = {
    "cbp": "#0072B2",
    "vlp": "#D55E00",
    "fused": "#009E73",
    "vanilla_vlp": "#E69F00",
    "truth": "#4D4D4D",
    "late_fusion": "#CC79A7",
    "supervised": "#56B4E9",
}
"One colour a branch in every figure (Okabe and Ito's, which the colour-blind can tell apart)"

LABELS = {
    "cbp": "CBP",
    "vlp": "VLP",
    "fused": "fused",
    "vanilla_vlp": "vanilla VLP",
    "truth": "ground truth",
    "late_fusion": "late fusion",
    "supervised": "supervised",
}
"How the branches are called in legends"

FULL_WIDTH = 7.0
"Inches across both columns of a two-column page; text is then 8 to 9 points in print"


def theme() -> None:
    """Nothing; every figure drawn afterwards has the house style. Call it once, at the top of a notebook."""
    sns.set_theme(
        context="paper",
        style="ticks",
        palette=list(COLOURS.values()),
        rc={
            "font.size": 9,
            "axes.labelsize": 9,
            "axes.titlesize": 9,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.edgecolor": "0.3",
            "axes.linewidth": 0.8,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": "0.9",
            "grid.linewidth": 0.7,
            "xtick.labelsize": 8,
            "ytick.labelsize": 8,
            "xtick.major.size": 3,
            "ytick.major.size": 3,
            "xtick.minor.size": 0,
            "ytick.minor.size": 0,
            "legend.fontsize": 8,
            "legend.title_fontsize": 8,
            "legend.frameon": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "svg.fonttype": "none",
        },
    )


def colour(name: str) -> str:
    """The colour of a branch; a neutral slate for what is none."""
    return COLOURS.get(name, "#35506B")


def timeline(
    truth_m2: Float[np.ndarray, "m 2"],
    curves: Mapping[str, Float[np.ndarray, " _"]],
    step: float,
    detections: Mapping[str, Detections] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One class in one video: a lane of ground truth, then a lane a branch with its activation and its detections.

    ``curves`` hold one value in [0, 1] a snippet of ``step`` seconds; ``detections`` those of this video and class by
    branch, the darker the higher they score, and labelled with the score where there is room. Ground truth shades all
    lanes, so that what a branch leaves out or adds stands against it.
    """
    found = detections or {}
    names = list(dict.fromkeys([*curves, *found]))
    heights = [0.72 * (name in curves) + 0.3 * (name in found) for name in names]
    tops = [-sum(heights[:lane]) for lane in range(len(names) + 1)]
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 0.9 - 0.75 * tops[-1]))[1]
    stops = [float(table.segment_n2[:, 1].max(initial=0.0)) for table in found.values()]
    end = max([float(truth_m2.max(initial=0.0)), *(len(curve_t) * step for curve_t in curves.values()), *stops])
    spans = [(start, stop - start) for start, stop in truth_m2.tolist()]
    ax.broken_barh(spans, (0.08, 0.3), color=COLOURS["truth"])
    ax.broken_barh(spans, (tops[-1], 0.08 - tops[-1]), color="0.9", zorder=0)
    for name, top in zip(names, tops, strict=False):
        floor = top - 0.72 * (name in curves)
        if name in curves:
            edges = np.arange(len(curves[name]) + 1) * step
            height_t = floor + 0.64 * curves[name]
            ax.stairs(height_t, edges, baseline=floor, fill=True, color=colour(name), alpha=0.6, lw=0)
            ax.stairs(height_t, edges, baseline=floor, color=colour(name), lw=0.8)
        if name in found:
            _scored_bars(ax, found[name], floor - 0.25, colour(name), end)
    middles = [(top + below) / 2 for top, below in itertools.pairwise(tops)]
    ax.set_yticks([0.23, *middles], [LABELS["truth"], *(LABELS.get(name, name) for name in names)])
    ax.set(xlabel="time (s)", xlim=(0, end), ylim=(tops[-1] - 0.03, 0.42))
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
    return ax


def _scored_bars(ax: Axes, found: Detections, bottom: float, shade: str, end: float) -> None:
    """Detections as bars, the best on top of the others, each with its score where it fits."""
    best = max(float(found.score_n.max(initial=0.0)), 1e-12)
    for n in np.argsort(found.score_n):
        (start, stop), score = found.segment_n2[n].tolist(), float(found.score_n[n])
        strength = 0.15 + 0.85 * max(score, 0.0) / best
        face = mpl.colors.to_rgb(sns.light_palette(shade, as_cmap=True)(strength))
        ax.broken_barh([(start, stop - start)], (bottom, 0.2), facecolor=face, edgecolor="white", lw=0.6)
        if stop - start > 0.035 * end and strength > 0.5:
            middle = (start + stop) / 2
            ax.annotate(f"{score:.2f}", (middle, bottom + 0.095), color="white", ha="center", va="center", fontsize=6.5)
