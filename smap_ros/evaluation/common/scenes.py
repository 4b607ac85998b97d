"""True people of rendered pictures, and which of them a method is expected to find."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.errors import InputError, SmapError, reason
from smap_ros.evaluation.common.repeats import repeated
from smap_ros.geometry.mounting import Mounting
from smap_ros.markup import whole_number
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
        clip: name of that film's file; empty where there is none, or it isn't known.
    """

    key: str | int
    frame: BodyFrame
    visibility: NDArray[np.uint8]
    boxes: NDArray[np.float64]
    read: Callable[[], Image]
    sequence: str | None = None
    clip: str = ""

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
    clip: str = "",
) -> Scene:
    """A scene from its labels.

    Args:
        people: ``joints_3d`` [15][x, y, z] in metres of the optical frame, ``joints_2d``
            [15][u, v] in pixels, ``visibility`` [15], ``box`` [x, y, w, h] and ``id`` of each,
            which nobody else in the picture has. All joints have a place in space, also those
            that can't be seen; those before the camera have one in the picture.
        camera: as in ``bodies.json``.
        read: gives the picture.
        key: see :class:`Scene`.
        index, source, stamp: of the frame.
        floor: ``normal`` [x, y, z], upwards, and ``distance`` from the camera, metres, in the
            optical frame; the camera's mounting follows from it.
        sequence, clip: see :class:`Scene`.

    Raises:
        InputError: if a field is missing, malformed or no number, or two people have one id.
    """
    try:
        if not math.isfinite(stamp):
            raise ValueError(f"the stamp is {stamp} s")
        bodies = tuple(_body(person) for person in people)
        visibility = np.array([person["visibility"] for person in people], np.uint8)
        boxes = np.array([person["box"] for person in people], np.float64)
        _check_people(bodies, boxes)
        return Scene(
            key=key,
            frame=BodyFrame(bodies, _camera(camera, floor), stamp, source=source, index=index),
            visibility=visibility.reshape(len(bodies), len(MPI15)),
            boxes=boxes.reshape(len(bodies), 4),
            read=read,
            sequence=sequence,
            clip=clip,
        )
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, SmapError) as error:
        raise InputError(
            f"{source}: the labels of {key} are incomplete or malformed ({reason(error)}); "
            "expected "
            "a camera and people with id, joints_3d [15][3], joints_2d [15][2], visibility [15] "
            "and box [4]"
        ) from error


def _check_people(bodies: Sequence[Body], boxes: NDArray[np.float64]) -> None:
    if (twice := repeated(body.id for body in bodies)) is not None:
        raise ValueError(f"two people have id {twice}")
    for body, box in zip(bodies, boxes, strict=True):
        before = body.joints_3d[:, 2] > 0
        for name, values in (
            ("joints_3d", body.joints_3d),
            ("joints_2d of what is before the camera", body.joints_2d[before]),
            ("box", box),
        ):
            if not np.isfinite(values).all():
                raise ValueError(f"person {body.id} has {name} that aren't finite numbers")


def _camera(camera: Mapping[str, Any], floor: Mapping[str, Any] | None) -> Camera:
    seen = Camera.from_json(camera)
    if floor is None:
        return seen
    up = np.array(floor["normal"], np.float64)
    return replace(seen, mounting=Mounting.above(up, float(floor["distance"])))


def _body(person: Mapping[str, Any]) -> Body:
    with np.errstate(over="ignore"):  # too large for float32 is infinite, which is refused
        joints = np.array(person["joints_3d"], np.float32)
        pixels = np.array(person["joints_2d"], np.float32)
    # What is behind the camera has no place in the picture.
    pixels[joints[:, 2] <= 0] = np.nan
    return Body(joints, pixels, np.ones(len(joints), np.float32), 1.0, whole_number(person["id"]))


def check_order(scenes: Sequence[Scene], source: str) -> None:
    """Refuse films whose pictures don't follow one another in time.

    Args:
        scenes: of one data set, each film in order.
        source: the data set, for people.

    Raises:
        InputError: if an index or a stamp isn't larger than the one before in its film.
    """
    last: dict[str, BodyFrame] = {}
    for scene in scenes:
        if scene.sequence is None:
            continue
        frame, before = scene.frame, last.get(scene.sequence)
        last[scene.sequence] = frame
        if before is None or (frame.index > before.index and frame.stamp > before.stamp):
            continue
        raise InputError(
            f"{source}: in sequence {scene.sequence}, picture {scene.key} (index {frame.index}, "
            f"stamp {frame.stamp:g} s) follows index {before.index}, stamp {before.stamp:g} s; "
            "expected both to rise. Sort the pictures by time, and leave out those listed twice"
        )
