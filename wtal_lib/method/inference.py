"""A branch over whole videos, in evaluation mode, at full resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import nn

from wtal_lib.method.models import Output
from wtal_lib.method.pooling import arithmetic, top_k_mean


@torch.inference_mode()
def whole_videos(
    branch: nn.Module, names: Iterable[str], rows: Callable[[str], np.ndarray], precision: str = "auto"
) -> Iterator[tuple[str, Output]]:
    """Name and output (1, t, …) of each video, float32 on the CPU; ``rows`` gives a video's features (t, d)."""
    device = next(iter(branch.state_dict().values())).device
    for name in names:  # a copy of its own: PyTorch warns of arrays that cannot be written
        x = torch.from_numpy(np.array(rows(name), dtype=np.float32))[None].to(device)
        with arithmetic(precision, device.type):
            logit, attention, suppressed, _ = branch(x, torch.ones(x.shape[:2], dtype=torch.bool, device=device))
        yield name, Output(logit.float().cpu(), attention.float().cpu(), suppressed.float().cpu())


def video_level(output: Output, share: float) -> np.ndarray:
    """Video-level class probabilities (c,) of one video: softmax of pooled suppressed logits, without background."""
    mask = torch.ones(output.attention.shape, dtype=torch.bool)
    pooled = top_k_mean(output.suppressed.clamp(min=-1e4), mask, share)
    return pooled.softmax(dim=1)[0, :-1].numpy()
