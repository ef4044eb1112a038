"""Draw a pack in a world that the project's own simulator knows nothing of, to judge a method in it.

    WTAL_DATA=data python tests/other_worlds/draw.py NAME OUT [--seed N]

NAME is broadcast, bystander, editing, handheld or tower: what each models stands at the head of its file. Features of
CBP and VLP are drawn over THUMOS14's real annotations and written to OUT/thumos14, marked as simulated, with a link to
the annotations; ``compare.py`` and every ``wtal`` command take OUT as a data root. Equal seeds give equal bytes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from broadcast import Broadcast
from bystander import Bystander
from editing import Editing
from footage import FPS, STRIDE, snippets
from handheld import Handheld
from tower import Tower

from wtal_lib.data.annotations import Annotations, data_root, find_annotations

WORLDS: dict[str, Any] = {
    "broadcast": Broadcast,
    "bystander": Bystander,
    "editing": Editing,
    "handheld": Handheld,
    "tower": Tower,
}
"by name: a class of the dataset's classes and a seed, with ``draw(video, number)`` for features and ``text``"
WIDTH = 512


def write(name: str, seed: int, annotations: Annotations, folder: Path) -> None:
    """Write the world ``name`` of that seed over all annotated videos into ``folder``."""
    world = WORLDS[name](annotations.classes, seed)
    cbp, vlp = folder / "cbp" / name, folder / "vlp" / name
    for place in (cbp, vlp):
        (place / "features").mkdir(parents=True)
    for number, video in enumerate(annotations.videos.values()):
        rows = world.draw(video, number)
        for place, row in zip((cbp, vlp), rows, strict=True):
            assert row.shape == (snippets(video), WIDTH)
            np.save(place / "features" / f"{video.name}.npy", row.astype(np.float16))
    np.save(vlp / "text.npy", world.text.astype(np.float32))
    rate = {"fps": FPS, "stride": STRIDE, "embed_dim": WIDTH, "simulated": True, "seed": seed}
    about = {"model": name, "pretrained": "simulated", **rate}
    columns = {"rgb": [0, WIDTH // 2], "flow": [WIDTH // 2, WIDTH]}
    words = {"classes": annotations.classes, "templates": ["a video of a person doing {}."], "logit_scale": 100.0}
    (cbp / "meta.json").write_text(json.dumps({"kind": "cbp", **about, "columns": columns}, indent=1))
    (vlp / "meta.json").write_text(json.dumps({"kind": "vlp", **about, **words}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=WORLDS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, help="default: the one of the reported numbers")
    given = parser.parse_args()
    annotations = find_annotations(data_root(None), "thumos14")
    folder = given.out / "thumos14"
    folder.mkdir(parents=True)
    (folder / annotations.path.name).symlink_to(annotations.path.resolve())
    seed = WORLDS[given.name].SEED if given.seed is None else given.seed
    write(given.name, seed, annotations, folder)


if __name__ == "__main__":
    main()
