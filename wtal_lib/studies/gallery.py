"""``results/README.md``, the page a visitor sees first: each notebook's claims, its figures and what to look for."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wtal_lib.data.datasets import DATASETS
from wtal_lib.data.files import replacing
from wtal_lib.runs import records

OPENING = """# Results

Made by the notebooks, with a record beside every figure: parameters, data, code, packages, time, claims. This page is
written by `wtal_lib` whenever a notebook closes; an edit would be lost.
"""
_SIMULATED = """**Everything below rests on simulated features unless it says otherwise, in the pictures too.** It shows
how the method behaves where its premises hold; it reproduces no published number, and must not be compared with one.
"""
_RANDOM = """**The model that looks at these videos has random weights and sees nothing in them.** What follows shows
that the way from video files to a picture works, and what the picture will look like.
"""
SOURCES = {
    "real": ("Real data", ""),
    "simulated": ("Simulated features", _SIMULATED),
    "drawn": ("Simulated features, drawn annotations", _SIMULATED),
    "random-weights": ("Real videos, random weights", _RANDOM),
}
"Folders of results by what they rest on: heading, and what must be said below it"
KEPT = tuple(source for source in SOURCES if source != "drawn")
"Those that are committed; what rests on drawn annotations is made anew wherever no annotations are found"
Found = list[tuple[Path, dict[str, Any] | None]]
"Folder and record of some studies"


class Section(NamedTuple):
    """A part of a notebook."""

    text: str
    "of its markdown cell, heading included"
    results: list[str]
    "names of the figures and tables that its code keeps, as regular expressions: f-strings are known in part"


def write(results: Path, notebooks: Path) -> None:
    """Write the page of ``results``, and one apart for drawn annotations; a page that somebody else wrote stays."""
    for folder, sources in ((results, KEPT), (results / "drawn", ("drawn",))):
        page = folder / "README.md"
        ours = not page.is_file() or "written by `wtal_lib" in page.read_text(encoding="utf-8", errors="replace")
        if folder.is_dir() and ours:
            with replacing(page) as file:
                file.write(markdown(folder, studies(results, sources), notebooks).encode())


def markdown(base: Path, found: Found, notebooks: Path) -> str:
    """The page of some studies by source and dataset, its links seen from ``base``."""
    parts = [OPENING]
    for (source, dataset), group in itertools.groupby(found, lambda one: one[0].parts[-3:-1]):
        parts += [f"## {heading(source, dataset)}\n", SOURCES[source][1]]
        parts += [_study(base, folder, record, notebooks) for folder, record in group]
    return "\n".join(part for part in parts if part)


def heading(source: str, dataset: str) -> str:
    """What results rest on and of which dataset they are, for readers."""
    return f"{SOURCES[source][0]} · {DATASETS[dataset].title if dataset in DATASETS else dataset}"


def studies(results: Path, sources: Sequence[str] = KEPT) -> Found:
    """Folder and record of every notebook below ``results``, by source and name; no record where it is damaged."""
    found: Found = []
    for path in (path for source in sources for path in sorted(results.glob(f"{source}/*/[0-9][0-9]_*/record.json"))):
        try:
            found.append((path.parent, records.read_record(path)))
        except ValueError:
            found.append((path.parent, None))
    return found


def question(notebook: Path) -> str:
    """A notebook's title; its file's name where there is none."""
    found = re.match(r"# (.*)", "".join(notebook_cells(notebook, "markdown")))
    return found[1] if found else notebook.stem


def _study(base: Path, folder: Path, record: Mapping[str, Any] | None, notebooks: Path) -> str:
    place, notebook = folder.relative_to(base).as_posix(), notebooks / f"{folder.name}.ipynb"
    head = f"### {question(notebook)}\n"
    if record is None:
        return f"{head}\n[{folder.name}]({place}): its record is damaged; run the notebook again.\n"
    given, executed = record["parameters"], f"{place}/{folder.name}.ipynb"
    about = f"profile {given['profile']}, seeds {', '.join(map(str, given['seeds']))}, {record['wall_seconds']:.0f} s"
    link = f" · [the executed notebook]({executed})" if (base / executed).is_file() else ""
    lines = [head, f"[{folder.name}]({place}/record.json): {about}{link}\n"]
    if is_earlier(record, notebook):
        lines.append("*Made by an earlier revision of this notebook or of the method.*\n")
    lines += [f"- {'holds' if one['holds'] else '**does not hold**'}: {one['claim']}" for one in record["claims"]]
    left = list(dict.fromkeys(Path(file).stem for file in record["files"]))
    for section in [*sections(notebook), Section("", [".*"])]:
        here = [stem for name in section.results for stem in left if re.fullmatch(name, stem)]
        left = [stem for stem in left if stem not in here]
        if here:
            lines.append("\n" + re.sub(r"^## ", "#### ", section.text))
        for stem in dict.fromkeys(here):
            picture = f"{stem}.png" in record["files"]
            lines.append(f"\n![{stem}]({place}/{stem}.png)" if picture else f"\n[{stem}]({place}/{stem}.md)")
    return "\n".join(lines) + "\n"


def sections(notebook: Path) -> Iterator[Section]:
    """The parts of a notebook that keep results."""
    text, names = "", list[str]()
    for cell in [*_cells(notebook), {"cell_type": "markdown", "source": ""}]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            names += results_of(source)
            continue
        if names:
            yield Section(text, names)
        text, names = source, []


def results_of(source: str) -> list[str]:
    """Names of the figures and tables that a cell keeps, as regular expressions."""
    found = re.findall(r'study\.(?:figure|table)\(\s*f?"([^"]+)"', source)
    return [re.sub(r"\{[^}]*\}", r"\\w*", name) for name in found]


def is_earlier(record: Mapping[str, Any], notebook: Path) -> bool:
    """Whether a study was made by another method than today's, or by other code in its notebook."""
    code = records.sha256("\n\n".join(notebook_cells(notebook, "code")))[:16]
    return (record["method"], record["notebook"]) != (records.METHOD, code)


def notebook_cells(notebook: Path, kind: str) -> list[str]:
    """Sources of a notebook's ``code`` or ``markdown`` cells but for the parameters; none if it is missing."""
    return ["".join(cell["source"]) for cell in _cells(notebook) if cell["cell_type"] == kind]


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, LookupError):
        return []
    return [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
