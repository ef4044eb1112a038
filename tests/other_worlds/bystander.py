"""World "bystander": long takes by somebody in the stands, with slow changes where television has cuts.

Unlike ``wtal_lib.simulate``, which adds dense directions and Gaussian noise:

- CBP is a sparse, non-negative dictionary of movements: some of all classes, one of each group, a few of a class.
  Features saturate and are shrunk to exact zeros; noise multiplies them, is pink (1/f), and has impulses with a Pareto
  tail.
- An instance starts and ends softly; how relevant the scene looks rises seconds before it and falls seconds after it.
  Rehearsals and passers-by are like parts of instances.
- How well an instance is seen is drawn for all of them, with a correlation of 0.6 between the modalities.
- VLP is a bag of words: place, object and verb of a class, some of which classes share, among words of clutter.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from footage import SNIPPET, groups, instances, labels, snippets
from scipy.signal import lfilter
from signals import pink, pooled, sigmoid, unit

from wtal_lib.data.instances import Video

WITHIN = 4
"samples a snippet"
STEP = SNIPPET / WITHIN
WIDTH, MOVES, PLACES, NUISANCES, WORDS = 512, 96, 60, 30, 140
SHARED, OWN = 18, 26
"movements: below the first, of all classes; below the second, of groups; from there on, of one or two classes"
SPORT, CLUTTER = 91, np.arange(92, WORDS)
"words: one of all texts, and those of none"

# CBP: strengths
CORE, EARLY, LATE = 1.15, 0.55, 0.5  # of the movements of a class, and of the shared ones before and after them
IDLE, STRAY = 0.30, 0.45  # of shared movements at any time, and of foreign ones
PLACE_IN_RGB = 0.35
REHEARSALS = 1 / 20  # a second
LATENT_NOISE, COLUMN_NOISE, IMPULSES = 0.45, 0.35, 0.02  # the last: share of the snippets
SHRINK = 1.1 * 0.4
# VLP: strengths, in units of which the cone of all images is 0.68 long
PLACE, PLACE_IDLE = 0.17, 0.6  # the second: share that is left where nothing happens
OBJECT, VERB, CLUTTERED = 0.17, 0.025, 0.13
JITTER = 0.4  # of the object's strength in time, on a log scale
NOISE, VIDEO_LOOK = 0.45, 0.30


class Seen(NamedTuple):
    """An instance, how well each modality sees it, and the seconds of its context on either side."""

    start: float
    stop: float
    label: int
    cbp: float
    vlp: float
    before: float
    after: float


class Take:
    """What happens before the camera, sample by sample."""

    def __init__(self, count: int, classes: int) -> None:
        self.count, n = count, count * WITHIN
        self.seconds, self.time = n * STEP, (np.arange(n) + 0.5) * STEP
        self.acting, self.context = np.zeros(n, bool), np.zeros(n, bool)
        self.moves = np.zeros((n, MOVES), np.float32)
        self.relevant, self.verb = np.zeros((n, classes), np.float32), np.zeros((n, classes), np.float32)


def shape(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """A trapezoid: the lesser of two ramps, between 0 and 1."""
    return np.clip(np.minimum(before, after), 0, 1)


def telegraph(rng: np.random.Generator, n: int, k: int, on: float, off: float) -> np.ndarray:
    """(n, k) processes that are on and off for as many seconds on average, each time of another height, softened."""
    out = np.zeros((n, k), np.float32)
    for column in range(k):
        x, is_on = 0.0, rng.random() < on / (on + off)
        while x < n:
            length = rng.exponential((on if is_on else off) / STEP) + 1
            if is_on:
                out[int(x) : int(x + length), column] = rng.gamma(2, 0.5)
            x, is_on = x + length, not is_on
    return lfilter([0.5], [1, -0.5], out, axis=0).astype(np.float32)


def sparse(rng: np.random.Generator, rows: int, share: float) -> np.ndarray:
    """(rows, 256) non-negative atoms, of which a share of the entries is not 0."""
    return (rng.random((rows, WIDTH // 2)) < share) * rng.gamma(0.8, 1.25, (rows, WIDTH // 2))


class Bystander:
    """The world of one seed: its dictionaries, ``text`` (c, 512), and every video's features."""

    SEED = 20240

    def __init__(self, classes: Sequence[str], seed: int = SEED) -> None:
        self.classes, self.seed, group = list(classes), seed, groups(classes)
        rng, c = np.random.default_rng([seed, 22]), len(classes)
        normal = rng.standard_normal
        # which movements a class consists of, and when
        self.early = [rng.choice(SHARED, 3, replace=False) for _ in range(c)]
        self.late = [rng.choice(SHARED, 2, replace=False) for _ in range(c)]
        own = rng.permutation(np.arange(OWN, MOVES))
        self.core = [np.r_[SHARED + group[i], own[2 * i : 2 * i + 2], rng.choice(own[40:])] for i in range(c)]
        self.moment = [np.clip(rng.normal(0.55, 0.12), 0.3, 0.8) + rng.uniform(-0.16, 0.16, 4) for _ in range(c)]
        self.width = [rng.uniform(0.07, 0.16, 4) for _ in range(c)]
        self.known_cbp = np.clip(rng.gamma(14, 1 / 14, c), 0.55, 1.6)
        # what movements, places and nuisances look like in RGB and in flow
        self.moves_rgb, self.moves_flow = sparse(rng, MOVES, 0.07) * 0.5, sparse(rng, MOVES, 0.12)
        self.places, self.nuisances = sparse(rng, PLACES, 0.10), sparse(rng, NUISANCES, 0.15)
        self.places_of = [np.r_[rng.choice(20, 1), 20 + rng.choice(40, 2, replace=False)] for _ in range(c)]
        self.shake_rgb, self.shake_flow = (sparse(rng, 16, 0.4) * 0.8 for _ in range(2))
        self.blur = (normal((12, WIDTH)) / np.sqrt(12)).astype(np.float32)
        # words, and how images show them
        words = unit(normal((WORDS, WIDTH)) + 0.25 * normal((1, WIDTH)))
        agrees = np.clip(rng.beta(12, 4, WORDS), 0.42, 0.92)[:, None]
        self.sight = agrees * words + np.sqrt(1 - agrees**2) * unit(normal((WORDS, WIDTH)))
        self.place = np.array([group[i] if rng.random() < 0.4 else 20 + i for i in range(c)])
        self.thing = np.array([8 + group[i] if rng.random() < 0.35 else 45 + i for i in range(c)])
        self.verb = 70 + np.arange(c)
        text_cone, image_cone = unit(normal((2, WIDTH)))
        self.image_cone = unit(image_cone - 0.12 * text_cone)
        text = 0.75 * text_cone + 0.33 * words[self.place] + 0.33 * words[self.thing] + 0.38 * words[self.verb]
        self.text = unit(text + 0.2 * words[SPORT])
        self.known_vlp = np.clip(rng.gamma(12, 1 / 12, c), 0.5, 1.6)
        self.image_blur = (normal((64, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)

    def draw(self, video: Video, number: int) -> tuple[np.ndarray, np.ndarray]:
        """CBP features and VLP embeddings (t, 512) of a video; its ``number`` in the list does not matter here."""
        rng = np.random.default_rng([self.seed, 2, zlib.crc32(video.name.encode())])
        take, main = Take(snippets(video), len(self.classes)), labels(video, self.classes)
        strays, seen = rng.random() < 0.12, []
        for one in instances(video, self.classes):
            z = rng.standard_normal(3)
            ease = [0.775 * z[0] + 0.632 * z[1], 0.775 * z[0] + 0.632 * z[2]]
            visible = [1.35 * sigmoid(1.1 + 1.1 * x) for x in ease]
            seen.append(Seen(*one, *visible, rng.gamma(2.5, 5.5 / 2.5), rng.gamma(2.5, 4.5 / 2.5)))
        for one in seen:
            self._act(rng, take, one, strays)
        for _ in range(rng.poisson(take.seconds * REHEARSALS)):
            self._rehearse(rng, take, main)
        n = len(take.time)
        take.moves[:, :SHARED] += IDLE * telegraph(rng, n, SHARED, 2.5, 7)
        foreign = rng.choice(np.arange(OWN, MOVES), 8, replace=False)
        take.moves[:, foreign] += STRAY * telegraph(rng, n, 8, 1.2, 25)
        zoom = np.exp(0.25 * pink(rng, n, 1, 1.3))
        visible, x = np.ones(n, np.float32), rng.exponential(28)
        while x < take.seconds:  # away from any context, the camera looks elsewhere for a while
            length = rng.gamma(2, 4)
            away = (take.time >= x) & (take.time < x + length) & ~take.context
            visible[away] = rng.uniform(0, 0.35)
            x += length
            x += rng.exponential(28)
        label = take.relevant.argmax(1)
        label[take.relevant.max(1) == 0] = rng.choice(main)
        take.moves *= zoom
        return self._cbp(rng, take, label, visible, strays), self._vlp(rng, take, label, visible, strays)

    def _act(self, rng: np.random.Generator, take: Take, one: Seen, strays: bool) -> None:
        """Add an instance: its movements, and how relevant the scene looks around it."""
        (start, stop, label), time = one[:3], take.time
        take.acting |= (time >= start) & (time <= stop)
        take.context |= (time >= start - one.before) & (time <= stop + one.after)
        rises, falls = (
            (time - (start - one.before)) / (0.35 * one.before),
            (stop + one.after - time) / (0.45 * one.after),
        )
        ramp = shape(rises, falls) * (0.4 + 0.6 * one.vlp)
        take.relevant[:, label] = np.maximum(take.relevant[:, label], ramp)
        verb = one.vlp * shape((time - start + 0.8) / 0.8, (stop + 0.8 - time) / 0.8)
        take.verb[:, label] = np.maximum(take.verb[:, label], verb)
        length = max(stop - start, 0.3)
        place = (time - start) / length
        near = (place > -1.5) & (place < 2.5)
        place, late = place[near], rng.normal(0, 0.06)
        strength = CORE * self.known_cbp[label] * one.cbp * (0.55 if strays else 1)
        for move, moment, width in zip(self.core[label], self.moment[label], self.width[label], strict=True):
            if rng.random() < 0.15:
                continue
            bump = np.exp(-0.5 * ((place - moment - late) / max(width, 0.3 / length)) ** 2)
            take.moves[near, move] += strength * rng.gamma(4, 0.25) * bump
        middle = self.moment[label].mean()
        for move in self.early[label]:
            height = EARLY * one.cbp * rng.gamma(3, 1 / 3) * sigmoid((place + rng.exponential(0.8 / length)) / 0.05)
            take.moves[near, move] += height * sigmoid((middle - place) / 0.05)
        for move in self.late[label]:
            height = LATE * one.cbp * rng.gamma(3, 1 / 3) * sigmoid((place - middle) / 0.05)
            take.moves[near, move] += height * sigmoid((1 + rng.exponential(1.0 / length) - place) / 0.05)

    def _rehearse(self, rng: np.random.Generator, take: Take, main: list[int]) -> None:
        """Add some movements of a class at a random time at which nobody acts."""
        x, label = rng.uniform(0, take.seconds), rng.choice(main)
        if take.acting[min(len(take.time) - 1, int(x / STEP))]:
            return
        width = 0.5 * (0.5 * rng.uniform(0.5, 1.6)) + 0.2
        for move in rng.choice(self.core[label], rng.integers(1, 4), replace=False):
            strength = CORE * rng.uniform(0.3, 0.85)
            take.moves[:, move] += strength * np.exp(-0.5 * ((take.time - x - rng.normal(0, 0.3)) / width) ** 2)
        if rng.random() < 0.5:
            ramp = np.clip(1.3 - np.abs(take.time - x) / rng.uniform(2, 6), 0, 1) * rng.uniform(0.4, 0.9)
            take.relevant[:, label] = np.maximum(take.relevant[:, label], ramp)

    def _cbp(
        self, rng: np.random.Generator, take: Take, label: np.ndarray, visible: np.ndarray, strays: bool
    ) -> np.ndarray:
        """Means over a snippet and its neighbours of what the dictionary shows, saturated and shrunk."""
        n, t = len(take.time), take.count
        place = np.zeros((n, PLACES), np.float32)
        for one in np.unique(label):
            place[np.ix_(label == one, self.places_of[one])] = 1.0
        place *= (visible * (0.6 + 0.4 * take.relevant.max(1)))[:, None]
        if strays:
            place = np.roll(place, rng.integers(1, 20), axis=1)
        base = np.concatenate([rng.gamma(0.6, 0.5, WIDTH // 2), rng.gamma(0.6, 0.25, WIDTH // 2)])
        gain = np.exp(0.22 * rng.standard_normal(WIDTH))
        shake = np.abs(pink(rng, n, 16, 0.8))
        nuisance = telegraph(rng, n, 6, 12, 20) @ self.nuisances[rng.choice(NUISANCES, 6, replace=False)]
        rgb = take.moves @ self.moves_rgb + PLACE_IN_RGB * place @ self.places + 0.5 * nuisance
        rgb += 0.10 * shake @ self.shake_rgb
        flow = take.moves @ self.moves_flow + 0.22 * shake @ self.shake_flow
        row = (np.hstack([rgb, flow]) * gain + base).astype(np.float32)
        row *= np.exp(LATENT_NOISE * pink(rng, n, 12) @ self.blur)
        row = pooled(row, WITHIN)
        row = 0.15 * np.r_[row[:1], row[:-1]] + 0.7 * row + 0.15 * np.r_[row[1:], row[-1:]]  # receptive field
        row = row * np.exp(COLUMN_NOISE * pink(rng, t, WIDTH, 0.6))
        hit, size = rng.random((t, 1)) < IMPULSES, rng.pareto(2.5, (t, 1))
        row = row + hit * size * (rng.random((t, WIDTH)) < 0.2)
        return np.maximum(row / (1 + row / 6) - SHRINK, 0) * 0.42

    def _vlp(
        self, rng: np.random.Generator, take: Take, label: np.ndarray, visible: np.ndarray, strays: bool
    ) -> np.ndarray:
        """Embeddings of the frame in the middle of each snippet: the words it shows."""
        middle, n, t = slice(WITHIN // 2, None, WITHIN), len(take.time), take.count
        relevant, verb = take.relevant[middle], take.verb[middle]
        shown = visible[middle] * (PLACE_IDLE + (1 - PLACE_IDLE) * relevant.max(1))
        where = np.eye(len(self.classes), dtype=np.float32)[label[middle]] * shown[:, None] * self.known_vlp
        place = self.sight[self.place]
        if strays:
            place = unit(place[rng.permutation(len(self.classes))] + 0.4 * place)
        relevant = relevant * np.exp(JITTER * pink(rng, t, 1, 0.8))
        image = PLACE * where @ place + OBJECT * (relevant * self.known_vlp) @ self.sight[self.thing]
        image = image + VERB * (verb * self.known_vlp) @ self.sight[self.verb]
        clutter = self.sight[rng.choice(CLUTTER, 9, replace=False)]
        image = image + CLUTTERED * telegraph(rng, n, 9, 7, 12)[middle] @ clutter
        look = unit(rng.standard_normal(WIDTH) + 12 * self.sight[rng.choice(CLUTTER)])
        image += VIDEO_LOOK * look + 0.1 * self.sight[SPORT]
        slow = 0.75 * pink(rng, t, 64, 1.0) @ self.image_blur / 8
        image += NOISE * (slow + 0.6 * pink(rng, t, WIDTH, 0.4) / np.sqrt(WIDTH))
        image *= np.exp(0.2 * pink(rng, t, 1))
        blurred = rng.random(t) < 0.03
        image[blurred] = image[blurred] * 0.4 + unit(rng.standard_normal((blurred.sum(), WIDTH))) * 0.35
        return unit(0.68 * self.image_cone + image)
