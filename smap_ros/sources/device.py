"""Live cameras: V4L2 devices and network streams, through OpenCV."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import threading
import time
import weakref
from collections.abc import Iterator

import av
import cv2
import numpy as np

from smap_ros.errors import InputError
from smap_ros.sources.base import Frame, Mode, Source, public_name
from smap_ros.sources.video import VideoSource, film_reason

LOG = logging.getLogger(__name__)

STALL = 1.0  # seconds without an image after which they are missed
SLOW = 3  # or so many of the camera's periods
GOODBYE = 2.0  # seconds that the end of the process waits for threads that read cameras
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0  # seconds between two attempts to open it again
# Of network streams; what blocks for longer must not keep a lost camera from being opened again.
TIMEOUT = 5000  # milliseconds
MAX_INDEX = 2**31 - 1  # of a camera, that OpenCV can be asked for


def open_camera(spec: str, mode: Mode, patience: float | None = None) -> Source:
    """The reader of a camera, or of a film behind a URL.

    Args:
        spec: index, device file or a link to one, or URL.
        mode: what a device is asked for.
        patience: see :class:`DeviceSource`, and :class:`VideoSource` of a film.

    Raises:
        InputError: if it can't be opened, or a URL is asked for what only devices can give.
    """
    if "://" in spec and mode.stated:
        raise InputError(f"{mode} is for V4L2 devices; {public_name(spec)} sends what it sends")
    try:
        capture = _open(spec, mode)
    except InputError as error:
        if "://" not in spec:
            raise
        raise InputError(
            f"{public_name(spec)} can't be opened: {_refusal(spec)}; check the address, and that "
            "this machine reaches it"
        ) from error
    # Of a live stream FFmpeg knows no number, or a negative one.
    if "://" in spec and capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0:
        capture.release()
        return VideoSource(spec, patience=patience)
    return DeviceSource(spec, mode, capture, patience)


class DeviceSource:
    """A camera by index (``0``), device file (``/dev/video0``) or URL.

    Stamps are the wall clock at the time the image was handed over by the driver. The newest
    image counts: what isn't taken in time is left out. A camera that vanishes is opened again,
    with growing pauses.

    Args:
        spec: how it was named.
        mode: what it is asked for, each time it is opened.
        capture: opened.
        patience: the iteration ends with an error after so many seconds without an image; None
            waits for ever.

    Attributes:
        problem: that it gives no images, while it doesn't.
    """

    live = True
    moving = True
    calibrated = False
    camera_source = ""

    def __init__(
        self,
        spec: str,
        mode: Mode,
        capture: cv2.VideoCapture,
        patience: float | None = None,
    ) -> None:
        self.name = public_name(spec)
        self._patience = math.inf if patience is None else patience
        self.count: int | None = None
        self.problem = ""
        self._spec, self._mode = spec, mode
        self._capture: cv2.VideoCapture | None = capture
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate: float | None = rate if 0 < rate < 1000 else None
        self._stall = max(STALL, SLOW / self.rate) if self.rate else STALL
        self._reader: _Reader | None = None

    def __iter__(self) -> Iterator[Frame]:
        capture, self._capture = self._capture, None
        self._reader = reader = _Reader(self._spec, self._mode, capture)
        index, alone = 0, 0.0  # images, and seconds since the last one
        try:
            while True:
                wait = min(self._stall, max(self._patience - alone, 0.0))
                taken = reader.take(wait)
                if taken is None and (reader.stopped or reader.refusal):
                    break
                if taken is None:
                    alone += wait
                    self._miss(reader, index, alone)
                    continue
                alone = 0.0
                if self.problem:
                    LOG.warning("camera %s gives images again", self.name)
                    self.problem = ""
                stamp, image, aspect = taken
                yield Frame(image, None, stamp, index, self.name, pixel_aspect=aspect)
                index += 1
        finally:
            reader.stop()
        if reader.refusal:
            raise InputError(reader.refusal)

    def close(self) -> None:
        """End the iteration, and release the camera as soon as it lets go of us."""
        if self._reader is not None:
            self._reader.stop()
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _miss(self, reader: _Reader, images: int, alone: float) -> None:
        lost = reader.lost
        if lost and lost != self.problem:
            self.problem = lost  # the reader has logged it
        elif not self.problem:
            self.problem = f"camera {self.name} gives no image for {self._stall:g} s"
            LOG.warning("%s", self.problem)
        if alone >= self._patience:
            raise InputError(
                f"camera {self.name} gave no image for {alone:g} s, after {images} images; check "
                "its cable, power and network, or wait longer for it"
            )


class _Reader:
    """Reads a camera in a thread of its own, whose calls may block for long.

    Attributes:
        lost: that the camera is lost, and when it is tried again; empty while it is open.
        refusal: why there will be no images at all; empty if there may.
        stopped: whether nobody wants them any more.
    """

    def __init__(self, spec: str, mode: Mode, capture: cv2.VideoCapture | None) -> None:
        self._spec, self._mode, self._capture = spec, mode, capture
        self._name = public_name(spec)
        self.lost = self.refusal = ""
        self.stopped = False
        self._newest: tuple[float, np.ndarray, float] | None = None
        self._changed = threading.Condition()
        # Waited for at the end of the process, for a while: it may be inside a read that blocks.
        self._thread = threading.Thread(target=self._run, name=f"camera {self._name}", daemon=True)
        self._thread.start()
        _READERS.add(self)

    def take(self, patience: float) -> tuple[float, np.ndarray, float] | None:
        """Time, image and pixel aspect that came last, untaken; None after so many seconds."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.stopped or self.refusal or self._newest is not None, patience
            )
            taken, self._newest = self._newest, None
            return None if self.stopped else taken

    def stop(self) -> None:
        """Nobody wants images any more; returns at once."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait until it has let go of the camera, for so long at most."""
        self._thread.join(seconds)

    def _run(self) -> None:
        seen = 0
        while not self.stopped:
            capture = self._capture or self._reopened(seen)
            self._capture = None
            if capture is None:
                return
            images = self._read(capture)
            capture.release()
            if seen + images == 0:
                self._refuse(f"camera {self._name} opened but gave no image; is it used elsewhere?")
                return
            seen += images

    def _read(self, capture: cv2.VideoCapture) -> int:
        """Hand on images until there are none; how many there were."""
        count, aspect = 0, _pixel_aspect(capture)
        while not self.stopped:
            done, image = capture.read()
            if not done or image is None:
                break
            count += 1
            with self._changed:
                self._newest = time.time(), image.astype(np.uint8, copy=False), aspect
                self.lost = ""
                self._changed.notify_all()
        return count

    def _reopened(self, seen: int) -> cv2.VideoCapture | None:
        """The camera, once it can be opened again; None when stopped meanwhile."""
        pause = FIRST_PAUSE
        while not self.stopped:
            self.lost = (
                f"camera {self._name} is lost after {seen} images; opening it again every "
                f"{pause:g} s"
            )
            LOG.warning("%s", self.lost)
            with self._changed:
                if self._changed.wait_for(lambda: self.stopped, pause):
                    return None
            try:
                return _open(self._spec, self._mode)
            except InputError:
                pause = min(2 * pause, LONGEST_PAUSE)
        return None

    def _refuse(self, reason: str) -> None:
        with self._changed:
            self.refusal = reason
            self._changed.notify_all()


