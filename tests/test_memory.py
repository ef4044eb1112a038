"""Freed memory is kept within the block, given back after it, and missed by nobody where that cannot be done."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from wtal_lib import memory

COUNT = """
import resource, sys
import numpy as np
from wtal_lib import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(8 << 20)  # 64 MiB, more than glibc ever keeps of itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
with memory.kept():
    faults()
    kept = faults()
held = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() >> 20
print(usual, kept, held)
"""


def test_freed_memory_is_used_again_and_given_back_in_the_end() -> None:
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library is not glibc")
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True, check=True)
    usual, kept, held = map(int, done.stdout.split())
    assert kept < usual / 10, "pages are not fetched anew for each array"
    assert held < 64, "MiB: the array's memory is back with the system"


def test_an_error_passes_through() -> None:
    with pytest.raises(KeyError), memory.kept():
        raise KeyError


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    with memory.kept():
        entered = True
    assert entered
