"""The paper in one sitting: branches, losses, pseudo-labels, the B/F schedule, the trainer and localization."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": [
            "Branch",
            "Losses",
            "PseudoLabels",
            "Schedule",
            "Training",
            "Localize",
            "Config",
            "check",
            "to_dict",
            "digest",
        ],
        "presets": ["preset"],
        "batches": ["Batch", "Batches"],
        "text": ["TextResidual", "PromptLearner"],
        "models": [
            "Output",
            "CbpBranch",
            "VlpBranch",
            "Vanilla",
        ],
        "layers": ["Rescale", "Standardise", "Gate", "Convolution", "Temporal"],
        "pooling": ["top_k_mean", "masked_mean", "smoothed"],
        "losses": [
            "video_cross_entropy",
            "guide",
            "video_label_terms",
            "balanced_bce",
            "activation_logit",
            "distillation",
            "total",
        ],
        "pseudo_labels": [
            "Labels",
            "Confidence",
            "evidence",
            "confidence",
            "kinds_taught",
            "label",
            "quality",
        ],
        "reliability": ["measure", "label_ranking", "claims", "shares"],
        "schedule": ["Phase", "alternate", "updates"],
        "trainer": ["train", "teach", "update", "deterministic"],
        "state": ["State", "fresh", "identity", "save", "resume"],
        "inference": ["whole_videos", "video_level"],
        "predict": ["video_scores", "fuse", "detect"],
        "localize": ["VideoScores", "fused", "selected", "upsampled", "proposals", "oic", "nms"],
    },
)
