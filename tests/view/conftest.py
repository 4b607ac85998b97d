"""People before a camera that stands on a known floor, and a browser to look at them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MPI15
from smap_ros.view.scene import camera_pose
from tests.browser import browser  # noqa: F401  a fixture
from tests.conftest import _PERSON

MOUNTING = Mounting(1.35, math.radians(12), math.radians(-3))


def standing(roots: np.ndarray, mounting: Mounting = MOUNTING) -> tuple[Body, ...]:
    """People who stand on the floor of a camera.

    Args:
        roots: float [N, 2], where: ahead of the camera and to its right, metres.
    """
    rotation, position = camera_pose(mounting)
    bodies = []
    for k, (ahead, right) in enumerate(roots):
        # From the test's person (x to the left, y down) to the world (x back, y right, z up).
        height = _PERSON[:, 1].max() + 0.09 - _PERSON[:, 1]
        world = np.stack([_PERSON[:, 2] - ahead, right - _PERSON[:, 0], height], axis=1)
        points = ((world - position) @ rotation).astype(np.float32)
        scores = np.full(len(MPI15), 0.9, np.float32)
        bodies.append(Body(points, np.zeros((15, 2), np.float32), scores, 0.9, k))
    return tuple(bodies)


@pytest.fixture
def frames() -> list[BodyFrame]:
    """Two people who walk for two seconds, ten frames each."""
    camera = Camera.from_fov(640, 360, math.radians(70))
    return [
        BodyFrame(
            standing(np.array([[3.0 + 0.1 * k, -0.6], [4.0, 0.8 - 0.05 * k]])),
            camera,
            stamp=k / 10,
            source="walk.mp4",
            index=k,
        )
        for k in range(20)
    ]
