"""``results/README.md``, the gallery a visitor sees first, made from the records; and which results are stale."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wtal_lib.data.datasets import DATASETS
from wtal_lib.data.files import replacing
from wtal_lib.runs import records

OPENING = """# Results

Made by the notebooks, with a record beside every figure: parameters, data, code, packages, time, claims. This page is
written by `wtal_lib.studies.gallery` whenever a notebook closes; an edit would be lost.
"""

RANDOM_WEIGHTS = "random-weights"
"place of what a model saw whose weights are random"

HEADINGS = {
    "real": "Real data",
    "simulated": "Simulated features",
    RANDOM_WEIGHTS: "Real videos, random weights",
}
NOTES = {
    "real": "",
    "simulated": "**Everything below rests on simulated features unless it says otherwise, in the pictures too.** It"
    " shows how the method behaves where its premises hold; it reproduces no published number, and must not be compared"
    " with one.\n",
    RANDOM_WEIGHTS: "**The model that looks at these videos has random weights and sees nothing in them.** What follows"
    " shows that the way from video files to a picture works, and what the picture will look like.\n",
}
TITLES = {name: dataset.title for name, dataset in DATASETS.items()}

ROWS = 16
"rows of the longest table that the page shows; of a longer one there is the link"


def write(results: Path, notebooks: Path) -> Path:
    """The page's path, once it is written: the gallery of all records below ``results``. A stranger's page stays."""
    page = results / "README.md"
    if page.is_file() and "wtal_lib.studies.gallery" not in page.read_text(encoding="utf-8", errors="replace"):
        return page
    with replacing(page) as file:
        file.write(markdown(results, notebooks).encode())
    return page


def markdown(results: Path, notebooks: Path) -> str:
    """The page as Markdown: what was run, then by source and dataset every notebook's figures and tables."""
    parts = [OPENING, _overview(results)]
    for source, heading in HEADINGS.items():
        for dataset, title in TITLES.items():
            kept = [(place, record) for place, record in studies(results) if _place(place)[:2] == (source, dataset)]
            if kept:
                parts += [f"## {heading} · {title}\n", NOTES[source]]
                parts += [_study(results, place, record, notebooks) for place, record in kept]
    return "\n".join(part for part in parts if part)


def studies(results: Path) -> Iterator[tuple[Path, dict[str, Any] | None]]:
    """Folder and record of every notebook below ``results``, by their names; None for a record that is damaged."""
    for path in sorted(results.glob("*/*/*/record.json")):
        if re.match(r"\d\d_", path.parent.name):
            try:
                yield path.parent, records.read_record(path)
            except ValueError:
                yield path.parent, None


def _place(folder: Path) -> tuple[str, ...]:
    """Source, dataset and notebook of a study's folder."""
    return folder.parts[-3:]


def _overview(results: Path) -> str:
    lines = [
        "| notebook | rests on | dataset | profile | seeds | claims that hold | took |",
        "|---|---|---|---|---|---:|---:|",
    ]
    for folder, record in studies(results):
        source, dataset, name = _place(folder)
        link = f"[{name}](#{_anchor(name, dataset, source)})"
        if record is None:
            lines.append(f"| {link} | {source} | {TITLES.get(dataset, dataset)} | damaged record: run it again | | | |")
            continue
        given, claims = record["parameters"], record["claims"]
        seeds = ", ".join(map(str, given["seeds"]))
        held = f"{sum(one['holds'] for one in claims)} of {len(claims)}"
        lines.append(
            f"| {link} | {source} | {TITLES.get(dataset, dataset)} | {given['profile']} | {seeds} | {held} |"
            f" {record['wall_seconds']:.0f} s |"
        )
    return "\n".join(lines) + "\n"


def _anchor(name: str, dataset: str, source: str) -> str:
    return f"{name}-{dataset}-{source}"


