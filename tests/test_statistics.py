"""Intervals of a difference between runs: by hand, beside copies of videos made for real, right 95 times in 100."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from scoring import found, truth

from wtal_lib.data.segments import Detections, GroundTruth
from wtal_lib.score.metrics import Matching, average_precision, match
from wtal_lib.studies import statistics
from wtal_lib.studies.statistics import Interval, over_seeds_and_settings, over_videos_and_seeds, resampled, t_quantile

IOU = (0.3, 0.5)


def drawn(rng: np.random.Generator, skill: float, instances: GroundTruth) -> Matching:
    """A run: each instance is detected with the probability ``skill``, among false alarms."""
    keep = np.flatnonzero(rng.random(len(instances)) < skill)
    alarms = rng.integers(len(instances.videos), size=20)
    start = np.r_[instances.segment_m2[keep, 0] + rng.normal(0, 0.3, len(keep)), rng.uniform(20, 30, 20)]
    video, label = np.r_[instances.video_m[keep], alarms], np.r_[instances.label_m[keep], rng.integers(2, size=20)]
    segments, names = np.stack([start, start + 2], axis=1), (instances.videos, instances.classes)
    return match(Detections(video, label, segments, rng.random(len(start)), *names), instances, IOU)


def many_videos(videos: int = 40, seed: int = 0) -> GroundTruth:
    """One or two instances of two seconds a video, of two classes."""
    rng = np.random.default_rng(seed)
    video = np.r_[np.arange(videos), rng.integers(videos, size=videos // 2)]
    start = rng.uniform(0, 10, len(video))
    none = np.zeros(0, np.int64), np.zeros((0, 2))
    names = tuple(f"v{i}" for i in range(videos)), ("jump", "dive")
    return GroundTruth(video, rng.integers(2, size=len(video)), np.stack([start, start + 2], axis=1), *names, *none)


def test_a_run_is_scored_by_how_often_each_video_was_drawn() -> None:
    matching = match(found([(0, 0, 0, 1, 0.8), (1, 0, 5, 6, 0.9)]), truth([(0, 0, 0, 1), (1, 0, 0, 1)]), [0.5])
    maps = {round(float(one), 3) for one in resampled([matching], 200)[:, 0] if np.isfinite(one)}
    # only the first video: 1; only the second: 0; 1 + 1: precision 1/2 at recall 1/2; 3 + 1: 3/4 at 3/4; 1 + 3 …
    assert {100.0, 0.0, 25.0, 56.25} <= maps
    assert resampled([matching], 200)[0, 0] == pytest.approx(25.0), "first of all, every video once"


def test_resampling_equals_scoring_copies_of_the_videos() -> None:
    rng, instances = np.random.default_rng(1), many_videos(12)
    for _ in range(10):
        matching, count_b = drawn(rng, 0.6, instances), rng.multinomial(12, np.full(12, 1 / 12))
        detections = drawn_detections(rng, instances)
        copies = [(b, f"{name}-{i}") for b, name in enumerate(instances.videos) for i in range(count_b[b])]
        tables = [copied(table, copies) for table in (detections, instances)]
        expected = 100 * np.nanmean(average_precision(*tables, IOU))
        matching = match(detections, instances, IOU)
        assert statistics._mean_map(matching, count_b[None, :])[0] == pytest.approx(expected, abs=1e-4)


def drawn_detections(rng: np.random.Generator, instances: GroundTruth) -> Detections:
    video, label = rng.integers(len(instances.videos), size=60), rng.integers(2, size=60)
    start = rng.uniform(0, 10, 60)
    near = rng.integers(len(instances), size=30)
    video[:30], label[:30] = instances.video_m[near], instances.label_m[near]
    start[:30] = instances.segment_m2[near, 0] + rng.normal(0, 0.4, 30)
    names = instances.videos, instances.classes
    return Detections(video, label, np.stack([start, start + 2], axis=1), rng.random(60), *names)


def copied(table: Detections | GroundTruth, copies: list[tuple[int, str]]) -> Detections | GroundTruth:
    """The table of a data set in which every video stands as often as it was drawn."""
    instances = isinstance(table, GroundTruth)
    names = ("label_m", "segment_m2") if instances else ("label_n", "segment_n2", "score_n")
    of = table.video_m if isinstance(table, GroundTruth) else table.video_n
    rows = [np.flatnonzero(of == b) for b, _ in copies]
    columns = {name: np.concatenate([getattr(table, name)[row] for row in rows]) for name in names}
    columns["video_m" if instances else "video_n"] = np.repeat(np.arange(len(copies)), [len(row) for row in rows])
    return replace(table, **columns, videos=tuple(name for _, name in copies))


def test_it_is_the_mean_of_the_exact_average_precision() -> None:
    matching = drawn(np.random.default_rng(2), 0.5, many_videos())
    weight_rb = np.random.default_rng(0).multinomial(40, np.full(40, 1 / 40), size=50)
    exact_r = 100 * np.nanmean(matching.average_precision(weight_rb), axis=(1, 2))
    np.testing.assert_allclose(resampled([matching], 50)[1:, 0], exact_r, atol=1e-4)


def test_a_class_without_instances_and_a_run_without_detections_count_as_they_do_elsewhere() -> None:
    instances = truth([(0, 0, 0, 1), (1, 1, 0, 1), (2, 1, 2, 3)])  # the third class never occurs
    silent, half = match(found([]), instances, IOU), match(found([(0, 0, 0, 1, 0.5)]), instances, IOU)
    np.testing.assert_allclose(resampled([silent, half], 5)[0], [0, 50])
    none = match(found([(0, 0, 0, 1, 0.5)]), truth([]), IOU)
    assert np.isnan(resampled([none], 5)).all()


@pytest.mark.parametrize("degrees", [1, 1.5, 2, 4, 9.7, 100, 1e9])
def test_the_quantiles_of_students_t(degrees: float) -> None:
    assert t_quantile(degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), abs=3e-4)


def test_an_interval_over_seeds_by_hand() -> None:
    interval = over_seeds_and_settings(np.array([[1.0], [2.0], [3.0]]))
    assert interval == pytest.approx((2, 2 - 4.3027 / np.sqrt(3), 2 + 4.3027 / np.sqrt(3)), abs=1e-3)
    assert interval.verdict == "no difference shown"
    assert over_seeds_and_settings(np.array([[1.9], [2.0], [2.1]])).verdict == "better"
    assert over_seeds_and_settings(-np.array([[1.9], [2.0], [2.1]])).verdict == "worse"


def test_several_settings_count_by_the_mean_of_their_seeds() -> None:
    by_setting = over_seeds_and_settings(np.array([[1.0, 3.0, 2.0], [3.0, 5.0, 4.0]]))
    assert by_setting == over_seeds_and_settings(np.array([[2.0], [4.0], [3.0]]))


def test_a_single_difference_has_the_margin_that_it_is_given_or_none() -> None:
    assert over_seeds_and_settings(np.array([[2.0]]), margin=1.5) == (2.0, 0.5, 3.5)
    unknown = over_seeds_and_settings(np.array([[2.0]]))
    assert np.isnan(unknown.low)
    assert unknown.verdict == "no difference shown"
    assert over_videos_and_seeds(np.full((5, 1), 2.0), np.zeros((5, 1)))[0] == 2.0


def test_where_only_seeds_vary_the_interval_is_over_seeds_and_where_only_videos_do_it_is_over_videos() -> None:
    seeds = np.tile([1.0, 2.0, 3.0], (50, 1))
    assert over_videos_and_seeds(seeds, 0 * seeds) == pytest.approx(over_seeds_and_settings(seeds[:1].T))
    draws = np.r_[0.0, np.random.default_rng(0).normal(0, 2, 500)]
    interval = over_videos_and_seeds(5 + np.repeat(draws[:, None], 3, axis=1), np.zeros((501, 3)))
    assert interval == pytest.approx((5, 5 - 1.96 * draws[1:].std(ddof=1), 5 + 1.96 * draws[1:].std(ddof=1)), abs=2e-3)


def test_what_varies_with_the_videos_never_narrows_an_interval() -> None:
    seeds = np.tile([1.0, 2.0, 3.0], (101, 1))
    draws = np.r_[0.0, np.random.default_rng(0).normal(0, 0.5, 100)][:, None]
    (_, low, high), (_, low_s, high_s) = (
        over_videos_and_seeds(seeds + draws, 0 * seeds),
        over_seeds_and_settings(seeds[:1].T),
    )
    assert low <= low_s
    assert high_s <= high


def test_other_seeds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match=r"same resamplings and seeds of both, got \(9, 3\) and \(9, 2\)"):
        over_videos_and_seeds(np.zeros((9, 3)), np.zeros((9, 2)))


NOISE = {"seeds": (1, 0, 0.01), "videos": (0.001, 1, 0), "both together": (0, 0, 1), "all": (0.1, 0.5, 1)}


def differences(noise: tuple[float, float, float], seeds: int, trials: int) -> Iterator[np.ndarray]:
    """Resampled differences without a mean one, whose noise comes from seeds, from videos, and from both together."""
    rng, (of_seed, of_video, of_both) = np.random.default_rng(0), noise
    for _ in range(trials):
        by_video_sb = rng.normal(0, of_seed, (seeds, 1)) + rng.normal(0, of_video, 100)
        by_video_sb = by_video_sb + rng.normal(0, of_both, (seeds, 100))
        count_rb = np.r_[np.ones((1, 100)), rng.multinomial(100, np.full(100, 0.01), size=100)]
        yield count_rb @ by_video_sb.T / 100


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("noise", NOISE)
def test_five_in_a_hundred_equal_methods_are_called_different(noise: str, seeds: int) -> None:
    wrong = [
        over_videos_and_seeds(of, 0 * of).verdict != "no difference shown"
        for of in differences(NOISE[noise], seeds, 400)
    ]
    assert 0.02 < np.mean(wrong) < 0.085  # 0.05, give or take three standard errors


def test_five_in_a_hundred_equal_detectors_are_called_different() -> None:
    rng, instances = np.random.default_rng(0), many_videos()
    wrong = 0
    for _ in range(150):
        ours, base = (resampled([drawn(rng, 0.6, instances) for _ in range(3)], 100) for _ in range(2))
        wrong += over_videos_and_seeds(ours, base).verdict != "no difference shown"
    assert 1 <= wrong <= 15


def test_a_better_detector_is_found_out() -> None:
    rng, instances = np.random.default_rng(0), many_videos()
    ours, base = (resampled([drawn(rng, skill, instances) for _ in range(5)]) for skill in (0.9, 0.5))
    interval = over_videos_and_seeds(ours, base)
    assert interval.verdict == "better"
    assert over_videos_and_seeds(base, ours).verdict == "worse"
    assert isinstance(interval, Interval)
    assert interval.low < interval.difference < interval.high


@pytest.mark.parametrize("settings", [1, 4])
def test_five_in_a_hundred_equal_settings_are_called_different(settings: int) -> None:
    rng = np.random.default_rng(0)
    tables = [rng.normal(0, 1, (3, settings)) + rng.normal(0, 1, settings) * (settings > 1) for _ in range(1000)]
    assert 0.03 < np.mean([over_seeds_and_settings(table).verdict != "no difference shown" for table in tables]) < 0.07
