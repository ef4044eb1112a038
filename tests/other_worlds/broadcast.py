"""World "broadcast": edited television, cut between play, idling, close-ups and the crowd.

As in ``wtal_lib.simulate``, latent causes pass through a random projection and a rectifier. What differs:

- Shots follow each other as a Markov chain of four states. The camera is on the action during an instance and its
  context, no cut falls inside an instance, and a slow-motion replay follows right after some of them.
- An instance is approach, peak and recovery on one continuous course in time; a class has its own moment and width of
  the peak. Short bouts of a like movement happen in the background all the time.
- Motion and place are projected together, so that place leaks into flow; noise is red with Student-t shocks.
- One instance in ten is hard to see for both modalities, all others vary independently in each.
- Images show a class along a direction that agrees only in part with that of its text; verbs add little.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from footage import SNIPPET, groups, instances, labels, snippets
from signals import pooled, red, sigmoid, unit

from wtal_lib.data.instances import Video

WITHIN = 4
"samples a snippet"
STEP = SNIPPET / WITHIN
MOTION, PLACE, VIEW, WIDTH = 32, 24, 8, 512
"widths: the latent causes of CBP, and the features of each modality"
PLAY, IDLE, CLOSE_UP, ELSEWHERE = range(4)
NEXT = {PLAY: [0.5, 0.35, 0.15], IDLE: [0.55, 0.32, 0.13], CLOSE_UP: [0.55, 0.25, 0.2], ELSEWHERE: [0.5, 0.25, 0.25]}
"probabilities of idle, close-up and elsewhere after each state"

# CBP: strengths
APPROACH, PEAK, RECOVERY = 0.45, 1.15, 0.40
PLACE_IN_RGB = 0.38
BACKGROUND = 0.42  # motion that has nothing to do with any class
BOUTS = 1 / 4.5  # a second of background: movements like the video's classes
OFFSET = 0.65  # how far the columns of a video are shifted
LATENT_NOISE, COLUMN_NOISE = 0.60, 0.55
# VLP: strengths, in units of which the cone of all images is 0.72 long
ACTION, CONTEXT, IDLING, CLOSE = 0.29, 0.285, 0.09, 0.03  # of the class, by what is shown
VERB = 0.05
JITTER = 0.30  # of the class's strength in time, on a log scale
NOISE, VIDEO_LOOK, SHOT_LOOK = 0.38, 0.33, 0.24


class Shown(NamedTuple):
    """An instance as it is filmed: its ends and those of its context, and how well each modality sees it."""

    start: float
    stop: float
    label: int
    cbp: float
    vlp: float
    before: float
    after: float


class Film:
    """What the camera shows, sample by sample."""

    def __init__(self, count: int, shown: list[Shown]) -> None:
        self.count, n = count, count * WITHIN
        self.seconds, self.time = n * STEP, (np.arange(n) + 0.5) * STEP
        self.acting, self.play = np.zeros(n, bool), np.zeros(n, bool)
        for one in shown:
            self.acting |= self.between(one.start, one.stop)
            self.play |= self.between(one.before, one.after)
        self.state, self.label = np.zeros(n, int), np.zeros(n, int)
        self.motion, self.place = np.zeros((n, MOTION), np.float32), np.zeros((n, PLACE), np.float32)
        self.view, self.look = np.zeros((n, VIEW), np.float32), np.zeros((n, WIDTH), np.float32)
        self.clear = np.zeros(n, np.float32)

    def between(self, start: float, stop: float) -> np.ndarray:
        """(n,) whether a sample lies between two times in seconds."""
        return (self.time >= start) & (self.time <= stop)


class Broadcast:
    """The world of one seed: its prototypes, ``text`` (c, 512), and every video's features."""

    SEED = 20240

    def __init__(self, classes: Sequence[str], seed: int = SEED) -> None:
        self.classes, self.seed, self.group = list(classes), seed, groups(classes)
        rng = np.random.default_rng([seed, 11])
        normal, c, g = rng.standard_normal, len(classes), int(self.group.max()) + 1
        length = np.sqrt(MOTION)
        self.approach = self._alike(rng, 0.85, 0.35, MOTION) * length * 0.5
        self.peak = self._alike(rng, 0.55, 0.85, MOTION) * length * 0.5
        everyone, of_group = 0.6 * unit(normal((1, MOTION))), 0.7 * unit(normal((g, MOTION)))[self.group]
        self.recovery = unit(everyone + of_group + 0.3 * unit(normal((c, MOTION)))) * length * 0.5
        self.moment, self.width = rng.uniform(0.35, 0.75, c), rng.uniform(0.14, 0.30, c)
        self.known_cbp = np.clip(np.exp(0.18 * normal(c)), 0.65, 1.4)
        self.known_vlp = np.clip(np.exp(0.25 * normal(c)), 0.55, 1.5)
        self.venue = self._alike(rng, 0.6, 0.8, PLACE) * np.sqrt(PLACE)
        self.close_up, self.crowd = (unit(normal((6, PLACE))) * np.sqrt(PLACE) for _ in range(2))
        self.fidget = unit(normal((6, MOTION))) * length * 0.35
        # random features: motion, place and view to RGB; motion, pan and place to flow
        rgb, flow = normal((MOTION + PLACE + VIEW, WIDTH // 2)), normal((MOTION + 3 + PLACE, WIDTH // 2))
        rgb[:MOTION] *= 0.55
        rgb[MOTION : MOTION + PLACE] *= PLACE_IN_RGB
        rgb[MOTION + PLACE :] *= 0.5
        flow[MOTION + 3 :] *= 0.15
        flow[MOTION : MOTION + 3] *= 0.8
        self.rgb, self.flow = (rgb / length * 1.6).astype(np.float32), (flow / length * 2).astype(np.float32)
        self.bias = (-0.5 + 0.4 * normal(WIDTH)).astype(np.float32)
        self.blur = (normal((24, WIDTH)) / np.sqrt(24)).astype(np.float32)
        self.gain = np.exp(0.4 * normal(WIDTH)).astype(np.float32) * 0.26
        # images and text
        text_cone, image_cone = unit(normal((2, WIDTH)))
        self.image_cone = unit(0.18 * text_cone + image_cone)
        concept = self._alike(rng, 0.55, 0.85, WIDTH)
        agrees = np.clip(rng.normal(0.72, 0.10, c), 0.45, 0.92)[:, None]
        self.sight = agrees * concept + np.sqrt(1 - agrees**2) * unit(normal((c, WIDTH)))
        self.verb = unit(0.35 * concept + unit(normal((c, WIDTH))))
        self.text = unit(0.84 * text_cone + 0.52 * concept + 0.12 * unit(normal((c, WIDTH))))
        self.looks = unit(normal((40, WIDTH)))
        self.image_blur = (normal((40, WIDTH)) / np.sqrt(WIDTH)).astype(np.float32)

    def _alike(self, rng: np.random.Generator, shared: float, own: float, width: int) -> np.ndarray:
        """A unit vector for each class, of a part that its group shares and one of its own."""
        of_group = unit(rng.standard_normal((int(self.group.max()) + 1, width)))[self.group]
        return unit(shared * of_group + own * unit(rng.standard_normal((len(self.group), width))))

    def draw(self, video: Video, number: int) -> tuple[np.ndarray, np.ndarray]:
        """CBP features and VLP embeddings (t, 512) of a video; its ``number`` in the list does not matter here."""
        rng = np.random.default_rng([self.seed, 1, zlib.crc32(video.name.encode())])
        strays, small = rng.random() < 0.08, 0.45 if rng.random() < 0.07 else 1.0
        main, shown = labels(video, self.classes), []
        for start, stop, label in instances(video, self.classes):
            hard = rng.random() < 0.10
            seen = rng.uniform(0.15, 0.4, 2) if hard else np.exp([0.28, 0.30] * rng.standard_normal(2))
            before, after = start - rng.lognormal(np.log(3.0), 0.5), stop + rng.lognormal(np.log(3.5), 0.5)
            shown.append(Shown(start, stop, label, seen[0], seen[1], before, after))
        film = Film(snippets(video), shown)
        video_look = self._shoot(rng, film, shown, main)
        self._move(rng, film, shown, small)
        return self._cbp(rng, film), self._vlp(rng, film, shown, main, video_look, strays)

    def _shoot(self, rng: np.random.Generator, film: Film, shown: list[Shown], main: list[int]) -> np.ndarray:
        """Cut the film into shots, set what each shows, and return the look (512,) of the video in images."""
        n, x = len(film.time), 0.0
        edge = np.flatnonzero(np.diff(film.play.astype(int))) + 1
        cuts = set(edge[rng.random(len(edge)) < 0.75])
        while x < film.seconds:  # none within half a second of an instance
            x += rng.gamma(1.6, 6 / 1.6)
            i = int(x / STEP)
            if 0 < i < n and not film.acting[max(0, i - 3) : i + 3].any():
                cuts.add(i)
        video_place = rng.standard_normal(PLACE) * 0.55
        video_look = unit(0.6 * self.looks[rng.integers(len(self.looks))] + unit(rng.standard_normal(WIDTH)))
        film.label[:] = rng.choice(main)
        for one in sorted(shown, key=lambda one: one.stop - one.start, reverse=True):
            film.label[film.between(one.before, one.after)] = one.label
        bounds, state = [0, *sorted(cuts), n], IDLE
        for lo, hi in pairwise(bounds):
            shot = slice(lo, hi)
            state = PLAY if film.play[shot].mean() > 0.5 else 1 + rng.choice(3, p=NEXT[state])
            film.state[shot] = np.where(film.play[shot], PLAY, state)
            venue, kind = self.venue[np.bincount(film.label[shot]).argmax()], rng.integers(6)
            played, idle = venue * rng.uniform(0.7, 1.1), venue * rng.uniform(0.5, 1.0)
            place = (played, idle, self.close_up[kind], self.crowd[kind])[state]
            film.place[shot] = place + video_place + rng.standard_normal(PLACE) * 0.4
            if state >= CLOSE_UP:
                film.motion[shot] += self.fidget[kind] * rng.uniform(0.4, 1.2)
            film.view[shot] = rng.standard_normal(VIEW)
            film.look[shot] = unit(rng.standard_normal(WIDTH)) * SHOT_LOOK * np.exp(0.3 * rng.standard_normal())
            film.clear[shot] = np.exp(0.25 * rng.standard_normal())
        return video_look

    def _move(self, rng: np.random.Generator, film: Film, shown: list[Shown], small: float) -> None:
        """Add all motion: instances and their context, replays, bouts in the background, and motion of no class."""
        n, starts = len(film.time), [*(one.start for one in shown[1:]), film.seconds]
        for one, following in zip(shown, starts, strict=False):
            self._perform(rng, film, one.start, one.stop, one.label, one.cbp * small)
            on = (film.time >= one.before) & (film.time < one.start)
            film.motion[on] += APPROACH * rng.uniform(0.2, 0.9) * self.approach[one.label] * small
            on = (film.time > one.stop) & (film.time <= one.after)
            film.motion[on] += RECOVERY * rng.uniform(0.2, 0.9) * self.recovery[one.label] * small
            if rng.random() < 0.12 and following - one.after > 4:  # a replay in slow motion, which is not annotated
                start = one.after + rng.uniform(0, 1)
                stop = min(following - 1, start + (one.stop - one.start) * rng.uniform(1.5, 2.5))
                if stop > start + 1:
                    self._perform(rng, film, start, stop, one.label, 0.55 * one.cbp * small, approach=False)
                    on = film.between(start, stop)
                    film.state[on], film.play[on] = PLAY, True
        for _ in range(rng.poisson(film.seconds * BOUTS * (~film.acting).mean())):
            x = rng.uniform(0, film.seconds)
            i = min(n - 1, int(x / STEP))
            if film.acting[i] or film.state[i] >= CLOSE_UP or (film.play[i] and rng.random() < 0.7):
                continue
            label, length = film.label[i], rng.lognormal(np.log(1.3), 0.5)
            label = rng.choice(np.flatnonzero(self.group == self.group[label])) if rng.random() < 0.5 else label
            seen, approach, span = rng.uniform(0.35, 1.0), rng.random() < 0.5, (x - length / 2, x + length / 2)
            self._perform(rng, film, *span, label, seen, approach=approach, recovery=False)
        film.motion += red(rng, n, MOTION, 1.6 / STEP) * BACKGROUND * np.exp(0.3 * rng.standard_normal())

    def _perform(
        self,
        rng: np.random.Generator,
        film: Film,
        start: float,
        stop: float,
        label: int,
        seen: float,
        *,
        approach: bool = True,
        recovery: bool = True,
    ) -> None:
        """Add the motion of one performance of a class."""
        place, width = (film.time - start) / (stop - start), max(self.width[label], 0.45 / (stop - start))
        on = (place > -0.15) & (place < 1.15)
        place, moment = place[on], self.moment[label] + 0.08 * rng.standard_normal()
        inside = sigmoid((place + 0.03) / 0.03) * sigmoid((1.03 - place) / 0.03)
        if approach:
            height = APPROACH * inside * sigmoid((moment - place) / 0.08)
            film.motion[on] += height[:, None] * self.approach[label] * np.sqrt(seen)
        height = PEAK * inside * np.exp(-0.5 * ((place - moment) / width) ** 2)
        film.motion[on] += height[:, None] * self.peak[label] * seen * self.known_cbp[label]
        if recovery:
            height = RECOVERY * inside * sigmoid((place - moment) / 0.08)
            film.motion[on] += height[:, None] * self.recovery[label] * np.sqrt(seen)

    def _cbp(self, rng: np.random.Generator, film: Film) -> np.ndarray:
        """Means over a snippet of the rectified features."""
        n = len(film.time)
        pan = red(rng, n, 3, 1 / STEP, df=4) * np.exp(0.4 * rng.standard_normal())
        pan *= np.where(film.acting, 1.3, 0.8)[:, None]
        offset = rng.standard_normal(WIDTH).astype(np.float32) * OFFSET
        rgb = np.hstack([film.motion, film.place, film.view]) @ self.rgb
        flow = np.hstack([film.motion, pan, film.place]) @ self.flow
        row = np.hstack([rgb, flow]).astype(np.float32) + offset + self.bias
        row += red(rng, n, 24, 0.9 / STEP, df=4) @ self.blur * LATENT_NOISE * 2
        row = pooled(np.maximum(row, 0), WITHIN)
        row = np.maximum(row + red(rng, film.count, WIDTH, 1.2, df=5) * COLUMN_NOISE * 0.6, 0) * self.gain
        return row * np.exp(0.12 * red(rng, film.count, 1, 6))

    def _vlp(
        self,
        rng: np.random.Generator,
        film: Film,
        shown: list[Shown],
        main: list[int],
        video_look: np.ndarray,
        strays: bool,
    ) -> np.ndarray:
        """Embeddings of the frame in the middle of each snippet; in a video that ``strays``, classes look different."""
        sight, middle = self.sight.copy(), slice(WITHIN // 2, None, WITHIN)
        for label in main if strays else ():
            sight[label] = unit(0.35 * self.sight[label] + unit(rng.standard_normal(WIDTH)))
        strength = np.choose(film.state, [CONTEXT, IDLING, CLOSE, 0.0]) * film.clear
        verb = np.zeros((len(film.time), len(self.classes)), np.float32)
        for one in shown:
            on = film.between(one.before, one.after)
            strength[on] = CONTEXT * one.vlp * film.clear[on]
        for one in shown:
            on = film.between(one.start, one.stop)
            strength[on] = ACTION * one.vlp * film.clear[on]
            verb[film.between(one.start - 0.2, one.stop + 0.2), one.label] = VERB * one.vlp
        strength = strength[middle] * np.exp(JITTER * red(rng, film.count, 1, 2.5)[:, 0])
        label = film.label[middle]
        image = strength[:, None] * self.known_vlp[label][:, None] * sight[label]
        image = image + (verb[middle] * self.known_vlp) @ self.verb
        image = image + film.look[middle] + video_look * VIDEO_LOOK
        slow = red(rng, film.count, 40, 2.5, df=4) @ self.image_blur / np.sqrt(40) * 0.8
        image += NOISE * (slow + red(rng, film.count, WIDTH, 1.2) / np.sqrt(WIDTH) * 0.6)
        return unit(0.72 * self.image_cone + image)
