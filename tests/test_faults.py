"""What happens to runs on other people's machines, injected for real; whatever it is, the record comes out the same."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faulty
import pytest
from faulty import PHASES, apart, plain, store_in, task

from wtal_lib.runs import store
from wtal_lib.runs.sources import open_data
from wtal_lib.runs.sweep import sweep


@pytest.fixture(autouse=True, scope="module")
def _no_data_and_a_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WTAL_DATA", str(tmp_path_factory.mktemp("nowhere") / "data"))
        patch.setenv("WTAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        faulty.server()
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two runs to which nothing happened."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(undisturbed: Path) -> list[dict[str, Any]]:
    """Their records."""
    return sweep([task(seed, keep=("networks",)) for seed in range(2)], store_in(undisturbed), workers=1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    place = mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)  # a worker that was ended may still be on its way out


def mounted(place: Path, *arguments: str | Path) -> Path:
    place.mkdir(exist_ok=True)
    done = subprocess.run(["mount", *arguments, place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"needs a file system of its own, and this user cannot mount one: {done.stderr.strip()}")
    return place


def test_a_run_killed_at_twenty_moments_ends_in_the_same_record(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    found = apart(faulty.runs_killed, tmp_path, 20)
    assert sum(kills for _, kills, _ in found) == 20
    for record, kills, phases in found:
        assert plain(record) == plain(whole[0])
        assert PHASES <= phases <= PHASES + kills, "each kill costs one checkpoint interval at most"
    assert not [path for path in tmp_path.rglob("*.part") if "warmup" not in str(path)]


def test_a_sweep_killed_at_twenty_moments_ends_in_the_same_records(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    found, drivers, workers = apart(faulty.sweep_killed, tmp_path, [task(seed) for seed in range(2)], 20)
    assert drivers + workers == 20
    assert min(drivers, workers) > 2
    for records in found:
        assert plain(records) == plain(whole)


def test_a_full_disk_fails_one_run_with_the_reason_and_harms_no_other(
    small_disk: Path, whole: list[dict[str, Any]]
) -> None:
    first = sweep([task(0)], store_in(small_disk), workers=1)
    with open(small_disk / "somebody else's", "wb") as file:
        file.write(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 700_000))
    kept, failed = sweep([task(0), task(1)], store_in(small_disk), workers=1)
    assert kept == first[0]
    assert "No space left on device" in failed["error"]
    assert "No space left on device" in Path(failed["traceback_file"]).read_text()
    os.unlink(small_disk / "somebody else's")
    assert plain(sweep([task(0), task(1)], store_in(small_disk), workers=1, retry=True)) == plain(whole)


def test_read_only_results_are_read_and_refuse_what_is_new(tmp_path: Path) -> None:
    first = sweep([task(0)], store_in(tmp_path / "runs"), workers=1)
    place = mounted(tmp_path / "runs", "--bind", tmp_path / "runs")
    try:
        mounted(place, "-o", "remount,ro,bind")
        assert sweep([task(0)], store_in(place)) == first
        with pytest.raises(PermissionError, match=r"results cannot be written to .*; make it writable"):
            sweep([task(0), task(1)], store_in(place))
    finally:
        subprocess.run(["umount", place], check=True)


def test_two_processes_on_the_same_run_compute_it_once(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    context = faulty.server()
    both = [context.Process(target=faulty.logged, args=(task(), tmp_path, tmp_path / "log")) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert faulty.lines(tmp_path / "log") == PHASES
    assert plain(faulty.logged(task(), tmp_path, tmp_path / "log")) == plain(whole[0])
    assert not list(tmp_path.rglob("*.lock"))


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>
#include <unistd.h>
static long shift(void) { return access(getenv("SET_BACK"), F_OK) ? 0 : -10L * 365 * 86400; }
int clock_gettime(clockid_t id, struct timespec *t) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(id, t);
    if (id == CLOCK_REALTIME) t->tv_sec += shift();
    return done;
}
time_t time(time_t *t) { struct timespec n; clock_gettime(CLOCK_REALTIME, &n); if (t) *t = n.tv_sec; return n.tv_sec; }
"""

