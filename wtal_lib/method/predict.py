"""Branches over whole videos: class activations, video-level scores, and the detections of each branch and of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from wtal_lib.data.batches import Batches
from wtal_lib.data.segments import Detections, Grid
from wtal_lib.extensions import load
from wtal_lib.method.config import FUSIONS as NAMES
from wtal_lib.method.config import Config
from wtal_lib.method.localize import VideoScores, localize, min_max
from wtal_lib.method.models import video_level, whole_videos
from wtal_lib.method.pooling import smoothed
from wtal_lib.method.reliability import shares
from wtal_lib.method.schedule import Name

BRANCHES = ("cbp", "vlp", "fused")
"what is scored: each branch alone, and both as one"
FUSIONS: dict[str, Callable[..., np.ndarray]] = dict(zip(NAMES, (np.sum, np.mean, np.prod, np.max), strict=True))
"how the normalised scores of both branches become one"


@runtime_checkable
class Rows(Protocol):
    """What gives a video's features by modality: :class:`Batches`, or packs without labels."""

    @property
    def grid(self) -> Grid:
        """Where the rows of both modalities lie in time."""

    def rows(self, kind: str, name: str, /) -> np.ndarray:
        """Features (t, d) of a video; as many rows for ``cbp`` as for ``vlp``."""


def video_scores(
    config: Config,
    batches: Rows,
    branches: Mapping[Name, nn.Module],
    names: Sequence[str],
    reliability: Mapping[Name, float] | None = None,
) -> dict[str, dict[str, VideoScores]]:
    """Scores of each branch for each video, and their fusion where there are two: by branch, then by video.

    Each branch's sequences are smoothed as the config says and min-max normalised over the video, alone as in the
    fusion, so that they compare.
    """
    width = round(config.localize.smoothing / batches.grid.step)
    scores: dict[str, dict[str, VideoScores]] = {}
    for name, branch in branches.items():
        scores[name] = {}
        for video, output in whole_videos(branch, names, partial(batches.rows, name), config.training.precision):
            real = torch.ones(output.attention.shape, dtype=torch.bool)
            cas_tc = min_max(smoothed(output.score(), real, width, zeros=True)[0].numpy())
            video_c = video_level(output, config.training.pool)
            parts = output.activation()[0].numpy(), output.attention[0].numpy()
            scores[name][video] = VideoScores(video, *parts, video_c, cas_tc)
    if len(scores) > 1:
        both = ([scores[name][video] for name in branches] for video in names)
        scores["fused"] = {pair[0].name: fuse(pair, config, reliability) for pair in both}
    return scores


def fuse(
    branches: Sequence[VideoScores], config: Config, reliability: Mapping[Name, float] | None = None
) -> VideoScores:
    """One video's scores of CBP and VLP as one: sequences by the config's fusion, all else by the weighted mean.

    A sum or mean weighs each branch by the share that it has earned, :func:`~wtal_lib.method.reliability.shares`. A
    fusion of your own is ``fusion(cas_btc, share_b)`` of both branches' normalised sequences, CBP's first; (t, c).
    """
    weights = list(shares(reliability, config.earned, config.cbp_share).values())
    cas_btc = np.stack([min_max(branch.cas_tc) for branch in branches])
    if config.fusion in ("sum", "mean"):
        cas_btc *= len(branches) * np.asarray(weights, dtype=cas_btc.dtype)[:, None, None]
    activation_tc, attention_t, video_c = (
        np.average([getattr(branch, name) for branch in branches], axis=0, weights=weights)
        for name in ("activation_tc", "attention_t", "video_c")
    )
    if config.fusion in FUSIONS:
        fused_tc = FUSIONS[config.fusion](cas_btc, axis=0)
    else:
        fused_tc = load(config.fusion, "fusion")(cas_btc, np.asarray(weights))
    return VideoScores(branches[0].name, activation_tc, attention_t, video_c, fused_tc)


def detect(config: Config, batches: Batches, scores: Mapping[str, Mapping[str, VideoScores]]) -> dict[str, Detections]:
    """Detections of each branch and of their fusion, in seconds."""
    return {
        branch: localize(list(videos.values()), config.localize, batches.grid, batches.classes)
        for branch, videos in scores.items()
    }