_READERS: weakref.WeakSet[_Reader] = weakref.WeakSet()


@atexit.register
def _let_go() -> None:
    """A thread that comes back from OpenCV while Python ends aborts the process."""
    readers = list(_READERS)
    for reader in readers:
        reader.stop()
    end = time.monotonic() + GOODBYE
    for reader in readers:
        reader.join(max(0.0, end - time.monotonic()))


def _pixel_aspect(capture: cv2.VideoCapture) -> float:
    """How many times as wide as high the pixels are; 1 where the stream doesn't say."""
    across, down = capture.get(cv2.CAP_PROP_SAR_NUM), capture.get(cv2.CAP_PROP_SAR_DEN)
    return across / down if across > 0 and down > 0 else 1.0


def _refusal(url: str) -> str:
    """Why a stream can't be opened, which OpenCV doesn't tell."""
    try:
        av.open(url, timeout=TIMEOUT / 1e3).close()
    except (av.error.FFmpegError, OSError, ValueError) as error:
        return film_reason(error, TIMEOUT / 1e3)
    return "it holds no pictures"


def _open(spec: str, mode: Mode) -> cv2.VideoCapture:
    with _quietly():
        if "://" in spec:
            both = cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC
            limits = [number for limit in both for number in (limit, TIMEOUT)]
            capture = cv2.VideoCapture(spec, cv2.CAP_FFMPEG, limits)
        else:
            # A link, like those that udev makes, as the device that it leads to.
            target = min(int(spec), MAX_INDEX) if spec.isdecimal() else os.path.realpath(spec)
            capture = cv2.VideoCapture(target)
    if not capture.isOpened():
        capture.release()
        raise InputError(
            f"camera {public_name(spec)} can't be opened; check that it exists, that you may read "
            "it (group video) and that nothing else uses it. `smap-ros doctor` lists cameras"
        )
    if "://" not in spec:
        request(capture, spec, mode)
    # One waiting image at most: the newest matters, not all of them.
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """OpenCV and its FFmpeg write lines of their own on stderr about what we report in one."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when first needed
    logs = cv2.utils.logging
    before = logs.setLogLevel(logs.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logs.setLogLevel(before)


def request(capture: cv2.VideoCapture, name: str, mode: Mode) -> Mode:
    """Ask a device for a mode, and log what it gives.

    Args:
        capture: opened.
        name: of the device, for people.
        mode: what to ask for.

    Returns:
        What it gives.
    """
    # The format first: it decides which sizes there are, and they which rates.
    if mode.pixel_format:
        code = cv2.VideoWriter.fourcc(*mode.pixel_format.upper())
        capture.set(cv2.CAP_PROP_FOURCC, code)
    for what, value in (
        (cv2.CAP_PROP_FRAME_WIDTH, mode.width),
        (cv2.CAP_PROP_FRAME_HEIGHT, mode.height),
        (cv2.CAP_PROP_FPS, mode.rate),
    ):
        if value:
            capture.set(what, value)
    given = _mode_of(capture)
    wanted = (
        (mode.width, given.width),
        (mode.height, given.height),
        (mode.pixel_format.upper(), given.pixel_format),
    )
    same = all(not asked or asked == got for asked, got in wanted)
    if same and mode.rate:
        same = math.isclose(mode.rate, given.rate, rel_tol=0.02)
    if same:
        LOG.info("camera %s gives %s", name, given)
    else:
        LOG.warning("camera %s gives %s; asked for was %s", name, given, mode)
    return given


def _mode_of(capture: cv2.VideoCapture) -> Mode:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    letters = code.to_bytes(4, "little", signed=code < 0).decode("ascii", "replace")
    rate = capture.get(cv2.CAP_PROP_FPS)
    return Mode(
        int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        rate if 0 < rate < 1000 else 0.0,
        letters if letters.isprintable() and letters.isascii() else "",
    )
