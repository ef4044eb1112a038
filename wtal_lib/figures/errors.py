"""Figures of how detections err: by protocol, class and kind of error, and by what is missed; from fractions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from wtal_lib.figures import draw
from wtal_lib.figures.draw import COLOURS

KIND_COLOURS = {
    "true positive": "#009E73",
    "double detection": "#F0E442",
    "wrong class": "#CC79A7",
    "bad localization": "#D55E00",
    "confusion": "#56B4E9",
    "background": "#999999",
    "miss": "#4D4D4D",
}
"One colour a verdict (Okabe and Ito's), in the order of the kinds of error"
PROTOCOL_COLOURS = ("0.3", "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#CC79A7")
"Of protocols, in their order; the first is the one the others are compared with"


def protocols(
    map_pk: Float[np.ndarray, "p k"], iou: Sequence[float], names: Sequence[str], axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """The same detections under every protocol: mean mAP, and by tIoU the difference from the first protocol.

    Names that differ in the ambiguous filter only share a colour; the filtered one is hollow and dashed.
    """
    means, gains = draw.panels(axes, 2, 1.3 + 0.2 * max(len(names), 4), width_ratios=[1, 1.5])
    bases = [name.removesuffix("-ambiguous") for name in names]
    shades = dict(zip(dict.fromkeys(bases), itertools.cycle(PROTOCOL_COLOURS), strict=False))
    mean_p, gain_pk = 100 * map_pk.mean(axis=1), 100 * (map_pk - map_pk[0])
    for row, (name, base, gain_k) in enumerate(zip(names, bases, gain_pk, strict=True)):
        face, dashes = (shades[base], "-") if name == base else ("white", (0, (2, 1.5)))
        means.plot(mean_p[row], row, "o", ms=6, mfc=face, mec=shades[base], mew=1.4)
        draw.note(means, f"{mean_p[row]:.1f}", (mean_p[row], row), (7, 0))
        gains.plot(iou, gain_k, "o", ls=dashes, color=shades[base], mfc=face, ms=4, zorder=2 + 0.5 * (name != base))
    p, k = np.unravel_index(np.abs(gain_pk).argmax(), gain_pk.shape)
    if gain_pk[p, k]:
        draw.note(gains, f"{gain_pk[p, k]:+.1f}", (iou[k], gain_pk[p, k]), (6, 0))
    shared = f"{names[0].split('-')[0]}-" if len({name.split("-")[0] for name in names}) == 1 else ""
    short = [name.removeprefix(shared) for name in names]  # without the dataset that all of them name
    draw.rows_down(means, short)
    middle, reach = (mean_p.min() + mean_p.max()) / 2, max(1.0, 0.7 * float(np.ptp(mean_p)))
    means.set(xlim=(middle - reach, middle + 1.4 * reach), xlabel="mAP, mean over tIoU (%)")
    gains.set(xlabel="tIoU", ylabel="points above the first row", xticks=iou[:: -(-len(iou) // 7)])
    gains.set_ylim(min(-1.0, 1.12 * gain_pk.min()), max(1.0, 1.12 * gain_pk.max()))
    return [means, gains]


def class_ap(
    ap_ck: Float[np.ndarray, "c k"],
    iou: Sequence[float],
    classes: Sequence[str],
    rows: int = 30,
    ax: Axes | None = None,
) -> Axes:
    """Average precision of each class (nan left out), a bar a tIoU, best first, the mean on top; ``rows`` at most."""
    table = pd.DataFrame(100 * ap_ck, index=list(classes)).dropna()
    table = table.loc[table.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    ax = draw.single(ax, 0.72, 1.1 + 0.15 * min(len(table), rows))
    index, place = draw.rows_down(ax, [f"mean of {len(table)}", *table.index], rows + 1)
    ap_rk = np.vstack([table.mean(), table])[index]
    shades = sns.color_palette("ch:s=.25,rot=-.25,light=.88,dark=.2", len(iou))
    for k, at in sorted(enumerate(iou), key=lambda pair: pair[1]):
        ax.barh(place, ap_rk[:, k], 0.8, color=shades[k], label=f"{at:g}")
    ax.axhline(0.5, color="0.5", lw=0.8)
    ax.get_yticklabels()[0].set_fontweight("bold")
    ax.set(xlabel="average precision (%)", xlim=(0, 100))
    ax.legend(title="tIoU", loc="lower right", bbox_to_anchor=(1, 0.04), reverse=True)  # above a stamp at the edge
    return ax


def error_kinds(profile_gk: Float[np.ndarray, "g kinds"], kinds: Sequence[str], ax: Axes | None = None) -> Axes:
    """Share of each kind among a class's detections, by rank: the best G of a class with G instances, the next G, …"""
    ax = draw.single(ax, 0.6, 2.7)
    ranks = [f"{g}G" for g in range(1, len(profile_gk) + 1)]
    draw.stacked(ax, pd.DataFrame(100 * profile_gk, ranks, list(kinds)), KIND_COLOURS, least=101)
    ax.set(xlabel="rank in its class, in multiples of its instances G", ylabel="detections (%)")
    ax.legend(ncols=3, **draw.ABOVE)
    return ax


