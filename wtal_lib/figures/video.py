"""Figures of single videos: what is seen, what a model makes of it, and where it cuts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes

from wtal_lib.data.datasets import prompt_name
from wtal_lib.data.segments import Detections, overlap
from wtal_lib.figures.style import COLOURS, FULL_WIDTH, colour

LEFT, RIGHT = 0.185, 0.985
"share of the figure's width at which the time axis begins and ends; to the left of it stand names"

Truth = Sequence[tuple[str, float, float]]
"annotated instances: class, start and stop in seconds"


def watched(
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

    ``images`` are spread evenly over the video. A lane holds the class's activation (one scale for all lanes, its end
    written below) and its best segments among ``detections`` (of any videos) with their scores; the class's own ground
    truth shades it. ``shown`` are classes in any spelling, others than the detections' left out; ``step`` is the length
    of a snippet in seconds; ``note`` is written into the figure.
    """
    end = len(activation_tc) * step
    index = {prompt_name(label): i for i, label in enumerate(detections.classes)}
    words = [word for word in dict.fromkeys(map(prompt_name, shown)) if word in index]
    lanes = [index[word] for word in words]
    height, width = images[0].shape[:2]
    strip = FULL_WIDTH * (RIGHT - LEFT) / len(images) * height / width
    rows = [strip, 0.26 if truth else 0.02, 0.52 * len(lanes)]
    above, below, space = 0.32, 0.42, 0.05
    total = above + sum(rows) + 2 * space + below
    with plt.rc_context({"figure.constrained_layout.use": False}):  # strips and lanes share one exact time axis
        figure = plt.figure(figsize=(FULL_WIDTH, total))
    axes, top = [], total - above
    for row in rows:
        axes.append(figure.add_axes((LEFT, (top - row) / total, RIGHT - LEFT, row / total)))
        top -= row + space
    film_strip(images, end, axes[0])
    _truth_lane(truth, axes[1])
    class_lanes(activation_tc[:, lanes], words, step, colour(branch), axes[2])
    for lane, word in enumerate(words):
        for label, start, stop in truth:
            if prompt_name(label) == word:
                axes[2].axvspan(start, stop, 1 - (lane + 1) / len(lanes), 1 - lane / len(lanes), color="0.9", zorder=0)
        here = detections.video_n == detections.videos.index(name)
        mine, best = here & (detections.label_n == index[word]), float(detections.score_n[here].max(initial=1e-12))
        _segments(detections.segment_n2[mine], detections.score_n[mine] / best, best, lane, colour(branch), axes[2])
    for ax in axes:
        ax.set_xlim(0, end)
    figure.text(0.012, 1 - 0.1 / total, name, fontsize=9, weight="bold", va="top")
    figure.text(RIGHT, 1 - 0.1 / total, note, fontsize=7.5, style="italic", color="0.35", ha="right", va="top")
    return axes


def plain(name: str) -> str:
    """A video's name as a result may be called: letters, digits and underscores."""
    return re.sub(r"\W", "_", name)


def film_strip(images: Sequence[UInt8[np.ndarray, "h w 3"]], end: float, ax: Axes | None = None) -> Axes:
    """Pictures side by side along the time axis, each in the middle of its share of ``end`` seconds."""
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 0.8))[1]
    width = end / len(images)
    for i, image in enumerate(images):
        ax.imshow(image, extent=(i * width, (i + 1) * width, 0, 1), aspect="auto", interpolation="antialiased")
    ax.vlines(np.arange(1, len(images)) * width, 0, 1, color="white", lw=1.2)
    ax.set(xlim=(0, end), ylim=(0, 1))
    ax.axis("off")
    return ax


