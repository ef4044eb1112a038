"""Video files: seconds in, frames out, by presentation time; one pass, constant memory whatever the length."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from jaxtyping import Float, UInt8

SEEK_GAP = 2.0
"seconds; requested times closer than this, or than two keyframes seen so far, are read through: a seek would not pay"
SUFFIXES = (
    *(".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4"),
    *(".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
)
"of the files of a folder that are taken for videos"
NO_FRAME = (
    "{} has a video stream but not one frame of it can be decoded: it is empty, damaged or protected (DRM); "
    "play it to check, and convert it to H.264 if it plays"
)


def videos_in(paths: Iterable[str | Path]) -> list[Path]:
    """Files as they are, folders by the videos in them, sorted; FileNotFoundError for no such path, or no video."""
    videos: list[Path] = []
    for path in (Path(path).expanduser() for path in paths):
        if not path.exists():
            raise FileNotFoundError(f"no such video file or folder: {path}")
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"expected videos in {path}, but no file there ends in {' '.join(SUFFIXES)}")
        videos += inside
    return videos


@dataclass(frozen=True)
class VideoInfo:
    """Properties of the best video stream of a file."""

    duration: float
    "seconds from the start of the file to the end of the last frame"
    fps: float
    "mean frames per second; the frames of a variable-rate video are not evenly spaced"
    width: int
    "pixels, as shown: after rotation"
    height: int
    codec: str


class Frame(NamedTuple):
    """One picture and when it is shown."""

    asked: float
    "the requested time, seconds"
    time: float
    "when this frame appears, seconds; it stays until the next one"
    image: UInt8[np.ndarray, "h w 3"]
    "RGB, upright"


def probe(path: str | Path) -> VideoInfo:
    """Duration, rate and size of a video; FileNotFoundError where it is missing, ValueError for no readable picture."""
    with _opened(path) as (container, stream):
        first = next((frame for _, frame in _decoded(container, stream)), None)
        if first is None:
            raise ValueError(NO_FRAME.format(path))
        size = (first.height, first.width) if round(first.rotation / 90) % 2 else (first.width, first.height)
        rate, codec = _rate(stream), stream.codec_context.name
        seconds = 0.0
        if stream.duration:
            seconds = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - _origin(container)
        elif container.duration and _origin(container) < 1:  # else it may count from 0 or from the clock's start
            seconds = container.duration / av.time_base
    seconds = seconds if seconds > 0 else _counted(path)
    return VideoInfo(max(seconds, 1 / rate), rate, *size, codec)


def frames(path: str | Path, times_s: Sequence[float] | Float[np.ndarray, " t"]) -> Iterator[Frame]:
    """The frame shown at each of ``times_s`` (seconds from the start of the file, ascending), one after another.

    Shown is the last frame that is not later; before the first frame, the first. Times beyond the last frame's end get
    none; damaged packets are stepped over. Raises what :func:`probe` raises, and ValueError for times out of order.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError(f"times must be finite seconds in ascending order, got {times_s}")
    return _read(path, deque(times.tolist()))


def _read(path: str | Path, pending: deque[float]) -> Iterator[Frame]:
    with _opened(path) as (container, stream):
        shown: tuple[float, Any] | None = None
        for time, frame in _towards(container, stream, pending):
            yield from _until(time, pending, *(shown or (time, frame)))
            if not pending:
                return
            shown = time, frame
        if shown is None:
            raise ValueError(NO_FRAME.format(path))
        time, frame = shown
        end = time + max(float((getattr(frame, "duration", 0) or 0) * stream.time_base), 1 / _rate(stream))
        yield from _until(end, pending, time, frame)


def _until(end: float, pending: deque[float], time: float, frame: Any) -> Iterator[Frame]:
    """The frame, upright, for each of the ``pending`` times before ``end``, which are removed."""
    if pending and pending[0] < end:
        image = frame.to_ndarray(format="rgb24")
        image = np.ascontiguousarray(np.rot90(image, round(frame.rotation / 90)))
        while pending and pending[0] < end:
            yield Frame(pending.popleft(), time, image)


