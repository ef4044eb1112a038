"""Figures of the two branches side by side: what one teaches the other, what they leave out, add, and miss together.

Shares come in as fractions and are drawn in percent. Axes are made where none are given, and given back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from wtal_lib.data.segments import runs
from wtal_lib.figures.style import COLOURS, FULL_WIDTH, LABELS, colour

FOUND = {"both": "#009E73", "CBP alone": COLOURS["cbp"], "VLP alone": COLOURS["vlp"], "neither": "0.8"}
"One colour for who finds an instance"


def taught(
    truth_m2: Float[np.ndarray, "m 2"],
    sure_t: Float[np.ndarray, " t"],
    background_t: Bool[np.ndarray, " t"],
    foreground_t: Bool[np.ndarray, " t"],
    step: float,
    thresholds: tuple[float, float],
    student: str,
    ax: Axes | None = None,
) -> Axes:
    """One step's pseudo-labels of a class in a video: the confidence, its two thresholds, and the labels taken from it.

    Below the curve stand the ground truth and the labels: full colour where a label agrees with the ground truth,
    hatched where it does not, nothing where the confidence lies between the thresholds.
    """
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 1.8))[1]
    edges = np.arange(len(sure_t) + 1) * step
    for start, stop in truth_m2.tolist():
        ax.axvspan(start, stop, color="0.92", lw=0, zorder=0)
    ax.stairs(sure_t, edges, color="0.25", lw=1.2)
    for level in thresholds:
        ax.axhline(level, color="0.55", lw=0.8, ls=(0, (4, 2)))
    middle_t = (np.arange(len(sure_t)) + 0.5) * step
    real_t = ((middle_t[:, None] >= truth_m2[:, 0]) & (middle_t[:, None] < truth_m2[:, 1])).any(axis=1)
    lanes = {"background": (background_t, ~real_t, "#999999"), "foreground": (foreground_t, real_t, colour(student))}
    ax.broken_barh([(start, stop - start) for start, stop in truth_m2.tolist()], (-0.22, 0.13), color=COLOURS["truth"])
    wrong: dict[str, Any] = {"facecolor": "none", "hatch": "//////", "lw": 0.6}
    for lane, (given_t, right_t, shade) in enumerate(lanes.values()):
        for mask_t, style in ((given_t & right_t, {"facecolor": shade, "lw": 0}), (given_t & ~right_t, wrong)):
            spans = [(start * step, (stop - start) * step) for start, stop in runs(mask_t).tolist()]
            ax.broken_barh(spans, (-0.44 - 0.22 * lane, 0.15), edgecolor=shade, **style)
    ax.set_yticks(
        [0, *thresholds, 1, -0.155, -0.365, -0.585],
        ["0", *(f"{one:g}" for one in thresholds), "1", LABELS["truth"], *lanes],
    )
    ax.set(ylim=(-0.68, 1.04), xlim=(0, len(sure_t) * step), xlabel="time (s)")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
    return ax


def trade(
    curves: pd.DataFrame, pairs: Mapping[str, tuple[str, str]], alone: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Completeness against over-completeness as the cut falls, before (dashed) and after (solid) the branches teach.

    ``curves`` as of :func:`wtal_lib.studies.complementarity.trade`; ``pairs`` name the stages before and after of each branch,
    ``alone`` are stages without a later one. Discs: a cut at half of the video's range. Up and left is better.
    """
    if ax is None:
        ax = plt.subplots(figsize=(0.62 * FULL_WIDTH, 3.3))[1]
    drawn = [
        (stage, branch, style) for branch, both in pairs.items() for stage, style in zip(both, ("--", "-"), strict=True)
    ]
    drawn += [(stage, stage, "-") for stage in alone]
    for stage, branch, style in drawn:
        of, later = curves[curves["stage"] == stage], style == "-"
        x, y, shade = 100 * of["over"], 100 * of["complete"], colour(branch)
        ax.plot(x, y, ls=style, color=shade, lw=1.7, label=LABELS.get(branch, branch) if later else None)
        half = (of["level"] - 0.5).abs().idxmin()
        ax.plot(
            x[half],
            y[half],
            "o",
            ms=7,
            mfc=shade if later else "white",
            mec="white" if later else shade,
            mew=1.2,
            zorder=4,
        )
    ax.set(
        xlabel="added beside an instance (% of its length)",
        ylabel="covered of an instance (%)",
        xlim=(0, None),
        ylim=(0, 100),
    )
    handles, _ = ax.get_legend_handles_labels()
    if pairs:
        handles += [Line2D([], [], ls="--", color="0.4", label="before"), Line2D([], [], color="0.4", label="after")]
    ax.legend(handles=handles, loc="lower right", handlelength=2)
    return ax


