"""The quickstart by hand: real JupyterLab in a real browser, Run All, and the explorer's knobs moved."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 300.0
"seconds for JupyterLab to start, and for the notebook to run"
STARTED = ", ".join(f'.jp-InputPrompt:has-text("[{count}]")' for count in ("*", 1))
"a prompt of a cell that runs or has run"

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the quickstart in it, as somebody would leave it who wants it small and its results elsewhere."""
    place = tmp_path_factory.mktemp("lab")
    notebook = nbformat.read(ROOT / "notebooks/00_quickstart.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += f'\nprofile = "ci"  # small\nresults = {str(place / "results")!r}  # elsewhere'
    nbformat.write(notebook, place / "00_quickstart.ipynb")
    return place


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab that shows the folder; ended afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {
        name: str(folder / name.lower())
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    }
    environment = {**os.environ, **own, "WTAL_DATA": str(SHARED)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--IdentityProvider.token=", "--ServerApp.disable_check_xsrf=True", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=None"]
    log = folder / "lab.log"
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as server:
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/api"), f"JupyterLab does not start, see {log}")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def wait_for(holds: Any, otherwise: str, every: float = 1.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(every)


@pytest.fixture(scope="module")
def page(lab: str, folder: Path) -> Iterator[Any]:
    """The quickstart in JupyterLab, once Run All is through; screenshots lie in the folder."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(f"{lab}/lab/tree/00_quickstart.ipynb?reset", timeout=1000 * PATIENCE)
        page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=1000 * PATIENCE)
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=1000 * PATIENCE)
        for _ in range(3):  # a click is lost where the page is still settling
            page.click(".jp-Notebook .jp-Cell >> nth=0")  # commands go to the notebook that has the focus
            page.click(".lm-MenuBar-itemLabel:text-is('Run')")
            page.hover(".lm-Menu-item[data-command='runmenu:run-all']")
            page.click(".lm-Menu-item[data-command='runmenu:run-all']")
            with suppress(playwright.TimeoutError):
                page.wait_for_selector(STARTED, timeout=30_000)
                break
        wait_for(lambda: through(page, folder), "the notebook does not come to its end", every=3.0)
        page.screenshot(path=folder / "end.png")
        yield page
        browser.close()


def through(page: Any, folder: Path) -> bool:
    """Whether the last cell has run, or one has failed; what is on the screen is on the disk then."""
    page.keyboard.press("Control+s")
    time.sleep(1)
    try:
        cells = code(folder)
    except ValueError:  # half-written
        return False
    return bool(cells[-1].outputs) or any(output.output_type == "error" for cell in cells for output in cell.outputs)


def code(folder: Path) -> list[Any]:
    notebook = nbformat.read(folder / "00_quickstart.ipynb", as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_run_all_runs_every_cell_and_none_fails(page: Any, folder: Path) -> None:
    cells = code(folder)
    errors = [output for cell in cells for output in cell.outputs if output.output_type in ("error", "stream")]
    assert errors == []
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    record = json.loads(next((folder / "results").rglob("00_quickstart/record.json")).read_text())
    assert all(claim["holds"] for claim in record["claims"])
    assert "claims hold" in str(cells[-1].outputs)


def test_no_error_is_on_the_screen(page: Any) -> None:
    assert page.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
    assert page.locator(".jp-Dialog").count() == 0


def test_the_explorer_answers_to_its_knobs(page: Any, folder: Path) -> None:
    page.locator(".jp-Notebook .jp-Cell").last.scroll_into_view_if_needed()
    picture = page.locator(".widget-image")
    picture.wait_for(timeout=20_000)
    picture.scroll_into_view_if_needed()
    assert page.locator(".widget-dropdown select").count() == 2
    before = picture.get_attribute("src")
    page.locator(".noUi-handle").last.press("ArrowLeft")
    wait_for(lambda: picture.get_attribute("src") != before, "the picture does not follow the slider", every=0.5)
    now = picture.get_attribute("src")
    page.locator(".widget-dropdown select").first.select_option(index=1)
    wait_for(lambda: picture.get_attribute("src") != now, "the picture does not follow the choice of video", every=0.5)
    page.screenshot(path=folder / "explorer.png")


def test_a_front_end_without_widgets_has_a_picture_instead(page: Any, folder: Path) -> None:
    bundles = [output.data for cell in code(folder) for output in cell.outputs if "data" in output]
    explored = [data for data in bundles if "application/vnd.jupyter.widget-view+json" in data]
    assert len(explored) == 1
    assert explored[0]["image/png"].startswith("iVBOR")
