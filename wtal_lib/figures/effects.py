"""Figures of what a rule or a world changes: scores by rule of the pseudo-labels, gain by shared difficulty."""

from __future__ import annotations

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from wtal_lib.figures import draw
from wtal_lib.figures.draw import COLOURS


def factorial(table: pd.DataFrame, base: float, ax: Axes | None = None) -> Axes:
    """Mean mAP (percent) of each rule: whose word and which kinds of label down, what learns from them across.

    ``table`` has the columns word, kinds, into and mean; rows that differ in nothing else are averaged. Colours are
    centred on ``base``, the score without distillation.
    """
    rules = table["word"].str.cat(table["kinds"], sep=": ").rename("word: kinds of label")
    cells = table.assign(**{str(rules.name): rules}).pivot_table("mean", str(rules.name), "into", sort=False)
    ax = draw.single(ax, 0.6, 0.9 + 0.3 * len(cells))
    span = max(5.0, float((cells - base).abs().to_numpy().max()))
    style = {"cmap": "RdBu", "vmin": base - span, "vmax": base + span, "linewidths": 1.5}
    sns.heatmap(cells, annot=True, fmt=".1f", cbar_kws={"label": "mean mAP (%)"}, ax=ax, **style)
    ax.set(xlabel="labels go into")
    ax.tick_params(length=0)
    return ax


def gain_by_sharing(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Gain (points of mAP) by the share of difficulty that both modalities have in common; a dot a seed, their mean.

    ``table`` has the columns shared (0 to 1), seed and gain.
    """
    ax = draw.single(ax, 0.6, 2.6)
    ax.axhline(0, color="0.55", lw=0.9, zorder=1)
    sns.lineplot(table, x="shared", y="gain", errorbar=None, color=COLOURS["fused"], marker="o", ax=ax)
    sns.scatterplot(table, x="shared", y="gain", color=COLOURS["fused"], s=14, alpha=0.5, ax=ax)
    ax.set(xlabel="share of the difficulty common to both modalities", ylabel="gain (points of mAP)")
    ax.margins(x=0.1)
    ax.set(xticks=sorted(table["shared"].unique()), ylim=(min(0, ax.get_ylim()[0]), None))
    return ax
