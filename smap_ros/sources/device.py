"""Live cameras: V4L2 devices and network streams, through OpenCV."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import cv2
import numpy as np

from smap_ros.errors import InputError
from smap_ros.sources.base import Frame

LOG = logging.getLogger(__name__)


class DeviceSource:
    """A camera by index (``0``), device file (``/dev/video0``) or URL.

    Stamps are the wall clock at the time the image was handed over by the driver.

    Raises:
        InputError: if the camera can't be opened.
    """

    live = True
    moving = True
    calibrated = False
    camera_source = ""

    def __init__(self, spec: str) -> None:
        self.name = spec
        self.count: int | None = None
        self._target: str | int = int(spec) if spec.isdecimal() else spec
        self._capture = self._reopen()
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate: float | None = rate if 0 < rate < 1000 else None

    def __iter__(self) -> Iterator[Frame]:
        if not self._capture.isOpened():
            self._capture = self._reopen()
        index = 0
        while True:
            done, image = self._capture.read()
            if not done or image is None:
                break
            yield Frame(image.astype(np.uint8, copy=False), None, time.time(), index, self.name)
            index += 1
        self.close()
        if index == 0:
            raise InputError(f"camera {self.name} opened but gave no image; is it used elsewhere?")
        LOG.warning("camera %s stopped giving images after %d", self.name, index)

    def close(self) -> None:
        """Release the camera."""
        self._capture.release()

    def _reopen(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._target)
        if not capture.isOpened():
            capture.release()
            raise InputError(
                f"camera {self.name} can't be opened; check that it exists, that you may read it "
                "(group video) and that nothing else uses it. `smap-ros doctor` lists cameras"
            )
        # One waiting image at most: the newest matters, not all of them.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        return capture
