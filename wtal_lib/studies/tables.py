"""Tables: our runs with their spread over seeds, what a change brings, and the published methods beside them.

Scores are mAP in percent. A difference that lies inside the spread over seeds is called none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from wtal_lib.data.datasets import get_dataset, protocol

PAPER = ("Ju et al.", "CVPR 2023")
"The method this project is a companion to, among the published ones"

LINES: dict[str, tuple[str, str]] = {
    "vanilla VLP": ("vanilla_vlp", "vlp"),
    "CBP": ("late_fusion", "cbp"),
    "VLP": ("late_fusion", "vlp"),
    "late fusion": ("late_fusion", "fused"),
    "CBP, taught": ("full", "cbp"),
    "VLP, taught": ("full", "vlp"),
    "full": ("full", "fused"),
    "supervised CBP": ("supervised", "cbp"),
    "supervised VLP": ("supervised", "vlp"),
    "supervised": ("supervised", "fused"),
}
"""The lines of the main table: preset and branch. CBP, VLP and their late fusion are one training on the video labels;
the supervised lines see the snippet labels that the method may not see: they bound it, and are no result."""


HEADS = {
    "vanilla VLP": "no training",
    "CBP": "video labels alone",
    "CBP, taught": "taught in turn",
    "supervised CBP": "snippet labels: a bound",
}
"What the lines from here on have learnt from"


def published(dataset: str) -> pd.DataFrame:
    """The published methods of a dataset, oldest first: method, venue, extra, mAP by tIoU, their mean, code.

    Cells that a paper does not report are empty (nan). ``extra`` marks methods that use more than the video labels.
    Source: the comments at the top of ``wtal_lib/data/published/<dataset>.csv``.

    Raises:
        ValueError: an unknown dataset.
    """
    read = pd.read_csv(get_dataset(dataset).published, comment="#", keep_default_na=False, na_values=[""])
    names = {name: name.partition("@")[2] for name in read.columns if "@" in name}
    table = read.rename(columns={**names, "mAP_avg": "mean"})
    table["extra"] = table.pop("extra_information").eq("yes")
    table["venue"] = table["venue"] + " " + table["year"].astype(str)
    table["code"] = table["code"].fillna("")
    return table[["method", "venue", "year", "extra", *names.values(), "mean", "code"]]


def paper(dataset: str) -> pd.Series:
    """The published line of the paper that this project is a companion to."""
    table = published(dataset)
    return table[(table["method"] == PAPER[0]) & (table["venue"] == PAPER[1])].iloc[0]


def finished(records: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The records themselves, when every run has finished.

    Raises:
        ValueError: a run failed; with its error and the file that holds its traceback.
    """
    failed = [record for record in records if "metrics" not in record]
    if failed:
        first = failed[0]
        raise ValueError(
            f"{len(failed)} of {len(records)} runs failed, the first with: {first.get('error', 'no error recorded')}"
            f" (traceback in {first.get('traceback_file', 'no file')}); run again, finished runs are kept"
        )
    return records


def score(record: Mapping[str, Any], branch: str = "", protocol_name: str = "") -> dict[str, float]:
    """One run's mAP under a protocol, percent: by tIoU, then the protocol's own means, its headline mean as ``mean``.

    Without names, the branch and the protocol that the record calls its headline.

    Raises:
        ValueError: the record does not have that branch or protocol; with those it has.
    """
    branch = branch or record["headline"]["branch"]
    name = protocol_name or get_dataset(record["config"]["dataset"]).headline.name
    by_branch = record["metrics"]
    if branch not in by_branch or name not in by_branch[branch]:
        known = {one: ", ".join(of) for one, of in by_branch.items()}
        raise ValueError(f"expected a branch and a protocol of {known}, got {branch!r} and {name!r}")
    scored = by_branch[branch][name]
    by_iou = {f"{iou:g}": 100 * value for iou, value in zip(scored["iou"], scored["map"], strict=True)}
    means = {f"mean {which}": 100 * value for which, value in scored["means"].items()}
    return {**by_iou, **means, "mean": 100 * scored["means"][protocol(name).means[0][0]]}


def lines(records: Sequence[Mapping[str, Any]], protocol_name: str = "") -> pd.DataFrame:
    """The main table's :data:`LINES`, a row for each line and seed: line, seed, then :func:`score`."""
    rows = [
        {"line": line, "seed": record["seed"], **score(record, branch, protocol_name)}
        for line, (preset, branch) in LINES.items()
        for record in finished(records)
        if record["preset"] == preset
    ]
    return pd.DataFrame(rows)


