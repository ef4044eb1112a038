"""Seconds to localize a THUMOS14-sized test set, beside plain Python in the style of CoLA, and as the set grows.

Run ``python tests/benchmarks/bench_localize.py``. Scores are drawn: 212 videos of 72 thousand snippets in all, 20
classes, 20 cut levels, one or two classes a video above the class threshold.
"""

from __future__ import annotations

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from wtal_lib.data.segments import I3D_GRID
from wtal_lib.method.config import Localize
from wtal_lib.method.localize import VideoScores, localize

CLASSES = tuple(f"class {i}" for i in range(20))


def drawn(videos: int, snippets: int, classes: int = 20, seed: int = 0) -> list[VideoScores]:
    """Score sequences with peaks of a few seconds over a noisy floor."""
    rng = np.random.default_rng(seed)
    kernel = np.hanning(9) / np.hanning(9).sum()
    made = []
    for i in range(videos):
        length = max(20, int(snippets / videos * rng.uniform(0.2, 1.8)))
        noise = np.stack([np.convolve(row, kernel, "same") for row in rng.random((classes, length)) ** 3], axis=1)
        video_c = rng.uniform(0, 0.19, classes)
        video_c[rng.choice(classes, rng.integers(1, 3), replace=False)] = 0.8
        activation = (noise / noise.max()).astype(np.float32)
        made.append(VideoScores(str(i), activation, np.ones(length, np.float32), video_c.astype(np.float32)))
    return made


def plain(videos: list[VideoScores], config: Localize) -> int:
    """Number of detections of the same pipeline as lists and loops, after CoLA's utils.py (soft-NMS as in CO2-Net)."""
    total = 0
    for video in videos:
        for c in np.flatnonzero(video.video_c >= config.class_threshold):
            sequence, found = video.cas_tc[:, c].astype(np.float64), []
            low, high = sequence.min(), sequence.max()
            for share in np.linspace(config.low, config.high, config.thresholds):
                above = np.where(sequence >= low + share * (high - low))[0]
                for group in np.split(above, np.where(np.diff(above) != 1)[0] + 1):
                    start, stop = int(group[0]), int(group[-1]) + 1
                    margin = config.outer * (stop - start)
                    outer = list(range(max(0, int(start - margin)), start))
                    outer += list(range(stop, min(len(sequence), int(stop + margin))))
                    outside = np.mean(sequence[outer]) if outer else 0.0
                    score = np.mean(sequence[start:stop]) - outside + config.video_weight * video.video_c[c]
                    found.append([start, stop, score])
            left = np.array(sorted({tuple(row) for row in found}))
            left = left[left[:, 2] > config.floor]
            for _ in range(config.per_video):
                if not len(left):
                    break
                i = left[:, 2].argmax()
                best, left = left[i], np.delete(left, i, axis=0)
                shared = np.minimum(left[:, 1], best[1]) - np.maximum(left[:, 0], best[0])
                shared = np.maximum(shared, 0)
                tiou = shared / (left[:, 1] - left[:, 0] + best[1] - best[0] - shared)
                left[:, 2] *= np.exp(-(tiou**2) / config.nms_sigma)
                left, total = left[left[:, 2] > config.floor], total + 1
    return total


def seconds(run, times: int = 3) -> tuple[float, object]:
    """Shortest of several runs, and what the last one returned."""
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        result = run()
        taken.append(time.perf_counter() - started)
    return min(taken), result


def main() -> None:
    """Prints the table."""
    started = time.perf_counter()
    localize(drawn(1, 100), Localize(), I3D_GRID, CLASSES)
    print(f"first call, with the compiled NMS made or read from disk: {time.perf_counter() - started:.2f} s\n")
    videos = drawn(212, 72_000)
    print(f"212 videos, {sum(len(v.attention_t) for v in videos):,} snippets, 20 classes, 20 levels, one core")
    every = Localize(per_video=1000)
    plain_s, count = seconds(lambda: plain(videos, every), times=1)
    print(f"{'plain Python, soft-NMS':44} {plain_s:8.3f} s   {'':6}   {count:,} detections")
    rows = (("as the plain one", every), ("defaults", Localize()), ("hard-NMS", Localize(nms="hard")))
    rows += (
        ("4 cells a snippet", Localize(upsample=4)),
        ("all 20 classes of each video", Localize(class_threshold=0.0)),
    )
    for name, config in rows:
        ours_s, found = seconds(lambda c=config: localize(videos, c, I3D_GRID, CLASSES))
        print(f"{name:44} {ours_s:8.3f} s   {plain_s / ours_s:5.1f}x   {len(found):,} detections")
    print(f"\n{'growth, 3 classes, defaults':44} {'seconds':>8}   a million snippets")
    for factor in (1, 4, 16, 100):
        grown = {"videos": drawn(212 * factor, 72_000 * factor, 3), "length of 4 videos": drawn(4, 1360 * factor, 3)}
        for kind, videos in grown.items():
            snippets = sum(len(v.attention_t) for v in videos)
            ours_s, _ = seconds(lambda v=videos: localize(v, Localize(), I3D_GRID, CLASSES[:3]), times=1)
            print(f"x{factor:<3} {kind:20} {snippets:9,} snippets {ours_s:9.3f} s {ours_s / snippets * 1e6:8.2f} s")


if __name__ == "__main__":
    main()
