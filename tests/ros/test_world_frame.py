"""The camera's mounting from TF, over real DDS."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Header

from smap_ros.errors import InputError
from smap_ros.geometry.mounting import level_pose
from smap_ros.geometry.orientation import quaternion
from smap_ros.msg import BodyArray
from smap_ros.nodes.conversions import bodies_from_message, body_array
from smap_ros.nodes.smoother import SmootherNode
from smap_ros.skeletons import MPI15
from tests.ros.message_packages import end
from tests.ros.stamps import stamp_of
from tests.temporal.people import person

NODE, FRAME = "pose3d_node", "robot/camera_optical"
ENGINE = {"engine": "onnxruntime", "threads": 1}

# Says on /tf_static where the camera is, until it is ended.
PUBLISHER = """
import json, sys, rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from tf2_msgs.msg import TFMessage
parent, child, position, rotation = json.loads(sys.argv[1])
rclpy.init()
node = rclpy.create_node("static_transforms")
latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
publisher = node.create_publisher(TFMessage, "/tf_static", latched)
stamped = TransformStamped(child_frame_id=child)
stamped.header.frame_id = parent
t, q = stamped.transform.translation, stamped.transform.rotation
t.x, t.y, t.z = position
q.x, q.y, q.z, q.w = rotation
publisher.publish(TFMessage(transforms=[stamped]))
rclpy.spin(node)
"""


# Says on /tf, over and over, where the camera is at some times, until it is ended.
MOVING = """
import json, sys, time, rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage
parent, child, poses = json.loads(sys.argv[1])
rclpy.init()
node = rclpy.create_node("odometry")
publisher = node.create_publisher(TFMessage, "/tf", 100)
while True:
    for stamp, rotation in poses:
        stamped = TransformStamped(child_frame_id=child)
        stamped.header.frame_id = parent
        stamped.header.stamp = Time(sec=int(stamp), nanosec=round(stamp % 1 * 1e9))
        q = stamped.transform.rotation
        q.x, q.y, q.z, q.w = rotation
        publisher.publish(TFMessage(transforms=[stamped]))
    time.sleep(0.3)
"""


def refusal(observer) -> str:
    """Why the node is not configured."""

    def refused():
        status = observer.status(NODE)
        return status if status and status.level == DiagnosticStatus.ERROR else None

    return str(observer.wait(refused, "a node that says why it is not configured").message)


def first_people(observer, eye, bodies, pose):
    """The first message of people once TF says how the camera is mounted; see level_pose."""
    rotation, position = pose
    told = ["base_footprint", FRAME, list(position), list(quaternion(rotation.T))]
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER, json.dumps(told)])
    try:

        def first():
            eye.calibrate()
            eye.show()
            time.sleep(0.5)
            return next(iter(list(bodies)), None)

        return observer.wait(first, "the first people")
    finally:
        end(publisher)


def test_people_are_found_once_tf_says_how_the_camera_is_mounted(
    observer, start, make_eye, level_scene, level_bundle, with_tf2
):
    eye = make_eye(observer, level_scene.camera)
    start(NODE, bundle=str(level_bundle.folder), world_frame="base_footprint", **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()

    def without():
        eye.calibrate()
        eye.show()
        time.sleep(0.3)
        status = observer.status(NODE)
        return status if status and "TF doesn't connect" in status.message else None

    status = observer.wait(without, "a node that misses TF")
    assert status.level == DiagnosticStatus.ERROR and not bodies
    assert f"'{FRAME}' hangs on nothing" in status.message
    assert "robot_state_publisher" in status.message

    message = first_people(observer, eye, bodies, level_pose(0.0, np.radians(12.0), 1.3, ahead=0.4))
    people = sorted(bodies_from_message(message), key=lambda body: body.root[0])
    assert len(people) == 3
    for body, truth in zip(people, level_scene.joints, strict=True):
        assert np.linalg.norm(body.root - truth[2]) < 0.4


@pytest.mark.skipif(find_spec("tf2_msgs") is not None, reason="tf2_msgs is installed")
def test_a_world_frame_without_tf2_msgs_is_refused_with_what_to_do(observer, start, level_bundle):
    start(NODE, bundle=str(level_bundle.folder), world_frame="map", **ENGINE)
    reason = refusal(observer)
    assert "tf2_msgs isn't installed" in reason and "state camera_height" in reason


def test_a_model_that_needs_no_floor_refuses_a_world_frame(observer, start, scene_bundle):
    start(NODE, bundle=scene_bundle, world_frame="map", **ENGINE)
    assert "world_frame is 'map', but bundle 'scene' is of kind 'smap'" in refusal(observer)


def test_a_height_beside_a_world_frame_is_refused(observer, start, level_bundle):
    both = {"world_frame": "map", "camera_height": 1.0}
    start(NODE, bundle=str(level_bundle.folder), **both, **ENGINE)
    assert "camera_height is stated and world_frame is 'map'" in refusal(observer)


def test_a_person_keeps_the_id_while_the_camera_turns_as_tf_says(observer, start, with_tf2):
    """One person alone: nothing but TF can tell that the camera moved and they didn't."""
    start("smoother_node", fixed_frame="odom", estimate_turn=False)
    raw = observer.publisher(BodyArray, "bodies_raw")
    out = observer.collect(BodyArray, "bodies")
    observer.wait(raw.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("bodies"), "its publisher")
    yaw = 0.7
    still, turned = (0.0, 0.0, 0.0, 1.0), (0.0, -np.sin(yaw / 2), 0.0, np.cos(yaw / 2))
    poses = [(100.0, still), (100.2, still), (100.5, turned), (101.0, turned)]
    said = json.dumps(["odom", FRAME, poses])
    publisher = subprocess.Popen([sys.executable, "-c", MOVING, said])
    before, after = np.array([0.0, 0.0, 4.0]), np.array([np.sin(yaw), 0, np.cos(yaw)]) * 4

    def answer(stamp, place):
        header = Header(frame_id=FRAME, stamp=stamp_of(stamp))
        raw.publish(body_array([(person(place), False)], header, (1280, 720), MPI15))
        return observer.wait(
            lambda: next((m for m in list(out) if m.header == header), None), "the answer"
        )

    try:
        observer.wait(lambda: observer.node.count_publishers("/tf"), "TF")
        time.sleep(1.5)  # all of it, twice
        ids = [[b.id for b in answer(100.0, before).bodies]]
        ids += [[b.id for b in answer(stamp, after).bodies] for stamp in (100.6, 100.7)]
    finally:
        end(publisher)
    assert ids == [[0], [0], [0]]
    assert not any(body.predicted for m in out for body in m.bodies)


