"""Tables of runs: scores by line, seed and protocol, what a change brings, training curves, and the published methods.

Scores are mAP in percent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from wtal_lib.data.datasets import get_dataset
from wtal_lib.studies.statistics import Interval, over_seeds_and_settings, over_videos_and_seeds, t_quantile

Record = Mapping[str, Any]

PAPER = ("Ju et al.", "CVPR 2023")
"The method this project is a companion to, among the published ones"
LINES: dict[str, tuple[str, str]] = {
    "vanilla VLP": ("vanilla_vlp", "vlp"),
    "CBP": ("late_fusion", "cbp"),
    "VLP": ("late_fusion", "vlp"),
    "late fusion": ("late_fusion", "fused"),
    "CBP, full": ("full", "cbp"),
    "VLP, full": ("full", "vlp"),
    "full": ("full", "fused"),
    "supervised CBP": ("supervised", "cbp"),
    "supervised VLP": ("supervised", "vlp"),
    "supervised": ("supervised", "fused"),
}
"Lines of the main table: preset and branch. The supervised lines, which see snippet labels, are an upper bound"
HEADS = {
    "vanilla VLP": "no training",
    "CBP": "video labels alone",
    "CBP, full": "and pseudo-labels",
    "supervised CBP": "snippet labels",
}
"What this line and those after it are trained on"


def published(dataset: str) -> pd.DataFrame:
    """The published methods of a dataset, oldest first: method, venue, year, extra, mAP by tIoU, their mean, code.

    Cells that a paper does not report are nan. ``extra`` marks methods that use more than the video labels. Sources:
    the comments at the top of ``wtal_lib/data/published/<dataset>.csv``. Empty for somebody's own dataset. Raises
    ValueError: an unknown dataset.
    """
    known = get_dataset(dataset)
    if known.path:
        return pd.DataFrame(columns=["method", "venue", "year", "extra", "mean", "code"])
    read = pd.read_csv(known.published, comment="#", keep_default_na=False, na_values=[""])
    names = {name: name.partition("@")[2] for name in read.columns if "@" in name}
    table = read.rename(columns={**names, "mAP_avg": "mean"})
    table["extra"] = table.pop("extra_information").eq("yes")
    table["venue"] = table["venue"] + " " + table["year"].astype(str)
    table["code"] = table["code"].fillna("")
    return table[["method", "venue", "year", "extra", *names.values(), "mean", "code"]]


def paper(dataset: str) -> pd.Series | None:
    """The published line of the paper that this project is a companion to; None where it reports nothing."""
    table = published(dataset)
    found = table[(table["method"] == PAPER[0]) & (table["venue"] == PAPER[1])]
    return found.iloc[0] if len(found) else None


def finished(records: Sequence[Record]) -> Sequence[Record]:
    """The records themselves, when every run has finished; ValueError with the error of one that failed."""
    if failed := [record for record in records if "metrics" not in record]:
        raise ValueError(
            f"{len(failed)} of {len(records)} runs failed, the first with: "
            f"{failed[0].get('error', 'no error recorded')} (traceback in "
            f"{failed[0].get('traceback_file', 'no file')}); run again, finished runs are kept"
        )
    return records


def score(record: Record, branch: str = "", protocol_name: str = "") -> dict[str, float]:
    """A run's mAP by tIoU, by the protocol's means, and ``mean``, the first; ValueError for what it does not have."""
    branch = branch or record["headline"]["branch"]
    name = protocol_name or record["headline"]["protocol"]
    by_branch = record["metrics"]
    if branch not in by_branch or name not in by_branch[branch]:
        known = {one: ", ".join(of) for one, of in by_branch.items()}
        raise ValueError(f"expected a branch and a protocol of {known}, got {branch!r} and {name!r}")
    scored = by_branch[branch][name]
    by_iou = {f"{iou:g}": 100 * value for iou, value in zip(scored["iou"], scored["map"], strict=True)}
    means = {f"mean {which}": 100 * value for which, value in scored["means"].items()}
    return {**by_iou, **means, "mean": next(iter(means.values()))}


def lines(records: Sequence[Record], protocol_name: str = "") -> pd.DataFrame:
    """The main table's :data:`LINES`, a row for each line and seed: line, seed, then :func:`score`."""
    return pd.DataFrame(
        {"line": line, "seed": record["seed"], **score(record, branch, protocol_name)}
        for line, (preset, branch) in LINES.items()
        for record in finished(records)
        if record["preset"] == preset
    )


