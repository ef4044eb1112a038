"""Any VLP pack to segments: by image-text similarity alone, or by the branches of a finished run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor, nn

from wtal_lib.data import checkpoint
from wtal_lib.data.annotations import find_annotations
from wtal_lib.data.datasets import DATASETS, get_dataset
from wtal_lib.data.features import Features, find_pack
from wtal_lib.data.files import read_array, read_json
from wtal_lib.data.segments import Detections, Grid, resampled
from wtal_lib.data.vlp_pack import REMEDY, read_meta, read_text_rows
from wtal_lib.method.config import Config
from wtal_lib.method.localize import VideoScores, localize, min_max
from wtal_lib.method.models import CbpBranch, Vanilla, VlpBranch
from wtal_lib.method.predict import branch_scores, fuse
from wtal_lib.method.presets import preset
from wtal_lib.method.schedule import Name
from wtal_lib.method.text import TextResidual
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


def vanilla(pack: OpenPack) -> Scorer:
    """Score by image-text similarity alone: the pack's own text rows and logit scale, nothing trained."""
    branch = Vanilla(torch.from_numpy(pack.text), float(pack.meta["logit_scale"]))
    first, *_ = DATASETS
    dataset = next((name for name, one in DATASETS.items() if one.classes == pack.classes), first)
    return Scorer({"vlp": branch}, pack.classes, preset("vanilla_vlp", dataset))


def trained(run: str | Path, pack: OpenPack) -> Scorer:
    """Score by the averaged branches of a run; FileNotFoundError for none, ValueError for damage or another width."""
    run = Path(run)
    if not (run / "record.json").is_file():
        raise FileNotFoundError(f"no finished run in {run}: expected the record.json that `wtal run` writes there")
    record = read_json(run / "record.json", "the record of a run", "run it again")
    config = from_dict(Config, record["config"])
    tensors, _ = checkpoint.read(run / "last.safetensors")
    part: dict[str, dict[str, Tensor]] = {"cbp": {}, "vlp": {}}
    for key in (key for key in tensors if ".average." in key):
        name, _, rest = key.partition(".average.")
        part[name][rest] = tensors[key]
    mean = {name: own["standardise.mean"].numpy() for name, own in part.items()}
    width = len(mean["vlp"])
    if width != pack.meta["embed_dim"]:
        raise ValueError(f"{run} was trained on embeddings of width {width}, {pack.path} has {pack.meta['embed_dim']}")
    if config.dataset in DATASETS:
        classes = DATASETS[config.dataset].classes
    else:  # somebody's own: average precision is listed by class, in their order
        classes = tuple(next(iter(next(iter(record["metrics"].values())).values()))["ap"])
    if config.prompts == "context":
        context = [len(part["vlp"].get(f"text.context{side}", ())) for side in ("", "_after")]
        text: nn.Module = learner_for(pack.meta, classes, prefix="", before=context[0], after=context[1])
    else:
        text = TextResidual(part["vlp"]["text.text_ce"])
    branches: dict[Name, nn.Module] = {  # whose moments are loaded below
        "cbp": CbpBranch((mean["cbp"], mean["cbp"]), len(classes), config.cbp),
        "vlp": VlpBranch((mean["vlp"], mean["vlp"]), text, 1.0, config.vlp),
    }
    for name, branch in branches.items():
        branch.load_state_dict(part[name])
        branch.eval().requires_grad_(False)
    return Scorer(branches, classes, config)


def cbp_features(root: str | Path, scorer: Scorer) -> Features:
    """CBP features of the run's dataset in a data root; FileNotFoundError for none, ValueError without CBP branch."""
    if "cbp" not in scorer.branches:
        raise ValueError("CBP features serve the CBP branch of a trained run; name one with --checkpoint")
    dataset = scorer.config.dataset
    if dataset not in DATASETS:
        dataset = get_dataset(root).name  # somebody's own: their annotations are in the folder
    return find_pack(root, dataset, "cbp", find_annotations(root, dataset))


def scores(pack: OpenPack, scorer: Scorer, cbp: Features | None = None) -> dict[str, VideoScores]:
    """Scores by video, fused where it has both features, on the grid of ``cbp`` where given, else on the pack's."""
    both = {name for name in pack.files if cbp is not None and name in cbp.lengths and "cbp" in scorer.branches}
    grid, pool = pack.grid if cbp is None else cbp.grid, scorer.config.training.pool

    def embeddings(name: str) -> np.ndarray:
        rows = pack[name]
        length = cbp.lengths[name] if cbp and name in both else max(1, round(len(rows) * pack.grid.step / grid.step))
        return resampled(rows, pack.grid, grid, length)

    found = branch_scores(scorer.branches["vlp"], pack.files, embeddings, pool, "float32")
    if cbp is not None and both:
        for name, score in branch_scores(scorer.branches["cbp"], both, cbp.__getitem__, pool, "float32").items():
            found[name] = fuse([score, found[name]], scorer.config)
    if len(scorer.classes) == 1 and isinstance(scorer.branches["vlp"], Vanilla):  # its softmax is 1 everywhere
        found = {name: replace(video, score_tc=min_max(pack[name] @ pack.text.T)) for name, video in found.items()}
    return found


def localize_pack(pack: OpenPack, scorer: Scorer, cbp: Features | None = None, every_class: bool = False) -> Detections:
    """Detections of all videos of a pack, seconds; of ``every_class`` on demand, likely to occur or not."""
    found = scores(pack, scorer, cbp)
    config = replace(scorer.config.localize, class_threshold=0.0) if every_class else scorer.config.localize
    return localize(list(found.values()), config, pack.grid if cbp is None else cbp.grid, scorer.classes)


def best_segments(found: Detections, most: int = 3) -> pd.DataFrame:
    """The ``most`` best detections of each video, a row each: video, class, start and stop in seconds, score."""
    frame = pd.DataFrame(
        {"video": np.take(found.videos, found.video_n), "class": np.take(found.classes, found.label_n)}
    )
    frame[["start", "stop"]], frame["score"] = found.segment_n2, found.score_n
    frame = frame.sort_values(["video", "score"], ascending=[True, False], kind="stable")
    return frame.groupby("video").head(most).reset_index(drop=True)
