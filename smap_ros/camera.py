"""Cameras: pinhole intrinsics with distortion.

Pixels follow the ROS convention of ``sensor_msgs/CameraInfo``: integer coordinates are
pixel centres of the original image, x right, y down. The optical frame is x right, y down,
z forward, in metres.
"""

from __future__ import annotations

import importlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import CameraError
from smap_ros.geometry.lenses import fisheye_rays, widest
from smap_ros.geometry.mounting import Mounting
from smap_ros.geometry.opening import check_field_of_view

# CameraInfo.distortion_model -> numbers of coefficients it may have.
DISTORTION_MODELS: dict[str, tuple[int, ...]] = {
    "plumb_bob": (4, 5),
    "rational_polynomial": (4, 5, 8, 12, 14),  # the first five are plumb_bob's
    "equidistant": (4,),
}

# Names that drivers give to lenses which, without coefficients or with zeros, bend nothing:
# librealsense says Inverse Brown Conrady, others pinhole.
_NO_LENS = re.compile(r"^$|^none$|brown|pinhole|perspective|no.?distortion|plumb.?bob", re.I)

# An undistorted pixel must project back to within this of where it came from.
LENS_TOLERANCE_PX = 0.5
_FISHEYE_TOLERANCE_PX = 1e-4  # what is farther is none of OpenCV's solutions, but where it gave up


