"""A feature pack as it lies on disk: the form of its arrays, when its rows were seen, and its videos one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from wtal_lib.data.cache import Add, Fault, Kept, Token
from wtal_lib.data.files import UnreadableError, read_objects
from wtal_lib.data.forms import REMEDY, Form, form_of, read_form, shape_of
from wtal_lib.data.instances import Video
from wtal_lib.data.segments import Grid
from wtal_lib.data.timing import Timing, timing

CLIP_FRAMES = 16
"frames of the clip behind one I3D row"
TIMED = ("actionformer", "clip")
"layouts of one file a video, whose rows may follow each video's own rate"
SAMPLE = 256
"files whose shapes are looked at to find a pack's form and rate"


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
