"""Figures of how detections err: by protocol, class and kind of error, by completeness, and by what is missed.

Fractions come in, percent is what the axes show. Axes are made where none are given, and given back.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from wtal_lib.figures.style import COLOURS, FULL_WIDTH, LABELS, colour

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

PARTS = {"inside": "#009E73", "context": "#E69F00", "elsewhere": "#999999"}
"Parts of a detection, and their colours"

PROTOCOL_COLOURS = ("0.3", "#56B4E9", "#0072B2", "#D55E00", "#E69F00", "#CC79A7")
"Of protocols, in their order; the first is the one the others are held against"


def protocols(
    map_pk: Float[np.ndarray, "p k"], iou: Sequence[float], names: Sequence[str], axes: Sequence[Axes] | None = None
) -> list[Axes]:
    """The same detections under every protocol: mAP averaged over tIoU, and its distance from the first one's by tIoU.

    Names that differ in the ambiguous filter only share a colour; the filtered one is hollow and dashed. The largest
    distance is written beside its point.
    """
    if axes is None:
        size = (FULL_WIDTH, max(2.3, 1.2 + 0.2 * len(names)))
        axes = list(plt.subplots(1, 2, figsize=size, width_ratios=[1, 1.5])[1])
    means, gains = axes
    shades = dict(zip(dict.fromkeys(map(_unfiltered, names)), itertools.cycle(PROTOCOL_COLOURS), strict=False))
    mean_p, gain_pk = 100 * map_pk.mean(axis=1), 100 * (map_pk - map_pk[0])
    for row, (name, gain_k) in enumerate(zip(names, gain_pk, strict=True)):
        shade, filtered = shades[_unfiltered(name)], name != _unfiltered(name)
        face, style = ("white", (0, (2, 1.5))) if filtered else (shade, "-")
        means.plot(mean_p[row], row, "o", ms=6, mfc=face, mec=shade, mew=1.4)
        _note(means, f"{mean_p[row]:.1f}", (mean_p[row], row), (7, 0))
        gains.plot(iou, gain_k, "o", ls=style, color=shade, mfc=face, ms=4, lw=1.6, zorder=2 + 0.5 * filtered)
    p, k = np.unravel_index(np.abs(gain_pk).argmax(), gain_pk.shape)
    if gain_pk[p, k]:
        _note(gains, f"{gain_pk[p, k]:+.1f}", (iou[k], gain_pk[p, k]), (6, 0))
    room = max(0.5, float(np.ptp(mean_p)))
    means.set(xlim=(mean_p.min() - 0.3 * room, mean_p.max() + 0.7 * room), xlabel="mAP, mean over tIoU (%)")
    _rows(means, [_short(name, names) for name in names])
    gains.set(xlabel="tIoU", ylabel=f"mAP beside {_short(names[0], names)} (points)", xticks=iou[:: -(-len(iou) // 7)])
    return [means, gains]


def class_ap(
    ap_ck: Float[np.ndarray, "c k"],
    iou: Sequence[float],
    classes: Sequence[str],
    rows: int = 30,
    ax: Axes | None = None,
) -> Axes:
    """Average precision of each class, bars of several tIoU over one another, best class first, the mean on top.

    Beyond ``rows`` classes the best and the worst are shown. Classes without instances (nan) are left out.
    """
    known_c = np.flatnonzero(~np.isnan(ap_ck).any(axis=1))
    order = known_c[np.argsort(-ap_ck[known_c].mean(axis=1), kind="stable")]
    gap = len(order) > rows
    shown = np.r_[order[: rows // 2], order[len(order) - rows // 2 :]] if gap else order
    place = np.arange(len(shown)) + 1.6 + gap * 1.2 * (np.arange(len(shown)) >= rows // 2)
    if ax is None:
        ax = plt.subplots(figsize=(0.72 * FULL_WIDTH, 0.9 + 0.15 * (place.max() + 1)))[1]
    shades = sns.color_palette("ch:s=.25,rot=-.25,light=.88,dark=.2", len(iou))
    for k, at in sorted(enumerate(iou), key=lambda pair: pair[1]):
        values = 100 * np.r_[ap_ck[known_c, k].mean(), ap_ck[shown, k]]
        ax.barh(np.r_[0, place], values, 0.8, color=shades[k], label=f"{at:g}")
    if gap:
        middle = place[rows // 2] - 1.1
        ax.text(1, middle, f"… {len(order) - len(shown)} more classes …", va="center", color="0.4", fontsize=8)
    _rows(ax, [f"mean of {len(order)}", *(classes[c] for c in shown)], np.r_[0, place])
    ax.get_yticklabels()[0].set_fontweight("bold")
    ax.set(xlabel="average precision (%)", xlim=(0, 100))
    ax.legend(title="tIoU", ncols=1, loc="lower right", reverse=True)
    return ax


def error_kinds(profile_gk: Float[np.ndarray, "g kinds"], kinds: Sequence[str], ax: Axes | None = None) -> Axes:
    """What the detections of a class are, from the best G of a class with G instances to the next G, and so on."""
    if ax is None:
        ax = plt.subplots(figsize=(0.6 * FULL_WIDTH, 2.7))[1]
    place, floor = np.arange(1, len(profile_gk) + 1), np.zeros(len(profile_gk))
    for kind, share_g in zip(kinds, np.nan_to_num(100 * profile_gk.T), strict=True):
        ax.bar(place, share_g, 0.86, floor, color=KIND_COLOURS[kind], label=kind, edgecolor="white", lw=0.4)
        floor = floor + share_g
    ax.set(xlabel="rank in its class, in multiples of its instances G", ylabel="detections (%)", ylim=(0, 100))
    ax.set_xticks(place, [f"{g}G" for g in place])
    ax.set_xlim(0.4, len(profile_gk) + 0.6)
    ax.grid(visible=False)
    ax.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=3, handlelength=1, columnspacing=1, borderpad=0)
    return ax


def verdicts(
    truth_m2: Float[np.ndarray, "m 2"],
    segment_n2: Float[np.ndarray, "n 2"],
    verdict_n: Sequence[str],
    other_o2: Float[np.ndarray, "o 2"] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One class in one video: ground truth on top, below it the detections from the best down, coloured by verdict.

    Instances of other classes, on which a detection is confused or of the wrong class, are hollow.
    """
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 1.1 + 0.11 * len(segment_n2)))[1]
    for segment_x2, face in ((other_o2, "none"), (truth_m2, COLOURS["truth"])):
        spans = [] if segment_x2 is None else [(start, stop - start) for start, stop in segment_x2.tolist()]
        ax.broken_barh(spans, (-1.9, 1.5), facecolor=face, edgecolor=COLOURS["truth"], lw=0.7)
    ax.broken_barh(spans, (-0.4, len(segment_n2) + 0.6), color="0.9", zorder=0)
    for verdict in (name for name in KIND_COLOURS if name in verdict_n):
        rows = np.array([row for row, name in enumerate(verdict_n) if name == verdict])
        start_r, stop_r = segment_n2[rows].T
        ax.barh(rows + 0.4, stop_r - start_r, 0.8, start_r, color=KIND_COLOURS[verdict], label=verdict, lw=0)
    last = len(segment_n2)
    ax.set_yticks([-1.15, 0.4, last - 0.6], ["ground truth", "best detection", f"number {last}"])
    end = max(segment_x2[:, 1].max(initial=0.0) for segment_x2 in (truth_m2, segment_n2))
    ax.set(xlabel="time (s)", xlim=(0, 1.01 * end), ylim=(last + 0.2, -2.1))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    style = {"handlelength": 1.0, "handletextpad": 0.5, "columnspacing": 0.9, "borderpad": 0.0}
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=6, **style)
    return ax