def by_protocol(records: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The main table's lines under every protocol that the runs were scored with: protocol, line, seed, mean."""
    names = next(iter(finished(records)[0]["metrics"].values()))
    frames = [lines(records, name)[["line", "seed", "mean"]].assign(protocol=name) for name in names]
    return pd.concat(frames, ignore_index=True)[["protocol", "line", "seed", "mean"]]


def beside_paper(frame: pd.DataFrame, dataset: str, line: str = "full") -> pd.DataFrame:
    """Our line, the published line of the paper, and the difference, at every tIoU that both report.

    Only for runs on real features: a score on simulated ones has no place beside a published one.
    """
    theirs = paper(dataset)
    columns = [name for name in frame.columns if name in theirs.index and pd.notna(theirs[name]) and name != "line"]
    own = frame[frame["line"] == line][columns].mean()
    rows = {"ours": own, f"{PAPER[0]}, {PAPER[1]}": theirs[columns], "difference": own - theirs[columns]}
    return pd.DataFrame(rows).T.astype(float).rename_axis("row").reset_index()


def over_seeds(frame: pd.DataFrame, by: str = "line", digits: int = 1) -> pd.DataFrame:
    """``mean ± standard deviation`` over the seeds of every score, as text, and the number of seeds; a row a group."""
    named = any(name.startswith("mean ") for name in frame.columns)  # the headline mean is then there by its own name
    scores = [name for name in frame.columns if name not in (by, "seed") and not (named and name == "mean")]
    groups = frame.groupby(by, sort=False)
    table = pd.DataFrame({name: groups[name].agg(lambda part: plus_minus(part, digits)) for name in scores})
    return table.assign(seeds=groups["seed"].nunique()).reset_index()


def plus_minus(values: pd.Series | Sequence[float], digits: int = 1) -> str:
    """``mean ± standard deviation`` (over n - 1); the value alone where there is one."""
    series = pd.Series(values, dtype=float)
    text = f"{series.mean():.{digits}f}"
    return text if len(series) < 2 else f"{text} ± {series.std():.{digits}f}"


def effects(frame: pd.DataFrame, base: str, by: str = "row", spread: float = math.nan) -> pd.DataFrame:
    """What each row's mean mAP is beside that of ``base``: mean, sd, seeds, difference, spread, and what to call it.

    ``difference`` is the mean over the seeds that both rows have, ``spread`` its standard deviation over them: runs of
    one seed start alike and see the same batches. Where a row has a single seed it is the ``spread`` given. A
    difference inside it is called "none".

    Raises:
        ValueError: there is no row ``base``.
    """
    groups = {str(name): part.set_index("seed")["mean"] for name, part in frame.groupby(by, sort=False)}
    if base not in groups:
        raise ValueError(f"expected a row {base!r} to compare with, got {', '.join(groups)}")
    rows = []
    for name, values in groups.items():
        gains = (values - groups[base]).dropna()
        own = gains.std()
        within = spread if math.isnan(own) else own
        rows.append(
            (name, values.mean(), values.std(), len(values), gains.mean(), within, verdict(gains.mean(), within))
        )
    table = pd.DataFrame(rows, columns=[by, "mean", "sd", "seeds", "difference", "spread", "verdict"])
    table.loc[table[by] == base, ["spread", "verdict"]] = math.nan, "the base"
    return table


def usual_spread(table: pd.DataFrame) -> float:
    """The spread of the differences in a table of :func:`effects`, root mean square over its rows; nan for one seed."""
    return math.sqrt(table["spread"].pow(2).mean())


def verdict(difference: float, spread: float) -> str:
    """``better``, ``worse``, or ``none`` for a difference inside the spread; ``unknown`` where either is (nan)."""
    if math.isnan(difference) or math.isnan(spread):
        return "unknown"
    return "none" if abs(difference) <= spread else "better" if difference > 0 else "worse"


def gap_closed(
    frame: pd.DataFrame, low: str = "late fusion", ours: str = "full", high: str = "supervised"
) -> pd.DataFrame:
    """Of each seed, the share of the gap between two lines' means that a third one closes; its mean in the last row.

    A bound that does not lie above the low line leaves nothing to close (nan).
    """
    table = frame[frame["line"].isin([low, ours, high])].pivot_table(index="seed", columns="line", values="mean")
    table = table[[low, ours, high]].reset_index().astype({"seed": str})
    average = {"seed": "mean", **table[[low, ours, high]].mean().to_dict()}
    table = pd.concat([table, pd.DataFrame([average])], ignore_index=True)
    gap = table[high] - table[low]
    table["closed"] = ((table[ours] - table[low]) / gap.where(gap > 0)).astype(float)
    return table.rename_axis(columns=None)
