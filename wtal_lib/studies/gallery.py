"""The pages a visitor sees first, made from the committed results, so that no number is copied by hand.

``results/README.md`` has each notebook's claims, its figures and what to look for; ``README.md`` a picture and a table.
"""

from __future__ import annotations

import io
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd

from wtal_lib.data.datasets import DATASETS
from wtal_lib.data.files import replacing
from wtal_lib.data.segments import runs
from wtal_lib.figures.draw import FULL_WIDTH, LINE_COLOURS, theme
from wtal_lib.figures.training import dot_plot
from wtal_lib.figures.video import branches_over_truth
from wtal_lib.runs import records
from wtal_lib.settings import sha256

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
PLACE = "results/simulated/thumos14"
BLOCK = re.compile(r"(<!-- numbers: .*? -->\n).*?(<!-- /numbers -->)", re.DOTALL)
"The part of README.md that is written by :func:`update_readme`"
ROWS = {
    "vanilla VLP: no training": ("", "vanilla VLP", ""),
    "late fusion: each branch on the video labels alone": ("CBP", "VLP", "late fusion"),
    "`paper`: background alone in B, foreground alone in F (three seeds)": ("paper CBP", "paper VLP", "paper"),
    "`full`: both kinds in both steps, the paper's weighing most": ("CBP, full", "VLP, full", "full"),
    "supervised: snippet labels, an upper bound": ("supervised CBP", "supervised VLP", "supervised"),
}
"Rows of the table, and the lines of 02_main_results that they show"
Found = list[tuple[Path, dict[str, Any] | None]]
"Folder and record of some studies"


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
    if (record["method"], record["notebook"]) != (records.METHOD, code_mark(notebook)):
        lines.append("*Made by an earlier revision of this notebook or of the method.*\n")
    lines += [f"- {'holds' if one['holds'] else '**does not hold**'}: {one['claim']}" for one in record["claims"]]
    left = list(dict.fromkeys(Path(file).stem for file in record["files"]))
    for text, names in [*sections(notebook), ("", [".*"])]:
        here = [stem for name in names for stem in left if re.fullmatch(name, stem)]
        left = [stem for stem in left if stem not in here]
        if here:
            lines.append("\n" + re.sub(r"^## ", "#### ", text))
        for stem in dict.fromkeys(here):
            picture = f"{stem}.png" in record["files"]
            lines.append(f"\n![{stem}]({place}/{stem}.png)" if picture else f"\n[{stem}]({place}/{stem}.md)")
    return "\n".join(lines) + "\n"


def sections(notebook: Path) -> list[tuple[str, list[str]]]:
    """The parts of a notebook: their text, heading included, and :func:`results_of` the cells below it."""
    parts = [("", list[str]())]
    for cell in _cells(notebook):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            parts[-1][1].extend(results_of(source))
        else:
            parts.append((source, []))
    return parts


def results_of(source: str) -> list[str]:
    """Names of the figures and tables that a cell keeps, as regular expressions: f-strings are known in part."""
    found = re.findall(r'study\.(?:figure|table)\(\s*f?"([^"]+)"', source)
    return [re.sub(r"\{[^}]*\}", r"\\w*", name) for name in found]


def code_mark(notebook: Path) -> str:
    """Hash of what a notebook computes: its code but for the parameters."""
    return sha256("\n\n".join(notebook_cells(notebook, "code")))[:16]


def notebook_cells(notebook: Path, kind: str) -> list[str]:
    """Sources of a notebook's ``code`` or ``markdown`` cells but for the parameters; none if it is missing."""
    return ["".join(cell["source"]) for cell in _cells(notebook) if cell["cell_type"] == kind]


def _cells(notebook: Path) -> list[dict[str, Any]]:
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, LookupError):
        return []
    return [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]


def update_readme(root: Path) -> None:
    """Write table and picture anew into README.md and :data:`PLACE`, where what they are made from is there."""
    place, page = root / PLACE, root / "README.md"
    if (place / "02_main_results/main.csv").is_file() and page.is_file():
        text = page.read_text(encoding="utf-8")
        with replacing(page) as file:
            file.write(BLOCK.sub(lambda found: found[1] + table(place) + found[2], text).encode())
        seen = pd.read_csv(place / "04_complementarity/one_video.csv")
        if "truth" in seen:
            with replacing(place / "overview.png") as file:
                file.write(picture(seen, pd.read_csv(place / "02_main_results/main.csv")))


