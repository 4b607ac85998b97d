"""The markers node over DDS: people in; markers, poses and pictures out."""

from __future__ import annotations

import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseArray
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bodies import Body
from smap_ros.camera import Camera
from smap_ros.messages import image_from_message
from smap_ros.msg import BodyArray
from smap_ros.nodes import markers as markers_module
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_image, body_array, stamp_of
from smap_ros.nodes.markers import MarkersNode
from smap_ros.orientation import torso_orientation
from smap_ros.skeletons import MPI15

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


def test_pictures_are_drawn_only_while_somebody_looks(wired, observer):
    images = observer.publisher(Image, "image", qos.SENSOR)
    time.sleep(0.6)
    assert images.get_subscription_count() == 0
    pictures = observer.collect(Image, "image_annotated", qos.SENSOR)
    observer.wait(images.get_subscription_count, "the node subscribes the images")
    plain = np.full((480, 640, 3), 90, np.uint8)

    def drawn():
        sent = message(time.time(), person((0, 0, 3), 3))
        images.publish(array_to_image(plain, sent.header))
        time.sleep(0.1)
        wired(sent)
        time.sleep(0.1)
        return [p for p in pictures if p.header == sent.header]

    picture = observer.wait(drawn, "a picture")[0]
    canvas = image_from_message(picture)
    assert canvas.shape == (480, 640, 3)
    x, y = CAMERA.project(np.array([0.0, -0.25, 3.0])).round().astype(int)  # the spine
    assert np.abs(canvas[y, x].astype(int) - 90).max() > 30
    np.testing.assert_array_equal(canvas[400:, :100], plain[400:, :100])
    # The picture is of that image: people of an image that never came get none.
    count = len(pictures)
    wired(message(5.0, person((0, 0, 3), 3)))
    time.sleep(0.3)
    assert len(pictures) == count


def test_tf_without_tf2_msgs_says_so_once(spin, observer, capfd):
    if markers_module.TFMessage is not None:
        pytest.skip("tf2_msgs is installed")
    spin(MarkersNode, tf=True)
    bodies = observer.publisher(BodyArray, "bodies")
    markers = observer.collect(MarkerArray, "markers")
    observer.wait(bodies.get_subscription_count, "the node")
    observer.wait(
        lambda: (bodies.publish(message(1.0, person((0, 0, 3), 3))), time.sleep(0.1), markers)[-1],
        "markers all the same",
    )
    assert capfd.readouterr().err.count("tf2_msgs isn't installed") == 1
