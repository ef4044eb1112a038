"""The one list of commands for people and CI: ``python tests/checks.py``, with any Python that has the `test` extra.

``--shared`` runs only the tests that need the real inputs of ``../shared``, or of the folder that $WTAL_SHARED names.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

WORKERS = min(os.cpu_count() or 1, 4)
"Test processes: one a core, few enough for 16 GB of memory"

TESTS = f"pytest -rs -n {WORKERS} --dist loadgroup"
"A file's tests run in one process, notebooks wherever there is room; what is skipped says why"

COMMANDS = (
    "ruff check .",
    "ruff format --check .",
    "mypy",
    "lint-imports",
    TESTS,
)
"Lint and format (notebooks too), types, import floors, tests; papermill executes the notebooks among the tests"


def main(commands: tuple[str, ...]) -> int:
    """Exit status: 0 when every command passed; all of them run, so that one failure does not hide another."""
    here = str(Path(sys.executable).parent)
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "PATH": here + os.pathsep + os.environ.get("PATH", "")}
    failed = []
    for command in commands:
        print(f"\n$ {command}", flush=True)
        started = time.monotonic()
        status = subprocess.run(shlex.split(command), cwd=Path(__file__).parents[1], env=environment).returncode
        print(f"{'passed' if status == 0 else 'FAILED'} in {time.monotonic() - started:.0f} s", flush=True)
        failed += [command] if status else []
    print("\n" + (f"failed: {', '.join(failed)}" if failed else "every check passed"), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main((f"{TESTS} -m shared",) if sys.argv[1:] == ["--shared"] else COMMANDS))
