"""Train the presets and heads in packs that ``draw.py`` wrote, and print a row of a Markdown table for each pack.

    WTAL_DATA=data python tests/other_worlds/compare.py OUT [OUT ...] [--seeds 0 1 ...]

Mean mAP (%) of THUMOS14 at tIoU 0.1 to 0.7 (protocol thumos14-210-seconds) over the seeds of training. CBP alone is
trained on video labels, with our head and those of CoLA and CO2-Net; "snippet labels" is the supervised preset.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.method import preset
from wtal_lib.runs import Spec, open_data
from wtal_lib.runs.store import Store
from wtal_lib.runs.sweep import Task, sweep

PROTOCOL = "thumos14-210-seconds"
RUNS: tuple[tuple[str, dict[str, str]], ...] = (
    ("late_fusion", {}),
    ("late_fusion", {"cbp__head": "cola"}),
    ("late_fusion", {"cbp__head": "co2net"}),
    ("full", {}),
    ("paper", {}),
    ("supervised", {}),
)
"preset and what is changed in it"


def mean_map(records: list[dict[str, Any]], branch: str) -> float:
    """Mean over records and tIoU of a branch's mAP, in percent; RuntimeError for a run that failed."""
    for record in records:
        if "error" in record:
            raise RuntimeError(f"{record['preset']}, seed {record['seed']}: {record['error']}")
    return 100 * float(np.mean([record["metrics"][branch][PROTOCOL]["map"] for record in records]))


def row(pack: str, seeds: list[int]) -> str:
    """The table's row of a pack; FileNotFoundError where there is none."""
    data = Spec("thumos14", root=pack)
    if open_data(data).world is not None:
        raise FileNotFoundError(f"{pack}: expected a pack that draw.py wrote, but there is none; draw it first")
    tasks = [Task(preset(name, seed=seed, **change), data) for (name, change), seed in product(RUNS, seeds)]
    with tempfile.TemporaryDirectory() as folder:
        records = sweep(tasks, Store(Path(folder) / "records", Path(folder) / "cache"))
    late, cola, co2net, *others = (records[i : i + len(seeds)] for i in range(0, len(records), len(seeds)))
    alone = " / ".join(f"{mean_map(one, 'cbp'):.1f}" for one in (late, cola, co2net))
    return " | ".join([f"| {pack}", alone, *(f"{mean_map(one, 'fused'):.1f}" for one in (late, *others))]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", nargs="+", metavar="OUT")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    print("| pack | CBP alone: ours / CoLA / CO2-Net | late fusion | full | paper | snippet labels |")
    print("|---|---|---|---|---|---|", flush=True)
    for pack in given.packs:
        print(row(pack, given.seeds), flush=True)


if __name__ == "__main__":
    main()
