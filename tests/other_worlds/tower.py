"""A sports ground from its camera tower: a class is a place, a thing and a movement, seen unequally by the modalities.

I3D answers sharply to the moment of a movement (a release, a take-off, a hit), weakly to what leads to it and follows
it, and is led astray by camera motion and by rehearsals. CLIP sees the place and the thing, hence much the same while
the athlete waits, and loses them in motion blur, faces, crowds and score boards. A video is one static camera or an
edit of shots; what a shot looks like, how far it is zoomed and how well an instance is seen is common to both. Related
sports are confused because they share parts. A channel of I3D is mostly near zero, seldom strong, and has a scale of
its own; its clips overlap in time, whereas CLIP sees one frame a snippet.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from footage import SNIPPET, snippets
from scipy.ndimage import gaussian_filter1d
from signals import pooled, unit

from wtal_lib.data.instances import Video

WIDTH, HALF, LOOKS = 512, 256, 16
"columns, those of RGB, and dimensions of what a shot looks like"
TICKS, TICK = 4, SNIPPET / 4
"time steps a snippet, so that shorter instances fill a part of it, and seconds of each"
SPORTS = """BaseballPitch diamond ball throw, BasketballDunk court ball jump, Billiards table cue poke,
CleanAndJerk gym bar lift, CliffDiving water rock dive, CricketBowling lawn wicket throw, CricketShot lawn wicket swing,
Diving water board dive, FrisbeeCatch lawn disc run, GolfSwing lawn club swing, HammerThrow track cage spin,
HighJump track bar jump, JavelinThrow track spear throw, LongJump track sand jump, PoleVault track bar vault,
Shotput track ring spin, SoccerPenalty lawn ball kick, TennisSwing court racket swing, ThrowDiscus track cage spin,
VolleyballSpiking court ball jump"""
"place, thing and movement of each class; a class not listed has parts of its own"
PARTS = {one.split()[0]: one.split()[1:] for one in SPORTS.split(",")}
Shot = IntEnum("Shot", "PLAY WAIT REPLAY FACE CROWD BOARD", start=0)
"what a shot shows"
SCENE = np.array([1.0, 0.9, 0.9, 0.5, 0.4, 0.2])
LEFT = np.array([0.15, 0.45, 0.0, 0.2, 0.12, 0.08])
"by kind of shot: how much of the sport it shows, and how often a shot without an instance is one (see REPLAYED)"
REPLAYED, STATIC, CUT, SETUPS = 0.25, 0.35, 0.2, 3
"chance of a replay after an instance, of an unedited video, that a cut in an instance stays; camera positions a video"
LEAD = (1.5, 0.4), (1.2, 0.5)
"of cuts just before and just after an instance: seconds between, and how often there is one"
REHEARSALS, RIVAL = 1.2, 0.55
"warm-ups a minute, annotated by nobody; how much of another sport of the place a video shows throughout, on average"
HALVES = np.array([(1, 1)] * 2 + [(0.1, 1.2)] * 3 + [(1, 0.3)] * 3)
"how RGB and flow see walking and cheering, pan, zoom and shake, and the shots of faces, crowds and boards"
BODY, MOMENT, PLACE, OTHER, LOOK = 0.4, 1.05, 1.0, 0.9, 0.55
"I3D: an instance's whole, its moment, the place, the others and the look, beside a channel's noise before the ReLU (1)"
THRESHOLD, BEND, CAP, TAIL = 1.0, 2.0, 9.0, 1.2
"how rarely channels fire; how hard the pooled ReLU bends; where it saturates; the power that favours strong answers"
SCALE, SPREAD, USED, ALIKE = 0.15, 0.7, 0.12, 2.0
"a channel's scale, its spread over channels; the part of them that answers to a thing; how alike a class's videos are"
OVERLAP, STAY = 0.3, 0.85
"seconds by which a clip's view blurs over its neighbours; snippets for which noise stays"
COMMON_TEXT, SAME_WORDS, MEANING = 0.22, 0.78, 0.58
"CLIP: a text's parts towards the images, the template common to all, and what tells the classes apart"
SEEN_SCENE, SEEN_ACT, SEEN_LOOK, SEEN_KIND, FRAME = 0.36, 0.09, 0.4, 0.35, 0.34
"a frame's parts beside what images share (1): the sport, the athlete in action, look, kind of shot, the frame's own"
NAMED = 0.35, 0.7
"cosine between what a sport looks like to CLIP and what its name means to CLIP, from the worst to the best class"
BLUR, SMEAR = 0.35, 0.2
"how much of sport and athlete the fastest motion blurs away, and what it adds"


class Film(NamedTuple):
    """A video: times of its ticks, instances, classes, and where its shots start and what they show."""

    time: np.ndarray
    segments: np.ndarray
    label: np.ndarray
    mine: list[int]
    cuts: np.ndarray
    kinds: np.ndarray


class Sight(NamedTuple):
    """What there is to be seen, tick by tick; instances' whole and moment (t, c) by RGB and by flow."""

    body: list[np.ndarray]
    moment: list[np.ndarray]
    around: np.ndarray
    zoom: np.ndarray
    look: np.ndarray
    camera: np.ndarray
    scene: np.ndarray
    kind: np.ndarray


