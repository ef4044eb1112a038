"""Any VLP pack to segments: by image-text similarity alone, or by the branches of a finished run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import nn

from wtal_lib import extensions
from wtal_lib.data import checkpoint
from wtal_lib.data.annotations import find_annotations
from wtal_lib.data.datasets import DATASETS, get_dataset
from wtal_lib.data.features import Features, find_pack
from wtal_lib.data.files import read_array, read_json
from wtal_lib.data.segments import Detections, Grid, resampled
from wtal_lib.data.vlp_pack import REMEDY, read_meta, read_text_rows
from wtal_lib.method.config import Config, own
from wtal_lib.method.heads import PRECOMPUTED, built
from wtal_lib.method.localize import VideoScores, localize, min_max
from wtal_lib.method.models import Vanilla
from wtal_lib.method.predict import video_scores
from wtal_lib.method.presets import preset
from wtal_lib.method.schedule import Name
from wtal_lib.method.state import BRANCHES
from wtal_lib.method.text import TextResidual
from wtal_lib.score.detections import write_detections
from wtal_lib.settings import from_dict
from wtal_lib.video.text import learner_for


@dataclass(frozen=True, eq=False)
class OpenPack:
    """A VLP pack of any classes, read without annotations."""

    path: Path
    meta: dict[str, Any]
    grid: Grid
    classes: tuple[str, ...]
    text: Float[np.ndarray, "c e"]
    "rows in the order of ``classes``"
    files: dict[str, Path]
    "by video"

    def __getitem__(self, name: str) -> Float[np.ndarray, "t e"]:
        """Embeddings of a video. Raises ValueError for a file that is damaged, or of another width."""
        expected = f"finite embeddings (snippets, {self.meta['embed_dim']})"
        rows = read_array(self.files[name], expected, REMEDY, "f")
        if rows.ndim != 2 or rows.shape[1] != self.meta["embed_dim"] or not np.isfinite(rows).all():
            raise ValueError(f"{self.files[name]}: expected {expected}, got {rows.shape}; delete and extract it")
        return rows


def open_pack(folder: str | Path) -> OpenPack:
    """The VLP pack in ``folder``; FileNotFoundError where there is none or no video in it, ValueError for damage."""
    folder = Path(folder)
    if not (folder / "meta.json").is_file():
        raise FileNotFoundError(f"no VLP pack in {folder}: expected meta.json there; `wtal extract` makes one")
    meta, grid = read_meta(folder / "meta.json")
    files = {path.stem: path for path in sorted((folder / "features").glob("*.npy"))}
    if not files:
        raise FileNotFoundError(f"the VLP pack {folder} holds no video yet; `wtal extract` adds some")
    classes = tuple(meta["classes"])
    return OpenPack(folder, meta, grid, classes, read_text_rows(folder, meta, classes, meta["embed_dim"]), files)


@dataclass(frozen=True, eq=False)
class Scorer:
    """Branches that score the snippets of a video, their classes, and the config by which scores become segments."""

    branches: dict[Name, nn.Module]
    classes: tuple[str, ...]
    config: Config
    reliability: dict[Name, float] | None = None
    "of each branch, by which it counts in their fusion"


def vanilla(pack: OpenPack) -> Scorer:
    """Score by image-text similarity alone: the pack's own text rows and logit scale, nothing trained."""
    branch = Vanilla(torch.from_numpy(pack.text), float(pack.meta["logit_scale"]))
    first, *_ = DATASETS
    dataset = next((name for name, one in DATASETS.items() if one.classes == pack.classes), first)
    return Scorer({"vlp": branch}, pack.classes, preset("vanilla_vlp", dataset))


def trained(run: str | Path, pack: OpenPack) -> Scorer:
    """Score by the averaged branches of a run.

    Raises FileNotFoundError: there is no finished run; ValueError: it is damaged, of another width, of precomputed
    scores, or of own parts whose text has changed.
    """
    run = Path(run)
    if not (run / "record.json").is_file():
        raise FileNotFoundError(f"no finished run in {run}: expected the record.json that `wtal run` writes there")
    record = read_json(run / "record.json", "the record of a run", "run it again")
    config = from_dict(Config, record["config"])
    if any(branch.head.startswith(PRECOMPUTED) for branch in (config.cbp, config.vlp)):
        raise ValueError(
            f"a branch of {run} is another method's scores, of its own videos alone; train networks instead"
        )
    here = extensions.marks(own(config), anew=True).get("extensions", {})
    for module, one in record.get("extensions", {}).items():
        if here[module] != one["sha256"]:
            raise ValueError(extensions.differs(module, "this folder or Python's path"))
    groups, content = checkpoint.read(run / "last.safetensors")
    weights = {name: groups[f"{name}.average"] for name in BRANCHES}
    width, classes = content["width"], tuple(content["classes"])
    if width["vlp"] != pack.meta["embed_dim"]:
        has = pack.meta["embed_dim"]
        raise ValueError(f"{run} was trained on embeddings of width {width['vlp']}, {pack.path} has {has}")
    if config.prompts == "context":
        context = [len(weights["vlp"].get(f"text.context{side}", ())) for side in ("", "_after")]
        text: nn.Module = learner_for(pack.meta, classes, prefix="", before=context[0], after=context[1])
    else:
        text = TextResidual(weights["vlp"]["text.text_ce"])
    moments = {name: (np.zeros(of), np.ones(of)) for name, of in width.items()}  # placeholders of the right width
    branches: dict[Name, nn.Module] = {
        "cbp": built("cbp", config.cbp, moments["cbp"], len(classes)),
        "vlp": built("vlp", config.vlp, moments["vlp"], text, 1.0),
    }
    for name, branch in branches.items():
        branch.load_state_dict(weights[name])
        branch.eval().requires_grad_(False)
    return Scorer(branches, classes, config, content["reliability"])


