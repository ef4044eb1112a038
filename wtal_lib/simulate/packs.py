"""Simulated feature packs: drawn from latent causes, never from scores, so that errors emerge from training.

Both modalities see the same :class:`~wtal_lib.simulate.timeline.Timeline`, each through its own prototypes. CBP rows
are rectified sums in an RGB and a flow half: strong class evidence at a peak, preparation that related classes share,
people walking about. VLP rows are unit vectors on a cone (the modality gap) that tilt towards a class's text wherever
its place is in the picture, in action and in context alike. Results on these features must be marked as simulated.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Float64

import wtal_lib
from wtal_lib.data.annotations import Annotations, Video
from wtal_lib.data.features import column_moments
from wtal_lib.data.segments import I3D_GRID, Grid
from wtal_lib.data.vlp_pack import write_vlp_pack
from wtal_lib.data.wtalc_pack import write_wtalc_pack
from wtal_lib.settings import digest, to_dict
from wtal_lib.simulate.knobs import Simulator
from wtal_lib.simulate.modalities import REVISION, Cbp, Vlp, common, rng_of
from wtal_lib.simulate.structure import drawn_annotations, groups, seconds, subset, with_instances
from wtal_lib.simulate.timeline import Timeline, timeline

LOGIT_SCALE = 100.0
"as in every released CLIP"
MEMORY = 2**30
"bytes of rows that a pack keeps in memory; further rows are drawn again each time"
MARKER = "SIMULATED.json"
"file that marks everything in its folder as simulated"
LAYOUTS = (1, 5)
"layouts that can be written: 1 W-TALC annotations and CBP features, 5 VLP pack"


@dataclass(eq=False, repr=False)
class SimulatedPack:
    """One modality of a world, with the interface of :class:`wtal_lib.data.features.Pack`; rows are drawn on demand."""

    kind: str
    width: int
    lengths: dict[str, int]
    draw: Callable[[str], Float64[np.ndarray, "t d"]]
    grid: Grid
    fingerprint: str
    training: tuple[str, ...]
    text: Float32[np.ndarray, "c e"] | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    layout: str = "simulated"
    path: Path | None = None

    def __post_init__(self) -> None:
        self.names = tuple(self.lengths)
        self._keep: dict[str, np.ndarray] = {}
        self._free = MEMORY

    def drawn(self, name: str) -> Float16[np.ndarray, "t d"]:
        """Rows of a video, drawn anew and not kept in memory.

        Raises:
            KeyError: the world has no such video.
        """
        return self.draw(name).astype(np.float16)

    def __getitem__(self, name: str) -> Float16[np.ndarray, "t d"]:
        """Rows of a video, read-only; the same bytes each time, in whatever order videos are asked for."""
        if name in self._keep:
            return self._keep[name]
        rows = self.drawn(name)
        rows.flags.writeable = False
        if rows.nbytes <= self._free:
            self._free -= rows.nbytes
            self._keep[name] = rows
        return rows

    def __contains__(self, name: object) -> bool:
        return name in self.lengths

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def moments(self) -> tuple[Float32[np.ndarray, " d"], Float32[np.ndarray, " d"]]:
        """Mean and standard deviation of each column over the training videos' snippets."""
        return column_moments(self[name] for name in self.training or self.names)


