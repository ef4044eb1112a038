"""House style: the theme, and the colours and names of the branches."""

from __future__ import annotations

from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

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
    """Of the places along the edges of axes, the one with the least ink in it: top, bottom, right, left if equal."""
    figure, parts = cast(Figure, ax.figure), stamp.split(" · ")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    ink = np.asarray(canvas.buffer_rgba())[::-1, :, :3].min(axis=2) < 240  # rows from below, as matplotlib counts
    style: dict[str, Any] = {"in_layout": False, "zorder": 51, "color": "0.35", "transform": ax.transAxes}
    style["path_effects"] = [withStroke(linewidth=1, foreground="white")]
    box, texts = ax.get_window_extent(), dict[Text, int]()
    for x, y, ha, va, turned in (
        (0.995, 0.995, "right", "top", 0),
        (0.995, 0.02, "right", "bottom", 0),
        (0.995, 0.99, "right", "top", 270),
        (0.02, 0.99, "left", "top", 270),
    ):
        side, text = (box.height if turned else box.width) * 72 / figure.dpi, stamp
        if side < 4.5 * WIDE * len(stamp):  # on two lines
            text = "\n".join(" · ".join(some) for some in (parts[: len(parts) // 2], parts[len(parts) // 2 :]))
        points = min(5.5, side / (WIDE * max(map(len, text.split("\n")))))
        written = ax.text(x, y, text, ha=ha, va=va, rotation=turned, fontsize=points, **style)
        (left, low), (right, high) = written.get_window_extent().get_points().round().astype(int).clip(min=0)
        texts[written] = int(ink[low:high, left:right].sum())
    for written in texts.keys() - {min(texts, key=lambda one: texts[one])}:
        written.remove()


def colour(name: str) -> str:
    """The colour of a branch; a neutral slate for any other name."""
    return COLOURS.get(name, "#35506B")
