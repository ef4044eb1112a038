"""A feature pack as it lies on disk: the form of its arrays, when each row was seen, and its videos one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from wtal_lib.data.cache import Add, Fault, Kept, Token
from wtal_lib.data.containers import REMEDY
from wtal_lib.data.files import UnreadableError, read_objects
from wtal_lib.data.forms import Form, form_of, read_form, shape_of
from wtal_lib.data.instances import Video
from wtal_lib.data.segments import I3D_GRID, Grid, resampled

CLIP_FRAMES = 16
"frames of the clip behind one I3D row"
TIMED = ("actionformer", "clip")
"layouts of one file a video, whose rows may follow each video's own rate"
SAMPLE = 256
"files whose shapes are looked at to find a pack's form and rate"
RATES = (Grid(25, 16), Grid(10, 1), Grid(30, 4), Grid(30, 16), Grid(15, 16), Grid(1, 1))
CLIP_RATES = (*RATES, Grid(25, 8), Grid(25, 4))
"grids of community packs; a rate inferred from rows and durations becomes the nearest one"
RATE_TOLERANCE = 0.02
"relative difference from one of them that still counts as it"
MISFIT = 0.1
"relative difference from one rate, in most videos, at which there is none"


@dataclass(frozen=True)
class Timing:
    """How the rows of a pack of one file a video lie in time."""

    grid: Grid
    "the pack's grid, on which all its rows are put"
    clip: int
    "frames behind one row; if the stride is shorter, rows are moved to the middle of their clips"
    native: bool = False
    "the stride counts frames of each video's own rate"
    equal: bool = False
    "every video has equally many rows, spread over its duration"
    note: str = ""

    def placed(self, rows_td: Float[np.ndarray, "t d"], video: Video | None) -> Float[np.ndarray, "s d"]:
        """Rows of a video at their times on the pack's grid, in their own dtype."""
        grid = self.grid
        if self.equal and video and video.duration > 0:
            own = Grid(len(rows_td) / video.duration, 1)
            snippets = max(1, round(video.duration / grid.step))
            return resampled(rows_td, own, grid, snippets).astype(rows_td.dtype)
        if video and self.native and video.fps > 0:
            drift = abs(grid.fps / video.fps - 1) * len(rows_td) * grid.step
            if drift > grid.step / 4:
                middle = (self.clip if self.clip > 1 else grid.stride) / 2 / video.fps
                return interpolated(rows_td, middle, grid.stride / video.fps, grid)
        lead = max(0, round((self.clip - grid.stride) / 2 / grid.stride)) if grid.stride > 1 else 0
        return np.concatenate([np.repeat(rows_td[:1], lead, axis=0), rows_td]) if lead else rows_td


def timing(rows: Mapping[str, int], videos: Mapping[str, Video], clip: int, given: Grid | None = None) -> Timing:
    """The timing that fits numbers of rows and durations by id: a usual rate, each video's own, or equal rows.

    Of a ``given`` grid only whether it counts frames of each video's own rate is told.

    Raises:
        ValueError: no duration is known, or the rows follow no rate.
    """
    known = {key: videos[key] for key in rows if key in videos and videos[key].duration > 0 and rows[key]}
    if not known and given:
        return Timing(given, clip)
    if not known:
        raise ValueError(
            "expected rows whose rate follows from the videos' durations, but no duration is known; give fps and"
            " stride, or annotations with durations"
        )
    count = np.array([rows[key] for key in known], dtype=np.float64)
    duration = np.array([video.duration for video in known.values()])
    fps = np.array([video.fps for video in known.values()])
    rate = float(np.median(count / duration))
    usual: Sequence[Grid] = [given] if given else CLIP_RATES if clip > 1 else RATES
    fits = [(_misfit(count, duration / grid.step), grid, False) for grid in usual]
    if (fps > 0).mean() > 0.5 and (clip > 1 or np.ptp(fps[fps > 0]) > 0):
        own, common = fps > 0, float(np.median(fps[fps > 0]))
        near = {max(1, round(common / rate) + i) for i in (-1, 0, 1)}
        close = given is not None and abs(given.fps / common - 1) < RATE_TOLERANCE
        for stride in near if given is None else {given.stride} if close else ():
            frames = duration * fps / stride
            clips = np.maximum((duration * fps - clip) / stride + 1, 1)
            least = min(_misfit(count[own], expected[own]) for expected in (frames, clips))
            fits.append((least + 1e-6, Grid(common, stride), True))
    least, grid, native = min(fits, key=lambda fit: fit[0])
    if given or least <= RATE_TOLERANCE:
        return Timing(given or grid, clip, native)
    if len(set(count)) == 1 and len(count) > 2 and np.ptp(duration) > MISFIT * np.median(duration):
        told = f"the {count[0]:.0f} rows of each video are spread over its length"
        return Timing(I3D_GRID, clip, equal=True, note=told)
    if np.median(np.abs(count / duration / rate - 1)) <= MISFIT:
        told = f"its rate, {rate:.3f} rows a second, is none of those in use; give fps and stride if known"
        return Timing(Grid(rate, 1), clip, note=told)
    raise ValueError(
        f"expected rows in proportion to the videos' durations, got {rate:.3g} a second, and other rates by"
        f" {100 * least:.0f} %; give fps and stride, or features.json with them"
    )