def wander(rng: np.random.Generator, shape: tuple[int, int], slow: float) -> np.ndarray:
    """Noise of variance about one that changes within ``slow`` steps."""
    return gaussian_filter1d(rng.standard_normal(shape), slow, axis=0) * np.sqrt(2 * slow * np.sqrt(np.pi))


def averaged(ticks: np.ndarray) -> np.ndarray:
    """Ticks as I3D sees them: its view blurred over the neighbours, then one row a snippet."""
    return pooled(gaussian_filter1d(ticks, OVERLAP / TICK, axis=0, mode="nearest"), TICKS)


def meets(segments: np.ndarray, start: np.ndarray, stop: np.ndarray, margin: float = 0.0) -> np.ndarray:
    """Whether each stretch comes within ``margin`` seconds of any segment."""
    return ((segments[:, :1] < stop + margin) & (segments[:, 1:] > start - margin)).any(0)


class Tower:
    """Features of any video of these classes; equal classes and seeds give equal features."""

    SEED = 41

    def __init__(self, classes: Sequence[str], seed: int) -> None:
        self.classes, self.seed = list(classes), seed
        self._rng, count = np.random.default_rng([seed, len(classes)]), len(classes)
        parts = [PARTS.get(one, [f"{one} {part}" for part in ("place", "thing", "movement")]) for one in self.classes]
        self._place, self._thing, self._move = (np.unique(x, return_inverse=True)[1] for x in zip(*parts, strict=True))
        # where in an instance its moment is, and how long that lasts, in parts of the instance
        self._peak, self._width = self._rng.uniform(0.35, 0.8, count), self._rng.uniform(0.12, 0.3, count)
        self._clear = self._rng.uniform(0.75, 1.2, count)  # how well Kinetics covers the class
        self._learn_motion(count)
        self._learn_words(count)

    def _channels(self, count: int) -> np.ndarray:
        """(count, 512): a few channels each, of exponential strengths."""
        return (self._rng.random((count, WIDTH)) < USED) * self._rng.exponential(1.0, (count, WIDTH))

    def _learn_motion(self, count: int) -> None:
        """What every channel of I3D answers to, and its scale."""
        movement, thing = self._channels(count)[self._move], self._channels(count)[self._thing]
        thing[:, HALF:] *= 0.2  # flow hardly sees things
        # below, classes of one part share about half of what shows it, and the last term is a class's own
        self._whole = 0.6 * movement + 0.4 * thing + 0.6 * self._channels(count)
        self._sharp = 0.6 * self._channels(count)[self._move] + 0.3 * self._whole + 0.7 * self._channels(count)
        self._where = self._channels(count)[self._place] + 0.4 * thing + 0.3 * self._channels(count)
        self._where[:, HALF:] *= 0.1  # nor places
        self._others = self._channels(len(HALVES)) * np.repeat(HALVES, HALF, axis=1)
        self._look = self._rng.standard_normal((LOOKS, WIDTH)) * np.repeat((2, 0.6), HALF) / np.sqrt(LOOKS)  # nor looks
        self._bar, self._gain = self._rng.normal(THRESHOLD, 0.5, WIDTH), SCALE * self._rng.lognormal(0, SPREAD, WIDTH)

    def _learn_words(self, count: int) -> None:
        """The texts, and what CLIP's images of places, acts, looks and kinds of shots look like."""
        basis = np.linalg.qr(self._rng.standard_normal((WIDTH, 2)))[0].T
        clean = np.eye(WIDTH) - basis.T @ basis  # leaves out the two common directions

        def directions(many: int) -> np.ndarray:
            return unit(self._rng.standard_normal((many, WIDTH)) @ clean)

        place, thing, move = (directions(count)[which] for which in (self._place, self._thing, self._move))
        # words tell things and places better than movements; the last term is a class's own
        meaning = unit(0.5 * place + 0.6 * thing + 0.3 * move + 0.7 * directions(count))
        self.text = unit(COMMON_TEXT * basis[0] + SAME_WORDS * basis[1] + MEANING * meaning).astype(np.float32)
        named = self._rng.uniform(*NAMED, (count, 1))
        unnamed = np.sqrt(1 - named**2)
        self._scene_image = named * meaning + unnamed * unit(directions(count)[self._place] + 0.7 * directions(count))
        acting = unit(0.4 * meaning + 0.5 * move + 0.6 * directions(count))
        self._act_image = named * acting + unnamed * directions(count) + 0.5 * self._scene_image
        self._image, self._blur_image = basis[0], directions(1)[0]
        self._look_image, self._kind_image = directions(LOOKS) / np.sqrt(LOOKS), directions(len(Shot))

    def draw(self, video: Video, number: int) -> tuple[np.ndarray, np.ndarray]:
        """CBP and VLP features of the ``number``-th video."""
        rng = np.random.default_rng([self.seed, 1, number])
        time = (np.arange(snippets(video) * TICKS) + 0.5) * TICK
        label = np.array([self.classes.index(one) for one in video.instance_labels], dtype=int)
        segments = np.asarray(video.segments, dtype=float).reshape(-1, 2)
        order = np.argsort(segments[:, 0], kind="stable")
        mine = sorted({*label.tolist(), *(self.classes.index(one) for one in video.labels)})
        film = Film(time, segments[order], label[order], mine, *self._edit(rng, segments, len(time) * TICK))
        shot = np.searchsorted(film.cuts, time, side="right") - 1
        course, seen = self._course(rng, film), self._shoot(rng, film.kinds, shot)
        sight = Sight(*course, *seen, self._scene(rng, film, shot), film.kinds[shot])
        return self._i3d(rng, sight).astype(np.float32), self._clip(rng, sight).astype(np.float32)

    def _kin(self, mine: list[int]) -> np.ndarray:
        """The classes that share a place with any of these."""
        return np.flatnonzero(np.isin(self._place, self._place[mine]))

    def _edit(self, rng: np.random.Generator, segments: np.ndarray, end: float) -> tuple[np.ndarray, np.ndarray]:
        """Starts of the shots in seconds, and their kinds: editors cut around an instance rather than in it."""
        static = rng.random() < STATIC
        typical = 60.0 if static else rng.lognormal(np.log(6.0), 0.4)  # seconds a shot
        cuts = np.cumsum(rng.gamma(2.0, typical / 2, int(end / typical * 2) + 20))
        cuts = cuts[~meets(segments, cuts, cuts) | (rng.random(len(cuts)) < CUT)]
        if not static:
            for column, sign, (away, often) in zip((0, 1), (-1, 1), LEAD, strict=True):
                near = segments[:, column] + sign * rng.exponential(away, len(segments))
                cuts = np.r_[cuts, near[~meets(segments, near, near) & (rng.random(len(near)) < often)]]
        cuts = np.r_[0.0, np.sort(cuts[(cuts > TICK) & (cuts < end - TICK)])]
        holds = meets(segments, cuts, np.r_[cuts[1:], end], -TICK)
        kinds = np.full(len(cuts), int(Shot.WAIT)) if static else rng.choice(len(Shot), len(cuts), p=LEFT / LEFT.sum())
        kinds[np.r_[False, holds[:-1]] & (rng.random(len(cuts)) < REPLAYED) & (not static)] = Shot.REPLAY
        kinds[holds] = Shot.PLAY
        return cuts, kinds

    def _happen(self, rng: np.random.Generator, film: Film) -> tuple[np.ndarray, ...]:
        """Start, stop, class, and strengths for RGB and flow of instances, slow-motion replays and rehearsals."""
        many, end, length = len(film.segments), film.time[-1], film.segments[:, 1] - film.segments[:, 0]
        shifted = film.segments + rng.normal(0, 0.07, (many, 2)) * np.minimum(length, 5.0)[:, None]  # annotators differ
        seen = 1.2 * rng.beta(4, 1.5, many) * np.where(rng.random(many) < 0.1, 0.3, 1.0)  # a tenth is hidden
        shown = np.flatnonzero(film.kinds == Shot.REPLAY)
        again = film.label[np.maximum(np.searchsorted(film.segments[:, 0], film.cuts[shown]) - 1, 0)]
        slow = rng.uniform(0.3, 0.8, len(shown))
        tries = rng.uniform(0, end, rng.poisson(REHEARSALS * end / 60))
        stops = tries + rng.lognormal(np.log(1.8), 0.5, len(tries))
        tries, stops = np.stack([tries, stops])[:, ~meets(film.segments, tries, stops, 0.5)]
        weak = rng.uniform(0.2, 0.75, len(tries))
        own, kin = (rng.choice(pool, len(tries)) for pool in (film.mine, self._kin(film.mine)))
        tried = np.where(rng.random(len(tries)) < 0.65, own, kin)  # rehearsals are mostly of what is to come
        start = np.r_[shifted[:, 0], film.cuts[shown], tries]
        stop = np.r_[shifted[:, 1], np.r_[film.cuts[1:], end][shown], stops]
        flow = np.r_[seen * rng.uniform(0.8, 1.2, many), 0.4 * slow, weak]
        return start, stop, np.r_[film.label, again, tried].astype(int), np.r_[seen, slow, weak], flow

    def _course(self, rng: np.random.Generator, film: Film) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """How strongly each class's whole and moment are on, and what surrounds them."""
        start, stop, label, *strengths = self._happen(rng, film)
        length = np.maximum(stop - start, 0.3)[:, None]
        since = film.time - start[:, None]
        depth = np.minimum(since, stop[:, None] - film.time)
        edge = np.minimum(0.12 * length, 0.4) + 0.08  # seconds that the start and the end take
        inside = 1 / (1 + np.exp(-np.clip(depth / edge, -30, 30)))
        peak = (self._peak[label] + rng.normal(0, 0.08, len(label)))[:, None] * length
        moment = np.exp(-0.5 * ((since - peak) / np.maximum(self._width[label, None] * length, 0.25)) ** 2)
        around = np.exp(np.minimum(depth, 0) / 1.2) * (1 - inside)  # fades within about a second
        mine = [how[:, None] * np.eye(len(self.classes))[label] for how in strengths]
        body, sharp = ([np.minimum(x.T @ one, 1.2) for one in mine] for x in (inside, moment))  # two hardly beat one
        return body, sharp, np.minimum((around * strengths[0][:, None]).sum(0), 1.0)

    def _shoot(self, rng: np.random.Generator, kinds: np.ndarray, shot: np.ndarray) -> tuple[np.ndarray, ...]:
        """(t,) the athlete's size, (t, look) what all looks like, and (t, 3) the camera's pan, zoom and shake."""
        whole, *setups = rng.standard_normal((1 + SETUPS, LOOKS))
        fresh, known = rng.standard_normal((len(kinds), LOOKS)), np.array(setups)[rng.integers(SETUPS, size=len(kinds))]
        each = np.where((kinds <= Shot.REPLAY)[:, None], 0.9 * known + 0.4 * fresh, fresh)
        look = 0.7 * whole + 0.6 * each[shot] + 0.3 * wander(rng, (len(shot), LOOKS), 3 / TICK)  # the last in seconds
        level = rng.exponential(0.45, (len(kinds), 3)) * rng.exponential(1.0, 3)  # mostly weak
        camera = np.maximum(level[shot] * (0.3 + wander(rng, (len(shot), 3), 1 / TICK)), 0)
        return np.exp(rng.normal(0, 0.25, len(kinds)))[shot], look, camera

    def _scene(self, rng: np.random.Generator, film: Film, shot: np.ndarray) -> np.ndarray:
        """(t, c): the sport of the nearest instance and some of a rival, as far as the shot shows them."""
        each = np.eye(len(self.classes))
        scene = np.tile(each[film.mine].mean(0), (len(film.time), 1))
        if len(film.label):
            away = np.abs(film.time - film.segments.mean(1)[:, None]) - np.diff(film.segments) / 2
            scene = each[film.label[away.argmin(0)]]
        scene[:, rng.choice(self._kin(film.mine))] += rng.exponential(RIVAL)
        scene *= np.exp(0.2 * wander(rng, (len(scene), 1), 4 / TICK) + rng.normal(0, 0.15))  # comes and goes slowly
        return scene * SCENE[film.kinds[shot], None]

    def _i3d(self, rng: np.random.Generator, sight: Sight) -> np.ndarray:
        """Channels add what they answer to, are bent by the ReLU after pooling, and have scales of their own."""
        used = np.flatnonzero(sight.body[0].max(0))
        vary = rng.gamma(ALIKE, 1 / ALIKE, (2, len(used), WIDTH)) * self._clear[used, None]  # no two videos are alike
        whole, sharp = BODY * vary[0] * self._whole[used], MOMENT * vary[1] * self._sharp[used]
        walking = np.maximum(sight.around, 0.4 * (sight.kind == Shot.WAIT))
        kinds = [(sight.kind == one).astype(float) for one in (Shot.CROWD, Shot.FACE, Shot.CROWD, Shot.BOARD)]
        others = np.stack([walking, kinds[0], *sight.camera.T, *kinds[1:]], 1)
        drive = OTHER * averaged(others) @ self._others + PLACE * averaged(sight.scene) @ self._where
        drive += LOOK * averaged(sight.look) @ self._look
        for half, columns in enumerate((slice(HALF), slice(HALF, WIDTH))):
            body, moment = (averaged(sight.zoom[:, None] * one[half][:, used]) for one in (sight.body, sight.moment))
            drive[:, columns] += body @ whole[:, columns] + moment @ sharp[:, columns]
        drive += np.exp(0.3 * wander(rng, (len(drive), 1), 1.5)) * wander(rng, drive.shape, STAY)  # in bursts
        bent = np.logaddexp(0, BEND * (drive - self._bar)) / BEND
        return self._gain * (bent / (1 + bent / CAP)) ** TAIL

    def _clip(self, rng: np.random.Generator, sight: Sight) -> np.ndarray:
        """One frame of each snippet: the common direction of images, and what the frame shows."""
        frame = slice(TICKS // 2, None, TICKS)
        kind = sight.kind[frame]
        fast = np.minimum(0.6 * sight.moment[1][frame].max(1) + 0.5 * sight.camera[frame].sum(1), 1.0)[:, None]
        sharp = (1 - BLUR * fast) * sight.zoom[frame, None] ** 0.5
        rows = self._image + SEEN_SCENE * sharp * sight.scene[frame] @ self._scene_image
        rows += SEEN_ACT * sharp * (sight.body[0] + sight.moment[0])[frame] @ self._act_image
        rows += SEEN_LOOK * sight.look[frame] @ self._look_image
        rows += SEEN_KIND * self._kind_image[kind] * (kind > Shot.WAIT)[:, None] + SMEAR * fast * self._blur_image
        return unit(rows + FRAME * wander(rng, rows.shape, 0.6) / np.sqrt(WIDTH))
