"""Exact average precision, reports under named protocols, and how detections err."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metrics": [
            "Matching",
            "average_precision",
            "match",
            "thresholds",
            "scored",
            "counted",
            "recall_at",
            "snippet_ap",
            "snippet_auc",
        ],
        "matching": ["placed", "pairs", "running_max", "assigned"],
        "detections": ["read_detections", "find_detections", "write_detections", "checked"],
        "evaluate": ["score_file", "report", "as_text"],
        "diagnose": [
            "error_kinds",
            "error_removal_gain",
            "multiples",
            "profile",
            "example",
            "characters",
            "binned",
            "rate_by_bin",
        ],
        "completeness": ["Completeness", "covered", "shares", "activated"],
    },
)