def _towards(container: Any, stream: Any, pending: deque[float]) -> Iterator[tuple[float, Any]]:
    """Frames in order of presentation; seeks ahead while the first of ``pending`` is far."""
    spacing, key = 0.0, np.inf
    sought, landed, reading, trusted = np.nan, True, True, True
    while reading:
        reading = False
        for time, frame in _decoded(container, stream):
            if frame.key_frame:
                spacing, key = max(spacing, time - key), time
            if not landed and time > pending[0]:  # the first frame after a seek is too late
                break
            landed = True
            yield time, frame
            far = frame.time is not None and pending[0] - time > max(SEEK_GAP, 2 * spacing)
            if far and trusted and sought != pending[0]:
                sought = pending[0]
                if _jump(container, stream, sought + _origin(container)):
                    landed, reading, key = False, True, np.inf
                    break
        if not (landed or reading):  # the file's index is wrong: read all frames, from the first on
            landed, trusted, reading = True, False, _jump(container, stream, 0.0)


def _decoded(container: Any, stream: Any) -> Iterator[tuple[float, Any]]:
    """Time (seconds) and frame of all frames that decode, in order of presentation."""
    untimed = 0
    for packet in _readable(container.demux(stream)):
        with suppress(av.error.InvalidDataError):
            for frame in packet.decode():
                time = untimed / _rate(stream) if frame.time is None else frame.time - _origin(container)
                untimed += frame.time is None
                if not frame.is_corrupt:
                    yield time, frame


def _readable(packets: Iterator[Any]) -> Iterator[Any]:
    """The packets up to where the file breaks off, if it does."""
    with suppress(av.error.FFmpegError):
        yield from packets


def _jump(container: Any, stream: Any, seconds: float) -> bool:
    """Whether the container went to the last keyframe at or before ``seconds`` on its own clock."""
    with suppress(av.error.FFmpegError):
        container.seek(int(seconds / stream.time_base), stream=stream)
        return True
    return False


def _origin(container: Any) -> float:
    """Where the file's clock starts, seconds: what a player calls 0."""
    return float(container.start_time or 0) / av.time_base


def _rate(stream: Any) -> float:
    return float(stream.average_rate or stream.guessed_rate or 25)


def _counted(path: str | Path) -> float:
    """Seconds to the end of the last packet, read through the whole file."""
    end = 0.0
    with _opened(path) as (container, stream):
        for count, packet in enumerate(_readable(container.demux(stream)), start=1):
            if packet.size:
                stated = None if packet.pts is None else (packet.pts + (packet.duration or 0)) * stream.time_base
                end = max(end, count / _rate(stream) if stated is None else float(stated) - _origin(container))
    return end


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Container and video stream of a local file, ready to decode on all cores."""
    if not Path(path).exists():
        raise FileNotFoundError(f"no such video file: {path}")
    if Path(path).is_dir():
        raise ValueError(f"expected a video file, got the folder {path}")
    try:  # local files only: a playlist inside a stranger's file must not reach the network
        container = av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"})
    except PermissionError:
        raise
    except av.error.FFmpegError as error:
        raise ValueError(
            f"{path} cannot be read as a video ({error.strerror}): expected mp4, mkv, webm, avi or the like, whole; "
            "if it was downloaded, download it again"
        ) from error
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.disposition & av.stream.Disposition.attached_pic:
            kinds = ", ".join(sorted({other.type for other in container.streams})) or "nothing"
            raise ValueError(f"{path} has no video stream, only {kinds}")
        if stream.codec_context is None:
            raise ValueError(f"{path} uses a video codec that this ffmpeg cannot decode; convert it to H.264 first")
        stream.thread_type = "AUTO"
        yield container, stream
