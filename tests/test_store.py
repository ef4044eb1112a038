"""The results store: a record is whole or not there, one process at a time, and lists are quick."""

from __future__ import annotations

import json
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from wtal_lib.method.presets import preset
from wtal_lib.runs import results, store
from wtal_lib.runs.records import METHOD
from wtal_lib.runs.store import Store
from wtal_lib.settings import to_dict
from wtal_lib.simulate.knobs import difficulty


def record(number: int = 0, name: str = "full", *, value: float = 0.5, **changes: Any) -> dict[str, Any]:
    """What a run would say, by hand."""
    config = preset(name, profile="ci", seed=number % 3, **changes)
    score = {"iou": [0.3, 0.5], "map": [value, value / 2], "means": {"0.3:0.5": 0.75 * value}, "ap": {}}
    return {
        "identity": f"{number:016x}", "config": to_dict(config), "method": METHOD, "preset": name, "seed": config.seed,
        "source": "real", "structure": "real", "device": "cpu", "precision": "float32",
        "headline": {"protocol": "p", "branch": "fused"}, "data": {"simulator": None},
        "metrics": {"fused": {"p": score}}, "history": [], "wall_seconds": 20.0, "code": {"revision": "r"},
    }  # fmt: skip


def written(folder: Path, *records: dict[str, Any]) -> Store:
    place = Store(folder / "records", folder / "cache")
    for one in records:
        store.write(place.places(one["identity"])[0], one)
    return place


def test_a_record_is_read_as_it_was_written_with_its_card_first(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    kept = store.write(path, record(value=0.4))
    assert store.read(path) == kept == json.loads(path.read_text())
    assert {**kept, **record(value=0.4)} == kept
    assert '"map": 0.3' in path.read_text().splitlines()[0]
    assert store.finished(record()["identity"], [tmp_path / "nowhere", path]) == kept
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("place", range(20, 900, 80))
def test_any_changed_digit_is_noticed(tmp_path: Path, place: int) -> None:
    path = tmp_path / "record.json"
    store.write(path, record())
    text = path.read_text()
    at = next(i for i in range(place, len(text)) if text[i].isdigit())
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])
    with pytest.raises(ValueError, match="is damaged"):
        store.read(path)
    assert store.finished(record()["identity"], [path]) is None


def test_the_record_of_another_run_is_no_answer(tmp_path: Path) -> None:
    store.write(tmp_path / "record.json", record(1))
    with pytest.raises(ValueError, match=r"holds another run, 0+1, not 0+2"):
        store.finished(record(2)["identity"], [tmp_path / "record.json"])


def test_a_card_names_the_profile_the_setting_and_the_changes() -> None:
    said = record(name="joint", schedule__period=7)
    card = store.card({**said, "data": {"simulator": to_dict(difficulty("cbp_weak", profile="ci", seed=3))}})
    assert (card["preset"], card["profile"], card["setting"]) == ("joint", "ci", "cbp_weak")
    assert card["changes"] == {"schedule.period": 7}
    assert card["map"] == 0.375


