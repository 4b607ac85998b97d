"""True people of rendered pictures, and which of them a method is expected to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError, SmapError, reason
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MPI15

Image = NDArray[np.uint8]

VISIBLE = 2  # 0 is outside the picture, 1 occluded
# People count when they are larger than this and less hidden than that; others are excused.
MIN_SIZE_PX = 60.0
MAX_HIDDEN = 0.6


@dataclass(frozen=True)
class Scene:
    """One picture and its true people.

    Attributes:
        key: what predictions of this picture are named by: the stem of an image file, or the
            number of a frame in a clip.
        frame: the people; all their joints have score 1, also those that can't be seen.
        visibility: uint8 [people, 15]: 0 outside the picture, 1 occluded, 2 visible.
        boxes: float64 [people, 4]: x, y, width, height of the body within the picture, pixels.
        read: gives the picture, uint8 [H, W, 3] bgr.
        sequence: name of the film that it is a picture of, in order; None for a still.
    """

    key: str | int
    frame: BodyFrame
    visibility: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    read: Callable[[], Image]
    sequence: str | None = None

    @property
    def camera(self) -> Camera:
        """Camera of the picture."""
        return self.frame.camera

    def image(self) -> Image:
        """The picture, uint8 [H, W, 3] bgr.

        Raises:
            InputError: if it can't be read, or hasn't the size that the truth says.
        """
        image = self.read()
        size = (self.camera.width, self.camera.height)
        if image.shape[1::-1] != size:
            raise InputError(
                f"picture {self.key} is {image.shape[1]}x{image.shape[0]} px, but its truth says "
                f"{size[0]}x{size[1]} px; copy picture and truth again"
            )
        return image

    @property
    def hidden(self) -> NDArray[np.float64]:
        """Share of each person's joints that are occluded or outside, float64 [people]."""
        return np.asarray((self.visibility != VISIBLE).mean(axis=1), np.float64)

    @property
    def size_px(self) -> NDArray[np.float64]:
        """Longer side of each person's box in the picture, float64 [people]."""
        return np.asarray(self.boxes[:, 2:].max(axis=1, initial=0.0), np.float64)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Who must be found, bool [people]; the others are too small or hidden."""
        return np.asarray((self.size_px > MIN_SIZE_PX) & (self.hidden < MAX_HIDDEN), np.bool_)


def make_scene(
    people: Sequence[Mapping[str, Any]],
    camera: Mapping[str, Any],
    read: Callable[[], Image],
    *,
    key: str | int,
    index: int,
    source: str,
    stamp: float = 0.0,
    floor: Mapping[str, Any] | None = None,
    sequence: str | None = None,
) -> Scene:
    """A scene from its labels.

    Args:
        people: ``joints_3d`` [15][x, y, z] in metres of the optical frame, ``joints_2d``
            [15][u, v] in pixels, ``visibility`` [15], ``box`` [x, y, w, h] and ``id`` of each.
        camera: as in ``bodies.json``.
        read: gives the picture.
        key: see :class:`Scene`.
        index, source, stamp: of the frame.
        floor: ``normal`` [x, y, z], upwards, and ``distance`` from the camera, metres, in the
            optical frame; the camera's mounting follows from it.
        sequence: see :class:`Scene`.

    Raises:
        InputError: if a field is missing or malformed.
    """
    try:
        bodies = tuple(_body(person) for person in people)
        visibility = np.array([person["visibility"] for person in people], np.uint8)
        boxes = np.array([person["box"] for person in people], np.float64)
        return Scene(
            key=key,
            frame=BodyFrame(bodies, _camera(camera, floor), stamp, source=source, index=index),
            visibility=visibility.reshape(len(bodies), len(MPI15)),
            boxes=boxes.reshape(len(bodies), 4),
            read=read,
            sequence=sequence,
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, SmapError) as error:
        raise InputError(
            f"{source}: the labels of {key} are incomplete or malformed ({reason(error)}); "
            "expected "
            "a camera and people with id, joints_3d [15][3], joints_2d [15][2], visibility [15] "
            "and box [4]"
        ) from error


def _camera(camera: Mapping[str, Any], floor: Mapping[str, Any] | None) -> Camera:
    seen = Camera.from_json(camera)
    if floor is None:
        return seen
    up = np.array(floor["normal"], np.float64)
    return replace(seen, mounting=Mounting.above(up, float(floor["distance"])))


def _body(person: Mapping[str, Any]) -> Body:
    joints = np.array(person["joints_3d"], np.float32)
    pixels = np.array(person["joints_2d"], np.float32)
    # What is behind the camera has no place in the picture.
    pixels[joints[:, 2] <= 0] = np.nan
    return Body(joints, pixels, np.ones(len(joints), np.float32), 1.0, int(person["id"]))