def verdicts(
    truth_m2: Float[np.ndarray, "m 2"],
    segment_n2: Float[np.ndarray, "n 2"],
    verdict_n: Sequence[str],
    other_o2: Float[np.ndarray, "o 2"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Truth of one class in one video (s; hollow: other classes), its detections below, best first, by verdict."""
    last = len(segment_n2)
    ax = draw.single(ax, 1, 1.1 + 0.11 * last)
    for segment_x2, face in ((other_o2, "none"), (truth_m2, COLOURS["truth"])):
        lane = [] if segment_x2 is None else draw.spans(segment_x2)
        ax.broken_barh(lane, (-1.9, 1.5), facecolor=face, edgecolor=COLOURS["truth"], lw=0.7)
    ax.broken_barh(lane, (-0.4, last + 0.6), color="0.9", zorder=0)
    for verdict in (name for name in KIND_COLOURS if name in verdict_n):
        rows = np.flatnonzero([name == verdict for name in verdict_n])
        length_r = np.diff(segment_n2[rows])[:, 0]
        ax.barh(rows + 0.4, length_r, 0.8, segment_n2[rows, 0], color=KIND_COLOURS[verdict], label=verdict, lw=0)
    ax.set_yticks([-1.15, 0.4, last - 0.6], ["ground truth", "best detection", f"number {last}"])
    end = max(float(truth_m2.max(initial=0)), float(segment_n2.max(initial=0)))
    ax.set(xlabel="time (s)", xlim=(0, 1.01 * end), ylim=(last + 0.2, -2.1))
    draw.bare(ax)
    ax.legend(ncols=6, **{**draw.ABOVE, "loc": "lower right", "bbox_to_anchor": (1, 1)})
    return ax


def error_removal_gain(gains: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Points of mAP gained if all errors of a kind were removed, the costliest kind on top."""
    ax = draw.single(ax, 0.45, 0.6 + 0.27 * len(gains))
    points = 100 * pd.Series(gains).sort_values(ascending=False)
    bars = ax.barh(range(len(points)), points, 0.7, color=[KIND_COLOURS.get(name, "0.5") for name in points.index])
    ax.bar_label(bars, fmt="%+.1f", padding=3, fontsize=8)
    draw.rows_down(ax, points.index.tolist())
    ax.set(xlabel="mAP gained if removed (points)", xlim=(0, 1.25 * max(points.max(), 1e-9)))
    return ax


def miss_rates(
    rates: Mapping[str, tuple[Sequence[str], Float[np.ndarray, " bins"], Int[np.ndarray, " bins"]]],
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Missed share by bin, Wilson's 95 % interval; dashed: all. ``rates``: names, rates, counts of bins by quantity."""
    axes = draw.panels(axes, len(rates), 2.4, sharey=True, width_ratios=[len(names) for names, _, _ in rates.values()])
    for ax, (quantity, (names, rate_b, count_b)) in zip(axes, rates.items(), strict=True):
        known = np.flatnonzero(count_b)
        rate, n = rate_b[known], count_b[known].astype(np.float64)
        square = 1.96**2 / n
        middle, reach = rate + square / 2, np.sqrt(square * (rate * (1 - rate) + square / 4))
        low, high = (100 * (middle + sign * reach) / (1 + square) for sign in (-1, 1))
        ax.bar(known, 100 * rate, 0.75, color="0.6")
        ax.vlines(known, low, high, color="0.1", lw=1.2)
        overall = 100 * float(rate @ n / n.sum()) if len(n) else 0.0
        ax.axhline(overall, color="#D55E00", ls="--", lw=1.1)
        draw.bins_across(ax, names, count_b)
        ax.tick_params(axis="x", labelsize=7)
        ax.set_xlabel(quantity)
    beyond = {"xycoords": ("axes fraction", "data"), "color": "#D55E00"}
    draw.note(axes[-1], f"all\n{overall:.0f} %", (1, overall), (3, 0), **beyond)
    axes[0].set(ylabel="missed (%)", ylim=(0, None))
    return axes