UNDER_IT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from faulty import SPEC, store_in, task
from wtal_lib.runs.run import run
from wtal_lib.runs.sources import open_data
data, place, switch, before = open_data(SPEC), store_in(Path(sys.argv[2])), Path(sys.argv[3]), time.time()
run(task().config, data, place, progress=lambda line: switch.touch())
assert time.time() < before - 9 * 365 * 86400
"""


def test_a_clock_set_back_ten_years_during_a_run_changes_nothing(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler, to put a clock of its own under Python")
    (tmp_path / "clock.c").write_text(CLOCK)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", tmp_path / "clock.so", tmp_path / "clock.c", "-ldl"], check=True
    )
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "clock.so"), "SET_BACK": str(tmp_path / "switch")}
    given = [Path(__file__).parent, tmp_path / "runs", tmp_path / "switch"]
    subprocess.run([sys.executable, "-c", UNDER_IT, *given], env=environment, check=True)
    (record,) = sweep([task()], store_in(tmp_path / "runs"), workers=1)
    assert record["finished"] < "2020"
    assert plain(record) == plain(whole[0])


@pytest.mark.parametrize("damage", ["cut", "digit", "empty"])
def test_a_damaged_record_is_noticed_set_aside_and_made_again_from_the_last_checkpoint(
    tmp_path: Path, undisturbed: Path, whole: list[dict[str, Any]], damage: str
) -> None:
    path, own = store_in(shutil.copytree(undisturbed, tmp_path / "runs")).places(whole[0]["identity"])
    text = path.read_bytes()
    own.unlink()
    at = text.index(b'"map": [0.') + 10
    digit = b"1" if text[at : at + 1] != b"1" else b"2"
    damaged = {"cut": text[: len(text) // 2], "digit": text[:at] + digit + text[at + 1 :], "empty": b""}[damage]
    path.write_bytes(damaged)
    given = task(keep=("networks",))
    assert plain(faulty.logged(given, tmp_path / "runs", tmp_path / "log")) == plain(whole[0])
    assert (own.parent / "record.damaged").read_bytes() == damaged
    assert faulty.lines(tmp_path / "log") == 0


def test_a_damaged_checkpoint_is_set_aside_and_the_run_goes_on_from_the_one_before(
    tmp_path: Path, whole: list[dict[str, Any]]
) -> None:
    given = task(keep=("networks",))
    process = faulty.server().Process(target=faulty.logged, args=(given, tmp_path / "runs", tmp_path / "log"))
    process.start()
    while not (tmp_path / "runs/cache" / whole[0]["identity"] / store.CHECKPOINT).exists() and process.is_alive():
        time.sleep(0.001)
    process.kill()
    process.join()
    assert process.exitcode == -9, "it was stopped after the first checkpoint of its own"
    for damage in ("cut", "bit"):
        place = shutil.copytree(tmp_path / "runs", tmp_path / damage)
        last = place / "cache" / whole[0]["identity"] / store.CHECKPOINT
        content = bytearray(last.read_bytes())
        content[-9] ^= 4
        last.write_bytes(content if damage == "bit" else content[: len(content) // 2])
        log = tmp_path / f"{damage}.log"
        assert plain(faulty.logged(given, place, log)) == plain(whole[0])
        assert last.with_name("last.damaged").exists()
        assert faulty.lines(log) == 2, "B and F after the warm-up, whose checkpoint is the last good one"


def test_a_record_of_another_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    from wtal_lib.runs.run import run

    data = open_data(faulty.SPEC)
    run(task(0).config, data, tmp_path)
    before = (tmp_path / store.RECORD).read_bytes()
    with pytest.raises(ValueError, match="holds another run"):
        run(task(1).config, data, tmp_path)
    assert (tmp_path / store.RECORD).read_bytes() == before


CELL = "print('begun', flush=True)\nfound = {}"


def test_ctrl_c_in_a_notebook_leaves_the_kernel_usable(tmp_path: Path, whole: list[dict[str, Any]]) -> None:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", cwd=str(Path(__file__).parent))
    try:

        def run_cell(source: str, interrupt_after: float | None = None) -> str:
            """How a cell ends: ``ok`` or the name of the exception."""
            message = client.execute(source)
            if interrupt_after is not None:
                while client.get_iopub_msg(timeout=60)["content"].get("text") != "begun\n":
                    pass
                time.sleep(interrupt_after)
                manager.interrupt_kernel()
            while (reply := client.get_shell_msg(timeout=60))["parent_header"].get("msg_id") != message:
                pass
            return str(reply["content"].get("ename", "ok"))

        assert run_cell("import time\nfrom wtal_lib.parallel import mapped") == "ok"
        sleeping = CELL.format("mapped(time.sleep, [60] * 4, workers=2)")
        assert run_cell(sleeping, 1.0) == "KeyboardInterrupt"
        alone = "import multiprocessing\nassert not multiprocessing.active_children()"
        assert run_cell(alone) == "ok"
        imports = f"from pathlib import Path\nfrom faulty import *\nplace = store_in(Path({str(tmp_path)!r}))"
        assert run_cell(imports) == "ok"
        running = CELL.format("sweep.sweep([task(seed) for seed in range(2)], place, workers=1)")
        assert run_cell(running, 1.0) == "KeyboardInterrupt"
        assert run_cell(running) == "ok"
    finally:
        manager.shutdown_kernel(now=True)
    assert plain(sweep([task(seed) for seed in range(2)], store_in(tmp_path), workers=1)) == plain(whole)
