"""A virtual scene in the shape that `smap-train synth` writes."""

import cv2
import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_train.data.dataset import VirtualScene


@pytest.fixture(scope="session")
def scene() -> VirtualScene:
    """One upright person 3 m away, 1.6 m from head top to ankles, all joints visible."""
    heights = [-0.6, -0.9, 0, -0.6, -0.3, -0.05, 0, 0.35, 0.7, -0.6, -0.3, -0.05, 0, 0.35, 0.7]
    sides = [0, 0, 0, 0.2, 0.25, 0.28, 0.1, 0.11, 0.12]
    points = np.zeros((15, 3))
    points[:, 0] = sides + [-x for x in sides[3:]]
    points[:, 1] = heights
    points[:, 2] = 3.0 + np.linspace(-0.1, 0.1, 15)
    camera = Camera(448, 256, 300.0, 300.0, 223.5, 127.5)
    pixels = camera.project(points)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    person = {
        "id": 0,
        "joints_3d": points.tolist(),
        "joints_2d": pixels.tolist(),
        "visibility": [2] * 15,
        "box": [*low.tolist(), *(high - low).tolist()],
    }
    image = cv2.imencode(".jpg", np.full((256, 448, 3), 120, np.uint8))[1].tobytes()
    return VirtualScene(image, {"camera": camera.to_json(), "people": [person]})
