"""Named runs: each preset is the full method with a few fields replaced."""

from __future__ import annotations

from wtal_lib.data.datasets import get_dataset
from wtal_lib.method.config import Config
from wtal_lib.settings import replaced, require_known

DATASET_FIELDS: dict[str, dict[str, object]] = {
    "thumos14": {},
    # Few, long instances, more of each video is action (CO2-Net, DELU: T/5), thousands of videos. Sequences are
    # smoothed over the length of a short instance, as the field's 50 to 100 snippets a video do. On development
    # worlds the lowest tenth of CBP's range is background in 7 to 9 of 10 snippets, what lies below 0.4 in 5 to 7.
    "activitynet12": {
        "cbp__learning_rate": 5e-4, "cbp__input_dropout": 0.2, "cbp__dropout": 0.2,
        "training__snippets": 160, "training__pool": 0.2, "schedule__warmup": 425,
        "localize__class_threshold": 0.1, "localize__smoothing": 20.0,
        "pseudo_labels__smoothing": 15.0,
        "pseudo_labels__background_below": 0.1, "pseudo_labels__foreground_above": 0.5,
    },
}  # fmt: skip
"What a dataset's statistics change, for every preset alike"

PRESETS: dict[str, dict[str, object]] = {
    "full": {},  # the rule mutual
    "late_fusion": {"schedule__kind": "apart"},
    "cbp": {"schedule__kind": "apart"},
    "vlp": {"schedule__kind": "apart"},
    "vanilla_vlp": {"schedule__kind": "apart", "schedule__warmup": 0, "schedule__rounds": 0},
    "b_only": {"schedule__f_step": False},
    "f_only": {"schedule__b_step": False},
    "joint": {"schedule__kind": "joint"},
    "paper": {"pseudo_labels__other_kind": 0, "pseudo_labels__earned": False, "earned": False},
    "mutual": {},
    "consensus": {"pseudo_labels__word": "mean"},
    "ternary": {"pseudo_labels__word": "ternary"},
    "supervised": {  # with all of the video-label terms its CBP fell below full's in two of six development worlds
        "schedule__kind": "apart", "training__supervised": True,
        "losses__mil_orig": 0.0, "losses__mil_supp": 0.5, "cbp__distill": 8.0, "vlp__distill": 8.0, "vlp__norm": 0.1,
    },
}  # fmt: skip
"""Fields that each preset changes. ``cbp``, ``vlp`` and ``late_fusion`` are one and the same training, each branch on
the video labels alone for as many updates as in ``full``; they differ in the branch whose metrics carry the name."""

HEADLINE_BRANCH = {"cbp": "cbp", "vlp": "vlp", "vanilla_vlp": "vlp"}
"The branch whose scores a preset is about; the fused scores for all others"

PROFILE_FIELDS: dict[str, dict[str, object]] = {
    "full": {"training__threads": 0},  # batches as for quick: 16 x 320 snippets take 2.5 times as long, and score lower
    "quick": {},
    "ci": {
        "cbp__hidden": 32, "vlp__hidden": 32, "cbp__dropout": 0.5, "cbp__input_dropout": 0.1,
        "cbp__learning_rate": 3e-3, "vlp__learning_rate": 3e-3,
        "training__videos": 8, "training__snippets": 96,
        "schedule__warmup": 60, "schedule__period": 15, "schedule__rounds": 2,
    },
}  # fmt: skip
"What a profile changes: width of the networks and number of updates"

HEAD_FIELDS: dict[str, dict[str, object]] = {
    "cola": {"cbp__learning_rate": 1e-3, "cbp__input_dropout": 0.0},
    "co2net": {
        "cbp__learning_rate": 2e-4, "cbp__dropout": 0.5, "cbp__input_dropout": 0.0,
        "cbp__norm": 0.8, "cbp__guide": 0.8,
    },
}  # fmt: skip
"""What another paper's CBP head sets for itself: its own dropout and loss weights, and the rate at which it trains best
here (CO2-Net's attention collapses at a higher one)"""


def preset(name: str, dataset: str = "thumos14", profile: str = "quick", seed: int = 0, **changes: object) -> Config:
    """The configuration of a named run on a dataset; ``changes`` replace further fields (``schedule__period=25``).

    Raises:
        ValueError: an unknown preset, dataset, profile or field, with the list of those there are.
    """
    known = get_dataset(dataset)
    fields: dict[str, object] = {}
    tables = {"dataset": (known.model, DATASET_FIELDS), "profile": (profile, PROFILE_FIELDS), "preset": (name, PRESETS)}
    for what, (key, table) in tables.items():
        require_known(key, table, what)
        fields |= table[key]
    fields |= HEAD_FIELDS.get(str(changes.get("cbp__head", changes.get("cbp.head"))), {})
    return replaced(Config(dataset=known.name, preset=name, seed=seed), **{**fields, **changes})
