"""Time of average precision beside the common evaluator's, and how it grows with size.

``python tests/benchmarks/bench_metrics.py [FOLDER]``; FOLDER holds real detections and annotations (``detections/``,
``thumos14/wtalc/``), by default ``../shared/data``. Without it, drawn tables of the same size are scored.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from wtal_lib.data.annotations import annotations_from, ground_truth
from wtal_lib.data.datasets import protocol
from wtal_lib.data.segments import Detections, GroundTruth
from wtal_lib.score.detections import read_detections
from wtal_lib.score.evaluate import report
from wtal_lib.score.metrics import average_precision, match
from wtal_lib.studies.statistics import resampled

TENTHS, TWENTIETHS = [i / 10 for i in range(1, 8)], [i / 20 for i in range(10, 20)]
DATA = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[3] / "shared" / "data"


def common_evaluator(detections: Detections, truth: GroundTruth, iou: list[float]) -> np.ndarray:
    """Class after class and detection after detection through pandas tables, as the field does it.

    A plain version of ``compute_average_precision_detection`` of ActivityNet's evaluation kit, which W-TALC's
    successors carry with them.
    """
    names = ["video-id", "t-start", "t-end", "label"]
    found = pd.DataFrame(
        dict(zip(names, (detections.video_n, *detections.segment_n2.T, detections.label_n), strict=True))
    )
    found["score"] = detections.score_n
    found["video-id"] = np.array(detections.videos)[found["video-id"]]
    true = pd.DataFrame(dict(zip(names, (truth.video_m, *truth.segment_m2.T, truth.label_m), strict=True)))
    true["video-id"] = np.array(truth.videos)[true["video-id"]]
    classes = range(len(truth.classes))
    per_class = [
        (part.reset_index(drop=True) for part in (found[found.label == c], true[true.label == c])) for c in classes
    ]
    return np.array([_common_class(*parts, iou) for parts in per_class])


def _common_class(found: pd.DataFrame, true: pd.DataFrame, iou: list[float]) -> np.ndarray:
    free = np.ones((len(iou), len(true)), dtype=bool)
    found = found.loc[found["score"].values.argsort()[::-1]].reset_index(drop=True)
    hit = np.zeros((len(iou), len(found)))
    by_video = true.groupby("video-id")
    for row, detection in found.iterrows():
        try:
            own = by_video.get_group(detection["video-id"]).reset_index()
        except KeyError:
            continue
        start, stop = own["t-start"].values, own["t-end"].values
        inside = (np.minimum(stop, detection["t-end"]) - np.maximum(start, detection["t-start"])).clip(0)
        tiou = inside / ((stop - start) + (detection["t-end"] - detection["t-start"]) - inside)
        for k, least in enumerate(iou):
            for at in tiou.argsort()[::-1]:
                if tiou[at] < least:
                    break
                if free[k, own.loc[at]["index"]]:
                    free[k, own.loc[at]["index"]], hit[k, row] = False, 1
                    break
    return np.array([_interpolated(line, len(true)) for line in hit])


def _interpolated(hit: np.ndarray, instances: int) -> float:
    recall, precision = np.cumsum(hit) / instances, np.cumsum(hit) / np.arange(1, len(hit) + 1)
    recall, precision = np.hstack([[0], recall, [1]]), np.hstack([[0], precision, [0]])
    for at in range(len(precision) - 1)[::-1]:
        precision[at] = max(precision[at], precision[at + 1])
    steps = np.where(recall[1:] != recall[:-1])[0] + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


def drawn(videos: int, classes: int, each: int, per_video: float, seed: int = 0) -> tuple[Detections, GroundTruth]:
    """Tables of a size: ``each`` detections a video, most of the video's class, some near its instances."""
    rng = np.random.default_rng(seed)
    duration, own_class = rng.uniform(10, 240, videos), rng.integers(classes, size=videos)
    video_m = np.repeat(np.arange(videos), np.maximum(1, rng.poisson(per_video, videos)))
    segment_m2 = np.sort(rng.random((len(video_m), 2)), axis=1) * duration[video_m, None]
    video_n = np.repeat(np.arange(videos), each)
    label_n = np.where(rng.random(len(video_n)) < 0.7, own_class[video_n], rng.integers(classes, size=len(video_n)))
    segment_n2 = np.sort(rng.random((len(video_n), 2)), axis=1) * duration[video_n, None]
    names, labels = tuple(f"video_{i}" for i in range(videos)), tuple(f"class {i}" for i in range(classes))
    none = np.zeros(0, dtype=np.int64)
    truth = GroundTruth(video_m, own_class[video_m], segment_m2, names, labels, none, np.zeros((0, 2)))
    return Detections(video_n, label_n, segment_n2, rng.random(len(video_n)), names, labels), truth