def by_bin(
    values: Mapping[str, Mapping[str, Float[np.ndarray, " bins"]]],
    names: Sequence[str],
    counts: Sequence[int],
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """A mean in every bin, a branch a colour: hollow before, full after. ``values`` by branch, then by stage."""
    if ax is None:
        ax = plt.subplots(figsize=(0.5 * FULL_WIDTH, 2.6))[1]
    at = np.arange(len(names))
    for branch, by_stage in values.items():
        shade, *ends = colour(branch), *(100 * np.asarray(one) for one in by_stage.values())
        shift = 0.16 * (list(values).index(branch) - (len(values) - 1) / 2)
        ax.vlines(at + shift, ends[0], ends[-1], color=shade, lw=1.4, alpha=0.6)
        for stage, end in zip(by_stage, ends, strict=True):
            last = stage == list(by_stage)[-1]
            ax.plot(at + shift, end, "o", ms=6, mfc=shade if last else "white", mec="white" if last else shade, mew=1.1,
                    label=LABELS[branch] if last else None)  # fmt: skip
    ax.set_xticks(at, [f"{name}\n{count:,}" for name, count in zip(names, counts, strict=True)])
    ax.set(ylabel=ylabel, ylim=(0, None), xlim=(-0.6, len(names) - 0.4))
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
    return ax


def by_class(
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    rows: int = 24,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Every class's mean before (hollow) and after (full), a panel a measure, ordered by the first measure's change.

    Both hold, under the measure's name, a branch's value a class: ``{"covered by CBP (%)": {class: share}}``; the
    branch whose colour is taken is the one named in it. Beyond ``rows`` classes those that change most are shown.
    """
    first = next(iter(before))
    change = {name: after[first][name] - before[first][name] for name in before[first]}
    order = sorted(change, key=lambda name: change[name])
    shown = order if len(order) <= rows else [*order[: rows // 2], *order[-(rows - rows // 2) :]]
    if axes is None:
        size = (FULL_WIDTH, 0.9 + 0.17 * len(shown))
        axes = list(plt.subplots(1, len(before), figsize=size, sharey=True)[1])
    for ax, (measure, was) in zip(axes, before.items(), strict=True):
        shade = COLOURS["cbp" if "CBP" in measure else "vlp"]
        for y, name in enumerate(shown):
            ends = 100 * was[name], 100 * after[measure][name]
            ax.plot(ends, (y, y), color=shade, alpha=0.5, lw=1.8)
            ax.plot(ends[0], y, "o", ms=5, mfc="white", mec=shade, mew=1.1)
            ax.plot(ends[1], y, "o", ms=5, color=shade, mec="white", mew=0.6)
        ax.set(xlabel=measure, ylim=(-0.7, len(shown) - 0.3))
        ax.tick_params(axis="y", length=0)
        ax.set_xlim(left=0)
    axes[0].set_yticks(range(len(shown)), shown, fontsize=7)
    axes[0].figure.legend(handles=_ends(), loc="outside upper right", ncols=2, handlelength=1)
    return list(axes)


def _ends() -> list[Line2D]:
    """Legend of the two ends of a change."""
    marks = {"before": "white", "after": "0.35"}
    return [Line2D([], [], ls="", marker="o", mfc=face, mec="0.35", label=name) for name, face in marks.items()]


def who_finds(shares: Mapping[str, Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Who finds an instance, in percent of them all: a bar a stage. Dashed: neither, were the misses independent."""
    if ax is None:
        ax = plt.subplots(figsize=(0.75 * FULL_WIDTH, 0.8 + 0.42 * len(shares)))[1]
    for y, (_, of) in enumerate(shares.items()):
        left = 0.0
        for name, shade in FOUND.items():
            width = 100 * of[name]
            ax.barh(y, width, 0.62, left, color=shade, edgecolor="white", lw=0.8, label=None if y else name)
            if width > 6:
                ax.text(
                    left + width / 2,
                    y,
                    f"{width:.0f}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="0.15" if name == "neither" else "white",
                )
            left += width
        chance = 100 * (1 - of["by chance"])
        ax.plot([chance, chance], [y - 0.38, y + 0.38], color="0.1", lw=1.3, ls=(0, (2, 1.2)))
    ax.set_yticks(range(len(shares)), list(shares))
    ax.set(xlabel="instances found at tIoU 0.5 (%)", xlim=(0, 100), ylim=(len(shares) - 0.5, -0.55))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    handles, labels = ax.get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.1", lw=1.3, ls=(0, (2, 1.2))))
    ax.legend(
        handles,
        [*labels, "neither, by chance"],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=5,
        handlelength=1,
        columnspacing=1,
        borderpad=0,
    )
    return ax
