"""Weakly-supervised temporal action localization with two pre-trainings that teach each other (after CVPR 2023)."""

__version__ = "0.1.0"
