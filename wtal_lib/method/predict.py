"""Branches over whole videos: class activations, video-level scores, and the detections of each branch and of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from wtal_lib.data.batches import Batches
from wtal_lib.data.segments import Detections
from wtal_lib.method.config import Config
from wtal_lib.method.localize import VideoScores, fused, localize
from wtal_lib.method.models import Output
from wtal_lib.method.pooling import arithmetic, top_k_mean
from wtal_lib.method.schedule import Name

BRANCHES = ("cbp", "vlp", "fused")


@torch.inference_mode()
def whole_videos(
    branch: nn.Module, names: Iterable[str], rows: Callable[[str], np.ndarray], precision: str = "auto"
) -> Iterator[tuple[str, Output]]:
    """Name and output (1, t, …) of each video, float32 on the CPU; ``rows`` gives a video's features (t, d)."""
    device = next(iter(branch.state_dict().values())).device
    for name in names:  # a copy of its own: PyTorch warns of arrays that cannot be written
        x = torch.from_numpy(np.array(rows(name), dtype=np.float32))[None].to(device)
        with arithmetic(precision, device.type):
            output = branch(x, torch.ones(x.shape[:2], dtype=torch.bool, device=device))
        yield name, Output(*(part.float().cpu() for part in output))


def video_level(output: Output, share: float) -> np.ndarray:
    """Class probabilities (c,) of one video: softmax of the pooled logits under attention, background left out."""
    logit = output.logit.clamp(min=-1e4) * output.attention[:, :, None]
    mask = torch.ones(output.attention.shape, dtype=torch.bool)
    return top_k_mean(logit, mask, share).softmax(dim=1)[0, :-1].numpy()


def branch_scores(
    branch: nn.Module, names: Iterable[str], rows: Callable[[str], np.ndarray], pool: float, precision: str = "auto"
) -> dict[str, VideoScores]:
    """Scores of one branch for each video, whose features (t, d) ``rows`` gives; ``pool`` as in the config."""
    scores = {}
    for video, output in whole_videos(branch, names, rows, precision):
        parts = output.activation()[0].numpy(), output.attention[0].numpy()
        scores[video] = VideoScores(video, *parts, video_level(output, pool))
    return scores


def video_scores(
    config: Config, batches: Batches, branches: Mapping[Name, nn.Module], names: Sequence[str]
) -> dict[str, dict[str, VideoScores]]:
    """Scores of each branch for each video, and their fusion where there are two: by branch, then by video."""
    how = config.training.pool, config.training.precision
    scores: dict[str, dict[str, VideoScores]] = {
        name: branch_scores(branch, names, partial(batches.rows, name), *how) for name, branch in branches.items()
    }
    if len(scores) > 1:
        both = ([of[video] for of in scores.values()] for video in names)
        scores["fused"] = {pair[0].name: fuse(pair, config) for pair in list(both)}
    return scores


def fuse(branches: Sequence[VideoScores], config: Config) -> VideoScores:
    """One video's scores of CBP and VLP as one: sequences by the config's fusion, all else by the mean."""
    cas_tc = fused([branch.cas_tc for branch in branches], config.fusion, (config.cbp_share, 1 - config.cbp_share))
    activation_tc, attention_t, video_c = (
        np.mean([getattr(branch, name) for branch in branches], axis=0)
        for name in ("activation_tc", "attention_t", "video_c")
    )
    return VideoScores(branches[0].name, activation_tc, attention_t, video_c, cas_tc)


def detect(config: Config, batches: Batches, scores: Mapping[str, Mapping[str, VideoScores]]) -> dict[str, Detections]:
    """Detections of each branch and of their fusion, in seconds."""
    return {
        branch: localize(list(videos.values()), config.localize, batches.grid, batches.classes)
        for branch, videos in scores.items()
    }
