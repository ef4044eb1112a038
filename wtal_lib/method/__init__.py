"""The paper in one sitting: branches, losses, pseudo-labels, the B/F schedule, the trainer and localization."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["Config", "Branch", "Losses", "PseudoLabels", "Schedule", "Training", "Localize"],
        "presets": ["preset"],
        "text": ["TextResidual", "PromptLearner"],
        "models": ["Output", "VlpBranch", "Vanilla", "whole_videos", "video_level"],
        "heads": ["head"],
        "pooling": ["top_k_mean", "masked_mean", "smoothed"],
        "losses": ["video_label_terms", "distillation", "activation_logit", "balanced_bce", "extra_terms", "total"],
        "pseudo_labels": ["Confidence", "Labels", "evidence", "confidence", "rule", "kind_weights", "label", "quality"],
        "reliability": ["measure", "label_ranking", "claims", "shares"],
        "schedule": ["Phase", "alternate", "updates"],
        "trainer": ["train", "teach", "update"],
        "state": ["State", "fresh"],
        "predict": ["video_scores", "fuse", "detect"],
        "localize": ["VideoScores", "min_max", "nms"],
    },
)
