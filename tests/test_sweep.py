"""Many runs: the same records wherever they are computed, in order, whatever becomes of the workers."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import distributed  # noqa: F401 - or the timeout set below would stand alone
import faulty
import parts
import pytest
from faulty import SPEC, fragile, plain, started, store_in, task

from wtal_lib.cli import main
from wtal_lib.method.config import Schedule
from wtal_lib.parallel import ATTEMPTS, Failure, Progress, mapped
from wtal_lib.runs import results, store, sweep
from wtal_lib.runs.sources import open_data


@pytest.fixture(autouse=True, scope="module")
def _no_data_and_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WTAL_DATA", str(tmp_path_factory.mktemp("nowhere") / "data"))
        patch.setenv("WTAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        faulty.server()
        yield


TASKS = [task(seed, schedule__rounds=2) for seed in (2, 0, 1)]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The records of TASKS, computed by two processes of this machine."""
    return sweep.sweep(TASKS, store_in(tmp_path_factory.mktemp("local")), workers=2)


def items(place: Path, *what: str) -> list[tuple[str, Path]]:
    return [(one, place / f"{i}") for i, one in enumerate(what)]


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_items_and_failures_in_their_place(tmp_path: Path, workers: int) -> None:
    found = mapped(fragile, items(tmp_path, "a", "raise", "b", "c"), workers=workers)
    assert [found[0], *found[2:]] == ["a", "b", "c"]
    assert isinstance(found[1], Failure)
    assert found[1].error == "ValueError: two lines"
    assert 'raise ValueError("two\\nlines")' in found[1].traceback
    assert mapped(fragile, [], workers=workers) == []


def test_a_process_that_is_killed_is_replaced_and_its_item_given_out_again(tmp_path: Path) -> None:
    assert mapped(fragile, items(tmp_path, "a", "die once", "b"), workers=2) == ["a", "die once", "b"]


def test_an_item_that_kills_its_process_again_and_again_is_a_failure_of_its_own(tmp_path: Path) -> None:
    first, failure, last = mapped(fragile, items(tmp_path, "a", "die", "b"), workers=2)
    assert (first, last) == ("a", "b")
    assert isinstance(failure, Failure)
    assert f"its process ended {ATTEMPTS} times; the system does that when memory runs out" in failure.error


def test_a_result_that_cannot_travel_is_a_failure(tmp_path: Path) -> None:
    failure, other = mapped(fragile, items(tmp_path, "no pickle", "a"), workers=2)
    assert isinstance(failure, Failure)
    assert "pickle" in failure.error
    assert other == "a"


def test_progress_counts_and_reads_as_a_line(tmp_path: Path) -> None:
    said: list[Progress] = []
    mapped(fragile, items(tmp_path, "a", "raise", "b"), workers=2, progress=said.append)
    assert (said[0].done, said[0].running, said[0].total) == (0, 2, 3)
    assert math.isnan(said[0].left)
    assert said[-1] == Progress(3, 0, 1, 3, 0.0)
    assert str(Progress(3, 2, 1, 10, 700)) == "3 of 10 done, 2 running, 1 failed, 12 min left"


def test_no_worker_and_no_scheduler_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        mapped(fragile, items(tmp_path, "a"), workers=0)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9 .*start one with"),
    ):
        mapped(fragile, items(tmp_path, "a"), scheduler="tcp://127.0.0.1:9")


def test_records_come_in_the_order_of_tasks_and_equal_ones_are_computed_once(
    tmp_path: Path, local: list[dict[str, Any]]
) -> None:
    said: list[str] = []
    found = sweep.sweep(
        [*TASKS[:2], TASKS[0]], store_in(tmp_path), workers=1, progress=lambda one: said.append(str(one))
    )
    assert [one["seed"] for one in found] == [2, 0, 2]
    assert plain(found[:2]) == plain(local[:2])
    assert said[-1] == "2 of 2 done, 0 running, 0 failed"
    assert sweep.sweep(TASKS[:2], store_in(tmp_path), scheduler="tcp://not looked at") == found[:2]