def by_protocol(records: Sequence[Record]) -> pd.DataFrame:
    """The main table's lines under every protocol that the runs were scored with: protocol, line, seed, mean."""
    names = next(iter(finished(records)[0]["metrics"].values()))
    frames = [lines(records, name).assign(protocol=name) for name in names]
    return pd.concat(frames, ignore_index=True)[["protocol", "line", "seed", "mean"]]


def beside_paper(frame: pd.DataFrame, dataset: str, line: str = "full") -> pd.DataFrame:
    """One line of ours on real features, the published line of the paper, and the difference, by tIoU in both."""
    theirs = paper(dataset)
    if theirs is None:
        raise ValueError(f"the paper reports nothing on {dataset}, so nothing can stand beside it")
    columns = [name for name in frame.columns if name in theirs.index and pd.notna(theirs[name]) and name != "line"]
    own = frame[frame["line"] == line][columns].mean()
    rows = {line: own, f"{PAPER[0]}, {PAPER[1]}": theirs[columns], "difference": own - theirs[columns]}
    return pd.DataFrame(rows).T.astype(float).rename_axis("row").reset_index()


def over_seeds(frame: pd.DataFrame, by: str = "line") -> pd.DataFrame:
    """``mean ± standard deviation`` over the seeds of every score, as text, and the number of seeds; a row a group."""
    named = any(name.startswith("mean ") for name in frame.columns)  # the headline mean is then there by its own name
    scores = [name for name in frame.columns if name not in (by, "seed") and not (named and name == "mean")]
    groups = frame.groupby(by, sort=False)
    table = pd.DataFrame({name: groups[name].agg(plus_minus) for name in scores})
    return table.assign(seeds=groups["seed"].nunique()).reset_index()


def plus_minus(values: pd.Series | Sequence[float]) -> str:
    """``mean ± standard deviation`` (over n - 1); the value alone where there is one."""
    series = pd.Series(values, dtype=float)
    return f"{series.mean():.1f}" + (f" ± {series.std():.1f}" if len(series) > 1 else "")


def effects(
    frame: pd.DataFrame,
    base: str,
    by: str = "row",
    *,
    resampled: Mapping[str, Float[np.ndarray, "r s"]] | None = None,
    margin: float = math.nan,
) -> pd.DataFrame:
    """Each row's mean mAP beside that of ``base``: mean, sd, seeds, difference, low, high (95 % interval), verdict.

    Differences are paired by seed. The interval is over videos and seeds where ``resampled`` (of
    :func:`wtal_lib.studies.replay.resampled`) has both rows with several seeds, else over seeds; that of a single seed
    reaches ``margin`` to each side (:func:`usual_margin`). Raises ValueError: there is no row ``base``.
    """
    groups = _by_seed(frame, base, by)
    rows = []
    for name, values in groups.items():
        gains = (values - groups[base]).dropna()
        if len(gains) > 1 and resampled and {name, base} <= resampled.keys():
            interval = over_videos_and_seeds(resampled[name], resampled[base])
        else:
            interval = over_seeds_and_settings(gains.to_numpy()[:, None], margin)
        rows.append((name, values.mean(), values.std(), len(values), *interval, interval.verdict))
    table = pd.DataFrame(rows, columns=[by, "mean", "sd", "seeds", *Interval._fields, "verdict"])
    table.loc[table[by] == base, ["low", "high", "verdict"]] = math.nan, math.nan, "the base"
    return table


def usual_margin(frame: pd.DataFrame, base: str) -> float:
    """Half the 95 % interval of a difference that a single seed shows, by the spread of those over several; else nan.

    The spread is pooled over the rows. They share the base's runs, so that their variances are correlated (by 1/4 where
    all runs vary alike), and k rows have ``k (seeds - 1) / (1 + (k - 1) / 4)`` degrees of freedom.
    """
    groups = _by_seed(frame, base, "row")
    gains = [(values - groups[base]).dropna() for name, values in groups.items() if name != base]
    variances = [gain.var() for gain in gains if len(gain) > 1]
    if not variances:
        return math.nan
    rows, seeds = len(variances), max(map(len, gains))
    return t_quantile(rows * (seeds - 1) / (1 + (rows - 1) / 4)) * math.sqrt(sum(variances) / rows)


