"""What robots see beyond composed photos and scenes: people cut, turned, framed, dark."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.data.picture import Float, Image, Picture, Rng, inside_of

_LETTERBOX = (128, 128, 128)
_DARK = (10.0, 50.0)  # mean grey levels
_BORDERS = ("letterbox", "black", "colour", "reflected")
_BORDER_SHARES = (0.45, 0.15, 0.2, 0.2)
# What a near camera looks at, and how much of the person's extent its picture then shows.
_FOCUS = {
    "head_top": (0.2, 0.4),
    "neck": (0.2, 0.6),
    "pelvis": (0.4, 0.8),
    "l_knee": (0.3, 0.6),
    "r_ankle": (0.3, 0.6),
}
_FILLED = (0.5, 1.05)  # of the picture


@dataclass(frozen=True)
class Augmentation:
    """Shares of the pictures.

    Attributes:
        near: that show a part of somebody: head, chest, waist, legs.
        turned: turned by any angle.
        framed: with bars at the sides or above and below, as letterboxing makes them.
        small: in which people are smaller than composed pictures have them otherwise.
        dark: so dark that noise shows.
        smeared: of a camera that moves fast.
        filled: that one person fills, whichever way up: lying along the picture, upside down.
    """

    near: float = 0.0
    turned: float = 0.0
    framed: float = 0.0
    small: float = 0.0
    dark: float = 0.0
    smeared: float = 0.0
    filled: float = 0.0


NONE = Augmentation()


@dataclass(frozen=True)
class Border:
    """What lies beyond a picture: ``flag`` and ``value`` of OpenCV's warps."""

    flag: int
    value: tuple[int, ...]

    @classmethod
    def draw(cls, rng: Rng) -> Border:
        """Grey as of letterboxing, black, a colour, or the picture's reflection."""
        kind = str(rng.choice(_BORDERS, p=_BORDER_SHARES))
        if kind == "reflected":
            return cls(cv2.BORDER_REFLECT_101, (0, 0, 0))
        if kind == "colour":
            return cls(cv2.BORDER_CONSTANT, tuple(int(v) for v in rng.integers(0, 256, 3)))
        return cls(cv2.BORDER_CONSTANT, _LETTERBOX if kind == "letterbox" else (0, 0, 0))


def focus(rng: Rng, joints: Float) -> tuple[Float, float] | None:
    """A point of somebody that a near camera looks at, and the extent around it that it sees.

    Args:
        joints: float32 [15, 2], pixels; NaN where unknown.

    Returns:
        The point [2] and a length, pixels; None if the chosen joint is unknown.
    """
    name = str(rng.choice(list(_FOCUS)))
    point = joints[MPI15.index(name)]
    if not np.isfinite(point).all():
        return None
    extent = float((np.nanmax(joints, axis=0) - np.nanmin(joints, axis=0)).max())
    length = max(extent, 20.0) * float(rng.uniform(*_FOCUS[name]))
    return (point + rng.normal(0, 0.15 * length, 2)).astype(np.float32), length


def filling(rng: Rng, joints: Float, size: tuple[int, int]) -> tuple[Float, float, float] | None:
    """A view that somebody fills: its centre, scale and turn.

    Upright people are at most as long as a picture is high; those who lie along it are longer.

    Args:
        joints: float32 [15, 2], pixels; NaN where unknown.
        size: width and height of the view.

    Returns:
        The point [2] that comes to the middle, pixels; a factor; radians. None of one joint.
    """
    known = joints[np.isfinite(joints).all(axis=1)].astype(np.float64)
    if len(known) < 2:
        return None
    turn = float(rng.uniform(-np.pi, np.pi))
    if rng.random() < 0.6:
        turn = float(rng.integers(-1, 3) * np.pi / 2 + rng.normal(0, 0.2))
    cos, sin = np.cos(turn), np.sin(turn)
    turned = known @ np.array([[cos, -sin], [sin, cos]]).T
    low, high = turned.min(axis=0), turned.max(axis=0)
    fit = float((np.array(size) / np.maximum(high - low, 20.0)).min())
    center = np.array([[cos, sin], [-sin, cos]]) @ ((low + high) / 2)
    return center.astype(np.float32), fit * float(rng.uniform(*_FILLED)), turn


def framed(rng: Rng, picture: Picture) -> None:
    """Cover what a picture of another shape wouldn't have, at the sides or above and below."""
    height, width = picture.image.shape[:2]
    share = rng.uniform(0.25, 0.9)
    cut = np.array([share * width, height] if rng.random() < 0.75 else [width, share * height])
    low = np.floor((np.array([width, height]) - cut) / 2).astype(int)
    high = low + np.maximum(cut.astype(int), 16)
    bars = np.ones((height, width), bool)
    bars[low[1] : high[1], low[0] : high[0]] = False
    colour = _LETTERBOX if rng.random() < 0.7 else tuple(int(v) for v in rng.integers(0, 256, 3))
    picture.image = picture.image.copy()
    picture.image[bars] = colour
    picture.trust[bars], picture.unknown[bars] = 1.0, 0
    hidden = ~inside_of(picture.joints_2d, low.astype(float), high - 1.0)
    picture.joints_2d[hidden] = np.nan
    picture.visibility[hidden] = 0


def darkened(rng: Rng, image: Image) -> Image:
    """A picture taken with too little light: dim, and with noise that shows."""
    values = image.astype(np.float32)
    values *= min(1.0, float(np.exp(rng.uniform(*np.log(_DARK)))) / max(float(values.mean()), 1.0))
    values += rng.normal(0, rng.uniform(1, 6), values.shape).astype(np.float32)
    return np.clip(values, 0, 255).astype(np.uint8)


def smeared(rng: Rng, image: Image) -> Image:
    """A picture of a camera that moved while it was taken, by up to a twentieth of its width."""
    length = int(rng.uniform(5, max(0.05 * image.shape[1], 7)))
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1.0
    turn = cv2.getRotationMatrix2D(((length - 1) / 2, (length - 1) / 2), rng.uniform(0, 180), 1)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(image, -1, kernel / max(float(kernel.sum()), 1e-6))


def angle(rng: Rng, turned: float, usual: float) -> float:
    """By how much to turn a picture, radians: any angle in the share ``turned``."""
    return float(rng.uniform(-np.pi, np.pi) if rng.random() < turned else usual)


def covered(
    affine: NDArray[np.float64], size: tuple[int, int], to: tuple[int, int]
) -> NDArray[np.bool_]:
    """Where a warped picture of ``size`` (width, height) is real; bool, of the size ``to``."""
    whole = np.ones(size[::-1], np.uint8)
    return cv2.warpAffine(whole, affine, to, flags=cv2.INTER_NEAREST).astype(bool)