def error_removal_gain(gains: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Points of mAP gained by mending each kind of error, the costliest on top."""
    if ax is None:
        ax = plt.subplots(figsize=(0.45 * FULL_WIDTH, 0.6 + 0.27 * len(gains)))[1]
    names = sorted(gains, key=lambda name: -gains[name])
    place, points = np.arange(len(names)), np.array([100 * gains[name] for name in names])
    ax.barh(place, points, 0.7, color=[KIND_COLOURS.get(name, "0.5") for name in names])
    for y, value in enumerate(points):
        _note(ax, f"{value:+.1f}", (value, y), (3, 0))
    _rows(ax, names)
    ax.set(xlabel="mAP gained if removed (points)", xlim=(0, 1.25 * max(points.max(), 1e-9)))
    return ax


def bin_names(edges: Sequence[float], scale: float = 1.0) -> list[str]:
    """Names of the bins between and beyond inner edges, each edge in the bin below: ``≤ 3``, ``3–6``, ``> 6``."""
    ends = [f"{scale * edge:g}" for edge in edges]
    return [f"≤ {ends[0]}", *(f"{low}–{high}" for low, high in itertools.pairwise(ends)), f"> {ends[-1]}"]


def spread(
    values: Mapping[str, Float[np.ndarray, " m"]],
    bin_m: Int[np.ndarray, " m"],
    names: Sequence[str],
    ylabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Shares of instances by bin and branch: the median (dot), the middle half (bar) and the middle 90 % (line).

    ``values`` may hold nan, which is left out; below each bin stands the number of instances that remain.
    """
    if ax is None:
        ax = plt.subplots(figsize=(0.5 * FULL_WIDTH, 2.5))[1]
    step = 0.8 / len(values)
    for b, (branch, value_m) in enumerate(values.items()):
        shade = colour(branch)
        for i in range(len(names)):
            inside = value_m[(bin_m == i) & ~np.isnan(value_m)]
            if not len(inside):
                continue
            at = i + step * (b - (len(values) - 1) / 2)
            low, first, middle, third, high = 100 * np.quantile(inside, [0.05, 0.25, 0.5, 0.75, 0.95])
            ax.vlines(at, low, high, color=shade, lw=1.0)
            ax.bar(at, third - first, 0.7 * step, first, color=shade, alpha=0.45, lw=0)
            label = None if i else LABELS.get(branch, branch)
            ax.plot(at, middle, "o", ms=5, color=shade, mec="white", mew=0.8, label=label)
    known_bm = ~np.isnan(np.stack(list(values.values())))
    _counted_bins(ax, names, np.array([known_bm[:, bin_m == i].sum(axis=1).max() for i in range(len(names))]))
    ax.set(ylabel=ylabel, ylim=(-3, 103))
    if len(values) > 1:
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(values), borderpad=0, handletextpad=0.2)
    return ax


