"""Cameras that don't state how they are mounted, given the mounting that a user states."""

from __future__ import annotations

from dataclasses import replace

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.base import Estimator, Image
from smap_ros.estimators.changed import Change, changed
from smap_ros.estimators.options import MountingOptions
from smap_ros.geometry.mounting import Mounting


def with_mounting(estimator: Estimator, stated: MountingOptions) -> Estimator:
    """The estimator, for cameras that are mounted as stated unless they say otherwise.

    Raises:
        InputError: if a tilt is stated without a height.
    """
    mounting = stated.mounting
    if mounting is not None:
        return changed(estimator, _Mounted(mounting))
    if tilt := [name for name, angle in stated if angle]:
        raise InputError(
            f"{' and '.join(tilt)} stated without camera_height; the floor's place is both: state "
            "the height as well"
        )
    return estimator


class _Mounted(Change):
    def __init__(self, mounting: Mounting) -> None:
        self._mounting = mounting

    def wanted(self, camera: Camera) -> bool:
        return camera.mounting is None

    def image(self, image: Image, camera: Camera) -> tuple[Image, Camera]:
        return image, replace(camera, mounting=self._mounting)

    def back(self, body: Body, camera: Camera, seen: Camera) -> Body:
        return body
