"""Square crops about people: what top-down networks look at.

Crop and image count pixels alike: an integer is the centre of a pixel, and the corner of the
square is pixel (0, 0) of the crop. That is how the official code of MobileHumanPose (and of
the family it comes from) cuts its crops and makes its labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

# A box thinner than this in both directions shows nobody.
MIN_SIDE_PX = 2.0


@dataclass(frozen=True)
class Crop:
    """A square of the image, seen at a network's resolution.

    Attributes:
        x, y: upper left corner in pixels of the image; may lie outside of it.
        side: in pixels of the image.
        size: width and height of the crop in pixels.
    """

    x: float
    y: float
    side: float
    size: int

    @property
    def scale(self) -> float:
        """Crop pixels per image pixel."""
        return self.size / self.side

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Cut the crop out; black where there is no image.

        Args:
            image: uint8 [H, W, 3].

        Returns:
            uint8 [size, size, 3], linearly interpolated as officially.
        """
        matrix = np.array([[1, 0, -self.x], [0, 1, -self.y]]) * self.scale
        crop = cv2.warpAffine(image, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR)
        return np.asarray(crop, dtype=np.uint8)

    def to_image(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Crop pixels [..., 2] to pixels of the image."""
        return points / self.scale + (self.x, self.y)

    def to_crop(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pixels of the image [..., 2] to crop pixels."""
        return (points - (self.x, self.y)) * self.scale


def crop_around(
    points: NDArray[np.floating], image_size: tuple[int, int], margin: float, size: int
) -> Crop | None:
    """The square about a person's points.

    The points' box is cut to the image, made square about its middle, and enlarged.

    Args:
        points: float [N, 2], pixels of the image; NaN where missing.
        image_size: width and height of the image in pixels.
        margin: side of the square over the longer side of the box.
        size: of the crop in pixels.

    Returns:
        The crop, or None when the points span no box inside the image.
    """
    known = points[np.isfinite(points).all(axis=-1)].astype(np.float64)
    if len(known) == 0:
        return None
    border = np.array(image_size) - 1.0
    low, high = np.clip(known.min(axis=0), 0, border), np.clip(known.max(axis=0), 0, border)
    side = float((high - low).max())
    if side < MIN_SIDE_PX:
        return None
    side *= margin
    x, y = ((low + high - side) / 2).tolist()
    return Crop(x, y, side, size)
