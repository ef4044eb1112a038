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
    """The training batches of a run: ``batches[step]`` depends on the seed and the step alone.

    So a run that was killed resumes with the batches it would have seen. Every epoch goes through all videos in an
    order of its own, and goes on into the next within a batch. Videos that cannot be trained on stand in ``missing``.
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
    ) -> None:
        """``videos`` a batch, each of at most ``snippets`` rows.

        Raises:
            ValueError: No video has labels and both features, or a number is not positive.
        """
        if videos < 1 or snippets < 1:
            raise ValueError(f"expected at least 1 video and 1 snippet a batch, got {videos} and {snippets}")
        vlp = vlp.on(cbp.grid) if isinstance(vlp, Pack) else vlp
        if vlp.grid != cbp.grid:
            raise ValueError(f"expected both modalities on one grid, got {cbp.grid} and {vlp.grid}; resample one")
        self.annotations, self.cbp, self.vlp = annotations, cbp, vlp
        self.videos, self.snippets, self.seed = videos, snippets, seed
        self.classes, self.grid, self.lengths = annotations.classes, cbp.grid, cbp.lengths
        train = annotations.subset("train")
        self.missing: dict[str, str] = {video.name: why for video in train if (why := self._lacks(video))}
        "training videos left out, and why"
        self.training = tuple(video.name for video in train if video.name not in self.missing)
        "training videos that are drawn from"
        if not self.training:
            why = ", ".join(sorted(set(self.missing.values()))) or "there are no training videos"
            raise ValueError(f"expected training videos with labels and features, got none: {why}; see `wtal check`")
        identity = {label: i for i, label in enumerate(self.classes)}
        self._label = np.zeros((len(self.training), len(self.classes)), np.float32)
        for i, name in enumerate(self.training):
            self._label[i, [identity[label] for label in annotations.videos[name].labels]] = 1
        self._order: tuple[int, Int[np.ndarray, " n"]] = (-1, np.zeros(0, np.int64))

    def _lacks(self, video: Video) -> str:
        """What keeps a video from being trained on."""
        if not video.labels:
            return "no video-level label"
        lacking = [kind for kind, pack in (("CBP", self.cbp), ("VLP", self.vlp)) if video.name not in pack.lengths]
        return f"no {' and no '.join(lacking)} features" if lacking else ""

    @property
    def fingerprint(self) -> str:
        """Hash of the data: both packs and the training labels."""
        content = repr((self.cbp.fingerprint, self.vlp.fingerprint, self.classes, self.training)).encode()
        return hashlib.blake2b(content + self._label.tobytes(), digest_size=8).hexdigest()

    def moments(self, kind: str) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
        """Mean and standard deviation of each column of ``cbp`` or ``vlp`` over the training videos, float32."""
        return {"cbp": self.cbp, "vlp": self.vlp}[kind].moments

    def _epoch(self, epoch: int) -> Int[np.ndarray, " n"]:
        """The order in which an epoch goes through the training videos."""
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch, 0]).permutation(len(self.training))
        return self._order[1]

    def _drawn(self, step: int) -> list[int]:
        """Indices into ``training`` of a step's videos."""
        count = len(self.training)
        places = range(step * self.videos, (step + 1) * self.videos)
        return [int(self._epoch(place // count)[place % count]) for place in places]

    def names(self, step: int) -> tuple[str, ...]:
        """Videos of a step's batch, without reading them."""
        return tuple(self.training[i] for i in self._drawn(step))

    def positions(self, length: int, draw_t: Float[np.ndarray, " t"]) -> Int[np.ndarray, " s"]:
        """Snippets taken of a video: all of them, or one from each of ``snippets`` equally wide bins, in order.

        ``draw_t`` in [0, 1) says where in its bin each lies.
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
        rows = max(len(positions) for positions in taken)
        index, mask = torch.zeros(len(names), rows, dtype=torch.int64), torch.zeros(len(names), rows, dtype=torch.bool)
        x = torch.zeros(len(names), rows, self.cbp.width)
        z = torch.zeros(len(names), rows, self.vlp.width)
        for i, (name, positions) in enumerate(zip(names, taken, strict=True)):
            count = len(positions)
            index[i, :count], mask[i, :count] = torch.from_numpy(positions), True
            x[i, :count] = torch.from_numpy(self.cbp[name][positions])
            z[i, :count] = torch.from_numpy(self.vlp[name][positions.clip(max=self.vlp.lengths[name] - 1)])
        return Batch(names, index, x, z, mask, torch.from_numpy(self._label[drawn]))

    def rows(self, kind: str, name: str) -> Float[np.ndarray, "t d"]:
        """All rows of any video of one modality, as many as CBP has: cut, or the last row repeated.

        Raises:
            KeyError: The pack has no such video.
        """
        if kind == "cbp" or self.vlp.lengths[name] == self.lengths[name]:
            return {"cbp": self.cbp, "vlp": self.vlp}[kind][name]
        return aligned(self.vlp, name, self.grid, self.lengths[name])

    def whole(self, name: str) -> tuple[Float[np.ndarray, "t d"], Float[np.ndarray, "t e"]]:
        """All rows of any video of both packs.

        Raises:
            KeyError: A pack has no such video.
        """
        return self.rows("cbp", name), self.rows("vlp", name)

    def labelled(self, name: str) -> Int[np.ndarray, " k"]:
        """Indices of the classes that any video is labelled with."""
        return np.array([self.classes.index(label) for label in self.annotations.videos[name].labels], dtype=np.int64)
