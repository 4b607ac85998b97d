"""A calibration as ``sensor_msgs/CameraInfo`` states it, and the camera that follows from it.

Files of other programs are brought into the same form, so that windows of the sensor, binning,
rectified images and impossible numbers are dealt with here and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from smap_ros.calibration.plausible import check_intrinsics, check_lens, check_unsized
from smap_ros.camera import Camera
from smap_ros.errors import CameraError

LOG = logging.getLogger(__name__)

# Names of lens models in the wild -> ours. What is in none of them is refused by Camera.
LENS_MODELS = {
    "": "plumb_bob",
    "none": "plumb_bob",
    "radtan": "plumb_bob",
    "radial_tangential": "plumb_bob",
    "brown_conrady": "plumb_bob",
    "fisheye": "equidistant",
    "kb4": "equidistant",
    "kannala_brandt": "equidistant",
    "kannala_brandt4": "equidistant",
    "equi": "equidistant",
    "pinhole_equi": "equidistant",
    "opencv_fisheye": "equidistant",
}


@dataclass(frozen=True)
class Calibration:
    """What a calibration states; fields and meaning are those of ``sensor_msgs/CameraInfo``.

    Attributes:
        width, height: size in pixels of the image that was calibrated in, before any window and
            binning; both 0 when that isn't stated: the size of the image at hand, if the principal
            point is near its middle.
        k: intrinsic matrix, 9 numbers, row-major; for raw (distorted) images.
        d: coefficients of the lens.
        model: of the lens, as :class:`smap_ros.camera.Camera` names it.
        p: projection matrix, 12 numbers, row-major, for rectified images; empty when not stated.
        roi: x and y offset, width and height of the window of the sensor that is in the image,
            in pixels before binning; width or height 0: all of it.
        binning: sensor pixels per image pixel, across and down; 0 counts as 1.
    """

    width: int
    height: int
    k: tuple[float, ...]
    d: tuple[float, ...] = ()
    model: str = "plumb_bob"
    p: tuple[float, ...] = ()
    roi: tuple[int, int, int, int] = (0, 0, 0, 0)
    binning: tuple[int, int] = (1, 1)

    @classmethod
    def from_info(cls, info: Any) -> Calibration:
        """From a CameraInfo message of ROS 2 or ROS 1, of rclpy or of a bag's reader."""
        roi = info.roi
        return cls(
            int(info.width),
            int(info.height),
            _numbers(info, "k"),
            _numbers(info, "d"),
            lens_model(info.distortion_model),
            _numbers(info, "p"),
            (int(roi.x_offset), int(roi.y_offset), int(roi.width), int(roi.height)),
            (max(1, int(info.binning_x)), max(1, int(info.binning_y))),
        )

    @property
    def projects_otherwise(self) -> bool:
        """Whether rectified images have another camera than raw ones: P isn't K, or a lens."""
        k, p = np.array(self.k), np.array(self.p)
        if not self.rectifies or k.size != 9:
            return False
        return any(self.d) or not np.allclose(k, p.reshape(3, 4)[:, :3].reshape(-1), atol=1e-3)

    @property
    def rectifies(self) -> bool:
        """Whether it says what the camera of rectified images is."""
        return len(self.p) == 12 and self.p[0] > 0

    def camera(
        self,
        size: tuple[int, int] | None = None,
        rectified: bool = False,
        scaled: bool = False,
    ) -> Camera:
        """The camera of images of this calibration.

        Args:
            size: width and height of the image; None takes the size that is stated.
            rectified: whether the image was rectified: its pixels belong to P, without a lens.
            scaled: whether an image of another size, but of the same shape, is a scaled one. So it
                is with a file that a user gives; a CameraInfo says what its own image is.

        Raises:
            CameraError: if the camera isn't calibrated, the numbers are impossible, or the image
                can't be what the calibration is for.
        """
        return _camera(self, size, rectified, scaled)


def camera_from_info(
    info: Any, size: tuple[int, int] | None = None, rectified: bool = False
) -> Camera:
    """The camera of the images that come with a CameraInfo, see :meth:`Calibration.camera`."""
    return Calibration.from_info(info).camera(size, rectified)


def lens_model(name: str) -> str:
    """Our name of a lens model."""
    plain = str(name or "").strip().lower().replace(" ", "_").replace("-", "_")
    return LENS_MODELS.get(plain, plain)


def _numbers(info: Any, name: str) -> tuple[float, ...]:
    """A matrix of a CameraInfo; ROS 1 spells the fields in capitals."""
    values = getattr(info, name, None)
    values = getattr(info, name.upper()) if values is None else values
    return tuple(float(v) for v in values)


