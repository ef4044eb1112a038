"""A configuration on data: what training reads, what is scored, and what a record says of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from wtal_lib import extensions
from wtal_lib.compute import precision
from wtal_lib.data.annotations import earned_name, ground_truth
from wtal_lib.data.batches import Batches
from wtal_lib.data.datasets import get_dataset
from wtal_lib.data.segments import GroundTruth
from wtal_lib.method import models, predict, text
from wtal_lib.method.config import Config, own
from wtal_lib.method.heads import PRECOMPUTED
from wtal_lib.method.localize import VideoScores, min_max
from wtal_lib.method.presets import HEADLINE_BRANCH
from wtal_lib.method.state import State, fresh
from wtal_lib.runs import contracts, precomputed
from wtal_lib.runs.records import METHOD
from wtal_lib.runs.sources import Data
from wtal_lib.score.completeness import activated, covered, shares
from wtal_lib.score.evaluate import report
from wtal_lib.settings import digest, replaced, sha256, to_dict
from wtal_lib.video.text import EFFICIENT_PROMPT, learner_for

Scores = dict[str, dict[str, VideoScores]]
"by branch, then by video"


def resolved(config: Config, device: str = "auto") -> tuple[Config, str]:
    """The configuration and the device of a run, with ``auto`` settled: a GPU if this machine has one, else the CPU.

    A GPU that is asked for where there is none, for the workers of a cluster, is taken to multiply bfloat16 natively.
    """
    there = torch.cuda.is_available()
    device = ("cuda" if there else "cpu") if device == "auto" else device
    kind, wanted = device.partition(":")[0], config.training.precision
    assumed = (kind, wanted, there) == ("cuda", "auto", False)
    return replaced(config, training__precision="bfloat16" if assumed else precision(wanted, kind)), device


def identity(config: Config, data: Data, device: str) -> str:
    """Name of a :func:`resolved` run: equal for equal config, precision, data, kind of device and method revision.

    The text of your own modules and the content of precomputed scores count as they are now. Raises ValueError: as
    :func:`wtal_lib.extensions.marks`; FileNotFoundError: precomputed scores that are not there.
    """
    content = {"config": precomputed.content(config), "data": data.fingerprint, "method": METHOD}
    content |= {"device": device.partition(":")[0], **extensions.marks(own(config), anew=True)}
    return digest(content, 16)


CURVE_VIDEOS = 400
"test videos, evenly chosen, on which the training curve is taken where there are more"


class Experiment:
    """A run's :func:`resolved` config, data and device; ValueError for a GPU that is not there, or untrainable data."""

    def __init__(self, config: Config, data: Data, device: str = "auto") -> None:
        assert data.cbp is not None
        assert data.vlp is not None
        self.data, (self.config, self.device) = data, resolved(config, device)
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r} was asked for, but PyTorch sees no GPU; use auto or cpu")
        self.identity = identity(self.config, data, self.device)
        sizes = {name: getattr(config.training, name) for name in ("videos", "snippets", "held_out")}
        drawn = {"seed": config.seed, "warmup": config.schedule.warmup}
        self.texts = extensions.texts(own(self.config))
        both, videos = data.cbp.lengths.keys() & data.vlp.lengths.keys(), data.annotations.videos.values()
        names = [video.name for video in videos if video.name in both and (video.labels or video.subset == "test")]
        packs: dict[str, Any] = {"cbp": data.cbp, "vlp": data.vlp}
        for kind, head in (("cbp", self.config.cbp.head), ("vlp", self.config.vlp.head)):
            if head.startswith(PRECOMPUTED):  # another method's scores in place of features, on the grid of CBP's
                packs[kind] = precomputed.scores(head, data.cbp, data.annotations, names)
        self.batches = Batches(data.annotations, packs["cbp"], packs["vlp"], **sizes, **drawn)
        self.foreign = {kind: one.fingerprint for kind, one in packs.items() if isinstance(one, precomputed.Scores)}
        self.vlp, self.logit_scale = data.vlp, float(data.vlp.meta.get("logit_scale", 100.0))
        self.protocol = get_dataset(config.dataset).headline
        self.truth: GroundTruth = ground_truth(data.annotations, self.protocol)
        both = self.batches.cbp.lengths.keys() & self.batches.vlp.lengths.keys()
        test = [video.name for video in data.annotations.subset("test")]
        self.test = [name for name in test if name in both]
        self.missing = [name for name in test if name not in both]
        self.sample = self.test[:: max(1, -(-len(self.test) // CURVE_VIDEOS))]
        self._truth: dict[str, np.ndarray] = {}

    def fresh(self) -> State:
        """The run before its first update.

        Raises:
            ValueError: a part that the config names is unknown, or does not do what it owes (:func:`contracts.check`).
        """
        state = fresh(self.config, self.batches, self.text(), self.logit_scale, self.device)
        contracts.check(self.config, self.batches, state.branches, self.device)
        return state

    def text(self) -> torch.nn.Module:
        """Class rows: fixed, with a learnable residual, or learnt prompts; ValueError where these lack a text tower."""
        if self.config.prompts != "context":
            return text.TextResidual(self._rows()).requires_grad_(self.config.prompts != "fixed")
        if self.vlp.meta.get("simulated"):
            raise ValueError("prompts='context' needs a text tower, which simulated features have not; use residual")
        return learner_for(self.vlp.meta, self.batches.classes, self.device, **EFFICIENT_PROMPT)

    def vanilla(self) -> models.Vanilla:
        """The VLP branch before any training."""
        return models.Vanilla(self._rows(), self.logit_scale).to(self.device)

    def _rows(self) -> torch.Tensor:
        """Text rows (c, e); for a pack without any, each class's mean embedding beside the mean over all classes."""
        if self.vlp.text is not None:
            return torch.from_numpy(np.array(self.vlp.text, dtype=np.float32))
        names = self.batches.training
        mean_be = np.stack([self.vlp[name].mean(axis=0, dtype=np.float64) for name in names])
        label_bc = np.zeros((len(names), len(self.batches.classes)))
        for b, name in enumerate(names):
            label_bc[b, self.batches.labelled(name)] = 1
        row_ce = label_bc.T @ (mean_be - mean_be.mean(axis=0)) / label_bc.sum(axis=0).clip(min=1)[:, None]
        row_ce /= np.linalg.norm(row_ce, axis=1, keepdims=True).clip(min=1e-9)
        return torch.from_numpy(row_ce.astype(np.float32))

    def snippet_truth(self, name: str) -> np.ndarray:
        """A video's ground truth on its snippets, (t, c) bool: to look at, and for the supervised bound."""
        if name not in self._truth:
            video, snippets = self.data.annotations.videos[name], self.batches.lengths[name]
            self._truth[name] = np.zeros((snippets, len(self.batches.classes)), dtype=bool)
            labels = np.array(video.instance_labels)
            for label in set(video.instance_labels):
                mask = self.batches.grid.mask(video.segments[labels == label], snippets)
                self._truth[name][:, self.batches.classes.index(label)] = mask
        return self._truth[name]

    def scores(self, state: State, videos: Sequence[str] | None = None) -> Scores:
        """Scores of each branch and of both for test ``videos``, all if absent; nothing trained means vanilla VLP."""
        raw = not state.done and not self.config.vlp.head.startswith(PRECOMPUTED)
        branches = {**state.averages, "vlp": self.vanilla()} if raw else dict(state.averages)
        scores = predict.video_scores(self.config, self.batches, branches, videos or self.test, state.reliability)
        return scores if state.done else {**scores, "fused": scores["vlp"]}

    def headline_map(self, detections: Any, videos: Sequence[str] | None = None) -> float:
        """The headline mean of mAP under the headline protocol, over test ``videos`` where they are given."""
        annotations = self.data.annotations
        if videos is not None and len(videos) < len(self.test):
            annotations = replace(annotations, videos={name: annotations.videos[name] for name in videos})
        scored = report(detections, annotations, [self.protocol])["protocols"]
        return next(iter(next(iter(scored.values()))["means"].values()))

    def normalized_cas(self, scores: dict[str, VideoScores]) -> dict[str, np.ndarray]:
        """Each video's class activations (t, c), those of every class that occurs scaled to [0, 1], the others 0."""
        found = {name: np.zeros(video.cas_tc.shape) for name, video in scores.items()}
        for name, cas_tc in found.items():
            for c in np.flatnonzero(self.snippet_truth(name).any(axis=0)):
                cas_tc[:, c] = min_max(scores[name].cas_tc[:, [c]])[:, 0]
        return found

    def complementarity(self, scores: dict[str, VideoScores], level: float = 0.5) -> dict[str, float]:
        """Share of instances that activations at ``level`` cover, and of their seconds inside, beside and away."""
        table = activated(self.normalized_cas(scores), level, self.batches.grid, self.batches.classes)
        length_n = np.diff(table.segment_n2)[:, 0]
        share_n3 = np.nan_to_num(shares(table, self.truth))
        inside, context, elsewhere = (length_n[:, None] * share_n3).sum(axis=0) / max(length_n.sum(), 1e-9)
        complete = float(np.nanmean(covered(table, self.truth)))
        return {"completeness": complete, "inside": inside, "context": context, "elsewhere": elsewhere}

    def description(self) -> dict[str, Any]:
        """The fields of the record that are known before anything is computed."""
        config, data, branch = self.config, self.data, HEADLINE_BRANCH.get(self.config.preset, "fused")
        own = {name: {"sha256": sha256(text), "text": text} for name, text in self.texts.items()}
        return {
            "identity": self.identity,
            "config": to_dict(config),
            "method": METHOD,
            "preset": config.preset,
            "seed": config.seed,
            "source": data.place,
            "structure": data.structure,
            "uses_snippet_labels": config.training.supervised,
            "headline": {"protocol": earned_name(self.protocol, len(self.truth.videos)), "branch": branch},
            "data": {"fingerprint": data.fingerprint, "simulator": data.world and to_dict(data.world.config)}
            | ({"precomputed": self.foreign} if self.foreign else {}),
            **({"extensions": own} if own else {}),
            "text_rows": "the pack's own" if self.vlp.text is not None else "class means of the training videos",
            "missing": {"training": self.batches.missing, "test": self.missing},
            "device": self.device,
            "precision": config.training.precision,
            "threads": torch.get_num_threads(),
        }
