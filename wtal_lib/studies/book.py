"""``results/book/``: executed notebooks, gallery, guides and API as static pages that load nothing from elsewhere.

Run a notebook by papermill, then ``wtal book out.ipynb``: :func:`keep` puts the executed notebook, without its widgets
and lines of progress, beside the figures that it made, where a code host shows it; :func:`build` makes the pages from
all that is kept. A study without an executed notebook has the page of its source with the figures and tables in place.
"""

from __future__ import annotations

import ast
import base64
import html
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import nbformat
from nbconvert.filters import markdown2html
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook, new_output
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from wtal_lib.data.files import replacing
from wtal_lib.runs.records import project_root
from wtal_lib.studies import gallery

ROOMS = ("studies", "runs", "video", "method", "simulate", "score", "figures", "data")
LOCAL = ("data_root", "results", "scheduler", "pack", "videos", "checkpoint")
"Parameters that are places on somebody's machine"
PACKAGE = Path(__file__).resolve().parents[1]
STYLE = Path(__file__).with_name("book.css")
UNEXECUTED = "\n\n*Figures and tables are the kept ones; what the cells print was not kept.*"
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="book.css"></head>
<body><nav><a href="index.html">wtal_lib</a> <a href="gallery.html">Gallery</a> <a href="api.html">API</a></nav>
<main>{body}</main></body></html>
"""


def keep(executed: Path) -> Path:
    """Put a notebook that papermill or JupyterLab executed beside its figures, fit to be committed; where it lies then.

    Widgets, progress, warnings and the places of this machine are left out. Raises ValueError: it has not run to its
    last cell, ``study.close()``; FileNotFoundError: it or the results it made are not there.
    """
    notebook = nbformat.read(executed, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    places = [output.metadata["wtal"] for output in outputs if "wtal" in output.get("metadata", {})]
    if not places:
        raise ValueError(f"{executed} has no output of study.close(): run the notebook to its end, and save it")
    folder = project_root() / places[-1]["folder"]
    if not (folder / "record.json").is_file():
        raise FileNotFoundError(f"{executed} wrote its results to {folder}, where no record.json is")
    notebook.metadata = {"kernelspec": notebook.metadata.kernelspec, "language_info": {"name": "python"}}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        cell.metadata = {"tags": tags} if tags else {}
        if "injected-parameters" in tags:
            cell.source = "\n".join(row for row in cell.source.splitlines() if row.split(" =")[0] not in LOCAL)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _lasting(output)]
            for output in cell.outputs:
                output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
                if "wtal" in output.get("metadata", {}):  # links were seen from where it ran
                    output.data["text/html"] = output.data["text/html"].replace(places[-1]["seen"] + "/", "")
    path = folder / f"{folder.name}.ipynb"
    with replacing(path) as file:
        file.write((nbformat.writes(notebook, indent=1) + "\n").encode())
    return path


def _lasting(output: NotebookNode) -> bool:
    """Whether an output is a result: no warning, and no progress."""
    data = output.get("data", {})
    return output.get("name") != "stderr" and data != {"text/html": ""} and "<progress" not in data.get("text/html", "")


def build(results: Path, root: Path | None = None) -> Path:
    """Make ``results/book/`` anew from what lies in ``results``, and return its first page; nothing is fetched."""
    root, out = root or project_root(), results.resolve() / "book"
    notebooks, found = root / "notebooks", gallery.studies(results, tuple(gallery.SOURCES))
    if out.parent == root / "results":
        gallery.write(results, notebooks)
        gallery.update_readme(root)
    shutil.rmtree(out, ignore_errors=True)
    (out / "figures").mkdir(parents=True)
    guides = {path: f"{path.stem.lower()}.html" for path in sorted(notebooks.glob("*.md"))}
    studies = {
        folder / f"{folder.name}.ipynb": "-".join(folder.parts[-3:]) + ".html" for folder, record in found if record
    }
    sources = {notebooks / path.name: page for path, page in reversed(studies.items())}
    pages = {**sources, **studies, **guides, results / "README.md": "gallery.html", root / "README.md": "index.html"}
    writer = _Writer(out, {path.resolve(): page for path, page in pages.items()})
    contents = dict[str, list[str]]()
    for path, page in studies.items():
        place, source = gallery.heading(*path.parts[-4:-2]), notebooks / path.name
        contents.setdefault(place, []).append(f"- [{gallery.question(source)}]({page})")
        notebook = nbformat.read(path, as_version=4) if path.is_file() else _with_results(source, path.parent)
        about = f"{place} · [record]({path.parent / 'record.json'})" + ("" if path.is_file() else UNEXECUTED)
        notebook.cells.insert(0, new_markdown_cell(about))
        writer.write(page, gallery.question(source), notebook, path.parent if path.is_file() else notebooks)
    for path, page in guides.items():
        text = path.read_text(encoding="utf-8")
        contents.setdefault("Guides", []).append(f"- [{text.splitlines()[0].lstrip('# ')}]({page})")
        writer.write(page, path.stem, _text(text), path.parent)
    shown = gallery.markdown(results, found, notebooks)
    writer.write("gallery.html", "Gallery", _text(shown), results)
    writer.write("api.html", "API", _text(api()), root)
    head = (root / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    lists = [f"## {title}\n\n" + "\n".join(lines) for title, lines in contents.items()]
    writer.write("index.html", "wtal_lib", _text("\n\n".join([head, *lists])), root)
    style = STYLE.read_text(encoding="utf-8") + HtmlFormatter().get_style_defs(".highlight")
    (out / STYLE.name).write_text(style, encoding="utf-8")
    return out / "index.html"


class _Writer:
    """Writes pages into a folder: links between their sources lead from page to page, pictures are copied beside."""

    def __init__(self, out: Path, pages: Mapping[Path, str]) -> None:
        self.out, self.pages = out, pages

    def write(self, page: str, title: str, notebook: NotebookNode, base: Path) -> None:
        """A notebook as a page, its code folded; its links are seen from ``base``."""
        parts = []
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                parts.append(markdown2html(cell.source))
            else:
                code = highlight(cell.source, PythonLexer(), HtmlFormatter())
                parts.append(f"<details><summary>code</summary>{code}</details>")
                for output in cell.outputs:
                    parts.append(self._output(output, f"{Path(page).stem}-{len(parts)}"))
        link = re.compile(r'(href|src)="([^"#]+)')
        body = link.sub(lambda found: f'{found[1]}="{self._seen(found[2], base)}', "\n".join(parts))
        (self.out / page).write_text(PAGE.format(title=html.escape(title), body=body), encoding="utf-8")

    def _output(self, output: NotebookNode, name: str) -> str:
        data = output.get("data", {})
        if "image/png" in data:
            path = self.out / "figures" / f"{name}.png"
            path.write_bytes(base64.b64decode(data["image/png"]))
            return f'<img src="{path}" alt="{html.escape(data.get("text/plain", ""))}">'
        if "text/html" in data:
            return str(data["text/html"])
        if "text/markdown" in data:
            return markdown2html(data["text/markdown"])
        text = output.get("text") or data.get("text/plain") or "\n".join(output.get("traceback", []))
        return f"<pre>{html.escape(text)}</pre>"

    def _seen(self, link: str, base: Path) -> str:
        """A link as the pages see it."""
        path = (base / link).resolve()
        if path in self.pages:
            return self.pages[path]
        if re.match(r"\w+:", link) or not path.exists():
            return link
        if path.parent == self.out / "figures":
            return path.relative_to(self.out).as_posix()
        if path.suffix in (".png", ".svg"):
            name = "-".join(path.parts[-4:])
            shutil.copy(path, self.out / "figures" / name)
            return f"figures/{name}"
        return Path(os.path.relpath(path, self.out)).as_posix()


def _text(source: str) -> NotebookNode:
    return new_notebook(cells=[new_markdown_cell(source)])


def _with_results(source: Path, folder: Path) -> NotebookNode:
    """A notebook that was not executed, the figures and tables of ``folder`` in the places where it makes them."""
    notebook, left = nbformat.read(source, as_version=4), sorted(folder.glob("*.png")) + sorted(folder.glob("*.md"))
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        for name in gallery.results_of(cell.source):
            for path in [path for path in left if re.fullmatch(name, path.stem)]:
                left.remove(path)
                figure = {"text/html": f'<img src="{path.resolve()}" alt="{path.stem}">'}
                data = figure if path.suffix == ".png" else {"text/markdown": path.read_text(encoding="utf-8")}
                cell.outputs.append(new_output("display_data", data))
    return notebook


def api() -> str:
    """What each room offers, by name, as Markdown: signatures or fields, and docstrings; read, not imported."""
    parts = ["# What the rooms offer"]
    for room in (PACKAGE / name for name in ROOMS):
        tree = ast.parse((room / "__init__.py").read_text(encoding="utf-8"))
        parts.append(f"## wtal_lib.{room.name}\n\n{ast.get_docstring(tree)}")
        given = {node.arg: node.value for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        for file, names in ast.literal_eval(given["submod_attrs"]).items():
            path = room / f"{file}.py" if (room / f"{file}.py").is_file() else room / file / "__init__.py"
            nodes = ast.parse(path.read_text(encoding="utf-8")).body
            parts += [_entry(node) for node in nodes if getattr(node, "name", None) in names]
    return "\n\n".join(parts)


def _entry(node: ast.stmt) -> str:
    """A function or class of the API."""
    assert isinstance(node, (ast.FunctionDef, ast.ClassDef))
    if isinstance(node, ast.FunctionDef):
        head = f"{node.name}({ast.unparse(node.args)})" + (f" -> {ast.unparse(node.returns)}" if node.returns else "")
    else:
        fields = [ast.unparse(line) for line in node.body if isinstance(line, ast.AnnAssign)]
        head = "\n    ".join([f"class {node.name}:", *fields])
    text = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", ast.get_docstring(node) or "").replace("``", "`")
    return f"### {node.name}\n\n```python\n{head}\n```\n\n{text}"