def table(place: Path) -> str:
    """The scores of :data:`ROWS` as Markdown, what the full method gains, in held-out worlds too; ActivityNet1.2."""
    mean, gain = _main_results(place)
    for branch, value in pd.read_csv(place / "03_ablation/branches.csv").set_index("row").loc["paper"].items():
        mean[f"paper {branch}".removesuffix(" fused")] = value
    stamp = re.findall("<sub>(.*)</sub>", (place / "02_main_results/main.md").read_text(encoding="utf-8"))[0]
    lines = [f"| {stamp}: mean mAP (%) | CBP | VLP | fused |", "|---|---:|---:|---:|"]
    for row, names in ROWS.items():
        lines.append(f"| {row} | " + " | ".join(f"{mean[name]:.1f}" if name else "" for name in names) + " |")
    lines.append(f"| `full` over late fusion, 95 % interval over videos and seeds | | | {gain} |")
    worlds = pd.read_csv(place / "03_ablation/worlds.csv")
    drawn = worlds[(worlds["row"] == "full") & worlds["world"].str.startswith("drawn")]["difference"]
    each, page = ", ".join(f"{one:+.1f}" for one in drawn), f"{PLACE}/03_ablation/worlds.md"
    lines.append(f"| the same in {len(drawn)} held-out worlds, [one by one]({page}) | | | {each} |")
    other = place.with_name("activitynet12")
    if (other / "02_main_results/main.csv").is_file():
        mean, gain = _main_results(other)
        lines_of = {names[2]: names for names in ROWS.values()}
        for row, names in (("late fusion", lines_of["late fusion"]), ("`full`", lines_of["full"])):
            lines.append(f"| **ActivityNet1.2**, {row} | {' | '.join(f'{mean[name]:.1f}' for name in names)} |")
        lines.append(f"| **ActivityNet1.2**, `full` over late fusion (tIoU 0.5 to 0.95) | | | {gain} |")
    return "\n".join(lines) + "\n"


def _main_results(place: Path) -> tuple[pd.Series, str]:
    """Mean mAP of each line of 02_main_results, and what the full method gains over late fusion, with its interval."""
    mean = pd.read_csv(place / "02_main_results/main.csv").groupby("line")["mean"].mean()
    effect = pd.read_csv(place / "02_main_results/effect.csv").set_index("line").loc["full"]
    return mean, f"{effect['difference']:+.1f} [{effect['low']:+.1f}, {effect['high']:+.1f}]"


def picture(seen: pd.DataFrame, scores: pd.DataFrame) -> bytes:
    """What the branches take for action in one video, beside what each scores on all of them; PNG.

    ``seen`` has the columns start (s), truth and a curve a branch; ``scores`` line and mean (mAP in percent).
    """
    theme()
    step = float(seen["start"].iloc[1])
    figure, (left, right) = plt.subplots(1, 2, figsize=(1.5 * FULL_WIDTH, 3.4), width_ratios=[1.9, 1])
    names = {
        "CBP": "CBP\nfinds too little",
        "vanilla VLP": "vanilla VLP\nfinds too much",
        "full": "both, after\nteaching",
    }
    curves = {title: seen[name].to_numpy() for name, title in names.items()}
    branches_over_truth(runs(seen["truth"].to_numpy(dtype=bool)) * step, curves, step, dict.fromkeys(curves, 0.5), left)
    lines = ["vanilla VLP", "CBP", "VLP", "late fusion", "full"]
    by_line = {line: scores.loc[scores["line"] == line, "mean"].tolist() for line in lines}
    heads = {"vanilla VLP": "no training", "CBP": "video labels alone", "full": "teaching each other"}
    dot_plot(by_line, colours=LINE_COLOURS, heads=heads, base="late fusion", ax=right)
    mean = scores.groupby("line")["mean"].mean()
    right.margins(x=0.2)
    right.set_title(f"{mean['full'] - mean['late fusion']:+.1f} points over late fusion")
    right.text(0.02, 0.02, "SIMULATED features", transform=right.transAxes, weight="bold", color="#B00020")
    left.set_title("SIMULATED features, one usual video", loc="right", color="#B00020")
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return held.getvalue()
