"""What a results store holds, as text: runs listed, found by name, compared over their seeds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from wtal_lib.runs.store import cards, flat, read
from wtal_lib.settings import unknown


def stores(place: Path) -> list[Path]:
    """The stores in a folder of results (``<source>/<dataset>/runs``), or the folder itself, which is one.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(path for path in place.glob("*/*/runs") if path.is_dir())
    if not found and not place.is_dir():
        raise FileNotFoundError(
            f"no results in {place}; give the folder that `wtal sweep --out` or a notebook wrote to"
        )
    return found or [place]


COLUMNS = (
    "identity",
    "state",
    "source",
    "dataset",
    "setting",
    "preset",
    "profile",
    "changes",
    "seed",
    "map",
    "seconds",
)


def as_table(runs: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """Runs as aligned text, a line each under a header; fractions in percent."""
    rows = [list(columns), *([_cell(name, run.get(name)) for name in columns] for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, float):
        return f"{100 * value:.1f}" if name == "map" else f"{value:.0f}"
    return "" if value is None else str(value)


def found(places: Sequence[Path], name: str = "") -> list[Path]:
    """Folders of the finished runs that a name stands for: all of a preset, or the one whose identity begins with it.

    Raises:
        ValueError: nothing, or several runs that are no preset's, go by that name.
        FileNotFoundError: there is no finished run at all.
    """
    known = {place / one["identity"]: one for place in places for one in cards(place) if one["state"] == "finished"}
    if not known:
        raise FileNotFoundError(f"no finished run in {', '.join(map(str, places))}")
    chosen = [path for path, one in known.items() if name in ("", one["preset"])]
    if not chosen:
        chosen = [path for path in known if path.name.startswith(name)]
        if len(chosen) > 1:
            raise ValueError(f"{name!r} begins {len(chosen)} identities: {', '.join(p.name for p in chosen[:5])}, …")
    if not chosen:
        raise ValueError(unknown(name, sorted({one["preset"] for one in known.values()}), "run or preset"))
    return chosen


GROUP = ("source", "dataset", "setting", "preset", "profile", "changes", "method", "protocol", "branch")
"what runs have in common of which means are taken: all but the seed"


def compared(folders: Iterable[Path]) -> str:
    """Text: the headline scores of runs, mean over seeds with standard deviation, and the fields in which they differ.

    Raises:
        ValueError, FileNotFoundError: as :func:`read`.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for record in map(read, folders):
        groups.setdefault(json.dumps([record["card"][name] for name in GROUP]), []).append(record)
    keys = [dict(zip(GROUP, json.loads(key), strict=True)) for key in groups]
    varied = [name for name in GROUP if len({json.dumps(key[name]) for key in keys}) > 1] or ["preset"]
    rows = [{**key, **_scores(runs)} for key, runs in zip(keys, groups.values(), strict=True)]
    columns = [*varied, *(name for name in dict.fromkeys(name for row in rows for name in row) if name not in GROUP)]
    alike = "  ".join(f"{name} {_cell(name, keys[0][name])}" for name in GROUP if name not in varied and keys[0][name])
    each = [_common(runs) for runs in groups.values()]
    differ = {name: [str(one.get(name, "various")) for one in each] for name in each[0]}
    lines = [f"{name}: {' | '.join(values)}" for name, values in differ.items() if len(set(values)) > 1]
    return "\n".join([alike, as_table(rows, columns), *lines])


def _scores(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of a group of runs, in percent."""
    scored = [run["metrics"][run["headline"]["branch"]][run["headline"]["protocol"]] for run in runs]
    row: dict[str, Any] = {"n": len(runs)}
    for i, threshold in enumerate(scored[0]["iou"]):
        row[f"@{threshold:g}"] = f"{100 * fmean(one['map'][i] for one in scored):.1f}"
    for mean in scored[0]["means"]:
        values = [100 * one["means"][mean] for one in scored]
        row[mean] = f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
    return row


def _common(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Fields of the configuration that all runs of a group share."""
    each = [flat(run["config"]) for run in runs]
    return {name: value for name, value in each[0].items() if all(one[name] == value for one in each)}


def as_text(record: dict[str, Any]) -> str:
    """A record's scores as a table: a row for each branch and protocol, in percent, with what they rest on above it."""
    features = "simulated features" if record["source"] == "simulated" else "real features"
    bound = "; trained on snippet labels: an upper bound, not a result" if record["uses_snippet_labels"] else ""
    lines = [f"{record['preset']}, seed {record['seed']}, {features}{bound}"]
    for branch, scored in record["metrics"].items():
        for name, one in scored.items():
            means = "  ".join(f"{mean} {100 * value:5.2f}" for mean, value in one["means"].items())
            at = " ".join(f"{100 * value:5.1f}" for value in one["map"])
            lines.append(f"{branch:5}  {name:31}  {at}   {means}")
    return "\n".join(lines)
