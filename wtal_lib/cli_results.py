"""``wtal results``: what is in a results store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

results = App("results", help="What is in a results store.")


def option(text: str, name: str | None = None, **options: Any) -> Parameter:
    """An option of a command with its help; empty defaults are not shown."""
    options["show_default"] = lambda value: None if value is False or value in ("", ()) else value
    return Parameter(name, help=text, negative=(), allow_repeating=True, **options)


Store = Annotated[Path | None, option("folder of results or one store, default results/", "--in")]


@results.command(name="list")
def list_runs(*, place: Store = None, as_json: Annotated[bool, option("a json list", "--json")] = False) -> None:
    """Each run: state, configuration, headline mAP."""
    from wtal_lib.runs import results

    runs = [card for store in results.stores(place) for card in results.cards(store)]
    print(json.dumps(runs, indent=1) if as_json else results.as_table(runs))


@results.command
def show(
    run: Annotated[str, option("identity of a run, or how it begins")],
    *,
    place: Store = None,
    everything: Annotated[bool, option("with history, packages and the AP of each class", "--all")] = False,
) -> None:
    """The record of one run, as json."""
    from wtal_lib.runs import results, store

    path, *others = results.found(results.stores(place), run)
    if others:
        raise ValueError(f"{run!r} are {len(others) + 1} runs; `wtal results list` has their identities")
    record = store.read(path)
    print(json.dumps(record if everything else results.summary(record), indent=1))


@results.command
def compare(*runs: Annotated[str, option("identities or presets; all runs when absent")], place: Store = None) -> None:
    """Means over seeds side by side, and the fields that differ."""
    from wtal_lib.runs import results

    stores = results.stores(place)
    print(results.compared(dict.fromkeys(path for name in runs or [""] for path in results.found(stores, name))))


@results.command
def prune(
    *what: Annotated[str, option("kinds of things; they are listed when absent")],
    place: Store = None,
    yes: Annotated[bool, option("remove it; without, only say what would go")] = False,
) -> None:
    """Remove what is no longer needed."""
    from wtal_lib.runs import results

    stores = results.stores(place)
    if not what:
        print("\n".join(f"{name:12} {meaning}" for name, meaning in results.PRUNABLE.items()))
    for path in (path for store in stores if what for path in results.prune(store, what, remove=yes)):
        print(path)
    if what and not yes:
        print("nothing was removed: --yes removes it", file=sys.stderr, flush=True)
