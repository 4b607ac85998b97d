"""The letterbox between an image and a network's input.

Pixels are counted as in :mod:`smap_ros.camera`: integer coordinates are pixel centres.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import CameraError

Resize = Literal["area", "bilinear"]


@dataclass(frozen=True)
class Letterbox:
    """Isotropic resize of an image into a network's input, centred, padded with grey.

    ``scale`` is network pixels per image pixel. SMAP's convention: the scale is the smaller of
    the two ratios, the left and top pads are the floored halves, grey is 128.

    Attributes:
        image_width, image_height: original image in pixels.
        width, height: network input in pixels.
        resize: ``area`` averages whole factors away before it interpolates, so that far people stay
            whole; ``bilinear`` interpolates alone, as official preprocessing does.
    """

    image_width: int
    image_height: int
    width: int
    height: int
    resize: Resize = "area"

    def __post_init__(self) -> None:
        if min(self.image_width, self.image_height, self.width, self.height) <= 0:
            raise CameraError(
                f"can't letterbox {self.image_width}x{self.image_height} px into "
                f"{self.width}x{self.height} px: sizes must be positive"
            )

    @property
    def scale(self) -> float:
        """Network pixels per image pixel."""
        return min(self.width / self.image_width, self.height / self.image_height)

    @property
    def resized(self) -> tuple[int, int]:
        """Width and height of the image inside the network input, pixels."""
        return (
            max(1, min(self.width, round(self.image_width * self.scale))),
            max(1, min(self.height, round(self.image_height * self.scale))),
        )

    @property
    def pad(self) -> tuple[int, int]:
        """Grey columns on the left and rows on top, pixels."""
        width, height = self.resized
        return (self.width - width) // 2, (self.height - height) // 2

    @property
    def averaged(self) -> int:
        """The whole factor that is averaged away before the rest is interpolated; 1 for none."""
        return max(1, int(1 / self.scale + 1e-9)) if self.resize == "area" else 1

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Resize and pad an image.

        Args:
            image: uint8 [image_height, image_width, 3].

        Returns:
            uint8 [height, width, 3].
        """
        (width, height), (left, top) = self.resized, self.pad
        out = np.full((self.height, self.width, 3), 128, dtype=np.uint8)
        self._shrink(image, out[top : top + height, left : left + width])
        return out

    def _shrink(self, image: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Resize the image to fill ``out``.

        Averaging whole factors and interpolating the rest takes a fifth of the time of averaging
        all the way (0.5 ms for 1280x720), and shows no aliasing either.
        """
        factor = self.averaged
        if factor > 1:
            reduced = (max(1, self.image_width // factor), max(1, self.image_height // factor))
            image = np.asarray(cv2.resize(image, reduced, interpolation=cv2.INTER_AREA), np.uint8)
        if image.shape == out.shape:
            out[:] = image
        else:
            cv2.resize(image, out.shape[1::-1], dst=out, interpolation=cv2.INTER_LINEAR)

    def to_image(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Network pixels [..., 2] to pixels of the original image (pixel centres kept)."""
        ratio = np.array([self.image_width, self.image_height]) / self.resized
        return (points - self.pad + 0.5) * ratio - 0.5

    def to_network(self, points: NDArray[np.floating]) -> NDArray[np.floating]:
        """Pixels of the original image [..., 2] to network pixels."""
        ratio = np.array(self.resized) / (self.image_width, self.image_height)
        return (points + 0.5) * ratio - 0.5 + self.pad
