"""Extraction against the bare forward pass, decoding alone, and memory against length.

``python tests/benchmarks/bench_extract.py [VIDEOS]``; the videos default to those beside the project, else a drawn one.
Both are timed with threads that wait as those of ``wtal extract`` do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before PyTorch is loaded

import av
import numpy as np
import torch

from wtal_lib.compute import precision
from wtal_lib.data.segments import I3D_GRID
from wtal_lib.video import backbone, examples, extract, frames, vlm

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data" / "videos"
MODEL = "ViT-B-32"
MEMORY = """
import json, sys
sys.path.insert(0, {tests!r})
import tiny
from pathlib import Path
from wtal_lib.video import extract
model = tiny.loaded()
done = extract.extract([Path({video!r})], {out!r}, model, ["x"], ["{{}}"])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([sum(done.written.values()), int(peak.split()[1]) / 1024]))
"""


def concatenated(source: Path, seconds: float, out: Path) -> Path:
    """The packets of a video, again and again, until it is ``seconds`` long."""
    with av.open(str(source)) as file, av.open(str(out), "w") as target:
        stream = file.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [(bytes(p), p.pts, p.dts, p.duration, p.is_keyframe) for p in file.demux(stream) if p.pts is not None]
        length = max(pts + duration for _, pts, _, duration, _ in packets)
        for turn in range(max(1, round(seconds / float(length * stream.time_base)))):
            for content, pts, dts, duration, key in packets:
                packet = av.Packet(content)
                packet.pts, packet.dts, packet.duration = pts + turn * length, dts + turn * length, duration
                packet.time_base, packet.stream, packet.is_keyframe = stream.time_base, copy, key
                target.mux(packet)
    return out


def rates(model: vlm.Vlm, files: list[Path], rounds: int = 4) -> tuple[float, float, float]:
    """Images a second of the forward pass alone and of extraction, and the latter's share by processor time.

    The best of several rounds, taken in turns, since other work on the machine comes and goes.
    """
    x, images = torch.randn(32, 3, 224, 224), extract.image_backbone(model, 512)
    model.encode_images(x)
    bare, whole = [], []
    for _ in range(rounds):
        began, busy = time.perf_counter(), time.process_time()
        model.encode_images(x), model.encode_images(x)
        bare.append(((time.perf_counter() - began) / 64, (time.process_time() - busy) / 64))
        began, busy, count = time.perf_counter(), time.process_time(), 0
        for _, item in backbone.read_ahead(files, lambda file: backbone.snippets(file, [images], I3D_GRID, 32), 1):
            if isinstance(item, tuple):
                count += len(model.encode_images(item[0]))
        whole.append(((time.perf_counter() - began) / count, (time.process_time() - busy) / count))
    best, best_whole = np.min(bare, axis=0), np.min(whole, axis=0)
    return 1 / best[0], 1 / best_whole[0], best[1] / best_whole[1]


def decode_rate(files: list[Path]) -> tuple[float, float]:
    """Snippets a second of decoding alone, and milliseconds of processor time a snippet."""
    began, busy, count = time.perf_counter(), time.process_time(), 0
    for file in files:
        middle = I3D_GRID.seconds(np.arange(I3D_GRID.count(frames.probe(file).duration)) + 0.5)
        count += sum(1 for _ in frames.frames(file, middle))
    return count / (time.perf_counter() - began), 1000 * (time.process_time() - busy) / count


def main() -> None:
    """Prints three small tables."""
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        files = examples.find_videos(sys.argv[1] if len(sys.argv) > 1 else "", BESIDE, scratch / "drawn")
        print(f"{len(files)} videos, {MODEL}, {torch.get_num_threads()} threads")
        print(f"{'precision':10} {'bare img/s':>10} {'extract img/s':>13} {'share':>6} {'by processor time':>18}")
        bare = {}
        for each in dict.fromkeys(("float32", precision("auto", "cpu"))):
            model = vlm.load(MODEL, "random", precision=each)
            bare[each], rate, busy = rates(model, files[-2:])
            print(f"{each:10} {bare[each]:10.1f} {rate:13.1f} {rate / bare[each]:6.0%} {busy:18.0%}")
        if "bfloat16" not in bare:
            print("bfloat16 is emulated on this processor, and not measured")
        per_second, busy = decode_rate(files)
        print(f"\ndecoding alone: {per_second:.0f} snippets/s, {busy:.1f} ms of processor time each;", end=" ")
        print(f"{per_second / bare['float32']:.1f} times the float32 forward pass")
        print(f"\n{'video':>10} {'snippets':>8} {'peak MiB':>8}")
        tests = str(Path(__file__).resolve().parents[1])
        for minutes in (1, 120):
            long = concatenated(files[-1], 60 * minutes, scratch / f"{minutes}min.mp4")
            code = MEMORY.format(tests=tests, video=str(long), out=str(scratch / f"pack{minutes}"))
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
            snippets, peak = json.loads(done.stdout)
            print(f"{minutes:6d} min {snippets:8d} {peak:8.0f}")
        total = 230 * 3600 / I3D_GRID.step
        decoding, gpu = total * busy / 3.6e6, total / 1000 / 3600
        print(f"\nActivityNet1.2, 230 hours, {total / 1e6:.2f} million snippets:")
        for each, rate in bare.items():
            hours = total / rate / 3600
            print(f"  {MODEL}, {each}: {hours:.0f} h on this machine, {hours / 32:.1f} h on 32 such (--part i/32)")
        print(
            f"  decoding takes {decoding:.1f} h of one core; a GPU that encodes 1,000 images/s (an assumption)", end=" "
        )
        print(f"needs {gpu:.2f} h and {decoding / gpu:.0f} cores to feed it (--workers)")


if __name__ == "__main__":
    main()