def _study(results: Path, folder: Path, record: Mapping[str, Any] | None, notebooks: Path) -> str:
    source, dataset, name = _place(folder)
    told = told_by(notebooks / f"{name}.ipynb")
    parts = [f'<a id="{_anchor(name, dataset, source)}"></a>\n\n### {told["title"] or name}\n', told["answer"]]
    if record is None:
        return "\n".join([*parts, "Its record is damaged; run the notebook again.\n"])
    stems = {Path(file).stem for file in record["files"]}
    shown = {stem: heading for stem, heading in told["results"].items() if stem in stems}
    last = None
    for stem, heading in {**shown, **dict.fromkeys(sorted(stems - shown.keys()), "")}.items():
        if heading != last and heading:
            parts.append(f"**{heading}**\n")
        last = heading
        parts.append(_result(results, folder, stem, record["files"]))
    claims = "\n".join(f"- {'holds' if one['holds'] else 'DOES NOT HOLD'}: {one['claim']}" for one in record["claims"])
    record_link = f"[record]({(folder / 'record.json').relative_to(results).as_posix()})"
    return "\n".join(
        [*parts, f"<details><summary>Claims checked</summary>\n\n{claims}\n\n</details>\n", f"{record_link}\n"]
    )


def _result(results: Path, folder: Path, stem: str, files: Mapping[str, Any]) -> str:
    """One figure or table, with links to what else is kept of it."""
    place = (folder / stem).relative_to(results).as_posix()
    kinds = [kind for kind in ("svg", "csv", "md") if f"{stem}.{kind}" in files]
    links = " · ".join(f"[{stem}.{kind}]({place}.{kind})" for kind in kinds)
    if f"{stem}.png" in files:
        return f"![{stem.replace('_', ' ')}]({place}.png)\n\n<sub>{links}</sub>\n"
    try:
        text = (folder / f"{stem}.md").read_text(encoding="utf-8")
    except OSError:
        text = ""
    rows = sum(line.startswith("|") for line in text.splitlines()) - 2
    return f"{text if rows <= ROWS else ''}\n<sub>{links}</sub>\n"


def told_by(notebook: Path) -> dict[str, Any]:
    """Title and answer of a notebook, and its results in their order with the heading of the section they stand in."""
    said: dict[str, Any] = {"title": "", "answer": "", "results": {}}
    heading = ""
    for cell in _cells(notebook):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            title, answer = re.match(r"# (.*)", source), re.search(r"\*\*Answer\.\*\* (.*?)\n\n", source, re.DOTALL)
            section = re.match(r"## (.*)", source)
            said["title"] = said["title"] or (title[1] if title else "")
            said["answer"] = said["answer"] or (" ".join(answer[1].split()) + "\n" if answer else "")
            heading = section[1] if section else heading
        else:
            for name in re.findall(r"study\.(?:figure|table)\(\s*\"(\w+)\"", source):
                said["results"].setdefault(name, heading)
    return said


def notebook_digest(notebook: Path) -> str | None:
    """Hash of what a notebook computes: its code cells but for the parameters; None where there is no notebook."""
    cells = [cell for cell in _cells(notebook) if cell["cell_type"] == "code"]
    code = ["".join(cell["source"]) for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
    return records.sha256("\n\n".join(code))[:16] if cells else None


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        return list(json.loads(notebook.read_text(encoding="utf-8"))["cells"])
    except (OSError, ValueError, LookupError):
        return []


def stale(results: Path, notebooks: Path) -> list[str]:
    """What below ``results`` is older than the code that made it, or not what its record says; a line each."""
    found = []
    for folder, record in studies(results):
        name = "/".join(_place(folder))
        if record is None:
            found.append(f"{name}: damaged record")
            continue
        if record.get("method") != records.method_digest():
            found.append(f"{name}: made by another version of the method")
        if record.get("notebook") != notebook_digest(notebooks / f"{folder.name}.ipynb"):
            found.append(f"{name}: its notebook has changed since")
        for file, about in record["files"].items():
            path = folder / file
            if not path.is_file() or records.sha256(path.read_bytes()) != about["sha256"]:
                found.append(f"{name}/{file}: missing, or not the file that was recorded")
    for path in sorted(results.glob("*/*/runs/*/record.json")):
        if json.loads(path.read_text(encoding="utf-8")).get("method") != records.method_digest():
            found.append(f"{path.relative_to(results).parent.as_posix()}: a run of another version of the method")
    page = results / "README.md"
    if list(studies(results)) and (
        not page.is_file() or page.read_text(encoding="utf-8") != markdown(results, notebooks)
    ):
        found.append("README.md: not the page that the records make")
    return found
