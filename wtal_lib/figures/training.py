"""Figures of runs: rows with their spread over seeds, mAP over training, thresholds, pseudo-labels, published methods.

Percent comes in where scores do, fractions where shares do. Axes are made where none are given, and given back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from wtal_lib.figures.style import COLOURS, FULL_WIDTH, LABELS, colour

MAP = "mAP, mean over tIoU (%)"

HALO = [withStroke(linewidth=2, foreground="white")]
"Keeps a number legible where it crosses a line"

LINE_COLOURS = {
    "vanilla VLP": COLOURS["vanilla_vlp"],
    "CBP": COLOURS["cbp"],
    "VLP": COLOURS["vlp"],
    "late fusion": COLOURS["late_fusion"],
    "CBP, taught": COLOURS["cbp"],
    "VLP, taught": COLOURS["vlp"],
    "full": COLOURS["fused"],
    **dict.fromkeys(("supervised CBP", "supervised VLP", "supervised"), COLOURS["supervised"]),
}
"Of the main table's lines"


def dots(
    values: Mapping[str, Sequence[float]],
    *,
    colours: Mapping[str, str] | None = None,
    heads: Mapping[str, str] | None = None,
    base: str = "",
    spread: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """Rows of scores from the first on top: every seed a small dot, their mean a large one with its standard deviation.

    ``heads`` puts a heading over the row that it names. A band of ``spread``, that of a difference over seeds, lies
    about the mean of ``base``: a row whose mean lies in it differs by nothing to speak of.
    """
    place: dict[str, float] = {}
    y = 0.0
    for row in values:
        y += 0.35 + 0.85 * (row in (heads or {})) if place else 0.85 * (row in (heads or {}))
        place[row] = y
        y += 0.65
    if ax is None:
        ax = plt.subplots(figsize=(0.72 * FULL_WIDTH, 0.75 + 0.24 * y))[1]
    if base in values:
        middle = float(np.mean(values[base]))
        if spread > 0:
            ax.axvspan(middle - spread, middle + spread, color="0.9", lw=0, zorder=0)
        ax.axvline(middle, color="0.55", lw=0.9, zorder=1)
    for row, at in place.items():
        own, shade = np.asarray(values[row], dtype=float), (colours or {}).get(row, colour(row))
        if len(own) > 1:
            ax.errorbar(own.mean(), at, xerr=own.std(ddof=1), color=shade, lw=1.6, capsize=0, zorder=2)
            ax.plot(own, np.full(len(own), at), "o", ms=3, mfc="white", mec=shade, mew=0.8, zorder=3)
        ax.plot(own.mean(), at, "o", ms=7, color=shade, mec="white", mew=0.8, zorder=4)
        reach = own.mean() + (own.std(ddof=1) if len(own) > 1 else 0)
        note = f"{own.mean():.1f}"
        edge = (max(reach, own.max()), at)
        ax.annotate(note, edge, (7, 0), textcoords="offset points", va="center", fontsize=8, path_effects=HALO)
        if row in (heads or {}):
            head = (heads or {})[row]
            ax.annotate(head, (0, at - 0.75), (-4, 0), ("axes fraction", "data"), "offset points",
                        ha="right", va="center", fontsize=8, fontweight="bold")  # fmt: skip
    ax.set_yticks(list(place.values()), list(place))
    first = min(place.values()) - (1.15 if heads and next(iter(place)) in heads else 0.6)
    ax.set(ylim=(max(place.values()) + 0.6, first), xlabel=MAP)
    ax.margins(x=0.14)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    return ax


def by_iou(
    scores: Mapping[str, Float[np.ndarray, "s k"]],
    iou: Sequence[float],
    colours: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean mAP over the seeds by tIoU, a line a row, its standard deviation as a band."""
    if ax is None:
        ax = plt.subplots(figsize=(0.5 * FULL_WIDTH, 2.8))[1]
    for row, score_sk in scores.items():
        shade, middle_k = (colours or {}).get(row, colour(row)), score_sk.mean(axis=0)
        style = "--" if row.startswith(("supervised", "vanilla")) else "-"
        ax.plot(iou, middle_k, style, marker="o", ms=3.5, color=shade, label=row, lw=1.6)
        if len(score_sk) > 1:
            reach_k = score_sk.std(axis=0, ddof=1)
            ax.fill_between(iou, middle_k - reach_k, middle_k + reach_k, color=shade, alpha=0.18, lw=0)
    ax.set(xlabel="tIoU", ylabel="mAP (%)", ylim=(0, None), xticks=list(iou)[:: -(-len(iou) // 7)])
    ax.legend(loc="lower right", bbox_to_anchor=(1.03, 1), ncols=3, fontsize=7.5, handlelength=1.6, columnspacing=0.9)
    return ax


def training_curves(curves: pd.DataFrame, warmup: float = 0, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Test mAP over training, a panel a branch: taught (solid) beside video labels alone (dashed), a band over seeds.

    ``curves`` as of :func:`wtal_lib.studies.history.curve`. The last point of the mean is the result (disc); its best point on
    the test set (star) is an oracle. Left of ``warmup`` updates nobody teaches; the axis counts both branches' updates.
    """
    branches = [branch for branch in ("cbp", "vlp", "fused") if branch in set(curves["branch"])]
    if axes is None:
        axes = list(plt.subplots(1, len(branches), figsize=(FULL_WIDTH, 2.5), sharey=True, squeeze=False)[1][0])
    styles = {"full": ("-", "taught in turn"), "late_fusion": ((0, (3, 1.5)), "video labels alone")}
    for ax, branch in zip(axes, branches, strict=True):
        for preset, (style, _) in styles.items():
            of = curves[(curves["branch"] == branch) & (curves["preset"] == preset)]
            steps = of.groupby(["updates", "phase"], sort=True)["map"].agg(["mean", "std"]).reset_index()
            if not len(steps):
                continue
            x, middle, reach = steps["updates"], steps["mean"], steps["std"].fillna(0)
            shade = colour(branch)
            ax.plot(x, middle, ls=style, color=shade, lw=1.6)
            ax.fill_between(x, middle - reach, middle + reach, color=shade, alpha=0.15, lw=0)
            ax.plot(x.iloc[-1], middle.iloc[-1], "o", ms=6, color=shade, mec="white", mew=0.8, zorder=4, clip_on=False)
            best = int(np.argmax(middle))
            ax.plot(x[best], middle[best], "*", ms=9, mfc="none", mec="0.15", mew=0.9, zorder=5, clip_on=False)
        if warmup:
            ax.axvline(warmup, color="0.6", lw=0.9, ls=":")
        ax.set(
            title=LABELS[branch] if branch == "fused" else f"{LABELS[branch]} branch", xlabel="updates of both branches"
        )
    axes[0].set(ylabel=MAP)
    lines = [Line2D([], [], color="0.3", ls=style, lw=1.6, label=name) for style, name in styles.values()]
    lines += [Line2D([], [], ls="", marker="o", color="0.3", label="last: the result")]
    lines += [Line2D([], [], ls="", marker="*", ms=9, mfc="none", mec="0.15", label="best on test: an oracle")]
    axes[0].figure.legend(handles=lines, loc="outside upper left", ncols=4, handlelength=2)
    return list(axes)


def heat(
    grid: pd.DataFrame, *, title: str = "", default: tuple[float, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Values over background thresholds (its index, the lowest at the bottom) and foreground thresholds (its columns).

    Each cell says its value; the one of the ``default`` thresholds is framed.
    """
    if ax is None:
        ax = plt.subplots(figsize=(0.36 * FULL_WIDTH, 2.2))[1]
    value_ij = grid.to_numpy(dtype=float)
    rows, columns = grid.index.to_list(), [float(one) for one in grid.columns]
    low, high = np.nanmin(value_ij), np.nanmax(value_ij)
    ax.imshow(value_ij, cmap="cividis", origin="lower", aspect="auto", vmin=low, vmax=max(high, low + 1e-9))
    for i, j in np.argwhere(~np.isnan(value_ij)):
        shade = "0.1" if value_ij[i, j] > (low + high) / 2 else "white"
        ax.text(j, i, f"{value_ij[i, j]:.1f}", ha="center", va="center", color=shade, fontsize=8)
    if default is not None:
        i, j = rows.index(default[0]), columns.index(default[1])
        ax.add_patch(Rectangle((j - 0.47, i - 0.44), 0.94, 0.88, fill=False, ec="#D55E00", lw=2))
    ax.set_xticks(range(len(columns)), [f"{one:g}" for one in columns])
    ax.set_yticks(range(len(rows)), [f"{one:g}" for one in rows])
    ax.set(title=title, xlabel="foreground above", ylabel="background below")
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def label_quality(frame: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Precision, recall and share of the pseudo-labels over training, foreground left and background right.

    ``frame`` as of :func:`wtal_lib.studies.history.pseudo_labels`; blue is what CBP is taught (F steps), vermilion what VLP is
    (B steps), the band the standard deviation over seeds.
    """
    if axes is None:
        axes = list(plt.subplots(1, 2, figsize=(FULL_WIDTH, 2.5), sharey=True)[1])
    styles = {"precision": "-", "recall": (0, (4, 1.5)), "share": (0, (1, 1.2))}
    for ax, kind in zip(axes, ("foreground", "background"), strict=True):
        of = frame[frame["kind"] == kind]
        for student, part in of.groupby("student"):
            for name, style in styles.items():
                steps = 100 * part.groupby("updates")[name].agg(["mean", "std"])
                middle, reach = steps["mean"], steps["std"].fillna(0)
                ax.plot(steps.index, middle, ls=style, color=colour(str(student)), lw=1.6, marker="o", ms=2.5)
                ax.fill_between(
                    steps.index, middle - reach, middle + reach, color=colour(str(student)), alpha=0.15, lw=0
                )
        ax.set(title=f"{kind} labels", xlabel="updates of both branches", ylim=(0, 102))
    axes[0].set(ylabel="of the labels (%)")
    lines = [Line2D([], [], color="0.3", ls=style, label=name) for name, style in styles.items()]
    lines += [Line2D([], [], color=COLOURS[name], lw=3, label=f"taught to {LABELS[name]}") for name in ("cbp", "vlp")]
    axes[0].figure.legend(handles=lines, loc="outside upper left", ncols=5, handlelength=2)
    return list(axes)


def sensitivity(
    pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    spread: float = 0.0,
    names: tuple[str, str] = ("late fusion", "full"),
    ax: Axes | None = None,
) -> Axes:
    """From one mean to another in every world, the first on top, seeds as small dots; the gain stands beside.

    Each world has the scores of both by seed. A gain is bold beyond its own spread over seeds, or beyond ``spread``
    where there is one seed.
    """
    if ax is None:
        ax = plt.subplots(figsize=(0.6 * FULL_WIDTH, 0.9 + 0.3 * len(pairs)))[1]
    colours = COLOURS["late_fusion"], COLOURS["fused"]
    for y, scores in enumerate(pairs.values()):
        means = [float(np.mean(values)) for values in scores]
        ax.plot(means, [y, y], color="0.75", lw=2.5, zorder=1)
        for values, mean, shade, name in zip(scores, means, colours, names, strict=True):
            ax.plot(mean, y, "o", ms=7, color=shade, mec="white", label=None if y else name, zorder=3)
            if len(values) > 1:
                ax.plot(values, [y - 0.27] * len(values), "o", ms=2.5, color=shade, mew=0, zorder=2)
        gains = np.subtract(scores[1], scores[0])
        within = gains.std(ddof=1) if len(gains) > 1 else spread
        weight = "bold" if abs(gains.mean()) > within else "normal"
        ax.annotate(f"{gains.mean():+.1f}", (max(map(max, scores)), y), (8, 0), textcoords="offset points", va="center",
                    fontsize=8, fontweight=weight)  # fmt: skip
    ax.set_yticks(range(len(pairs)), list(pairs))
    ax.set(ylim=(len(pairs) - 0.4, -0.6), xlabel=MAP)
    ax.margins(x=0.14)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderpad=0, handletextpad=0.2)
    return ax


def published(
    table: pd.DataFrame, marked: str, score: str = "mean", ours: Sequence[float] = (), ax: Axes | None = None
) -> Axes:
    """Published methods by year and mAP, the year's best named, the ``marked`` method in colour; ``ours`` beside it.

    ``table`` as of :func:`wtal_lib.studies.tables.published`. ``ours`` (a score a seed) belongs here only where it rests on
    real features.
    """
    if ax is None:
        ax = plt.subplots(figsize=(0.75 * FULL_WIDTH, 2.7))[1]
    known = table[table[score].notna()].reset_index(drop=True)
    place = known["year"] + 0.5 * (
        known.groupby("year").cumcount() / known.groupby("year")["year"].transform("size") - 0.5
    )
    own = known["method"] == marked
    ax.plot(place[~own], known[score][~own], "o", ms=4.5, color="0.6", mec="white", mew=0.5)
    ax.plot(place[own], known[score][own], "D", ms=7, color=COLOURS["fused"], mec="white", zorder=3)
    tops = known.groupby("year")[score].idxmax().tolist()
    for row in dict.fromkeys([*tops, *np.flatnonzero(own)]):
        beside = known["year"][row] == known["year"][own].max()
        shift, side = (
            ((-9, -3), "right")
            if own[row] and row not in tops
            else ((0, 6), "center")
            if beside
            else ((-6, 4), "right")
        )
        text, weight = f"{known['method'][row]} {known[score][row]:.1f}", "bold" if own[row] else "normal"
        at = (place[row], known[score][row])
        ax.annotate(text, at, shift, textcoords="offset points", ha=side, fontsize=7.5, fontweight=weight, color="0.2")
    if len(ours):
        last = known["year"].max() + 1
        ax.errorbar(
            last, np.mean(ours), np.std(ours, ddof=1) if len(ours) > 1 else 0, fmt="o", ms=7, color=COLOURS["fused"]
        )
        ax.annotate(f"ours {np.mean(ours):.1f}", (last, np.mean(ours)), (-7, 0), ha="right", textcoords="offset points")
    years = sorted(known["year"].unique())
    ax.set_xticks([*years, *([last] if len(ours) else [])], [*map(str, years), *(["ours"] if len(ours) else [])])
    ax.set(ylabel="published " + MAP if not len(ours) else MAP)
    ax.set_xlim(min(years) - 1.3, max(years) + (1.5 if len(ours) else 0.6))
    ax.margins(y=0.12)
    ax.grid(axis="x", visible=False)
    return ax
