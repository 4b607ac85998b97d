"""Video files, read with PyAV so that damage is noticed and stamps are the file's own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from smap_ros.errors import InputError, reason
from smap_ros.pictures import printable
from smap_ros.sources.base import Frame, public_name
from smap_ros.sources.display import Display

LOG = logging.getLogger(__name__)

# Seconds that a film behind a URL may send nothing. While FFmpeg waits, no signal is heeded.
TIMEOUT = 10.0


@dataclass(frozen=True)
class Survey:
    """What a film holds.

    Attributes:
        size: width and height of its first frame, turned upright, pixels.
        stamps: of each frame, seconds.
    """

    size: tuple[int, int]
    stamps: tuple[float, ...]


class VideoSource:
    """The frames of a video file, turned upright and mirrored as the file says.

    A damaged or truncated file gives its frames up to the damage, then a logged warning that
    says how much is missing. It may be read several times at once.

    Args:
        path: the file, or a URL that has one; any container and codec that FFmpeg reads.
        repeatable: give the same frames each time, of damaged files too. Else several are decoded
            at once, and how many of the last before a damage are given is a matter of luck.
        patience: seconds after which a film behind a URL that sends nothing is taken for cut off;
            None: 10.

    Raises:
        InputError: if the file isn't a video that can be opened.
    """

    live = False
    moving = True
    calibrated = False
    camera_source = ""
    problem = ""

    def __init__(
        self, path: Path | str, *, repeatable: bool = False, patience: float | None = None
    ) -> None:
        self._path = str(path)
        self._timeout = TIMEOUT if patience is None else patience
        self._told = printable(public_name(self._path))
        self.name = printable(Path(public_name(self._path)).name)
        self._threads = "SLICE" if repeatable else "AUTO"
        self._closed = threading.Event()  # of the iterations that have begun
        self._skewed = False  # whether that was told
        container, stream = self._open()
        with container:
            self.rate: float | None = float(stream.average_rate) if stream.average_rate else None
            self.count = _expected_frames(container, stream)
            self._counted = bool(stream.frames) and self.count == stream.frames
            self._seconds = _seconds(container, stream)
            self._pixel_aspect = _pixel_aspect(stream)

    def __iter__(self) -> Iterator[Frame]:
        for index, (frame, stamp) in enumerate(self._decoded()):
            yield self._frame(frame, index, stamp)

    def survey(self) -> Survey:
        """How many frames there are, how large, and when.

        A file's header only estimates that, so all are decoded; none is converted to an image,
        which takes ten times as long.

        Raises:
            InputError: if not a single frame can be decoded.
        """
        size = (0, 0)
        stamps: list[float] = []
        for frame, stamp in self._decoded():
            if not stamps:
                size = Display.of(frame).size(frame.width, frame.height)
            stamps.append(stamp)
        return Survey(size, tuple(stamps))

    def _decoded(self) -> Iterator[tuple[VideoFrame, float]]:
        """All frames that can be decoded, with their stamps."""
        closed = self._closed
        container, stream = self._open()
        base, count = stream.time_base, 0
        first = end = 0.0
        damage: list[str] = []
        with container, closing(_decode(container, stream, damage, self._timeout)) as frames:
            for frame in frames:
                # Not frame.time: frames that a damaged decoder gives back have no time base of
                # their own.
                if frame.pts is not None and base is not None:
                    stamp = float(frame.pts * base)
                else:
                    stamp = count / (self.rate or 1.0)
                yield frame, stamp
                if closed.is_set():
                    return
                first = stamp if count == 0 else first
                end = max(end, stamp + float((frame.duration or 0) * (base or 0)))
                count += 1
        self._report(count, max(end, end - first), damage[0] if damage else None)

    def close(self) -> None:
        """End the iterations that have begun, after the frame that each is at; from any thread."""
        # Each closes its own file: FFmpeg crashes where another one does.
        closed, self._closed = self._closed, threading.Event()
        closed.set()

    def _frame(self, frame: VideoFrame, index: int, stamp: float) -> Frame:
        image = frame.to_ndarray(format="bgr24").astype(np.uint8, copy=False)
        display = Display.of(frame)
        if not (display.exact or self._skewed):
            self._skewed = True
            LOG.warning(
                "%s is to be shown at an angle of %d degrees; it is turned by whole right angles "
                "only, so people lean", self.name, frame.rotation,
            )  # fmt: skip
        aspect = self._pixel_aspect
        if display.transposed:
            aspect = 1 / aspect
        upright = display.upright(image)
        return Frame(upright, None, stamp, index, self.name, pixel_aspect=aspect)

    def _open(self) -> tuple[InputContainer, VideoStream]:
        try:
            if "://" in self._path:
                container = av.open(self._path, timeout=self._timeout)
            else:
                # In full, as FFmpeg takes what stands before a colon for a protocol: 12:30.mp4.
                container = av.open(str(Path(self._path).absolute()))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            why = film_reason(error, self._timeout)
            raise InputError(
                f"{self._told} can't be opened as a video: {why}. If it was being "
                "recorded, the recording may not have been closed"
            ) from error
        if not container.streams.video:
            container.close()
            raise InputError(f"{self._told} has no video stream; expected a video file")
        stream = container.streams.video[0]
        stream.thread_type = self._threads
        return container, stream

    def _report(self, frames: int, end: float, damage: str | None) -> None:
        """Say what is missing after so many frames, the last of which is shown up to ``end``.

        A file without a single frame is refused.
        """
        expected = self.count
        if frames == 0:
            why = damage or "no frame could be decoded"
            raise InputError(f"{self._told} has no readable video frame: {why}")
        if damage:
            LOG.warning(
                "%s is damaged after %d%s frames (%s); what follows is left out",
                self.name, frames, f" of {expected}" if expected else "", damage,
            )  # fmt: skip
        # Durations are rounded and may count the gap after the last frame.
        elif (
            expected
            and frames < expected - max(2, expected // 50)
            and (self._counted or self._ends_early(end))
        ):
            LOG.warning(
                "%s ends after %d of about %d frames: the file is truncated or damaged",
                self.name, frames, expected,
            )  # fmt: skip

    def _ends_early(self, end: float) -> bool:
        """Whether the last frame ends well before the file's duration.

        The number of frames tells nothing where it is guessed from a rate that varies.
        """
        if not self._seconds:
            return True
        return end < self._seconds - max(2 / (self.rate or 1.0), self._seconds / 50)


def _decode(
    container: InputContainer, stream: VideoStream, damage: list[str], timeout: float
) -> Generator[VideoFrame]:
    """Frames up to the first damage, whose description is then put into the list."""
    packets = container.demux(stream)
    while not damage:
        frames: list[VideoFrame] = []
        try:
            packet = next(packets, None)
            if packet is None:
                return
            frames = packet.decode()
        except (av.error.FFmpegError, ValueError) as error:
            damage.append(film_reason(error, timeout))
            # Good frames before the damage are still under way in the decoder's threads.
            with suppress(av.error.FFmpegError):
                frames = stream.codec_context.decode(None)
        for frame in frames:
            if frame.is_corrupt:
                damage.append("a frame is damaged")
                return
            yield frame


def film_reason(error: Exception, timeout: float) -> str:
    """What is wrong with a film, for people.

    Args:
        error: of PyAV.
        timeout: seconds that it was opened with.
    """
    if isinstance(error, av.error.ExitError):  # "Immediate exit requested", by the timeout
        return f"nothing came for {timeout:g} s"
    return reason(error)


def _expected_frames(container: InputContainer, stream: VideoStream) -> int | None:
    """Frames the file's header promises: counted, or from its duration."""
    seconds, rate = _seconds(container, stream), stream.average_rate
    lasting = None if seconds is None or not rate else round(seconds * float(rate))
    held = int(stream.frames)
    # Films that were cut without being encoded anew hold frames that aren't shown.
    if held and (lasting is None or lasting >= held - max(2, held // 50)):
        return held
    return lasting


def _seconds(container: InputContainer, stream: VideoStream) -> float | None:
    """How long the file's header says that it lasts."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if container.duration:
        return float(container.duration / av.time_base)
    return None


def _pixel_aspect(stream: VideoStream) -> float:
    """How many times as wide as high the pixels are; 1 where the file doesn't say."""
    stated = stream.sample_aspect_ratio
    return float(stated) if stated else 1.0
