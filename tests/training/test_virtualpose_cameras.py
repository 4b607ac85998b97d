"""VirtualPose's cameras: from angles to pixels to map cells."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from smap_ros.camera import Camera
from smap_ros.geometry.lenses import widest
from smap_ros.geometry.mounting import level_pose
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.virtualpose.cameras import (
    BEHIND_PIXEL,
    depth_unit_mm,
    make_camera,
    orbit_pose,
    project,
    reach,
    to_cells,
)
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.golden_scene import golden_scene

INTRINSICS = (230.0, 230.0, 160.0, 90.0)
IMAGE_SIZE = (320, 180)


def test_cameras_from_angles_and_their_pixels_are_the_official_ones():
    golden = Golden(GOLDENS / "virtualpose")
    camera = golden_scene(golden.folder, golden.arrays)[1]
    rotation, position = orbit_pose(0.02, 0.12, 0.5, 5200.0, 1000.0)
    np.testing.assert_allclose(camera.rotation[0], rotation, atol=1e-7)
    np.testing.assert_allclose(camera.position_mm[0], position, atol=1e-3)
    points = torch.from_numpy(golden.arrays["people_3d"]).float().reshape(1, -1, 3)
    pixels, depth = project(camera, points)
    np.testing.assert_allclose(pixels[0], golden.arrays["proj_xy"], atol=1e-3)
    np.testing.assert_allclose(depth[0], golden.arrays["proj_z"], atol=1e-2)
    assert float(depth_unit_mm(camera, VirtualPoseConfig())) == pytest.approx(711.1111051771376)


def test_lenses_bend_pixels_like_opencv():
    distortion = (-0.2, 0.05, 0.002, -0.001, 0.01)
    camera = make_camera(np.eye(3), np.zeros(3), INTRINSICS, IMAGE_SIZE, distortion)
    points = np.random.default_rng(0).uniform([-800, -500, 1500], [800, 500, 4000], (50, 3))
    pixels, depth = project(camera, torch.from_numpy(points).float()[None])
    expected = Camera(*IMAGE_SIZE, *INTRINSICS, distortion).project(points)
    np.testing.assert_allclose(pixels[0], expected, atol=1e-3)
    np.testing.assert_allclose(depth[0], points[:, 2], rtol=1e-6)


TURNS_BACK = [(-0.3,), (-0.3728, 0.2037, 0.0022, 0.0014, -0.0723), (-0.5, 0.1, 0.0, 0.0, 0.0)]


@pytest.mark.parametrize("distortion", TURNS_BACK)
def test_what_a_lens_does_not_reach_is_outside_of_the_picture(distortion):
    """By the polynomial alone, some of it would be inside, among what is really there."""
    camera = make_camera(np.eye(3), np.zeros(3), INTRINSICS, IMAGE_SIZE, distortion)
    view = Camera(*IMAGE_SIZE, *INTRINSICS, (*distortion, *[0.0] * (5 - len(distortion))))
    tangents = np.linspace(0.0, 8.0, 400)
    limit = float(reach(camera.distortion)[0])
    assert limit == pytest.approx(widest(False, view.distortion), rel=2e-3) and limit < 1.6
    for x, y in ((1.0, 0.0), (-0.8, 0.6)):
        points = 2000 * np.stack([tangents * x, tangents * y, np.ones(400)], axis=1)
        pixels, _ = project(camera, torch.from_numpy(points).float()[None])
        seen, expected = pixels[0].numpy() - INTRINSICS[2:], view.project(points) - INTRINSICS[2:]
        apart = np.linalg.norm(seen - expected, axis=1)
        assert (apart <= 0.02 + 3e-3 * np.linalg.norm(expected, axis=1)).all()
        out = seen @ (x, y)
        assert (np.diff(out) > 0).all()
    plain = make_camera(np.eye(3), np.zeros(3), INTRINSICS, IMAGE_SIZE)
    assert reach(plain.distortion).tolist() == [np.inf]


def test_points_behind_the_camera_are_far_outside():
    camera = make_camera(np.eye(3), np.zeros(3), INTRINSICS, IMAGE_SIZE)
    pixels, depth = project(camera, torch.tensor([[[100.0, 50.0, -2000.0], [0.0, 0.0, 0.0]]]))
    assert (pixels == BEHIND_PIXEL).all()
    assert depth[0].tolist() == [-2000.0, 0.0]


def test_images_are_resized_isotropically_into_the_middle():
    config = VirtualPoseConfig(image_size=(256, 128), map_size=(64, 32))
    corners = torch.tensor([[[0.0, 0.0], [320.0, 180.0], [160.0, 90.0]]])
    cells = to_cells(corners, torch.tensor([[320.0, 180.0]]), config)[0]
    zoom = 128 / 180
    left = (256 - 320 * zoom) / 2
    expected = [[left / 4, 0.0], [64 - left / 4, 32.0], [32.0, 16.0]]
    torch.testing.assert_close(cells, torch.tensor(expected))


@pytest.mark.parametrize("pitch", [-0.3, 0.0, 0.5])
def test_a_level_robot_is_a_virtual_camera_without_yaw_or_roll(pitch):
    virtual, position = orbit_pose(0.0, pitch, 0.0, 5000.0, 1000.0)
    mounted, place = level_pose(0.0, pitch, position[2], position[0])
    np.testing.assert_allclose(mounted, virtual, atol=1e-12)
    np.testing.assert_allclose(place, position, atol=1e-9)


@settings(max_examples=30)
@given(roll=st.floats(-0.5, 0.5), pitch=st.floats(-0.5, 0.5), height=st.floats(0.3, 2.5))
def test_world_points_land_where_the_robots_camera_sees_them(roll, pitch, height):
    """The projection inside the networks is ``Camera.project`` in the optical frame."""
    distortion = (-0.1, 0.02, 0.001, -0.002, 0.0)
    rotation, position = level_pose(roll, pitch, height * 1000, 4000.0)
    camera = make_camera(rotation, position, INTRINSICS, IMAGE_SIZE, distortion)
    points = np.random.default_rng(0).uniform([-3000, -800, 0], [1500, 800, 2000], (40, 3))
    pixels, depth = project(camera, torch.from_numpy(points).float()[None])
    seen = (points - position) @ rotation.T / 1000
    expected = Camera(*IMAGE_SIZE, *INTRINSICS, distortion).project(seen)
    np.testing.assert_allclose(pixels[0], expected, atol=0.02)
    np.testing.assert_allclose(depth[0] / 1000, seen[:, 2], atol=1e-5)
