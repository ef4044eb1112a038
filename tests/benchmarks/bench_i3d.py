"""I3D extraction: share of the bare forward pass, bfloat16 against float32, memory, TV-L1 flow.

    python tests/benchmarks/bench_i3d.py [VIDEO]

Weights are those of `wtal weights i3d` where they are here, else random ones. On a GPU the same numbers are its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bench_extract import concatenated

from wtal_lib.compute import precision as native
from wtal_lib.data.segments import I3D_GRID
from wtal_lib.video import clips, examples, frames, i3d, kinetics
from wtal_lib.video.backbone import snippets
from wtal_lib.video.extract import extract_i3d

BATCH = 4
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLOCK = time.perf_counter if DEVICE == "cuda" else time.process_time
"processor time on a CPU: other work on the machine comes and goes"
WEIGHTS = i3d.RANDOM if kinetics.missing(i3d.KINETICS) else i3d.KINETICS
MEMORY = """
import json, resource
from pathlib import Path
from wtal_lib.video import clips, extract
small = {{"short_side": 72, "crop": 64}} if {small} else {{}}
backbone = clips.load_backbone("random", precision={precision!r}, **small)
made = extract.extract_i3d([Path({video!r})], {out!r}, backbone, batch=4)
print(json.dumps([sum(made.written.values()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def bare(net: i3d.I3D, part: torch.Tensor, repeats: int = 4) -> float:
    """Snippets a second of the forward pass alone, on clips that are decoded already."""
    net(clips.as_input(part.to(DEVICE), "rgb"))
    started = CLOCK()
    for _ in range(repeats):
        net(clips.as_input(part.to(DEVICE), "rgb"))
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return repeats * len(part) / (CLOCK() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        video = Path(sys.argv[1]) if sys.argv[1:] else examples.draw_example(scratch)[0]
        print(f"{DEVICE}, {torch.get_num_threads()} threads, weights {WEIGHTS}, batch {BATCH}, {video.name}")
        print(f"\n{'precision':10} {'bare, /s':>9} {'extraction, /s':>17} {'share':>6} {'cosine':>8}")
        (part,) = next(snippets(video, [clips.i3d_backbone({"rgb": i3d.I3D()})], I3D_GRID, BATCH))
        reference = None
        for each in ("float32", "bfloat16") if native("auto", DEVICE) == "bfloat16" else ("float32",):
            backbone = clips.load_backbone(WEIGHTS, "", DEVICE, precision=each)
            net = i3d.load(WEIGHTS, device=DEVICE, precision=each)
            rate = bare(net, part)
            started = CLOCK()
            made = extract_i3d([video], scratch / each, backbone, batch=BATCH)
            whole = sum(made.written.values()) / (CLOCK() - started)
            feature, _ = net(clips.as_input(part.to(DEVICE), "rgb"))
            reference = feature if reference is None else reference
            cosine = float(torch.cosine_similarity(feature, reference).min())
            print(f"{each:10} {rate:9.2f} {whole:17.2f} {whole / rate:6.0%} {cosine:8.5f}", flush=True)
        images = [frame.image for frame in frames.frames(video, (np.arange(9) + 0.5) / 25)]
        started = CLOCK()
        try:
            clips.flow(clips.resized(images, clips.SHORT_SIDE))
            print(f"\nTV-L1 flow: {8 / (CLOCK() - started):.1f} frames/s at short side {clips.SHORT_SIDE}")
        except ValueError as error:
            print(f"\nTV-L1 flow not measured: {error}")
        print(f"\n{'video':>10} {'snippets':>8} {'peak MiB':>8}")
        for seconds, small in ((30, False), (3600, True)):
            long = concatenated(video, seconds, scratch / f"{seconds}.mp4")
            told = {
                "video": str(long),
                "out": str(scratch / f"p{seconds}"),
                "small": small,
                "precision": native("auto", DEVICE),
            }
            done = subprocess.run(
                [sys.executable, "-c", MEMORY.format(**told)], capture_output=True, text=True, check=True
            )
            count, peak = json.loads(done.stdout)
            print(
                f"{seconds:8d} s {count:8d} {peak:8.0f}" + ("  (frames of 64 pixels: how it grows with length)" * small)
            )


if __name__ == "__main__":
    main()
