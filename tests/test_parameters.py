"""A notebook's parameters: text becomes what it means, and nothing misspelt is passed over."""

from __future__ import annotations

import re

import pytest

from wtal_lib.studies.parameters import PARAMETERS, check_parameters, parameters_set

DEFAULTS = (
    "dataset = 'thumos14'  # which\nsource = 'auto'\ndata_root = ''\nprofile = 'quick'\nseeds = [0]\nresults = ''"
)
OPEN = "study = open_study('01_data', globals())"


def kernel(*cells: str) -> dict[str, object]:
    """The globals of a kernel that has run ``cells``, the last of which is running."""
    space: dict[str, object] = {
        "In": ["", *cells],
        "Out": {},
        "get_ipython": print,
        "exit": exit,
        "_": "",
        "np": pytest,
    }
    for cell in cells:
        if "open_study" not in cell and "import" not in cell:
            exec(cell, space)
    return space


@pytest.mark.parametrize("text", ["[3,4]", "3,4", "3, 4", [3, 4], (3, 4), "[3.0, 4]", ["3", "4"]])
def test_a_list_may_come_as_text(text: object) -> None:
    assert check_parameters({"seeds": text})["seeds"] == [3, 4]


def test_one_number_is_a_list_of_one() -> None:
    assert check_parameters({"seeds": 7})["seeds"] == [7]


def test_a_number_may_come_as_text_as_yaml_gives_it() -> None:
    known = {**PARAMETERS, "rate": (float, 1.0), "force": (bool, False)}
    assert check_parameters({"rate": "3e-5", "force": "true"}, known)["rate"] == 3e-5
    assert check_parameters({"force": "True"}, known)["force"] is True


def test_the_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somebody")
    assert check_parameters({"data_root": "~/packs"})["data_root"] == "/somebody/packs"


def test_no_folder_may_be_said_in_two_ways() -> None:
    assert check_parameters({"data_root": None, "results": ""}) == check_parameters({})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"datset": "thumos14"}, "unknown parameter 'datset'; did you mean 'dataset'"),
        ({"seed": 3}, "did you mean 'seeds'"),
        ({"zzz": 3}, "choose one of dataset, source, data_root, profile, seeds, results"),
        ({"dataset": "thumos"}, "'thumos'; did you mean 'thumos14'"),
        ({"source": "fake"}, "auto, real, simulated"),
        ({"profile": "fast"}, "ci, quick, full"),
        ({"profile": 3}, "profile must be one of ci, quick, full, got 3"),
        ({"seeds": "a,b"}, "seeds must be a whole number, got 'a'"),
        ({"seeds": [0.5]}, "seeds must be a whole number, got 0.5"),
        ({"seeds": []}, "seeds must name at least one"),
        ({"seeds": "[]"}, "seeds must name at least one"),
        ({"data_root": 5}, "data_root must be text"),
    ],
)
def test_what_is_not_a_parameter_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        check_parameters(given)


def test_a_name_that_papermill_injected_is_a_parameter() -> None:
    space = kernel(DEFAULTS, "# Parameters\ndatset = 'activitynet12'\n", OPEN)
    with pytest.raises(ValueError, match="did you mean 'dataset'"):
        check_parameters(space)
    assert check_parameters(kernel(DEFAULTS, "# Parameters\ndataset = 'activitynet12'\n", OPEN))["dataset"][0] == "a"


def test_a_name_beside_known_parameters_is_a_parameter() -> None:
    assert "profil" in parameters_set(kernel(DEFAULTS + "\nprofil = 'ci'", OPEN), PARAMETERS)


def test_variables_of_other_cells_are_no_parameters() -> None:
    space = kernel(DEFAULTS, "import os\nx = os", OPEN, "threshold = 0.5", "a = 1\nb = a + 1", OPEN)
    assert check_parameters(space)["dataset"] == "thumos14"


def test_a_mistake_that_was_corrected_is_forgotten() -> None:
    space = kernel("datset = 'x'\nsource = 'auto'", OPEN, DEFAULTS, OPEN)
    assert check_parameters(space)["dataset"] == "thumos14"
