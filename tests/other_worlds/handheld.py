"""World "handheld": continuous takes with a drifting, zooming camera, without any shot.

Unlike ``wtal_lib.simulate``, where a class is a few directions and both modalities are linear in their causes:

- An action is a sequence of movements that classes share (run, jump, land), plus the style of its class; athletes of a
  video move in a way of their own. Others train, start falsely, or do bits of like classes; somebody always moves.
- CBP is the energy of pairs of filters on motion and place, divided by the energy of all, thresholded and compressed.
  Noise is pink, with a slowly changing scale, and with shakes that start sharply and decay.
- The camera zooms in on the action late and imperfectly, and passers-by hide it: for both modalities.
- VLP's frame is a competition: objects in view take part by their salience (softmax). Things of a class stay in view
  before and after its actions, and its place nearly always; now and then a frame shows the class's iconic moment.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from actions import ANYWHERE, IDLE, MOVEMENTS, OBJECTS, SEQUENCE, SURROUNDINGS
from footage import SNIPPET, Event, events, labels, snippets
from signals import pink_to, pooled, sigmoid, smooth, unit

from wtal_lib.data.instances import Video

WITHIN = 8
"samples a snippet"
LONGEST = 90.0
"seconds: at longer periods noise is white"
STEP = SNIPPET / WITHIN
LATENT, WIDTH = 96, 512

KEY, PLAIN, STYLE = 1.35, 0.7, 1.65  # of movements marked with *, of the others, and of a class's style
CAMERA = 0.55
NOISE = 0.2
NEAR = 5.0  # salience of a class's things around its actions
IMAGE_NOISE, ICONIC = 0.4, 1.2


class Take:
    """What the camera is pointed at, sample by sample."""

    def __init__(self, rng: np.random.Generator, count: int, classes: int, found: list[Event]) -> None:
        self.count, n = count, count * WITHIN
        self.seconds, self.time = count * SNIPPET, (np.arange(n) + 0.5) * STEP
        self.moves, self.fast = np.zeros((n, len(MOVEMENTS))), np.zeros(n)
        self.style, self.iconic, self.near = np.zeros((3, n, classes))
        self.skill, self.own_style = rng.normal(0, 0.25), 0.45 * unit(rng.normal(size=(classes, LATENT)))
        self.busy = np.zeros(n, bool)
        for start, stop, _ in found:
            self.busy |= (self.time > start - 0.6) & (self.time < stop + 0.6)
        zoom = smooth(0.45 * self.pink(rng, n, 1)[:, 0], 10)
        zoom = zoom + 0.5 * smooth(self.busy * 1.0, rng.uniform(6, 18)) - 0.1
        self.size = sigmoid(2 * zoom + 0.6 + rng.normal(0, 0.5))
        self.clear = 1 - 0.75 * smooth(telegraph(rng, n, 1.3, rng.uniform(18, 45)), 3)

    def pink(self, rng: np.random.Generator, n: int, k: int) -> np.ndarray:
        """(n, k) pink noise of the video, its rows samples, or snippets where ``n`` is the number of those."""
        return pink_to(rng, n, k, (STEP if n > self.count else SNIPPET) / LONGEST)


def telegraph(rng: np.random.Generator, n: int, on: float, off: float) -> np.ndarray:
    """(n,) 1 and 0 in turn, for as many seconds on average."""
    out, i, is_on = np.zeros(n), 0, rng.random() < on / (on + off)
    while i < n:
        length = max(1, int(rng.exponential(on if is_on else off) / STEP))
        out[i : i + length] = is_on
        i, is_on = i + length, not is_on
    return out


class Handheld:
    """The world of one seed: its movements and objects, ``text`` (c, 512), and every video's features."""

    SEED = 0

    def __init__(self, classes: Sequence[str], seed: int = SEED) -> None:
        rng, c = np.random.default_rng([31415, seed]), len(classes)
        self.classes, self.seed = list(classes), seed

        def normal(*shape: int) -> np.ndarray:
            return rng.normal(size=shape)

        self.sequence = [_parsed(SEQUENCE[name]) for name in classes]
        self.things, self.places = np.zeros((2, c, len(OBJECTS)))
        consists = np.zeros((c, len(MOVEMENTS)))
        for i, name in enumerate(classes):
            for table, words in zip((self.things, self.places), SURROUNDINGS[name], strict=True):
                table[i, [OBJECTS.index(word) for word in words.split()]] = 1
            for move, _, lasting in self.sequence[i]:
                consists[i, move] += lasting
        like = (unit(consists) @ unit(consists).T * (1 - np.eye(c))) ** 2
        self.alike = like / np.maximum(like.sum(1, keepdims=True), 1e-9)
        # CBP: a latent space of motion and place, then pairs of filters
        self.moves, self.style = unit(normal(len(MOVEMENTS), LATENT)), unit(normal(c, LATENT))
        self.camera, self.shake = normal(5, LATENT) / np.sqrt(LATENT), normal(3, LATENT) / np.sqrt(LATENT)
        self.place_look = unit(normal(len(OBJECTS), LATENT))
        self.filters, self.place_filter = (normal(LATENT, WIDTH), normal(LATENT, WIDTH)), normal(LATENT, WIDTH)
        self.threshold = rng.normal(0, 1.1, (2, WIDTH))
        self.moves_by = np.repeat([0.75, 1.0], WIDTH // 2)  # flow sees more of motion, RGB more of places
        self.places_by = np.repeat([0.9, 0.12], WIDTH // 2)
        # VLP: the cones of images and texts, objects, iconic moments, and looks
        self.image_cone = unit(normal(WIDTH))
        text_cone = unit(0.35 * self.image_cone + unit(normal(WIDTH)))
        self.objects = unit(normal(len(OBJECTS), WIDTH))
        self.verb = unit(unit(normal(c, WIDTH)) + 0.5 * self.alike @ unit(normal(c, WIDTH)))
        self.looks = unit(normal(48, WIDTH))
        meant = self.things * rng.uniform(0.5, 1.3, self.things.shape)
        meant = meant + self.places * rng.uniform(0.1, 0.7, self.places.shape)
        text = unit(meant @ self.objects) * 0.75 + 0.45 * self.verb + 0.5 * unit(normal(c, WIDTH))
        self.text = unit(text_cone + 0.5 * text + rng.normal(0, 0.07, (c, 1)) * self.image_cone)

    def draw(self, video: Video, number: int) -> tuple[np.ndarray, np.ndarray]:
        """CBP features and VLP embeddings (t, 512) of a video, which is the list's ``number``-th."""
        rng = np.random.default_rng([9001, number, self.seed])
        found, main = events(video, self.classes), labels(video, self.classes)
        take = Take(rng, snippets(video), len(self.classes), found)
        others, start = [], 0.0
        while True:
            start += rng.exponential(9.0)
            length = float(np.clip(rng.lognormal(0.9, 0.6), 0.6, 10))
            if start + length >= take.seconds:
                break
            if not take.busy[int(start / STEP) : int((start + length) / STEP)].any():
                label = int(rng.choice(main))
                like = label if rng.random() < 0.6 else int(rng.choice(len(self.classes), p=self.alike[label]))
                others.append(Event(start, start + length, [like]))
            start += length
        for one in found:
            self._happen(rng, take, one, real=True)
        for one in others:
            self._happen(rng, take, one, real=False)
        n, test = len(take.time), video.subset == "test"
        for name, (strength, pause) in IDLE.items():
            idle = strength * smooth(telegraph(rng, n, 2.2, pause), 3) * ~take.busy
            take.moves[:, MOVEMENTS.index(name)] += idle
        likely = np.clip(np.isin(np.arange(len(self.classes)), main) + self.alike[main].mean(0) * 1.5, 0, 1)
        return self._cbp(rng, take, main, likely, test), self._vlp(rng, take, main, likely, test)

    def _happen(self, rng: np.random.Generator, take: Take, one: Event, *, real: bool) -> None:
        """Add an event, annotated (``real``) or not: its movements, its style, and its things in view."""
        start, stop, _ = one
        time, length = take.time, max(stop - start, 0.45)
        hard = 0.45 * rng.exponential() - 0.3 + take.skill
        seen, late = np.exp(-0.8 * hard), rng.normal(0, 0.08) * length
        soft = min(0.18, length * 0.12)
        for label in one.labels:
            sequence = self.sequence[label]
            lasts = np.array([lasting for _, _, lasting in sequence]) * rng.gamma(5, 0.2, len(sequence))
            bound = start + late + np.r_[0, np.cumsum(lasts) / lasts.sum()] * length
            shows = np.ones(len(sequence))
            if not real:
                shows = (rng.random(len(sequence)) < 0.5) * rng.uniform(0.4, 1)
            for (move, key, _), a, b, show in zip(sequence, bound[:-1], bound[1:], shows, strict=True):
                on = sigmoid((time - a) / soft * 1.5) * sigmoid((b - time) / soft * 1.5) * show
                take.moves[:, move] += on * (seen * (KEY if key else PLAIN) * rng.uniform(0.75, 1.2))
                style = on * seen * STYLE * (1.0 if key else 0.33)
                take.style[:, label] += style * (1 if real else rng.uniform(0.15, 0.6))
                take.fast += on * (1 if key else 0.2)
                if real and key and rng.random() < 0.5:
                    moment = np.exp(-(((time - a) / 0.35) ** 2)) * np.exp(-0.5 * hard)
                    take.iconic[:, label] = np.maximum(take.iconic[:, label], moment)
            before, after = rng.gamma(2.5, 1.8), rng.gamma(2.5, 2.2)
            near = np.exp(-np.clip(start - time, 0, None) / before - np.clip(time - stop, 0, None) / after)
            near = near * (1 if real else 0.75) * np.exp(-0.4 * max(hard, 0) + rng.normal(0, 0.15))
            take.near[:, label] = np.maximum(take.near[:, label], near)
            if real:
                cheer = rng.uniform(0, 0.7) * sigmoid((time - stop) / 0.2)
                cheer = cheer * sigmoid((stop + rng.exponential(2) - time) / 0.3)
                take.moves[:, MOVEMENTS.index("celebrate")] += cheer

    def _cbp(self, rng: np.random.Generator, take: Take, main: list[int], likely: np.ndarray, test: bool) -> np.ndarray:
        """Divisively normalised, compressed motion energies; the look of a test video is a little stranger."""
        n, t, c = len(take.time), take.count, len(self.classes)
        camera = smooth(take.pink(rng, n, 5), 2) * CAMERA * rng.lognormal(0, 0.35)
        shaken = np.zeros((n, 3))
        for _ in range(rng.poisson(take.seconds / 12)):
            i = rng.integers(n)
            length = min(n - i, 40)
            hit = np.minimum(0.5 * (1 + rng.pareto(2.2)), 4) * rng.normal(size=3)
            shaken[i : i + length] += hit * np.exp(-np.arange(length) / rng.uniform(3, 12))[:, None]
        visible = (take.size * take.clear)[:, None]
        moves, style = pooled(take.moves * visible * 1.5, WITHIN), pooled(take.style * visible * 1.5, WITHIN)
        heavy = np.exp(0.45 * take.pink(rng, t, 1))
        moves = moves + NOISE * 0.6 * take.pink(rng, t, len(MOVEMENTS)) * heavy
        style = style + NOISE * take.pink(rng, t, c) * heavy * (0.3 + 0.6 * likely)
        style = style + NOISE * 0.45 * rng.normal(size=(t, c)) * (0.3 + 0.7 * likely)
        motion = moves @ self.moves + 1.25 * style @ (self.style + take.own_style)
        motion = motion + pooled(camera, WITHIN) @ self.camera * 1.6 + pooled(shaken, WITHIN) @ self.shake * 1.2
        motion = motion + 0.16 * take.pink(rng, t, LATENT) * heavy * 3 / np.sqrt(LATENT) * 2
        stranger = 1.2 if test else 1
        drift = np.cumsum(rng.normal(size=(t, LATENT)), 0) * 0.04 / np.sqrt(LATENT)
        look = drift + 1.3 * rng.normal(size=LATENT) / np.sqrt(LATENT) * stranger
        place = 0.8 * unit(self.places[main].sum(0) + 0.5 * self.things[main].sum(0)) @ self.place_look
        place = look + place * (0.6 + 0.4 * pooled(take.size, WITHIN)[:, None])
        cast, gain = rng.normal(0, 0.22, (2, WIDTH)) * stranger, rng.lognormal(0, 0.12)
        one = self.moves_by * (motion @ self.filters[0]) + self.places_by * (place @ self.place_filter)
        one = one + self.threshold[0] + cast[0]
        other = self.moves_by * (motion @ self.filters[1]) + self.threshold[1] + cast[1]
        energy = one**2 + other**2
        energy = energy / (2.2 + 0.35 * energy.mean(1, keepdims=True))
        grain = np.exp(0.05 * rng.normal(size=(t, WIDTH)))
        return np.log1p(2 * gain * np.maximum(energy - 0.45, 0)) * 0.5 * grain

    def _vlp(self, rng: np.random.Generator, take: Take, main: list[int], likely: np.ndarray, test: bool) -> np.ndarray:
        """Embeddings of the frame in the middle of each snippet: the objects that stand out in it."""
        middle, n, t, c = slice(WITHIN // 2, None, WITHIN), len(take.time), take.count, len(self.classes)
        size, near = take.size[middle][:, None], take.near[middle]
        salience = np.full((t, len(OBJECTS)), -1.6) + 0.8 * take.pink(rng, t, len(OBJECTS)) * IMAGE_NOISE
        salience = salience + rng.normal(0, 0.45, len(OBJECTS))
        for word in ANYWHERE:
            salience[:, OBJECTS.index(word)] += 2.0 * smooth(telegraph(rng, n, 5, 12), 6)[middle]
        watching = 1 - 0.65 * telegraph(rng, n, 6, rng.uniform(20, 60))[middle][:, None]
        around = (NEAR * near * (0.5 + 0.6 * size) * (0.55 + 0.45 * take.clear[middle][:, None])) @ self.things
        always = 0.3 * self.things[main].max(0) * watching
        salience += around * watching + always + 1.5 * self.places[main].max(0) * (1 - 0.1 * size) * watching
        for label in range(c):  # things of like classes stand about, too
            if label not in main and rng.random() < self.alike[main].max(0)[label]:
                salience += self.things[label] * smooth(telegraph(rng, n, 8, 14), 8)[middle][:, None] * 1.2
        share = np.exp(1.25 * salience)
        share /= share.sum(1, keepdims=True)
        sharp = 1 - 0.35 * np.clip(take.fast[middle], 0, 1)[:, None] * rng.uniform(0.5, 1)
        verb = take.iconic[middle] * ICONIC * size * 0.5 + 0.10 * near
        verb = verb + 0.14 * take.pink(rng, t, c) * (0.25 + likely) * IMAGE_NOISE
        objects = 0.75 * sharp * (share @ self.objects) / np.sqrt((share**2).sum(1, keepdims=True)) * 0.85
        image = self.image_cone + objects + 0.42 * (sharp * verb) @ self.verb
        look = 0.09 * rng.standard_t(6, 48) * (1.2 if test else 1)
        look = look + 0.05 * take.pink(rng, t, 48) * np.exp(0.35 * take.pink(rng, t, 1))
        grain = 0.012 * rng.normal(size=(t, WIDTH)) * np.exp(0.4 * rng.normal(size=(t, 1)))
        image += look @ self.looks + grain
        return unit(image)


def _parsed(sequence: str) -> list[tuple[int, bool, float]]:
    """Movement, whether the style shows in it, and relative duration of each part."""
    parts = [part.split(":") for part in sequence.split()]
    return [(MOVEMENTS.index(name.rstrip("*")), "*" in name, float(lasting)) for name, lasting in parts]
