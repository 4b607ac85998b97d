"""Writing videos that every player and browser shows."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.images import check_image

LOG = logging.getLogger(__name__)

Image = NDArray[np.uint8]

# Best first: what the FFmpeg inside PyAV may have, and its settings.
_CODECS: dict[str, dict[str, object]] = {
    "libx264": {"crf": "21", "preset": "veryfast"},
    "libopenh264": {},
    "mpeg4": {"q": "4"},
}
_CLOCK = 90_000  # ticks per second, as in MPEG


class VideoWriter:
    """An mp4 file, H.264 where available, frames at their own stamps.

    The first frame sets the size (cut to even numbers, as the colour subsampling needs);
    later ones of another size are fitted into it.

    Args:
        path: file to write.
        rate: frames per second for frames whose stamps don't increase.

    Raises:
        InputError: if the file can't be written.
    """

    def __init__(self, path: Path, rate: float = 30.0) -> None:
        self.path = path
        self._rate = rate if rate > 0 else 30.0
        self._size = (0, 0)
        self._start = 0.0
        self._last = -1
        try:
            # FFmpeg opens the file with the first frame: too late to say that it can't.
            path.touch()
            self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"can't write the video {path}: {error}") from error
        self._stream: av.VideoStream | None = None

    def add(self, image: Image, stamp: float) -> None:
        """Append a frame, uint8 [H, W, 3] bgr, to be shown from ``stamp`` on (seconds)."""
        check_image(image)
        if self._stream is None:
            self._size = max(2, image.shape[1] // 2 * 2), max(2, image.shape[0] // 2 * 2)
            self._stream = self._open_stream()
            self._start = stamp
        due = round((stamp - self._start) * _CLOCK)
        step = round(_CLOCK / self._rate)
        # Stamps of images stand still, those of looped clips jump back.
        ticks = due if due > self._last else self._last + step
        self._last = ticks
        frame = av.VideoFrame.from_ndarray(_fitted(image, *self._size), format="bgr24")
        frame.pts, frame.time_base = ticks, Fraction(1, _CLOCK)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        """Finish the file; harmless when done twice. Without frames the file is removed."""
        if self._stream is None:
            self._container.close()
            self.path.unlink(missing_ok=True)
            return
        if self._last >= 0:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
            self._last = -1

    def _open_stream(self) -> av.VideoStream:
        for codec, options in _CODECS.items():
            if codec not in av.codecs_available:
                continue
            stream = self._container.add_stream(
                codec, rate=Fraction(self._rate).limit_denominator(1000)
            )
            if not isinstance(stream, av.VideoStream):
                continue
            stream.width, stream.height = self._size
            stream.pix_fmt = "yuv420p"
            stream.options = options
            stream.codec_context.time_base = Fraction(1, _CLOCK)
            LOG.debug("%s is written with %s", self.path, codec)
            return stream
        raise InputError(
            f"can't write {self.path}: this PyAV has none of the encoders {', '.join(_CODECS)}; "
            "install the wheel `av` from PyPI"
        )


def _fitted(image: Image, width: int, height: int) -> Image:
    """Cut one odd row or column, or scale with black borders, to a size."""
    if image.shape[1] - width in (0, 1) and image.shape[0] - height in (0, 1):
        return np.ascontiguousarray(image[:height, :width])
    scale = min(width / image.shape[1], height / image.shape[0])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    out = np.zeros((height, width, 3), np.uint8)
    y, x = (height - size[1]) // 2, (width - size[0]) // 2
    out[y : y + size[1], x : x + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return out
