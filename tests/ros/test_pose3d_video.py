"""The pose node with a model that sees people over time: another bundle, and perhaps a delay."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bundles.bundle import load_bundle
from smap_ros.estimators import create_estimator
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_image, bodies_from_message
from smap_ros.nodes.pipeline import Arrival, LiveCameras, Pipeline
from tests.ros.pose3d_client import ENGINE, GREY, NODE, stamp_of
from tests.video_bundle import CORNERS, FACES, write_video_bundle

DELAY = 2


@pytest.fixture
def video_bundle(bundles, scene, crop_manifest):
    """A video bundle beside the one that sees the scene, which it names as its first stage."""
    folder = Path(bundles(scene)).parent
    return str(write_video_bundle(folder, crop_manifest()).folder)


def started(start, observer, eye, **parameters):
    """The node, ready for images, and what it publishes."""
    node = start(NODE, fov_deg=80.0, **parameters, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()
    observer.wait(lambda: observer.node.count_publishers("bodies_raw"), "a publisher of people")
    return node, bodies


def test_people_of_a_video_model_are_published(start, observer, eye, video_bundle):
    infos = observer.collect(SkeletonInfo, "skeleton_info", qos.LATCHED)
    node, bodies = started(start, observer, eye, bundle=video_bundle)
    shown = []

    def answered():  # best effort: until the first gets through
        shown.append(eye.show())
        time.sleep(0.2)
        return next(iter(bodies), None)

    message = observer.wait(answered, "people")
    assert stamp_of(message) in shown and message.skeleton == "mpi15"
    people = bodies_from_message(message)
    assert sorted(body.id for body in people) == [0, 1, 2]
    for body in people:
        assert body.present.all() and np.isfinite(body.joints_3d).all()
    info = observer.wait(lambda: next(iter(infos), None), "the joint set")
    assert (info.model, info.name) == ("sway", "mpi15")
    values = observer.wait(
        lambda: (v := observer.values(NODE)) and "model" in v and v, "diagnostics"
    )
    assert "sway 1 after scene 1 on onnxruntime" in values["model"]
    assert "Traceback" not in node.log


def test_delayed_people_have_the_stamp_of_their_image(start, observer, eye, video_bundle):
    node, bodies = started(start, observer, eye, bundle=video_bundle, delay=DELAY)
    shown, first = [], []

    def answered():
        shown.append(eye.show())
        time.sleep(0.2)
        if bodies and not first:
            first.append(len(shown))
        return len(bodies) >= 4

    observer.wait(answered, "people of several images")
    stamps = [stamp_of(message) for message in list(bodies)]
    assert stamps == sorted(set(stamps)) and set(stamps) <= set(shown)
    # Nothing is said before two more images were seen, and the newest two have no answer yet.
    assert first[0] > DELAY
    time.sleep(0.5)
    assert not {stamp_of(message) for message in list(bodies)} & set(shown[-DELAY:])
    values = observer.wait(
        lambda: (v := observer.values(NODE)) and "frames rejected" in v and v, "diagnostics"
    )
    assert values["frames rejected"] == "0"
    assert "Traceback" not in node.log and "ERROR" not in node.log


def test_meshes_of_delayed_people_have_the_stamp_of_their_image(start, observer, eye, video_bundle):
    arrays = observer.collect(MarkerArray, "meshes")
    fast = {"delay": DELAY, "mesh_rate": 30.0}
    node, bodies = started(start, observer, eye, bundle=video_bundle, **fast)
    bright, grey = [], []

    def seen():
        bright.append(eye.show())
        time.sleep(0.2)
        return len(arrays) >= 3

    def gone():
        grey.append(eye.show(eye.image(GREY)))
        time.sleep(0.2)
        return any(m.action == Marker.DELETE for m in arrays[-1].markers)

    observer.wait(seen, "meshes of several images")
    observer.wait(gone, "the end of the meshes")
    people = {stamp_of(m): m for m in list(bodies)}
    stamps = [stamp_of(array.markers[0]) for array in list(arrays)]
    # One for each image that is answered, and none for those that are pending.
    assert stamps == sorted(set(stamps)) and set(stamps) <= set(people)
    for array, stamp in zip(arrays[:-1], stamps[:-1], strict=True):
        assert stamp in bright
        roots = {b.id: (b.pose.position.x, b.pose.position.y) for b in people[stamp].bodies}
        assert {m.id for m in array.markers} == set(roots) == {0, 1, 2}
        for marker in array.markers:
            assert marker.header == people[stamp].header and marker.action == Marker.ADD
            points = np.array([[p.x, p.y] for p in marker.points])
            still = CORNERS[FACES[1], :2]  # of the triangle that doesn't sway
            assert len(points) == FACES.size
            assert np.abs(points[3:6] - (roots[marker.id] + still)).max() < 0.3
    # Whoever is gone is so in the first image without them, not when it was shown.
    assert stamps[-1] in grey[:-DELAY] and not people[stamps[-1]].bodies
    assert {m.header.frame_id for m in arrays[-1].markers} == {eye.header().frame_id}
    assert "Traceback" not in node.log


def test_a_delay_the_model_has_no_use_for_is_refused(observer, start, scene_bundle):
    node = start(NODE, bundle=scene_bundle, delay=1, **ENGINE)
    status = observer.wait(
        lambda: (s := observer.status(NODE)) and "not configured:" in s.message and s,
        "a node that says why it is not configured",
    )
    assert "'delay'" in status.message and "Traceback" not in node.log


@pytest.mark.parametrize("others", [[5.0, 5.1, 5.2], [20.4, 20.5, 20.6]])
def test_no_people_are_lost_where_stamps_go_back_or_repeat(scene, video_bundle, others):
    """A bag that begins anew, or a driver that stamps two images alike."""
    cameras = LiveCameras()
    cameras.fov_deg = 80.0
    pipeline = Pipeline(create_estimator(load_bundle(video_bundle), delay=DELAY, **ENGINE), cameras)
    stamps = [20.0, 20.1, 20.2, 20.3, 20.4, *others]
    told = []
    for number, time_ in enumerate(stamps):
        header = Header(frame_id="eye")
        header.stamp.sec, header.stamp.nanosec = int(time_), round(time_ % 1 * 10) * 10**8
        message = array_to_image(scene.image(160 + 6 * number), header)
        told += pipeline.process(Arrival(message, 0.0, time.monotonic()))
    assert not any(outcome.problem for outcome in told)
    messages = [outcome.message for outcome in told if outcome.message is not None]
    got = [m.header.stamp.sec + round(m.header.stamp.nanosec / 1e9, 1) for m in messages]
    assert got == stamps[:-DELAY]
    assert {len(message.bodies) for message in messages} == {3}
    pipeline.close()
