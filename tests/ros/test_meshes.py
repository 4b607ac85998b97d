"""People's surfaces as markers: from the message's bytes to the pose node with a mesh model."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bodies import Body, Mesh
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.mesh_markers import MeshMarkers, mesh_array
from smap_ros.skeletons import MPI15
from tests.mesh_bundle import FACES, write_mesh_bundle
from tests.ros.pose3d_client import BRIGHT, ENGINE, GREY, NODE, calibrated_node, set_parameter

HEADER = Header(frame_id="robot/camera_optical", stamp=Time(sec=7, nanosec=9))
PELVIS = MPI15.root


def surface(seed=0, vertices=40, faces=50):
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, vertices, (faces, 3)).astype(np.int32)
    return Mesh(rng.normal(size=(vertices, 3)).astype(np.float32), corners)


def body(mesh, identity=None):
    missing = np.full((15, 3), np.nan, np.float32)
    return Body(missing, missing[:, :2], np.zeros(15, np.float32), 1.0, identity, mesh=mesh)


@pytest.mark.parametrize("frame", ["", "a", "ab", "abc", "abcd", "abcde"])
@pytest.mark.parametrize("people", [0, 1, 3])
def test_the_bytes_are_those_that_ros_would_have_written(frame, people):
    """Whatever stands before the points and moves them: names of several lengths, other people."""
    meshes = {5 * k: surface(k, faces=k + 1) for k in range(people)}
    header = Header(frame_id=frame, stamp=HEADER.stamp)
    array = deserialize_message(mesh_array(meshes, [7, 9], header, 2.5), MarkerArray)
    *shown, seven, nine = array.markers
    assert [m.id for m in shown] == list(meshes)
    for marker, mesh in zip(shown, meshes.values(), strict=True):
        assert (marker.type, marker.action) == (Marker.TRIANGLE_LIST, Marker.ADD)
        assert marker.header == header and marker.pose.orientation.w == marker.scale.x == 1
        assert (marker.lifetime.sec, marker.lifetime.nanosec) == (2, 500_000_000)
        corners = mesh.vertices[mesh.faces].reshape(-1, 3).astype(float).tolist()
        assert marker.points == [Point(x=x, y=y, z=z) for x, y, z in corners]
    assert [(m.id, m.action) for m in (seven, nine)] == [(7, Marker.DELETE), (9, Marker.DELETE)]
    again = serialize_message(array)
    assert len(again) == len(mesh_array(meshes, [7, 9], header, 2.5))


class Recorder:
    """Takes what would be published."""

    def __init__(self, receivers=1):
        self.receivers, self.arrays = receivers, []

    def get_subscription_count(self):
        return self.receivers

    def publish(self, message):
        self.arrays.append(deserialize_message(message, MarkerArray).markers)


def test_meshes_come_at_the_rate_and_vanish_once():
    recorder = Recorder()
    times = iter([0.0, 0.04, 0.06, 0.12, 0.18])
    meshes = MeshMarkers(recorder, rate=20.0, clock=lambda: next(times))
    one, two = body(surface(1)), body(surface(2))
    meshes.show([one, two], HEADER)
    meshes.show([one, two], HEADER)
    assert [len(a) for a in recorder.arrays] == [2]
    meshes.show([one], HEADER)
    assert [(m.id, m.action) for m in recorder.arrays[1]] == [(0, Marker.ADD), (1, Marker.DELETE)]
    meshes.show([], HEADER)
    meshes.show([], HEADER)
    assert [(m.id, m.action) for m in recorder.arrays[2]] == [(0, Marker.DELETE)]
    assert len(recorder.arrays) == 3


@pytest.mark.parametrize("rate", [1e-10, 5e-324])
def test_meshes_that_never_come_again_stay_as_long_as_a_message_can_say(rate):
    recorder = Recorder()
    MeshMarkers(recorder, rate).show([body(surface(1))], HEADER)
    assert [m.lifetime.sec for m in recorder.arrays[0]] == [1_000_000_000]


def test_nothing_is_made_for_nobody_and_nothing_of_bodies_without_mesh():
    alone, off, watched = Recorder(0), Recorder(), Recorder()
    broken = surface(3)
    broken.vertices[4] = np.nan
    people = [body(surface(1), identity=12)]
    MeshMarkers(alone, 30.0).show(people, HEADER)
    MeshMarkers(off, 0.0).show(people, HEADER)
    MeshMarkers(watched, 30.0).show([body(None), body(broken), *people], HEADER)
    assert not alone.arrays and not off.arrays
    assert [m.id for m in watched.arrays[0]] == [12]


@pytest.fixture
def mesh_bundle(bundles, scene):
    """A mesh bundle beside the one that sees the scene, which it names as its first stage."""
    return str(write_mesh_bundle(Path(bundles(scene)).parent).folder)


def test_bodies_and_meshes_of_a_mesh_model_are_published(start, observer, eye, scene, mesh_bundle):
    infos = observer.collect(SkeletonInfo, "skeleton_info", qos.LATCHED)
    arrays = observer.collect(MarkerArray, "meshes")
    node, bodies = calibrated_node(start, observer, eye, mesh_bundle)
    message = bodies[-1]
    positions = np.array([[p.x, p.y, p.z] for p in (b.positions[PELVIS] for b in message.bodies)])
    np.testing.assert_allclose(positions, scene.joints[:, PELVIS], atol=0.06)
    markers = observer.wait(lambda: next(iter(arrays), None), "meshes").markers
    assert [(m.ns, m.id, m.type) for m in markers] == [
        ("meshes", k, Marker.TRIANGLE_LIST) for k in range(3)
    ]
    for marker, position in zip(markers, positions, strict=True):
        points = np.array([[p.x, p.y, p.z] for p in marker.points])
        assert points.shape == (3 * len(FACES), 3) and np.isfinite(points).all()
        assert np.linalg.norm(points - position, axis=1).max() < 1.5
        assert np.abs(points.mean(axis=0) - position).max() < 0.3
        assert marker.header.frame_id == message.header.frame_id
    info = observer.wait(lambda: next(iter(infos), None), "the joint set")
    assert (info.model, info.name) == ("figure", "mpi15")
    assert "Traceback" not in node.log

    def gone():
        eye.show(eye.image(GREY))
        time.sleep(0.1)
        return [m for a in list(arrays) for m in a.markers if m.action == Marker.DELETE]

    assert [m.id for m in observer.wait(gone, "the end of the meshes")] == [0, 1, 2]


def test_mesh_rate_takes_effect_at_once(start, observer, eye, mesh_bundle):
    arrays = observer.collect(MarkerArray, "meshes")
    calibrated_node(start, observer, eye, mesh_bundle)
    observer.wait(lambda: arrays, "meshes")
    assert not set_parameter(observer, "mesh_rate", 31.0).successful
    assert set_parameter(observer, "mesh_rate", 0.0).successful
    time.sleep(0.3)
    arrays.clear()
    for _ in range(10):
        eye.show(eye.image(BRIGHT))
        time.sleep(0.1)
    assert not arrays
    assert set_parameter(observer, "mesh_rate", 20.0).successful
    observer.wait(lambda: (eye.show(), time.sleep(0.1), arrays)[-1], "meshes again")


def test_a_model_without_surfaces_shows_none(start, observer, eye, scene_bundle):
    arrays = observer.collect(MarkerArray, "meshes")
    node = start(NODE, bundle=scene_bundle, fov_deg=80.0, **ENGINE)
    bodies = observer.collect(BodyArray, "bodies_raw")
    eye.ready()
    observer.wait(lambda: (eye.show(), time.sleep(0.2), bodies)[-1], "people")
    assert not arrays and "Traceback" not in node.log
