"""Configurations: what may be said, how it is coerced, and that equal runs have equal names."""

import json
import math
from dataclasses import dataclass

import pytest

from wtal_lib.method.config import Config
from wtal_lib.method.presets import DATASET_FIELDS, PRESETS, PROFILE_FIELDS, preset
from wtal_lib.method.schedule import alternate
from wtal_lib.settings import Positive, PositiveInt, Share, check, coerced, digest, from_dict, replaced, to_dict


def test_a_config_survives_json():
    config = preset("paper", "activitynet12", seed=3)
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_equal_configs_have_equal_hashes_and_any_field_changes_it():
    assert digest(preset("full")) == digest(preset("full"))
    assert len({digest(preset(name)) for name in PRESETS}) == len(PRESETS)
    assert digest(replaced(Config(), vlp__distill=0.5)) != digest(Config())


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("[3,4]", list[int], [3, 4]),
        ("3, 4", list[int], [3, 4]),
        (7, list[int], [7]),
        ("3e-5", float, 3e-5),
        ("False", bool, False),
        ("2", int, 2),
        (2.0, int, 2),
        ("a,b", list[str], ["a", "b"]),
        ("['a', \"b\"]", list[str], ["a", "b"]),
        ("1e3", int, 1000),
        ("0.5", Share, 0.5),
    ],
)
def test_strings_from_papermill_become_values(text, kind, value):
    assert coerced(text, kind, "p") == value


@pytest.mark.parametrize(
    ("bad", "kind"), [("x", float), (2.5, int), ("2.5", int), (True, int), (None, float), (3, str)]
)
def test_values_of_the_wrong_kind_are_refused_by_name(bad, kind):
    with pytest.raises(ValueError, match="seeds must be"):
        coerced(bad, kind, "seeds")


@dataclass(frozen=True)
class Ranges:
    share: Share = 0.5
    weight: Positive = 1.0
    count: PositiveInt = 1
    margin: float = 0.0


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("share", 1.5, r"share must lie in \[0, 1\], got 1.5: it is a share, not a percent"),
        ("share", -0.5, r"share must lie in \[0, 1\], got -0.5$"),
        ("weight", 0, "weight must be greater than 0, got 0"),
        ("weight", math.inf, "weight must be a finite number, got inf"),
        ("count", 0, "count must be greater than 0, got 0"),
        ("count", 2.5, "count must be a whole number, got 2.5"),
        ("margin", -1, "margin must be not negative, got -1"),
        ("margin", math.nan, "margin must be a finite number, got nan"),
        ("margin", "x", "margin must be a valid number.*, got 'x'"),
    ],
)
def test_a_field_s_type_is_its_range(field, value, message):
    with pytest.raises(ValueError, match=message):
        check(Ranges(**{field: value}))
    with pytest.raises(ValueError, match=message):
        replaced(Ranges(), **{field: value})


def test_a_misspelt_field_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"schedule\.perid.*did you mean 'schedule\.period'"):
        replaced(Config(), schedule__perid=25)


def test_a_percentage_is_refused_as_such():
    with pytest.raises(ValueError, match="not a percent"):
        replaced(Config(), pseudo_labels__foreground_above=70)


def test_thresholds_that_cross_are_refused():
    with pytest.raises(ValueError, match="a snippet would be both"):
        replaced(Config(), pseudo_labels__background_below=0.8)


@pytest.mark.parametrize("name", ["temporal", "schedule"])
def test_unknown_choices_are_refused_with_the_list(name):
    change = {"temporal": {"cbp__temporal": "lstm"}, "schedule": {"schedule__kind": "both"}}[name]
    with pytest.raises(ValueError, match="must be one of"):
        replaced(Config(), **change)


def test_the_named_rules_are_what_they_are_called():
    rules = {name: preset(name).pseudo_labels for name in ("paper", "mutual", "consensus", "ternary")}
    assert {name: (rule.word, rule.other_kind > 0, rule.into) for name, rule in rules.items()} == {
        "paper": ("teacher", False, "both"),
        "mutual": ("teacher", True, "both"),
        "consensus": ("mean", True, "both"),
        "ternary": ("ternary", True, "both"),
    }
    assert [name for name, rule in rules.items() if rule.earned] == ["mutual", "consensus", "ternary"]
    assert preset("full").pseudo_labels == rules["mutual"]


def test_every_preset_gives_each_branch_equally_many_updates():
    def updates(name):
        phases = list(alternate(preset(name).schedule))
        return {student: sum(p.steps for p in phases if student in p.students) for student in ("cbp", "vlp")}

    counts = {tuple(updates(name).values()) for name in PRESETS if name != "vanilla_vlp"}
    ((cbp, vlp),) = counts
    assert cbp == vlp
    assert updates("vanilla_vlp") == {"cbp": 0, "vlp": 0}


def test_every_combination_of_preset_dataset_and_profile_is_valid():
    for name in PRESETS:
        for dataset in DATASET_FIELDS:
            for profile in PROFILE_FIELDS:
                assert preset(name, dataset, profile).preset == name


def test_an_unknown_preset_is_refused_with_the_list():
    with pytest.raises(ValueError, match="unknown preset 'ful'; did you mean 'full'"):
        preset("ful")
