"""People for pictures."""

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.skeletons import MPI15


@pytest.fixture
def people(scene) -> BodyFrame:
    """The scene's three people, tracked, all joints certain."""
    bodies = []
    for k, joints in enumerate(scene.joints):
        points = joints.astype(np.float32)
        pixels = scene.camera.project(points).astype(np.float32)
        bodies.append(Body(points, pixels, np.full(len(MPI15), 0.9, np.float32), 0.9, k))
    return BodyFrame(tuple(bodies), scene.camera, stamp=1.5, source="clip.mp4", index=31)
