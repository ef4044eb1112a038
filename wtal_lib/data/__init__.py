"""Datasets, annotations and feature packs: any community layout to arrays in seconds, running nobody's code."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "annotations": [
            "Annotations",
            "Layout",
            "data_root",
            "dataset_folders",
            "home_folder",
            "of_another",
            "found_annotations",
            "find_annotations",
            "searched",
            "annotations_from",
            "ground_truth",
        ],
        "segments": ["Grid", "Detections", "GroundTruth", "overlap", "tiou", "union", "runs", "rounded"],
        "features": ["column_moments", "Features", "Pack", "aligned", "sources", "find_pack", "open_pack", "marked"],
        "check": ["passes", "annotation_findings", "pack_findings", "as_text"],
        "census": ["instances", "videos", "by_class", "samples", "quantiles", "timelines", "mismatches", "apart"],
        "datasets": ["prompt_name", "Protocol", "protocol", "protocols_of", "known_dataset"],
        "packs": ["Source", "found_packs", "inferred_grid"],
        "vlp_pack": ["write_vlp_pack", "read_meta", "read_text"],
        "wtalc_pack": ["write_wtalc_pack"],
        "layouts": ["Video", "Reading", "read_wtalc", "read_database", "read_names", "read_ambiguous", "segment_table"],
        "cache": ["Kept", "Fault", "Rows", "cache_folder", "opened", "built", "stamp"],
        "files": ["UnreadableError", "readable", "header", "read_array", "read_objects", "read_json", "replacing"],
        "resampling": ["resampled"],
    },
)
