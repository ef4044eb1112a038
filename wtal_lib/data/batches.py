"""Training batches: both modalities of some videos, padded, with their video-level labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from wtal_lib.data.annotations import Annotations, Video
from wtal_lib.data.features import Features, Pack, aligned


@dataclass(frozen=True, eq=False)
class Batch:
    """Some videos, their rows padded with zeros to the longest of them."""

    names: tuple[str, ...]
    index: Int[Tensor, "b t"]
    "snippet of the whole video that each row is; 0 in the padding"
    x: Float[Tensor, "b t d"]
    "CBP features"
    z: Float[Tensor, "b t e"]
    "VLP features of the same snippets"
    mask: Bool[Tensor, "b t"]
    "rows that are no padding"
    y: Float[Tensor, "b c"]
    "video-level labels, 1 for each class that occurs"


class Batches:
    """The training batches of a run: ``batches[step]`` depends on the seed, the step and ``warmup`` alone.

    The trainer raises ``warmup`` while a branch is in doubt: so long the held-out videos stay out. Every epoch
    goes through all videos in an order of its own, and goes on into the next within a batch.
    """

    def __init__(
        self,
        annotations: Annotations,
        cbp: Features,
        vlp: Features,
        *,
        videos: int = 16,
        snippets: int = 320,
        seed: int = 0,
        held_out: float = 0.0,
        warmup: int = 0,
    ) -> None:
        """``videos`` a batch, each of at most ``snippets`` rows.

        About a share ``held_out`` of each class's training videos is kept out of the first ``warmup`` batches; a class
        keeps at least one video, and nothing is held out of fewer than five.

        Raises:
            ValueError: No video has labels and both features, or a number is not positive.
        """
        if videos < 1 or snippets < 1:
            raise ValueError(f"expected at least 1 video and 1 snippet a batch, got {videos} and {snippets}")
        vlp = vlp.on(cbp.grid) if isinstance(vlp, Pack) else vlp
        if vlp.grid != cbp.grid:
            raise ValueError(f"expected both modalities on one grid, got {cbp.grid} and {vlp.grid}; resample one")
        self.annotations, self.cbp, self.vlp = annotations, cbp, vlp
        self.videos, self.snippets, self.seed, self.warmup = videos, snippets, seed, warmup
        self.classes, self.grid, self.lengths = annotations.classes, cbp.grid, cbp.lengths
        train = annotations.subset("train")
        self.missing: dict[str, str] = {video.name: why for video in train if (why := self._lacks(video))}
        "training videos left out, and why"
        self.training = tuple(video.name for video in train if video.name not in self.missing)
        "training videos that are drawn from"
        if not self.training:
            why = ", ".join(sorted(set(self.missing.values()))) or "there are no training videos"
            raise ValueError(f"expected training videos with labels and features, got none: {why}; see `wtal check`")
        self._y = np.zeros((len(self.training), len(self.classes)), np.float32)
        for i, name in enumerate(self.training):
            self._y[i, self.labelled(name)] = 1
        held = self._held_out(held_out)
        self.held_out = {self.training[i]: self._y[i] for i in held}
        "labels (c,) of the training videos that the warm-up does not see"
        self._early = np.setdiff1d(np.arange(len(self.training)), held)
        self._order: tuple[tuple[int, int], Int[np.ndarray, " n"]] = ((-1, -1), np.zeros(0, np.int64))

    def _lacks(self, video: Video) -> str:
        """What keeps a video from being trained on."""
        if not video.labels:
            return "no video-level label"
        lacking = [kind for kind, pack in (("CBP", self.cbp), ("VLP", self.vlp)) if video.name not in pack.lengths]
        return f"no {' and no '.join(lacking)} features" if lacking else ""

    def _held_out(self, share: float) -> list[int]:
        """Indices into ``training``, class by class, in an order that the names decide."""
        held: list[int] = []
        left_c = self._y.sum(axis=0)
        ranked = sorted(range(len(self.training)), key=lambda i: hashlib.sha256(self.training[i].encode()).digest())
        for c in range(len(self.classes) if share and len(self.training) >= 5 else 0):
            members = [i for i in ranked if self._y[i, c]]
            for i in members[: max(1, round(share * len(members)))]:
                if i not in held and (left_c[self._y[i] > 0] > 1).all():
                    held.append(i)
                    left_c -= self._y[i]
        return held

    @property
    def fingerprint(self) -> str:
        """Hash of the data: both packs and the training labels."""
        content = repr((self.cbp.fingerprint, self.vlp.fingerprint, self.classes, self.training)).encode()
        return hashlib.blake2b(content + self._y.tobytes(), digest_size=8).hexdigest()

    def _drawn(self, step: int) -> list[int]:
        """Indices into ``training`` of a step's videos; the warm-up has epochs of its own."""
        early = step < self.warmup
        pool = self._early if early else np.arange(len(self.training))
        first = (step if early else step - self.warmup) * self.videos
        drawn = []
        for place in range(first, first + self.videos):
            key = place // len(pool), len(pool)
            if self._order[0] != key:
                self._order = key, pool[np.random.default_rng([self.seed, *key]).permutation(len(pool))]
            drawn.append(int(self._order[1][place % len(pool)]))
        return drawn

    def names(self, step: int) -> tuple[str, ...]:
        """Videos of a step's batch, without reading them."""
        return tuple(self.training[i] for i in self._drawn(step))

    def positions(self, length: int, draw_t: Float[np.ndarray, " t"]) -> Int[np.ndarray, " s"]:
        """Snippets taken of a video: all of them, or one from each of ``snippets`` equally wide bins, in order.

        ``draw_t`` in [0, 1) is the place of each in its bin.
        """
        if length <= self.snippets:
            return np.arange(length)
        edge = np.arange(self.snippets + 1) * length // self.snippets
        return edge[:-1] + (draw_t * np.diff(edge)).astype(np.int64)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, from 0; there is no last one."""
        drawn = self._drawn(step)
        names = tuple(self.training[i] for i in drawn)
        jitter = np.random.default_rng([self.seed, step, 1]).random((len(drawn), self.snippets))
        taken = [self.positions(self.lengths[name], jitter[i]) for i, name in enumerate(names)]
        shape = len(names), max(len(positions) for positions in taken)
        index, mask = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.bool)
        x, z = torch.zeros(*shape, self.cbp.width), torch.zeros(*shape, self.vlp.width)
        for i, (name, positions) in enumerate(zip(names, taken, strict=True)):
            count = len(positions)
            index[i, :count], mask[i, :count] = torch.from_numpy(positions), True
            x[i, :count] = torch.from_numpy(self.cbp[name][positions])
            z[i, :count] = torch.from_numpy(self.vlp[name][positions.clip(max=self.vlp.lengths[name] - 1)])
        return Batch(names, index, x, z, mask, torch.from_numpy(self._y[drawn]))

    def rows(self, kind: str, name: str) -> Float[np.ndarray, "t d"]:
        """All rows of any video of one modality, as many as CBP has: VLP's are cut, or the last one repeated."""
        return self.cbp[name] if kind == "cbp" else aligned(self.vlp, name, self.grid, self.lengths[name])

    def labelled(self, name: str) -> Int[np.ndarray, " k"]:
        """Indices of the classes that any video is labelled with."""
        return np.array([self.classes.index(label) for label in self.annotations.videos[name].labels], dtype=np.int64)
