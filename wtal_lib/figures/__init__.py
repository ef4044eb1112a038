"""Arrays in, Axes out: one function a figure, in the house style."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "style": ["COLOURS", "LABELS", "FULL_WIDTH", "theme", "colour", "timeline"],
        "data": ["classes", "videos", "feature_lengths", "mismatches", "structures", "timelines"],
        "video": ["watched", "plain", "film_strip", "class_lanes", "frame_ages"],
        "errors": [
            "protocols",
            "class_ap",
            "error_kinds",
            "verdicts",
            "error_removal_gain",
            "bin_names",
            "spread",
            "shares",
            "misses",
        ],
        "training": [
            "LINE_COLOURS",
            "MAP",
            "training_curves",
            "dots",
            "by_iou",
            "heat",
            "label_quality",
            "sensitivity",
            "published",
        ],
        "branches": ["taught", "trade", "by_bin", "by_class", "who_finds"],
    },
)
