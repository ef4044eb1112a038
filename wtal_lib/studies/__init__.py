"""A notebook's helpers: open a study, ask the paper's questions as runs, keep tables, figures and claims."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "study": ["Study", "open_study"],
        "parameters": ["check_parameters", "parameters_set"],
        "ablation": [
            "Row",
            "presets",
            "steps",
            "sides",
            "thresholds",
            "threshold_pairs",
            "brief",
            "difficulties",
            "tasks",
            "scored",
        ],
        "replay": ["restored", "scores", "ruled"],
        "story": ["Chapter", "told", "labels", "sequences", "instances", "telling"],
        "complementarity": ["stretched", "fit", "trade", "found", "shared_misses", "overlaps", "better_by_class"],
        "tables": [
            "published",
            "paper",
            "finished",
            "score",
            "lines",
            "by_protocol",
            "beside_paper",
            "over_seeds",
            "plus_minus",
            "effects",
            "usual_spread",
            "verdict",
            "gap_closed",
        ],
        "history": ["curve", "last_and_best", "pseudo_labels", "labels_overall"],
        "gallery": ["write", "markdown", "studies", "told_by", "notebook_digest", "stale"],
        "explorer": ["live", "Explorer"],
    },
)
