"""The gallery is made from the records, and results that are older than their code are found."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from wtal_lib import settings
from wtal_lib.runs import records
from wtal_lib.studies import gallery, tables

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK: dict[str, Any] = {
    "cells": [
        {
            "cell_type": "markdown",
            "metadata": {},
            "source": "# 07 · Does it?\n\n**Answer.** It\ndoes.\n\n**Time** none.",
        },
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "seeds = [0]"},
        {"cell_type": "markdown", "metadata": {}, "source": "## It does\n\nLook."},
        {
            "cell_type": "code",
            "metadata": {},
            "source": 'study.table("small", frame)\nstudy.figure(\n    "drawn", ax, frame)',
        },
    ]
}


def notebook_digest(notebook: Path) -> str:
    """As a record holds it: what a notebook computes is its code but for the parameters."""
    return settings.sha256("\n\n".join(gallery.notebook_cells(notebook, "code")))[:16]


def stale(results: Path, notebooks: Path) -> list[str]:
    """What below ``results`` is older than the code that made it, or not what its record says; a line each."""
    found = []
    for folder, record in gallery.studies(results):
        name = folder.relative_to(results).as_posix()
        if record is None:
            found.append(f"{name}: damaged record")
            continue
        if record.get("method") != records.METHOD:
            found.append(f"{name}: made by another version of the method")
        if record.get("notebook") != notebook_digest(notebooks / f"{folder.name}.ipynb"):
            found.append(f"{name}: its notebook has changed since")
        for file, about in record["files"].items():
            path = folder / file
            if not path.is_file() or settings.sha256(path.read_bytes()) != about["sha256"]:
                found.append(f"{name}/{file}: missing, or not the file that was recorded")
    page = results / "README.md"
    if gallery.studies(results) and page.read_text(encoding="utf-8") != gallery.markdown(
        results, gallery.studies(results), notebooks
    ):
        found.append("README.md: not the page that the records make")
    return found


def made(folder: Path, **changes: Any) -> Path:
    """Results with one study, and the notebook that made it; the results' folder."""
    notebooks, place = folder / "notebooks", folder / "results/simulated/thumos14/07_probe"
    notebooks.mkdir(exist_ok=True)
    (notebooks / "07_probe.ipynb").write_text(json.dumps(NOTEBOOK))
    place.mkdir(parents=True, exist_ok=True)
    files = {
        "drawn.png": b"png",
        "drawn.svg": b"svg",
        "drawn.csv": b"a\n1\n",
        "small.csv": b"a\n1\n",
        "small.md": b"| a |\n|---|\n| 12.3 |\n",
    }
    for name, content in files.items():
        (place / name).write_bytes(content)
    record = {
        "parameters": {"profile": "quick", "seeds": [0, 1]}, "wall_seconds": 12.3, "method": records.METHOD,
        "notebook": notebook_digest(notebooks / "07_probe.ipynb"),
        "claims": [{"claim": "it does", "holds": True}],
        "files": {name: {"sha256": settings.sha256(content)} for name, content in files.items()}, **changes,
    }  # fmt: skip
    (place / "record.json").write_text(json.dumps(record))
    gallery.write(folder / "results", notebooks)
    return folder / "results"


def page(results: Path) -> str:
    return (results / "README.md").read_text(encoding="utf-8")


def test_the_page_lists_question_claims_figures_and_tables_of_each_study(tmp_path: Path) -> None:
    text = page(made(tmp_path))
    wanted = (
        "## Simulated features · THUMOS14",
        "rests on simulated features",
        "### 07 · Does it?",
        "[07_probe](simulated/thumos14/07_probe/record.json): profile quick, seeds 0, 1, 12 s",
        "- holds: it does",
        "#### It does\n\nLook.",
        "[small](simulated/thumos14/07_probe/small.md)",
        "![drawn](simulated/thumos14/07_probe/drawn.png)",
    )
    assert [part for part in wanted if part not in text] == []
    assert [text.index(part) for part in wanted] == sorted(text.index(part) for part in wanted)
    assert "Real data" not in text


def test_drawn_annotations_leave_the_committed_page_alone_and_have_one_of_their_own(tmp_path: Path) -> None:
    results = made(tmp_path)
    before = page(results)
    shutil.copytree(results / "simulated", results / "drawn")
    gallery.write(results, tmp_path / "notebooks")
    assert page(results) == before
    own = page(results / "drawn")
    assert "## Simulated features, drawn annotations · THUMOS14" in own
    links = re.findall(r"\]\(([^)#]+)\)", own)
    assert links
    assert not [link for link in links if not (results / "drawn" / link).is_file()]


def test_a_claim_that_does_not_hold_is_seen(tmp_path: Path) -> None:
    claims = [{"claim": "pigs fly", "holds": False}]
    assert "- **does not hold**: pigs fly" in page(made(tmp_path, claims=claims))


def test_every_link_of_the_gallery_leads_somewhere(tmp_path: Path) -> None:
    results = made(tmp_path)
    links = re.findall(r"\]\(([^)#]+)\)", page(results))
    assert len(links) >= 3
    assert not [link for link in links if not (results / link).is_file()]


