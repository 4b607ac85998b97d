"""The tree of TF frames: chains, times between messages, and what is missing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.errors import CameraError
from smap_ros.geometry.mounting import Mounting, level_pose
from smap_ros.geometry.orientation import quaternion
from smap_ros.geometry.transforms import (
    HOLD,
    HOLD_TURNING,
    MEMORY,
    Transform,
    TransformTree,
)

# Optical frame (x right, y down, z forward) in a body frame (x forward, y left, z up).
OPTICAL = (-0.5, 0.5, -0.5, 0.5)
LEVEL = (0.0, 0.0, 0.0, 1.0)

angles = st.floats(-1.4, 1.4)


def about_y(angle: float) -> tuple[float, float, float, float]:
    """Nose down by an angle, in a body frame."""
    return (0.0, math.sin(angle / 2), 0.0, math.cos(angle / 2))


def robot(pitch: float = 0.3, hold: float = HOLD) -> TransformTree:
    """A camera 1.1 m above base_footprint that looks down; the robot drives about in odom."""
    tree = TransformTree(hold=hold)
    tree.add("base", Transform("base_footprint", (0.0, 0.0, 0.2), LEVEL), 0.0, fixed=True)
    tree.add("/camera", Transform("base", (0.1, 0.0, 0.9), about_y(pitch)), 0.0, fixed=True)
    tree.add("optical", Transform("camera", (0.0, 0.0, 0.0), OPTICAL), 0.0, fixed=True)
    for second in range(3):
        pose = Transform("odom", (1.0 * second, 0.0, 0.0), LEVEL)
        tree.add("base_footprint", pose, 100.0 + second, fixed=False)
    return tree


def test_a_camera_on_a_robot_knows_its_height_and_tilt():
    tree = robot()
    for world in ("base_footprint", "odom", "/odom"):
        mounting = tree.mounting("optical", world, 101.0)
        assert mounting.height == pytest.approx(1.1)
        assert mounting.pitch == pytest.approx(0.3) and mounting.roll == pytest.approx(0, abs=1e-9)


@given(roll=angles, pitch=angles, height=st.floats(0.1, 5))
def test_any_mounting_comes_back_from_tf(roll, pitch, height):
    rotation, position = level_pose(roll, pitch, height, ahead=2.0)
    x, y, z = (float(v) for v in position)
    tree = TransformTree()
    tree.add("optical", Transform("world", (x, y, z), quaternion(rotation.T)), 0.0, fixed=True)
    got = tree.mounting("optical", "world", 5.0)
    assert (got.height, got.pitch, got.roll) == pytest.approx((height, pitch, roll), abs=1e-6)
    again, there = got.pose(2.0)
    np.testing.assert_allclose(again, rotation, atol=1e-6)
    np.testing.assert_allclose(there, position)


def test_the_world_may_hang_on_the_camera_and_frames_on_a_common_one():
    tree = TransformTree()
    tree.add("footprint", Transform("optical", (0.0, 1.5, 0.0), (0.5, -0.5, 0.5, 0.5)), 0.0,
             fixed=True)  # fmt: skip
    down = tree.pose("optical", "footprint", 1.0)
    np.testing.assert_allclose(down @ tree.pose("footprint", "optical", 1.0), np.eye(4), atol=1e-12)
    tree.add("lamp", Transform("optical", (1.0, 0.0, 0.0), LEVEL), 0.0, fixed=True)
    np.testing.assert_allclose(tree.pose("lamp", "lamp", 1.0), np.eye(4), atol=1e-12)
    between = tree.pose("lamp", "footprint", 1.0)
    np.testing.assert_allclose(between, down @ tree.pose("lamp", "optical", 1.0), atol=1e-12)


@pytest.mark.parametrize(
    ("stamp", "x"), [(100.0, 0), (100.25, 0.25), (101.9, 1.9), (102.0, 2), (102.0 + HOLD, 2)]
)
def test_between_messages_poses_are_interpolated_and_the_newest_is_held(stamp, x):
    pose = robot().pose("base", "odom", stamp)
    np.testing.assert_allclose(pose[:3, 3], (x, 0, 0.2), atol=1e-9)


@pytest.mark.parametrize("hold", [HOLD_TURNING, HOLD])
def test_who_asks_says_how_long_the_newest_holds(hold):
    tree = robot(hold=hold)
    assert tree.pose("base", "odom", 102.0 + hold)[0, 3] == 2
    too_old = rf"{hold + 0.01:.2f} s newer than .*, which hold for {hold:g} s; .* often enough"
    with pytest.raises(CameraError, match=too_old):
        tree.pose("base", "odom", 102.01 + hold)


def test_rotations_between_messages_stay_rotations():
    tree = TransformTree()
    for time, angle, sign in ((0.0, 0.0, 1), (1.0, 0.4, -1)):  # q and -q are one rotation
        x, y, z, w = about_y(angle)
        turned = Transform("base", (0.0, 0.0, 1.0), (sign * x, sign * y, sign * z, sign * w))
        tree.add("head", turned, time, fixed=False)
    pose = tree.pose("head", "base", 0.5)[:3, :3]
    np.testing.assert_allclose(pose @ pose.T, np.eye(3), atol=1e-12)
    assert math.asin(pose[0, 2]) == pytest.approx(0.2, abs=1e-3)


def test_what_to_do_without_tf_is_in_the_words_of_who_asks():
    asked = TransformTree(parameter="fixed_frame", instead="leave it empty")
    with pytest.raises(CameraError, match=r"check the parameter fixed_frame, or leave it empty$"):
        asked.pose("eye", "odom", 1.0)
    usual = "check the parameter world_frame, or state camera_height and camera_pitch_deg"
    with pytest.raises(CameraError, match=usual):
        TransformTree().pose("eye", "odom", 1.0)


@pytest.mark.parametrize(
    ("frame", "world", "stamp", "message"),
    [
        ("eye", "odom", 101.0, "doesn't connect.*'eye' hangs on nothing.*robot_state_publisher"),
        (
            "optical",
            "map",
            101.0,
            "'optical' hangs on camera > base > base_footprint > odom, 'm",
        ),
        ("optical", "odom", 102.1 + HOLD, "0.60 s newer than the transforms of frame 'base_foot"),
        ("optical", "odom", 99.0, "older than all of the transforms of frame 'base_footprint'"),
    ],
)
def test_what_is_missing_is_named_with_what_to_do(frame, world, stamp, message):
    with pytest.raises(CameraError, match=message):
        robot().mounting(frame, world, stamp)


def test_old_transforms_above_the_world_do_not_matter():
    assert robot().mounting("optical", "base_footprint", 500.0).height == pytest.approx(1.1)
    tree = robot()
    tree.add("floor", Transform("base", (0.0, 0.0, -0.2), LEVEL), 0.0, fixed=True)
    assert tree.mounting("optical", "floor", 500.0).height == pytest.approx(1.1)


def test_a_camera_below_the_floor_and_a_loop_are_refused():
    tree = robot()
    tree.add("lens", Transform("camera", (0.0, 0.0, -0.1), OPTICAL), 0.0, fixed=True)
    with pytest.raises(CameraError, match=r"0\.10 m below the floor of 'camera'; expected a"):
        tree.mounting("lens", "camera", 0.0)
    tree.add("odom", Transform("base", (0.0, 0.0, 0.0), LEVEL), 0.0, fixed=True)
    with pytest.raises(CameraError, match="a loop"):
        tree.pose("optical", "map", 101.0)


def test_unusable_and_late_transforms_are_left_out_and_a_clock_set_back_starts_anew():
    tree = robot()
    broken = Transform("odom", (math.nan, 0.0, 0.0), LEVEL)
    tree.add("base_footprint", broken, 103.0, fixed=False)
    tree.add("base_footprint", Transform("odom", (0.0, 0.0, 0.0), (0.0,) * 4), 103.0, fixed=False)
    tree.add("base_footprint", Transform("odom", (9.0, 0.0, 0.0), LEVEL), 100.5, fixed=False)
    assert tree.pose("base_footprint", "odom", 100.5)[0, 3] == pytest.approx(0.5)
    back = 101.0 - 2 * MEMORY
    tree.add("base_footprint", Transform("odom", (7.0, 0.0, 0.0), LEVEL), back, fixed=False)
    assert tree.pose("base_footprint", "odom", back)[0, 3] == 7.0


def test_memory_is_bounded():
    tree = TransformTree()
    for k in range(300):
        tree.add("wheel", Transform("base", (0.0, 0.0, 0.0), LEVEL), float(k), fixed=False)
    for k in range(2000):
        tree.add(f"invented{k}", Transform("base", (0.0, 0.0, 0.0), LEVEL), 0.0, fixed=True)
    assert len(tree._fixed) < 1001 and len(tree._moving["wheel"]) <= MEMORY + 1
    tree.add("wheel", Transform("base", (1.0, 0.0, 0.0), LEVEL), 300.0, fixed=False)
    assert tree.pose("wheel", "base", 300.0)[0, 3] == 1.0


def test_mountings_point_up_out_of_the_floor():
    assert Mounting.above(np.array([0.0, -1.0, 0.0]), 1.2) == Mounting(1.2, -0.0, 0.0)
    assert Mounting.above(np.array([0.0, 0.0, -1.0]), 2.5).pitch == pytest.approx(math.pi / 2)


def moved(height: float) -> Transform:
    return Transform("map", (0.0, 0.0, height), LEVEL)


@pytest.mark.parametrize("jump", [8.0, 2.0, 0.7])
def test_a_simulation_that_is_reset_is_followed_before_long(jump):
    tree = TransformTree()
    for k in range(200):
        tree.add("camera", moved(1.0), 50 + k / 20, fixed=False)
    start = 50 + 199 / 20 - jump
    for k in range(30):
        tree.add("camera", moved(2.5), start + k / 20, fixed=False)
        if k / 20 > HOLD:
            assert tree.pose("camera", "map", start + k / 20)[2, 3] == 2.5
    assert tree.pose("camera", "map", start)[2, 3] == 2.5  # of the first ones, too


def test_stragglers_and_a_second_publisher_that_is_late_cost_nothing():
    tree = TransformTree()
    for k in range(100):
        tree.add("camera", moved(1.0), 50 + k / 20, fixed=False)
    newest = 50 + 99 / 20
    for late in (0.9, 0.8):
        tree.add("camera", moved(9.0), newest - late, fixed=False)
    for ago in (0.0, 0.85, 2.0):
        assert tree.pose("camera", "map", newest - ago)[2, 3] == 1.0
    for k in range(1, 200):
        tree.add("camera", moved(1.0), newest + k / 20, fixed=False)
        for half in (0.0, 0.025):
            tree.add("camera", moved(1.0), newest + k / 20 - 1.0 + half, fixed=False)
        assert tree.pose("camera", "map", newest + k / 20)[2, 3] == 1.0


def test_the_newest_message_says_whether_a_frame_moves():
    """As in tf2: a driver that tells a fixed frame on /tf, too, and on /tf_static once more."""
    tree = TransformTree()
    low, high = (Transform("base", (0.0, 0.0, z), OPTICAL) for z in (0.5, 1.1))
    tree.add("optical", low, 0.0, fixed=True)
    tree.add("optical", high, 100.0, fixed=False)
    with pytest.raises(CameraError, match="newer than the transforms"):
        tree.mounting("optical", "base", 160.0)
    tree.add("optical", low, 161.0, fixed=True)
    for stamp in (100.0, 161.0, 1000.0):
        assert tree.mounting("optical", "base", stamp).height == 0.5
    assert tree.frames == ((), ("optical",))
