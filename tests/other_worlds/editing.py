"""World "editing": hard cuts between kinds of shots, where context is what an editor puts before and after an action.

Unlike ``wtal_lib.simulate``, where one timeline of place and unrelated shots lies beside the instances:

- Six kinds of shots (wide, close-up, crowd, empty venue, other, replay) follow from how near the next or last event is:
  close-ups before it, reactions and replays after it. Cuts may fall inside long events and displace their ends; flow
  across a cut is garbage, and noise begins anew there.
- The motion of a class looks different from each of three views. Its evidence is a flat-topped bump at the class's own
  moment, weak elsewhere; it saturates (tanh) before a thresholded projection. Unannotated events show some of it.
- VLP sees the venue, objects and poses. Poses are clearest in the still moments before and after the action, and the
  action itself is blurred. A few classes share a venue, and a text names classes of its kind.
- Whether an event is hard is drawn from a heavy tail, in part for both modalities and for a whole video.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from footage import SNIPPET, Event, events, groups, labels, snippets
from signals import pooled, red_between_cuts, sigmoid, unit

from wtal_lib.data.instances import Video

WITHIN = 8
"samples a snippet"
STEP = SNIPPET / WITHIN
WIDTH = 512
WIDE, CLOSE, CROWD, EMPTY, OTHER, REPLAY = range(6)
MOVEMENTS = (
    "HighJump LongJump PoleVault JavelinThrow CricketBowling",
    "HammerThrow ThrowDiscus Shotput",
    "Diving CliffDiving",
    "GolfSwing CricketShot TennisSwing BaseballPitch Billiards",
    "BasketballDunk VolleyballSpiking",
    "FrisbeeCatch SoccerPenalty",
    "CleanAndJerk",
)
"classes that approach and end alike"
VENUES = (
    "BaseballPitch",
    "BasketballDunk",
    "Billiards",
    "CleanAndJerk",
    "CliffDiving",
    "Diving",
    "CricketBowling CricketShot",
    "FrisbeeCatch",
    "SoccerPenalty",
    "GolfSwing",
    "TennisSwing",
    "VolleyballSpiking",
    "HammerThrow HighJump JavelinThrow LongJump PoleVault Shotput ThrowDiscus",
)
"classes that take place in one venue"
MOMENT = dict.fromkeys(("HighJump", "LongJump", "PoleVault"), 0.68)
MOMENT |= dict.fromkeys(("JavelinThrow", "CricketBowling", "Shotput", "ThrowDiscus"), 0.7)
MOMENT |= {"HammerThrow": 0.55, "CleanAndJerk": 0.6, "Diving": 0.45, "CliffDiving": 0.45}
"where in an event the discriminative part lies; elsewhere 0.5"
BACKGROUND = 6
"movements that belong to no class"

# by kind of shot: how much it shows of motion and of the venue in CBP, and of venue, objects and poses in VLP
MOTION_SHOWN = np.array([1, 0.35, 0.1, 0.2, 0.2, 1.05])
PLACE_SHOWN = np.array([1, 0.45, 0.35, 1, 0.05, 1.0])
VENUE_SEEN = np.array([0.36, 0.16, 0.12, 0.42, 0.03, 0.34])
OBJECT_SEEN = np.array([1, 0.75, 0.12, 0.3, 0.05, 1.0])
POSE_SEEN = np.array([1, 0.5, 0, 0.05, 0, 1.0])
PEAK, WEAK = 1.5, 0.62  # evidence of a class at its moment, and in the rest of an event
NOISE, LOOK, IMAGE_NOISE = 0.2, 0.8, 0.16
UNANNOTATED, LEAK = 1.3, 0.32  # events a minute that nobody annotated, and how much they show of a class


class Cut:
    """A video after editing: the shot of each sample, and its kind, view and clarity."""

    def __init__(self, rng: np.random.Generator, count: int, found: list[Event]) -> None:
        self.count, self.time = count, (np.arange(count * WITHIN) + 0.5) * STEP
        end = count * SNIPPET
        bound = np.r_[0, _cuts(rng, end, found), end]
        kinds = [_kind(rng, a, b, found) for a, b in pairwise(bound)]
        self.shots = len(kinds)
        self.shot = np.searchsorted(bound, self.time, side="right") - 1
        self.kind = np.array(kinds)[self.shot]
        self.changes = pooled(np.r_[False, self.shot[1:] != self.shot[:-1]].astype(float), WITHIN)
        self.view = rng.integers(0, 3, self.shots)[self.shot]
        self.clear = np.clip(rng.lognormal(0, 0.3, self.shots), 0.35, 1.7)[self.shot]
        self.clear_image = np.clip(rng.lognormal(0, 0.3, self.shots), 0.4, 1.7)[self.shot]

    def red(self, rng: np.random.Generator, k: int, df: float, keeps: float) -> np.ndarray:
        """(t, k) noise that begins anew at each cut."""
        return red_between_cuts(rng, self.changes > 0, k, df, keeps)


class Shown:
    """What there is to be seen of each class, and of movements that classes share, sample by sample."""

    def __init__(self, n: int, classes: int) -> None:
        self.core, self.thing, self.pose = np.zeros((3, n, classes))
        self.approach, self.ending = np.zeros((2, n, len(MOVEMENTS)))
        self.other, self.fast = np.zeros((n, BACKGROUND)), np.zeros(n)


def _cuts(rng: np.random.Generator, end: float, found: list[Event]) -> list[float]:
    """The times of all cuts, in seconds."""
    cuts: list[float] = []
    for start, stop, _ in found:
        early = start - rng.gamma(2, 1.6)
        cuts += [early] if rng.random() < 0.6 else []
        late = stop + rng.exponential(1.0)
        cuts += [late] if rng.random() < 0.65 else []
        if stop - start > 4 and rng.random() < 0.35:
            cuts.append(rng.uniform(start + 0.3 * (stop - start), stop))
    pace, time = rng.choice([3.5, 6.0, 11.0], p=[0.4, 0.4, 0.2]), 0.0
    while (time := time + rng.gamma(1.6, pace / 1.6)) < end:
        if not any(start - 0.5 < time < stop + 0.3 for start, stop, _ in found):
            cuts.append(time)
    kept: list[float] = []
    for time in sorted(one for one in cuts if 0.3 < one < end - 0.3):
        if not kept or time - kept[-1] > 0.8:
            kept.append(time)
    return kept


def _kind(rng: np.random.Generator, a: float, b: float, found: list[Event]) -> int:
    """What a shot from ``a`` to ``b`` seconds shows, by the events within it, after it and before it."""
    within = sum(max(0, min(b, stop) - max(a, start)) for start, stop, _ in found)
    until = min((start - b for start, _, _ in found if start >= b - 0.3), default=99)
    since = min((a - stop for _, stop, _ in found if stop <= a + 0.3), default=99)
    if within > 0.25 * min(b - a, 2):
        return rng.choice([WIDE, REPLAY], p=[0.85, 0.15])
    if until < 4:
        return rng.choice([CLOSE, WIDE, EMPTY], p=[0.5, 0.35, 0.15])
    if since < 6:
        return rng.choice([CLOSE, CROWD, WIDE, REPLAY, OTHER], p=[0.42, 0.16, 0.2, 0.17, 0.05])
    return rng.choice([WIDE, CLOSE, CROWD, EMPTY, OTHER, REPLAY], p=[0.28, 0.26, 0.1, 0.16, 0.14, 0.06])


class Editing:
    """The world of one seed: its prototypes, ``text`` (c, 512), and every video's features."""

    SEED = 0

    def __init__(self, classes: Sequence[str], seed: int = SEED) -> None:
        rng, c, g = np.random.default_rng([20140, seed]), len(classes), len(MOVEMENTS)
        self.classes, self.seed = list(classes), seed
        self.group, self.venue = group, venue = groups(classes, MOVEMENTS), groups(classes, VENUES)

        def normal(*shape: int) -> np.ndarray:
            return rng.normal(size=shape)

        self.moment = np.array([MOMENT.get(name, 0.5) for name in classes])
        self.width = rng.uniform(0.2, 0.36, c)
        # CBP: motion of a class by view, movements that classes share or nobody owns, places, kinds of shots, looks
        motion = normal(c, 1, WIDTH) * 0.75 + normal(c, 3, WIDTH) * 0.55 + 0.55 * normal(g, 1, WIDTH)[group]
        self.motion = unit(motion)
        self.movements = np.concatenate([unit(normal(k, WIDTH)) for k in (g, g, BACKGROUND)])
        self.place = unit(normal(len(VENUES), WIDTH))
        self.of_class, self.of_kind = unit(normal(c, WIDTH)), unit(normal(6, WIDTH))
        self.shot_looks, self.video_looks = normal(24, WIDTH) / np.sqrt(WIDTH), normal(40, WIDTH) / np.sqrt(WIDTH)
        self.moves_by = np.repeat([0.7, 1.2], WIDTH // 2)  # flow sees more of motion, RGB more of places
        self.places_by = np.repeat([1.2, 0.35], WIDTH // 2)
        self.bias = rng.normal(-0.02, 0.03, WIDTH)
        # VLP: the cones of images and texts, venues of some attributes, objects and poses
        self.image_cone = unit(normal(WIDTH))
        text_cone = unit(0.45 * self.image_cone + unit(normal(WIDTH)))
        attribute, has = normal(5, WIDTH), rng.random((len(VENUES), 5)) < 0.4
        self.sight = unit(normal(len(VENUES), WIDTH) + 0.8 * has @ attribute)
        self.thing = unit(normal(c, WIDTH) + 0.7 * normal(g, WIDTH)[group])
        self.pose = unit(normal(c, WIDTH) + 0.6 * normal(g, WIDTH)[group])
        self.kind_image, self.image_looks = unit(normal(6, WIDTH)), unit(normal(60, WIDTH))
        alike = 0.5 * (group[:, None] == group) + 0.5 * (venue[:, None] == venue)
        alike = alike * (1 - np.eye(c))
        self.alike = alike / (alike.sum(1, keepdims=True) + 1e-9)
        meant = 0.5 * self.sight[venue] + 0.65 * self.thing + 0.35 * self.pose
        own = unit(normal(c, WIDTH))
        text = text_cone + 0.42 * (unit(meant) + 0.3 * unit(self.alike @ meant + 1e-6 * meant) + 0.55 * own)
        self.text = unit(text + 0.10 * rng.normal(size=(c, 1)) * self.image_cone)

    def draw(self, video: Video, number: int) -> tuple[np.ndarray, np.ndarray]:
        """CBP features and VLP embeddings (t, 512) of a video, which is the list's ``number``-th."""
        rng = np.random.default_rng([77, number, self.seed])
        found, main = events(video, self.classes), labels(video, self.classes)
        cut = Cut(rng, snippets(video), found)
        shown, end = Shown(len(cut.time), len(self.classes)), cut.count * SNIPPET
        video_hard, unannotated = rng.normal(0, 0.3), []
        for _ in range(rng.poisson(UNANNOTATED * end / 60)):
            label = int(rng.choice(main))
            if rng.random() < 0.3 and self.alike[label].sum() > 0.5:
                label = int(rng.choice(len(self.classes), p=self.alike[label]))
            length = float(np.clip(rng.lognormal(1.0, 0.6), 0.8, 9))
            start = rng.uniform(0, max(end - length, 0.1))
            if not any(a - 1 < start + length and start < b + 1 for a, b, _ in found):
                unannotated.append(Event(start, start + length, [label]))
        for one in found:
            self._happen(rng, cut.time, shown, one, video_hard, real=True)
        for one in unannotated:
            self._happen(rng, cut.time, shown, one, video_hard, real=False)
        close = cut.kind == CLOSE
        shown.other[:, 0] = (cut.kind == CROWD) * rng.uniform(0.4, 1.2)
        shown.other[:, 1] = close * rng.uniform(0.1, 0.7)
        shown.other[:, 2] = np.maximum(shown.ending.sum(1), 0.3 * close) * rng.uniform(0.2, 1)
        shown.other[:, 3:] = np.abs(rng.standard_t(5, (cut.shots, 3)))[cut.shot] * 0.3
        return self._cbp(rng, cut, shown, main, video.subset == "test"), self._vlp(rng, cut, shown, main)

    def _happen(
        self, rng: np.random.Generator, time: np.ndarray, shown: Shown, one: Event, video_hard: float, *, real: bool
    ) -> None:
        """Add an event, annotated (``real``) or not."""
        start, stop, _ = one
        length = max(stop - start, 0.4)
        place, hard = (time - start) / length, abs(rng.standard_t(4)) * 0.33 + video_hard
        seen, seen_vlp = np.exp(-max(hard, -0.4)), np.exp(-max(0.6 * hard + rng.normal(0, 0.3), -0.4))
        shows = 1 if real else rng.uniform(0.1, 1) * LEAK
        soft = min(0.25, length * 0.2)
        inside = sigmoid((time - start) / soft * 2) * sigmoid((stop - time) / soft * 2)
        for label in one.labels:
            moment = np.clip(self.moment[label] + rng.normal(0, 0.1), 0.15, 0.9)
            width = self.width[label] * rng.uniform(0.8, 1.25)
            width = np.where(place < moment, width, width * rng.uniform(0.7, 1.1))
            bump = np.exp(-(np.abs((place - moment) / width) ** 2.6))
            pause = np.exp(-(((place - rng.uniform(0.1, 0.95)) / 0.1) ** 2)) * (rng.random() < 0.5)
            shown.core[:, label] += seen * shows * (PEAK * bump + WEAK * inside * (1 - 0.75 * pause))
            strength, group = (0.8 if real else 1.0) * seen, self.group[label]
            before = sigmoid((moment - 0.1 - place) / 0.06)
            shown.approach[:, group] += strength * sigmoid((place + 0.15) / 0.04) * before
            ends = sigmoid((1.15 + rng.exponential(0.3) - place) / 0.06)
            shown.ending[:, group] += strength * 0.7 * sigmoid((place - moment - 0.15) / 0.06) * ends
            shown.fast += seen * bump
            near = np.exp(-np.maximum(start - time, 0) / rng.gamma(3, 1.3))
            near = near * np.exp(-np.maximum(time - stop, 0) / rng.gamma(3, 0.9))
            outside = np.where((time >= start) & (time <= stop), 1, rng.uniform(0.7, 1.15))
            thing = seen_vlp * near * (1 if real else 0.8) * outside
            shown.thing[:, label] = np.maximum(shown.thing[:, label], thing)
            still = np.exp(-(((place - rng.normal(0.02, 0.08)) / 0.14) ** 2))
            still = still + np.exp(-(((place - rng.normal(1.05, 0.1)) / 0.2) ** 2))
            pose = seen_vlp * (0.75 * still + 0.85 * inside * (1 - 0.55 * np.minimum(bump, 1)))
            shown.pose[:, label] = np.maximum(shown.pose[:, label], pose)

    def _cbp(self, rng: np.random.Generator, cut: Cut, shown: Shown, main: list[int], test: bool) -> np.ndarray:
        """Thresholded projection of saturating motion, place and looks; a test video's look is a little stranger."""
        c, clear, middle = len(self.classes), cut.clear[:, None], slice(WITHIN // 2, None, WITHIN)
        passes = MOTION_SHOWN[cut.kind]
        passes = np.where(shown.fast > 0.2, np.maximum(passes, 0.75), passes)[:, None]
        core = pooled(shown.core * (clear * passes), WITHIN)
        likely = 0.35 + 0.65 * (np.isin(np.arange(c), main) | (self.alike[main].sum(0) > 0.1))
        core = np.maximum(core + NOISE * cut.red(rng, c, 4, 0.55) * likely + rng.normal(0, 0.08, c), 0)
        view = np.eye(3)[cut.view[::WITHIN]]
        motion = np.einsum("tc,tv,cvd->td", np.tanh(0.9 * core) * 1.3, view, self.motion) * 3.3
        parts = (shown.approach * clear, shown.ending * clear, shown.other)
        latent = np.concatenate([pooled(part, WITHIN) for part in parts], axis=1)
        latent = np.maximum(latent + 0.22 * cut.red(rng, latent.shape[1], 4, 0.6), 0)
        motion += latent @ self.movements * 2.6
        motion += cut.changes[:, None] * unit(rng.normal(size=WIDTH)) * 8
        shot_look = rng.normal(size=(cut.shots, 24))[cut.shot[middle]]
        video_look = rng.normal(size=40) * (1.15 if test else 1)
        kind = cut.kind[middle]
        where = 1.2 * self.place[self.venue[main]].mean(0) + 0.7 * self.of_class[main].mean(0)
        place = PLACE_SHOWN[kind][:, None] * where * 2.0 + 1.3 * self.of_kind[kind]
        place += LOOK * (0.30 * shot_look @ self.shot_looks + 0.42 * video_look @ self.video_looks)
        place += 0.35 * cut.red(rng, 24, 5, 0.8) @ self.shot_looks
        row = self.bias + self.moves_by * motion * 0.25 + self.places_by * place * 0.25 * 1.6
        row = row + 0.03 * cut.red(rng, WIDTH, 6, 0.3)
        return np.maximum(row, 0) * np.exp(rng.normal(0, 0.12, WIDTH) + rng.normal(0, 0.15)) * 2.6

    def _vlp(self, rng: np.random.Generator, cut: Cut, shown: Shown, main: list[int]) -> np.ndarray:
        """Embeddings of the frame in the middle of each snippet."""
        c, t, middle = len(self.classes), cut.count, slice(WITHIN // 2, None, WITHIN)
        kind, clear, pose = cut.kind[middle], cut.clear_image[middle][:, None], shown.pose[middle]
        present = np.zeros(c)
        present[main] = 1.0
        sharp = 1 - 0.35 * np.minimum(shown.fast[middle], 1)
        likely = 0.3 + 0.7 * (present + 0.6 * self.alike[main].sum(0))
        thing = 0.30 * np.maximum(shown.thing[middle], 0.25 * present) * OBJECT_SEEN[kind][:, None]
        thing = thing + IMAGE_NOISE * likely * cut.red(rng, c, 4, 0.7) * 0.55
        pose = 0.22 * pose * POSE_SEEN[kind][:, None] * clear + IMAGE_NOISE * 0.3 * cut.red(rng, c, 4, 0.5)
        venue = (VENUE_SEEN[kind] * sharp * (1 + 0.2 * cut.red(rng, 1, 5, 0.6)[:, 0]))[:, None]
        image = self.image_cone * 0.95 + venue * self.sight[self.venue[main]].mean(0)
        image = image + sharp[:, None] * clear * thing @ self.thing + sharp[:, None] * pose @ self.pose
        image = image + 0.28 * self.kind_image[kind]
        shot_look, video_look = rng.normal(size=(cut.shots, 60))[cut.shot[middle]], rng.normal(size=60)
        heavy = np.sqrt(4 / rng.chisquare(4, t))[:, None]
        look = 0.045 * video_look + 0.04 * shot_look + 0.022 * cut.red(rng, 60, 6, 0.5) * heavy
        image += look @ self.image_looks + 0.008 * rng.normal(size=(t, WIDTH)) * heavy
        return unit(image)
