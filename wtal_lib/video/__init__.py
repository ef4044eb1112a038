"""Video files to feature packs, and packs to segments."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "frames": ["videos_in", "VideoInfo", "Frame", "probe"],
        "vlm": ["Vlm", "load", "wrap"],
        "text": ["read_classes", "joined", "text_rows", "prompt_learner", "learner_for"],
        "i3d_weights": ["fetch", "kinetics_file"],
        "kinetics": ["missing"],
        "i3d": ["I3D"],
        "clips": ["i3d_backbone", "load_backbone"],
        "backbone": ["Backbone", "Extraction", "Target", "fill_packs"],
        "extract": ["extract_to_pack", "extract_i3d", "image_backbone"],
        "open_vocabulary": ["open_pack", "vanilla", "trained", "cbp_features", "localize_pack", "best_segments"],
        "examples": ["find_videos", "find_truth"],
    },
)
