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

from smap_ros.geometry.mounting import level_pose
from smap_ros.geometry.orientation import quaternion
from smap_ros.msg import BodyArray
from smap_ros.nodes.conversions import bodies_from_message
from tests.ros.tf2_messages import end

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


def refusal(observer) -> str:
    """Why the node is not configured."""

    def refused():
        status = observer.status(NODE)
        return status if status and status.level == DiagnosticStatus.ERROR else None

    return str(observer.wait(refused, "a node that says why it is not configured").message)


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

    rotation, position = level_pose(0.0, np.radians(12.0), 1.3, ahead=0.4)
    pose = ["base_footprint", FRAME, list(position), list(quaternion(rotation.T))]
    publisher = subprocess.Popen([sys.executable, "-c", PUBLISHER, json.dumps(pose)])
    try:

        def first():
            eye.calibrate()
            eye.show()
            time.sleep(0.5)
            return next(iter(list(bodies)), None)

        message = observer.wait(first, "the first people")
    finally:
        end(publisher)
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
