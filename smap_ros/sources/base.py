"""What every reader of images provides."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.geometry.mounting import Mounting

# Images per second of a film: one in a quarter of an hour, and what high-speed cameras take.
SLOWEST, FASTEST = 0.001, 10_000.0


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    Attributes:
        image: uint8 [H, W, 3], bgr; possibly read-only.
        camera: its calibration where the source knows it (bags), else None.
        stamp: seconds: time in the file, ROS time in a bag, wall clock of a live camera.
        index: number of the image in its source, from 0.
        source: name of the source (file name, topic, device).
        frame_id: the camera's frame where the source knows it, else empty.
        problem: why there is no camera, for people.
        pixel_aspect: how many times as wide as high its pixels are.
        exact_ns: the stamp in nanoseconds, where it has more digits than ``stamp`` can hold.
        mounting: where the floor is, where the source is asked for it and knows it (bags with TF).
    """

    image: NDArray[np.uint8]
    camera: Camera | None
    stamp: float
    index: int
    source: str
    frame_id: str = ""
    problem: str = "it comes without a calibration"
    pixel_aspect: float = 1.0
    exact_ns: int | None = None
    mounting: Mounting | None = None

    @property
    def stamp_ns(self) -> int:
        """The stamp in nanoseconds."""
        return round(self.stamp * 1e9) if self.exact_ns is None else self.exact_ns


@dataclass(frozen=True)
class Mode:
    """What a V4L2 device is asked for; 0 or empty: what it gives by itself.

    Attributes:
        width, height: pixels.
        rate: images per second.
        pixel_format: four letters, like MJPG or YUYV.

    Raises:
        InputError: if the format isn't four letters.
    """

    width: int = 0
    height: int = 0
    rate: float = 0.0
    pixel_format: str = ""

    def __post_init__(self) -> None:
        letters = self.pixel_format
        if letters and not (len(letters) == 4 and letters.isascii() and letters.isprintable()):
            raise InputError(
                f"pixel_format is {letters!r}; expected four letters, like MJPG or YUYV "
                "(v4l2-ctl --list-formats)"
            )

    @property
    def stated(self) -> bool:
        """Whether anything is asked for that only a device can give."""
        return bool(self.width or self.height or self.pixel_format)

    def __str__(self) -> str:
        size = f"{self.width or 'any'}x{self.height or 'any'} px"
        rate = f" at {self.rate:g} Hz" if self.rate else ""
        return f"{size} {self.pixel_format}".rstrip() + rate


class Source(Protocol):
    """Images in order. Iterating starts from the beginning each time, but for live cameras.

    Attributes:
        name: what a result names as its source.
        count: number of images if known beforehand; may be an estimate.
        rate: images per second if known, else None.
        live: whether images are lost when they aren't taken in time.
        moving: whether consecutive images show the same scene (video, camera, bag).
        calibrated: whether the frames come with their camera.
        camera_source: where that is known from, for people; empty where it isn't.
        problem: what is wrong with it at the moment, for people; empty if nothing is.
    """

    name: str
    count: int | None
    rate: float | None
    live: bool
    moving: bool
    calibrated: bool
    camera_source: str
    problem: str

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Release files and devices; iterating afterwards opens them again.

        A live camera may be closed from another thread, which ends the iteration at once.
        """


# How cameras have a password in a path: /user=admin&password=secret&channel=1, also with _ for &.
_PASSWORD = re.compile(
    r"(?<![a-z])(pass(?:word|wd|phrase)?|pwd)=.*?(?=[&_;/][a-z]+=|$)", re.IGNORECASE | re.DOTALL
)
# A host, or an address of IPv6, with its port if any: nobody's name and password. A number before
# a slash is a port.
_HOST = re.compile(
    r"\[(?=[^]]*:[^]]*:)[\da-f:.]+(?:%[^]/@]*)?\](?::\d+)?(?=[/?#]|$)|[^/@:?#]*(?::\d+)?(?=/|$)",
    re.IGNORECASE,
)
_HIDDEN = "***"


def public_name(spec: str) -> str:
    """An input as it is told in logs and results: a URL's secrets are nobody's business.

    These are user and password, and what stands behind a question mark, such as a signature.

    Examples:
        >>> public_name("rtsp://admin:secret@10.0.0.7/stream?token=1")
        'rtsp://10.0.0.7/stream'
        >>> public_name("rtsp://10.0.0.7/user=admin&password=secret&channel=1")
        'rtsp://10.0.0.7/user=admin&password=***&channel=1'
    """
    if "://" not in spec:
        return spec
    place = re.sub(r"[?#].*", "", _without_credentials(spec), flags=re.DOTALL)
    return _PASSWORD.sub(rf"\1={_HIDDEN}", place)


def _without_credentials(text: str) -> str:
    """A text without what stands between :// and the last @, where that isn't a host.

    A password may hold @ and, though it shouldn't, a slash or a question mark. So what follows an
    earlier @ may still be of it; rather the host is hidden where it had one and the path an @.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        return text
    if "@" not in rest or _HOST.match(rest):  # other URLs may follow
        return scheme + mark + _without_credentials(rest)
    before, _, after = rest.rpartition("@")
    query = re.search("[?#]", before)
    # user:password? and else nothing is a password for certain; or a query may follow that holds @.
    if query and not re.match(r"[^/@:?#]*:(?!\d+[/?#])[^@]*$", before):
        return scheme + mark + _HIDDEN
    return scheme + mark + after
