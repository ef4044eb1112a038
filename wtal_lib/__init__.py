"""Weakly-supervised temporal action localization with two pre-trainings that teach each other (after CVPR 2023)."""

import os

# Read by PyTorch at its first allocation: batches of full width are tens of MB; a quarter of a run was page faults.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

__version__ = "0.1.0"
