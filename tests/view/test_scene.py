"""Frames to what is drawn, as arrays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.camera import Camera
from smap_ros.geometry.mounting import Mounting
from smap_ros.geometry.transforms import Transform
from smap_ros.view.floor import stated_floor
from smap_ros.view.scene import (
    FIELD_OF_VIEW,
    camera_pose,
    from_above,
    frustum,
    overview,
    people_of,
    rods,
    through_camera,
    trail_segments,
    trails,
    wxyz,
)
from smap_ros.viz.colors import BACKGROUND, person_color
from tests.view.conftest import MOUNTING, standing

FLOOR = stated_floor(MOUNTING)


def test_people_become_balls_rods_and_labels():
    bodies = standing(np.array([[3.0, -1.0], [5.0, 1.0]]))
    people = people_of(bodies)
    assert people.joints.shape == (30, 3) and people.limbs.shape == (28, 2, 3)
    assert people.joint_colors.shape == (30, 3) and people.limb_colors.shape == (28, 3)
    np.testing.assert_array_equal(people.joints[15:], bodies[1].joints_3d)
    first, second = people.labels
    distance = float(np.linalg.norm(bodies[1].root))
    assert second.text.startswith("#1") and f"{distance:.2f} m" in second.text
    assert first.color == person_color(0)
    # Above the head: less y.
    assert first.position[1] < float(bodies[0].joints_3d[:, 1].min())


def test_missing_joints_and_what_hangs_on_them_are_not_drawn():
    (body,) = standing(np.array([[3.0, 0.0]]))
    wrist = body.skeleton.index("l_wrist")
    scores, points = body.scores.copy(), body.joints_3d.copy()
    scores[wrist], points[wrist] = 0, np.nan
    people = people_of([replace(body, scores=scores, joints_3d=points)])
    assert people.joints.shape == (14, 3) and people.limbs.shape == (13, 2, 3)
    assert np.isfinite(people.joints).all() and np.isfinite(people.limbs).all()
    nobody = replace(body, scores=np.zeros_like(scores))
    assert people_of([nobody]).labels == () and people_of([]).limbs.shape == (0, 2, 3)


def test_who_is_predicted_is_dim():
    bodies = standing(np.array([[3.0, 0.0], [4.0, 0.0]]))
    seen, carried = people_of(bodies, [False, True]).labels
    assert seen.color == person_color(0)
    away = [np.abs(np.subtract(c, BACKGROUND)).sum() for c in (carried.color, person_color(1))]
    assert away[0] < away[1] / 2


directions = st.lists(st.floats(-2, 2), min_size=3, max_size=3).filter(
    lambda v: np.linalg.norm(v) > 1e-3
)


@given(start=st.lists(st.floats(-5, 5), min_size=3, max_size=3), way=directions)
def test_a_rod_reaches_from_one_end_to_the_other(start, way):
    segment = np.array([[start, np.add(start, way)]], np.float32)
    (centre,), (turn,), (scale,) = rods(segment, 0.02)
    w, x, y, z = (float(v) for v in turn)
    rotation = Transform("", (0, 0, 0), (x, y, z, w)).matrix()[:3, :3]
    ends = [centre + rotation @ np.array([0, 0, side * scale[2] / 2]) for side in (-1, 1)]
    np.testing.assert_allclose(ends, segment[0], atol=2e-3)
    assert scale[:2].tolist() == pytest.approx([0.02, 0.02])


def test_a_rod_straight_back_and_one_without_length_are_finite():
    segments = np.array([[[0, 0, 1], [0, 0, 0]], [[1, 1, 1], [1, 1, 1]]], np.float32)
    assert all(np.isfinite(values).all() for values in rods(segments, 0.1))
    assert rods(np.zeros((0, 2, 3), np.float32), 0.1)[1].shape == (0, 4)


def test_trails_are_the_ways_of_those_who_are_tracked(frames):
    frames[3] = frames[3].with_bodies(frames[3].bodies[:1])
    frames[4] = frames[4].with_bodies(tuple(replace(body, id=None) for body in frames[4]))
    ways = trails(frames)
    assert {identity: len(way) for identity, way in ways.items()} == {0: 19, 1: 18}
    np.testing.assert_array_equal(ways[0][-1], frames[-1].bodies[0].root)
    assert trails(frames[:1]) == {}


def test_trails_lie_on_the_floor_and_fade(frames):
    segments, colors = trail_segments(trails(frames), FLOOR)
    assert segments.shape == colors.shape == (38, 2, 3)
    np.testing.assert_allclose(segments[..., 2], 0.01, atol=1e-6)
    # The first of them walks away from the camera, 0.6 m to its left.
    np.testing.assert_allclose(segments[:19, 0, 0], -(3 + 0.1 * np.arange(19)), atol=0.02)
    np.testing.assert_allclose(segments[:19, :, 1], -0.6, atol=0.02)
    assert colors[0].sum() < colors[18].sum()
    assert trail_segments({}, FLOOR)[0].shape == (0, 2, 3)


@given(
    fx=st.floats(200, 900), fy=st.floats(200, 900), cx=st.floats(200, 400), cy=st.floats(100, 300)
)
def test_the_frustum_ends_at_the_edges_of_the_picture(fx, fy, cx, cy):
    camera = Camera(640, 360, fx, fy, cx, cy)
    pyramid = frustum(camera, depth=2.0)
    corners = camera.project(pyramid.segments[:4, 1].astype(np.float64))
    expected = [[-0.5, -0.5], [639.5, -0.5], [639.5, 359.5], [-0.5, 359.5]]
    np.testing.assert_allclose(corners, expected, atol=1e-2)
    middle = camera.project(np.array([pyramid.centre]))
    np.testing.assert_allclose(middle, [[319.5, 179.5]], atol=1e-6)
    assert pyramid.size == pytest.approx((640 / fx * 2, 360 / fy * 2))


def test_the_camera_stands_at_its_height_and_looks_ahead_and_down():
    rotation, position = camera_pose(Mounting(1.4, math.radians(30)))
    np.testing.assert_allclose(position, [0, 0, 1.4])
    np.testing.assert_allclose(rotation @ [0, 0, 1], [-math.cos(math.pi / 6), 0, -0.5], atol=1e-12)
    np.testing.assert_allclose(rotation @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    w, x, y, z = wxyz(rotation)
    again = Transform("", (0, 0, 0), (x, y, z, w)).matrix()[:3, :3]
    np.testing.assert_allclose(again, rotation, atol=1e-12)


def sees(viewpoint, point, opening: float) -> bool:
    """Whether a point is within a round view."""
    ahead = np.subtract(viewpoint.target, viewpoint.position)
    there = np.subtract(point, viewpoint.position)
    share = ahead @ there / np.linalg.norm(ahead) / np.linalg.norm(there)
    return math.acos(min(1.0, share)) < opening / 2


@pytest.mark.parametrize("distance", [1.5, 4.0, 12.0])
def test_an_overview_sees_everybody_from_above_the_camera(distance):
    bodies = standing(np.array([[distance, -1.0], [distance + 1, 1.0]]))
    view = overview(bodies, FLOOR)
    rotation, position = camera_pose(MOUNTING)
    assert view.position[2] > position[2]
    for body in bodies:
        assert sees(view, rotation @ body.root + position, math.radians(60))
    above = from_above(bodies, FLOOR)
    assert above.position[2] > 4
    np.testing.assert_allclose(above.position[:2], above.target[:2], atol=0.02)


def test_an_overview_of_nobody_is_finite_and_the_cameras_view_is_its_own():
    assert np.isfinite([*overview([], FLOOR).position, *overview([], FLOOR).target]).all()
    camera = Camera.from_fov(640, 360, math.radians(70))
    view, opening = through_camera(camera, FLOOR)
    rotation, position = camera_pose(MOUNTING)
    np.testing.assert_allclose(view.position, position)
    np.testing.assert_allclose(np.subtract(view.target, position), rotation @ [0, 0, 4])
    assert opening == pytest.approx(2 * math.atan(180 / camera.fy))


@pytest.mark.parametrize(
    "places", [[], [[1.5, 0.0]], [[3.0, -4.0], [3.0, 4.0]], [[2.0, -1.0], [14.0, 1.0]]]
)
def test_from_above_everybody_and_the_camera_are_seen(places):
    bodies = standing(np.array(places).reshape(-1, 2))
    view = from_above(bodies, FLOOR)
    rotation, position = camera_pose(MOUNTING)
    points = [
        position,
        *(joint for body in bodies for joint in body.joints_3d @ rotation.T + position),
    ]
    below = view.position[2] - np.array(points)[:, 2]
    aside = np.abs(np.array(points)[:, :2] - view.target[:2]).max(axis=1)
    assert (below > 0).all() and (aside < below * math.tan(FIELD_OF_VIEW / 2)).all()
