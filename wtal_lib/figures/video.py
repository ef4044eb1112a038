"""Figures of single videos: class activation of each branch, pseudo-labels, and segments along one time axis."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes

from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.segments import Detections, overlap, runs
from wtal_lib.figures import draw
from wtal_lib.figures.draw import COLOURS, FULL_WIDTH, LABELS, OUTCOMES, colour

LEFT, RIGHT = 0.185, 0.985
"share of the figure's width at which the time axis begins and ends; to the left of it stand names"

Truth = Sequence[tuple[str, float, float]]
"annotated instances: class, start and stop in seconds"


def timeline(
    truth_m2: Float[np.ndarray, "m 2"],
    curves: Mapping[str, Float[np.ndarray, " _"]],
    step: float,
    detections: Mapping[str, Detections] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One class in one video: ground truth (shaded in all lanes), then a lane a branch with its CAS and detections.

    ``curves`` hold a value in [0, 1] a snippet of ``step`` seconds; ``detections`` are of this video and class.
    """
    found = detections or {}
    names = list(dict.fromkeys([*curves, *found]))
    ax = draw.single(ax, 1, 0.8 + 0.75 * len(names))
    ax.broken_barh(draw.spans(truth_m2), (0.08, 0.32), color=COLOURS["truth"])
    stops = [np.array(len(curve_t) * step) for curve_t in curves.values()]
    stops += [truth_m2, *(table.segment_n2 for table in found.values())]
    ax.set(xlabel="time (s)", xlim=(0, max(float(stop.max(initial=0)) for stop in stops)))
    for lane, name in enumerate(names):
        if name in curves:
            _curve(ax, curves[name], step, lane, colour(name))
        if name in found:
            _scored_bars(ax, found[name].segment_n2, found[name].score_n, lane, colour(name))
        ax.broken_barh(draw.spans(truth_m2), (-lane - 0.9, 0.8), color="0.92", lw=0, zorder=0)
    places = [0.24, *(-0.5 - lane for lane in range(len(names)))]
    ax.set_yticks(places, [LABELS["truth"], *(LABELS.get(name, name) for name in names)])
    ax.set_ylim(-len(names), 0.42)
    draw.bare(ax)
    return ax


def branches_over_truth(
    truth_m2: Float[np.ndarray, "m 2"],
    curves: Mapping[str, Float[np.ndarray, " t"]],
    step: float,
    thresholds: Mapping[str, float],
    ax: Axes | None = None,
) -> Axes:
    """What each row's curve finds, misses and adds in one video; seconds of each beside it, in percent of the action.

    ``curves`` hold a value in [0, 1] a snippet of ``step`` seconds, by row; at its threshold (dashed) action begins.
    """
    ax, end = draw.single(ax, 1, 0.9 + 0.62 * len(curves)), max(map(len, curves.values())) * step
    words = {"TP": "found", "FN": "missed", "FP": "added"}
    ax.broken_barh(draw.spans(truth_m2), (0.1, 0.25), color=COLOURS["truth"])
    for lane, (name, curve_t) in enumerate(curves.items()):
        edges, floor = np.arange(len(curve_t) + 1) * step, -lane - 0.9
        middle_t1 = (edges[:-1, None] + edges[1:, None]) / 2
        true_t = np.any((middle_t1 >= truth_m2[:, 0]) & (middle_t1 < truth_m2[:, 1]), axis=1)
        taken_t = curve_t >= thresholds[name]
        parts = {"TP": taken_t & true_t, "FN": ~taken_t & true_t, "FP": taken_t & ~true_t}
        ax.broken_barh(draw.spans(runs(parts["FN"]) * step), (floor, 0.8), color=OUTCOMES["FN"], alpha=0.55, lw=0)
        ax.stairs(floor + 0.75 * curve_t, edges, baseline=floor, fill=True, color="0.72", lw=0)
        for key in ("TP", "FP"):
            height_t = np.where(parts[key], floor + 0.75 * curve_t, floor)
            ax.stairs(height_t, edges, baseline=floor, fill=True, color=OUTCOMES[key], lw=0)
        ax.hlines(floor + 0.75 * thresholds[name], 0, end, color="0.2", lw=0.7, ls=(0, (3, 2)))
        text = "\n".join(f"{100 * parts[key].sum() / true_t.sum():.0f} % {word}" for key, word in words.items())
        draw.note(ax, text, (1, floor + 0.4), (6, 0), xycoords=ax.get_yaxis_transform(), fontsize=7.5)
    ax.set_yticks([0.22, *(-0.5 - lane for lane in range(len(curves)))], [LABELS["truth"], *curves])
    ax.set(xlim=(0, end), ylim=(-len(curves), 0.42), xlabel="time (s)")
    keys = [draw.key(word, color=OUTCOMES[key], lw=5) for key, word in words.items()]
    ax.legend(handles=keys, ncols=3, **draw.ABOVE)
    draw.bare(ax)
    return ax


