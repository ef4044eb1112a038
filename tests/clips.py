"""Small videos whose every frame says which it is: its number in black and white squares along the top."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS, SQUARE = 10, 8
SIZE = (BITS * SQUARE + 16, 64)
"width and height, pixels"


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture (h, w, 3) of faint noise with ``number`` written into it."""
    image = np.random.default_rng(number).integers(70, 110, (size[1], size[0], 3), np.uint8)
    return stamped(image, number)


def stamped(image: np.ndarray, number: int, square: int = SQUARE) -> np.ndarray:
    """The picture with ``number`` written along its top."""
    image = image.copy()
    for bit in range(BITS):
        image[:square, bit * square : (bit + 1) * square] = 255 * (number >> bit & 1)
    return image


def number(image: np.ndarray, square: int = SQUARE) -> int:
    """The number that a picture carries."""
    half = square // 2
    return sum(int(image[half, bit * square + half].mean() > 127) << bit for bit in range(BITS))


def write(
    path: Path | Any,
    images: Iterable[np.ndarray],
    times_ms: Sequence[int] | None = None,
    rate: int = 25,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    options: dict[str, str] | None = None,
    **container: Any,
) -> Any:
    """``path``, holding a video of ``images`` shown at ``times_ms``, or evenly at ``rate``."""
    target = str(path) if isinstance(path, Path) else path
    with av.open(target, "w", **container) as file:
        stream = file.add_stream(codec, rate=rate, options={"crf": "20", "g": "50", **(options or {})})
        stream.pix_fmt = pixels
        unit = Fraction(1, 1000) if times_ms is not None else Fraction(1, rate)
        stream.codec_context.time_base = unit
        for i, image in enumerate(images):
            if i == 0:
                stream.height, stream.width = image.shape[:2]
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = (i if times_ms is None else times_ms[i]), unit
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def numbered(path: Path, frames: int = 150, **options: Any) -> Path:
    """A numbered video at 25 frames a second."""
    return write(path, (picture(i) for i in range(frames)), **options)


def turned(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """The mp4 file, told to be shown under a rotation (cos, sin, -sin, cos)."""
    content = path.read_bytes()
    start = content.index(b"tkhd") + 4
    start += 4 + (32 if content[start] else 20) + 16
    a, b, c, d = (value << 16 for value in matrix)
    path.write_bytes(content[:start] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + content[start + 36 :])
    return path
