"""The markers node over DDS: people in; markers, poses, pictures and TF out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from importlib.util import find_spec

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bags.messages import image_from_message
from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.geometry.orientation import torso_orientation
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_image, bodies_from_message, body_array
from smap_ros.nodes.markers import MarkersNode
from smap_ros.skeletons import MPI15
from tests.ros.message_packages import end
from tests.ros.stamps import stamp_of

CAMERA = Camera.from_fov(640, 480, np.deg2rad(70))
# Standing, facing the camera: own left is the picture's right.
SHAPE = np.array(
    [
        [0, -0.5, 0], [0, -0.8, 0], [0, 0, 0],
        [0.2, -0.5, 0], [0.3, -0.2, 0], [0.3, 0.1, 0], [0.1, 0, 0], [0.1, 0.4, 0], [0.1, 0.9, 0],
        [-0.2, -0.5, 0], [-0.3, -0.2, 0], [-0.3, 0.1, 0], [-0.1, 0, 0], [-0.1, 0.4, 0],
        [-0.1, 0.9, 0],
    ]
)  # fmt: skip
KINDS = {"joints": Marker.SPHERE_LIST, "limbs": Marker.LINE_LIST, "labels": Marker.TEXT_VIEW_FACING}


def person(root, identity, missing=()):
    joints = (np.asarray(root, float) + SHAPE).astype(np.float32)
    pixels = CAMERA.project(joints).astype(np.float32)
    scores = np.full(15, 0.8, np.float32)
    for joint in missing:
        joints[joint], pixels[joint], scores[joint] = np.nan, np.nan, 0
    return Body(joints, pixels, scores, 0.8, identity)


def message(time_, *people, predicted=False):
    header = Header(frame_id="eye", stamp=stamp_of(time_))
    return body_array([(p, predicted) for p in people], header, (640, 480), MPI15)


@pytest.fixture
def wired(spin, observer):
    node = spin(MarkersNode)
    bodies = observer.publisher(BodyArray, "bodies")
    markers = observer.collect(MarkerArray, "markers")
    poses = observer.collect(PoseArray, "poses")
    observer.wait(bodies.get_subscription_count, "the node")
    observer.wait(
        lambda: (
            observer.node.count_publishers("markers") and observer.node.count_publishers("poses")
        ),
        "its publishers",
    )
    time.sleep(0.2)  # the publishers' side of the matching

    def through(sent):
        count = len(markers)
        bodies.publish(sent)
        observer.wait(lambda: len(markers) > count and len(poses) > count, "markers and poses")
        return markers[-1].markers, poses[-1]

    through.node = node
    through.bodies = bodies
    return through


def keys(markers, action):
    return {(m.ns, m.id) for m in markers if m.action == action}


def everything(*identities):
    return {(ns, k) for ns in KINDS for k in identities}


def test_markers_keep_their_ids_and_only_those_who_vanished_are_deleted(wired):
    a, b, c = person((0, 0, 3), 4), person((1, 0, 4), 7), person((-1, 0, 5), 9)
    markers, _ = wired(message(1.0, a, b))
    assert keys(markers, Marker.ADD) == everything(4, 7) and not keys(markers, Marker.DELETE)
    markers, _ = wired(message(1.1, b, c))
    assert keys(markers, Marker.ADD) == everything(7, 9)
    assert keys(markers, Marker.DELETE) == everything(4)
    markers, _ = wired(message(1.2, b, c))
    assert keys(markers, Marker.ADD) == everything(7, 9) and not keys(markers, Marker.DELETE)
    markers, _ = wired(message(1.3))
    assert keys(markers, Marker.DELETE) == everything(7, 9) and not keys(markers, Marker.ADD)
    markers, _ = wired(message(1.4))
    assert markers == []
    assert not any(m.action == Marker.DELETEALL for m in markers)


def test_markers_are_where_the_joints_are(wired):
    body = person((0.5, 0, 3), 2, missing=(5, 8))
    markers, _ = wired(message(1.0, body))
    found = {m.ns: m for m in markers}
    assert {ns: m.type for ns, m in found.items()} == KINDS
    assert all(m.header.frame_id == "eye" and m.header.stamp == stamp_of(1.0) for m in markers)
    points = np.array([(p.x, p.y, p.z) for p in found["joints"].points])
    np.testing.assert_allclose(points, body.joints_3d[body.present], atol=1e-6)
    assert len(found["joints"].colors) == 13
    assert len(found["limbs"].points) == len(found["limbs"].colors) == 2 * 12
    assert found["labels"].text.startswith("#2") and "3.04 m" in found["labels"].text
    assert found["labels"].pose.position.y < points[:, 1].min()
    assert all(m.scale.x > 0 and m.pose.orientation.w == 1 for m in markers)


def test_predicted_people_are_faint(wired):
    solid, _ = wired(message(1.0, person((0, 0, 3), 0)))
    faint, _ = wired(message(1.1, person((0, 0, 3), 0), predicted=True))
    assert {c.a for m in solid for c in m.colors} == {1.0}
    assert {round(c.a, 3) for m in faint for c in m.colors} == {0.4}


def test_poses_are_in_the_order_of_the_people_and_face_as_the_torso_does(wired):
    people = [person((0, 0, 3), 1), person((1, 0, 2), 5)]
    _, poses = wired(message(1.0, *people))
    assert [p.position.z for p in poses.poses] == pytest.approx([3, 2])
    assert poses.header.frame_id == "eye"
    q = poses.poses[0].orientation
    rotation = rotation_of((q.x, q.y, q.z, q.w))
    # Chest towards the camera, own left to the picture's right, head up.
    np.testing.assert_allclose(rotation, np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]]), atol=1e-6)


def rotation_of(quaternion):
    x, y, z, w = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def test_torso_orientation_follows_every_turn_and_needs_a_torso():
    upright = rotation_of(torso_orientation(person((0, 0, 0), 0)))
    rng = np.random.default_rng(0)
    for _ in range(200):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        body = person((0, 0, 0), 0)
        turned = Body((SHAPE @ turn.T).astype(np.float32), body.joints_2d, body.scores, 0.8)
        np.testing.assert_allclose(
            rotation_of(torso_orientation(turned)), turn @ upright, atol=1e-5
        )
    assert torso_orientation(person((0, 0, 3), 0, missing=(0,))) is None  # no neck
    assert torso_orientation(person((0, 0, 3), 0, missing=(3, 6))) is None  # no pair of sides
    assert torso_orientation(person((0, 0, 3), 0, missing=(3,))) is not None  # hips are enough


PLAIN = np.full((480, 640, 3), 90, np.uint8)


def annotated(wired, observer, images, pictures, *, predicted=False):
    """The picture of somebody 3 m away on a plain image, sent until it comes."""

    def drawn():
        sent = message(time.time(), person((0, 0, 3), 3), predicted=predicted)
        images.publish(array_to_image(PLAIN, sent.header))
        time.sleep(0.1)
        wired(sent)
        time.sleep(0.1)
        return [p for p in pictures if p.header == sent.header]

    return observer.wait(drawn, "a picture")[0]


def test_pictures_are_drawn_only_while_somebody_looks(wired, observer):
    images = observer.publisher(Image, "image", qos.SENSOR)
    time.sleep(0.6)
    assert images.get_subscription_count() == 0
    pictures = observer.collect(Image, "image_annotated", qos.SENSOR)
    observer.wait(images.get_subscription_count, "the node subscribes the images")
    canvas = image_from_message(annotated(wired, observer, images, pictures))
    assert canvas.shape == (480, 640, 3)
    x, y = CAMERA.project(np.array([0.0, -0.25, 3.0])).round().astype(int)  # the spine
    assert np.abs(canvas[y, x].astype(int) - 90).max() > 30
    np.testing.assert_array_equal(canvas[400:, :100], PLAIN[400:, :100])
    # The picture is of that image: people of an image that never came get none.
    count = len(pictures)
    wired(message(5.0, person((0, 0, 3), 3)))
    time.sleep(0.3)
    assert len(pictures) == count


def test_pictures_wait_for_people_who_come_many_images_later(spin):
    node = spin(MarkersNode)
    annotator = node._annotator
    annotator._subscription = object()  # somebody looks
    late = [message(k / 30, person((0, 0, 3), 3)) for k in range(60)]
    try:
        for one in late:
            annotator._keep(array_to_image(np.full((48, 64, 3), 90, np.uint8), one.header))
        annotator.annotate(late[0], bodies_from_message(late[0]))
        assert (annotator.drawn, annotator.missed, annotator.problem) == (1, 0, "")
    finally:
        annotator._subscription = None


def test_who_is_not_seen_is_drawn_thinner(wired, observer):
    images = observer.publisher(Image, "image", qos.SENSOR)
    pictures = observer.collect(Image, "image_annotated", qos.SENSOR)
    observer.wait(images.get_subscription_count, "the node subscribes the images")

    def inked(predicted):
        picture = annotated(wired, observer, images, pictures, predicted=predicted)
        return (image_from_message(picture) != PLAIN).any(axis=2)[100:].sum()  # without the label

    assert inked(True) < 0.9 * inked(False)


def test_pictures_that_nobody_gets_are_counted_with_the_reason(wired, observer, monkeypatch):
    monkeypatch.setattr("smap_ros.nodes.annotator.SETTLED", 0.3)
    images = observer.publisher(Image, "image", qos.SENSOR)
    observer.collect(Image, "image_annotated", qos.SENSOR)
    observer.wait(images.get_subscription_count, "the node subscribes the images")

    def told(words):
        wired(message(time.time(), person((0, 0, 3), 3)))
        status = observer.status(NODE)
        return status and status.level == DiagnosticStatus.WARN and words in status.message

    observer.wait(lambda: told("no images come on /image"), "a warning of no images")

    def others():
        header = Header(frame_id="eye", stamp=stamp_of(time.time() - 100))
        images.publish(array_to_image(np.zeros((48, 64, 3), np.uint8), header))
        return told("the people come later than their images are kept")

    observer.wait(others, "a warning of people without their images")
    assert int(observer.values(NODE)["pictures missed"]) >= 3


# --- TF -----------------------------------------------------------------------------------------

NODE = "markers_node"
# Writes down each message of /tf, until it is ended.
LISTENER = """
import json, sys, rclpy
from tf2_msgs.msg import TFMessage
def write(message):
    found = []
    for stamped in message.transforms:
        t, q = stamped.transform.translation, stamped.transform.rotation
        stamp = stamped.header.stamp.sec, stamped.header.stamp.nanosec
        pose = (t.x, t.y, t.z), (q.x, q.y, q.z, q.w)
        found.append((stamped.child_frame_id, stamped.header.frame_id, stamp, *pose))
    print(json.dumps(found), flush=True)