def pseudo_labels(
    truth_m2: Float[np.ndarray, "m 2"],
    confidence_t: Float[np.ndarray, " t"],
    background_t: Bool[np.ndarray, " t"],
    foreground_t: Bool[np.ndarray, " t"],
    step: float,
    thresholds: tuple[float, float],
    student: str,
    ax: Axes | None = None,
) -> Axes:
    """Confidence of one class in one video, its thresholds, and the labels of one step, hatched where wrong."""
    ax, end = draw.single(ax, 1, 1.8), len(confidence_t) * step
    ax.broken_barh(draw.spans(truth_m2), (-1, 3), color="0.92", lw=0, zorder=0)
    ax.broken_barh(draw.spans(truth_m2), (-0.22, 0.13), color=COLOURS["truth"])
    ax.stairs(confidence_t, np.arange(len(confidence_t) + 1) * step, color="0.25", lw=1.2)
    ax.hlines(thresholds, 0, end, color="0.55", lw=0.8, ls=(0, (4, 2)))
    middle_t1 = (np.arange(len(confidence_t))[:, None] + 0.5) * step
    true_t = np.any((middle_t1 >= truth_m2[:, 0]) & (middle_t1 < truth_m2[:, 1]), axis=1)
    wrong: dict[str, Any] = {"facecolor": "none", "hatch": "//////", "lw": 0.6}
    lanes = (background_t, ~true_t, "#999999"), (foreground_t, true_t, colour(student))
    for lane, (label_t, right_t, shade) in enumerate(lanes):
        for mask_t, style in ((label_t & right_t, {"facecolor": shade, "lw": 0}), (label_t & ~right_t, wrong)):
            ax.broken_barh(draw.spans(runs(mask_t) * step), (-0.44 - 0.22 * lane, 0.15), edgecolor=shade, **style)
    names = ["0", *(f"{one:g}" for one in thresholds), "1", LABELS["truth"], "background", "foreground"]
    ax.set_yticks([0, *thresholds, 1, -0.155, -0.365, -0.585], names)
    ax.set(ylim=(-0.68, 1.04), xlim=(0, end), xlabel="time (s)")
    draw.bare(ax)
    return ax


def video_overview(
    name: str,
    images: Sequence[UInt8[np.ndarray, "h w 3"]],
    activation_tc: Float[np.ndarray, "t c"],
    detections: Detections,
    step: float,
    shown: Sequence[str],
    *,
    truth: Truth = (),
    branch: str = "vanilla_vlp",
    note: str = "",
) -> list[Axes]:
    """One video along one time axis: film strip, ground truth where known, then a lane for each class ``shown``.

    ``images`` are spread evenly over the video; without any there is no strip. A lane holds the class activation (one
    scale for all) and the best segments among ``detections`` (of any videos) with scores; ground truth shades it.
    ``shown`` are classes in any spelling, unknown ones left out; ``step`` is the length of a snippet in seconds.
    """
    end = len(activation_tc) * step
    index = {prompt_name(label): i for i, label in enumerate(detections.classes)}
    words = [word for word in dict.fromkeys(map(prompt_name, shown)) if word in index]
    share, (height, width) = end / max(1, len(images)), images[0].shape[:2] if len(images) else (0, 1)
    strip = FULL_WIDTH * (RIGHT - LEFT) / max(1, len(images)) * height / width
    rows = [max(0.02, strip), 0.26 if truth else 0.02, 0.52 * len(words)]
    above, below, space = 0.32, 0.55, 0.05
    total = above + sum(rows) + 2 * space + below
    room = {"left": LEFT, "right": RIGHT, "top": 1 - above / total, "bottom": below / total}
    room |= {"hspace": space / np.mean(rows), "height_ratios": rows}
    figure = plt.figure(figsize=(FULL_WIDTH, total), layout="none")  # strip and lanes share one exact time axis
    axes = list(figure.subplots(3, 1, sharex=True, gridspec_kw=room))
    for i, image in enumerate(images):
        axes[0].imshow(image, extent=(i * share, (i + 1) * share, 0, 1), aspect="auto", interpolation="antialiased")
    axes[0].vlines(np.arange(1, len(images)) * share, 0, 1, color="white", lw=1.2)
    axes[0].set_ylim(0, 1)
    axes[0].axis("off")
    _truth_lane(axes[1], truth)
    highest = max(float(activation_tc[:, [index[word] for word in words]].max(initial=0.0)), 1e-12)
    here = detections.video_n == detections.videos.index(name)
    best = float(detections.score_n[here].max(initial=1e-12))
    for lane, word in enumerate(words):
        own = [(start, stop - start) for label, start, stop in truth if prompt_name(label) == word]
        axes[2].broken_barh(own, (-lane - 1, 1), color="0.9", zorder=0)
        _curve(axes[2], activation_tc[:, index[word]] / highest, step, lane, colour(branch))
        of = np.flatnonzero(here & (detections.label_n == index[word]))
        of = of[_apart(detections.segment_n2[of], detections.score_n[of])]
        _scored_bars(axes[2], detections.segment_n2[of], detections.score_n[of], lane, colour(branch), best)
    axes[2].set_yticks(-np.arange(len(words)) - 0.5, [textwrap.fill(word, 22) for word in words])
    draw.bare(axes[2])
    scale = f"time (s); all lanes on one scale, highest activation {highest:.2g}"
    axes[2].set(xlabel=scale, xlim=(0, end), ylim=(-len(words), 0))
    figure.text(0.012, 1 - 0.1 / total, name, fontsize=9, weight="bold", va="top")
    figure.text(RIGHT, 1 - 0.1 / total, note, fontsize=7.5, style="italic", color="0.35", ha="right", va="top")
    return axes


