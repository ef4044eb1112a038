"""Exact average precision, reports under named protocols, and how detections err."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "metrics": ["average_precision", "match"],
        "completeness": ["activated", "covered", "shares"],
        "detections": ["find_detections", "read_detections", "write_detections"],
        "evaluate": ["as_text", "report", "score_file"],
    },
)
