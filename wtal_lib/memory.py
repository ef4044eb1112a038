"""Memory that a computation frees, kept by the process until the computation is over."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"glibc's names for what ``mallopt`` sets, by their numbers in malloc.h"
KEPT = {MMAP_MAX: 0, TRIM_THRESHOLD: 2**31 - 1}
"no block of its own from the system, however large; nothing given back"
USUAL = {MMAP_MAX: 65536, TRIM_THRESHOLD: 64 << 20}
"glibc's own, the second as it grows to with use"


@contextmanager
def kept() -> Iterator[None]:
    """A block in which freed memory is used again instead of going back and forth to the system.

    A full-width batch is tens of MiB, and fresh pages for each cost as much as filling them. Afterwards everything free
    is given back. Where the C library is not glibc, nothing is done.
    """
    try:
        library = ctypes.CDLL(None)
        set_, trim = library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        yield
        return
    for name, value in KEPT.items():
        set_(name, value)
    try:
        yield
    finally:
        for name, value in USUAL.items():
            set_(name, value)
        trim(0)
