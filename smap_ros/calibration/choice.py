"""Which camera an image was taken with: one rule for nodes, command line and bags."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from smap_ros.calibration.calibration import Calibration, fitted
from smap_ros.calibration.files import read_calibration
from smap_ros.calibration.rectified import rectification
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.geometry.opening import check_field_of_view


@dataclass(frozen=True)
class CameraChoice:
    """What a user states of the camera. It wins over what the images bring with them.

    Attributes:
        calibration: of a file, for all images; scaled to images of the same shape.
        fov: horizontal field of view in radians, instead.
        rectified: ``auto``, ``yes`` or ``no``, see :func:`rectification`.
    """

    calibration: Calibration | None = None
    fov: float | None = None
    rectified: str = "auto"

    def __post_init__(self) -> None:
        """Refuse two answers, and what can't be a camera."""
        if self.calibration is not None and self.fov is not None:
            raise InputError("both a calibration and a field of view were given; give one")
        rectified = rectification(self.rectified).rectified
        if self.fov is not None:
            check_field_of_view(self.fov)
        if self.calibration is not None and (self.calibration.width or self.calibration.height):
            self.calibration.camera(rectified=rectified)

    @classmethod
    def of(
        cls, path: Path | None, fov_degrees: float | None, rectified: str = "auto"
    ) -> CameraChoice:
        """From a calibration file and a field of view in degrees, either or none.

        Raises:
            CameraError: if the file or the angle is impossible.
            InputError: if both are given.
        """
        fov = None if fov_degrees is None else math.radians(fov_degrees)
        return cls(None if path is None else read_calibration(path), fov, rectified)

    @property
    def stated(self) -> bool:
        """Whether the user said which camera it is."""
        return self.calibration is not None or self.fov is not None

    def camera(
        self,
        size: tuple[int, int],
        known: Camera | None = None,
        *,
        pixel_aspect: float = 1.0,
        problem: str = "it comes without a calibration",
    ) -> Camera:
        """The camera of one image, at its size.

        Args:
            size: width and height of the image in pixels.
            known: what came with the image, if anything.
            pixel_aspect: width by height of its pixels, for what is stated.
            problem: why nothing came with it, for the error.

        Raises:
            CameraError: if there is none, or its picture has another shape.
        """
        if self.fov is not None:
            return Camera.from_fov(*size, self.fov, pixel_aspect)
        if self.calibration is not None:
            return self._from_file(self.calibration, size, pixel_aspect)
        if known is None:
            raise CameraError(
                f"{problem}; give a calibration file, or state the horizontal field of view"
            )
        return fitted(known, size)

    def _from_file(
        self, calibration: Calibration, size: tuple[int, int], pixel_aspect: float
    ) -> Camera:
        """Of an image whose pixels aren't square, the file may be for what players show."""
        rectified = rectification(self.rectified).rectified
        shown = (round(size[0] * pixel_aspect), size[1])
        stated = (calibration.width, calibration.height)
        if shown != size and _shape_error(stated, shown) < _shape_error(stated, size):
            return calibration.camera(shown, rectified, scaled=True).resized(*size)
        return calibration.camera(size, rectified, scaled=True)


def _shape_error(stated: tuple[int, int], size: tuple[int, int]) -> float:
    """How far two shapes differ, as a logarithm; endless where none is stated."""
    if not all(stated):
        return math.inf
    return abs(math.log(stated[0] * size[1] / (stated[1] * size[0])))
