"""The camera's mounting from TF, over real DDS.

PyPI has no wheel of tf2_msgs; where no distribution brings it, its one message is generated from
its definition by the same generators that make ours.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from smap_ros.mounting import level_pose
from smap_ros.msg import BodyArray
from smap_ros.nodes.conversions import bodies_from_message
from smap_ros.orientation import quaternion

NODE, FRAME = "pose3d_node", "robot/camera_optical"
ENGINE = {"engine": "onnxruntime", "threads": 1}

PACKAGE = """<package format="3"><name>tf2_msgs</name><version>0.0.0</version>
<description>test</description><maintainer email="a@b.cd">test</maintainer><license>BSD</license>
<buildtool_depend>ament_cmake</buildtool_depend><depend>geometry_msgs</depend>
<member_of_group>rosidl_interface_packages</member_of_group>
<export><build_type>ament_cmake</build_type></export></package>
"""
BUILD = """cmake_minimum_required(VERSION 3.22)
project(tf2_msgs LANGUAGES C CXX)
find_package(ament_cmake REQUIRED)
find_package(rosidl_default_generators REQUIRED)
foreach(package builtin_interfaces std_msgs geometry_msgs)
  find_package(${package} REQUIRED)
  set(target ${package}::${package}__rosidl_generator_py)
  get_target_property(folders ${target} INTERFACE_INCLUDE_DIRECTORIES)
  list(FILTER folders EXCLUDE REGEX "^/opt/python/")
  set_target_properties(${target} PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${folders}")
endforeach()
rosidl_generate_interfaces(tf2_msgs msg/TFMessage.msg DEPENDENCIES geometry_msgs)
ament_package()
"""
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


@pytest.fixture(scope="module")
def tf2_environment(tmp_path_factory) -> dict[str, str]:
    """What processes need to find tf2_msgs; building it takes ten seconds."""
    if find_spec("tf2_msgs") is not None:
        return {}
    folder = tmp_path_factory.mktemp("tf2_msgs")
    source, build, install = folder / "source", folder / "build", folder / "install"
    (source / "msg").mkdir(parents=True)
    (source / "package.xml").write_text(PACKAGE)
    (source / "CMakeLists.txt").write_text(BUILD)
    (source / "msg" / "TFMessage.msg").write_text("geometry_msgs/TransformStamped[] transforms\n")
    adapter = importlib.util.find_spec("rosidl_adapter")
    assert adapter is not None and adapter.origin is not None
    prefix = str(Path(adapter.origin).parents[4])
    configure = [
        *("cmake", "-G", "Ninja", "-S", source, "-B", build),
        f"-DCMAKE_INSTALL_PREFIX={install}",
        f"-DPython3_EXECUTABLE={sys.executable}",
        "-DBUILD_TESTING=OFF",
    ]
    environment = {**os.environ, "AMENT_PREFIX_PATH": prefix, "CMAKE_PREFIX_PATH": prefix}
    for command in (configure, ["cmake", "--build", build, "--target", "install"]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    python = next(install.glob("**/tf2_msgs/msg/__init__.py")).parents[2]
    return {
        "PYTHONPATH": os.pathsep.join([str(python), os.environ["PYTHONPATH"]]),
        "LD_LIBRARY_PATH": os.pathsep.join(
            [str(install / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        ),
    }


@pytest.fixture
def with_tf2(tf2_environment, monkeypatch) -> None:
    for name, value in tf2_environment.items():
        monkeypatch.setenv(name, value)


def refusal(observer) -> str:
    """Why the node is not configured."""

    def refused():
        status = observer.status(NODE)
        return status if status and status.level == DiagnosticStatus.ERROR else None

    return str(observer.wait(refused, "a node that says why it is not configured").message)


@pytest.mark.timeout(300)
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
        publisher.terminate()
        publisher.wait(15)
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
