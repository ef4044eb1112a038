"""Named runs: each preset is the full method with a few fields replaced."""

from __future__ import annotations

from wtal_lib.data.datasets import get_dataset
from wtal_lib.method.config import Config
from wtal_lib.settings import replaced, unknown

DATASET_FIELDS: dict[str, dict[str, object]] = {
    "thumos14": {},
    "activitynet12": {
        # few, long instances: whole videos fit, more of each is action (CO2-Net, DELU: T/5 and 60 rows)
        "training__snippets": 160,
        "training__pool": 0.2,
        "localize__class_threshold": 0.1,
        # thousands of training videos in place of 200
        "schedule__rounds": 6,
    },
}
"What a dataset's statistics change, for every preset alike"

PRESETS: dict[str, dict[str, object]] = {
    "full": {},
    "late_fusion": {"schedule__kind": "apart"},
    "cbp": {"schedule__kind": "apart"},
    "vlp": {"schedule__kind": "apart"},
    "vanilla_vlp": {"schedule__kind": "apart", "schedule__warmup": 0, "schedule__rounds": 0},
    "b_only": {"schedule__f_step": False},
    "f_only": {"schedule__b_step": False},
    "joint": {"schedule__kind": "joint"},
    "literal": {"pseudo_labels": {"confidence": "teacher", "sides": "one", "into": "attention"}},
    "supervised": {"schedule__kind": "apart", "training__supervised": True, "pseudo_labels__into": "both"},
}
"""Fields that each preset changes. ``cbp``, ``vlp`` and ``late_fusion`` are one and the same training, each branch on
the video labels alone for as many updates as in ``full``; they differ in the branch whose metrics carry the name."""

OWN_FIELDS: dict[tuple[str, str], dict[str, object]] = {
    # few videos hold much background: an attention that learns it tells less, and would make a lower bound
    ("activitynet12", "supervised"): {"pseudo_labels__into": "activation"},
}
"What a preset changes on one dataset alone"

HEADLINE_BRANCH = {"cbp": "cbp", "vlp": "vlp", "vanilla_vlp": "vlp"}
"The branch whose scores a preset is about; the fused scores for all others"

PROFILE_FIELDS: dict[str, dict[str, object]] = {
    "full": {
        "cbp__hidden": 256, "vlp__hidden": 256,
        "training": {"videos": 16, "snippets": 320, "threads": 0},
    },
    "quick": {},
    "ci": {
        "cbp__hidden": 32, "vlp__hidden": 32, "cbp__learning_rate": 3e-3, "vlp__learning_rate": 3e-3,
        "training__videos": 8, "training__snippets": 96,
        "schedule__warmup": 60, "schedule__period": 15, "schedule__rounds": 2,
    },
}  # fmt: skip
"What a profile changes: width of the networks and number of updates"


def preset(name: str, dataset: str = "thumos14", profile: str = "quick", seed: int = 0, **changes: object) -> Config:
    """The configuration of a named run on a dataset; ``changes`` replace further fields (``schedule__period=25``).

    Raises:
        ValueError: an unknown preset, dataset, profile or field, with the list of those there are.
    """
    known = get_dataset(dataset)
    tables: list[tuple[str, str, dict[str, dict[str, object]]]] = [
        ("dataset", known.model, DATASET_FIELDS),
        ("profile", profile, PROFILE_FIELDS),
        ("preset", name, PRESETS),
    ]
    fields: dict[str, object] = {}
    for what, key, table in tables:
        if key not in table:
            raise ValueError(unknown(key, list(table), what))
        fields |= table[key]
    fields |= OWN_FIELDS.get((known.model, name), {})
    return replaced(Config(dataset=known.name, preset=name, seed=seed), **{**fields, **changes})
