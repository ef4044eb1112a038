"""The arithmetic of matrix products: bfloat16 where the hardware multiplies it natively, float32 elsewhere."""

from __future__ import annotations

import torch


def precision(wanted: str, device: str) -> str:
    """``float32`` or ``bfloat16``; ``auto`` takes the latter where the hardware multiplies it natively."""
    if wanted != "auto":
        return wanted
    native = torch.cuda.is_bf16_supported() if device == "cuda" else torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


def arithmetic(wanted: str, device: str) -> torch.autocast:
    """The context in which matrix products run in the wanted precision; sums and losses stay float32."""
    return torch.autocast(device, torch.bfloat16, enabled=precision(wanted, device) == "bfloat16")