class World:
    """A simulated dataset: annotations, and packs of both modalities drawn over them video by video."""

    grid = I3D_GRID

    def __init__(self, config: Simulator, annotations: Annotations) -> None:
        self.config, self.annotations = config, annotations
        self._index = {name: i for i, name in enumerate(annotations.classes)}
        self._group_c = groups(annotations.classes)
        cbp, vlp = Cbp(config, self._group_c), Vlp(config, self._group_c)
        self.text: Float32[np.ndarray, "c e"] = vlp.text.astype(np.float32)
        lengths = {name: self.grid.count(seconds(video)) for name, video in annotations.videos.items()}
        structure = [(v.name, v.instance_labels, v.segments.tolist()) for v in annotations.videos.values()]
        mark = digest([REVISION, to_dict(config), lengths, annotations.classes, structure])
        training = tuple(video.name for video in annotations.subset("train"))

        def pack(kind: str, modality: Cbp | Vlp, width: int, **more: Any) -> SimulatedPack:
            draw = partial(self._features, modality, kind)
            return SimulatedPack(kind, width, lengths, draw, self.grid, f"simulated-{kind}-{mark}", training, **more)

        meta = {
            "simulated": True,
            "config": to_dict(config),
            "model": "simulated",
            "pretrained": config.profile,
            "fps": self.grid.fps,
            "stride": self.grid.stride,
            "embed_dim": config.size.vlp,
            "logit_scale": LOGIT_SCALE,
            "classes": list(annotations.classes),
            "templates": [],
            "versions": {"wtal_lib": wtal_lib.__version__, "numpy": np.__version__, "revision": REVISION},
        }
        self.cbp = pack("cbp", cbp, config.size.cbp)
        self.vlp = pack("vlp", vlp, config.size.vlp, text=self.text, meta=meta)

    def timeline(self, name: str) -> Timeline:
        """Causes of a video, snippet by snippet, which both modalities see."""
        video = self.annotations.videos[name]
        class_m = np.array([self._index[label] for label in video.instance_labels], dtype=np.int64)
        rng = rng_of(REVISION, self.config.seed, name, "timeline")
        snippets = self.cbp.lengths[name]
        return timeline(video.segments, class_m, self._main(video), snippets, self.grid, self.config, rng)

    def _features(self, modality: Cbp | Vlp, kind: str, name: str) -> Float64[np.ndarray, "t d"]:
        line, seed = self.timeline(name), self.config.seed
        both = common(rng_of(REVISION, seed, name, "common"), line, len(self._group_c), self.config)
        return modality(line, self._stray(name), both, rng_of(REVISION, seed, name, kind))

    def _main(self, video: Video) -> int:
        """A video's first class; class 0 if it has no label."""
        return self._index[(video.instance_labels or video.labels or self.annotations.classes)[0]]

    def _stray(self, name: str) -> int | None:
        """The related class towards which a video's look strays, if any."""
        rng = rng_of(REVISION, self.config.seed, name, "stray")
        main = self._main(self.annotations.videos[name])
        others = np.flatnonzero(self._group_c == self._group_c[main])
        others = others[others != main]
        return int(rng.choice(others)) if len(others) and rng.random() < self.config.stray else None


def simulate(config: Simulator, annotations: Annotations | None = None) -> World:
    """The world of a config: over real annotations where given, else over structure drawn like the dataset's.

    A profile with fewer videos than the annotations takes a fixed choice of them that keeps every class.

    Raises:
        ValueError: annotations of another dataset than the config's.
    """
    if annotations is None:
        return World(config, drawn_annotations(config))
    if annotations.dataset != config.dataset:
        raise ValueError(
            f"the config simulates {config.dataset!r} but the annotations are of {annotations.dataset!r};"
            f" give Simulator(dataset={annotations.dataset!r})"
        )
    return World(config, with_instances(subset(annotations, config), config))


def write_packs(
    world: World,
    out: str | Path,
    layouts: Collection[int] = LAYOUTS,
    progress: Callable[[str], object] = lambda name: None,
) -> Path:
    """Write a world to the folder ``out``/DATASET, which is returned, marked as simulated, in community layouts.

    The folder appears whole or not at all, and replaces an earlier simulation. ``progress`` is called with the name of
    each video as its rows are drawn.

    Raises:
        ValueError: a layout that cannot be written.
        FileExistsError: the folder holds something that is not simulated.
        OSError: the disk is full, or not writable.
    """
    if not layouts or set(layouts) - set(LAYOUTS):
        raise ValueError(f"layouts must be among {', '.join(map(str, LAYOUTS))}, got {', '.join(map(str, layouts))}")
    out = Path(out).expanduser()
    if out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file, where packs need a folder; choose another")
    final = out / world.config.dataset
    if final.exists() and not (final / MARKER).is_file() and any(final.iterdir()):
        raise FileExistsError(
            f"{final} holds files that are not marked as simulated, which would be called so; choose another folder"
        )

    def rows(pack: SimulatedPack, name: str) -> np.ndarray:
        progress(name)
        return pack.drawn(name)

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".simulating-", dir=out) as work:
        folder, meta = Path(work) / "new", world.vlp.meta
        folder.mkdir()
        mark = {key: meta[key] for key in ("simulated", "config", "versions")}
        mark["annotations"] = world.annotations.layout
        (folder / MARKER).write_text(json.dumps(mark, indent=1), encoding="utf-8")
        if 1 in layouts:
            write_wtalc_pack(folder, world.annotations, partial(rows, world.cbp))
        if 5 in layouts:
            features = ((name, rows(world.vlp, name)) for name in world.vlp.names)
            place = folder / "vlp" / f"{meta['model']}-{meta['pretrained']}"
            write_vlp_pack(place, meta=meta, text_ce=world.text, features=features)
        if final.exists():
            shutil.move(final, Path(work) / "old")
        folder.rename(final)
    return final
