"""Scores to detections: class selection, many CAS thresholds, outer-inner contrast and (soft-)NMS, in seconds.

Snippet i covers ``[i, i + 1)``, so a run of snippets is a half-open segment: nothing is widened by one, and a run of
one snippet counts. Axis letters beside the package's: s classes kept, n proposals, r those that remain after NMS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from wtal_lib.data.proposals import greedy, oic, proposals, upsampled
from wtal_lib.data.segments import Detections, Grid
from wtal_lib.method.config import Localize


@dataclass(frozen=True, eq=False)
class VideoScores:
    """Scores of one video, by a branch or by two fused ones."""

    name: str
    activation_tc: Float[np.ndarray, "t c"]
    "class activation of each snippet, in [0, 1]"
    attention_t: Float[np.ndarray, " t"]
    "class-agnostic foreground attention, in [0, 1]"
    video_c: Float[np.ndarray, " c"]
    "video-level class scores, in [0, 1]"
    score_tc: Float[np.ndarray, "t c"] | None = None
    "sequences to localize in; activation x attention where it is None"

    @property
    def cas_tc(self) -> Float[np.ndarray, "t c"]:
        """The sequences that are cut."""
        return self.activation_tc * self.attention_t[:, None] if self.score_tc is None else self.score_tc


def min_max(score_tc: Float[np.ndarray, "t c"]) -> Float[np.ndarray, "t c"]:
    """Scores of one video stretched to [0, 1] over all its snippets and classes together; 0 where they are constant.

    One range for all classes keeps their order, so that a class the branch hardly sees stays low.
    """
    if not score_tc.size:
        return score_tc
    low, high = score_tc.min(), score_tc.max()
    return (score_tc - low) / (high - low) if high > low else np.zeros_like(score_tc)


def localize(videos: Sequence[VideoScores], config: Localize, grid: Grid, classes: Sequence[str]) -> Detections:
    """Detections of all videos, in seconds, each video's best first.

    Raises:
        ValueError: a video whose arrays disagree in shape with each other or with ``classes``, or hold NaN or infinity;
            a video that comes twice.

    >>> scores = VideoScores("a video", np.array([[0.0], [0.9], [0.9], [0.1]]), np.ones(4), np.array([0.95]))
    >>> localize([scores], Localize(thresholds=1, low=0.5), Grid(fps=25, stride=16), ["Diving"]).segment_n2
    array([[0.64, 1.92]])
    """
    names = tuple(video.name for video in videos)
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise ValueError(f"each video must come once, got {len(twice)} more than once: {', '.join(twice[:3])}")
    for video in videos:
        _check(video, len(classes))
    found = [_localize_one(video, config) for video in videos]
    video_n = np.repeat(np.arange(len(names)), [len(score_n) for _, _, score_n in found])
    label_n = np.concatenate([np.empty(0, np.int64), *(row[0] for row in found)])
    cells_n2 = np.concatenate([np.empty((0, 2)), *(row[1] for row in found)])
    score_n = np.concatenate([np.empty(0), *(row[2] for row in found)])
    return Detections(video_n, label_n, grid.seconds(cells_n2), score_n, names, tuple(classes))


def _check(video: VideoScores, classes: int) -> None:
    """Raise where a video's arrays do not fit each other."""
    shape = (len(video.attention_t), classes)
    for name, wanted in {"activation_tc": shape, "video_c": (classes,), "cas_tc": shape}.items():
        came = getattr(video, name).shape
        if came != wanted:
            what = f"{video.name}: {name} must be of shape {wanted}, got {came}"
            raise ValueError(f"{what}: a row a snippet, a column a class")
    if not (np.isfinite(video.cas_tc).all() and np.isfinite(video.video_c).all()):
        raise ValueError(f"{video.name}: scores must be finite, got NaN or infinity; look at the features they rest on")


def _localize_one(video: VideoScores, config: Localize) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (n,), segments (n, 2) in snippets and scores (n,) of one video, best first."""
    kept_s = selected(video.video_c, config.class_threshold)
    cas_st = upsampled(video.cas_tc[:, kept_s].T.astype(np.float64), config.upsample)
    row_n, cells_n2 = proposals(cas_st, np.linspace(config.low, config.high, config.thresholds))
    score_n = oic(cas_st, row_n, cells_n2, config.outer)
    score_n += config.video_weight * video.video_c[kept_s[row_n]].astype(np.float64)
    kept_r, score_r = nms(row_n, cells_n2 / config.upsample, score_n, config)
    return kept_s[row_n[kept_r]], cells_n2[kept_r] / config.upsample, score_r


def selected(video_c: Float[np.ndarray, " c"], threshold: float) -> Int[np.ndarray, " s"]:
    """Classes whose video-level score reaches ``threshold``, in index order; the best class always is among them."""
    return np.flatnonzero((video_c >= threshold) | (np.arange(len(video_c)) == np.argmax(video_c)))


def nms(
    row_n: Int[np.ndarray, " n"],
    segment_n2: Float[np.ndarray, "n 2"],
    score_n: Float[np.ndarray, " n"],
    config: Localize,
) -> tuple[Int[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Which proposals of a video remain, best first, and their scores after (soft-)NMS within each row (class).

    Equal scores rank by row, start and stop, so that the order of the proposals never matters. What falls to
    ``config.floor`` or below is dropped, and at most ``config.per_video`` remain.
    """
    order_n = np.lexsort((segment_n2[:, 1], segment_n2[:, 0], row_n, -score_n))
    order_n = order_n[score_n[order_n] > config.floor]
    most = min(config.per_video, len(order_n))
    if config.nms == "none":
        return order_n[:most], score_n[order_n[:most]]
    sigma, ranked = config.nms_sigma if config.nms == "soft" else 0.0, (row_n[order_n], segment_n2[order_n])
    kept_r, score_r = greedy()(*ranked, score_n[order_n], sigma, config.nms_tiou, config.floor, most)
    return order_n[kept_r], score_r
