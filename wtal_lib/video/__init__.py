"""Video files to feature packs, and packs to segments."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "frames": ["videos_in", "VideoInfo", "Frame", "probe"],
        "vlm": ["import_open_clip", "Vlm", "wrap", "load"],
        "extract": ["Progress", "Extraction", "described", "require_distinct"],
        "extract_pack": ["extract_to_pack"],
        "open_vocabulary": [
            "OpenPack",
            "open_pack",
            "Scorer",
            "vanilla",
            "trained",
            "cbp_features",
            "scores",
            "localize_pack",
            "best_segments",
        ],
        "examples": ["find_videos", "draw_example", "find_truth"],
    },
)
