"""The paper, readable in one sitting: branches, losses, pseudo-labels, B/F schedule, trainer and localization."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["Branch", "Losses", "PseudoLabels", "Schedule", "Training", "Localize", "Config"],
        "presets": ["preset"],
        "text": ["TextResidual", "PromptLearner"],
        "models": ["Output", "CbpBranch", "VlpBranch", "Vanilla"],
        "schedule": ["Phase", "alternate"],
        "trainer": ["train", "teach"],
        "state": ["State", "fresh", "resume"],
        "predict": ["video_scores", "fuse", "detect"],
        "localize": ["VideoScores", "fused", "oic", "nms"],
    },
)
