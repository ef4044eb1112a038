"""Localization against a plain reference, against numbers by hand, and at the ends of a video."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from wtal_lib.data.proposals import oic, proposals, upsampled
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.method.config import Config, Localize
from wtal_lib.method.localize import VideoScores, localize, min_max, selected
from wtal_lib.method.predict import fuse
from wtal_lib.settings import replaced

SECONDS = Grid(fps=1, stride=1)
PLAIN = Localize(thresholds=1, low=0.5, high=0.5, nms="none", video_weight=0.0)


def video_of(score_t, name="v", video_c=(1.0,)) -> VideoScores:
    activation = np.atleast_2d(np.asarray(score_t, np.float32)).T
    return VideoScores(name, activation, np.ones(len(activation), np.float32), np.asarray(video_c, np.float32))


def rows(detections) -> list[tuple]:
    columns = (detections.video_n, detections.label_n, detections.segment_n2, detections.score_n)
    return [(int(v), int(c), *map(float, s), float(p)) for v, c, s, p in zip(*columns, strict=True)]


def plain_one(scores: VideoScores, config: Localize) -> list[tuple]:
    """(label, start, stop, score) in snippets, best first, by loops over classes, levels and cells."""
    found = []
    video_c = [float(p) for p in scores.video_c]
    for c in range(len(video_c)):
        if not (video_c[c] >= config.class_threshold or c == video_c.index(max(video_c))):
            continue
        cells, u, t = [], config.upsample, len(scores.attention_t)
        for j in range(t * u):
            at = min(max((j + 0.5) / u - 0.5, 0), t - 1)
            left, right = int(at), min(int(at) + 1, t - 1)
            part = at - left
            cells.append(float(scores.cas_tc[left, c]) * (1 - part) + float(scores.cas_tc[right, c]) * part)
        ranges = set()
        for share in np.linspace(config.low, config.high, config.thresholds):
            level, start = min(cells) + share * (max(cells) - min(cells)), None
            for j, value in enumerate([*cells, -math.inf]):
                if value >= level and start is None:
                    start = j
                elif value < level and start is not None:
                    ranges.add((start, j))
                    start = None
        found += [plain_proposal(cells, c, a, b, config, video_c[c]) for a, b in sorted(ranges)]
    return plain_nms([row for row in found if row[3] > config.floor], config)


def plain_proposal(cells, c, start, stop, config, video_score) -> tuple:
    margin = config.outer * (stop - start)
    low, high = max(start - margin, 0), min(stop + margin, len(cells))
    share = [max(0, min(j + 1, high) - max(j, low)) * (not start <= j < stop) for j in range(len(cells))]
    outer = sum(w * s for w, s in zip(share, cells, strict=True)) / sum(share) if sum(share) else 0.0
    inner = sum(cells[start:stop]) / (stop - start)
    return c, start / config.upsample, stop / config.upsample, inner - outer + config.video_weight * video_score


def plain_nms(left, config) -> list[tuple]:
    left, kept = sorted(left, key=lambda row: (-row[3], *row[:3])), []
    while left and len(kept) < config.per_video:
        best = max(left, key=lambda row: row[3])
        left.remove(best)
        kept.append(best)
        rest = []
        for c, a, b, score in left:
            shared = max(0.0, min(b, best[2]) - max(a, best[1])) if c == best[0] else 0.0
            tiou = shared / (b - a + best[2] - best[1] - shared)
            if config.nms == "soft" and tiou:
                score *= math.exp(-tiou * tiou / config.nms_sigma)
            if score > config.floor and not (config.nms == "hard" and tiou > config.nms_tiou):
                rest.append((c, a, b, score))
        left = rest
    return kept


@pytest.mark.parametrize("nms", ["hard", "soft", "none"])
@pytest.mark.parametrize("upsample", [1, 2, 4])
def test_localize_agrees_exactly_with_plain_loops_on_random_videos(nms, upsample):
    rng = np.random.default_rng(upsample)
    for case in range(50):
        t, c = int(rng.integers(1, 40)), int(rng.integers(1, 5))
        # Few distinct dyadic scores: sums are exact, and ties and plateaus abound.
        activation = rng.integers(0, rng.choice([3, 9]), (t, c)) / np.float32(8)
        scores = VideoScores("v", activation, np.ones(t, np.float32), (rng.integers(0, 9, c) / 8).astype(np.float32))
        config = Localize(
            nms=nms, upsample=upsample, class_threshold=0.5, thresholds=int(rng.integers(1, 9)), outer=0.25,
            video_weight=0.25, per_video=int(rng.choice([3, 200])), nms_tiou=0.5,
        )  # fmt: skip
        found = [row[1:] for row in rows(localize([scores], config, SECONDS, [str(i) for i in range(c)]))]
        assert found == plain_one(scores, config), f"case {case}"


def test_a_run_at_snippet_0_and_one_at_the_end_are_kept_to_the_last_snippet():
    found = localize([video_of([1, 0, 0, 0, 1, 1])], PLAIN, I3D_GRID, ["a"])
    assert sorted(map(tuple, found.segment_n2)) == [(0.0, 0.64), (2.56, 3.84)]


def test_outer_inner_contrast_by_hand():
    sequence = np.array([[0.25, 0.5, 1.0, 1.0, 0.5, 0.0]])
    cells = np.array([[2, 4], [1, 5], [0, 6], [0, 1]])
    score = oic(sequence, np.zeros(4, int), cells, outer=0.25)
    assert score[0] == 1.0 - 0.5  # half a cell on each side
    assert score[1] == 0.75 - (0.25 + 0.0) / 2  # one cell on each side
    assert score[2] == sequence.mean()  # nothing outside
    assert score[3] == 0.25 - 0.5  # no margin before the video


def test_a_detection_scores_its_contrast_plus_its_share_of_the_video_score():
    found = localize([video_of([0, 1, 0, 0], video_c=[0.5])], replace(PLAIN, video_weight=0.2), SECONDS, ["a"])
    assert rows(found) == [(0, 0, 1.0, 2.0, 1.0 + 0.2 * 0.5)]


def test_a_segment_that_several_levels_agree_on_comes_once():
    found = localize([video_of([0, 1, 1, 0])], replace(PLAIN, thresholds=20, low=0.05, high=0.95), SECONDS, ["a"])
    assert found.segment_n2.tolist() == [[1.0, 3.0]]


def test_soft_nms_decays_by_the_overlap_and_hard_nms_drops_above_the_limit():
    videos = [video_of([0, 0.5, 1, 0.5, 0])]
    levels = replace(PLAIN, thresholds=2, low=0.5, high=1.0, outer=0.0)
    tiou, wide = 1 / 3, 2 / 3
    soft = localize(videos, replace(levels, nms="soft", nms_sigma=0.3), SECONDS, ["a"])
    assert soft.score_n.tolist() == [1.0, wide * math.exp(-tiou * tiou / 0.3)]
    assert len(localize(videos, replace(levels, nms="hard", nms_tiou=0.4), SECONDS, ["a"])) == 2
    assert len(localize(videos, replace(levels, nms="hard", nms_tiou=0.3), SECONDS, ["a"])) == 1


def test_touching_segments_do_not_suppress_each_other():
    step = VideoScores("v", np.array([[1.0, 0], [0, 1]], np.float32), np.ones(2, np.float32), np.ones(2, np.float32))
    one_class = [video_of([1.0, 0.5, 1.0])]
    config = replace(PLAIN, low=0.9, high=0.9, nms="soft", outer=0.0)
    assert localize(one_class, config, SECONDS, ["a"]).score_n.tolist() == [1.0, 1.0]
    assert len(localize([step], config, SECONDS, ["a", "b"])) == 2


def test_the_best_class_is_localized_even_when_every_video_score_is_low():
    assert selected(np.array([0.1, 0.15, 0.05]), 0.2).tolist() == [1]
    assert selected(np.array([0.2, 0.9, 0.1]), 0.2).tolist() == [0, 1]


def test_upsampling_keeps_a_symmetric_peak_where_it_is():
    fine = upsampled(np.array([[0.0, 1.0, 0.0]]), 4)[0]
    assert np.array_equal(fine, fine[::-1])
    assert fine[:2].tolist() == [0.0, 0.0]
    assert np.array_equal(upsampled(np.array([[0.3, 0.9]]), 1), [[0.3, 0.9]])


def test_proposals_of_a_constant_sequence_are_the_whole_of_it():
    row, cells = proposals(np.full((2, 5), 0.3), np.array([0.1, 0.9]))
    assert row.tolist() == [0, 1]
    assert cells.tolist() == [[0, 5], [0, 5]]


def test_shifting_the_video_shifts_the_detections_and_scaling_the_grid_scales_them():
    rng = np.random.default_rng(0)
    score = np.r_[np.zeros(8), rng.random(30), np.zeros(8)]
    base = rows(localize([video_of(score)], Localize(), SECONDS, ["a"]))
    later = rows(localize([video_of(np.r_[np.zeros(5), score])], Localize(), SECONDS, ["a"]))
    assert np.allclose(np.add(base, [0, 0, 5, 5, 0]), later)
    slow = rows(localize([video_of(score)], Localize(), Grid(fps=1, stride=2), ["a"]))
    assert np.allclose(np.multiply(base, [1, 1, 2, 2, 1]), slow)


def test_each_video_keeps_its_own_limit_and_videos_without_detections_stay_listed():
    rng = np.random.default_rng(0)
    nothing = replace(video_of([0.0, 0.0], "none"), video_c=np.zeros(1, np.float32))
    empty = video_of(np.empty(0), "empty")
    videos = [video_of(rng.random(50), "a"), nothing, empty, video_of(rng.random(50), "b")]
    found = localize(videos, Localize(per_video=4), I3D_GRID, ["x"])
    assert found.videos == ("a", "none", "empty", "b")
    assert np.bincount(found.video_n, minlength=4).tolist() == [4, 0, 0, 4]
    assert (np.diff(found.score_n[:4]) <= 0).all()
    assert len(localize([], Localize(), I3D_GRID, ["x"])) == 0


def test_the_fused_sequence_is_cut_where_one_is_given():
    video = replace(video_of([1, 0, 0, 0]), score_tc=np.array([[0], [0], [0], [1]], np.float32))
    assert localize([video], PLAIN, SECONDS, ["a"]).segment_n2.tolist() == [[3.0, 4.0]]


def test_normalised_scores_span_0_to_1_and_keep_the_order_of_classes():
    score = np.array([[0.25, 0.5], [0.75, 0.25]])
    assert min_max(score).tolist() == [[0.0, 0.5], [1.0, 0.0]]
    assert min_max(np.full((2, 2), 0.7)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("how", "share", "expected"),
    [
        ("sum", 0.5, [[0.0, 1.5], [2.0, 0.0]]),
        ("mean", 0.5, [[0.0, 0.75], [1.0, 0.0]]),
        ("sum", 0.25, [[0.0, 1.75], [2.0, 0.0]]),  # 2 x (0.25 x 0.5 + 0.75 x 1)
        ("mean", 0.25, [[0.0, 0.875], [1.0, 0.0]]),
        ("max", 0.25, [[0.0, 1.0], [1.0, 0.0]]),
        ("product", 0.25, [[0.0, 0.5], [1.0, 0.0]]),
    ],
)
def test_fusions_of_normalised_scores_by_hand(how, share, expected):
    one, other = np.array([[0.25, 0.5], [0.75, 0.25]]), np.array([[2.0, 4.0], [4.0, 2.0]])
    both = [VideoScores("v", score, np.ones(2), np.ones(2)) for score in (one, other)]
    found = fuse(both, Config(fusion=how, cbp_share=share))
    assert found.cas_tc.tolist() == expected
    assert found.activation_tc == pytest.approx(share * one + (1 - share) * other)


def test_unusable_scores_are_refused_with_the_name_of_the_video():
    good = video_of([0.1, 0.9])
    with pytest.raises(ValueError, match=r"v: scores must be finite"):
        localize([video_of([0.1, np.nan])], Localize(), I3D_GRID, ["a"])
    with pytest.raises(ValueError, match=r"v: activation_tc must be of shape \(2, 2\), got \(2, 1\)"):
        localize([good], Localize(), I3D_GRID, ["a", "b"])
    with pytest.raises(ValueError, match="more than once: v"):
        localize([good, good], Localize(), I3D_GRID, ["a"])
    with pytest.raises(ValueError, match=r"high must lie in \[0, 1\], got 95: it is a share, not a percent"):
        Localize(high=95)
    with pytest.raises(ValueError, match="fusion must be one of"):
        replaced(Config(), fusion="average")


def test_localize_works_where_no_folder_can_hold_compiled_code(tmp_path):
    """The compiled NMS is kept on disk where it can be; a read-only installation only compiles it again."""
    code = (
        "import numpy as np, numba.core.caching as caching\n"
        "caching.FunctionCache._impl_class._locator_classes = []\n"
        "from wtal_lib.method.localize import nms\nfrom wtal_lib.method.config import Localize\n"
        "print(nms(np.zeros(1, int), np.array([[0., 1.]]), np.ones(1), Localize())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.]"
