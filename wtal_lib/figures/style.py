"""House style: the theme, and the colours and names of the branches."""

from __future__ import annotations

import matplotlib.pyplot as plt
import seaborn as sns

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
FULL_WIDTH = 7.0
"Inches across both columns of a two-column page; text is then 8 to 9 points in print"


def theme() -> None:
    """Set the house style for every figure drawn afterwards; call it once, at the top of a notebook."""
    sns.set_theme(context="paper", style="ticks", palette=list(COLOURS.values()))
    plt.style.use("wtal_lib.figures.house")


def colour(name: str) -> str:
    """The colour of a branch; a neutral slate for any other name."""
    return COLOURS.get(name, "#35506B")