def cbp_features(root: str | Path, scorer: Scorer) -> Features:
    """CBP features of the run's dataset in a data root; FileNotFoundError for none, ValueError without CBP branch."""
    if "cbp" not in scorer.branches:
        raise ValueError("CBP features serve the CBP branch of a trained run; name one with --checkpoint")
    dataset = scorer.config.dataset
    if dataset not in DATASETS:
        own = Path(root) / dataset  # somebody's own: their annotations are in the folder, or in one of its name in it
        dataset = get_dataset(own if own.is_dir() else root).name
    return find_pack(root, dataset, "cbp", find_annotations(root, dataset))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Both modalities of a pack's videos, on the grid of ``cbp`` where there are CBP features."""

    pack: OpenPack
    cbp: Features | None

    @property
    def grid(self) -> Grid:
        return self.pack.grid if self.cbp is None else self.cbp.grid

    def rows(self, kind: str, name: str) -> np.ndarray:
        """Features (t, d) of a video; VLP's on the pack's own grid, cut or repeated, where CBP has none of it."""
        if self.cbp is not None and kind == "cbp":
            return self.cbp[name]
        rows, own, grid = self.pack[name], self.pack.grid, self.grid
        lengths = {} if self.cbp is None else self.cbp.lengths
        return resampled(rows, own, grid, lengths.get(name, max(1, round(len(rows) * own.step / grid.step))))


def scores(pack: OpenPack, scorer: Scorer, cbp: Features | None = None) -> dict[str, VideoScores]:
    """Scores by video, fused where it has both features, on the grid of ``cbp`` where given, else on the pack's."""
    both = [name for name in pack.files if cbp is not None and name in cbp.lengths and "cbp" in scorer.branches]
    alone = [name for name in pack.files if name not in set(both)]
    vlp: dict[Name, nn.Module] = {"vlp": scorer.branches["vlp"]}
    rows = _Rows(pack, cbp)
    found = video_scores(scorer.config, rows, vlp, alone)["vlp"]
    if both:
        found |= video_scores(scorer.config, rows, scorer.branches, both, scorer.reliability)["fused"]
    if len(scorer.classes) == 1 and isinstance(vlp["vlp"], Vanilla):  # its softmax is 1 everywhere
        found = {name: replace(video, score_tc=min_max(pack[name] @ pack.text.T)) for name, video in found.items()}
    return {name: found[name] for name in pack.files}


def localize_pack(pack: OpenPack, scorer: Scorer, cbp: Features | None = None, every_class: bool = False) -> Detections:
    """Detections of all videos of a pack, seconds; of ``every_class`` on demand, likely to occur or not."""
    found = scores(pack, scorer, cbp)
    config = replace(scorer.config.localize, class_threshold=0.0) if every_class else scorer.config.localize
    return localize(list(found.values()), config, pack.grid if cbp is None else cbp.grid, scorer.classes)


def localize_to_file(
    folder: Path, out: Path, checkpoint: Path | None = None, data_root: str = ""
) -> tuple[str, list[str]]:
    """Write the detections of a pack as ``wtal localize`` does; a line about them, and one on each unreadable video.

    Raises ValueError: none can be read.
    """
    pack, broken = open_pack(folder), dict[str, str]()
    for name in pack.files:
        try:
            _ = pack[name]
        except ValueError as error:
            broken[name] = str(error)
    if len(broken) == len(pack.files):
        raise ValueError(f"none of its {len(broken)} videos can be read: {next(iter(broken.values()))}")
    pack = replace(pack, files={name: path for name, path in pack.files.items() if name not in broken})
    scorer = trained(checkpoint, pack) if checkpoint else vanilla(pack)
    found = localize_pack(pack, scorer, cbp_features(data_root, scorer) if data_root else None)
    write_detections(out, found)
    mark = " (random weights: meaningless)" if pack.meta["pretrained"] == "random" and not checkpoint else ""
    return f"{len(found)} segments in {len(found.videos)} videos in {out}{mark}", list(broken.values())


def best_segments(found: Detections, most: int = 3) -> pd.DataFrame:
    """The ``most`` best detections of each video, a row each: video, class, start and stop in seconds, score."""
    frame = pd.DataFrame(
        {"video": np.take(found.videos, found.video_n), "class": np.take(found.classes, found.label_n)}
    )
    frame[["start", "stop"]], frame["score"] = found.segment_n2, found.score_n
    frame = frame.sort_values(["video", "score"], ascending=[True, False], kind="stable")
    return frame.groupby("video").head(most).reset_index(drop=True)
