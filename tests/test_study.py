"""A study finds its data, refuses what is wrong early, and leaves results that are whole, marked and recorded."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import made
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from wtal_lib import settings
from wtal_lib.data.vlp_pack import write_vlp_pack
from wtal_lib.runs import records
from wtal_lib.studies import study
from wtal_lib.studies.study import Study, open_study

ROOT = Path(__file__).resolve().parents[1]
FRAME = pd.DataFrame({"class": ["a", "b|c"], "n": [1, 2000], "share": [0.25, np.nan]})


pytestmark = pytest.mark.usefixtures("nothing_on_this_disk")


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    """A data root with annotations and both packs, which nothing marks as simulated."""
    given = made.annotations()
    home = tmp_path / "data" / "thumos14"
    made.write_wtalc(home, given)
    made.write_joint(home, made.features(given))
    rows = made.features(given)
    unit = {name: array / np.linalg.norm(array, axis=1, keepdims=True) for name, array in rows.items()}
    write_vlp_pack(home / "vlp/tiny-none", meta=made.meta(), text_ce=np.eye(4)[:3], features=unit.items())
    return tmp_path / "data"


def opened(folder: Path, name: str = "probe", **given: object) -> Study:
    return open_study(name, {"profile": "ci", "results": str(folder), **given})


def drawn() -> Any:
    figure, ax = plt.subplots(layout="constrained")
    ax.plot([0, 1], [1, 0])
    ax.set_xlabel("time (s)")
    return figure


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_everything_is_simulated_where_there_is_nothing(tmp_path: Path) -> None:
    one = opened(tmp_path)
    assert (one.source, one.structure, one.found) == ("simulated", "simulated", None)
    assert one.simulated_parts() == "simulated features and annotations"
    assert one.simulated_parts("detections") == ""
    assert one.cbp is not None
    assert one.vlp is not None
    assert set(one.cbp.names) == set(one.annotations.videos)
    assert one.folder == tmp_path / "drawn" / "thumos14" / "probe"
    assert "simulated" in repr(one)


def test_real_annotations_lend_simulated_features_their_structure(tmp_path: Path, shared_data: Path) -> None:
    one = opened(tmp_path, data_root=str(shared_data))
    assert (one.source, one.structure) == ("simulated", "real")
    assert (one.simulated_parts(), one.simulated_parts("annotations")) == ("simulated features", "")
    assert one.folder == tmp_path / "simulated" / "thumos14" / "probe"
    assert one.found is not None
    assert set(one.annotations.videos) < set(one.found.videos)


def test_packs_on_this_disk_are_real(packs: Path, tmp_path: Path) -> None:
    one = opened(tmp_path, data_root=str(packs), source="real")
    assert (one.source, one.structure, one.world, one.simulated_parts()) == ("real", "real", None, "")
    assert one.folder == tmp_path / "real/thumos14/probe"
    figure = drawn()
    one.figure("line", figure, FRAME)
    one.table("sums", FRAME)
    one.close()
    assert b"simulated" not in (kept(one.folder)["line.svg"] + kept(one.folder)["sums.md"]).lower()
    assert records.read_record(one.folder / "record.json")["data"]["cbp"]["layout"] == "w-talc"


def test_simulated_can_be_asked_for_where_packs_are_real(packs: Path, tmp_path: Path) -> None:
    one = opened(tmp_path, data_root=str(packs), source="simulated")
    assert (one.source, one.structure) == ("simulated", "real")
    assert one.world is not None


@pytest.mark.parametrize("where", [".", "thumos14", "thumos14/vlp/tiny-none"])
def test_packs_that_were_written_by_the_simulator_are_never_real(packs: Path, tmp_path: Path, where: str) -> None:
    (packs / where / "SIMULATED.json").write_text("{}")
    one = opened(tmp_path, data_root=str(packs))
    assert (one.source, one.world) == ("simulated", None)
    assert one.cbp is not None
    assert one.cbp.layout == "w-talc"
    with pytest.raises(FileNotFoundError, match="marked as simulated"):
        opened(tmp_path, data_root=str(packs), source="real")


def test_annotations_alone_are_real_where_no_features_are_needed(tmp_path: Path, shared_data: Path) -> None:
    one = open_study("probe", {"data_root": str(shared_data), "results": str(tmp_path)}, needs=())
    assert (one.source, one.world, one.simulated_parts()) == ("real", None, "")
    assert one.folder == tmp_path / "real" / "thumos14" / "probe"


def test_real_says_what_is_missing_and_where_it_can_be_had(tmp_path: Path, shared_data: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)JOINTFeatures.*github.*vlp.*source='auto'"):
        opened(tmp_path, data_root=str(shared_data), source="real")


def test_a_data_root_that_is_not_there_is_an_error_whatever_the_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nirvana"):
        opened(tmp_path, data_root="nirvana")


def test_a_misspelt_parameter_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'profile'"):
        open_study("probe", {"profil": "ci", "results": str(tmp_path)})
    assert not list(tmp_path.iterdir())


def test_a_notebook_may_have_parameters_of_its_own(tmp_path: Path) -> None:
    given = {"profile": "ci", "results": str(tmp_path), "videos": "a.mp4,b.mp4"}
    assert open_study("probe", given, extra={"videos": (list[str], [])}).parameters["videos"] == ["a.mp4", "b.mp4"]


def test_results_that_cannot_be_written_are_an_early_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(PermissionError, match="give another folder as `results`"):
        opened(tmp_path / "results")


def test_nothing_is_written_until_the_study_is_closed(tmp_path: Path) -> None:
    one = opened(tmp_path)
    one.figure("line", drawn(), FRAME)
    one.table("sums", FRAME, "Some sums.")
    assert not list(one.folder.iterdir())
    one.check("water is wet", True)
    assert "1 of 1 claims hold; 5 files" in one.close()
    assert set(kept(one.folder)) == {"line.png", "line.svg", "line.csv", "sums.csv", "sums.md", "record.json"}


def test_a_table_is_shown_rounded_and_kept_as_it_is(tmp_path: Path) -> None:
    one = opened(tmp_path)
    shown = one.table("means", pd.DataFrame({"mean": [43.654]}), digits=2)
    assert shown["mean"].tolist() == [43.65]
    one.close()
    assert kept(one.folder)["means.csv"].decode().split() == ["mean", "43.654"]
    assert "43.7 |" in kept(one.folder)["means.md"].decode()  # 43.65 would have been rounded to 43.6


def test_a_false_claim_fails_and_leaves_the_last_good_results(tmp_path: Path) -> None:
    one = opened(tmp_path)
    one.table("sums", FRAME)
    one.close()
    before = kept(one.folder)
    two = opened(tmp_path)
    two.table("sums", FRAME.head(1))
    with pytest.raises(AssertionError, match="pigs fly"):
        two.check("pigs fly", False)
    with pytest.raises(AssertionError, match="pigs fly"):
        two.close()
    assert kept(one.folder) == before


def test_a_negative_finding_is_a_result_on_real_features(tmp_path: Path, packs: Path) -> None:
    one = opened(tmp_path / "results", data_root=str(packs))
    one.shows("pigs fly", False)
    one.shows("pigs walk", True)
    said = one.close()
    assert "1 of 2 claims hold" in said
    assert said.endswith("does not hold on these data: pigs fly")
    kept_claims = records.read_record(one.folder / "record.json")["claims"]
    assert kept_claims == [{"claim": "pigs fly", "holds": False}, {"claim": "pigs walk", "holds": True}]


def test_a_negative_finding_is_a_result_on_simulated_features_too(tmp_path: Path) -> None:
    one = opened(tmp_path)
    one.shows("pigs fly", False)
    assert "does not hold" in one.close()


def test_equal_results_are_equal_bytes(tmp_path: Path) -> None:
    both = []
    for part in ("a", "b"):
        one = opened(tmp_path / part)
        one.figure("line", drawn(), FRAME)
        one.close()
        both.append({name: content for name, content in kept(one.folder).items() if name != "record.json"})
    assert both[0] == both[1]


def test_what_rests_on_simulated_features_says_so_in_the_picture(tmp_path: Path) -> None:
    one = opened(tmp_path)
    figure = drawn()
    one.figure("line", figure.axes, FRAME)
    one.figure("free", drawn(), FRAME, rests_on="given")
    one.table("sums", FRAME, "Some sums.")
    one.close()
    content = kept(one.folder)
    assert b"SIMULATED features and annotations" in content["line.svg"]
    assert b">SIMULATED<" in content["line.svg"], "in the axes too"
    assert b"SIMULATED" not in content["free.svg"]
    assert content["sums.md"].startswith(b"Some sums.\n\n|")
    assert content["sums.md"].endswith(b"SIMULATED features and annotations</sub>\n")
    record = records.read_record(one.folder / "record.json")
    assert record["files"]["line.png"]["simulated"] == "simulated features and annotations"
    assert record["files"]["free.png"]["simulated"] == ""


def test_a_stamp_names_what_the_result_rests_on(tmp_path: Path, packs: Path, shared_data: Path) -> None:
    real = opened(tmp_path, data_root=str(packs), seeds="[0,1]")
    assert real.stamp() == "THUMOS14 · profile ci · seeds 0, 1 · thumos14-210-seconds (2 of 210 videos)"
    theirs = "THUMOS14 · thumos14-210-seconds (2 of 210 videos) · detections of "
    assert real.stamp("detections") == theirs + "another method"
    real.parameters["whose"] = "P-MIL"
    assert real.stamp("detections") == theirs + "P-MIL"
    assert real.stamp("annotations") == real.stamp("given") == "THUMOS14"
    assert opened(tmp_path, data_root=str(shared_data)).stamp().endswith(" videos) · SIMULATED features")
    drawn = opened(tmp_path)
    assert drawn.stamp("annotations") == "THUMOS14 · SIMULATED annotations"
    assert drawn.table("sums", FRAME)._repr_html_().endswith(f"<small>{drawn.stamp()}</small>")  # type: ignore[operator]


def test_axes_that_were_placed_by_hand_stay_where_they_are(tmp_path: Path) -> None:
    one = opened(tmp_path)
    figure = plt.figure()
    ax = figure.add_axes((0.1, 0.2, 0.3, 0.4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one.figure("placed", ax, FRAME)
    np.testing.assert_allclose(ax.get_position().bounds, (0.1, 0.2, 0.3, 0.4))


def test_a_record_says_how_to_make_its_results_again(tmp_path: Path) -> None:
    one = opened(tmp_path, seeds="[3,4]")
    one.table("sums", FRAME)
    one.check("water is wet", True)
    one.close()
    record = records.read_record(one.folder / "record.json")
    assert record["parameters"]["seeds"] == [3, 4]
    assert record["claims"] == [{"claim": "water is wet", "holds": True}]
    assert record["data"]["cbp"]["fingerprint"] == one.cbp.fingerprint  # type: ignore[union-attr]
    assert record["files"]["sums.csv"]["sha256"] == settings.sha256(kept(one.folder)["sums.csv"])
    assert record["code"]["files"]["wtal_lib/studies/study.py"] == settings.sha256(Path(study.__file__).read_bytes())
    assert "numpy" in record["environment"]["packages"]
    assert record["wall_seconds"] > 0
    assert record["peak_memory_mib"] > 0
    assert record["simulator"]["profile"] == "ci"
    assert str(Path.home()) not in json.dumps(record)


def test_a_damaged_record_is_written_anew(tmp_path: Path) -> None:
    one = opened(tmp_path)
    (one.folder / "record.json").write_text('{"files": {"sums')
    with pytest.raises(ValueError, match=r"record\.json is not a record"):
        records.read_record(one.folder / "record.json")
    one.close()
    assert records.read_record(one.folder / "record.json")["study"] == "probe"


def test_results_of_an_earlier_run_that_are_made_no_more_are_removed(tmp_path: Path) -> None:
    one = opened(tmp_path)
    one.table("old", FRAME)
    one.close()
    (one.folder / "notes.txt").write_text("mine")
    two = opened(tmp_path)
    two.table("new", FRAME)
    two.close()
    assert set(kept(one.folder)) == {"new.csv", "new.md", "record.json", "notes.txt"}


def test_two_at_once_on_the_same_results_do_not_harm_each_other(tmp_path: Path) -> None:
    one, two = opened(tmp_path), opened(tmp_path)
    one.table("sums", FRAME)
    two.table("sums", FRAME)
    one.close()
    two.close()
    record = records.read_record(one.folder / "record.json")
    assert record["files"]["sums.csv"]["sha256"] == settings.sha256(kept(one.folder)["sums.csv"])
    assert not [name for name in kept(one.folder) if name.endswith(".part")]


def test_a_result_cannot_leave_its_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="letters, digits and underscores"):
        opened(tmp_path).table("../sums", FRAME)
