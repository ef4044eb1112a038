"""Video files: seconds in, frames out, by presentation time; one pass, constant memory whatever the length."""

from __future__ import annotations

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

HELD = 32
"packets looked ahead at most; frames are reordered over at most 16"

DISPOSABLE = ("h264", "mpeg4", "mpeg2video", "mpeg1video")
"codecs whose non-reference frames serve no other frame at all: unwanted ones need no decoding"


def videos_in(paths: Iterable[str | Path]) -> list[Path]:
    """The video files among ``paths``: files as they are, folders by what is in them, in order of their names.

    Raises:
        FileNotFoundError: there is no such file or folder, or no video in a folder.
    """
    videos: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f"no such video file or folder: {path}")
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f"expected videos in {path}, but no file there ends in {' '.join(SUFFIXES)}")
        videos += inside
    return videos


@dataclass(frozen=True)
class VideoInfo:
    """What the file says of its (first, or best) video stream."""

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
    """Duration, rate and size of a video file; packets are counted where the file does not state its duration.

    Raises FileNotFoundError for a file that is not there, ValueError for one without a picture that can be decoded.
    """
    with _opened(path) as (container, stream):
        first = next((frame for _, frame in _decoded(container, stream, np.zeros(1), 0.0)), None)
        if first is None:
            raise ValueError(_no_frame(path))
        turned = round(first.rotation / 90) % 2
        size = (first.height, first.width) if turned else (first.width, first.height)
        rate, codec = _rate(stream), stream.codec_context.name
        seconds = 0.0
        if stream.duration:
            seconds = float(((stream.start_time or 0) + stream.duration) * stream.time_base) - _origin(container)
        elif container.duration:
            seconds = container.duration / av.time_base
    seconds = seconds if seconds > 0 else _counted(path)
    return VideoInfo(max(seconds, 1 / rate), rate, *size, codec)


def frames(path: str | Path, times_s: Sequence[float] | Float[np.ndarray, " t"]) -> Iterator[Frame]:
    """The frame shown at each of ``times_s`` (seconds from the start of the file, ascending), one after another.

    Shown at a time is the last frame whose presentation time is not later; before the first frame it is the first. The
    iterator ends early where the file does: times beyond the last frame's end get none. Damaged packets are stepped
    over. Pixels are taken as square. Raises what :func:`probe` raises, and ValueError for times out of order.
    """
    times = np.asarray(times_s, dtype=np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (np.diff(times) < 0).any():
        raise ValueError(f"times must be finite seconds in ascending order, got {times_s}")
    return _read(Path(path), times)


def _read(path: Path, times: np.ndarray) -> Iterator[Frame]:
    with _opened(path) as (container, stream):
        origin = _origin(container)
        shown: tuple[float, Any] | None = None
        given: Frame | None = None
        spacing, key, done, jumped, reading = 0.0, np.inf, 0, -1, True
        while reading:
            reading = False
            for time, frame in _decoded(container, stream, times[done:], origin):
                if frame.key_frame:
                    spacing, key = max(spacing, time - key), time
                if shown is None and 0 <= jumped < len(times) and time > times[done]:  # too far: the index is wrong
                    jumped, reading = len(times), _jump(container, stream, 0.0)
                    break
                shown = shown or (time, frame)
                while done < len(times) and times[done] < time:
                    given = _picture(times[done], *shown, given)
                    yield given
                    done += 1
                if done == len(times):
                    return
                shown = (time, frame)
                if done > jumped and frame.time is not None and times[done] - time > max(SEEK_GAP, 2 * spacing):
                    jumped, reading = done, _jump(container, stream, times[done] + origin)
                    if reading:
                        shown, key = None, np.inf
                        break
            if shown is None and 0 <= jumped < len(times) and not reading:  # nothing there: the index is wrong
                jumped, reading = len(times), _jump(container, stream, 0.0)
        if shown is None:
            raise ValueError(_no_frame(path))
        end = shown[0] + max(float((getattr(shown[1], "duration", 0) or 0) * stream.time_base), 1 / _rate(stream))
        for time in times[done:][times[done:] < end]:
            given = _picture(time, *shown, given)
            yield given


def _picture(asked: float, time: float, frame: Any, given: Frame | None) -> Frame:
    """The frame as an upright RGB array; the array of the frame given before where it is the same one."""
    if given is not None and given.time == time:
        return given._replace(asked=float(asked))
    image = frame.to_ndarray(format="rgb24")
    quarters = round(frame.rotation / 90)
    return Frame(float(asked), time, np.ascontiguousarray(np.rot90(image, quarters)))


def _decoded(container: Any, stream: Any, times: np.ndarray, origin: float) -> Iterator[tuple[float, Any]]:
    """Time (seconds) and frame of all frames that decode, in order; unwanted ones may be left out."""
    untimed = 0
    for packet, wanted in _marked(container.demux(stream), stream, times, origin):
        stream.codec_context.skip_frame = "DEFAULT" if wanted else "NONREF"
        with suppress(av.error.InvalidDataError):
            for frame in packet.decode():
                time = untimed / _rate(stream) if frame.time is None else frame.time - origin
                untimed += frame.time is None
                if not frame.is_corrupt:
                    yield time, frame


def _marked(packets: Iterator[Any], stream: Any, times: np.ndarray, origin: float) -> Iterator[tuple[Any, bool]]:
    """Packets with whether one of ``times`` may show their frame: told by timestamps, a few packets ahead."""
    unit, todo = float(stream.time_base), list(times[::-1])
    exact = stream.codec_context.name in DISPOSABLE
    held: list[tuple[Any, float]] = []
    for packet in _readable(packets):
        if not exact or not todo or packet.pts is None or packet.dts is None:
            yield from ((kept, True) for kept, _ in held)
            held.clear()
            yield packet, True
            continue
        held.append((packet, packet.pts * unit - origin))
        while todo:
            decided = packet.dts * unit - origin > todo[-1]  # what follows is shown later still
            if not decided and len(held) <= HELD:
                break
            ready = [i for i, (kept, at) in enumerate(held) if at <= todo[-1] and not kept.is_discard]
            count = (ready[-1] + 1 if ready else 0) if decided else 1
            latest = max((held[i][1] for i in ready), default=None)
            for kept, at in held[:count]:
                yield kept, at > todo[-1] or at == latest
            del held[:count]
            if decided:
                todo.pop()


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
    with _opened(path) as (container, stream):
        ends = [0.0]
        for count, packet in enumerate(_readable(container.demux(stream)), start=1):
            if packet.size:
                stated = None if packet.pts is None else (packet.pts + (packet.duration or 0)) * stream.time_base
                ends[0] = max(ends[0], count / _rate(stream) if stated is None else float(stated) - _origin(container))
        return ends[0]


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Container and video stream of a local file, ready to decode on all cores."""
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no such video file: {path}")
    if path.is_dir():
        raise ValueError(f"expected a video file, got the folder {path}")
    try:  # local files only: a playlist inside a stranger's file must not reach the network
        container = av.open(f"file:{path}", metadata_errors="replace", options={"protocol_whitelist": "file"})
    except av.error.FFmpegError as error:
        if isinstance(error, PermissionError):
            raise
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


def _no_frame(path: str | Path) -> str:
    return (
        f"{path} has a video stream but not one frame of it can be decoded: it is empty, damaged or protected (DRM); "
        "play it to check, and convert it to H.264 if it plays"
    )
