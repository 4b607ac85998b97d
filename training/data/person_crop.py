"""A person's crop as top-down networks learn from it: scaled, turned, mirrored, tinted, covered.

The order, the ranges and the roundings of 3DMPPE's code (Moon et al., ICCV 2019), which that of
MobileHumanPose and 3DCrowdNet comes from.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.estimators.persons.crops import Crop
from smap_train.data.layouts.persons import Person, PersonRecord, box_crop
from smap_train.engine.sampling import BadRecordError

Image = NDArray[np.uint8]
Float64 = NDArray[np.float64]
Rng = np.random.Generator

MARGIN = 1.25  # side of the crop over the longer side of the box
_SCALE = 0.25  # standard deviation of the side's factor, and where it is cut off
TILT_SHARE = 0.6
_TURN_DEG, _MOST_TURNS = 30.0, 2.0
_FLIP_SHARE = 0.5
_TINT = 0.2  # of a colour channel, to either side of 1
COVER_SHARE = 0.5
_MOST_COVERED, _SHAPES = 0.7, (0.3, 1 / 0.3)
_TRIES = 50  # to place a cover wholly inside the picture


@dataclass(frozen=True)
class View:
    """What chance decides about one crop; by default nothing is changed.

    Attributes:
        scale: factor on the side of the crop.
        turn_deg: of the crop in the picture, clockwise: people turn the other way.
        flip: mirror left and right.
        tint: factors on red, green and blue.
        cover: hide a part of the box behind noise.
        shift: of the crop in the picture, to the right and down, over its side.
    """

    scale: float = 1.0
    turn_deg: float = 0.0
    flip: bool = False
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    cover: bool = False
    shift: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def draw(
        cls, rng: Rng, *, covered: float = COVER_SHARE, tilted: float = TILT_SHARE,
        shift: float = 0.0,
    ) -> View:  # fmt: skip
        """A random view.

        Args:
            covered: probability that something is hidden.
            tilted: probability that the crop is turned.
            shift: largest of the crop, over its side: boxes that are found are not exact.
        """
        scale = 1 + _SCALE * float(np.clip(rng.standard_normal(), -1, 1))
        turn = _TURN_DEG * float(np.clip(rng.standard_normal(), -_MOST_TURNS, _MOST_TURNS))
        turn = turn if rng.random() < tilted else 0.0
        flip = bool(rng.random() < _FLIP_SHARE)
        red, green, blue = rng.uniform(1 - _TINT, 1 + _TINT, 3).tolist()
        cover = covered > 0 and bool(rng.random() < covered)
        right, down = rng.uniform(-shift, shift, 2).tolist() if shift else (0.0, 0.0)
        return cls(scale, turn, flip, (red, green, blue), cover, (right, down))


def person_crop(record: PersonRecord, size: int, margin: float = MARGIN) -> Crop:
    """The square about a record's box.

    Raises:
        BadRecordError: if the box shows nobody.
    """
    crop = box_crop(record, size, margin)
    if crop is None:
        raise BadRecordError(
            f"{record.place}: bbox is {record.box.tolist()}; expected one with a side of two "
            f"pixels inside of the picture of {record.width}x{record.height}"
        )
    return crop


def turn_of(view: View) -> Float64:
    """How what is seen is turned in the plane of the picture, [2, 2]."""
    angle = np.radians(view.turn_deg)
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def matrix_of(crop: Crop, view: View, width: int) -> Float64:
    """The affine [2, 3] from pixels of the picture to those of the crop.

    Args:
        crop: without the view.
        view: mirrors the picture before it turns the crop.
        width: of the picture.
    """
    middle = np.array([crop.x, crop.y]) + (0.5 + np.array(view.shift)) * crop.side
    mirror = np.diag([-1.0 if view.flip else 1.0, 1.0])
    before = np.array([width - 1.0 if view.flip else 0.0, 0.0])
    linear = crop.scale / view.scale * turn_of(view)
    offset = linear @ (before - (mirror @ middle + before)) + crop.size / 2
    return np.column_stack([linear @ mirror, offset])


def cut(image: Image, record: PersonRecord, crop: Crop, view: View, rng: Rng) -> Image:
    """What the network sees, uint8 [size, size, 3] rgb; black where there is no picture."""
    if view.cover:
        image = covered(image, record.box, rng)
    matrix = matrix_of(crop, view, record.width)
    seen = cv2.warpAffine(image, matrix, (crop.size, crop.size), flags=cv2.INTER_LINEAR)
    rgb = seen[..., ::-1].astype(np.float32) * np.float32(view.tint)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def covered(image: Image, box: Float64, rng: Rng) -> Image:
    """A part of a person's box hidden behind noise; the picture itself if no try fits."""
    x, y, width, height = box
    for _ in range(_TRIES):
        area = rng.uniform(0, _MOST_COVERED) * width * height
        shape = rng.uniform(*_SHAPES)
        tall, wide = float(np.sqrt(area * shape)), float(np.sqrt(area / shape))
        left = int(rng.random() * (width - wide - 1) + x)
        top = int(rng.random() * (height - tall - 1) + y)
        right, bottom = left + int(wide), top + int(tall)
        if left >= 0 and top >= 0 and right < image.shape[1] and bottom < image.shape[0]:
            image = image.copy()
            hidden = image[top:bottom, left:right]
            hidden[:] = rng.integers(0, 256, hidden.shape)
            break
    return image


def viewed(person: Person, matrix: Float64, view: View, flip: NDArray[np.intp]) -> Person:
    """A person's joints in a crop: pixels moved, left and right exchanged where it is mirrored.

    Their positions in metres keep the camera's axes; only a mirrored person's X has another sign.

    Args:
        matrix: from :func:`matrix_of`.
        flip: of the joint set.
    """
    pixels, points = person.pixels @ matrix[:, :2].T + matrix[:, 2], person.points
    known, placed = person.known, person.placed
    if view.flip:
        pixels, points, known, placed = (a[flip] for a in (pixels, points, known, placed))
        points = points * (-1.0, 1.0, 1.0)
    return Person(pixels, points, known, placed)