def test_one_thread_at_a_time_is_alone_and_no_lock_is_left(tmp_path: Path) -> None:
    inside, most = [], []

    def enter() -> None:
        for _ in range(20):
            with store.alone(tmp_path / "run"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert not list(tmp_path.iterdir())


def test_states_tell_who_is_alive(tmp_path: Path) -> None:
    place, name = Store(tmp_path / "records", tmp_path / "cache"), record()["identity"]
    folder = place.cache / name
    folder.mkdir(parents=True)

    def state() -> str:
        (one,) = results.cards(place)
        return str(one["state"])

    assert state() == "unfinished"
    with store.alone(folder):
        assert state() == "running"
    (folder.parent / f".{name}.lock").touch()  # of a process that was killed
    assert state() == "unfinished"
    (folder / store.TRACEBACK).touch()
    assert state() == "failed"
    store.write(place.places(name)[0], record())
    assert state() == "finished"


def test_a_list_has_every_run_and_its_state(tmp_path: Path) -> None:
    place = written(tmp_path, record(1), {**record(2, "joint"), "source": "drawn", "structure": "simulated"})
    (place.cache / record(3)["identity"]).mkdir(parents=True)
    place.places(record(4)["identity"])[0].write_text("{")
    (place.cache / "warmup-1").mkdir()
    store.write(place.places(record(5)["identity"])[1], record(5))  # of which there is no record among the results
    listed = results.cards(place)
    assert [one["state"] for one in listed] == ["finished", "finished", "unfinished", "damaged", "finished"]
    lines = results.as_table(listed).splitlines()
    assert [line.split()[0][-1] for line in lines[1:]] == list("12345")
    assert "37.5" in lines[1]
    assert [line.split()[2:4] for line in lines[:3]] == [
        ["source", "structure"],
        ["real", "real"],
        ["drawn", "simulated"],
    ]


def test_a_store_is_listed_while_others_write_to_it(tmp_path: Path) -> None:
    place = written(tmp_path, record(0))
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            written(tmp_path, record(0))

    writers = [threading.Thread(target=write) for _ in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(100):
            assert [one["state"] for one in results.cards(place)] == ["finished"]
            store.read(place.places(record(0)["identity"])[0])
    finally:
        stop.set()
        for writer in writers:
            writer.join()


def test_two_thousand_runs_are_listed_in_a_blink(tmp_path: Path) -> None:
    place = written(tmp_path, {**record(), "history": ["padding"] * 5000})
    text = place.places(record()["identity"])[0].read_text()
    for number in range(2000):
        place.places(f"{number:016x}")[0].write_text(text)
    began = time.process_time()
    assert len(results.cards(place)) == 2000
    assert time.process_time() - began < 0.5


def test_runs_are_found_by_preset_or_by_how_their_identity_begins(tmp_path: Path) -> None:
    place = written(tmp_path, record(1), record(2), {**record(3, "joint"), "identity": "a" * 16})
    assert [path.stem[-1] for path in results.found([place], "full")] == ["1", "2"]
    assert [path.stem[-1] for path in results.found([place], "aa")] == ["a"]
    assert len(results.found([place])) == 3
    with pytest.raises(ValueError, match="begins 2 identities"):
        results.found([place], "00")
    with pytest.raises(ValueError, match="did you mean 'joint'"):
        results.found([place], "joitn")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no finished run"):
        results.found([Store(tmp_path / "empty", tmp_path / "nowhere")])


def test_runs_are_compared_over_their_seeds(tmp_path: Path) -> None:
    scores = {"full": (0.4, 0.5, 0.6), "joint": (0.2, 0.2, 0.2)}
    records = [
        record(3 * i + seed, name, value=value)
        for i, (name, of) in enumerate(scores.items())
        for seed, value in enumerate(of)
    ]
    text = results.compared(results.found([written(tmp_path, *records)]))
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.split()[0] in scores}
    assert rows["full"] == ["3", "50.0", "25.0", "37.5", "±", "7.5"]
    assert rows["joint"] == ["3", "20.0", "10.0", "15.0", "±", "0.0"]
    assert "schedule.kind: alternate | joint" in text
    assert "seed" not in text.splitlines()[-1]


def test_stores_are_found_in_a_folder_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    records = tmp_path / "real" / "thumos14" / "runs"
    records.mkdir(parents=True)
    assert results.stores(tmp_path) == [Store(records, tmp_path / "cache" / "runs" / "real" / "thumos14")]
    assert results.stores(records) == [Store(records, records)]
    with pytest.raises(FileNotFoundError, match="wtal sweep --out"):
        results.stores(tmp_path / "nowhere")


@pytest.fixture
def crowded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store of everything: runs 1 (finished), 2 (of another method), 3 (failed), 4 (unfinished), 5 (damaged)."""
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    place = Store.below(tmp_path / "results", "real", "thumos14")
    for one in (record(1), {**record(2), "method": METHOD + 1}, record(5)):
        store.write(place.places(one["identity"])[0], one)
    folders = [place.cache / record(number)["identity"] for number in range(6)]
    for number in (1, 2, 3, 4):
        folders[number].mkdir(parents=True)
    for number in (1, 2, 4):
        (folders[number] / store.CHECKPOINT).touch()
    (folders[3] / store.TRACEBACK).touch()
    (folders[1] / ".last.safetensors.x.part").touch()
    (folders[1] / "last.damaged").touch()
    (place.cache / "warmup-0").mkdir()
    path = place.places(record(5)["identity"])[0]
    path.write_text(path.read_text().replace('"wall_seconds": 20.0', '"wall_seconds": 21.0'))
    return place


GOES = {
    "leftovers": ["cache/1/.last.safetensors.x.part"],
    "damaged": ["cache/1/last.damaged", "records/5.json"],
    "failed": ["cache/3"],
    "unfinished": ["cache/4"],
    "superseded": ["records/2.json", "cache/2"],
    "checkpoints": ["cache/1/last.safetensors", "cache/2/last.safetensors"],
    "warmups": ["cache/warmup-0"],
}


@pytest.mark.parametrize("what", results.PRUNABLE)
def test_pruning_removes_what_it_is_told_and_nothing_else(crowded: Store, tmp_path: Path, what: str) -> None:
    before = set(tmp_path.rglob("*"))
    gone = results.prune(crowded, [what])
    goes = {
        path.replace("records", str(crowded.records)).replace("cache", str(crowded.cache), 1) for path in GOES[what]
    }
    assert {re.sub("/0+([1-9])", r"/\1", str(path)) for path in gone} == goes
    assert set(tmp_path.rglob("*")) == before
    assert results.prune(crowded, [what], remove=True) == gone
    assert before - set(tmp_path.rglob("*")) == {path for path in before if {path, *path.parents} & set(gone)}


def test_a_run_that_is_being_computed_is_not_pruned(crowded: Store) -> None:
    with store.alone(crowded.cache / record(4)["identity"]):
        assert results.prune(crowded, ["unfinished"], remove=True) == []
    assert (crowded.cache / record(4)["identity"] / store.CHECKPOINT).exists()


def test_an_unknown_kind_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'checkpoints'"):
        results.prune(Store(tmp_path, tmp_path), ["checkpoint"])


def test_the_command_lists_shows_compares_and_prunes(
    crowded: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wtal_lib.cli import main

    def said(*arguments: str) -> str:
        assert main(["results", arguments[0], "--in", str(tmp_path / "results"), *arguments[1:]]) == 0
        return capsys.readouterr().out

    assert len(said("list").splitlines()) == 6
    assert json.loads(said("list", "--json"))[0]["preset"] == "full"
    assert json.loads(said("show", record(1)["identity"]))["metrics"]["fused"]["p"]["map"] == [0.5, 0.25]
    assert "history" in json.loads(said("show", record(1)["identity"], "--all"))
    assert "0.3:0.5" in said("compare", record(1)["identity"])
    assert said("prune").splitlines()[0].startswith("leftovers")
    assert "warmup-0" in said("prune", "warmups", "--yes")
    assert not (crowded.cache / "warmup-0").exists()
    assert main(["results", "show", "nobody", "--in", str(tmp_path / "results")]) == 2
    assert "unknown run or preset 'nobody'" in capsys.readouterr().err
