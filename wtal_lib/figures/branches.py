"""Figures of completeness: what detections and the two branches cover, add and find, before and after distillation."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from wtal_lib.figures import draw
from wtal_lib.figures.draw import COLOURS, LABELS, OUTCOMES, STAGES, colour

PARTS = {"inside": "#009E73", "context": "#E69F00", "elsewhere": "#999999"}
"Parts of a detection, and their colours"
FOUND = {"both": "#009E73", "CBP alone": COLOURS["cbp"], "VLP alone": COLOURS["vlp"], "neither": "#CCCCCC"}
"One colour for who finds an instance"


def bin_names(edges: Sequence[float], scale: float = 1.0) -> list[str]:
    """Names of the bins between and beyond inner edges, each edge in the bin below: ``≤ 3``, ``3–6``, ``> 6``."""
    ends = [f"{scale * edge:g}" for edge in edges]
    return [f"≤ {ends[0]}", *(f"{low}–{high}" for low, high in itertools.pairwise(ends)), f"> {ends[-1]}"]


def quantiles_by_bin(
    values: Mapping[str, Float[np.ndarray, " m"]],
    bin_m: Int[np.ndarray, " m"],
    names: Sequence[str],
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Median (dot), middle half (bar) and middle 90 % (line) of shares by bin and branch; n instances are not nan."""
    ax = draw.single(ax, 0.5, 2.5)
    wide = pd.DataFrame({LABELS.get(name, name): 100 * value_m for name, value_m in values.items()})
    long = wide.assign(bin=bin_m).melt("bin")
    style: dict[str, Any] = {"palette": [colour(name) for name in values], "dodge": 0.4 if len(values) > 1 else False}
    style |= {"linestyle": "none", "markersize": 6, "mec": "white", "order": range(len(names))}
    for middle, width, legend in ((90, 1, len(values) > 1), (50, 5, False)):
        style |= {"errorbar": ("pi", middle), "err_kws": {"lw": width, "zorder": 1}, "legend": legend}
        sns.pointplot(long, x="bin", y="value", hue="variable", estimator="median", ax=ax, **style)
    counts = wide.groupby(bin_m).count().max(axis=1).reindex(range(len(names)), fill_value=0)
    draw.bins_across(ax, names, counts.to_numpy())
    ax.set(xlabel="", ylabel=ylabel, ylim=(-3, 103))
    if len(values) > 1:
        ax.legend(ncols=len(values), **draw.ABOVE)
    return ax


