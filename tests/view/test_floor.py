"""Where the floor is, from the people who stand on it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.evaluation.virtual.truth import read_truth
from smap_ros.geometry.mounting import Mounting
from smap_ros.paths import config_directory
from smap_ros.view.floor import ASSUMED_HEIGHT, Known, guess_floor, moved, stated_floor
from tests.view.conftest import standing

PLACES = np.stack([np.linspace(2, 6, 9), np.linspace(-1.5, 1.5, 9)], axis=1)


@given(
    height=st.floats(0.4, 3.0),
    pitch=st.floats(-20, 50),
    roll=st.floats(-10, 10),
)
def test_the_mounting_is_found_again_from_people_who_stand(height, pitch, roll):
    mounting = Mounting(height, math.radians(pitch), math.radians(roll))
    floor = guess_floor(standing(PLACES, mounting))
    assert floor.known is Known.FEET
    # The test's person leans a little: 3 cm over 1.4 m.
    assert floor.mounting.pitch == pytest.approx(mounting.pitch, abs=math.radians(5))
    assert floor.mounting.roll == pytest.approx(mounting.roll, abs=math.radians(2))
    assert floor.mounting.height == pytest.approx(height, abs=0.3)


def test_the_floor_of_the_demo_is_found_from_its_true_people():
    frames = read_truth(config_directory() / "demo" / "truth.json")
    floor = guess_floor(body for frame in frames for body in frame)
    # As truth.json states it: normal (0, -0.989, -0.148), 1.55 m.
    assert floor.mounting.height == pytest.approx(1.55, abs=0.1)
    assert math.degrees(floor.mounting.pitch) == pytest.approx(8.5, abs=1.5)
    assert math.degrees(floor.mounting.roll) == pytest.approx(0, abs=1)


def test_few_people_leave_the_camera_level_and_the_floor_below_the_lowest_ankle():
    level = Mounting(1.2)
    floor = guess_floor(standing(PLACES[:2], level))
    assert floor.mounting.pitch == floor.mounting.roll == 0
    assert floor.mounting.height == pytest.approx(1.2, abs=0.05)
    assert floor.known is Known.FEET


def test_who_sits_or_lies_tells_no_direction():
    people = standing(PLACES, Mounting(1.2))
    knees = [people[0].skeleton.index(f"{side}_knee") for side in "lr"]
    sitting = []
    for body in people:
        points = body.joints_3d.copy()
        points[knees] += np.array([0, 0.3, -0.5], np.float32)
        sitting.append(replace(body, joints_3d=points))
    assert guess_floor(sitting).mounting.pitch == 0


def test_a_few_wrong_people_do_not_tilt_the_floor():
    people = list(standing(PLACES, Mounting(1.2)))
    true = guess_floor(people).mounting
    fallen = [replace(b, joints_3d=b.joints_3d[:, [1, 0, 2]]) for b in people[:2]]
    found = guess_floor(people + fallen).mounting
    assert found.pitch == pytest.approx(true.pitch, abs=math.radians(2))
    assert found.height == pytest.approx(true.height, abs=0.1)


def test_without_ankles_the_lowest_joint_counts_and_without_people_a_usual_height():
    (person,) = standing(PLACES[:1], Mounting(1.2))
    ankles = [person.skeleton.index(f"{side}_ankle") for side in "lr"]
    points = person.joints_3d.copy()
    points[ankles] = np.nan
    floor = guess_floor([replace(person, joints_3d=points)])
    assert floor.known is Known.ASSUMED
    assert floor.mounting.height == pytest.approx(float(np.nanmax(points[:, 1])) + 0.0, abs=1e-5)
    assert guess_floor([]).mounting == Mounting(ASSUMED_HEIGHT)
    empty = replace(person, joints_3d=np.full_like(points, np.nan))
    assert guess_floor([empty]).mounting == Mounting(ASSUMED_HEIGHT)


def test_people_above_the_camera_give_no_floor_below_it():
    (person,) = standing(PLACES[:1], Mounting(1.2))
    flying = replace(person, joints_3d=person.joints_3d - np.array([0, 9, 0], np.float32))
    assert guess_floor([flying]).mounting.height == ASSUMED_HEIGHT


@pytest.mark.parametrize("far", [2e4, 1e18, 1e30, 3e38])
@pytest.mark.parametrize("shape", [(15, 3), (15, 1)])
def test_who_is_nowhere_tells_nothing(far, shape):
    """Numbers that no place has, of one person or of so many that they would decide."""
    people = standing(PLACES, Mounting(1.2))
    rng = np.random.default_rng(0)
    for count in (1, 9):
        shifts = (far * (1 + rng.random((count, *shape)) / 10)).astype(np.float32)
        pairs = zip(people, shifts, strict=False)
        away = [replace(b, joints_3d=b.joints_3d + shift) for b, shift in pairs]
        assert guess_floor([*people, *away]) == guess_floor(people)
        assert guess_floor(away).mounting == Mounting(ASSUMED_HEIGHT)


def test_people_of_whom_every_other_stands_on_the_head_tell_no_direction():
    people = standing(PLACES[:8], Mounting(1.2))
    turned = [replace(body, joints_3d=-body.joints_3d) for body in people]
    floor = guess_floor([*people, *turned])
    assert floor.mounting.pitch == floor.mounting.roll == 0


def test_small_changes_do_not_move_the_floor():
    here = stated_floor(Mounting(1.5, 0.1))
    assert not moved(here, stated_floor(Mounting(1.53, 0.11)))
    assert moved(here, stated_floor(Mounting(1.56, 0.1)))
    assert moved(here, stated_floor(Mounting(1.5, 0.14)))
    assert moved(here, stated_floor(Mounting(1.5, 0.1, 0.04)))
