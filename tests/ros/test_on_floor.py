"""People on the floor that TF tells, over real DDS."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.geometry.mounting import level_pose
from smap_ros.msg import BodyArray
from smap_ros.nodes.conversions import bodies_from_message
from smap_ros.skeletons import MPI15
from tests.ros.test_world_frame import ENGINE, NODE, first_people, refusal

ROOTS = [[-1.0, 0.5, 4.0], [0.3, 0.5, 5.0], [1.4, 0.5, 6.5]]
HEIGHT = 1.47  # of the camera; ankles are 0.88 m below pelvises, and 0.09 m above the floor
WRONG = 1.2  # as much farther does the network tell people


@pytest.fixture
def too_far(scene_maker, make_bundle, scene_onnx):
    scene = scene_maker(ROOTS)
    labels = scene.maps()
    labels["root_depth"], labels["bone_depth"] = (
        labels[name] * WRONG for name in ("root_depth", "bone_depth")
    )
    return scene, str(make_bundle(scene, scene_onnx(labels), depth_error=0.15).folder)


def test_people_stand_where_tf_says_the_floor_is(observer, start, make_eye, too_far, with_tf2):
    scene, bundle = too_far
    eye = make_eye(observer, scene.camera)
    start(NODE, bundle=bundle, on_floor=True, world_frame="base_footprint", **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()
    message = first_people(observer, eye, bodies, level_pose(0.0, 0.0, HEIGHT, ahead=0.2))
    people = bodies_from_message(message)
    status = observer.wait(lambda: observer.status(NODE), "diagnostics")
    values = {value.key: value.value for value in status.values}
    assert values["camera above the floor [m]"] == f"{HEIGHT:.4g}"
    told = np.array([body.root[2] for body in people]) / scene.joints[:, MPI15.root, 2]
    assert len(people) == 3 and (np.abs(told - 1) < 0.35 * (WRONG - 1)).all()


def test_a_floor_that_nobody_tells_is_asked_for(observer, start, too_far):
    start(NODE, bundle=too_far[1], on_floor=True, **ENGINE)
    reason = refusal(observer)
    assert "on_floor is true, but where the floor is isn't known" in reason
    assert "world_frame" in reason and "camera_height" in reason
