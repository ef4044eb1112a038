"""What the stores of a folder of results hold: runs listed, found by name, compared over their seeds, and pruned."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from filelock import Timeout
from tabulate import tabulate

from wtal_lib.runs.records import METHOD, flat, project_root
from wtal_lib.runs.store import WARMUP, Store, alone, read, state
from wtal_lib.settings import require_known, unknown

SETTINGS = ("source", "structure", "dataset", "setting", "preset", "profile", "changes")
COLUMNS = ("identity", "state", *SETTINGS, "seed", "map", "seconds")
"what a list shows of a run"
ALIKE = (*SETTINGS, "method", "device", "precision", "protocol", "branch")
"what runs have in common over which means are taken: all but the seed"
FEATURES = {
    "real": "real features", "simulated": "simulated features", "drawn": "simulated features over drawn annotations",
    "random-weights": "features of random weights, which mean nothing",
}  # fmt: skip


def stores(place: Path | None = None) -> list[Store]:
    """The stores in a folder of results (default ``results/``), or itself as one; FileNotFoundError for no folder."""
    place = place or project_root() / "results"
    found = sorted(path for path in place.glob("*/*/runs") if path.is_dir())
    if not found and not place.is_dir():
        raise FileNotFoundError(
            f"no results in {place}; give the folder that `wtal sweep --out` or a notebook wrote to"
        )
    return [Store.below(place, *path.parts[-3:-1]) for path in found] or [Store(place, place)]


def cards(store: Store) -> list[dict[str, Any]]:
    """The card of each run of a store with its ``state``; a run that is not finished has nothing else but its identity.

    Safe while others write. A record whose first line cannot be read is ``damaged``; :func:`read` looks at the rest.
    """
    places = [place for place in (store.records, store.cache) if place.is_dir()]
    names = {name.removesuffix(".json") for place in places for name in os.listdir(place)}
    return [_card(store, name) for name in sorted(names) if re.fullmatch("[0-9a-f]{16}", name)]


def _card(store: Store, identity: str) -> dict[str, Any]:
    for path in store.places(identity):
        with suppress(FileNotFoundError, NotADirectoryError), open(path, "rb") as file:
            try:
                return {**json.loads(file.readline().rstrip().rstrip(b",") + b"}")["card"], "state": "finished"}
            except (ValueError, LookupError, TypeError):
                return {"identity": identity, "state": "damaged"}
    return {"identity": identity, "state": state(store.cache / identity)}


def found(stores: Sequence[Store], name: str = "") -> list[Path]:
    """Records of the finished runs of a preset, or whose identity begins with ``name``; an error for none or many."""
    known = [(store, one) for store in stores for one in cards(store) if one["state"] == "finished"]
    if not known:
        raise FileNotFoundError(f"no finished run in {', '.join(str(store.records) for store in stores)}")
    chosen = [pair for pair in known if name in ("", pair[1]["preset"])]
    if not chosen:
        chosen = [pair for pair in known if pair[1]["identity"].startswith(name)]
        if len(chosen) > 1:
            names = ", ".join(one["identity"] for _, one in chosen[:5])
            raise ValueError(f"{name!r} begins {len(chosen)} identities: {names}, …")
    if not chosen:
        raise ValueError(unknown(name, sorted({one["preset"] for _, one in known}), "run or preset"))
    return [next(path for path in store.places(one["identity"]) if path.exists()) for store, one in chosen]


def as_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """Rows as aligned text under a header; the mAP in percent."""
    cells = [[_cell(name, row.get(name)) for name in columns] for row in rows]
    return tabulate(cells, columns, tablefmt="plain", disable_numparse=True)


def _cell(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={one}" for key, one in value.items())
    if isinstance(value, float):
        return f"{100 * value:.1f}" if name == "map" else f"{value:.0f}"
    return "" if value is None else str(value)


def compared(paths: Iterable[Path]) -> str:
    """Headline scores in records, as text: mean and standard deviation over seeds, and the fields that differ."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for run in map(read, paths):
        groups.setdefault(tuple(_cell(name, run["card"].get(name)) for name in ALIKE), []).append(run)
    rows = []
    for key, of in groups.items():
        scored = [run["metrics"][run["headline"]["branch"]][run["headline"]["protocol"]] for run in of]
        rows.append({**dict(zip(ALIKE, key, strict=True)), "n": str(len(of)), **_scores(scored)})
    varied = [name for name in ALIKE if len({row[name] for row in rows}) > 1] or ["preset"]
    alike = "  ".join(f"{name} {rows[0][name]}" for name in ALIKE if rows[0][name] and name not in varied)
    columns = [*varied, *dict.fromkeys(name for row in rows for name in row if name not in ALIKE)]
    configs = [(i, flat(run["config"])) for i, of in enumerate(groups.values()) for run in of]
    fields = pd.DataFrame([{key: str(value) for key, value in config.items()} for _, config in configs])
    each = fields.groupby([i for i, _ in configs]).agg(
        lambda values: values.iloc[0] if values.nunique() == 1 else "various"
    )
    differ = [f"{name}: {' | '.join(each[name])}" for name in each if each[name].nunique() > 1]
    return "\n".join([alike, as_table(rows, columns), *differ])


