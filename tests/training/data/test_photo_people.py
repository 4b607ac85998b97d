"""Labelled photos as records of people who are looked at one by one."""

from dataclasses import replace

import numpy as np

from smap_ros.skeletons import MPI15
from smap_train.data.photo_people import PhotoPeople, photo_record

from ..test_lite_data import DEPTH, UPRIGHT, person


def test_a_photo_is_a_person_with_depths_about_the_root():
    record = photo_record(person(), "archive, photo 3")
    made = record.person(MPI15)
    np.testing.assert_allclose(made.pixels, UPRIGHT)
    depth = made.points[:, 2] - made.points[MPI15.root, 2]
    np.testing.assert_allclose(depth, DEPTH, atol=1e-6)
    # A centimetre a pixel: the shoulders, 40 pixels apart, are 40 cm apart.
    left, right = MPI15.index("l_shoulder"), MPI15.index("r_shoulder")
    assert abs(made.points[left, 0] - made.points[right, 0] - 0.4) < 1e-6
    assert made.known.all() and made.placed.all() and record.place == "archive, photo 3"
    np.testing.assert_allclose(record.box, [32, 20, 57, 161])
    np.testing.assert_array_equal(record.read(), person().image())
    assert (record.width, record.height) == (120, 200)


def test_without_all_depths_there_are_none():
    depth = DEPTH.copy()
    depth[4] = np.nan
    unlabelled = UPRIGHT.copy()
    unlabelled[MPI15.root] = np.nan
    for changed in (
        {"depth": depth}, {"metres_per_pixel": float("nan")}, {"joints_2d": unlabelled}
    ):  # fmt: skip
        made = photo_record(replace(person(), **changed), "").person(MPI15)
        assert not made.placed.any() and made.known.sum() >= 14


def test_an_unlabelled_joint_needs_no_depth():
    joints, depth = UPRIGHT.copy(), DEPTH.copy()
    joints[3], depth[3] = np.nan, np.nan
    made = photo_record(replace(person(), joints_2d=joints, depth=depth), "").person(MPI15)
    assert not made.known[3] and not made.placed[3]
    assert made.placed.sum() == 14


def test_boxes_end_where_the_photo_does():
    joints = UPRIGHT.copy()
    joints[1], joints[5] = (-30, -20), (300, 250)
    record = PhotoPeople([replace(person(), joints_2d=joints)], "archive")[0]
    np.testing.assert_allclose(record.box, [0, 0, 120, 200])
    assert record.place == "archive, photo 0"
