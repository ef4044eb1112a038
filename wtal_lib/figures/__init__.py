"""Arrays in, Axes out: one function a figure, in the house style; axes are made where none are given.

Shares come in as fractions and scores (mAP) in percent, :mod:`wtal_lib.figures.errors` apart; percent is drawn.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "draw": ["COLOURS", "LABELS", "LINE_COLOURS", "FULL_WIDTH", "theme", "colour"],
        "data": ["classes", "videos", "feature_lengths", "mismatches", "structures", "timelines"],
        "video": ["timeline", "branches_over_truth", "pseudo_labels", "video_overview", "safe_name", "frame_ages"],
        "errors": ["protocols", "class_ap", "error_kinds", "verdicts", "error_removal_gain", "miss_rates"],
        "training": ["dot_plot", "by_iou", "intervals", "training_curves", "thresholds", "label_quality", "published"],
        "branches": [
            "bin_names",
            "quantiles_by_bin",
            "detection_parts",
            "change_by_bin",
            "completeness_curves",
            "change_by_class",
            "instances_found",
            "outcomes",
        ],
        "effects": ["factorial", "gain_by_sharing"],
    },
)
