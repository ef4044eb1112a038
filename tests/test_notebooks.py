"""Every notebook, executed for real by papermill, as a stranger would: from the root, and from its own folder."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import faulty
import nbformat
import pytest

from wtal_lib.cli import main
from wtal_lib.runs.records import read_record, sha256

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
BOTH = ["01_data", "02_main_results", "03_ablation"]
"Executed on ActivityNet1.2 as well, from notebooks/"

pytestmark = pytest.mark.notebook


def papermill(name: str, out: Path, *, folder: str = ".", **given: object) -> subprocess.CompletedProcess[str]:
    """papermill on a notebook, with the small profile and results beside ``out``; its parameters may say otherwise."""
    given = {"profile": "ci", "results": str(out.parent / "results"), **given}
    notebook = ROOT / "notebooks" / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", os.path.relpath(notebook, ROOT / folder), str(out)]
    for key, value in given.items():
        command += ["-p", key, str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2")}
    environment["WTAL_CACHE"] = str(out.parent / "cache")
    command += ["--no-progress-bar", "--no-request-save-on-cell-execute"]
    return subprocess.run(command, cwd=ROOT / folder, env=environment, capture_output=True, text=True, timeout=1800)


def assert_whole(out: Path, dataset: str, name: str) -> None:
    """The executed notebook has no error, its record no false claim, and every file of it is the one recorded."""
    notebook = nbformat.read(out, as_version=4)
    assert notebook.metadata.papermill.exception is None
    outputs = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert "stderr" not in outputs, "quiet in a log"
    assert str(ROOT) not in outputs, "no path of this machine in what is shown"
    assert outputs.count("image/png") >= 1
    (path,) = (out.parent / "results").glob(f"*/{dataset}/{name}/record.json")
    record, folder = read_record(path), path.parent
    source = "drawn" if record["structure"] == "simulated" else record["source"]
    assert folder.parts[-3] in (("random-weights", "real") if name == "06_your_videos" else (source,))
    # what 04 claims is about trained branches, and it asks nothing of the few updates of profile ci
    assert record["claims"] or name == "04_complementarity"
    assert all(claim["holds"] for claim in record["claims"])
    assert {path.name for path in folder.iterdir()} == {*record["files"], "record.json"}
    for file, about in record["files"].items():
        assert sha256((folder / file).read_bytes()) == about["sha256"]
        assert (folder / file).stat().st_size > 50
    pictures = {Path(file).stem for file in record["files"] if file.endswith(".png")}
    assert {f"{stem}.{kind}" for stem in pictures for kind in ("svg", "csv")} <= set(record["files"])


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_from_the_root_on_thumos14(name: str, tmp_path: Path) -> None:
    data = {"data_root": "../shared/data"} if SHARED.is_dir() else {}
    done = papermill(name, tmp_path / "out.ipynb", dataset="thumos14", **data)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_whole(tmp_path / "out.ipynb", "thumos14", name)


def test_somebody_s_own_dataset_goes_all_the_way(tmp_path: Path, shared_data: Path) -> None:
    script = shared_data.parent / "cases/make.py"
    subprocess.run([sys.executable, script, tmp_path, "own_dataset"], check=True, capture_output=True)
    own = str(tmp_path / "own_dataset/kitchen/kitchen.json")
    assert main(["check", own]) == 0
    for source in ("simulated", "real"):
        out = tmp_path / source
        given = ["--dataset", own, "--profile", "ci", "--source", source, "--out", str(out)]
        assert main(["run", *given, "--set", "schedule.warmup=2", "--set", "schedule.rounds=1"]) == 0
        assert main(["score", str(out / "detections.json"), "--annotations", own]) == 0
    for name in BOTH:
        done = papermill(name, tmp_path / "out.ipynb", dataset=own)
        assert done.returncode == 0, done.stderr[-3000:]
        assert list(tmp_path.glob(f"results/*/kitchen/{name}/record.json"))


@pytest.mark.parametrize("name", [name for name in NOTEBOOKS if name in BOTH])
def test_it_runs_from_its_own_folder_on_activitynet(name: str, tmp_path: Path) -> None:
    data = {"data_root": "../shared/data"} if SHARED.is_dir() else {}
    done = papermill(name, tmp_path / "out.ipynb", folder="notebooks", dataset="activitynet12", **data)
    assert done.returncode == 0, done.stderr[-3000:]
    assert_whole(tmp_path / "out.ipynb", "activitynet12", name)


def test_it_runs_where_there_are_no_data_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "nowhere"))
    done = papermill("01_data", tmp_path / "out.ipynb", source="simulated", seeds="[5]")
    assert done.returncode == 0, done.stderr[-3000:]
    assert_whole(tmp_path / "out.ipynb", "thumos14", "01_data")
    record = read_record(tmp_path / "results/drawn/thumos14/01_data/record.json")
    assert record["structure"] == "simulated"
    assert record["parameters"]["seeds"] == [5]
    assert all(about["simulated"] for about in record["files"].values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"datset": "thumos14"}, "unknown parameter 'datset'; did you mean 'dataset'?"),
        ({"dataset": "thumos", "seeds": "[1, 2]"}, "unknown dataset 'thumos'; did you mean 'thumos14'?"),
        ({"source": "real", "data_root": "tests"}, "not everything real was found"),
    ],
)
def test_a_wrong_parameter_fails_at_once_and_clearly(given: dict[str, str], message: str, tmp_path: Path) -> None:
    done = papermill("01_data", tmp_path / "out.ipynb", **given)
    assert done.returncode != 0
    assert message in done.stderr.replace("\\'", "'")
    assert not list((tmp_path / "results").rglob("*.*"))


GRID = """
profile: ci
seeds: [0]
questions: [steps, rules, thresholds, sides, held_out, weak, sharing]
"""


def test_a_cluster_that_loses_a_worker_computes_all_that_the_ablation_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WTAL_DATA", str(tmp_path / "no data"))
    monkeypatch.setenv("WTAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "grid.yaml").write_text(GRID)
    results = tmp_path / "results"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    workers = [faulty.started(faulty.scheduler, port), *(faulty.started(faulty.worker, port) for _ in range(3))]
    command = [sys.executable, "-m", "wtal_lib.cli", "sweep", str(tmp_path / "grid.yaml"), "--out", str(results)]
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        sweep = subprocess.Popen([*command, "--scheduler", f"tcp://127.0.0.1:{port}"], cwd=ROOT)
        while not list(results.rglob("runs/*.json")):
            assert sweep.poll() is None
            time.sleep(0.05)
        workers[1].kill()
        assert sweep.wait(timeout=600) == 0
    finally:
        for process in workers:
            process.kill()
    computed = {path: path.stat().st_mtime_ns for path in results.rglob("runs/*.json")}
    done = papermill("03_ablation", tmp_path / "out.ipynb", seeds="[0]")
    assert done.returncode == 0, done.stderr[-3000:]
    assert_whole(tmp_path / "out.ipynb", "thumos14", "03_ablation")
    assert {path: path.stat().st_mtime_ns for path in results.rglob("runs/*.json")} == computed
