"""House style: the theme, and the colours and names of the branches."""

from __future__ import annotations

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

OUTCOMES = {"TP": "#1B7837", "FN": "#C2A5CF", "FP": "#762A83", "TN": "#A6DBA0"}
"Outcomes of a snippet (ColorBrewer's PRGn, safe for the colour-blind): green where right, purple where wrong"

FULL_WIDTH = 7.0
"Inches across both columns of a two-column page; text is then 8 to 9 points in print"


def theme() -> None:
    """Set the house style for every figure drawn afterwards; call it once, at the top of a notebook."""
    rc = {
        **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize"), 9),
        **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), 8),
        **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 3),
        **dict.fromkeys(("xtick.minor.size", "ytick.minor.size"), 0),
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
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
        "figure.dpi": 110,
        "svg.fonttype": "none",
    }
    sns.set_theme(context="paper", style="ticks", palette=list(COLOURS.values()), rc=rc)


def colour(name: str) -> str:
    """The colour of a branch; a neutral slate for any other name."""
    return COLOURS.get(name, "#35506B")