def shares(
    share_b3: Float[np.ndarray, "bins 3"],
    count_b: Int[np.ndarray, " bins"],
    names: Sequence[str],
    ax: Axes | None = None,
) -> Axes:
    """Of what detections consist, by bin: seconds inside instances of their class, in context beside one, elsewhere."""
    if ax is None:
        ax = plt.subplots(figsize=(0.6 * FULL_WIDTH, 2.6))[1]
    floor = np.zeros(len(names))
    for name, shade, share_b in zip(PARTS, PARTS.values(), np.nan_to_num(100 * share_b3.T), strict=True):
        ax.bar(range(len(names)), share_b, 0.8, floor, color=shade, label=name, edgecolor="white", lw=0.4)
        for at, (low, share) in enumerate(zip(floor, share_b, strict=True)):
            if share >= 8:
                ax.text(at, low + share / 2, f"{share:.0f}", ha="center", va="center", fontsize=8)
        floor = floor + share_b
    _counted_bins(ax, names, count_b)
    ax.set(ylabel="share of the detection (%)", ylim=(0, 100))
    ax.grid(visible=False)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, handlelength=1, columnspacing=1, borderpad=0)
    return ax


def misses(
    rates: Mapping[str, tuple[Sequence[str], Float[np.ndarray, " bins"], Int[np.ndarray, " bins"]]],
    axes: Sequence[Axes] | None = None,
) -> list[Axes]:
    """Share of instances that nothing found, by bin of each quantity, with Wilson's 95 % interval; dashed: of them all.

    ``rates`` holds, under the quantity and its unit, the names of its bins, the rate and the number of instances of
    each (:func:`wtal_lib.score.diagnose.rate_by_bin`).
    """
    if axes is None:
        ratios = [len(names) for names, _, _ in rates.values()]
        size = (FULL_WIDTH, 2.4)
        axes = list(plt.subplots(1, len(rates), figsize=size, width_ratios=ratios, sharey=True, squeeze=False)[1][0])
    for ax, (quantity, (names, rate_b, count_b)) in zip(axes, rates.items(), strict=True):
        known = np.flatnonzero(count_b)
        rate, n = rate_b[known], count_b[known].astype(np.float64)
        square = 1.96**2 / n
        middle, reach = rate + square / 2, np.sqrt(square * (rate * (1 - rate) + square / 4))
        low, high = (100 * (middle + sign * reach) / (1 + square) for sign in (-1, 1))
        ax.bar(known, 100 * rate, 0.75, color="0.6")
        ax.vlines(known, low, high, color="0.1", lw=1.2)
        every = 100 * float(rate @ n / n.sum()) if len(n) else 0.0
        ax.axhline(every, color="#D55E00", ls="--", lw=1.1)
        _counted_bins(ax, names, count_b)
        ax.tick_params(axis="x", labelsize=7)
        ax.set_xlabel(quantity)
    _note(axes[-1], f"all\n{every:.0f} %", (1, every), (3, 0), xycoords=("axes fraction", "data"), color="#D55E00")
    axes[0].set(ylabel="missed (%)", ylim=(0, None))
    return list(axes)


def _unfiltered(name: str) -> str:
    return name.removesuffix("-ambiguous")


def _short(name: str, names: Sequence[str]) -> str:
    """A protocol's name without the dataset that all of them share."""
    prefix = names[0].split("-")[0] + "-"
    return name.removeprefix(prefix) if all(other.startswith(prefix) for other in names) else name


def _note(ax: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **options: object) -> None:
    """Small text beside a point, vertically centred."""
    ax.annotate(text, at, shift, textcoords="offset points", va="center", fontsize=8, **options)  # type: ignore[arg-type]


def _rows(ax: Axes, names: Sequence[str], place: Sequence[float] | np.ndarray | None = None) -> None:
    """Names down the side, the first on top, without ticks or lines across."""
    place = np.arange(len(names)) if place is None else place
    ax.set_yticks(place, names)
    ax.set_ylim(place[-1] + 0.6, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)


def _counted_bins(ax: Axes, names: Sequence[str], count_b: np.ndarray) -> None:
    """Bins along the bottom, each with its number n of instances."""
    ax.set_xticks(range(len(names)), [f"{name}\n{count:,}" for name, count in zip(names, count_b, strict=True)])
    ax.set_xlim(-0.6, len(names) - 0.4)
    ax.annotate(
        "n", (0, 0), (-4, -18.5), "axes fraction", "offset points", ha="right", va="center", style="italic", fontsize=8
    )
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)