def safe_name(name: str) -> str:
    """A video's name as a file may be called: letters, digits and underscores."""
    return re.sub(r"\W", "_", name)


def frame_ages(
    age_ms: Mapping[str, Float[np.ndarray, " t"]], interval_ms: Mapping[str, float], ax: Axes | None = None
) -> Axes:
    """Time (ms) each frame had been on screen at its snippet's middle, a row a video; tick: the frame interval."""
    ax = draw.single(ax, 1, 0.7 + 0.28 * len(age_ms))
    for row, (name, ages) in enumerate(age_ms.items()):
        ax.hlines(row, 0, interval_ms[name], color="0.85", lw=1)
        ax.vlines(interval_ms[name], row - 0.3, row + 0.3, color=COLOURS["truth"], lw=1.6)
        ax.plot(ages, np.full(len(ages), row), "o", ms=4, color=COLOURS["vlp"], alpha=0.45, mec="none")
    draw.rows_down(ax, list(age_ms))
    ax.set(xlabel="age of the frame at the snippet's middle (ms); tick: next frame")
    ax.set_xlim(left=-1)
    return ax


def _curve(ax: Axes, curve_t: np.ndarray, step: float, lane: int, shade: str) -> None:
    """Values in [0, 1] as a filled curve in the upper part of a lane, constant within each snippet."""
    floor, edges = -lane - 0.68, np.arange(len(curve_t) + 1) * step
    ax.stairs(floor + 0.6 * curve_t, edges, baseline=floor, fill=True, color=shade, alpha=0.55, lw=0)
    ax.stairs(floor + 0.6 * curve_t, edges, baseline=floor, color=shade, lw=0.9)


def _scored_bars(
    ax: Axes, segment_n2: np.ndarray, score_n: np.ndarray, lane: int, shade: str, best: float | None = None
) -> None:
    """Segments as bars at the foot of a lane, the darker the nearer they score to ``best``; scores where they fit."""
    best = best or max(float(score_n.max(initial=0.0)), 1e-12)
    for n in np.argsort(score_n):
        (start, stop), text = segment_n2[n].tolist(), f"{score_n[n]:#.2g}"
        face = sns.light_palette(shade, as_cmap=True)(0.15 + 0.85 * max(float(score_n[n]), 0.0) / best)
        ax.broken_barh([(start, stop - start)], (-lane - 0.94, 0.2), facecolor=face, edgecolor="white", lw=0.6)
        if stop - start > 0.011 * len(text) * ax.get_xlim()[1] and score_n[n] > 0.2 * best:
            ink = draw.ink_on(face)
            ax.text((start + stop) / 2, -lane - 0.845, text, color=ink, fontsize=6.5, ha="center", va="center")


def _truth_lane(ax: Axes, truth: Truth) -> None:
    """All instances as bars, the first of each class named below."""
    ax.broken_barh([(start, stop - start) for _, start, stop in truth], (0.55, 0.45), color=COLOURS["truth"])
    for name, middle in {name: (start + stop) / 2 for name, start, stop in reversed(truth)}.items():
        ax.text(middle, 0.45, prompt_name(name), fontsize=7, ha="center", va="top", color="0.2")
    ax.tick_params(axis="x", length=0)
    ax.set_ylim(0, 1)
    ax.set_yticks([0.77] if truth else [], ["ground truth"] if truth else [])
    draw.bare(ax)
    ax.spines["bottom"].set_visible(False)


def _apart(segment_n2: np.ndarray, score_n: np.ndarray, most: int = 4) -> list[int]:
    """Indices of the best segments that hardly overlap: by less than a fifth of the shorter one."""
    chosen: list[int] = []
    for n in np.argsort(-score_n, kind="stable")[:200]:
        shorter = np.minimum(*(np.diff(segment_n2[one]) for one in ([n], chosen)))[:, 0]
        free = not chosen or (overlap(segment_n2[[n]], segment_n2[chosen])[0] < 0.2 * shorter).all()
        if free and score_n[n] > 0.3 * score_n.max() and len(chosen) < most:
            chosen.append(int(n))
    return chosen
