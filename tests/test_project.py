"""The project's own promises: one list of requirements, one list of commands, notebooks that read and run as agreed."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = (ROOT / "notebooks/MAP.md").read_text(encoding="utf-8")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ["data", "figures", "method", "runs", "score", "simulate", "studies", "video"]
PARAMETERS = ["dataset", "source", "data_root", "profile", "seeds", "results"]

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def readme_command(job: str) -> str:
    found = re.search(rf"<!-- ci: {job} -->\n```bash\n(.*?)\n```\n<!-- /ci -->", README, re.DOTALL)
    assert found, f"README.md marks no command for {job!r}"
    return found[1]


def test_environment_yml_asks_for_what_pyproject_asks_for() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    *conda, pip = environment["dependencies"]
    project = PYPROJECT["project"]
    assert pip["pip"] == [*project["dependencies"], "-e ."]
    assert environment["channels"] == ["conda-forge"]
    assert [re.split("[=<>]", line)[0] for line in conda] == ["python", "pip"]


def test_environment_yml_takes_a_python_that_pyproject_admits() -> None:
    python = next(
        line
        for line in yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
        if str(line).startswith("python")
    )
    least, below = map(int, re.findall(r"3\.(\d+)", PYPROJECT["project"]["requires-python"]))
    assert least <= int(python.split("=3.")[1]) < below


def test_the_lock_file_pins_what_pyproject_asks_for_at_versions_that_it_admits() -> None:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    for line in PYPROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        assert pins[canonicalize_name(wanted.name)] in wanted.specifier, line


def test_ci_runs_the_commands_of_the_readme_and_no_others() -> None:
    shown = subprocess.run(["bash", ROOT / ".ci/run", "--show"], capture_output=True, text=True, check=True)
    commands = [readme_command("main"), readme_command("tests")]
    assert shown.stdout.splitlines() == "\n".join(commands).splitlines()
    assert not re.search(r"\b(pip|pytest|papermill|ruff|mypy)\b", (ROOT / ".ci/run").read_text(encoding="utf-8"))


def test_the_commands_of_the_readme_do_all_the_set_up() -> None:
    for job in ("main", "tests"):
        assert readme_command(job).startswith("python3 -m venv .venv && .venv/bin/pip install -e ")
    assert "tests/checks.py" in readme_command("tests")
    notebook = re.search(r"papermill (notebooks/\S+\.ipynb)", readme_command("main"))
    assert notebook
    assert (ROOT / notebook[1]).is_file()


def test_the_map_names_every_file_and_the_readme_leads_to_it() -> None:
    assert "(notebooks/MAP.md)" in README
    rows = re.findall(r"^\| \d \| (.*?) \| .* \| (.*?) \|$", MAP, re.MULTILINE)
    assert len(rows) == len(ROOMS) + 1, "a row a room, and one for settings and parallel"
    for room in ROOMS:
        (files,) = [set(files.split()) for name, files in rows if name == f"`{room}/`"]
        inside = [*(ROOT / "wtal_lib" / room).glob("*.py"), *(ROOT / "wtal_lib" / room).glob("*/__init__.py")]
        names = {path.parent.name if path.stem == "__init__" else path.stem for path in inside}
        assert files == names - {room}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_offers_what_it_names(room: str) -> None:
    module = importlib.import_module(f"wtal_lib.{room}")
    files = {path.stem for path in (ROOT / "wtal_lib" / room).glob("*.py")}
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name not in files or name in sys.modules[f"wtal_lib.{room}.{name}"].__name__


def test_the_readme_is_short_and_every_link_of_it_leads_somewhere() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    assert len([word for line in prose.splitlines() if not line.startswith("|") for word in line.split()]) < 1000
    for page in (ROOT / "README.md", *(ROOT / "notebooks").glob("*.md")):
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_python_of_the_readme_runs(tmp_path: Path) -> None:
    found = re.search(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL)
    assert found
    environment = {**os.environ, "WTAL_DATA": str(tmp_path / "none"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", found[1]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "fused" in done.stdout


def test_the_readme_lists_every_notebook() -> None:
    assert [path.stem for path in NOTEBOOKS] == re.findall(r"\| \[(\d\d_\w+)\]\(notebooks/\1\.ipynb\)", README)


def test_every_room_stands_on_a_floor() -> None:
    layers = PYPROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    placed = [name.strip() for layer in layers for name in layer.split("|")]
    top = {path.stem for path in (ROOT / "wtal_lib").glob("*.py")} - {"__init__"}
    assert sorted(placed) == sorted(f"wtal_lib.{name}" for name in {*top, *ROOMS})


def test_no_file_is_longer_than_300_lines() -> None:
    files = [*(ROOT / "wtal_lib").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    long = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > 300} == {}


def test_the_citation_names_paper_and_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    version = re.search(r'__version__ = "(.*)"', (ROOT / "wtal_lib/__init__.py").read_text(encoding="utf-8"))
    assert version
    assert citation["version"] == version[1]
    assert "2212.09335" in str(citation["preferred-citation"])
    assert len(citation["preferred-citation"]["authors"]) == 8


@each_notebook
def test_a_notebook_has_one_cell_of_plain_parameters(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    statements = ast.parse(tagged[0].source).body
    assert all(isinstance(line, ast.AnnAssign) for line in statements), "typed, for papermill --help-notebook"
    for line in statements:
        ast.literal_eval(line.value)  # type: ignore[attr-defined]
    names = [line.target.id for line in statements]  # type: ignore[attr-defined]
    assert [name for name in names if name in PARAMETERS] == PARAMETERS
    assert all(" # " in line for line in tagged[0].source.splitlines()), "each parameter is explained beside it"


@each_notebook
def test_a_notebook_is_committed_without_outputs_and_for_any_python(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert set(cell.metadata) <= {"tags"}
        if cell.cell_type == "code" and "parameters" not in cell.metadata.get("tags", []):
            folded = cell.metadata.get("tags") == ["hide-input"]  # by Jupyter Book and its like
            assert folded == bool(re.search(r"study\.(figure|table)\(", cell.source)), cell.source


@each_notebook
def test_a_notebook_reads_as_a_page(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    prose = [cell.source for cell in cells if cell.cell_type == "markdown"]
    assert 12 <= len(cells) <= 26
    assert max(len(source.splitlines()) for source in code) <= 15
    own = path.stem == "07_your_method"  # which is about the reader's own classes and functions
    assert own or not [source for source in code if re.search(r"^\s*(def|class|async def) ", source, re.MULTILINE)]
    assert not [source for source in code if re.search(r"%pip|!pip|input\(|[\"'](/|~|[A-Z]:\\)\w", source)]
    assert re.match(rf"# {path.stem[:2]} · .*\?\n", prose[0])
    assert all(f"**{word}" in prose[0] for word in ("Question", "Answer", "Reads", "Time"))
    assert any("What this does not show" in text for text in prose)
    assert "open_study(" in code[1]
    assert "study.close()" in code[-1]
