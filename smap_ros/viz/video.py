"""Writing videos that every browser shows."""

from __future__ import annotations

import contextlib
import logging
import os
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.images import check_image
from smap_ros.pictures import printable
from smap_ros.sources.base import FASTEST, SLOWEST

LOG = logging.getLogger(__name__)

Image = NDArray[np.uint8]

# Best first: what the FFmpeg inside PyAV may have, and its settings. VP9 plays in all browsers
# and is free of H.264's patents and of the GPL of its encoder, and about as fast and small.
_CODECS: dict[str, dict[str, object]] = {
    "libvpx-vp9": {
        "crf": "30", "b": "0", "deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0",
    },
    "libx264": {"crf": "21", "preset": "veryfast"},
    "mpeg4": {"qscale": "4"},
}  # fmt: skip
_CLOCK = 60_000  # ticks per second; MPEG-4 takes no more than 65535
_KEY_FRAMES = 2.0  # seconds between two
_LONGEST = 1e10  # seconds, more than since 1970; the encoders count ticks in 64 bits
_MOST_TICKS = 2**31 - 1  # between two frames, ten hours: a file has no room for more
# The file is written in parts of half a second (1e6 ticks) that are whole by themselves.
_WHOLE = {"movflags": "+faststart"}
_PARTS = {"movflags": "+frag_keyframe+empty_moov", "frag_duration": "500000"}


class VideoWriter:
    """An mp4 file, VP9 where available, frames at their own stamps.

    The file grows by parts that can be played, whatever stops the run, and which are joined in
    the end. The first frame sets the
    size (cut to even numbers, as the colour subsampling needs); later ones of another size are
    fitted into it.

    Args:
        path: file to write.
        rate: frames per second for frames whose stamps don't increase, or by more than the ten
            hours that a file can say; what it can't say is taken as 0.001 or 10000, and what is no
            number as 30.

    Raises:
        InputError: if the file can't be written.
    """

    def __init__(self, path: Path, rate: float = 30.0) -> None:
        self.path = path
        self._rate = min(max(rate, SLOWEST), FASTEST) if rate > 0 else 30.0
        self._size = (0, 0)
        self._start = 0.0
        self._last = -1
        self._closed = False
        try:
            # Opened by us, because FFmpeg takes no name that isn't UTF-8.
            self._file = _Target(path)
            self._container = av.open(self._file, "w", format="mp4", options=_PARTS)
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"can't write the video {printable(str(path))}: {error}") from error
        self._stream: av.VideoStream | None = None

    def add(self, image: Image, stamp: float) -> None:
        """Append a frame, uint8 [H, W, 3] bgr, to be shown from ``stamp`` on (seconds).

        Raises:
            InputError: if it can't be written: the disk is full, or the stamp is no number, or
                too far from the first.
        """
        check_image(image)
        first = stamp if self._stream is None else self._start
        if not abs(stamp - first) <= _LONGEST:  # nor is the distance of NaN and infinity
            raise InputError(
                f"{self._cant()}: a frame's stamp is {stamp:g} s, the first's {first:g} s; "
                f"expected numbers not further apart than {_LONGEST:g} s"
            )
        if self._stream is None:
            self._size = max(2, image.shape[1] // 2 * 2), max(2, image.shape[0] // 2 * 2)
            self._stream = self._open_stream()
            self._start = stamp
        due = round((stamp - self._start) * _CLOCK)
        step = round(_CLOCK / self._rate)
        # Stamps of images stand still, those of looped clips jump back.
        ticks = due if 0 < due - self._last <= _MOST_TICKS else self._last + step
        if due > ticks:  # a clock was set: those that come go on from here
            self._start = stamp - ticks / _CLOCK
        self._last = ticks
        frame = av.VideoFrame.from_ndarray(_fitted(image, *self._size), format="bgr24")
        frame.pts, frame.time_base = ticks, Fraction(1, _CLOCK)
        self._encode(self._stream, frame)

    def close(self) -> None:
        """Finish the file; harmless when done twice. Without frames the file is removed.

        Raises:
            InputError: if it can't be finished; what is written of it can be played.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self._stream is not None and not self._file.failed:
                self._encode(self._stream, None)
        finally:
            self._close_file()

    def _close_file(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError):
            self._container.close()
        failed = self._file.failed
        self._file.close()
        if self._stream is None:
            self.path.unlink(missing_ok=True)
        elif failed is not None:
            _keep_whole_parts(self.path)
            raise InputError(f"{self._cant()}: {failed.strerror}") from failed
        else:
            _join(self.path, round(_CLOCK / self._rate))

    def _encode(self, stream: av.VideoStream, frame: av.VideoFrame | None) -> None:
        try:
            for packet in stream.encode(frame):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            if self._file.failed is None:
                raise
            raise InputError(f"{self._cant()}: {self._file.failed.strerror}") from error

    def _cant(self) -> str:
        return f"can't write the video {printable(str(self.path))}"

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
            stream.codec_context.gop_size = max(1, round(_KEY_FRAMES * self._rate))
            LOG.debug("%s is written with %s", self.path, codec)
            return stream
        raise InputError(
            f"{self._cant()}: this PyAV has none of the encoders {', '.join(_CODECS)}; install the "
            "wheel `av` from PyPI"
        )


class _Target:
    """A file that remembers its first failure and takes nothing after it.

    FFmpeg goes on writing, and would turn the index that it writes last against the parts.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = _opened_anew(path)
        self.failed: OSError | None = None

    def write(self, data: bytes) -> int:
        """All of the data, or nothing more ever."""
        if self.failed is not None:
            raise self.failed
        try:
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            self.failed = error
            raise
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """As of any file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """As of any file."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file; what it still holds is lost where there is no room."""
        with contextlib.suppress(OSError):
            self._file.close()


def _opened_anew(path: Path) -> BinaryIO:
    """An empty file of that name; what a link of that name leads to is somebody's."""
    if path.is_symlink():
        path.unlink()
    return path.open("wb+")


def _join(path: Path, ticks: int) -> None:
    """Join the parts, with the index first: shorter, sought faster, and readable if cut off.

    Where there is no room for a second file, the parts stay.
    """
    joined = path.with_name(f"{path.name}.part")
    try:
        with (
            path.open("rb") as file,
            _opened_anew(joined) as target,
            av.open(file, "r") as parts,
            # FFmpeg opens it a second time to move the index, and takes UTF-8 names only.
            av.open(f"/proc/self/fd/{target.fileno()}", "w", format="mp4", options=_WHOLE) as whole,
        ):
            stream = parts.streams.video[0]
            copy = whole.add_stream_from_template(stream)
            for packet in parts.demux(stream):
                if packet.dts is not None:  # the last one is empty
                    packet.stream = copy
                    packet.duration = ticks  # which counts for the last one
                    whole.mux(packet)
        joined.replace(path)
    except (av.error.FFmpegError, OSError) as error:
        LOG.debug("the parts of %s are not joined: %s", path, error)
    finally:
        joined.unlink(missing_ok=True)


def _keep_whole_parts(path: Path) -> None:
    """Cut a file after the last box that is all there: ``size, kind, content`` after another."""
    size, end, at = path.stat().st_size, 0, 0
    with path.open("rb+") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length = int.from_bytes(head[:4], "big")
            if length == 1:  # 64 bits follow the kind
                length = int.from_bytes(head[8:16], "big")
            if length < 8 or at + length > size:
                break
            at += length
            if head[4:8] != b"moof":  # which says what the mdat after it holds
                end = at
        file.truncate(end)


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
