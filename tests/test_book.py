"""The book is built from what is committed, whole and offline, and an executed notebook is kept as a page."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from wtal_lib.cli import main
from wtal_lib.runs import records
from wtal_lib.studies import book, gallery
from wtal_lib.studies.shown import Closed

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The book of the committed results, in a copy of the repository's pages."""
    root = tmp_path_factory.mktemp("clone")
    shutil.copytree(ROOT / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(ROOT / "results", root / "results", ignore=shutil.ignore_patterns("runs", "book", "drawn", "*.svg"))
    shutil.copy(ROOT / "README.md", root)
    return book.build(root / "results", root).parent


def links(page: Path, kind: str) -> list[str]:
    return re.findall(rf'{kind}="([^"]+)"', page.read_text(encoding="utf-8"))


def test_every_study_has_a_page_with_all_its_figures(built: Path) -> None:
    for folder, record in gallery.studies(ROOT / "results"):
        assert record
        page = built / f"{'-'.join(folder.parts[-3:])}.html"
        assert len(links(page, "src")) >= sum(name.endswith(".png") for name in record["files"])
        assert page.name in links(built / "index.html", "href")
        assert "<details><summary>code</summary>" in page.read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere_and_every_picture_is_there(built: Path) -> None:
    for page in built.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text
        for loaded in [*links(page, "src"), *re.findall(r'<link [^>]*href="([^"]+)"', text)]:
            assert (built / loaded).is_file(), f"{page.name} loads {loaded}"
        local = [link for link in links(page, "href") if not re.match(r"\w+:|#", link) and link.endswith(".html")]
        assert [link for link in local if not (built / link).is_file()] == []
    assert "url(" not in (built / "book.css").read_text(encoding="utf-8")


def test_the_book_is_small(built: Path) -> None:
    assert sum(path.stat().st_size for path in built.rglob("*") if path.is_file()) < 15e6


def test_the_gallery_says_what_to_look_for_in_a_figure(built: Path) -> None:
    text = (built / "gallery.html").read_text(encoding="utf-8")
    assert text.index("spills over") < text.index("04_complementarity-trade.png") < text.index("who_finds.png")


def test_the_api_has_signatures_fields_and_docstrings() -> None:
    text = book.api()
    assert "nms(" in text
    assert "class Spec:\n    dataset: str = 'thumos14'" in text
    assert "### open_study" in text


def test_the_guides_link_to_each_other_as_pages(built: Path) -> None:
    assert "datasets.html" in links(built / "features.html", "href")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: apt-get install chromium)")
def test_a_browser_shows_it_offline_on_a_desk_and_on_a_phone(built: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for width in (1280, 400):
            page = browser.new_page(viewport={"width": width, "height": 800})
            asked: list[str] = []
            page.on("request", lambda request, asked=asked: asked.append(request.url))
            for name in ("index", "gallery", "simulated-thumos14-04_complementarity", "features"):
                page.goto((built / f"{name}.html").as_uri())
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} at {width}"
                assert page.evaluate("[...document.images].every(one => one.complete && one.naturalWidth > 0)")
            assert [url for url in asked if not url.startswith("file:")] == []
        browser.close()


# An executed notebook


def executed(folder: Path, *outputs: Any, source: str = "study.close()") -> Path:
    cell = new_code_cell(source, outputs=list(outputs), metadata={"papermill": {"duration": 1}})
    notebook = new_notebook(cells=[cell])
    notebook.metadata.update(kernelspec={"name": "python3", "display_name": "Python 3"}, widgets={"state": {}})
    nbformat.write(notebook, folder / "out.ipynb")
    return folder / "out.ipynb"


def closed(folder: Path) -> Any:
    data, about = Closed("all claims hold", str(folder), ("seen.png", "sums.md"))._repr_mimebundle_()
    return new_output("execute_result", data, metadata=about, execution_count=1)


def test_an_executed_notebook_is_kept_beside_its_figures_without_what_was_only_for_the_run(tmp_path: Path) -> None:
    folder = tmp_path / "results/drawn/thumos14/00_quickstart"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text("{}")
    transient = [
        new_output("stream", name="stderr", text="a warning"),
        new_output("display_data", {"text/html": '<div><progress value="1" max="2"></progress></div>'}),
        new_output("display_data", {"text/html": ""}),
    ]
    widget = new_output("display_data", {"application/vnd.jupyter.widget-view+json": {}, "image/png": "iVBORw0K"})
    kept = book.keep(executed(tmp_path, *transient, widget, closed(folder)))
    assert kept == folder / "00_quickstart.ipynb"
    notebook = nbformat.read(kept, as_version=4)
    nbformat.validate(notebook)
    picture, last = notebook.cells[0].outputs
    assert dict(picture.data) == {"image/png": "iVBORw0K"}
    assert 'src="seen.png"' in last.data["text/html"]
    assert "widgets" not in notebook.metadata
    assert "papermill" not in json.dumps(notebook)


def test_places_of_this_machine_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("{}")
    path = executed(tmp_path, closed(tmp_path), source='# Parameters\nprofile = "ci"\ndata_root = "/home/me"\n')
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["injected-parameters"]
    nbformat.write(notebook, path)
    kept = nbformat.read(book.keep(path), as_version=4)
    assert kept.cells[0].source == '# Parameters\nprofile = "ci"'


def test_a_notebook_that_did_not_reach_its_end_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = executed(tmp_path, new_output("stream", text="half-way"))
    assert main(["book", str(path)]) == 2
    assert "has no output of study.close(): run the notebook to its end" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match=r"where no record\.json is"):
        book.keep(executed(tmp_path, closed(records.project_root() / "nowhere")))
