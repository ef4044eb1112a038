"""``wtal sweep`` and ``wtal results``: many runs, and what has become of them."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

Commands = Any
"what argparse's add_subparsers returns"


def add(commands: Commands) -> None:
    """Nothing; both commands are known."""
    parser = commands.add_parser("sweep", help="a grid of runs, on these cores or a Dask cluster; exit 1 if one failed")
    parser.add_argument("grid", type=Path, help="YAML file: dataset, profile, seeds, presets, … (see README)")
    parser.add_argument("--out", type=Path, help="folder of results, default results/: runs go to SOURCE/DATASET/runs")
    parser.add_argument("--workers", type=int, help="processes on this machine, default one a core")
    parser.add_argument("--scheduler", default="", help="tcp://HOST:PORT or scheduler file (.json) of a Dask cluster")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--retry", action="store_true", help="compute again what failed")
    parser.add_argument("--anew", action="store_true", help="compute everything again")
    parser.set_defaults(run=_sweep)
    parser = commands.add_parser("results", help="what is in a results store")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, what in ACTIONS.items():
        one = actions.add_parser(action, help=what)
        one.set_defaults(run=_results)
        one.add_argument("--in", dest="place", type=Path, help="folder of results or one store, default results/")
        if action == "show":
            one.add_argument("run_name", metavar="RUN", help="identity of a run, or how it begins")
            one.add_argument("--all", action="store_true", help="with history, packages and the AP of each class")
        elif action == "compare":
            one.add_argument("names", nargs="*", metavar="RUN", help="identities or presets; all runs when absent")
        elif action == "prune":
            one.add_argument("what", nargs="*", metavar="WHAT", help="kinds of things; they are listed when absent")
            one.add_argument("--yes", action="store_true", help="remove it; without, only say what would go")
        else:
            one.add_argument("--json", action="store_true", help="a json list")


ACTIONS = {
    "list": "each run: state, configuration, headline mAP",
    "show": "the record of one run, as json",
    "compare": "means over seeds side by side, and the fields that differ",
    "prune": "remove what is no longer needed",
}


def _sweep(arguments: argparse.Namespace) -> int:
    from wtal_lib.runs.records import project_root
    from wtal_lib.runs.results import as_table
    from wtal_lib.runs.sources import open_data
    from wtal_lib.runs.sweep import read_grid, sweep

    tasks = _tasks(read_grid(arguments.grid))
    data = open_data(tasks[0].spec)
    folder = (arguments.out or project_root() / "results") / data.source / data.dataset / "runs"
    options = {name: getattr(arguments, name) for name in ("workers", "scheduler", "device", "retry", "anew")}
    found = sweep(tasks, folder, **options, progress=lambda line: print(line, file=sys.stderr, flush=True))
    failed = [record for record in found if "error" in record]
    print(as_table(record["card"] for record in found if "card" in record))
    print(f"{len(found) - len(failed)} runs in {folder}")
    for record in failed:
        where = f"{record['preset']}, seed {record['seed']}: {record['error']}; traceback in {record['traceback_file']}"
        print(f"wtal sweep: {where}; --retry computes it again", file=sys.stderr)
    return 1 if failed else 0


def _tasks(values: dict[str, Any]) -> list[Any]:
    """The tasks of a grid; with ``questions``, those of the notebooks' tables instead of presets and changes."""
    from wtal_lib.runs.sweep import GRID, grid
    from wtal_lib.settings import coerced, unknown
    from wtal_lib.studies import ablation

    if "questions" not in values:
        return grid(values)
    world = {name: value for name, value in values.items() if name not in ("questions", "seeds")}
    for name in ("presets", "settings", "changes"):
        if name in world:
            raise ValueError(f"questions have {name} of their own; leave {name} out, or ask without questions")
    spec, seeds = grid(world)[0].spec, coerced(values.get("seeds", GRID["seeds"][1]), list[int], "seeds")
    about, seed = (spec.dataset, spec.profile), seeds[0]
    rows = {
        "main": ablation.presets(ablation.MAIN, *about, seeds),
        "steps": ablation.steps(*about, seeds),
        "thresholds": ablation.thresholds(*about, seed),
        "sides": ablation.sides(*about, seed),
        "difficulties": ablation.difficulties(*about, seeds),
    }
    asked = coerced(values["questions"], list[str], "questions")
    for name in asked:
        if name not in rows:
            raise ValueError(unknown(name, list(rows), "question"))
    return ablation.tasks([row for name in asked for row in rows[name]], spec)


def _results(arguments: argparse.Namespace) -> int:
    from wtal_lib.runs import records, results, store

    places = results.stores(arguments.place or records.project_root() / "results")
    if arguments.action == "list":
        runs = [one for place in places for one in store.cards(place)]
        print(json.dumps(runs, indent=1) if arguments.json else results.as_table(runs))
    elif arguments.action == "show":
        chosen = results.found(places, arguments.run_name)
        if len(chosen) > 1:
            raise ValueError(f"{arguments.run_name!r} are {len(chosen)} runs; `wtal results list` has their identities")
        record = store.read(chosen[0])
        print(json.dumps(record if arguments.all else _brief(record), indent=1))
    elif arguments.action == "compare":
        names = arguments.names or [""]
        print(results.compared(dict.fromkeys(path for name in names for path in results.found(places, name))))
    elif not arguments.what:
        print("\n".join(f"{name:12} {what}" for name, what in store.PRUNABLE.items()))
    else:
        method = records.method_digest()
        for place in places:
            for path in store.prune(place, arguments.what, method=method, remove=arguments.yes):
                print(path)
        if not arguments.yes:
            print("nothing was removed: --yes removes it", file=sys.stderr)
    return 0


def _brief(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what fills pages."""
    kept = {name: value for name, value in record.items() if name not in ("history", "code", "environment", "metrics")}
    metrics = {
        branch: {name: {key: one[key] for key in ("iou", "map", "means")} for name, one in scored.items()}
        for branch, scored in record["metrics"].items()
    }
    return {**kept, "metrics": metrics, "revision": record["code"]["revision"]}
