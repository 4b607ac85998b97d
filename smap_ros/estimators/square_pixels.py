"""Images whose pixels aren't square, shown to networks that know people as they are.

Wide-screen videos and anamorphic cameras squeeze people; networks learned from square pixels. Such
an image is stretched for them, and what they find is brought back to its pixels.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import CameraError
from smap_ros.estimators.base import MAX_SIDE, Estimator, Image
from smap_ros.estimators.changed import Change, changed
from smap_ros.images import MAX_PIXELS

# Calibrations of square pixels find them square to a percent.
TOLERANCE = 0.03


def with_square_pixels(estimator: Estimator) -> Estimator:
    """The estimator, for images of any pixels."""
    return changed(estimator, _Stretch())


class _Stretch(Change):
    def wanted(self, camera: Camera) -> bool:
        return abs(camera.fy / camera.fx - 1) > TOLERANCE

    def image(self, image: Image, camera: Camera) -> tuple[Image, Camera]:
        aspect, width, height = camera.fy / camera.fx, camera.width, camera.height
        size = (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))
        if max(size) > MAX_SIDE or size[0] * size[1] > MAX_PIXELS:
            raise CameraError(
                f"the camera has fx={camera.fx:g} px and fy={camera.fy:g} px: an image of {width}x"
                f"{height} px would be {size[0]}x{size[1]} px of square pixels; expected at most "
                f"{MAX_PIXELS // 1_000_000} megapixels, and sides of at most {MAX_SIDE} px. Check "
                "the calibration"
            )
        stretched = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        return stretched.astype(np.uint8, copy=False), camera.resized(*size)

    def back(self, body: Body, camera: Camera, seen: Camera) -> Body:
        ratio = np.array([camera.width / seen.width, camera.height / seen.height])
        # Pixel centres stay pixel centres.
        pixels = ((body.joints_2d + 0.5) * ratio - 0.5).astype(np.float32)
        return replace(body, joints_2d=pixels)
