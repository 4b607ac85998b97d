"""Views of one photo: cut, shrunk, turned, darkened and smeared, with the joints that follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera
from smap_ros.evaluation.common.views import guessed_camera
from smap_ros.skeletons import MPI15

Image = NDArray[np.uint8]
Float = NDArray[np.float64]

_FRAME = (1280, 720)  # of a camera that sees people from afar
_GREY = (128, 128, 128)
_LIGHT, _NOISE = 0.12, 3.0  # share of the light left in the dark; grey levels


@dataclass(frozen=True)
class View:
    """A picture made of a photo, and where the person's joints are in it.

    Attributes:
        key: name of the photo's file without its ending, and of the view.
        pixels: uint8 [H, W, 3], bgr.
        joints_2d: float64 [15, 2], pixels, maybe out of the picture; NaN where not known.
        shown: bool [15], joints that the photo shows: what a view has beyond it shows none.
    """

    key: str
    pixels: Image
    joints_2d: Float
    shown: NDArray[np.bool_]

    @property
    def camera(self) -> Camera:
        """A camera for what needs one; its field of view is a guess."""
        return guessed_camera(self.pixels.shape[1], self.pixels.shape[0])

    def image(self) -> Image:
        """The picture."""
        return self.pixels

    @property
    def inside(self) -> NDArray[np.bool_]:
        """Known joints that are in the picture, bool [15]."""
        return self.shown & _within(self.joints_2d, self.pixels)


def _within(joints: NDArray[np.floating], image: Image) -> NDArray[np.bool_]:
    """Which joints [15, 2] are known, and pixels of an image; bool [15]."""
    with np.errstate(invalid="ignore"):
        there = (joints >= 0) & (joints <= np.array(image.shape[1::-1]) - 1)
    return np.asarray(there.all(axis=1))


Made = tuple[Image, Float]
Maker = Callable[[Image, Float], Made]


def upright(joints: NDArray[np.floating]) -> bool:
    """Whether a labelled person stands so that "above" means "nearer to the head"."""
    rows = [joints[MPI15.index(name), 1] for name in ("head_top", "neck", "pelvis")]
    # NaN if one of the ankles isn't known: the legs' view goes down to them.
    rows.append(joints[[MPI15.index("l_ankle"), MPI15.index("r_ankle")], 1].min())
    return bool(np.isfinite(rows).all() and (np.diff(rows) > 0).all() and _torso(joints) > 5)


def _torso(joints: NDArray[np.floating]) -> float:
    return float(np.linalg.norm(joints[MPI15.index("neck")] - joints[MPI15.index("pelvis")]))


def _rows(first: str, above: float, last: str, below: float) -> Maker:
    """Cut to the rows between two joints, with margins as shares of the torso."""

    def cut(image: Image, joints: Float) -> Made:
        torso = _torso(joints)
        top = joints[MPI15.index(first), 1] - above * torso
        bottom = joints[MPI15.index(last), 1] + below * torso
        high, low = max(round(top), 0), min(round(bottom), len(image))
        low = max(low, high + 8)
        # As wide as the photo, but not a strip: at most twice as wide as high.
        middle, half = joints[MPI15.index("neck"), 0], low - high
        left = int(np.clip(round(middle - half), 0, max(image.shape[1] - 8, 0)))
        right = int(np.clip(round(middle + half), left + 8, max(image.shape[1], left + 8)))
        return np.ascontiguousarray(image[high:low, left:right]), joints - (left, high)

    return cut


def _tall(pixels: int) -> Maker:
    """The person so many pixels tall in the picture of a usual camera; empty if it vanishes."""

    def shrink(image: Image, joints: Float) -> Made:
        extent = float((np.nanmax(joints, axis=0) - np.nanmin(joints, axis=0))[1])
        scale = pixels / max(extent, 1.0)
        if min(round(scale * size) for size in image.shape[:2]) < 1:
            return image[:0], joints
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        height, width = (min(a, b) for a, b in zip(small.shape[:2], _FRAME[::-1], strict=True))
        left, top = (_FRAME[0] - width) // 2, (_FRAME[1] - height) // 2
        # What is around the photo: its own edges, as a wall and a floor go on.
        around = (top, _FRAME[1] - height - top, left, _FRAME[0] - width - left)
        framed = cv2.copyMakeBorder(small[:height, :width], *around, cv2.BORDER_REPLICATE)
        scaled = (joints + 0.5) * scale - 0.5
        return framed.astype(np.uint8), scaled + (left, top)

    return shrink


def _turned(degrees: float) -> Maker:
    """Turned about the middle, in a picture large enough for all of it."""

    def turn(image: Image, joints: Float) -> Made:
        height, width = image.shape[:2]
        middle = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0).astype(np.float64)
        cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
        size = (round(width * cos + height * sin), round(width * sin + height * cos))
        matrix[:, 2] += (np.array(size) - (width, height)) / 2
        turned = cv2.warpAffine(image, matrix, size, borderValue=_GREY)
        return turned.astype(np.uint8), joints @ matrix[:, :2].T + matrix[:, 2]

    return turn


def _dark(image: Image, joints: Float) -> Made:
    noise = np.random.default_rng(0).normal(0, _NOISE, image.shape)
    return np.clip(image * _LIGHT + noise, 0, 255).astype(np.uint8), joints


def _smeared(image: Image, joints: Float) -> Made:
    extent = float((np.nanmax(joints, axis=0) - np.nanmin(joints, axis=0))[1])
    length = max(round(extent / 12), 3)
    kernel = np.full((1, length), 1.0 / length, np.float32)
    return cv2.filter2D(image, -1, kernel).astype(np.uint8), joints


def _whole(image: Image, joints: Float) -> Made:
    return image, joints


VIEWS: Mapping[str, Maker] = {
    "whole": _whole,
    "head and shoulders": _rows("head_top", 0.25, "neck", 0.3),
    "chest": _rows("head_top", 0.25, "neck", 0.65),
    "waist": _rows("head_top", 0.25, "pelvis", 0.1),
    "legs": _rows("pelvis", 0.15, "l_ankle", 0.5),
    **{f"{pixels} px tall": _tall(pixels) for pixels in (60, 80, 120)},
    **{f"turned by {angle} degrees": _turned(angle) for angle in (20, 45, 90, 180)},
    "dark": _dark,
    "smeared": _smeared,
}


def views_of(name: str, image: Image, joints: NDArray[np.floating]) -> dict[str, View]:
    """All views of a photo, by name, without those that nothing of the photo is in.

    A cut is empty where the joints that it is made by are labelled below the photo.

    Args:
        name: of the photo.
        image: uint8 [H, W, 3], bgr.
        joints: [15, 2], pixels, of somebody :func:`upright`.
    """
    made = {view: make(image, joints.astype(np.float64)) for view, make in VIEWS.items()}
    shown = _within(joints, image)
    return {
        view: View(f"{name}/{view}", pixels, points, shown)
        for view, (pixels, points) in made.items()
        if pixels.size
    }