@lru_cache(maxsize=64)
def _camera(
    stated: Calibration, size: tuple[int, int] | None, rectified: bool, scaled: bool
) -> Camera:
    width, height = _sensor_size(stated, size)
    matrix = _projection(stated) if rectified else stated.k
    lens = () if rectified else stated.d
    camera = Camera.from_matrix(width, height, matrix, lens, "" if rectified else stated.model)
    unsized = not (stated.width or stated.height or _window(stated))
    # Where only the window's size is stated, the middle of the sensor isn't known; without any
    # size K has to be nearer to it, which is checked below.
    centred = _middle_known(stated) and (rectified or not unsized)
    check_intrinsics(camera, "P" if rectified else "K", matrix, centred)
    if unsized:
        calibrated = len(stated.k) == 9 and any(stated.k)
        check_unsized(camera, stated.k if calibrated else matrix)
    camera = _windowed(camera, stated)
    check_lens(camera)
    if unsized:
        LOG.warning("a calibration states no size; taken for %dx%d px, the image's", width, height)
    scaled = scaled and _window(stated) is None
    return camera if size is None else fitted(camera, size, scaled)


def _sensor_size(stated: Calibration, size: tuple[int, int] | None) -> tuple[int, int]:
    """Width and height of the sensor, as stated, or what the image says."""
    window = _window(stated)
    if window:
        left, top, width, height = window
        right, bottom = left + width, top + height
        beyond = right > stated.width or bottom > stated.height
        if beyond and _middle_known(stated) and (stated.width or stated.height):
            raise CameraError(
                f"the window of the sensor (roi) is {width}x{height} px from ({left}, {top}) and "
                f"reaches to ({right}, {bottom}), beyond the {stated.width}x{stated.height} px "
                "that width and height state; expected those of the whole sensor, and a window "
                "inside it, in pixels before binning. Correct the driver's roi"
            )
        # Drivers also fill in the window's size; the sensor reaches at least to its far corner.
        return max(stated.width, right), max(stated.height, bottom)
    if stated.width or stated.height or size is None:
        return stated.width, stated.height
    return size[0] * stated.binning[0], size[1] * stated.binning[1]


def _middle_known(stated: Calibration) -> bool:
    """Whether the size of the sensor is: drivers may state the window's size for it."""
    window = _window(stated)
    return window is None or (stated.width, stated.height) != window[2:]


def _projection(stated: Calibration) -> Sequence[float]:
    """K of rectified images: the left 3x3 of P; K itself where there is no P and no lens."""
    if stated.rectifies:
        p = stated.p
        return (*p[0:3], *p[4:7], *p[8:11])
    if any(stated.k) and not any(stated.d):
        return stated.k
    raise CameraError(
        "the images are rectified, but P of the calibration, which they belong to, is empty; "
        "publish a CameraInfo with P (camera_calibration writes it as projection_matrix), or say "
        "that the images are not rectified"
    )


def _window(stated: Calibration) -> tuple[int, int, int, int] | None:
    """The window that the image is of; None where it is of the whole sensor."""
    whole = not all(stated.roi[2:]) or stated.roi == (0, 0, stated.width, stated.height)
    return None if whole else stated.roi


def _windowed(camera: Camera, stated: Calibration) -> Camera:
    """The camera of the window, binned; K and P are for the full sensor."""
    left, top, width, height = _window(stated) or (0, 0, camera.width, camera.height)
    across, down = stated.binning
    if (left, top, width, height, across, down) == (0, 0, camera.width, camera.height, 1, 1):
        return camera
    binned = max(1, width // across), max(1, height // down)
    window = replace(
        camera,
        width=binned[0] * across,  # pixels that don't fill one of the image are left out
        height=binned[1] * down,
        cx=camera.cx - left,
        cy=camera.cy - top,
    )
    return window.resized(*binned)


def fitted(camera: Camera, size: tuple[int, int], scaled: bool = False) -> Camera:
    """The camera of an image: as it is, or scaled to an image of the same shape.

    Args:
        camera: intrinsics at the size that was calibrated.
        size: width and height of the image in pixels.
        scaled: whether an image of the same shape is a scaled one.

    Raises:
        CameraError: if the image has another size, or, scaled, another shape.
    """
    width, height = size
    if (camera.width, camera.height) == size:
        return camera
    other_shape = abs(camera.width * height - camera.height * width) > max(width, height)
    if not scaled or other_shape:
        raise CameraError(
            f"the camera is calibrated for {camera.width}x{camera.height} px, but the image is "
            f"{width}x{height} px"
            + (
                ": another shape, so it can't be scaled. Calibrate at this size"
                if scaled
                else ". Calibrate at this size, publish a CameraInfo that says how the image came "
                "about (roi, binning), or, where images are camera_node's or a file's, give a "
                "calibration file, which is scaled"
            )
        )
    return camera.resized(width, height)