def _misfit(count: np.ndarray, expected: np.ndarray) -> float:
    """Mean relative difference of numbers of rows, one row aside."""
    return float(np.mean(np.maximum(np.abs(count - expected) - 1, 0) / np.maximum(expected, 1)))


def interpolated(rows_td: Float[np.ndarray, "t d"], first: float, step: float, grid: Grid) -> Float[np.ndarray, "s d"]:
    """Rows whose middles are ``first``, ``first + step``, … seconds, at the middles of the snippets of ``grid``."""
    snippets = grid.count(first - step / 2 + step * len(rows_td))
    position = ((np.arange(snippets) + 0.5) * grid.step - first) / step
    position = position.clip(0, len(rows_td) - 1)
    before = np.floor(position).astype(int)
    share = (position - before)[:, None].astype(np.float32)
    after = np.minimum(before + 1, len(rows_td) - 1)
    return (rows_td[before] * (1 - share) + rows_td[after] * share).astype(rows_td.dtype)


@dataclass
class Source:
    """A feature pack as it lies on disk."""

    kind: str
    layout: str
    path: Path
    grid: Grid | None
    "None if neither the layout nor a file tells it"
    files: dict[str, tuple[str, ...]]
    "by video id, the files whose columns stand side by side (RGB, flow); a joint file under its own name"
    stamp: str
    size: int
    "bytes on disk"
    meta: dict[str, Any] = field(default_factory=dict)
    joint: tuple[str, ...] = ()
    "ids of the rows of a joint file"

    def __post_init__(self) -> None:
        self.notes: list[str] = []
        self.videos: dict[str, Video] = {}
        self.form, self.cut = Form({}), 0
        self.timing: Timing | None = None

    def feed(self, add: Add) -> dict[str, Token]:
        """Hand every video's features to ``add``, one at a time; returns its token for each, by id."""
        if self.joint:
            expected = f"an object array of (snippets, width) arrays, one for each of the {len(self.joint)} videos"
            rows = read_objects(self.path, expected, REMEDY, on_array=add)
            if len(rows) != len(self.joint):
                raise UnreadableError(f"{self.path}: expected {expected}, but it holds {len(rows)}; {REMEDY}")
            tokens = [row if isinstance(row, (Kept, Fault)) else Fault("holds no array") for row in rows]
            return dict(zip(self.joint, tokens, strict=True))
        both = self.layout == "cola" or any(len(files) > 1 for files in self.files.values())
        self.cut = 0
        found = {key: self._read(key, both, add) for key in self.files}
        if self.cut:
            self.notes.append(
                f"{self.cut} videos have one row less of one of RGB and flow: the other's last row is cut"
            )
        return found

    def _read(self, key: str, both: bool, add: Add) -> Token:
        try:
            parts = [self.form.rows(read_form(Path(path))) for path in self.files[key]]
        except UnreadableError as error:
            return Fault(str(error))
        if len(parts) == 1 and both:
            return Fault("has only one of its two modalities, RGB and flow")
        least = min(map(len, parts))
        if len(parts) > 1 and (any(part.ndim != 2 for part in parts) or max(map(len, parts)) > least + 1):
            return Fault(f"has the shapes {[part.shape for part in parts]}, which do not fit side by side")
        self.cut += len(parts) > 1 and max(map(len, parts)) > least
        rows = parts[0] if len(parts) == 1 else np.concatenate([part[:least] for part in parts], axis=1)
        timed = self.timing is not None and rows.ndim == 2 and len(rows) > 0
        return add(self.timing.placed(rows, self.videos.get(key)) if timed else rows)  # type: ignore[union-attr]

    def look(self) -> None:
        """Find form and timing from the shapes of up to :data:`SAMPLE` of its arrays.

        Raises:
            ValueError: it has no rate of its own, and none follows from rows and durations.
        """
        shapes, broken = dict[str, tuple[int, ...]](), list[str]()
        for key in list(self.files)[:: max(1, len(self.files) // SAMPLE)] if not self.joint else ():
            try:
                shapes[key] = shape_of(Path(self.files[key][0]))
            except (UnreadableError, OSError) as error:
                broken.append(str(error))
        if broken and not shapes:
            raise UnreadableError(broken[0])
        self.form = form_of(list(shapes.values()))
        self.notes = list(self.form.notes)
        if self.layout in TIMED:
            rows = {key: self.form.snippets(shape) for key, shape in shapes.items()}
            try:
                self.timing = timing(rows, self.videos, CLIP_FRAMES if self.kind == "cbp" else 1, self.grid)
            except ValueError as error:
                raise ValueError(f"{self.path}: {error}") from None
            self.grid = self.timing.grid
            self.notes += [self.timing.note] if self.timing.note else []
