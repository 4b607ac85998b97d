"""A person's clip as MAED learns from it: the same crop, colours and mirror for all its frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_train.data.layouts.tracks import TrackedPerson

Image = NDArray[np.uint8]
Float64 = NDArray[np.float64]
Rng = np.random.Generator

MARGIN = 1.3  # side of the crop over that of the box
_MOVED_SHARE, _SCALES = 0.2, (0.7, 1.3)
_FLIP_SHARE = 0.5
_COLOUR, _HUE = 0.3, 0.3  # factors to either side of 1; hue in turns
_ERASED_SHARE, _MOST_ERASED = 0.3, 0.7  # of the frames; of the crop


@dataclass(frozen=True)
class ClipView:
    """What chance decides about a clip; by default nothing is changed.

    Attributes:
        scale: side of the crop over that of the box.
        shift: of its middle, shares of the box.
        flip: mirror left and right.
        colour: brightness, contrast, saturation (factors), hue (turns).
        order: in which these four come.
        side: from which frames are erased: 0 to 3, left, right, top, bottom; -1 for none.
    """

    scale: float = MARGIN
    shift: tuple[float, float] = (0.0, 0.0)
    flip: bool = False
    colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 0.0)
    order: tuple[int, ...] = (0, 1, 2, 3)
    side: int = -1

    @classmethod
    def draw(cls, rng: Rng, *, coloured: bool, erased: bool) -> ClipView:
        """A random view.

        Args:
            coloured: change the colours, as of stage 2's 3D videos.
            erased: hide parts of frames, as of all of stage 2.
        """
        scale, x, y = MARGIN, 0.0, 0.0
        if rng.random() < _MOVED_SHARE:
            scale = float(rng.uniform(*_SCALES))
            reach = (MARGIN - scale) / 2
            x, y = rng.uniform(-reach, reach, 2).tolist()
        flip = bool(rng.random() < _FLIP_SHARE)
        colour, order = (1.0, 1.0, 1.0, 0.0), (0, 1, 2, 3)
        if coloured:
            a, b, c = rng.uniform(1 - _COLOUR, 1 + _COLOUR, 3).tolist()
            colour = (a, b, c, float(rng.uniform(-_HUE, _HUE)))
            order = tuple(int(k) for k in rng.permutation(4))
        return cls(scale, (x, y), flip, colour, order, int(rng.integers(4)) if erased else -1)


def matrix_of(person: TrackedPerson, view: ClipView, size: int) -> Float64:
    """The affine [2, 3] from pixels of the picture to those of the crop, not mirrored."""
    sides = person.box[2:]
    middle = person.box[:2] + np.array(view.shift) * sides
    zoom = size / (view.scale * sides)
    return np.column_stack([np.diag(zoom), size / 2 - zoom * middle])


def seen(person: TrackedPerson, view: ClipView, size: int, rng: Rng) -> Image:
    """A frame's crop, uint8 [size, size, 3] rgb; black where there is no picture."""
    matrix = matrix_of(person, view, size)
    crop = cv2.warpAffine(person.read(), matrix, (size, size), flags=cv2.INTER_LINEAR)
    crop = coloured(crop[..., ::-1], view)
    if view.side >= 0 and rng.random() < _ERASED_SHARE:
        erase(crop, view.side, float(rng.uniform(0, _MOST_ERASED)))
    return crop[:, ::-1] if view.flip else crop


def coloured(image: Image, view: ClipView) -> Image:
    """A picture (rgb) with other brightness, contrast, saturation and hue."""
    values = image.astype(np.float32)
    brightness, contrast, saturation, hue = view.colour
    for kind in view.order:
        grey = values @ np.float32([0.299, 0.587, 0.114])
        if kind == 0 and brightness != 1:
            values = values * brightness
        elif kind == 1 and contrast != 1:
            values = grey.mean() + (values - grey.mean()) * contrast
        elif kind == 2 and saturation != 1:
            values = grey[..., None] + (values - grey[..., None]) * saturation
        elif kind == 3 and hue:
            hsv = cv2.cvtColor(np.clip(values / 255, 0, 1), cv2.COLOR_RGB2HSV)
            hsv[..., 0] = (hsv[..., 0] + 360 * hue) % 360
            values = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
        values = np.clip(values, 0, 255)
    return np.rint(values).astype(np.uint8)


def erase(image: Image, side: int, share: float) -> None:
    """Blacken a share of a picture from one side on."""
    height, width = image.shape[:2]
    across, down = round(share * width), round(share * height)
    if side == 0:
        image[:, :across] = 0
    elif side == 1:
        image[:, width - across :] = 0
    elif side == 2:
        image[:down] = 0
    else:
        image[height - down :] = 0