def class_lanes(
    activation_tc: Float[np.ndarray, "t c"], names: Sequence[str], step: float, shade: str, ax: Axes | None = None
) -> Axes:
    """A lane a class, from the top: its activation on one scale for all, whose end is written below them."""
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 0.4 + 0.5 * len(names)))[1]
    highest = max(float(activation_tc.max(initial=0.0)), 1e-12)
    edges = np.arange(len(activation_tc) + 1) * step
    for lane in range(len(names)):
        curve = 0.58 * activation_tc[:, lane] / highest - lane - 0.66
        ax.stairs(curve, edges, baseline=-lane - 0.66, fill=True, color=shade, alpha=0.55, lw=0)
        ax.stairs(curve, edges, baseline=-lane - 0.66, color=shade, lw=0.9)
    ax.hlines(-np.arange(1, len(names)), 0, edges[-1], color="0.85", lw=0.6)
    ax.set_yticks(-np.arange(len(names)) - 0.45, names)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(0, edges[-1]), ylim=(-len(names), 0), xlabel="time (s)")
    scale = f"all lanes on one scale, highest activation {highest:.2g}"
    ax.annotate(
        scale, (1, 0), (0, -22), xycoords="axes fraction", textcoords="offset points",
        fontsize=7, color="0.35", ha="right", va="top",
    )  # fmt: skip
    ax.spines["left"].set_visible(False)
    ax.grid(visible=False)
    return ax


def _truth_lane(truth: Truth, ax: Axes) -> None:
    for _, start, stop in truth:
        ax.broken_barh([(start, stop - start)], (0.55, 0.45), color=COLOURS["truth"])
    for name in dict.fromkeys(name for name, _, _ in truth):
        middles = [(start + stop) / 2 for other, start, stop in truth if other == name]
        ax.text(float(np.mean(middles[:1])), 0.45, prompt_name(name), fontsize=7, ha="center", va="top", color="0.2")
    ax.set(ylim=(0, 1), xticks=[])
    ax.set_yticks([0.77] if truth else [], ["ground truth"] if truth else [])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False)
    for side in ax.spines.values():
        side.set_visible(False)


def _segments(
    segment_n2: np.ndarray, share_n: np.ndarray, best: float, lane: int, shade: str, ax: Axes, most: int = 4
) -> None:
    """A class's best segments that hardly overlap, at the foot of its lane: the higher the score the darker.

    ``share_n`` are scores as shares of ``best``, that of the whole video.
    """
    chosen: list[int] = []
    for n in np.argsort(-share_n, kind="stable")[:200]:
        shorter = np.minimum(*(np.diff(segment_n2[one]) for one in ([n], chosen)))[:, 0]
        apart = not chosen or (overlap(segment_n2[[n]], segment_n2[chosen])[0] < 0.2 * shorter).all()
        if apart and share_n[n] > 0.3 * share_n.max() and len(chosen) < most:
            chosen.append(int(n))
    for n in chosen:
        start, stop = segment_n2[n].tolist()
        face = sns.light_palette(shade, as_cmap=True)(0.15 + 0.85 * share_n[n])
        ax.broken_barh([(start, stop - start)], (-lane - 0.93, 0.2), color=face, ec="white", lw=0.6)
        text = f"{best * share_n[n]:.2g}"
        if stop - start > 0.011 * len(text) * ax.get_xlim()[1]:
            ax.text((start + stop) / 2, -lane - 0.84, text, fontsize=6.5, ha="center", va="center")


def frame_ages(
    age_ms: Mapping[str, Float[np.ndarray, " t"]], interval_ms: Mapping[str, float], ax: Axes | None = None
) -> Axes:
    """A row a video: for how long each snippet's frame had been on screen at the snippet's middle, milliseconds.

    The tick at the end of a row is the interval from frame to frame, beyond which an age would mean a wrong frame.
    """
    if ax is None:
        ax = plt.subplots(figsize=(FULL_WIDTH, 0.7 + 0.28 * len(age_ms)))[1]
    for row, (name, ages) in enumerate(age_ms.items()):
        ax.hlines(-row, 0, interval_ms[name], color="0.85", lw=1)
        ax.vlines(interval_ms[name], -row - 0.3, -row + 0.3, color=COLOURS["truth"], lw=1.6)
        ax.plot(ages, np.full(len(ages), -row), "o", ms=4, color=COLOURS["vlp"], alpha=0.45, mec="none")
    ax.set_yticks(-np.arange(len(age_ms)), list(age_ms))
    ax.set(xlabel="age of the frame at the snippet's middle (ms); tick: next frame", ylim=(-len(age_ms) + 0.4, 0.6))
    ax.set_xlim(left=-1)
    ax.grid(visible=False, axis="y")
    return ax