rclpy.init()
node = rclpy.create_node("tf_listener")
node.create_subscription(TFMessage, "/tf", write, 100)
rclpy.spin(node)
"""


@pytest.fixture
def tf_messages(with_tf2, tmp_path):
    """What arrived on /tf: for each message its transforms."""
    path = tmp_path / "tf.jsonl"
    with path.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-c", LISTENER], stdout=file)
    yield lambda: [json.loads(line) for line in path.read_text().split("\n")[:-1]]
    end(process)


def started(observer, start):
    """The node with TF, and what sends it people and waits for their markers."""
    node = start(NODE, tf=True)
    bodies = observer.publisher(BodyArray, "bodies")
    markers = observer.collect(MarkerArray, "markers")
    observer.wait(bodies.get_subscription_count, "the node")
    observer.wait(lambda: observer.node.count_publishers("markers"), "its publisher")
    time.sleep(0.2)  # the publishers' side of the matching

    def through(sent):
        count = len(markers)
        bodies.publish(sent)
        observer.wait(lambda: len(markers) > count, "markers")

    return node, through


def turned(body, turn):
    """A person turned about their pelvis."""
    joints = body.root + (body.joints_3d - body.root) @ turn.T
    return Body(joints.astype(np.float32), body.joints_2d, body.scores, body.score, body.id)


def test_tracked_people_have_tf_frames_for_as_long_as_they_are_there(observer, start, tf_messages):
    node, through = started(observer, start)
    observer.wait(lambda: observer.node.count_subscribers("/tf"), "the listener")
    observer.wait(
        lambda: (through(message(1.0, person((0, 0, 9), 99))), tf_messages())[-1], "the first frame"
    )
    ahead, back = person((0, 0.1, 3), 4), np.diag([-1.0, 1.0, -1.0])
    away = turned(person((1, 0, 4), 7), back)
    untracked, formless = person((-1, 0, 5), None), person((2, 0, 5), 8, missing=(0,))
    through(message(2.5, ahead, untracked, away, formless))
    through(message(2.75, away))
    through(message(3.0))
    through(message(3.25, formless))
    through(message(3.5, ahead))

    def until_the_last():
        found = [m for m in tf_messages() if not any(one[0] == "body_99" for one in m)]
        return found if found and found[-1] and found[-1][0][2] == [3, 500_000_000] else None

    first, second, last = observer.wait(until_the_last, "frames")
    assert [(one[0], one[1], one[2]) for one in first] == [
        ("body_4", "eye", [2, 500_000_000]),
        ("body_7", "eye", [2, 500_000_000]),
    ]
    assert [(one[0], one[2]) for one in second] == [("body_7", [2, 750_000_000])]
    assert [one[0] for one in last] == ["body_4"]
    np.testing.assert_allclose([one[3] for one in first], [(0, 0.1, 3), (1, 0, 4)], atol=1e-6)
    # Columns: out of the chest, to the own left, to the head; in the optical frame.
    facing = np.array([[0, 1, 0], [0, 0, -1], [-1, 0, 0]])
    np.testing.assert_allclose(rotation_of(first[0][4]), facing, atol=1e-6)
    np.testing.assert_allclose(rotation_of(first[1][4]), back @ facing, atol=1e-6)
    status = observer.wait(lambda: observer.status(NODE), "diagnostics")
    assert status.level == DiagnosticStatus.OK
    assert "WARN" not in node.log and "ERROR" not in node.log


def test_people_without_a_frame_get_none_on_tf_and_it_is_said(observer, start, tf_messages):
    node, through = started(observer, start)
    observer.wait(lambda: observer.node.count_subscribers("/tf"), "the listener")
    nowhere = message(1.0, person((0, 0, 3), 4))
    nowhere.header.frame_id = ""

    def warned():
        through(nowhere)
        status = observer.status(NODE)
        return status and status.level == DiagnosticStatus.WARN and status.message

    assert "frame_id is empty" in observer.wait(warned, "a warning")
    through(nowhere)
    assert node.log.count("frame_id is empty") == 1
    observer.wait(
        lambda: (through(message(2.0, person((0, 0, 3), 7))), tf_messages())[-1], "a frame"
    )
    assert {one[1] for found in tf_messages() for one in found} == {"eye"}
    observer.wait(lambda: observer.status(NODE).level == DiagnosticStatus.OK, "no warning")


@pytest.mark.skipif(find_spec("tf2_msgs") is not None, reason="tf2_msgs is installed")
def test_tf_without_tf2_msgs_says_what_is_missing_and_shows_the_rest(observer, start):
    node, through = started(observer, start)
    for k in range(3):
        through(message(1.0 + k, person((0, 0, 3), 3)))
    status = observer.wait(lambda: observer.status(NODE), "diagnostics")
    assert status.level == DiagnosticStatus.WARN
    for text in (status.message, node.log):
        assert text.count("tf2_msgs isn't installed") == 1 and "ros-jazzy-tf2-msgs" in text
    assert "Traceback" not in node.log


def test_people_without_ids_have_no_frames_and_that_is_said(observer, start, with_tf2):
    _, through = started(observer, start)
    words = "people have no ids: they get no TF frames, and REP-155 tells of nobody"

    def said(expected):
        status = observer.status(NODE)
        return status if status and (words in status.message) is expected else None

    through(message(1.0, person((0, 0, 3), None)))
    assert observer.wait(lambda: said(True), "the warning").level == DiagnosticStatus.WARN
    through(message(2.0))  # nobody is no news
    through(message(3.0, person((0, 0, 3), None), person((1, 0, 3), 7)))
    observer.wait(lambda: said(False), "that it is over")