def detection_parts(
    share_b3: Float[np.ndarray, "bins 3"],
    count_b: Int[np.ndarray, " bins"],
    names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Share of a detection inside instances of its class, in the context beside one, and elsewhere, by bin."""
    ax = draw.single(ax, 0.6, 2.6)
    draw.stacked(ax, pd.DataFrame(100 * share_b3, list(names), list(PARTS)), PARTS)
    draw.bins_across(ax, names, count_b)
    ax.set(ylabel="share of the detection (%)")
    ax.legend(ncols=3, **draw.ABOVE)
    return ax


def completeness_curves(
    curves: pd.DataFrame, pairs: Mapping[str, tuple[str, str]], alone: Sequence[str] = (), ax: Axes | None = None
) -> Axes:
    """Completeness by over-completeness over the CAS threshold, untaught (dashed) and full (solid); dot: cut at half.

    ``curves``: stage, level (threshold), complete, over; ``pairs``: stages untaught, full by branch; ``alone``: others.
    """
    ax = draw.single(ax, 0.72, 3.3)
    drawn = [(stage, branch, stage == both[1]) for branch, both in pairs.items() for stage in both]
    for stage, branch, after in [*drawn, *((stage, stage, True) for stage in alone)]:
        of, shade = curves[curves["stage"] == stage], colour(branch)
        x, y, half = 100 * of["over"], 100 * of["complete"], (of["level"] - 0.5).abs().idxmin()
        ax.plot(x, y, "-" if after else "--", color=shade, lw=1.7, label=LABELS.get(branch, branch) if after else None)
        face, edge = (shade, "white") if after else ("white", shade)
        ax.plot(x[half], y[half], "o", ms=7, mfc=face, mec=edge, mew=1.2, zorder=4)
    ax.set(xlabel="added beside an instance (% of its length)", ylabel="covered of an instance (%)")
    ax.set(xlim=(0, None), ylim=(0, 100))
    handles = ax.get_legend_handles_labels()[0]
    if pairs:
        handles += [draw.key(name, ls=dashes) for name, dashes in zip(STAGES.values(), ("--", "-"), strict=True)]
    handles.append(draw.key("threshold 0.5", ls="", marker="o"))
    ax.legend(handles=handles, loc="lower right")
    return ax


def change_by_bin(
    values: Mapping[str, Mapping[str, Float[np.ndarray, " bins"]]],
    names: Sequence[str],
    counts: Sequence[int],
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Mean in each bin untaught (hollow) and full (filled), a colour a branch; ``values`` by branch, then by stage."""
    ax = draw.single(ax, 0.5, 2.6)
    for index, (branch, by_stage) in enumerate(values.items()):
        place = np.arange(len(names)) + 0.16 * (index - (len(values) - 1) / 2)
        draw.changes(ax, place, [100 * np.asarray(of) for of in by_stage.values()], colour(branch), upright=True)
        ax.lines[-1].set_label(LABELS[branch])
    for name, face in zip(STAGES.values(), ("white", "0.35"), strict=True):
        ax.plot([], [], "o", color="0.35", mfc=face, label=name)
    draw.bins_across(ax, names, counts)
    ax.set(ylabel=ylabel, ylim=(0, None))
    return ax


def change_by_class(
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    lower_is_better: Collection[str] = (),
    rows: int = 24,
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Mean of each class untaught (hollow) and full (filled), a panel a measure, ordered by the first measure's change.

    Both: value by measure, whose branch gives the colour, and class; of more than ``rows`` those that change most. A
    class that comes out worse is grey; the title counts those that come out better.
    """
    first = next(iter(before))
    order = sorted(before[first], key=lambda name: before[first][name] - after[first][name])
    axes = draw.panels(axes, len(before), 1 + 0.17 * min(len(order), rows), sharey=True)
    for ax, (measure, was) in zip(axes, before.items(), strict=True):
        index, place = draw.rows_down(ax, order, rows)
        ends = [np.array([100 * of[order[i]] for i in index]) for of in (was, after[measure])]
        sign = -1 if measure in lower_is_better else 1
        better = sign * (ends[1] - ends[0]) > 0
        for rows_of, shade in ((better, COLOURS["cbp" if "CBP" in measure else "vlp"]), (~better, "0.55")):
            draw.changes(ax, place[rows_of], [of[rows_of] for of in ends], shade)
        won = sum(sign * (after[measure][name] - was[name]) > 0 for name in order)
        ax.set_title(f"better in {won} of {len(order)} classes")
        ax.set_xlabel(f"← better, {measure}" if measure in lower_is_better else f"{measure}, better →")
        ax.set_xlim(left=0)
        ax.tick_params(axis="y", labelsize=7)
    faces = dict(zip(STAGES.values(), ("white", "0.35"), strict=True))
    handles = [draw.key(name, ls="", marker="o", mfc=face) for name, face in faces.items()]
    handles.append(draw.key("worse", color="0.55", lw=1.6))
    axes[0].figure.legend(handles=handles, loc="outside upper right", ncols=3, handlelength=1)
    return axes


def instances_found(shares: Mapping[str, Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Instances (%) found by both branches, one or neither, a bar a stage; dashed: ``neither`` if independent."""
    ax = draw.single(ax, 0.75, 0.8 + 0.42 * len(shares))
    frame = 100 * pd.DataFrame(shares).T
    draw.stacked(ax, frame[list(FOUND)], FOUND, across=True)
    _, place = draw.rows_down(ax, list(shares))
    style: dict[str, Any] = {"color": "0.1", "lw": 1.3, "ls": (0, (2, 1.2)), "label": "neither, by chance"}
    ax.vlines(100 - frame["by chance"], place - 0.45, place + 0.45, **style)
    ax.set(xlabel="instances found at tIoU 0.5 (%)")
    ax.legend(ncols=5, **draw.ABOVE)
    return ax


def outcomes(shares: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Shares (%) of TP, FN, FP and TN among all snippets, a bar a row of ``shares``; action ends at the dark tick."""
    ax = draw.single(ax, 0.85, 0.9 + 0.3 * len(shares))
    percent = 100 * shares.set_index("row")[list(OUTCOMES)]
    draw.stacked(ax, percent, OUTCOMES, across=True, least=3)
    _, place = draw.rows_down(ax, list(percent.index))
    ax.vlines(percent["TP"] + percent["FN"], place - 0.45, place + 0.45, color="0.1", lw=1.3)
    ax.set(xlabel="snippets of the videos' own classes (%)")
    ax.legend(ncols=4, **draw.ABOVE)
    return ax