def _by_seed(frame: pd.DataFrame, base: str, by: str) -> dict[str, pd.Series]:
    """Mean mAP by seed of each row."""
    groups = {str(name): part.set_index("seed")["mean"] for name, part in frame.groupby(by, sort=False)}
    if base not in groups:
        raise ValueError(f"expected a row {base!r} to compare with, got {', '.join(groups)}")
    return groups


def gap_closed(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of the gap from late fusion to supervised that full closes, by seed; the mean last.

    nan where supervised is below either: it bounds nothing there.
    """
    table = frame.pivot_table(index="seed", columns="line", values="mean")[["late fusion", "full", "supervised"]]
    table.loc["mean"] = table.mean()
    gap = table["supervised"] - table["late fusion"]
    bound = (gap > 0) & (table["supervised"] >= table["full"])
    table["closed"] = (table["full"] - table["late fusion"]) / gap.where(bound)
    return table.rename_axis(columns=None).reset_index().astype({"seed": str})


def curve(records: Sequence[Record]) -> pd.DataFrame:
    """Test mAP after each phase: preset, seed, phase, updates (of both branches together), branch, map."""
    rows = [
        {**phase, "branch": branch, "map": 100 * value}
        for record in records
        for phase, entry in _phases(record)
        for branch, value in entry.get("map", {}).items()
    ]
    return pd.DataFrame(rows, columns=["preset", "seed", "phase", "updates", "branch", "map"])


def last_and_best(curves: pd.DataFrame) -> pd.DataFrame:
    """Of each preset, seed and branch the last mAP, which is the result, and the best on the test set: an oracle."""
    groups = curves.sort_values("updates", kind="stable").groupby(["preset", "branch", "seed"], sort=False)
    table = groups["map"].agg(last="last", best="max").reset_index()
    return table.assign(peeking=table["best"] - table["last"])


def pseudo_labels(records: Sequence[Record]) -> pd.DataFrame:
    """How right the pseudo-labels of each phase were: a row a run, phase, student and kind of label.

    Fractions: ``precision`` is right over given, ``recall`` right over there (snippets of that kind), ``share`` given
    and ``there`` over all snippets of the labelled classes; nan where there is nothing to divide by.
    """
    return pd.DataFrame(
        {**phase, "student": student, "kind": kind, **shares}
        for record in records
        for phase, entry in _phases(record)
        for student, counts in entry.get("pseudo_labels", {}).items()
        if counts
        for kind, shares in _shares(counts).items()
    )


def labels_overall(records: Sequence[Record]) -> pd.DataFrame:
    """The same over all phases and both students: a row a record, columns as ``foreground precision``."""
    rows = []
    for record in records:
        counts = [Counter(of) for entry in record["history"] for of in entry.get("pseudo_labels", {}).values()]
        total = sum(counts, Counter[str]())
        rows.append({f"{kind} {name}": value for kind, of in _shares(total).items() for name, value in of.items()})
    return pd.DataFrame(rows)


def _shares(counts: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """Precision, recall, share and there of each kind of label."""
    eligible, shares = counts["eligible"], {}
    for kind, there in {"foreground": counts["truth"], "background": eligible - counts["truth"]}.items():
        given, right = counts[kind], counts[f"{kind}_right"]
        parts = {"precision": (right, given), "recall": (right, there)}
        parts |= {"share": (given, eligible), "there": (there, eligible)}
        shares[kind] = {name: part / whole if whole else math.nan for name, (part, whole) in parts.items()}
    return shares


def _phases(record: Record) -> Iterator[tuple[dict[str, Any], Record]]:
    """Preset, seed, phase and updates of both branches together at its end, and the record's entry, of each phase."""
    total, reached = 0, {"cbp": 0, "vlp": 0}
    for entry in record["history"]:
        for student in {name.partition(".")[0] for name in entry["losses"]}:
            total += entry["updates"] - reached[student]
            reached[student] = entry["updates"]
        yield {"preset": record["preset"], "seed": record["seed"], "phase": entry["name"], "updates": total}, entry
