"""The one list of commands for people and CI: ``python tests/checks.py``, with any Python that has the `test` extra."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = (
    "ruff check .",
    "ruff format --check .",
    "mypy",
    "lint-imports",
    "pytest",
)
"Lint and format (notebooks too), types, import floors, tests; papermill executes the notebooks among the tests"


def main() -> int:
    """Exit status: 0 when every command passed; all of them run, so that one failure does not hide another."""
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": here + os.pathsep + os.environ.get("PATH", "")}
    failed = []
    for command in COMMANDS:
        print(f"\n$ {command}", flush=True)
        started = time.monotonic()
        status = subprocess.run(shlex.split(command), cwd=Path(__file__).parents[1], env=environment).returncode
        print(f"{'passed' if status == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
        failed += [command] if status else []
    print("\n" + (f"failed: {', '.join(failed)}" if failed else "every check passed"), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