def test_a_failed_run_says_where_its_traceback_is_and_the_others_go_on(tmp_path: Path) -> None:
    tasks = [task(prompts="context"), task()]
    failed, fine = sweep.sweep(tasks, store_in(tmp_path), workers=2)
    assert "text tower" in failed["error"]
    assert (failed["preset"], failed["seed"]) == ("full", 0)
    assert "Traceback" in Path(failed["traceback_file"]).read_text()
    assert "metrics" in fine
    began = time.monotonic()
    assert sweep.sweep(tasks, store_in(tmp_path)) == [failed, fine], "a failure is known, too"
    assert time.monotonic() - began < 1
    Path(failed["traceback_file"]).write_text("Traceback\n\nOSError: of yesterday\n")
    assert sweep.sweep(tasks, store_in(tmp_path))[0]["error"] == "OSError: of yesterday"
    assert sweep.sweep(tasks, store_in(tmp_path), workers=1, retry=True) == [failed, fine]


def test_anew_computes_again_what_was_finished(tmp_path: Path) -> None:
    (first,) = sweep.sweep([task()], store_in(tmp_path), workers=1)
    (again,) = sweep.sweep([task()], store_in(tmp_path), workers=1, anew=True)
    assert plain(first) == plain(again)
    assert first["checksum"] != again["checksum"]


def test_a_lasting_store_keeps_warm_ups_for_the_next_sweep_until_it_is_tidied(tmp_path: Path) -> None:
    place = replace(store_in(tmp_path), lasting=True)
    sweep.sweep([task(), task(name="late_fusion")], place, workers=1)
    (warmup,) = place.cache.glob("warmup-*/last.safetensors")
    before = warmup.stat().st_mtime_ns
    (there,) = sweep.sweep([task(name="joint")], place, workers=1)
    assert warmup.stat().st_mtime_ns == before
    place.tidy()
    assert not list(place.cache.glob("warmup-*"))
    (alone,) = sweep.sweep([task(name="joint")], store_in(tmp_path / "other"), workers=1)
    assert plain(there) == plain(alone)
    assert not list((tmp_path / "other/cache").glob("warmup-*"))


def test_workers_begin_with_different_warm_ups_and_stay_with_their_data(tmp_path: Path) -> None:
    data = open_data(SPEC)
    tasks = [replace(task(name=name), spec=replace(SPEC, world=w)) for w in (1, 2, 3) for name in ("full", "joint")]
    jobs = [sweep._job(one, replace(data, world=None), store_in(tmp_path), "cpu") for one in tasks]
    jobs = [replace(one, warmup=f"warmup-{one.task.spec.world}") for one in jobs]  # as the worlds' own data would say

    def worlds(workers: int) -> list[int]:
        return [one.task.spec.world for one in sweep._in_turn(jobs, workers)]

    assert worlds(1) == [1, 1, 2, 2, 3, 3]
    assert worlds(2) == [1, 2, 1, 2, 3, 3]
    assert worlds(0) == [1, 2, 3, 1, 2, 3], "on a cluster"
    assert sweep._in_turn([], 2) == []


def job(place: Path, **where: Any) -> sweep._Job:
    found = sweep._job(task(), open_data(SPEC), store_in(place), "cpu")
    return replace(found, task=replace(found.task, spec=replace(SPEC, **where)))


def test_a_worker_finds_the_same_data_elsewhere_by_content(tmp_path: Path) -> None:
    moved = job(tmp_path, root="/where/the/driver/has/it")
    assert sweep._data(moved).fingerprint == moved.fingerprint


def test_a_worker_that_lacks_the_data_says_so(tmp_path: Path) -> None:
    lost = replace(job(tmp_path, root="/mnt/packs"), fingerprint={"cbp": "0123"})
    with pytest.raises(FileNotFoundError, match=rf"worker on {socket.gethostname()} lacks .*/mnt/packs.* other cbp"):
        sweep._compute(lost)