@dataclass(frozen=True)
class Camera:
    """Intrinsics of a camera at a given image size.

    Attributes:
        width, height: image size in pixels.
        fx, fy, cx, cy: focal lengths and principal point in pixels.
        distortion: coefficients in OpenCV's order; empty when there is none.
        distortion_model: ``plumb_bob``, ``rational_polynomial`` or ``equidistant`` (fisheye).
        mounting: where the floor is, if it is known.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    distortion_model: str = "plumb_bob"
    mounting: Mounting | None = None

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.distortion)
        if self.width <= 0 or self.height <= 0:
            raise CameraError(
                f"image size is {self.width}x{self.height} px; expected positive numbers"
            )
        if not all(math.isfinite(v) for v in numbers) or self.fx <= 0 or self.fy <= 0:
            lens = f", distortion {list(self.distortion)}" if self.distortion else ""
            raise CameraError(
                f"camera has fx={self.fx}, fy={self.fy}, cx={self.cx}, cy={self.cy}{lens}; "
                "expected finite numbers and positive focal lengths in pixels. Calibrate the "
                "camera, or state its horizontal field of view"
            )
        allowed = DISTORTION_MODELS.get(self.distortion_model)
        bends = self.distortion or not _NO_LENS.search(self.distortion_model)
        if allowed is None and bends:  # without coefficients, too: zeros of a fisheye still do
            raise CameraError(
                f"distortion model {self.distortion_model!r} is unknown; expected one of "
                f"{', '.join(DISTORTION_MODELS)}, or plumb_bob with zeros where there is no lens "
                "to undo"
            )
        if allowed is not None and self.distortion and len(self.distortion) not in allowed:
            raise CameraError(
                f"{self.distortion_model} has {len(self.distortion)} distortion coefficients; "
                f"expected {' or '.join(map(str, allowed))}"
            )

    @classmethod
    def from_fov(cls, width: int, height: int, fov: float, pixel_aspect: float = 1.0) -> Camera:
        """An ideal camera from a horizontal field of view.

        Args:
            width, height: image size in pixels.
            fov: horizontal field of view in radians, in (0, pi).
            pixel_aspect: how many times as wide as high a pixel is; videos may have other pixels
                than square ones.

        Raises:
            CameraError: if the angle is outside that range.
        """
        if not 0 < fov < math.pi:
            raise CameraError(
                f"horizontal field of view is {math.degrees(fov):.4g} degrees; "
                "expected between 0 and 180"
            )
        focal = 0.5 * width / math.tan(0.5 * fov)
        middle = (width - 1) / 2, (height - 1) / 2
        return cls(width, height, focal, focal * pixel_aspect, *middle)

    @classmethod
    def for_image(cls, image: NDArray[Any], *, fov_deg: float, pixel_aspect: float = 1.0) -> Camera:
        """:meth:`from_fov` for an image [H, W, 3], with the angle in degrees.

        Args:
            image: of which the size is taken.
            fov_deg: horizontal field of view in degrees.
            pixel_aspect: how many times as wide as high a pixel is, ``frame.pixel_aspect`` of
                what ``open_source`` gives; taken for square, people are placed wrongly.

        Raises:
            CameraError: if people can't be placed by it: an angle outside of 1.15 to 157.4 degrees.
        """
        check_field_of_view(math.radians(fov_deg))
        height, width = image.shape[:2]
        return cls.from_fov(width, height, math.radians(fov_deg), pixel_aspect)

    @classmethod
    def from_matrix(
        cls,
        width: int,
        height: int,
        k: Sequence[float] | NDArray[np.floating],
        distortion: Sequence[float] = (),
        distortion_model: str = "plumb_bob",
    ) -> Camera:
        """From a 3x3 intrinsic matrix as in ``CameraInfo.k`` (9 numbers, row-major).

        All-zero distortion counts as none, but for a fisheye, whose zeros still bend rays.

        Raises:
            CameraError: if the matrix is zero (an uncalibrated camera), has another size, or
                the coefficients don't fit the model.
        """
        matrix = np.asarray(k, dtype=np.float64).reshape(-1)
        if matrix.size != 9:
            raise CameraError(f"K has {matrix.size} numbers, expected 9 (3x3, row-major)")
        if not matrix.any():
            raise CameraError(
                "K is all zeros: the camera is not calibrated. Publish a calibrated CameraInfo "
                "(camera_calibration), or state the horizontal field of view"
            )
        coefficients = tuple(float(v) for v in distortion)
        if not any(coefficients) and _NO_LENS.search(distortion_model):
            distortion_model = "plumb_bob"
        if distortion_model == "equidistant":
            coefficients = coefficients or (0.0,) * 4
        elif not any(coefficients):
            coefficients = ()
        fx, cx, fy, cy = matrix[0], matrix[2], matrix[4], matrix[5]
        return cls(
            int(width),
            int(height),
            float(fx),
            float(fy),
            float(cx),
            float(cy),
            coefficients,
            distortion_model or "plumb_bob",
        )

    @classmethod
    def from_yaml(cls, path: Path | str) -> Camera:
        """From a calibration file: of ROS, OpenCV or kalibr, see ``smap_ros.calibration``.

        Raises:
            CameraError: if it can't be read, or the numbers are impossible.
        """
        # By its name, as that room stands on this file.
        files = importlib.import_module("smap_ros.calibration.files")
        stated = files.read_calibration(path)
        if not (stated.width or stated.height or all(stated.roi[2:])):
            raise CameraError(
                f"calibration {path} doesn't say of which size its images are; expected "
                "image_width and image_height in pixels. Add them, or use smap_ros.calibration."
                "read_calibration(path).camera((width, height))"
            )
        camera: Camera = stated.camera()
        return camera

    def to_json(self) -> dict[str, float | int]:
        """Intrinsics as in ``bodies.json`` (distortion is not part of that contract)."""
        return {
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
            "width": self.width,
            "height": self.height,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Camera:
        """Inverse of :meth:`to_json`."""
        return cls(
            int(data["width"]),
            int(data["height"]),
            float(data["fx"]),
            float(data["fy"]),
            float(data["cx"]),
            float(data["cy"]),
        )

    @property
    def matrix(self) -> NDArray[np.float64]:
        """Intrinsic matrix K, float64 [3, 3]."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], np.float64)

    @property
    def fov(self) -> float:
        """Horizontal field of view without distortion, radians."""
        return 2 * math.atan(0.5 * self.width / self.fx)

    @property
    def widest(self) -> float:
        """Tangent of the angle from the axis to which the lens is one; infinite without limit."""
        return widest(self.distortion_model == "equidistant", tuple(self.distortion))

    def resized(self, width: int, height: int) -> Camera:
        """The same camera after the image was resized; pixel centres stay pixel centres."""
        sx, sy = width / self.width, height / self.height
        return Camera(
            width,
            height,
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
            self.distortion,
            self.distortion_model,
            self.mounting,
        )

    def undistort(self, pixels: NDArray[np.floating]) -> NDArray[np.float64]:
        """Where the pixels would be without lens distortion.

        Args:
            pixels: float [..., 2]; NaN stays NaN.

        Returns:
            float64 [..., 2] in pixels of the same intrinsics; NaN where the lens model can't be
            undone, which happens far outside the image it was calibrated in.
        """
        flat = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        if not self.distortion or flat.size == 0:
            return flat.reshape(pixels.shape).copy()
        out = np.full_like(flat, np.nan)
        finite = np.isfinite(flat).all(axis=1)
        if finite.any():
            out[finite] = self._solve_lens(flat[finite])
        return out.reshape(pixels.shape)

    def _solve_lens(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ideal pixels of distorted ones, float64 [N, 2], finite in; NaN where there are none."""
        coefficients = np.array(self.distortion, np.float64)
        if self.distortion_model == "equidistant":
            done = cv2.fisheye.undistortPoints(
                pixels[:, None], self.matrix, coefficients, P=self.matrix
            )
        else:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 40, 1e-9)
            # OpenCV 5 merged the function with a criterion into the plain one.
            solve = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
            done = solve(
                pixels[:, None],
                self.matrix,
                coefficients,
                R=np.eye(3),
                P=self.matrix,
                criteria=criteria,
            )
        ideal = np.asarray(done[:, 0], dtype=np.float64)
        # Where the iteration diverges OpenCV returns whatever it had: only believe solutions.
        if self.distortion_model == "equidistant":
            given_up = ~self._solved(ideal, pixels, _FISHEYE_TOLERANCE_PX)
            ideal[given_up] = self._solve_fisheye(pixels[given_up])
        ideal[~self._solved(ideal, pixels, LENS_TOLERANCE_PX)] = np.nan
        return ideal

    def _solved(
        self, ideal: NDArray[np.float64], pixels: NDArray[np.float64], tolerance_px: float
    ) -> NDArray[np.bool_]:
        """Which ideal pixels [N, 2] the lens shows where they are."""
        xy = (ideal - (self.cx, self.cy)) / (self.fx, self.fy)
        again = self.project(np.concatenate([xy, np.ones((len(xy), 1))], axis=1))
        near = np.linalg.norm(again - pixels, axis=1) < tolerance_px
        return np.asarray(near & (np.linalg.norm(xy, axis=1) <= self.widest))

    def _solve_fisheye(self, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ideal pixels of those that OpenCV has no solution for, float64 [N, 2]."""
        centre, focal = np.array([self.cx, self.cy]), np.array([self.fx, self.fy])
        bent = (pixels - centre) / focal
        shown = np.maximum(np.linalg.norm(bent, axis=1), 1e-12)
        rays = fisheye_rays(shown, self.distortion, self.widest)
        return np.asarray(bent * (rays / shown)[:, None] * focal + centre)

    def project(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Pixels of 3D points, with distortion.

        Args:
            points: float [..., 3], metres, optical frame.

        Returns:
            float64 [..., 2]; NaN for points at or behind the camera. What is farther from the axis
            than the model is a lens lies beyond all that it shows, in the direction where it is.
        """
        flat = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        out = np.full((len(flat), 2), np.nan)
        front = np.isfinite(flat).all(axis=1) & (flat[:, 2] > 1e-6)
        focal, centre = (self.fx, self.fy), (self.cx, self.cy)
        if front.any():
            visible = flat[front]
            xy = visible[:, :2] / visible[:, 2:]
            out[front] = (self._bent(xy) if self.distortion else xy) * focal + centre
        return out.reshape(*points.shape[:-1], 2)

    def _bent(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rays [N, 2], by their tangents, as the lens shows them."""
        beyond = 1.0
        if math.isfinite(limit := self.widest):
            beyond = np.maximum(np.linalg.norm(xy, axis=1, keepdims=True) / limit, 1.0)
        rays = np.concatenate([xy / beyond, np.ones((len(xy), 1))], axis=1)[:, None]
        fisheye = self.distortion_model == "equidistant"
        project = cv2.fisheye.projectPoints if fisheye else cv2.projectPoints
        zero, coefficients = np.zeros(3), np.array(self.distortion, np.float64)
        pixels, _ = project(rays, zero, zero, np.eye(3), coefficients)
        return np.asarray(pixels.reshape(-1, 2) * beyond, np.float64)

    def back_project(
        self, pixels: NDArray[np.floating], depth: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """3D points of pixels at given depths (z, not ray length).

        Args:
            pixels: float [..., 2] of the original (distorted) image.
            depth: float [...], metres.

        Returns:
            float64 [..., 3], metres, optical frame.
        """
        ideal = self.undistort(pixels)
        depth = np.asarray(depth, dtype=np.float64)
        x = (ideal[..., 0] - self.cx) / self.fx * depth
        y = (ideal[..., 1] - self.cy) / self.fy * depth
        return np.stack([x, y, depth], axis=-1)
