"""VirtualPose in the pose node: another bundle, and how the camera is mounted, is all it takes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from smap_ros.msg import BodyArray
from smap_ros.nodes.conversions import bodies_from_message

NODE = "pose3d_node"
ENGINE = {"engine": "onnxruntime", "threads": 1}


def test_images_become_people_with_virtualpose(
    observer, start, make_eye, level_scene, level_bundle
):
    eye = make_eye(observer, level_scene.camera)
    mounted = {"camera_height": 1.3, "camera_pitch_deg": 12.0}
    start(NODE, bundle=str(level_bundle.folder), **mounted, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()
    observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher of people")
    shown = []

    def first():  # best effort: until the first gets through
        eye.calibrate()
        stamp = eye.show()
        shown.append(stamp)
        time.sleep(0.5)
        return next(iter(list(bodies)), None)

    message = observer.wait(first, "the first people")
    assert (message.header.stamp.sec, message.header.stamp.nanosec) in shown
    assert (message.skeleton, message.header.frame_id) == ("mpi15", "robot/camera_optical")
    people = sorted(bodies_from_message(message), key=lambda body: body.root[0])
    assert len(people) == 3
    for body, truth in zip(people, level_scene.joints, strict=True):
        assert np.abs(body.joints_2d - level_scene.camera.project(truth)).max() < 10
        assert np.linalg.norm(body.root - truth[2]) < 0.4


@pytest.mark.parametrize("parameter", ["camera_height", "camera_pitch_deg"])
def test_a_model_without_a_floor_refuses_to_be_told_of_one(
    observer, start, scene_bundle, parameter
):
    start(NODE, bundle=scene_bundle, **{parameter: 1.5}, **ENGINE)

    def refused():
        status = observer.status(NODE)
        return status if status and status.level == DiagnosticStatus.ERROR else None

    reason = observer.wait(refused, "a node that says why it is not configured").message
    assert f"unknown options ['{parameter}']; kind smap takes" in reason
