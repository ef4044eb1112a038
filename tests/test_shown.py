"""What a reader sees of a study: tables in plain words, stamps that no cropping takes away, a banner at profile ci."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns

from wtal_lib.studies.shown import as_markdown
from wtal_lib.studies.study import Study, open_study

FRAME = pd.DataFrame({"class": ["a", "b"], "n": [1, 2000]})


pytestmark = pytest.mark.usefixtures("nothing_on_this_disk")


def opened(folder: Path, profile: str = "ci") -> Study:
    return open_study("probe", {"profile": profile, "results": str(folder)})


def test_a_table_is_for_readers_without_index_nan_or_underscores(tmp_path: Path) -> None:
    frame = pd.DataFrame({"preset_name": ["late_fusion", "full"], "mAP": [50.0, np.nan], "year": [2023, 2024]})
    page = opened(tmp_path).table("sums", frame)._repr_html_()  # type: ignore[operator]
    assert "<td>late fusion</td>" in page
    assert "<th>preset name</th>" in page
    assert "NaN" not in page
    assert "<th>0</th>" not in page
    assert "| 2023 " in as_markdown(frame)


def test_the_stamp_and_the_watermark_lie_over_the_data(tmp_path: Path) -> None:
    axes = plt.subplots(1, 2, width_ratios=[3, 1], layout="constrained")[1]
    for ax in axes:
        ax.bar([0, 1], [1, 1], width=1.0)
    one = opened(tmp_path)
    one.figure("bars", list(axes), FRAME)
    texts = {ax: [text for text in ax.texts if text.get_text().replace("\n", " · ") == one.stamp()] for ax in axes}
    assert [len(of) for of in texts.values()] == [1, 0], "in the largest axes alone"
    (stamp,) = texts[axes[0]]
    box, frame = stamp.get_window_extent(), axes[0].get_window_extent()
    assert frame.x0 <= box.x0 < box.x1 <= frame.x1
    marks = [text for ax in axes for text in ax.texts if text.get_text() == "SIMULATED"]
    assert len(marks) == 2
    assert min(text.get_zorder() for text in marks) > max(bar.get_zorder() for ax in axes for bar in ax.patches)


def test_the_stamp_keeps_off_the_data(tmp_path: Path) -> None:
    ax = plt.subplots(layout="constrained")[1]
    ax.barh([3, 2], [1, 1], height=1.0)  # the upper half of the axes, from edge to edge
    ax.set(ylim=(-0.5, 3.5), xlim=(0, 1))
    one = opened(tmp_path)
    one.figure("bars", ax, FRAME)
    (stamp,) = [text for text in ax.texts if text.get_text().replace("\n", " · ") == one.stamp()]
    box = stamp.get_window_extent()
    assert not any(box.overlaps(bar.get_window_extent()) for bar in ax.patches)


def test_the_stamp_hides_no_number_of_a_heat_map(tmp_path: Path) -> None:
    ax = plt.subplots(figsize=(4, 2.5), layout="constrained")[1]
    sns.heatmap(
        pd.DataFrame([[44.8], [43.6], [44.0], [44.0], [44.9], [44.4]]),
        annot=True,
        fmt=".1f",
        center=44.8,
        cmap="RdBu",
        ax=ax,
    )
    numbers, one = list(ax.texts), opened(tmp_path)
    one.figure("cells", ax, FRAME)
    (stamp,) = [text for text in ax.texts if text.get_text().replace("\n", " · ") == one.stamp()]
    box = stamp.get_window_extent()
    assert not any(box.overlaps(number.get_window_extent()) for number in numbers)


def test_at_profile_ci_a_banner_says_that_no_number_means_anything(tmp_path: Path) -> None:
    one = opened(tmp_path)
    assert "Profile ci" in repr(one).splitlines()[0]
    assert "Profile ci" in one._repr_html_()
    assert "Profile ci" not in opened(tmp_path, profile="quick")._repr_html_()
