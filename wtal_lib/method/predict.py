"""Branches over whole videos: class activations, video-level scores, and the detections of each branch and of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor, nn

from wtal_lib.data.segments import Detections
from wtal_lib.method.batches import Batches
from wtal_lib.method.config import Config
from wtal_lib.method.inference import whole_videos
from wtal_lib.method.localize import VideoScores, fused, localize
from wtal_lib.method.models import Output, vanilla_vlp
from wtal_lib.method.pooling import top_k_mean
from wtal_lib.method.precision import arithmetic
from wtal_lib.method.schedule import Name

BRANCHES = ("cbp", "vlp", "fused")


class Vanilla(nn.Module):
    """Vision-language pre-training without any training, in the form of a branch."""

    text: Tensor

    def __init__(self, text: Tensor, logit_scale: float) -> None:
        super().__init__()
        self.register_buffer("text", text)
        self.logit_scale = logit_scale

    def forward(self, z: Tensor, mask: Tensor) -> Output:
        """Softmax of cosine times ``logit_scale``, attention 1."""
        return vanilla_vlp(z, self.text, self.logit_scale)


def video_scores(
    config: Config, batches: Batches, branches: dict[Name, nn.Module], names: Sequence[str]
) -> dict[str, dict[str, VideoScores]]:
    """What each branch says of each video, and their fusion where there are two: by branch, then by video."""
    device = next(iter(next(iter(branches.values())).state_dict().values())).device

    def forward(x: Tensor, z: Tensor, mask: Tensor) -> dict[str, Tensor]:
        said: dict[str, Tensor] = {}
        mask = mask.to(device)
        with arithmetic(config.training.precision, device.type):
            outputs = {name: branch((x if name == "cbp" else z).to(device), mask) for name, branch in branches.items()}
        for name, output in outputs.items():
            said |= {f"{name}/activation": output.activation(), f"{name}/attention": output.attention}
            said[f"video/{name}"] = video_level(output, mask, config.training.pool)
        return said

    scores: dict[str, dict[str, VideoScores]] = {branch: {} for branch in (*branches, "fused")[: 2 * len(branches) - 1]}
    for video, said in whole_videos(names, batches.lengths, batches.whole, forward):
        for name in branches:
            activation_tc, attention_t = said[f"{name}/activation"], said[f"{name}/attention"]
            scores[name][video] = VideoScores(video, activation_tc, attention_t, said[f"video/{name}"])
        if "fused" in scores:
            scores["fused"][video] = fuse([scores[name][video] for name in branches], config)
    return scores


def video_level(output: Output, mask: Tensor, share: float) -> Tensor:
    """Video-level class probabilities (b, c): softmax of the pooled logits under attention, background left out."""
    logit = output.logit.clamp(min=-1e4)
    return top_k_mean(logit * output.attention[:, :, None], mask, share).softmax(dim=1)[:, :-1]


def fuse(branches: Sequence[VideoScores], config: Config) -> VideoScores:
    """One video's scores of CBP and VLP as one: sequences by the config's fusion, all else by the mean."""
    shares = (config.cbp_share, 1 - config.cbp_share)
    cas_tc = fused([branch.cas_tc for branch in branches], config.fusion, shares)
    activation_tc, attention_t, video_c = (
        np.mean([getattr(branch, name) for branch in branches], axis=0)
        for name in ("activation_tc", "attention_t", "video_c")
    )
    return VideoScores(branches[0].name, activation_tc, attention_t, video_c, cas_tc)


def detect(config: Config, batches: Batches, scores: dict[str, dict[str, VideoScores]]) -> dict[str, Detections]:
    """Detections of each branch and of their fusion, in seconds."""
    return {
        branch: localize(list(videos.values()), config.localize, batches.grid, batches.classes)
        for branch, videos in scores.items()
    }
