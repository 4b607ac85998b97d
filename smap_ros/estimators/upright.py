"""Images of cameras that are mounted on their side or upside down, shown to networks upright.

Networks know people who stand. Where the camera's roll is known, from TF or because it is stated,
its images are turned by quarter turns for them, which costs no pixel, and what they find is turned
back.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.estimators.base import Estimator, Image
from smap_ros.estimators.changed import Change, changed
from smap_ros.estimators.options import ImageUp

log = logging.getLogger(__name__)

_TURNS = {"top": 0, "right": 1, "bottom": 2, "left": 3}
_ROTATIONS = {
    1: cv2.ROTATE_90_COUNTERCLOCKWISE,
    2: cv2.ROTATE_180,
    3: cv2.ROTATE_90_CLOCKWISE,
}
_FARTHEST_DEG = 45 + 1e-9  # a roll from its side; beyond it another side is up
_STEEP = math.radians(60)  # looking down or up so far, a camera may have any side up
_TANGENTIAL, _THIN_PRISM, _TILT = slice(2, 4), slice(8, 12), slice(12, 14)  # OpenCV's order


def with_upright_images(estimator: Estimator, up: ImageUp, roll_deg: float = 0.0) -> Estimator:
    """The estimator, for cameras with any roll.

    Args:
        estimator: sees upright images only.
        up: see :data:`smap_ros.estimators.options.ImageUp`.
        roll_deg: what ``auto`` goes by, of cameras that don't state their own mounting.

    Raises:
        InputError: if it is another word.
    """
    if up not in get_args(ImageUp):
        raise InputError(f"image_up is {up!r}; expected one of {', '.join(get_args(ImageUp))}")
    return estimator if up == "top" else changed(estimator, _Turn(up, roll_deg))


def roll_when_upright(roll_deg: float, up: ImageUp) -> float:
    """What is left of a camera's stated roll in its images when they are turned, degrees.

    0 says nothing of the roll; ``auto`` turns images by the roll.

    Raises:
        InputError: if the side and the roll contradict each other.
    """
    if not 0 < abs(roll_deg) <= 180:  # others refuse numbers that are no roll
        return roll_deg
    turns = _TURNS.get(up, _nearest_side(roll_deg))
    rest = _rest(roll_deg, turns)
    if abs(rest) > _FARTHEST_DEG:
        raise InputError(
            f"image_up is {up!r} and camera_roll_deg {roll_deg:g}: they contradict each other; the "
            "roll is the mounted camera's, its side included: expected about "
            f"{_rest(0, -turns):g}. Correct one of them, or leave the roll out"
        )
    return rest


def turned(camera: Camera, turns: int) -> Camera:
    """The camera of an image that was turned counterclockwise by so many quarter turns.

    Its lens turns too, but for a tilted sensor, which see :func:`can_turn`.
    """
    for _ in range(turns % 4):
        camera = _quarter(camera)
    return camera


def can_turn(camera: Camera) -> bool:
    """Whether the turned image has a camera of the same model: unless its sensor is tilted."""
    return camera.distortion_model == "equidistant" or not any(camera.distortion[_TILT])


class _Turn(Change):
    def __init__(self, up: ImageUp, roll_deg: float) -> None:
        self._up = up
        # Others refuse numbers that are no roll.
        self._unstated = _nearest_side(roll_deg) if abs(roll_deg) <= 180 else 0
        self._said = 0

    def wanted(self, camera: Camera) -> bool:
        turns = self._turns(camera)
        if turns and self._up == "auto" and camera.mounting is None and not can_turn(camera):
            raise CameraError(
                f"the camera is mounted with a roll of about {_rest(0, -turns):g} degrees, as "
                "stated, and its lens has a tilted sensor (14 coefficients, the last two not 0), "
                "whose image can't be turned; leave the roll out, or rectify the images"
            )
        return turns != 0 and can_turn(camera)

    def image(self, image: Image, camera: Camera) -> tuple[Image, Camera]:
        turns = self._turns(camera)
        self._check_mounting(camera, turns)
        if turns != self._said:
            sides = {number: side for side, number in _TURNS.items()}
            log.info("the %s of the image is up: it is turned for the network", sides[turns])
            self._said = turns
        rotated = cv2.rotate(image, _ROTATIONS[turns])
        return rotated.astype(np.uint8, copy=False), turned(camera, turns)

    def back(self, body: Body, camera: Camera, seen: Camera) -> Body:
        turns = self._turns(camera)
        pixels, height, width = body.joints_2d, seen.height, seen.width
        for _ in range(turns):
            pixels = np.stack([height - 1 - pixels[:, 1], pixels[:, 0]], axis=1)
            height, width = width, height
        mesh = body.mesh
        if mesh is not None:
            mesh = replace(mesh, vertices=_clockwise(mesh.vertices, turns))
        joints = _clockwise(body.joints_3d, turns)
        return replace(body, joints_2d=pixels, joints_3d=joints, mesh=mesh)

    def _turns(self, camera: Camera) -> int:
        if self._up != "auto":
            return _TURNS[self._up]
        if camera.mounting is None:
            return self._unstated
        return _nearest_side(math.degrees(camera.mounting.roll))

    def _check_mounting(self, camera: Camera, turns: int) -> None:
        """Refuse a stated side that isn't up as the camera is mounted: nobody would be found."""
        mounting = camera.mounting
        if mounting is None or abs(mounting.pitch) > _STEEP:
            return
        roll_deg = math.degrees(mounting.roll)
        if abs(_rest(roll_deg, turns)) > _FARTHEST_DEG:
            raise CameraError(
                f"image_up is {self._up!r} and the camera is mounted with a roll of {roll_deg:.0f} "
                "degrees (world_frame): they contradict each other; expected about "
                f"{_rest(0, -turns):g}. Correct one of them, or take image_up auto"
            )


def _nearest_side(roll_deg: float) -> int:
    return round(roll_deg / 90) % 4


def _rest(roll_deg: float, turns: int) -> float:
    """The roll of a camera whose image was turned counterclockwise so often, degrees."""
    return math.remainder(roll_deg - 90 * turns, 360)


def _clockwise(points: NDArray[np.float32], turns: int) -> NDArray[np.float32]:
    """Points of the optical frame, float32 [N, 3], turned about the optical axis."""
    for _ in range(turns):
        points = np.stack([-points[:, 1], points[:, 0], points[:, 2]], axis=1)
    return points


def _quarter(camera: Camera) -> Camera:
    """The camera of an image that was turned counterclockwise once: right goes to the top."""
    mounting = camera.mounting
    if mounting is not None:
        mounting = replace(mounting, roll=math.remainder(mounting.roll - math.pi / 2, math.tau))
    return replace(
        camera,
        width=camera.height,
        height=camera.width,
        fx=camera.fy,
        fy=camera.fx,
        cx=camera.cy,
        cy=camera.width - 1 - camera.cx,
        distortion=_turned_lens(camera),
        mounting=mounting,
    )


def _turned_lens(camera: Camera) -> tuple[float, ...]:
    """Distortion after the turn: what is radial stays, what has a direction turns with it."""
    lens = list(camera.distortion)
    if camera.distortion_model == "equidistant" or not lens:
        return camera.distortion
    # p1 bends along y and p2 along x; (x, y) becomes (y, -x).
    p1, p2 = lens[_TANGENTIAL]
    lens[_TANGENTIAL] = [-p2, p1]
    if len(lens) >= _THIN_PRISM.stop:
        s1, s2, s3, s4 = lens[_THIN_PRISM]
        lens[_THIN_PRISM] = [s3, s4, -s1, -s2]
    return tuple(lens)