def _scores(scored: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Mean AP over runs by threshold and mean, percent."""
    columns = {f"@{iou:g}": [one["map"][i] for one in scored] for i, iou in enumerate(scored[0]["iou"])}
    row = {name: f"{100 * fmean(values):.1f}" for name, values in columns.items()}
    for mean in scored[0]["means"]:
        values = [100 * one["means"][mean] for one in scored]
        row[mean] = f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")
    return row


def as_text(record: Mapping[str, Any]) -> str:
    """A record's scores as a table: a row for each branch and protocol, in percent, with what they rest on above it."""
    bound = "; trained on snippet labels: an upper bound, not a result" if record["uses_snippet_labels"] else ""
    scored = [(branch, name, one) for branch, of in record["metrics"].items() for name, one in of.items()]
    rows = [{"branch": branch, "protocol": name, **_scores([one])} for branch, name, one in scored]
    head = f"{record['preset']}, seed {record['seed']}, {FEATURES[record['source']]}{bound}"
    return f"{head}\n{as_table(rows, list(rows[0]))}"


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without its history, packages and the AP of each class."""
    metrics = {
        branch: {name: {key: one[key] for key in ("iou", "map", "means")} for name, one in protocols.items()}
        for branch, protocols in record["metrics"].items()
    }
    rest = {name: value for name, value in record.items() if name not in ("history", "code", "environment")}
    return {**rest, "metrics": metrics, "revision": record["code"]["revision"]}


PRUNABLE = {
    "leftovers": "what killed processes left half-written",
    "damaged": "damaged records and checkpoints that were set aside, and records that do not match their checksum",
    "failed": "runs that failed",
    "unfinished": "runs that were begun and not finished, with their checkpoints",
    "superseded": "finished runs of another version of the method",
    "checkpoints": "networks of finished runs: they can no longer be applied to other videos",
    "warmups": "beginnings that several runs share: the next one computes its own again",
}
"What :func:`prune` can remove"


def prune(store: Store, what: Collection[str], *, remove: bool = False) -> list[Path]:
    """What ``what`` (of :data:`PRUNABLE`) names in a store, but for runs in progress; gone if ``remove`` is true."""
    for name in what:
        require_known(name, PRUNABLE, "kind of thing to prune")
    gone: list[Path] = []
    for folder, kind, path in _prunable(store, "damaged" in what):
        if kind not in what or folder in gone:
            continue
        if remove:
            try:
                with alone(folder, wait=False):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
            except Timeout:  # somebody has just begun it
                continue
        gone.append(path)
    return gone


def _prunable(store: Store, whole: bool) -> Iterator[tuple[Path, str, Path]]:
    """Folder, kind and path of all that can be removed, whole runs first; records are read to the end if ``whole``."""
    for one in cards(store):
        folder = store.cache / one["identity"]
        records = [path for path in store.places(one["identity"]) if path.exists()]
        patterns = {".*.part": "leftovers", "*.damaged": "damaged"}
        if one["state"] == "running":
            continue
        if one["state"] in PRUNABLE:
            yield folder, one["state"], folder
        if one["state"] == "finished":
            patterns["*.safetensors"] = "checkpoints"
            others = one["method"] != METHOD
            yield from ((folder, "superseded", path) for path in (*records[:1], folder) if others and path.exists())
        yield from ((folder, kind, path) for pattern, kind in patterns.items() for path in folder.glob(pattern))
        for path in records if whole else ():
            try:
                read(path)
            except ValueError:
                yield folder, "damaged", path
    for folder in sorted(store.cache.glob(f"{WARMUP}*")):
        if state(folder) != "running":
            yield folder, "warmups", folder
