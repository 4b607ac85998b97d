"""The generated messages: they import, keep their fields over the wire, and are documented."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from geometry_msgs.msg import Point
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smap_ros.bodies import INFERRED_SCORE
from smap_ros.msg import Body, BodyArray, SkeletonInfo

ROOT = Path(__file__).resolve().parents[2]
MESSAGES = sorted((ROOT / "msg").glob("*.msg"))

float32s = st.floats(width=32, allow_nan=False, allow_infinity=False)
bodies = st.builds(
    lambda number, score, joints, xyz: Body(
        id=number,
        score=score,
        joints=joints,
        positions=[Point(x=x, y=y, z=z) for x, y, z in xyz],
        pixels=[p for x, y, _ in xyz for p in (float(np.float32(x)), float(np.float32(y)))],
    ),
    st.integers(-1, 2**31 - 1),
    st.floats(0, 1, width=32),
    st.lists(st.integers(0, 255), max_size=24),
    st.lists(st.tuples(float32s, float32s, float32s), max_size=24),
)


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


@given(st.lists(bodies, max_size=4), st.integers(0, 2**32 - 1))
def test_body_array_survives_serialisation(people, stamp):
    message = BodyArray(skeleton="mpi15", image_width=1280, image_height=720, bodies=people)
    message.header.frame_id = "camera_optical_frame"
    message.header.stamp.nanosec = stamp
    assert over_the_wire(message) == message


def test_skeleton_info_survives_serialisation():
    message = SkeletonInfo(
        name="mpi15",
        joint_names=["neck", "head_top", "pelvis"],
        limbs=[0, 1, 0, 2],
        root=2,
        model="smap_lite",
        model_version="1",
        engine="openvino",
    )
    assert over_the_wire(message) == message


def test_new_body_is_untracked_and_has_no_joints():
    body = Body()
    assert body.id == Body.UNTRACKED == -1
    assert len(body.joints) == len(body.positions) == len(body.pixels) == len(body.scores) == 0
    assert math.isclose(body.pose.orientation.w, 1.0)  # a valid rotation, even if unused


def test_a_guessed_joint_has_the_score_that_the_message_names():
    assert math.isclose(Body.INFERRED_SCORE, INFERRED_SCORE, rel_tol=1e-6)
    assert Body().depth_std == 0  # not known


def test_rclpy_and_bag_readers_agree_on_the_bytes():
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in MESSAGES:
        store.register(get_types_from_msg(path.read_text(), f"smap_ros/msg/{path.stem}"))
    sent = BodyArray(skeleton="mpi15", bodies=[Body(id=7, joints=[2, 5], pixels=[1.5, 2.5, 3, 4])])
    read = store.deserialize_cdr(serialize_message(sent), "smap_ros/msg/BodyArray")
    assert read.skeleton == "mpi15"
    assert [body.id for body in read.bodies] == [7]
    np.testing.assert_array_equal(read.bodies[0].pixels, [1.5, 2.5, 3, 4])
    back = store.serialize_cdr(read, "smap_ros/msg/BodyArray")
    assert deserialize_message(bytes(back), BodyArray) == sent


@pytest.mark.parametrize("path", MESSAGES, ids=lambda path: path.stem)
def test_every_block_of_fields_is_explained(path):
    blocks = [block.splitlines() for block in path.read_text().strip().split("\n\n")]
    undocumented = [block[0] for block in blocks if not block[0].startswith("#")]
    assert not undocumented, f"{path.name}: fields without a comment above them: {undocumented}"
