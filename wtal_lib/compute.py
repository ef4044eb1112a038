"""How PyTorch computes here: the precision of matrix products, deterministic kernels, and the number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Deterministic kernels, a random state and a number of threads of our own; the caller's are given back."""
    filling: Any = torch.utils.deterministic
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads(), filling.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        torch.set_num_threads(threads or before[1])
        filling.fill_uninitialized_memory = False  # nothing here reads what it did not write
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before[0])
            torch.set_num_threads(before[1])
            filling.fill_uninitialized_memory = before[2]
