"""Where the floor is, seen from the camera."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros.camera import Camera
from smap_ros.geometry.mounting import level_pose


@settings(max_examples=50)
@given(
    roll=st.floats(-1.0, 1.0),
    pitch=st.floats(-1.2, 1.2),
    height=st.floats(0.1, 3.0),
    ahead=st.floats(0.5, 6.0),
)
def test_level_pose_feels_gravity_and_sees_the_origin_ahead(roll, pitch, height, ahead):
    rotation, position = level_pose(roll, pitch, height, ahead)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1.0)
    down = rotation @ [0.0, 0.0, -1.0]
    expected = [
        -math.sin(roll) * math.cos(pitch),
        math.cos(roll) * math.cos(pitch),
        math.sin(pitch),
    ]
    np.testing.assert_allclose(down, expected, atol=1e-12)
    foot = np.array([position[0], position[1], 0.0])  # below the camera, on the floor
    np.testing.assert_allclose(rotation @ (foot - position), np.array(expected) * height)
    ahead_of_it = rotation @ (np.zeros(3) - foot)
    assert ahead_of_it[2] == pytest.approx(ahead * math.cos(pitch))
    assert np.linalg.norm(ahead_of_it) == pytest.approx(ahead)


def test_a_camera_that_looks_down_sees_the_floor_where_its_rays_meet_it():
    """Camera 1.5 m up, 30 degrees down: the middle of the image is 1.5 / tan(30) m ahead."""
    camera = Camera(640, 480, 500.0, 500.0, 320.0, 240.0)
    reach = 1.5 / math.tan(math.radians(30))
    rotation, position = level_pose(0.0, math.radians(30), 1.5, reach)
    world = np.array([[0.0, 0.0, 0.0], [0.0, 0.4, 0.0], [0.0, 0.0, 1.0]])
    seen = (world - position) @ rotation.T
    assert seen[0] == pytest.approx([0.0, 0.0, math.hypot(1.5, reach)], abs=1e-12)
    middle, right, above = camera.project(seen)
    assert middle == pytest.approx([320.0, 240.0])
    assert right[0] > 330 and right[1] == pytest.approx(240.0)
    assert above[1] < 230 and above[0] == pytest.approx(320.0)
