"""Skeletons on images: what is painted where, and what is left alone."""

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_ros.viz.colors import PALETTE, bgr, person_color, side_color
from smap_ros.viz.draw import DrawStyle, bone_thickness, draw_frame, draw_resized, label

PLAIN = DrawStyle(labels=False)


def with_first(frame, **changes):
    """The frame with only its first person, changed."""
    return frame.with_bodies((replace(frame.bodies[0], **changes),))


def changed(image, drawn):
    return (image != drawn).any(axis=2)


def test_bones_carry_the_persons_colour_by_side(scene, people):
    drawn = draw_frame(scene.image(200), people, PLAIN)
    body = people.bodies[0]
    for a, b in (("neck", "pelvis"), ("l_knee", "l_ankle"), ("r_knee", "r_ankle")):
        middle = (body.joints_2d[MPI15.index(a)] + body.joints_2d[MPI15.index(b)]) / 2
        x, y = middle.round().astype(int)
        side = MPI15.side(MPI15.index(b)) if b != "pelvis" else "middle"
        expected = bgr(side_color(person_color(body.id), side))
        assert np.abs(drawn[y, x].astype(int) - expected).max() <= 12, (a, b)


def test_left_is_lighter_than_right():
    for color in PALETTE:
        left, right = side_color(color, "left"), side_color(color, "right")
        assert sum(left) > sum(color) > sum(right)


def test_the_input_is_not_painted_and_nobody_paints_nothing(scene, people):
    image = scene.image(120)
    drawn = draw_frame(image, people.with_bodies(()))
    assert (image == 120).all()
    assert not changed(image, drawn).any()
    draw_frame(image, people)
    assert (image == 120).all()


def test_missing_joints_and_their_bones_are_left_out(scene, people):
    joint = MPI15.index("r_wrist")
    body = people.bodies[0]
    gone = [np.array(a) for a in (body.joints_3d, body.joints_2d, body.scores)]
    for array, value in zip(gone, (np.nan, np.nan, 0), strict=True):
        array[joint] = value
    frame = with_first(people, joints_3d=gone[0], joints_2d=gone[1], scores=gone[2])
    image = scene.image(120)
    marks = changed(image, draw_frame(image, frame, PLAIN))
    x, y = body.joints_2d[joint].round().astype(int)
    assert not marks[y - 3 : y + 4, x - 3 : x + 4].any()


def test_weak_joints_are_hollow(scene, people):
    joint = MPI15.index("head_top")
    x, y = people.bodies[0].joints_2d[joint].round().astype(int)
    scores = np.array(people.bodies[0].scores)
    scores[joint] = 0.1
    image = scene.image(120)
    strong = draw_frame(image, with_first(people), PLAIN)[y, x]
    weak = draw_frame(image, with_first(people, scores=scores), PLAIN)[y, x]
    assert strong.max() > 150 > 60 > weak.max()


def test_near_people_are_drawn_over_far_ones(scene, people):
    near, far = people.bodies[0], people.bodies[1]
    same_place = replace(far, joints_2d=near.joints_2d)
    image = scene.image(120)
    first = draw_frame(image, people.with_bodies((near, same_place)), PLAIN)
    second = draw_frame(image, people.with_bodies((same_place, near)), PLAIN)
    alone = draw_frame(image, people.with_bodies((near,)), PLAIN)
    np.testing.assert_array_equal(first, second)
    x, y = near.joints_2d[MPI15.root].round().astype(int)
    np.testing.assert_array_equal(first[y, x], alone[y, x])


def test_lines_are_thicker_for_larger_people(people):
    near, far = people.bodies[0], people.bodies[-1]
    assert bone_thickness(near, 720) > bone_thickness(far, 720) >= 1


@pytest.mark.parametrize("scale", [1e-3, 1e3, 1e9])
def test_points_far_outside_do_no_harm(scene, people, scale):
    pixels = (people.bodies[0].joints_2d - 500) * np.float32(scale)
    frame = with_first(people, joints_2d=pixels.astype(np.float32))
    assert draw_frame(scene.image(120), frame).shape == (720, 1280, 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (20, 2000), (2000, 20)])
def test_any_picture_can_be_drawn_on(people, size):
    image = np.zeros((*size, 3), np.uint8)
    drawn = draw_frame(image, people, DrawStyle(caption="frame 31"))
    assert drawn.shape == image.shape


def test_labels_name_id_and_distance(people):
    body = people.bodies[0]
    distance = float(np.linalg.norm(body.root))
    assert label(body) == f"#0  {distance:.2f} m"
    assert label(replace(body, id=None)) == f"{distance:.2f} m"
    nowhere = np.full_like(body.joints_3d, np.nan)
    assert label(replace(body, id=None, joints_3d=nowhere)) == ""


def test_labels_of_people_side_by_side_do_not_cover_each_other(scene, people):
    body = people.bodies[0]
    shift = body.joints_2d + np.float32(4)
    image = scene.image(120)
    one = draw_frame(image, people.with_bodies((body,)))
    two = draw_frame(image, people.with_bodies((body, replace(body, id=5, joints_2d=shift))))

    above = int(np.nanmin(body.joints_2d[:, 1])) - 8

    def plate(picture):
        return (np.abs(picture[:above].astype(int) - bgr(person_color(0))).max(axis=2) < 30).sum()

    assert plate(one) > 500
    assert plate(two) > 0.98 * plate(one)


def test_resized_drawing_is_where_the_people_are(scene, people):
    frame = with_first(people)
    small = draw_resized(scene.image(120), frame, 320, PLAIN)
    assert small.shape == (180, 320, 3)
    rows, columns = np.nonzero(changed(np.full_like(small, 120), small))
    left, top, width, height = (v / 4 for v in people.bodies[0].box)
    edges = [columns.min(), rows.min(), columns.max(), rows.max()]
    np.testing.assert_allclose(edges, [left, top, left + width, top + height], atol=6)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32)])
def test_other_arrays_are_refused(people, image):
    with pytest.raises(InputError, match="expected uint8"):
        draw_frame(image, people)
