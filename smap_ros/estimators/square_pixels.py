"""Images whose pixels aren't square, shown to networks that know people as they are.

Wide-screen videos and anamorphic cameras squeeze people; networks learned from square pixels. Such
an image is stretched for them, and what they find is brought back to its pixels.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.estimators.base import Delayed, Estimator, Image, ModelInfo, check_view
from smap_ros.skeletons import Skeleton

# Calibrations of square pixels find them square to a percent.
TOLERANCE = 0.03
# Images whose people come later; no model reports them later than so many images.
MAX_WAITING = 128


def with_square_pixels(estimator: Estimator) -> Estimator:
    """The estimator, for images of any pixels."""
    return (
        _LaterSquarePixels(estimator)
        if isinstance(estimator, Delayed)
        else _SquarePixels(estimator)
    )


class _SquarePixels:
    """Stretches images whose pixels aren't square; hands all others on as they are."""

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._cameras: OrderedDict[float, Camera] = OrderedDict()  # of stretched images, by stamp

    def __getattr__(self, name: str) -> Any:
        """What only one kind of estimator has."""
        return getattr(self._estimator, name)

    @property
    def skeleton(self) -> Skeleton:
        return self._estimator.skeleton

    @property
    def about(self) -> ModelInfo:
        return self._estimator.about

    @property
    def description(self) -> str:
        return self._estimator.description

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        aspect = camera.fy / camera.fx
        if abs(aspect - 1) <= TOLERANCE:
            return self._back(self._estimator.estimate(image, camera, stamp))
        image = check_view(image, camera)
        width, height = camera.width, camera.height
        size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        self._cameras[stamp] = camera
        while len(self._cameras) > MAX_WAITING:
            self._cameras.popitem(last=False)
        stretched = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        square = stretched.astype(np.uint8, copy=False)
        return self._back(self._estimator.estimate(square, camera.resized(*size), stamp))

    def close(self) -> None:
        self._estimator.close()

    def _back(self, frame: BodyFrame) -> BodyFrame:
        """What was found, in the pixels of the image as it came."""
        camera = self._cameras.pop(frame.stamp, None) if not frame.pending else None
        if camera is None:
            return frame
        ratio = np.array([camera.width / frame.camera.width, camera.height / frame.camera.height])
        bodies = tuple(_resized(body, ratio) for body in frame.bodies)
        return replace(frame, bodies=bodies, camera=camera)


class _LaterSquarePixels(_SquarePixels):
    """The same for estimators that report people later."""

    def flush(self) -> list[BodyFrame]:
        assert isinstance(self._estimator, Delayed)
        return [self._back(frame) for frame in self._estimator.flush()]


def _resized(body: Body, ratio: np.ndarray[Any, Any]) -> Body:
    """A person of a resized image; pixel centres stay pixel centres."""
    pixels = ((body.joints_2d + 0.5) * ratio - 0.5).astype(np.float32)
    return replace(body, joints_2d=pixels)
