"""What a run's record says of its training, as frames: test mAP by update, and how right its pseudo-labels were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

Record = Mapping[str, Any]


def curve(records: Sequence[Record]) -> pd.DataFrame:
    """Test mAP after each phase: preset, seed, phase, updates, branch, mean mAP (percent).

    ``updates`` counts those of both branches together, so that a schedule of turns and one side by side compare at
    equal work. Records without a curve give no rows.
    """
    rows = [
        (record["preset"], record["seed"], entry["name"], updates, branch, 100 * value)
        for record in records
        for updates, entry in _counted(record)
        for branch, value in entry.get("map", {}).items()
    ]
    return pd.DataFrame(rows, columns=["preset", "seed", "phase", "updates", "branch", "map"])


def last_and_best(curves: pd.DataFrame) -> pd.DataFrame:
    """Of each preset, seed and branch the last mAP, which is the result, and the best on the test set: an oracle.

    The oracle peeks at the test set, at as many looks as there are phases; it is never a result.
    """
    groups = curves.sort_values("updates", kind="stable").groupby(["preset", "branch", "seed"], sort=False)
    table = groups["map"].agg(last="last", best="max").reset_index()
    return table.assign(peeking=table["best"] - table["last"])


def pseudo_labels(records: Sequence[Record]) -> pd.DataFrame:
    """How right the pseudo-labels of each phase were, as fractions: a row a run, phase, student and kind of label.

    ``precision`` is right over given, ``recall`` right over what there is, ``share`` given over all snippets of the
    labelled classes; nan where there is nothing to divide by.
    """
    rows = []
    for record in records:
        for updates, entry in _counted(record):
            for student, counts in entry.get("pseudo_labels", {}).items():
                if not counts:
                    continue
                there = {"foreground": counts["truth"], "background": counts["eligible"] - counts["truth"]}
                for kind, present in there.items():
                    given, right = counts[kind], counts[f"{kind}_right"]
                    shares = (_share(right, given), _share(right, present), _share(given, counts["eligible"]))
                    rows.append((record["preset"], record["seed"], entry["name"], updates, student, kind, *shares))
    columns = ["preset", "seed", "phase", "updates", "student", "kind", "precision", "recall", "share"]
    return pd.DataFrame(rows, columns=columns)


def labels_overall(records: Sequence[Record]) -> pd.DataFrame:
    """Precision, recall and share of all pseudo-labels of a run, either kind: a row a record, as fractions."""
    rows = []
    for record in records:
        total: Counter[str] = Counter()
        for entry in record["history"]:
            for counts in entry.get("pseudo_labels", {}).values():
                total.update(counts)
        there = {"foreground": total["truth"], "background": total["eligible"] - total["truth"]}
        row: dict[str, float] = {}
        for kind, present in there.items():
            given, right = total[kind], total[f"{kind}_right"]
            row |= {f"{kind} precision": _share(right, given), f"{kind} recall": _share(right, present)}
            row |= {
                f"{kind} share": _share(given, total["eligible"]),
                f"{kind} there": _share(present, total["eligible"]),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _counted(record: Record) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The phases of a run, each with the updates of both branches together at its end."""
    total, reached = 0, {"cbp": 0, "vlp": 0}
    for entry in record["history"]:
        students = {name.partition(".")[0] for name in entry["losses"]}
        for student in students:
            total += entry["updates"] - reached[student]
            reached[student] = entry["updates"]
        yield total, entry


def _share(part: int, whole: int) -> float:
    return part / whole if whole else np.nan
