"""The house style, and what several figures draw alike: axes, named rows and bins, stacked bars, labels kept apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

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
LABELS = {name: name.replace("_", " ") for name in COLOURS} | {
    "cbp": "CBP",
    "vlp": "VLP",
    "vanilla_vlp": "vanilla VLP",
    "truth": "ground truth",
}
"Names of the branches in legends"
LINE_COLOURS = {
    **{LABELS[name]: COLOURS[name] for name in ("vanilla_vlp", "cbp", "vlp", "late_fusion")},
    **{"CBP, full": COLOURS["cbp"], "VLP, full": COLOURS["vlp"], "full": COLOURS["fused"]},
    **dict.fromkeys(("supervised CBP", "supervised VLP", "supervised"), COLOURS["supervised"]),
}
"Of the main table's lines"
OUTCOMES = {"TP": "#009E73", "FN": "#B9A3CC", "FP": "#E69F00", "TN": "#DDDDDD"}
"Snippets of action that are found and missed, then background that is added and left out, and their colours"
STAGES = {"late_fusion": "video labels alone", "full": "full"}
"What a branch was trained by: before the other taught it, and after"
WIDE = 0.52
"Mean width of a letter, as a share of its size"
FULL_WIDTH = 7.0
"Inches across both columns of a two-column page; text is then 8 to 9 points in print"
ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0, 1)}
ABOVE |= {"borderpad": 0, "handlelength": 1.1, "columnspacing": 1}
"Legend in a line above the axes, where it hides nothing"


def theme() -> None:
    """Set the house style for every figure drawn afterwards; call it once, at the top of a notebook."""
    sns.set_theme(context="paper", style="ticks", palette=list(COLOURS.values()))
    plt.style.use("wtal_lib.figures.house")


def stamped(figure: Figure, stamp: str, watermark: str = "") -> None:
    """Write ``stamp`` along the edge of the largest axes where it covers least, and a watermark over all axes."""
    boxes = {ax: ax.get_window_extent() for ax in figure.axes if ax.axison}
    _along_an_edge(max(boxes, key=lambda ax: boxes[ax].width * boxes[ax].height), stamp)
    for ax, box in boxes.items() if watermark else ():
        points = min(box.width / 8, box.height / 2) * 72 / figure.dpi
        mark: dict[str, Any] = {"fontsize": points, "weight": "bold", "color": "0.3", "alpha": 0.1, "zorder": 50}
        mark |= {"ha": "center", "va": "center", "in_layout": False}
        ax.text(0.5, 0.5, watermark, transform=ax.transAxes, **mark)


def _along_an_edge(ax: Axes, stamp: str) -> None:
    """Of the places along the edges of axes, the one that hides least: top, bottom, right, left if equal.

    Numbers, and lines that run along the stamp, count more than the even colour of a bar or a cell.
    """
    figure, parts = cast(Figure, ax.figure), stamp.split(" · ")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    shade = np.asarray(canvas.buffer_rgba())[::-1, :, :3].min(axis=2).astype(int)  # rows from below, as of texts
    ink = [(shade < 240) + 99 * (np.abs(np.diff(shade, axis=axis, prepend=255)) > 40) for axis in (0, 1)]
    style: dict[str, Any] = {"in_layout": False, "zorder": 51, "color": "0.35", "transform": ax.transAxes}
    style["path_effects"] = [withStroke(linewidth=1, foreground="white")]
    box, texts = ax.get_window_extent(), dict[Text, int]()
    for x, y, ha, va, turned in (
        (0.995, 0.995, "right", "top", 0),
        (0.995, 0.02, "right", "bottom", 0),
        (0.995, 0.99, "right", "top", 270),
        (0.02, 0.99, "left", "top", 270),
    ):
        side, text = box.height if turned else box.width, stamp
        if side * 72 / figure.dpi < 4.5 * WIDE * len(stamp):  # on two lines
            text = "\n".join(" · ".join(some) for some in (parts[: len(parts) // 2], parts[len(parts) // 2 :]))
        written = ax.text(x, y, text, ha=ha, va=va, rotation=turned, fontsize=5.5, **style)
        extent = written.get_window_extent()
        beyond = (extent.height if turned else extent.width) / (0.93 * side)  # a small letter is cut to whole pixels
        written.set_fontsize(5.5 / max(1.0, beyond))
        (left, low), (right, high) = written.get_window_extent().get_points().round().astype(int).clip(min=0)
        texts[written] = int(ink[turned > 0][low:high, left:right].sum())
    for written in texts.keys() - {min(texts, key=lambda one: texts[one])}:
        written.remove()


def colour(name: str) -> str:
    """The colour of a branch; a neutral slate for any other name."""
    return COLOURS.get(name, "#35506B")


def single(ax: Axes | None, width: float, height: float) -> Axes:
    """``ax``, or axes in a new figure: ``width`` as a share of the full width, ``height`` in inches."""
    return plt.subplots(figsize=(width * FULL_WIDTH, height))[1] if ax is None else ax


def panels(axes: Sequence[Axes] | None, count: int, height: float, rows: int = 1, **options: Any) -> list[Axes]:
    """``axes``, or ``count`` of them in a new figure of full width, ``height`` inches a row; spare places are empty."""
    if axes is not None:
        return list(axes)
    shape, size = (rows, -(-count // rows)), (FULL_WIDTH, height * rows)
    grid = plt.subplots(*shape, figsize=size, squeeze=False, **options)[1].ravel()
    for ax in grid[count:]:
        ax.set_axis_off()
    return list(grid[:count])


def spans(segment_n2: np.ndarray) -> list[tuple[float, float]]:
    """Start and length of each segment, as ``Axes.broken_barh`` takes them."""
    return [(start, stop - start) for start, stop in segment_n2.tolist()]


def note(ax: Axes, text: str, at: tuple[float, float], shift: tuple[float, float], **options: Any) -> Annotation:
    """Small text beside a point, vertically centred; ``shift`` in points."""
    return ax.annotate(text, at, shift, textcoords="offset points", **{"va": "center", "fontsize": 8, **options})


def key(label: str, **style: Any) -> Line2D:
    """Entry of a legend, a dark grey line unless ``style`` says otherwise."""
    return Line2D([], [], label=label, **{"color": "0.35", **style})


def bare(ax: Axes) -> None:
    """Remove grid, left spine and tick marks from axes whose rows are named lanes."""
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)


def log_x(ax: Axes) -> None:
    """Logarithmic x axis with plain numbers at powers of ten; linear where no value is positive."""
    if np.isfinite(ax.dataLim.minposx):
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.minorticks_off()


def rows_down(ax: Axes, names: Sequence[str], most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Name rows from the top, the first and last beyond ``most``; index and place on the y axis of each row shown."""
    index, place = np.arange(len(names)), np.arange(float(len(names)))
    if most is not None and len(names) > most:
        head = -(-most // 2)
        index = np.delete(index, np.s_[head : head + len(names) - most])
        place = place[:most] + 1.3 * (place[:most] >= head)
        note(ax, f"… {len(names) - most} more classes …", (0, head + 0.15), (4, 0), xycoords=ax.get_yaxis_transform())
    ax.set_yticks(place, [names[i] for i in index.tolist()])
    ax.set_ylim(place[-1] + 0.8, -0.6)
    ax.tick_params(axis="y", length=0)
    ax.grid(axis="y", visible=False)
    return index, place


def bins_across(ax: Axes, names: Sequence[str], count_b: Sequence[int] | np.ndarray) -> None:
    """Name the bins along the bottom, each with its number n of instances."""
    ax.set_xticks(range(len(names)), [f"{name}\n{count:,}" for name, count in zip(names, count_b, strict=True)])
    ax.set_xlim(-0.6, len(names) - 0.4)
    note(ax, "n", (0, 0), (-4, -18.5), xycoords="axes fraction", ha="right", style="italic")
    ax.tick_params(axis="x", length=0)
    ax.grid(axis="x", visible=False)


def stacked(ax: Axes, percent: pd.DataFrame, shades: Mapping[str, str], across: bool = False, least: float = 6) -> None:
    """Bars of parts on one another, a bar a row of ``percent``; parts of at least ``least`` bear their number."""
    style: dict[str, Any] = {"color": dict(shades), "width": 0.8, "edgecolor": "white", "linewidth": 0.5, "rot": 0}
    percent.fillna(0).plot(kind="barh" if across else "bar", stacked=True, ax=ax, legend=False, **style)
    for bars, name in zip(ax.containers, percent.columns, strict=True):
        texts = [f"{value:.0f}" if value >= least else "" for value in percent[name]]
        ax.bar_label(cast(BarContainer, bars), texts, label_type="center", fontsize=8, color=ink_on(shades[name]))
    ax.set(xlabel="", ylabel="", **{"xlim" if across else "ylim": (0, 100)})
    ax.grid(visible=False)


def ink_on(face: Any) -> str:
    """White or nearly black, whichever is legible on a colour."""
    return "white" if sns.utils.relative_luminance(face) < 0.4 else "0.15"


def changes(ax: Axes, place: np.ndarray, ends: Sequence[np.ndarray], shade: str, *, upright: bool = False) -> None:
    """Lines from a value before (hollow dot) to one after (full dot), one at each place."""
    before, after = ends
    (ax.vlines if upright else ax.hlines)(place, before, after, color=shade, alpha=0.5, lw=1.6)
    for values, face, edge in zip(ends, ("white", shade), (shade, "white"), strict=True):
        ax.plot(*((place, values) if upright else (values, place)), "o", ms=5.5, mfc=face, mec=edge, mew=1)


def place_labels(ax: Axes, points: Sequence[tuple[float, float]], texts: Mapping[int, str]) -> list[Annotation]:
    """Write ``texts`` beside the points of their index, at the nearest of 32 places that covers nothing drawn."""
    cast(Figure, ax.figure).draw_without_rendering()  # settles the layout that distances are measured in
    taken = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in ax.transData.transform(points)]
    taken += [legend.get_window_extent() for legend in [ax.get_legend()] if legend]
    places = [(x * far, y * far) for far in (4, 9, 16, 24) for y in (1, 0, -1) for x in (0, -1, 1) if x or y]
    labels = []
    for index, text in texts.items():
        label = note(ax, text, points[index], (0, 0), fontsize=7.5, color="0.2")

        def crowding(shift: tuple[int, int], label: Annotation = label) -> float:
            x, y = np.sign(shift)
            label.set(position=shift, ha=("center", "left", "right")[x], va=("center", "bottom", "top")[y])
            box = label.get_window_extent().padded(1.5)
            cut = not (ax.bbox.x0 < box.x0 and box.x1 < ax.bbox.x1 and ax.bbox.y0 < box.y0 and box.y1 < ax.bbox.y1)
            return 10 * cut + sum(box.overlaps(other) for other in taken) + max(map(abs, shift)) / 100

        crowding(min(places, key=crowding))
        line = {"arrowstyle": "-", "color": "0.6", "lw": 0.6, "shrinkA": 0, "shrinkB": 3}
        note(ax, "", points[index], label.get_position(), arrowprops=line)
        taken.append(label.get_window_extent())
        labels.append(label)
    return labels
