"""The README's picture and table of scores, made from the committed results, so that no number is copied by hand."""

from __future__ import annotations

import io
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from wtal_lib.data.files import replacing
from wtal_lib.data.segments import runs
from wtal_lib.figures.style import FULL_WIDTH, LINE_COLOURS, theme
from wtal_lib.figures.training import dot_plot
from wtal_lib.figures.video import branches_over_truth

PLACE = "results/simulated/thumos14"
BLOCK = re.compile(r"(<!-- numbers: .*? -->\n).*?(<!-- /numbers -->)", re.DOTALL)
"The part of README.md that is written here"
ROWS = {
    "vanilla VLP: no training": ("", "vanilla VLP", ""),
    "late fusion: each branch on the video labels alone": ("CBP", "VLP", "late fusion"),
    "`full`: the paper's rule, background in B, foreground in F": ("CBP, full", "VLP, full", "full"),
    "`mutual`: both kinds of label in both steps (three seeds)": ("mutual CBP", "mutual VLP", "mutual"),
    "supervised: snippet labels, an upper bound": ("supervised CBP", "supervised VLP", "supervised"),
}
"Rows of the table, and the lines of 02_main_results that they show"


def update(root: Path) -> None:
    """Write table and picture anew into README.md and :data:`PLACE`, where what they are made from is there."""
    place, page = root / PLACE, root / "README.md"
    if (place / "02_main_results/main.csv").is_file() and page.is_file():
        text = page.read_text(encoding="utf-8")
        with replacing(page) as file:
            file.write(BLOCK.sub(lambda found: found[1] + table(place) + found[2], text).encode())
        seen = pd.read_csv(place / "04_complementarity/one_video.csv")
        if "truth" in seen:
            with replacing(place / "overview.png") as file:
                file.write(picture(seen, pd.read_csv(place / "02_main_results/main.csv")))


def table(place: Path) -> str:
    """The scores of :data:`ROWS` as Markdown, and what the full method gains in held-out worlds."""
    mean = pd.read_csv(place / "02_main_results/main.csv").groupby("line")["mean"].mean()
    for branch, value in pd.read_csv(place / "03_ablation/branches.csv").set_index("row").loc["mutual"].items():
        mean[f"mutual {branch}".removesuffix(" fused")] = value
    stamp = re.findall("<sub>(.*)</sub>", (place / "02_main_results/main.md").read_text(encoding="utf-8"))[0]
    lines = [f"| {stamp}: mean mAP (%) | CBP | VLP | fused |", "|---|---:|---:|---:|"]
    for row, names in ROWS.items():
        lines.append(f"| {row} | " + " | ".join(f"{mean[name]:.1f}" if name else "" for name in names) + " |")
    effect = pd.read_csv(place / "02_main_results/effect.csv").set_index("line").loc["full"]
    gain = "`full` over late fusion, 95 % interval over videos and seeds"
    lines.append(f"| {gain} | | | {effect['difference']:+.1f} [{effect['low']:+.1f}, {effect['high']:+.1f}] |")
    worlds = pd.read_csv(place / "03_ablation/worlds.csv")
    drawn = worlds[(worlds["row"] == "full") & worlds["world"].str.startswith("drawn")]["difference"]
    each = ", ".join(f"{one:+.1f}" for one in drawn)
    lines.append(
        f"| the same in {len(drawn)} held-out worlds, [one by one]({PLACE}/03_ablation/worlds.md) | | | {each} |"
    )
    return "\n".join([*lines, *_elsewhere(place.with_name("activitynet12") / "02_main_results")]) + "\n"


def _elsewhere(place: Path) -> list[str]:
    """Lines of late fusion and of the full method on ActivityNet1.2, and their difference; none without results."""
    if not (place / "main.csv").is_file():
        return []
    mean = pd.read_csv(place / "main.csv").groupby("line")["mean"].mean()
    effect = pd.read_csv(place / "effect.csv").set_index("line").loc["full"]
    lines = [
        f"| **ActivityNet1.2**, {row} | {' | '.join(f'{mean[name]:.1f}' for name in ROWS[of])} |"
        for row, of in zip(("late fusion", "`full`"), [*ROWS][1:3], strict=True)
    ]
    gain = f"{effect['difference']:+.1f} [{effect['low']:+.1f}, {effect['high']:+.1f}]"
    return [*lines, f"| **ActivityNet1.2**, `full` over late fusion (tIoU 0.5 to 0.95) | | | {gain} |"]


def picture(seen: pd.DataFrame, scores: pd.DataFrame) -> bytes:
    """What the branches take for action in one video, beside what each scores on all of them; PNG.

    ``seen`` has the columns start (s), truth and a curve a branch; ``scores`` line and mean (mAP in percent).
    """
    theme()
    step = float(seen["start"].iloc[1])
    figure, (left, right) = plt.subplots(1, 2, figsize=(1.5 * FULL_WIDTH, 3.4), width_ratios=[1.9, 1])
    names = {
        "CBP": "CBP\nfinds too little",
        "vanilla VLP": "vanilla VLP\nfinds too much",
        "full": "both, after\nteaching",
    }
    curves = {title: seen[name].to_numpy() for name, title in names.items()}
    branches_over_truth(runs(seen["truth"].to_numpy(dtype=bool)) * step, curves, step, dict.fromkeys(curves, 0.5), left)
    lines = ["vanilla VLP", "CBP", "VLP", "late fusion", "full"]
    by_line = {line: scores.loc[scores["line"] == line, "mean"].tolist() for line in lines}
    heads = {"vanilla VLP": "no training", "CBP": "video labels alone", "full": "teaching each other"}
    dot_plot(by_line, colours=LINE_COLOURS, heads=heads, base="late fusion", ax=right)
    mean = scores.groupby("line")["mean"].mean()
    right.margins(x=0.2)
    gain = f"{mean['full'] - mean['late fusion']:+.1f} points over late fusion"
    right.set_title(gain)
    right.text(0.02, 0.02, "SIMULATED features", transform=right.transAxes, weight="bold", color="#B00020")
    left.set_title("SIMULATED features, one usual video", loc="right", color="#B00020")
    held = io.BytesIO()
    figure.savefig(held, format="png", dpi=130, metadata={"Software": None})
    plt.close(figure)
    return held.getvalue()