def test_a_worker_with_another_module_of_ones_own_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(parts.written(tmp_path / "here", my_fusions=parts.FUSION))
    own = sweep._job(task(fusion="my_fusions:geometric"), open_data(SPEC), store_in(tmp_path), "cpu")
    parts.written(tmp_path / "here", my_fusions=parts.FUSION + "\n")
    with pytest.raises(ValueError, match=f"worker on {socket.gethostname()} has another my_fusions than the one"):
        sweep._compute(own)


def test_a_worker_with_another_version_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="another version of wtal_lib"):
        sweep._compute(replace(job(tmp_path), identity="0" * 16))


def test_a_grid_is_every_preset_with_every_change_setting_and_seed() -> None:
    given = {"presets": ["full", "joint"], "seeds": [0, 1, 2], "settings": ["middle", "cbp_weak"]}
    tasks = sweep.grid({**given, "changes": [{}, {"schedule.period": "25"}]})
    assert len(set(tasks)) == 2 * 3 * 2 * 2
    assert {one.config.schedule.period for one in tasks} == {25, Schedule.period}
    assert [one.spec.setting for one in tasks] == ["middle"] * 12 + ["cbp_weak"] * 12


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": ["full"]}, "did you mean 'presets'"),
        ({"presets": ["ful"]}, "did you mean 'full'"),
        ({"settings": ["midle"]}, "did you mean 'middle'"),
        ({"changes": [{"pseudo_labels__foregound_above": 0.8}]}, "did you mean 'pseudo_labels.foreground_above'"),
        ({"changes": {"schedule.period": 25}}, "changes must be a list"),
        ({"seeds": [0, 1.5]}, "whole number, got 1.5"),
        ({"seeds": []}, "seeds must name at least one"),
    ],
)
def test_a_misspelt_grid_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep.grid(values)


@pytest.mark.parametrize("text", ["presets: [full", "- full", "!!python/object/apply:os.system ['true']", ""])
def test_a_file_that_is_no_grid_is_refused(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    assert main(["sweep", str(tmp_path / "grid.yaml")]) == 2
    assert "grid.yaml" in capsys.readouterr().err
    assert main(["sweep", str(tmp_path / "nowhere.yaml")]) == 2


GRID = """
source: simulated
profile: ci
presets: [full]
changes:
  - {schedule.warmup: 4, schedule.period: 2, schedule.rounds: 1}
  - {prompts: context}
"""


def test_the_command_runs_a_grid_and_names_what_failed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    assert main(["sweep", str(tmp_path / "grid.yaml"), "--out", str(tmp_path), "--workers", "1"]) == 1
    said = capsys.readouterr()
    assert "1 runs in" in said.out
    assert "text tower" in said.err
    assert "traceback in" in said.err
    assert "2 of 2 done, 0 running, 1 failed" in said.err
    listed = [one for place in results.stores(tmp_path) for one in results.cards(place)]
    assert sorted(one["state"] for one in listed) == ["failed", "finished"]


def test_a_cluster_that_loses_a_worker_and_its_scheduler_gives_the_same_bits(
    tmp_path: Path, local: list[dict[str, Any]]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [started(faulty.scheduler, port), started(faulty.worker, port), started(faulty.worker, port)]
    found: list[dict[str, Any]] = []
    options: dict[str, Any] = {"scheduler": f"tcp://127.0.0.1:{port}"}
    driver = threading.Thread(target=lambda: found.extend(sweep.sweep(TASKS, store_in(tmp_path), **options)))
    driver.start()
    try:
        when(lambda: any(tmp_path.glob(f"cache/[0-9a-f]*/{store.CHECKPOINT}")))
        processes[1].kill()
        when(lambda: any(tmp_path.glob("records/*.json")))
        processes[0].kill()
        when(lambda: processes[0].exitcode is not None)
        processes += [started(faulty.scheduler, port), started(faulty.worker, port)]
        driver.join(timeout=120)
    finally:
        for process in processes:
            process.kill()
    assert plain(found) == plain(local)


def when(condition: Any) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
