"""Figures of runs: scores and spread over seeds, training curves, thresholds, pseudo-labels, published methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from wtal_lib.figures import draw
from wtal_lib.figures.draw import COLOURS, LABELS, STAGES, colour

MAP = "mAP, mean over tIoU (%)"


def dot_plot(
    values: Mapping[str, Sequence[float]],
    *,
    colours: Mapping[str, str] | None = None,
    heads: Mapping[str, str] | None = None,
    base: str = "",
    spread: float = 0.0,
    ax: Axes | None = None,
) -> Axes:
    """Rows of scores: each seed a hollow dot, their mean a full one with its standard deviation.

    ``heads`` puts a heading over the row it names; a band of half-width ``spread`` (points) lies about ``base``'s mean.
    """
    heads = {row: f"{head}\u200b" for row, head in (heads or {}).items()}  # no head may equal a row's name
    names = [name for row in values for name in (heads.get(row), row) if name]
    shades = {row: (colours or {}).get(row, colour(row)) for row in values}
    long = pd.DataFrame([(row, score) for row, of in values.items() for score in of], columns=["row", "score"])
    by_row = long.groupby("row")["score"]
    mean = by_row.mean()
    edge = np.maximum(by_row.max(), mean + by_row.std().fillna(0))
    ax = draw.single(ax, 0.72, 0.75 + 0.21 * len(names))
    if base in values:
        if spread > 0:
            ax.axvspan(mean[base] - spread, mean[base] + spread, color="0.9", lw=0, zorder=0)
        ax.axvline(mean[base], color="0.55", lw=0.9, zorder=1)
    style: dict[str, Any] = {"linestyle": "none", "err_kws": {"lw": 1.6}, "markersize": 7, "mec": "white", "zorder": 4}
    sns.pointplot(long, x="score", y="row", order=names, hue="row", palette=shades, errorbar="sd", ax=ax, **style)
    seeds = long[by_row.transform("size") > 1]
    ax.scatter(seeds["score"], seeds["row"].map(names.index), s=9, c="white", ec=seeds["row"].map(shades), zorder=3)
    halo = [withStroke(linewidth=2, foreground="white")]  # keeps a number legible where it crosses a line
    for row in values:
        draw.note(ax, f"{mean[row]:.1f}", (edge[row], names.index(row)), (7, 0), path_effects=halo)
    draw.rows_down(ax, [name.rstrip("\u200b") for name in names])
    for label, name in zip(ax.get_yticklabels(), names, strict=True):
        label.set_fontweight("normal" if name in values else "bold")
    ax.set(xlabel=MAP, ylabel="")
    ax.margins(x=0.14)
    return ax


def by_iou(
    scores: Mapping[str, Float[np.ndarray, "s k"]],
    iou: Sequence[float],
    colours: Mapping[str, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Mean mAP over the seeds by tIoU, a line a row, its standard deviation as a band; percent."""
    ax = draw.single(ax, 0.5, 2.8)
    parts = [pd.DataFrame(score_sk, columns=list(iou)).assign(row=row) for row, score_sk in scores.items()]
    long = pd.concat(parts).melt("row", var_name="tIoU", value_name="mAP (%)")
    shades = {row: (colours or {}).get(row, colour(row)) for row in scores}
    dashes = {row: (3, 1.5) if row.startswith(("supervised", "vanilla")) else "" for row in scores}
    style: dict[str, Any] = {"palette": shades, "dashes": dashes, "errorbar": "sd", "marker": "o", "legend": False}
    sns.lineplot(long, x="tIoU", y="mAP (%)", hue="row", style="row", ax=ax, **style)
    ax.set(ylim=(0, None), xticks=list(iou)[:: -(-len(iou) // 7)])
    above: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.03, 1), "ncols": 3, "fontsize": 7.5}
    ax.legend(ax.lines, list(scores), handlelength=1.6, columnspacing=0.9, **above)
    return ax


def training_curves(curves: pd.DataFrame, warmup: float = 0, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Test mAP over training, a panel a branch: full (solid) beside video labels alone (dashed).

    ``curves`` has the columns preset, seed, branch, updates and map (percent); bands are standard deviations over
    seeds. Disc: the result; star: the best point on the test set, an oracle. Dotted: the end of ``warmup`` updates.
    """
    branches = [branch for branch in ("cbp", "vlp", "fused") if branch in set(curves["branch"])]
    axes = draw.panels(axes, len(branches), 2.5, sharey=True)
    styles = {"full": ("-", STAGES["full"]), "late_fusion": ((0, (3, 1.5)), STAGES["late_fusion"])}
    disc: dict[str, Any] = {"marker": "o", "ms": 6.5, "mec": "white", "ls": ""}
    star: dict[str, Any] = {"marker": "*", "ms": 9, "mfc": "none", "mec": "0.15", "mew": 0.9, "ls": ""}
    for ax, branch in zip(axes, branches, strict=True):
        for preset, (dashes, _) in styles.items():
            of = curves[(curves["branch"] == branch) & (curves["preset"] == preset)]
            if of.empty:
                continue
            sns.lineplot(of, x="updates", y="map", errorbar="sd", color=colour(branch), ls=dashes, ax=ax)
            mean = of.groupby("updates")["map"].mean()
            ax.plot(mean.index[-1], mean.iloc[-1], color=colour(branch), **disc, zorder=4, clip_on=False)
            ax.plot(mean.idxmax(), mean.max(), **star, zorder=5, clip_on=False)
        if warmup:
            ax.axvline(warmup, color="0.6", lw=0.9, ls=":")
        ax.set(title=LABELS[branch] + " branch" * (branch != "fused"), xlabel="updates of both branches", ylabel="")
    axes[0].set_ylabel(MAP)
    handles = [draw.key(label, ls=dashes) for dashes, label in styles.values()]
    handles += [draw.key("last: the result", **disc), draw.key("best on test: an oracle", **star)]
    axes[0].figure.legend(handles=handles, loc="outside upper left", ncols=4, handlelength=2)
    return axes


def thresholds(grid: pd.DataFrame, *, title: str, default: tuple[float, float], ax: Axes | None = None) -> Axes:
    """Heat map (%) over background (index) and foreground (columns) thresholds, centred on the framed ``default``."""
    ax = draw.single(ax, 0.4, 2.2)
    cells = grid.astype(float).sort_index(ascending=False)
    centre = float(cells.loc[default])
    reach = max(10.0, float((cells - centre).abs().max(axis=None)))
    ends: dict[str, Any] = {"vmin": centre - reach, "vmax": centre + reach, "cmap": "PRGn"}
    ends["cbar_kws"] = {"format": "%.1f", "ticks": [centre - reach, centre, centre + reach]}
    style: dict[str, Any] = {"annot": True, "fmt": ".1f", "annot_kws": {"fontsize": 8}, "linewidths": 0.8}
    sns.heatmap(cells, ax=ax, cbar_ax=ax.inset_axes((1.04, 0.05, 0.05, 0.9)), **ends, **style)
    row, column = cells.index.get_loc(default[0]), cells.columns.get_loc(default[1])
    ax.add_patch(Rectangle((column + 0.03, row + 0.03), 0.94, 0.94, fill=False, ec="0.1", lw=1.8))
    ax.tick_params(length=0, rotation=0)
    ax.set(title=title, xlabel="foreground above", ylabel="background below")
    return ax


def label_quality(frame: pd.DataFrame, axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Pseudo-label precision, recall and share by student, kind and updates; bands: standard deviations over seeds.

    Grey in the first panel: how often a guess would be right, the share of snippets that are of the kind (``there``).
    """
    axes = draw.panels(axes, 3, 2.5)
    students = {student: COLOURS[student] for student in ("cbp", "vlp")}
    style: dict[str, Any] = {"hue": "student", "palette": students, "style": "kind", "marker": "o", "legend": False}
    style |= {"dashes": {"foreground": "", "background": (3, 1.5)}, "style_order": ["foreground", "background"]}
    for ax, name in zip(axes, ("precision", "recall", "share"), strict=True):
        sns.lineplot(frame.assign(percent=100 * frame[name]), x="updates", y="percent", errorbar="sd", ax=ax, **style)
        quantity = "labelled snippets" if name == "share" else name
        ax.set(xlabel="updates of both branches", ylabel=f"{quantity} (%)", ylim=(0, 104))
    for kind, there in frame.groupby("kind")["there"].mean().items():
        axes[0].axhline(100 * there, color="0.6", lw=1, ls="--" if kind == "background" else "-", zorder=1)
    handles = [draw.key(f"labels for {LABELS[name]}", color=shade, lw=3) for name, shade in students.items()]
    handles += [draw.key("foreground"), draw.key("background", ls="--"), draw.key("a guess", color="0.6", lw=1)]
    axes[0].figure.legend(handles=handles, loc="outside upper left", ncols=5, handlelength=2)
    return axes


def published(table: pd.DataFrame, marked: str, ours: Sequence[float] = (), ax: Axes | None = None) -> Axes:
    """Published methods (method, year, extra, mean mAP) by year; ``marked`` in colour, ``ours`` a score a seed."""
    ax = draw.single(ax, 0.85, 3)
    known = table.dropna(subset="mean").reset_index(drop=True)
    within = known.groupby("year").cumcount() / known.groupby("year")["year"].transform("size")
    known["place"] = known["year"] + 0.5 * (within - 0.5)
    known["trained on"] = known["extra"].map({False: "video labels", True: "more than video labels"})
    own = known["method"] == marked
    shades = {"video labels": "0.35", "more than video labels": "#E69F00"}
    sns.scatterplot(known[~own], x="place", y="mean", hue="trained on", hue_order=shades, palette=shades, s=26, ax=ax)
    ax.plot(known["place"][own], known["mean"][own], "D", ms=7, color=COLOURS["fused"], mec="white", zorder=3)
    points = list(known[["place", "mean"]].itertuples(index=False, name=None))
    best = known.groupby("year")["mean"].idxmax().tolist()
    texts = {row: f"{known['method'][row]} {points[row][1]:.1f}" for row in [*np.flatnonzero(own).tolist(), *best]}
    ticks = {int(year): str(year) for year in sorted(known["year"].unique())}
    if len(ours):
        points.append((max(ticks) + 1, float(np.mean(ours))))
        texts[len(known)] = f"ours {np.mean(ours):.1f}"
        ticks[points[-1][0]] = "ours"
        spread = float(np.std(ours, ddof=1)) if len(ours) > 1 else 0.0
        ax.errorbar(points[-1][0], points[-1][1], spread, fmt="o", ms=7, color=COLOURS["fused"])
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.set(xlabel="year of publication", ylabel=MAP if len(ours) else f"published {MAP}")
    ax.set_xlim(min(ticks) - 0.6, max(ticks) + 0.6)
    ax.margins(y=0.12)
    ax.grid(axis="x", visible=False)
    ax.legend(loc="lower right", title="trained on", handletextpad=0.2)
    for row, label in zip(texts, draw.place_labels(ax, points, texts), strict=True):
        label.set_fontweight("bold" if row < len(own) and own[row] else "normal")
    return ax


def intervals(frame: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Forest plot of row, difference, low, high (points of mAP), full where 0 is excluded; ValueError for others."""
    columns, expected = ["row", "difference", "low", "high"], "expected a table with the columns"
    if frame.empty or not {*columns} <= {*frame}:
        got = f"{len(frame)} rows of {', '.join(map(str, frame)) or 'no columns'}"
        raise ValueError(f"{expected} {', '.join(columns)}; got {got}")
    if len(off := frame[(frame["difference"] < frame["low"]) | (frame["difference"] > frame["high"])]):
        raise ValueError(f"{expected} {', '.join(columns)} and low ≤ difference ≤ high; got {off.iloc[0].to_dict()}")
    ax = draw.single(ax, 0.8, 0.75 + 0.25 * len(frame))
    ax.axvline(0, color="0.55", lw=0.9, zorder=1)
    for y, (difference, low, high) in enumerate(frame[["difference", "low", "high"]].to_numpy(dtype=float)):
        shade = COLOURS["fused"] if low > 0 else COLOURS["vlp"] if high < 0 else "0.45"
        ax.hlines(y, low, high, color=shade, lw=1.8)
        ax.plot(difference, y, "o", ms=6, mfc=shade if low > 0 or high < 0 else "white", mec=shade, mew=1.3)
        text = f"{difference:+.1f}  [{low:+.1f}, {high:+.1f}]".replace("[+nan, +nan]", "[unknown]")
        draw.note(ax, text, (1, y), (6, 0), xycoords=ax.get_yaxis_transform())
    draw.rows_down(ax, frame["row"].tolist())
    ax.margins(x=0.1)
    ax.set(xlabel="difference (points of mAP) with its 95 % interval, better →")
    return ax
