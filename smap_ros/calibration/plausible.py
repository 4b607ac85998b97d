"""Numbers that no camera has: refused, before they become distances that nobody would doubt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from smap_ros.camera import Camera
from smap_ros.errors import CameraError
from smap_ros.geometry.opening import FOCAL_RANGE

# fx by fy: pixels of wide-screen and anamorphic videos are 0.9 to 2 times as wide as high.
PIXEL_ASPECT_RANGE = 0.4, 2.5
# Farthest that the principal point may be from the middle, by the size of the image. The K of an
# image twice as large has it at 0.5.
OFF_CENTRE = 0.45
# And where nobody says for which size a matrix is: the K of an image two thirds or one and a half
# times as large has it at 0.17 and 0.25.
OFF_CENTRE_UNSIZED = 0.08
SKEW = 0.01  # largest share of fx; our cameras have none
# Where a lens must be a lens: out to this share of the way from the middle to the edges. A
# fisheye may see more than half a sphere, which no plane shows.
INNER = {"equidistant": 0.5}
INNER_POLYNOMIAL = 0.7
# How much farther from the middle a point is without distortion than with it, in there.
STRETCH_RANGE = 0.5, 10.0


def check_intrinsics(
    camera: Camera, name: str, matrix: Sequence[float], centred: bool = True
) -> None:
    """Refuse intrinsics that no camera has.

    Args:
        camera: at the full size of its sensor.
        name: of the matrix, for people.
        matrix: its 9 numbers, row-major; of P, the left 3x3.
        centred: whether the principal point must be near the middle.

    Raises:
        CameraError: saying what is wrong and what it may come from.
    """
    size = max(camera.width, camera.height)
    low, high = (share * size for share in FOCAL_RANGE)
    for axis, focal in (("fx", camera.fx), ("fy", camera.fy)):
        if not low <= focal <= high:
            raise CameraError(
                f"{name} is impossible: {axis} is {focal:g} px in an image of {camera.width}x"
                f"{camera.height} px, a field of view of {_degrees(size, focal)} degrees; expected "
                f"{low:.4g} to {high:.4g} px. {_hint(focal)}"
            )
    if not PIXEL_ASPECT_RANGE[0] <= camera.fx / camera.fy <= PIXEL_ASPECT_RANGE[1]:
        raise CameraError(
            f"{name} is impossible: fx is {camera.fx:g} px and fy {camera.fy:g} px, so a pixel "
            f"would be {camera.fy / camera.fx:.3g} times as wide as high. Calibrate the camera"
        )
    if centred and _off_centre(camera, camera.cx, camera.cy) > OFF_CENTRE:
        raise CameraError(
            f"{name} is impossible: its principal point ({camera.cx:.6g}, {camera.cy:.6g}) is not "
            f"near the middle of an image of {camera.width}x{camera.height} px. It may be for "
            "another size; calibrate at this size, or state the window of the sensor (roi)"
        )
    if tuple(matrix[3:4]) + tuple(matrix[6:9]) != (0, 0, 0, 1):
        raise CameraError(
            f"{name} is no camera matrix: expected fx, 0, cx; 0, fy, cy; 0, 0, 1, row by row"
        )
    if not abs(matrix[1]) <= SKEW * camera.fx:  # NaN, too
        raise CameraError(
            f"{name} has a skew of {matrix[1]:g} px, which is not supported; calibrate without"
        )


def check_unsized(camera: Camera, matrix: Sequence[float]) -> None:
    """Refuse the size of an image for a calibration that states none, where it can't be that.

    Args:
        camera: at the size of the image's sensor.
        matrix: K, 9 numbers, row-major.

    Raises:
        CameraError: saying for which size it looks made.
    """
    cx, cy = matrix[2], matrix[5]
    if not _off_centre(camera, cx, cy) <= OFF_CENTRE_UNSIZED:
        raise CameraError(
            f"the calibration states no size, and its principal point ({cx:.6g}, {cy:.6g}) is not "
            f"near the middle of an image of {camera.width}x{camera.height} px: it looks made for "
            f"about {2 * cx:.0f}x{2 * cy:.0f} px. State the width and height that it is for"
        )


def check_lens(camera: Camera) -> None:
    """Refuse distortion that folds the image up, or takes most of it away.

    Args:
        camera: of the image, whose window may lie anywhere on the sensor.

    Raises:
        CameraError: saying what is wrong.
    """
    if not camera.distortion:
        return
    inner = INNER.get(camera.distortion_model, INNER_POLYNOMIAL)
    steps = np.array([-inner, -inner / 2, inner / 2, inner])
    across, down = (camera.width - 1) / 2, (camera.height - 1) / 2
    points = np.array(
        [(across * (1 + step), down) for step in steps]
        + [(across, down * (1 + step)) for step in steps]
    )
    centre = np.array([camera.cx, camera.cy])
    seen = np.linalg.norm(points - centre, axis=1)
    ideal = np.linalg.norm(camera.undistort(points) - centre, axis=1)
    apart = seen > 0.05 * max(camera.width, camera.height)  # the middle says nothing
    stretch = ideal[apart] / seen[apart]
    low, high = STRETCH_RANGE
    if ((low < stretch) & (stretch < high)).all():  # false also where there is no solution: NaN
        return
    raise CameraError(
        f"the distortion {', '.join(f'{v:g}' for v in camera.distortion)} "
        f"({camera.distortion_model}) is impossible: within the image it folds over or moves "
        "points far away. Check the order of the coefficients and the lens model, or calibrate "
        "again with the board in all corners"
    )


def _off_centre(camera: Camera, cx: float, cy: float) -> float:
    """How far a principal point is from the middle of the image, by its size."""
    across = abs(cx - (camera.width - 1) / 2) / camera.width
    return max(across, abs(cy - (camera.height - 1) / 2) / camera.height)


def _degrees(size: int, focal: float) -> str:
    return f"{2 * math.degrees(math.atan(0.5 * size / focal)):.4g}"


def _hint(focal: float) -> str:
    if focal < 2.5:
        return (
            "It looks like a matrix normalised by the image's size: multiply its first row by "
            "the width and its second by the height in pixels"
        )
    if focal < 60:
        return "It looks like millimetres: give it in pixels (millimetres by size of a pixel)"
    return "Calibrate the camera, or state its horizontal field of view"