def copies(detections: Detections, truth: GroundTruth, times: int) -> tuple[Detections, GroundTruth]:
    """The same tables ``times`` over, each copy in videos of its own; scores moved a little, so that few tie."""
    names = tuple(f"{name}-{i}" for i in range(times) for name in truth.videos)
    index = np.array([truth.videos.index(name) for name in detections.videos])[detections.video_n]
    shift = np.repeat(np.arange(times), len(detections)) * len(truth.videos)
    noise = np.random.default_rng(0).normal(0, 1e-3, times * len(detections))
    found = Detections(
        *(
            np.tile(index, times) + shift,
            np.tile(detections.label_n, times),
            np.tile(detections.segment_n2, (times, 1)),
        ),
        *(np.tile(detections.score_n, times) + noise, names, detections.classes),
    )
    shift = np.repeat(np.arange(times), len(truth)) * len(truth.videos)
    columns = (
        np.tile(truth.video_m, times) + shift,
        np.tile(truth.label_m, times),
        np.tile(truth.segment_m2, (times, 1)),
    )
    return found, GroundTruth(
        *columns, names, truth.classes, truth.ambiguous_video_a[:0], truth.ambiguous_segment_a2[:0]
    )


def timed(work: Callable[[], object], repeats: int) -> tuple[float, float, object]:
    """Least wall and processor seconds of some repeats, and what came out."""
    best = [np.inf, np.inf]
    for _ in range(repeats):
        wall, processor = time.perf_counter(), time.process_time()
        result = work()
        best = [min(best[0], time.perf_counter() - wall), min(best[1], time.process_time() - processor)]
    return best[0], best[1], result


def line(what: str, n: int, seconds: tuple[float, float, object], remark: str = "") -> None:
    print(f"{what:<52}{n:>12,}{seconds[0]:>10.3f}{seconds[1]:>10.3f}  {remark}", flush=True)


def main() -> None:
    print(f"{'':<52}{'detections':>12}{'wall s':>10}{'CPU s':>10}")
    annotations = None
    if DATA.is_dir():
        annotations = annotations_from(DATA / "thumos14/wtalc", "thumos14")
        path = DATA / "detections/detection_result_base_test.json"
        reading = timed(lambda: read_detections(path, annotations), 3)
        detections, truth = reading[2], ground_truth(annotations, protocol("thumos14-212-seconds"))
        line("reading the real file", len(detections), reading)
    else:
        detections, truth = drawn(212, 20, 149, 16)
    ours = timed(lambda: average_precision(detections, truth, TENTHS), 5)
    common = timed(lambda: common_evaluator(detections, truth, TENTHS), 1)
    line("THUMOS14, 7 thresholds: the common evaluator", len(detections), common)
    line("THUMOS14, 7 thresholds: ours", len(detections), ours, f"{common[1] / ours[1]:.0f} times as fast")
    alike = timed(lambda: average_precision(detections, truth, TENTHS, "argsort"), 5)
    remark = f"largest difference from the common evaluator {abs(alike[2] - common[2]).max():.1g}"
    line("the same, equal tIoU as the common evaluator", len(detections), alike, remark)
    if annotations is not None:
        every = timed(lambda: report(detections, annotations), 5)
        remark = f"{8 * common[1] / every[1]:.0f} times as fast as the common evaluator eight times; bound 0.060"
        line("all eight protocols", len(detections), every, remark)
    matching = match(detections, truth, TENTHS)
    videos = len(truth.videos)
    weights = np.random.default_rng(0).multinomial(videos, np.full(videos, 1 / videos), size=1000)
    line("1,000 resamplings of the videos", len(detections), timed(lambda: matching.average_precision(weights), 1))
    paired = timed(lambda: resampled([matching] * 10), 1)
    remark = f"{10_000 * ours[1] / paired[1]:.0f} times as fast as scoring each anew; bound 10"
    line("ten runs, 1,000 resamplings", 10 * len(detections), paired, remark)
    for times, bound in ((10, ""), (100, "; bound 5")):
        tables = copies(detections, truth, times)
        grown = timed(lambda tables=tables: average_precision(*tables, TENTHS), 1)
        remark = f"{grown[1] / ours[1] / times:.2f} x linear{bound}"
        line(f"{times} times the THUMOS14 tables", len(tables[0]), grown, remark)
    least = None
    for times in (1, 10, 100):
        tables = drawn(2383 * times // 10, 100, 200, 1.6)
        grown = timed(lambda tables=tables: average_precision(*tables, TWENTIETHS), 1)
        least = least or grown[1]
        line(
            f"ActivityNet x {times / 10:g}, 10 thresholds",
            len(tables[0]),
            grown,
            f"{grown[1] / least / times:.2f} x linear",
        )


if __name__ == "__main__":
    main()