def test_a_fixed_frame_is_unknown_soon_after_the_newest_transform(observer, start, with_tf2):
    start("smoother_node", fixed_frame="odom")
    raw = observer.publisher(BodyArray, "bodies_raw")
    observer.wait(raw.get_subscription_count, "the node")
    said = json.dumps(["odom", FRAME, [(100.0, (0.0, 0.0, 0.0, 1.0))]])
    publisher = subprocess.Popen([sys.executable, "-c", MOVING, said])

    def message_at(stamp, word):
        # An image twice is told once; who is asked again is asked for the next microsecond.
        def told():
            header = Header(frame_id=FRAME, stamp=stamp_of(stamp + 1e-6 * next(again)))
            raw.publish(body_array([(person((0.0, 0.0, 4.0)), False)], header, (1280, 720), MPI15))
            time.sleep(0.2)
            status = observer.status("smoother_node")
            return status and word in status.message and status.message

        again = iter(range(10_000))
        return observer.wait(told, f"{word!r} at {stamp}")

    try:
        message_at(100.05, "running")
        told = message_at(100.2, "0.20 s newer than")
        assert "the camera's motion is unknown" in told and "which hold for 0.1 s" in told
    finally:
        end(publisher)


def test_a_fixed_frame_that_tf_lacks_is_told_in_the_smoothers_own_words(observer, start, with_tf2):
    start("smoother_node", fixed_frame="odom")
    raw = observer.publisher(BodyArray, "bodies_raw")
    observer.wait(raw.get_subscription_count, "the node")
    stamps = iter(range(100, 10_000))

    def blind():
        header = Header(frame_id=FRAME, stamp=stamp_of(float(next(stamps))))
        raw.publish(body_array([(person((0.0, 0.0, 4.0)), False)], header, (1280, 720), MPI15))
        time.sleep(0.2)
        status = observer.status("smoother_node")
        return status and "TF doesn't connect" in status.message and status.message

    told = observer.wait(blind, "a smoother that misses TF")
    assert "check the parameter fixed_frame, or leave it empty" in told
    assert "world_frame" not in told and "camera_height" not in told


@pytest.mark.skipif(find_spec("tf2_msgs") is not None, reason="tf2_msgs is installed")
def test_a_fixed_frame_without_tf2_msgs_is_refused_with_what_to_do(spin):
    with pytest.raises(InputError, match=r"fixed_frame is 'odom'.*leave it empty"):
        spin(SmootherNode, fixed_frame="odom")
