"""The turned square about a person that a landmark network looks at."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15

Double = NDArray[np.float64]

_SHOULDERS = [MPI15.index("l_shoulder"), MPI15.index("r_shoulder")]
_NECK = MPI15.index("neck")
MIN_SIDE_PX = 8.0  # a smaller square shows nobody


@dataclass(frozen=True)
class Region:
    """A square of the image, turned so that the person in it is upright, at a network's size.

    Image pixels are counted from the middle of the first one, crop pixels from its corner, so
    that 0 and ``size`` are the borders of the square.

    Attributes:
        x, y: its middle, pixels of the image.
        side: pixels of the image.
        angle: how far the person's up is turned clockwise from the image's up, radians.
        size: width and height of the crop in pixels.
    """

    x: float
    y: float
    side: float
    angle: float
    size: int

    @property
    def turn(self) -> Double:
        """From directions in the crop to those in the image, float64 [2, 2]."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return np.array([[c, -s], [s, c]])

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the crop out of an image [H, W, 3].

        Beyond the picture its border goes on, as MediaPipe has it: grey or black there costs its
        network 1 to 3 points of PCK of people cut by the border.
        """
        # OpenCV counts from the middle of the first pixel on both sides.
        to_image = np.zeros((2, 3))
        to_image[:, :2] = self.turn * (self.side / self.size)
        to_image[:, 2] = self.to_image(np.array([0.5, 0.5]))
        crop = cv2.warpAffine(
            image,
            to_image,
            (self.size, self.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return np.asarray(crop, dtype=np.uint8)

    def to_image(self, points: NDArray[np.floating]) -> Double:
        """Crop pixels [..., 2] to pixels of the image."""
        away = (np.asarray(points, np.float64) / self.size - 0.5) * self.side
        return np.asarray(away @ self.turn.T + (self.x, self.y), np.float64)

    def to_crop(self, points: NDArray[np.floating]) -> Double:
        """Pixels of the image [..., 2] to crop pixels."""
        away = (np.asarray(points, np.float64) - (self.x, self.y)) @ self.turn
        return np.asarray((away / self.side + 0.5) * self.size, np.float64)


def region_around(joints: NDArray[np.floating], margin: float, size: int) -> Region | None:
    """The square about a person, as MediaPipe cuts it for its pose networks.

    It is centred on the pelvis, turned so that the way from there to the shoulders is up, and its
    half side is the distance to the farthest joint, times a margin.

    Args:
        joints: float [15, 2], pixels of the image, those not seen where they are believed to be;
            NaN where unknown.
        margin: for what is beyond the joints.
        size: of the crop in pixels.

    Returns:
        The square, or None where the pelvis isn't known or nothing else is.
    """
    joints = np.asarray(joints, np.float64)
    middle = joints[MPI15.root]
    away = joints - middle
    reach = np.linalg.norm(away, axis=1)
    side = 2 * margin * float(np.max(reach, initial=0.0, where=np.isfinite(reach)))
    if not np.isfinite(middle).all() or side < MIN_SIDE_PX:
        return None
    shoulders = away[_SHOULDERS]
    up = shoulders.mean(axis=0) if np.isfinite(shoulders).all() else away[_NECK]
    if not np.isfinite(up).all() or not up.any():
        up = np.array([0.0, -1.0])
    angle = math.atan2(float(up[0]), float(-up[1]))
    return Region(float(middle[0]), float(middle[1]), side, angle, size)
