"""A picture with its people as SMAP is trained on it: turned, scaled, shifted, cut and mirrored.

Zhen et al., ECCV 2020, with the order, ranges and roundings of the official code. Depths and
focal lengths stay as they are: the scale enters the label of root depth alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.data.layouts.bodies import CAMERA_X, CAMERA_Z, DEPTH, FX, SEEN, X, Y
from smap_train.targets.smap import People

Image = NDArray[np.uint8]
Float64 = NDArray[np.float64]

GREY = 128
MOST_TURN_DEG = 10.0
SCALES = (0.8, 1.1)  # of pictures of COCO; those of 3D sets keep their scale
MOST_SHIFT_PX = 40
FLIP_SHARE = 0.5

_MIRRORED = [X, Y, DEPTH, SEEN, *range(CAMERA_X, CAMERA_Z + 1)]  # all but the camera's


@dataclass(frozen=True)
class View:
    """What chance decides about one sample; by default nothing is changed but the size.

    Attributes:
        turn_deg: counter-clockwise.
        zoom: factor on the scale that fits the picture into the input.
        shift_px: added to the centre of the cut, x and y, network-input pixels.
        flip: mirror left and right.
    """

    turn_deg: float = 0.0
    zoom: float = 1.0
    shift_px: tuple[int, int] = (0, 0)
    flip: bool = False

    @classmethod
    def draw(cls, rng: np.random.Generator, *, scaled: bool) -> View:
        """A random view.

        Args:
            scaled: draw the zoom too, as for pictures of COCO.
        """
        turn = float(rng.uniform(-MOST_TURN_DEG, MOST_TURN_DEG))
        zoom = float(rng.uniform(*SCALES)) if scaled else 1.0
        x, y = (int(v) for v in rng.integers(-MOST_SHIFT_PX, MOST_SHIFT_PX + 1, 2))
        return cls(turn, zoom, (x, y), bool(rng.random() < FLIP_SHARE))


@dataclass(frozen=True)
class WholeImage:
    """A picture as the network gets it.

    Attributes:
        image: uint8 [height, width, 3] bgr.
        bodies: float64 [N, 15, 11]; x, y in network-input pixels, joints outside of the picture
            with visibility 0, all else as in the record.
        scale: network-input pixels per pixel of the record's picture.
    """

    image: Image
    bodies: Float64
    scale: float

    def people(self) -> People:
        """For the label maps."""
        bodies = self.bodies
        return People(bodies[..., [X, Y]], bodies[..., DEPTH], bodies[..., SEEN].astype(int))

    def focal_px(self) -> Float64:
        """Focal length of each person's picture, network-input pixels, [N]."""
        focal: Float64 = self.bodies[:, MPI15.root, FX] * self.scale
        return focal


def view_of(image: Image, bodies: Float64, view: View, size: tuple[int, int]) -> WholeImage:
    """A picture seen in a given way.

    Args:
        image: uint8 [H, W, 3] bgr.
        bodies: float64 [N, 15, 11], in its pixels.
        view: what to do.
        size: width and height of the network's input.
    """
    bodies = bodies.copy()
    height, width = image.shape[:2]
    image = _turned(image, bodies, view.turn_deg)
    scale = min(size[0] / image.shape[1], size[1] / image.shape[0]) * view.zoom
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    # The centre is the unturned picture's, although the canvas has grown: officially so.
    center = np.array([width // 2, height // 2]) * scale + view.shift_px
    corner = center.astype(int) - np.array(size) // 2
    image = _cut(image, corner, size)
    bodies[..., [X, Y]] = bodies[..., [X, Y]] * scale - corner
    _hide_outside(bodies, size)
    if view.flip:
        image = np.ascontiguousarray(image[:, ::-1])
        _mirror(bodies, size[0])
        _hide_outside(bodies, size)
    return WholeImage(image, bodies, scale)


def _turned(image: Image, bodies: Float64, degrees: float) -> Image:
    """The picture turned about its middle on a canvas that holds all of it; moves the joints."""
    height, width = image.shape[:2]
    middle = (width // 2, height // 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    canvas = int(height * sine + width * cosine), int(height * cosine + width * sine)
    matrix[:, 2] += np.array(canvas) / 2 - middle
    if degrees:
        image = cv2.warpAffine(
            image, matrix, canvas, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT,
            borderValue=(GREY, GREY, GREY),
        ).astype(np.uint8, copy=False)  # fmt: skip
        bodies[..., [X, Y]] = bodies[..., [X, Y]] @ matrix[:, :2].T + matrix[:, 2]
    return image


def _cut(image: Image, corner: NDArray[np.integer], size: tuple[int, int]) -> Image:
    """The part of the size that begins at the corner (x, y); grey beyond the picture."""
    result = np.full((size[1], size[0], 3), GREY, np.uint8)
    low = np.maximum(corner, 0)
    high = np.minimum(corner + size, image.shape[1::-1])
    if (high > low).all():
        to, end = low - corner, high - corner
        result[to[1] : end[1], to[0] : end[0]] = image[low[1] : high[1], low[0] : high[0]]
    return result


def _hide_outside(bodies: Float64, size: tuple[int, int]) -> None:
    points = bodies[..., [X, Y]]
    inside = ((points >= 0) & (points < size)).all(axis=-1)
    bodies[..., SEEN] *= inside


def _mirror(bodies: Float64, width: int) -> None:
    """Left becomes right. The camera's X keeps its sign, officially; nothing reads it."""
    bodies[..., _MIRRORED] = bodies[:, MPI15.flip][..., _MIRRORED]
    bodies[..., X] = width - 1 - bodies[..., X]
