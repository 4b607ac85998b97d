"""The protocol of everything that turns an image into people."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.images import check_image
from smap_ros.skeletons import Skeleton

Image = NDArray[np.uint8]

# Longest side of an image; larger ones are broken headers, or would exhaust a robot's memory.
MAX_SIDE = 16384


class Estimator(Protocol):
    """A network with all that turns its outputs into people.

    Not thread-safe: one caller at a time.
    """

    @property
    def skeleton(self) -> Skeleton:
        """Joint set of the people."""

    @property
    def description(self) -> str:
        """Bundle, engine and device, for people to read."""

    def estimate(self, image: Image, camera: Camera, stamp: float = 0.0) -> BodyFrame:
        """Everybody in an image.

        Args:
            image: uint8 [H, W, 3], bgr.
            camera: intrinsics at the size of the image.
            stamp: time of the image in seconds; handed through.

        Returns:
            People in metres in the camera's optical frame, nearest first, with
            ``timings_ms`` by stage and ``dropped`` by reason. Bad network outputs give an
            empty frame and a reason, never an exception.

        Raises:
            InputError: if the array is not such an image.
            CameraError: if the camera is for another size.
            EngineError: if the runtime fails.
        """

    def close(self) -> None:
        """Release the network; harmless when done twice."""


def check_view(image: Any, camera: Camera) -> Image:
    """An image and its camera, refused when they can't be used.

    Returns:
        The image, C-contiguous (copied only if it isn't).

    Raises:
        InputError: if it is not uint8 [H, W, 3], is empty, or is too large.
        CameraError: if the camera is for another size.
    """
    check_image(image)
    height, width = image.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise InputError(
            f"image is {width}x{height} px; expected sides of at most {MAX_SIDE} px. Check the "
            "driver, or resize the image and its camera"
        )
    if (camera.width, camera.height) != (width, height):
        raise CameraError(
            f"the camera is calibrated for {camera.width}x{camera.height} px but the image is "
            f"{width}x{height} px; use the CameraInfo of this image, or Camera.resized()"
        )
    contiguous: Image = np.ascontiguousarray(image)
    return contiguous
