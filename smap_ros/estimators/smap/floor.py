"""People on a floor whose place is known: how far they are is also where their feet are.

One picture doesn't tell a small person nearby from a large one farther away; the floor does. Of
all distances at which somebody would appear as they do, one has their lower ankle where ankles are
above the floor. That and the network's own are two measurements of one logarithm, each with its
error. Who is off the floor (on stairs, in the air) is moved less, the farther off the less.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import ANKLE_HEIGHT, Body
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.estimators.base import LOG_PERIOD
from smap_ros.estimators.options import NO_FLOOR
from smap_ros.skeletons import MPI15

log = logging.getLogger(__name__)

Double = NDArray[np.float64]

_ANKLES = [MPI15.index("l_ankle"), MPI15.index("r_ankle")]
FOOT_ERROR = 0.06  # metres that ankles of people on the floor are off it, as they are told
DIRECTION_ERROR = 0.015  # radians, of the mounting and of where ankles are seen
DEGREES_OF_FREEDOM = 4.0  # of Student's t: how soon people aren't believed to be on the floor
MAX_LOG_RATIO = 0.4  # half as far again, or two thirds, is all that the floor may do
_TELLING = 10  # people whose feet tell how high the camera is
_WATCHED = 100  # people of whom most must contradict the floor before it is said
_CONTRADICTION = 0.15  # of the distance; networks are wrong by a few percent on average
_LEAST = 0.02  # metres below the camera; feet at its height say nothing


class Floor:
    """Puts people on the floor, and says so where their feet contradict what is said of it."""

    def __init__(self) -> None:
        self._ratios: deque[float] = deque(maxlen=_WATCHED)
        self._said = -math.inf

    @classmethod
    def of(cls, manifest: SmapManifest) -> Floor:
        """For the people of a bundle.

        Raises:
            InputError: if it doesn't say how wrong its distances are.
        """
        if not manifest.depth_error:
            raise InputError(
                f"on_floor is true, but bundle {manifest.name!r} says nothing of depth_error, how "
                "wrong its depths are, so the floor can't be weighed against them; leave on_floor "
                "false"
            )
        return cls()

    def __call__(self, bodies: Sequence[Body], camera: Camera) -> tuple[Body, ...]:
        """The people, moved towards where their feet would be on the floor.

        They become larger or smaller with it, so that they appear as they did. Whose ankles aren't
        seen stays.

        Args:
            bodies: mpi15, with ``depth_std``.
            camera: of the image; its mounting tells where the floor is.

        Returns:
            The people, nearest first; ``depth_std`` is that of both measurements.

        Raises:
            CameraError: if it isn't known how the camera is mounted.
        """
        ratio, error = _by_floor(bodies, camera)
        self._ratios.extend(ratio[np.isfinite(error)])
        self._compare(camera)
        return _moved(bodies, ratio, error)

    def notes(self, camera: Camera) -> Mapping[str, float]:
        """As numbers for diagnostics: how high the camera is, as stated and as feet have it."""
        if camera.mounting is None:
            return {}
        height = camera.mounting.height
        stated = {"camera above the floor [m]": height}
        if len(self._ratios) < _TELLING:
            return stated
        return {**stated, "camera above people's feet [m]": self._by_feet(height)}

    def _compare(self, camera: Camera) -> None:
        """Warn if the feet of most people are elsewhere than the floor is said to be."""
        now = time.monotonic()
        if camera.mounting is None or len(self._ratios) < _WATCHED or now < self._said + LOG_PERIOD:
            return
        height, off = camera.mounting.height, math.exp(self._middle) - 1
        if abs(off) > _CONTRADICTION:
            self._said = now
            log.warning(
                "people's feet aren't where the floor is said to be: a camera %.2f m above it puts "
                "them %.0f %% %s than they look (middle one of %d); a height of %.2f m would fit. "
                "Check the camera's height and pitch, or leave on_floor false",
                height, 100 * abs(off), "farther" if off > 0 else "nearer", _WATCHED,
                self._by_feet(height),
            )  # fmt: skip

    @property
    def _middle(self) -> float:
        return float(np.median(self._ratios))

    def _by_feet(self, height: float) -> float:
        return (height - ANKLE_HEIGHT) / math.exp(self._middle) + ANKLE_HEIGHT


def _by_floor(bodies: Sequence[Body], camera: Camera) -> tuple[Double, Double]:
    """What the floor says of people's distances; arguments and errors as of :class:`Floor`.

    Returns:
        Logarithm of the distance by the floor over theirs, [N], and its standard deviation, [N];
        infinite where the floor says nothing.
    """
    mounting = camera.mounting
    if mounting is None:
        raise CameraError(NO_FLOOR)
    ankles = np.array([body.joints_3d[_ANKLES] for body in bodies], np.float64).reshape(-1, 2, 3)
    shown = np.array([_in_picture(body, camera) for body in bodies], np.bool_).reshape(-1, 2)
    below = np.where(shown, ankles @ mounting.down, -np.inf)
    lower = np.arange(len(bodies)), below.argmax(axis=1)
    away = np.nan_to_num(np.linalg.norm(ankles[lower], axis=-1))
    expected = mounting.height - ANKLE_HEIGHT
    known = (below[lower] > _LEAST) & (expected > _LEAST)
    depth_below = np.where(known, below[lower], 1.0)
    ratio = np.where(known, np.log(max(expected, _LEAST) / depth_below), 0.0)
    error = np.hypot(FOOT_ERROR, DIRECTION_ERROR * away) / depth_below
    return ratio, np.where(known, error, np.inf)


def _in_picture(body: Body, camera: Camera) -> NDArray[np.bool_]:
    """Which ankles were seen, and in the picture, bool [2]; a guess says nothing of the floor."""
    u, v = body.joints_2d[_ANKLES].T
    inside = (u >= 0) & (u <= camera.width - 1) & (v >= 0) & (v <= camera.height - 1)
    return np.asarray(inside & body.present[_ANKLES] & body.seen[_ANKLES])


def _moved(bodies: Sequence[Body], ratio: Double, error: Double) -> tuple[Body, ...]:
    """The people by both measurements, nearest first; see :func:`_by_floor`."""
    depth = np.array([body.root[2] for body in bodies], np.float64)
    own = np.array([body.depth_std for body in bodies], np.float64) / depth
    factor, deviation = _both(own, ratio, error)
    moved = [
        replace(body, joints_3d=(body.joints_3d * f).astype(np.float32), depth_std=float(d * f * z))
        for body, f, d, z in zip(bodies, factor, deviation, depth, strict=True)
    ]
    return tuple(sorted(moved, key=lambda body: float(body.root[2])))


def _both(own: Double, ratio: Double, error: Double) -> tuple[Double, Double]:
    """Factors of people's distances by both measurements, [N], and their logarithms' deviations.

    Args:
        own: [N], standard deviation of the logarithm of their own distances.
        ratio, error: see :func:`_by_floor`.
    """
    far_off = np.square(ratio) / (np.square(own) + np.square(error))
    weight = np.minimum((DEGREES_OF_FREEDOM + 1) / (DEGREES_OF_FREEDOM + far_off), 1.0)
    certain, floor = 1 / np.square(own), weight / np.square(error)
    share = floor / (certain + floor)
    factor = np.exp(np.clip(share * ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    return factor, 1 / np.sqrt(certain + floor)
