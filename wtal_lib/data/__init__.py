"""Datasets, annotations and feature packs: any community layout to arrays in seconds, running nobody's code."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "datasets": ["DATASETS", "get_dataset", "protocol", "prompt_name"],
        "segments": ["Grid", "Detections", "GroundTruth", "tiou", "resampled"],
        "annotations": ["Annotations", "data_root", "find_annotations", "annotations_from", "ground_truth"],
        "features": ["Pack", "find_pack", "aligned"],
        "vlp_pack": ["write_vlp_pack"],
        "wtalc_pack": ["write_wtalc_pack"],
    },
)
