"""The command line itself: what it accepts, how it refuses, and that it starts at once in any terminal."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from wtal_lib import __version__
from wtal_lib.cli import main

OPTIONS = {
    "check": "--dataset --cache --json",
    "score": "--annotations --dataset --protocol --bootstrap --out",
    "simulate": "--dataset --profile --seed --difficulty --annotations --layouts",
    "run": "--dataset --data-root --source --profile --setting --preset --seed --set --device --out --anew",
    "extract": "--out --model --pretrained --dataset --classes --batch --device --precision --workers --fps --stride"
    " --part --seed --scheduler",
    "localize": "--checkpoint --data-root --out",
    "book": "--results",
    "sweep": "--out --workers --scheduler --device --retry --anew",
    "results list": "--in --json",
    "results show": "--in --all",
    "results compare": "--in",
    "results prune": "--in --yes",
}


def wtal(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wtal_lib.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_every_option(command: str, capsys) -> None:
    assert main([*command.split(), "--help"]) == 0
    printed = capsys.readouterr().out
    assert [option for option in OPTIONS[command].split() if f"{option} " not in printed] == []
    assert "[default: False]" not in printed
    assert "--no-" not in printed


def test_the_version_is_the_package_s(capsys) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scor"], 'wtal scor: Unknown command "scor". Did you mean "score"?'),
        (["score", "a", "--annotations", "b", "--protocl", "c"], "Did you mean --protocol?"),
        (["score", "a"], "wtal score: Command"),
        (["score", "a", "b", "--annotations", "c"], "['b']"),
        (["score", "a", "--annotations", "b", "--bootstrap", "x"], '--bootstrap: unable to convert "x" into int'),
        (["results", "show"], "requires an argument"),
        (["extract", "--out", "p"], "VIDEOS requires an argument"),
        (["extract", "a", "--out", "p", "--classes", "c", "--dataset", "thumos14"], "Mutually exclusive"),
        (["run", "--set", "seed"], "--set takes FIELD=VALUE, as schedule.period=25, got 'seed'"),
        (["run", "--set", "schedule.perid=3"], "did you mean 'schedule.period'?"),
        (["run", "--set", "cbp_share=70"], "cbp_share must lie in [0, 1], got '70' (str): it is a share, not a"),
    ],
)
def test_what_is_not_understood_is_one_line_and_status_2(arguments: list[str], message: str, capsys) -> None:
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert message in printed.err


@pytest.mark.parametrize("arguments", [[], ["results"]])
def test_no_command_prints_the_help_and_is_status_2(arguments: list[str], capsys) -> None:
    assert main(arguments) == 2
    assert "Usage: wtal" in capsys.readouterr().out


def test_the_last_of_a_repeated_option_counts(tmp_path, capsys) -> None:
    assert main(["check", str(tmp_path), "--dataset", "thumos14", "--dataset", "thumos"]) == 2
    assert "unknown dataset 'thumos'" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["check", "~/none"], ["check", "--data-root=~/none"]])
def test_the_home_folder_is_expanded(arguments: list[str], tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(arguments) == 2
    assert f"wtal check: {tmp_path}/none: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["{}", "--annotations", "a"], ["d.json", "--annotations", "a", "--out", "{}"]])
def test_a_folder_where_a_file_is_meant_is_refused_before_anything_is_read(arguments, tmp_path, capsys) -> None:
    assert main(["score", *(argument.format(tmp_path) for argument in arguments)]) == 2
    assert f'Only file is allowed, but "{tmp_path}" is a directory' in capsys.readouterr().err


def test_an_interrupted_command_is_status_130(monkeypatch, capsys) -> None:
    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("wtal_lib.data.check.check", interrupted)
    assert main(["check"]) == 130
    assert capsys.readouterr().err == "wtal check: interrupted; the same command goes on where it was\n"


def test_a_reader_that_leaves_ends_the_command_quietly(shared_data, tmp_path) -> None:
    read, write = os.pipe()
    os.close(read)
    arguments = ["check", str(shared_data / "thumos14"), "--json"]
    command = [sys.executable, "-m", "wtal_lib.cli", *arguments, "--cache", tmp_path]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "cp850"])
def test_a_terminal_without_some_symbols_gets_others(encoding: str, tmp_path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    assert "cbp_strong, ? (see" in wtal("simulate", "--help", env=environment).stdout
    refused = wtal("check", str(tmp_path / "…"), env=environment)
    assert refused.returncode == 2
    assert f"wtal check: {tmp_path}/?: " in refused.stderr


def _lines(place: Path) -> dict[str, str]:
    """A line for each command, over files with symbols that old terminals lack and a byte order mark first."""
    truth = {f"clip … {i}": {"subset": ("train", "val")[i % 2], "duration": 40} for i in range(8)}
    for entry in truth.values():
        entry["annotations"] = [{"label": "Gießen ✓", "segment": [5, 9.5]}]
    detections = {name: [{"label": "Gießen ✓", "score": 1, "segment": [5, 9.5]}] for name in [*truth, "clip “other”"]}
    (place / "kitchen ✓").mkdir(parents=True)
    for name, content in (("kitchen ✓/kitchen.json", {"database": truth}), ("d.json", {"results": detections})):
        (place / name).write_text("\ufeff" + json.dumps(content, ensure_ascii=False), encoding="utf-8")
    (place / "grid.yaml").write_text("\ufeffpresets: [“full”]\n", encoding="utf-8")
    return {
        "check": f"check '{place}/kitchen ✓' --cache '{place}/cache'",
        "score": f"score '{place}/d.json' --annotations '{place}/kitchen ✓/kitchen.json'",
        "run": f"run --dataset '{place}/kitchen ✓/kitchen.json' --preset “full”",
        "sweep": f"sweep '{place}/grid.yaml'",
        "results": f"results show ✓ --in '{place}/kitchen ✓'",
    }


@pytest.mark.parametrize("command", ["check", "score", "run", "sweep", "results"])
@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
def test_every_command_speaks_to_old_terminals(command: str, encoding: str, tmp_path, monkeypatch) -> None:
    line = shlex.split(_lines(tmp_path)[command])
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    status = main(line)
    printed = "".join(stream.buffer.getvalue().decode(encoding) for stream in streams)
    assert status in (0, 1, 2)
    assert "?" in printed
    assert "Error" not in printed


@pytest.mark.parametrize(
    "line",
    [
        "check FILE",
        "score FOLDER --annotations FILE",
        "score FILE --annotations FOLDER",
        "simulate FILE --profile ci",
        "run --data-root FILE",
        "sweep FOLDER",
        "extract FILE --out FILE --pretrained random",
        "extract FOLDER --out FOLDER",
        "localize FILE --out FOLDER/out.json",
        "localize FOLDER --out FOLDER",
        "results list --in FILE",
    ],
)
def test_a_folder_where_a_file_is_meant_and_the_reverse_are_one_sentence(line: str, tmp_path, capsys) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("nothing\n")
    words = [word.replace("FILE", f"{tmp_path}/file").replace("FOLDER", f"{tmp_path}/folder") for word in line.split()]
    assert main(words) in (1, 2)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path) in said
    assert "Errno" not in said


def test_the_command_line_starts_without_the_libraries_of_its_commands() -> None:
    code = (
        "import json, sys; from wtal_lib import cli; cli.main(['score', '--help'])\nprint(json.dumps([*sys.modules]))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(json.loads(printed.stdout.splitlines()[-1]))
    assert not loaded & {"numpy", "pydantic", "torch", "pandas", "markdown_it", "wtal_lib.settings"}
    assert {name for name in loaded if name.startswith("wtal_lib")} == {
        "wtal_lib",
        "wtal_lib.cli",
        "wtal_lib.cli_results",
    }