def test_results_as_they_were_made_are_not_stale(tmp_path: Path) -> None:
    assert stale(made(tmp_path), tmp_path / "notebooks") == []
    assert stale(tmp_path / "nowhere", tmp_path / "notebooks") == []


def test_results_of_another_method_are_stale(tmp_path: Path) -> None:
    found = stale(made(tmp_path, method="another"), tmp_path / "notebooks")
    assert found == ["simulated/thumos14/07_probe: made by another version of the method"]


def test_results_are_stale_once_their_notebook_computes_something_else(tmp_path: Path) -> None:
    results, notebook = made(tmp_path), tmp_path / "notebooks/07_probe.ipynb"
    changed = json.loads(notebook.read_text())
    changed["cells"][1]["source"] = "seeds = [0, 1, 2]"
    notebook.write_text(json.dumps(changed))
    assert stale(results, tmp_path / "notebooks") == [], "parameters are the record's, not the notebook's"
    changed["cells"][3]["source"] += "\nmore()"
    notebook.write_text(json.dumps(changed))
    assert stale(results, tmp_path / "notebooks") == [
        "simulated/thumos14/07_probe: its notebook has changed since",
        "README.md: not the page that the records make",
    ]


def test_a_file_or_page_changed_by_hand_is_found(tmp_path: Path) -> None:
    results = made(tmp_path)
    (results / "simulated/thumos14/07_probe/small.csv").write_text("a\n99\n")
    (results / "README.md").write_text(page(results) + "and more")
    assert stale(results, tmp_path / "notebooks") == [
        "simulated/thumos14/07_probe/small.csv: missing, or not the file that was recorded",
        "README.md: not the page that the records make",
    ]


def test_a_damaged_record_is_shown_as_such_and_loses_nothing_else(tmp_path: Path) -> None:
    results = made(tmp_path)
    place = results / "simulated/thumos14/07_probe"
    shutil.copytree(place, place.with_name("08_other"))
    (place / "record.json").write_text('{"files": ')
    gallery.write(results, tmp_path / "notebooks")
    assert "its record is damaged; run the notebook again" in page(results)
    assert "08_other/drawn.png" in page(results)
    assert stale(results, tmp_path / "notebooks")[0] == "simulated/thumos14/07_probe: damaged record"


def test_a_page_that_somebody_else_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results/README.md").write_text("my notes")
    assert page(made(tmp_path)) == "my notes"


def test_a_notebook_that_is_not_there_has_no_cells(tmp_path: Path) -> None:
    assert gallery.notebook_cells(tmp_path / "no.ipynb", "code") == []


# The committed results


def test_the_committed_results_are_as_new_as_the_code_or_say_so_on_their_page() -> None:
    results, notebooks = ROOT / "results", ROOT / "notebooks"
    page = (results / "README.md").read_text(encoding="utf-8")
    earlier = re.findall(r"\]\((\S+)/record\.json\): .*\n\n\*Made by an earlier revision", page)
    ages = "made by another version of the method", "its notebook has changed since"
    unsaid = {f"{name}: {what}" for name in earlier for what in ages}
    assert [line for line in stale(results, notebooks) if line not in unsaid] == []


def test_an_earlier_study_is_marked_on_the_page(tmp_path: Path) -> None:
    assert "*Made by an earlier revision" not in page(made(tmp_path))
    assert "*Made by an earlier revision" in page(made(tmp_path, method="another"))


def test_what_does_not_hold_in_the_committed_results_is_known() -> None:
    against = {
        f"{folder.relative_to(ROOT / 'results').as_posix()}: {one['claim']}"
        for folder, record in gallery.studies(ROOT / "results", gallery.KEPT)
        for one in (record or {"claims": []})["claims"]
        if not one["holds"]
    }
    known = {
        "simulated/activitynet12/02_main_results": ["snippet labels bound every row, branch by branch"],
        "simulated/activitynet12/03_ablation": [
            "every rule into activation and attention gains",
            "full beats late fusion over the held-out worlds",
            "full is nowhere 1 point below late fusion, blind branches included",
        ],
        "simulated/thumos14/03_ablation": [
            "our CBP head is nowhere 1 point below CoLA's and CO2-Net's",
            "snippet labels are above full, branch by branch, in every held-out world",
        ],
        "simulated/activitynet12/04_complementarity": ["of the fusion, both FP and FN fall, each cut at its best"],
    }
    assert against == {f"{place}: {claim}" for place, claims in known.items() for claim in claims}


def test_the_readme_s_numbers_are_those_of_the_committed_results() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = gallery.BLOCK.finditer(readme)
    assert block[0] == block[1] + gallery.table(ROOT / gallery.PLACE) + block[2], "run `wtal book`"
    rest = readme.replace(block[0], "")
    published = {f"{tables.paper(name)['mean']:.1f}" for name in ("thumos14", "activitynet12")}  # type: ignore[index]
    assert set(re.findall(r"(?<![\w./=<>])\d+\.\d\b(?![\w/]|\.\d)", rest)) <= published, (
        "scores stand in the table alone"
    )
