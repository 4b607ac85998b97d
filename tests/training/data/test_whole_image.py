"""Views of whole pictures: joints stay on their pixels, and the official steps are followed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from smap_ros.skeletons import MPI15
from smap_train.data.whole_image import View, view_of

from .bodies import body, picture

SIZE = (320, 192)


@pytest.fixture
def dots() -> tuple[np.ndarray, np.ndarray]:
    """A picture with a dot of its own colour at each joint, and the joints."""
    bodies = body()[None].copy()
    k = np.arange(15)
    bodies[0, :, 0], bodies[0, :, 1] = 60 + 50 * (k % 5), 50 + 50 * (k // 5)
    image = np.zeros((200, 340, 3), np.uint8)
    for joint in range(15):
        x, y = bodies[0, joint, :2].astype(int).tolist()
        cv2.circle(image, (x, y), 7, (80, 10 * joint + 60, 250 - 10 * joint), -1)
    return image, bodies


def test_a_plain_view_of_a_picture_of_that_size_changes_nothing():
    bodies = np.array([body(), body(0.6, 5)])
    image = picture(bodies)
    seen = view_of(image, bodies, View(), (160, 120))
    np.testing.assert_array_equal(seen.image, image)
    np.testing.assert_array_equal(seen.bodies, bodies)
    assert seen.scale == 1
    np.testing.assert_array_equal(seen.focal_px(), [180, 180])
    people = seen.people()
    np.testing.assert_array_equal(people.points_px, bodies[..., :2])
    np.testing.assert_array_equal(people.depth_cm, bodies[..., 2])


def test_a_mirrored_view_mirrored_again_is_the_first():
    bodies = np.array([body(), body(0.6, 5)])
    bodies[0, 4, 3] = 1
    image = picture(bodies)
    once = view_of(image, bodies, View(flip=True), (160, 120))
    left, right = MPI15.index("l_elbow"), MPI15.index("r_elbow")
    assert once.bodies[0, right, 3] == 1
    assert once.bodies[0, right, 0] == 159 - bodies[0, left, 0]
    np.testing.assert_array_equal(once.bodies[0, right, 2:7], bodies[0, left, 2:7])
    twice = view_of(once.image, once.bodies, View(flip=True), (160, 120))
    np.testing.assert_array_equal(twice.image, image)
    np.testing.assert_array_equal(twice.bodies, bodies)


@pytest.mark.parametrize("number", range(12))
def test_joints_stay_on_their_pixels(dots, number):
    image, bodies = dots
    view = View.draw(np.random.default_rng(number), scaled=number % 2 == 0)
    seen = view_of(image, bodies, view, SIZE)
    assert seen.image.shape == (SIZE[1], SIZE[0], 3)
    shown = seen.bodies[0, :, 3] > 0
    assert shown.sum() > 8
    order = list(MPI15.flip) if view.flip else list(range(15))
    for joint in np.flatnonzero(shown):
        x, y = np.rint(seen.bodies[0, joint, :2]).astype(int)
        expected = (80, 10 * order[joint] + 60, 250 - 10 * order[joint])
        got = seen.image[min(y, SIZE[1] - 1), min(x, SIZE[0] - 1)]
        np.testing.assert_allclose(got.astype(int), expected, atol=3)
    np.testing.assert_array_equal(seen.bodies[..., 7:], bodies[..., 7:])
    np.testing.assert_array_equal(np.sort(seen.bodies[..., 2]), np.sort(bodies[..., 2]))


def plain(image, x, y, view, size):
    """The official steps one by one, as the facts state them; without the flip."""
    w, h = size
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width // 2, height // 2), view.turn_deg, 1.0)
    c, s = abs(matrix[0, 0]), abs(matrix[0, 1])
    canvas = (int(height * s + width * c), int(height * c + width * s))
    matrix[0, 2] += canvas[0] / 2 - width // 2
    matrix[1, 2] += canvas[1] / 2 - height // 2
    turned = cv2.warpAffine(
        image, matrix, canvas, flags=cv2.INTER_CUBIC, borderValue=(128, 128, 128)
    )
    x, y = matrix[0] @ (x, y, 1), matrix[1] @ (x, y, 1)
    scale = min(w / canvas[0], h / canvas[1]) * view.zoom
    small = cv2.resize(turned, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    cx = int(width // 2 * scale + view.shift_px[0])
    cy = int(height // 2 * scale + view.shift_px[1])
    padded = np.pad(small, ((h, h), (w, w), (0, 0)), constant_values=128)
    top, left = h + cy - h // 2, w + cx - w // 2
    return padded[top : top + h, left : left + w], x * scale + w // 2 - cx, y * scale + h // 2 - cy


@pytest.mark.parametrize("number", range(4))
def test_a_view_is_the_official_one(dots, number):
    image, bodies = dots
    drawn = View.draw(np.random.default_rng(number), scaled=True)
    view = View(drawn.turn_deg, drawn.zoom, drawn.shift_px)
    seen = view_of(image, bodies, view, SIZE)
    for joint in (0, 7, 14):
        expected, x, y = plain(image, *bodies[0, joint, :2], view, SIZE)
        np.testing.assert_array_equal(seen.image, expected)
        np.testing.assert_allclose(seen.bodies[0, joint, :2], (x, y), atol=1e-9)


def test_a_joint_outside_of_the_cut_is_not_labelled_and_what_is_beyond_is_grey(dots):
    image, bodies = dots
    seen = view_of(image, bodies, View(zoom=2.0, shift_px=(40, 0)), SIZE)
    points, shown = seen.bodies[0, :, :2], seen.bodies[0, :, 3] > 0
    np.testing.assert_array_equal(shown, ((points >= 0) & (points < SIZE)).all(-1))
    assert not shown.all() and shown.any()
    far = view_of(image, bodies, View(shift_px=(40, 40)), SIZE)
    assert (far.image[-30:, -30:] == 128).all()


def test_views_are_drawn_from_the_official_ranges():
    views = [View.draw(np.random.default_rng(k), scaled=True) for k in range(400)]
    turns, zooms = [v.turn_deg for v in views], [v.zoom for v in views]
    shifts = np.array([v.shift_px for v in views])
    assert -10 <= min(turns) < -9 and 9 < max(turns) <= 10
    assert 0.8 <= min(zooms) < 0.82 and 1.08 < max(zooms) <= 1.1
    assert (shifts.min(0) >= -40).all() and (shifts.min(0) < -37).all()
    assert (shifts.max(0) <= 40).all() and (shifts.max(0) > 37).all()
    assert 0.4 < np.mean([v.flip for v in views]) < 0.6
    assert all(View.draw(np.random.default_rng(k), scaled=False).zoom == 1 for k in range(9))
