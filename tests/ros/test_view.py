"""The viewer as a real node over real DDS, looked at with a real browser."""

from __future__ import annotations

import contextlib
import math
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Point
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bags.surfaces import Welder, surfaces_from_markers
from smap_ros.bodies import Body, Mesh
from smap_ros.errors import InputError
from smap_ros.estimators.base import ModelInfo
from smap_ros.msg import BodyArray, SkeletonInfo
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import body_array, skeleton_info
from smap_ros.nodes.mesh_markers import mesh_array
from smap_ros.nodes.view import ViewNode
from smap_ros.skeletons import MPI15
from smap_ros.viz.colors import person_color
from tests.browser import Browser, Tab, colored, visitor

pytest.importorskip("viser", reason="viser isn't installed: pip install 'smap-ros[view]'")

GREEN = (60, 190, 60)
NODE = "view_node"


@contextlib.contextmanager
def opened(browser: Browser, address: str) -> Iterator[Tab]:
    tab = browser.tab(address)
    try:
        tab.wait_for_text("smap_ros")
        yield tab
    finally:
        tab.close()


def address(node: Any, observer: Any) -> str:
    """Where the node serves, as it says itself."""
    found = observer.wait(
        lambda: re.search(r"open http://localhost:(\d+) ", node.log), f"the address; {node.log}"
    )
    return f"http://127.0.0.1:{found[1]}"


def people(scene: Any) -> list[tuple[Body, bool]]:
    bodies = []
    for k, joints in enumerate(scene.joints):
        pixels = scene.camera.project(joints).astype(np.float32)
        scores = np.full(len(MPI15), 0.9, np.float32)
        bodies.append((Body(joints.astype(np.float32), pixels, scores, 0.9, k), False))
    return bodies


class Graph:
    """What the other nodes publish, as far as the viewer takes it."""

    def __init__(self, observer: Any, eye: Any, scene: Any) -> None:
        self.observer, self.eye, self.scene = observer, eye, scene
        self.bodies = observer.publisher(BodyArray, "bodies", qos.RELIABLE)
        self.info = observer.publisher(SkeletonInfo, "skeleton_info", qos.LATCHED)
        self.diagnostics = observer.publisher(DiagnosticArray, "/diagnostics", 10)
        self.meshes = observer.publisher(MarkerArray, "meshes", qos.RELIABLE)
        about = ModelInfo("tiny", "7.1", "abacus", "wood")
        self.info.publish(skeleton_info(MPI15, about))

    @property
    def watchers(self) -> list[int]:
        publishers = (self.bodies, self.eye.images, self.eye.infos, self.meshes)
        return [publisher.get_subscription_count() for publisher in publishers]

    def publish(self, level: bytes, message: str) -> None:
        """A frame with its picture, and how the pose node is."""
        image = self.eye.image()
        view = np.frombuffer(image.data, np.uint8).reshape(-1, 3).copy()
        view[:] = GREEN[::-1]
        image.data = view.tobytes()
        self.eye.calibrate()
        self.eye.images.publish(image)
        self.bodies.publish(body_array(people(self.scene), image.header, (1280, 720), MPI15))
        values = {"rate in [Hz]": "12.5", "network p50 [ms]": "31.25", "network p95 [ms]": "40"}
        values |= {"frames dropped": "77", "model": "tiny 7.1 on abacus"}
        status = DiagnosticStatus(
            level=level,
            name="pose3d_node: pose estimation",
            message=message,
            values=[KeyValue(key=k, value=v) for k, v in values.items()],
        )
        strange = DiagnosticStatus(level=b"\x02", name="fan: speed", message="the fan stands still")
        self.diagnostics.publish(DiagnosticArray(status=[status, strange]))


@pytest.mark.slow  # WebGL in software
def test_it_subscribes_for_a_browser_shows_the_graph_and_leaves_with_the_browser(
    start, observer, eye, scene, browser
):
    node = start(NODE, view_port=0)
    there = address(node, observer)
    graph = Graph(observer, eye, scene)
    observer.wait(lambda: observer.status(NODE), "the viewer's own diagnostics")
    assert observer.status(NODE).message == "nobody looks" and not any(graph.watchers)

    with opened(browser, there) as tab:
        observer.wait(lambda: all(graph.watchers), "subscriptions")

        def shown(*words: str) -> bool:
            graph.publish(b"\x02", "K is all zeros: calibrate the camera")
            text = tab.text
            return all(word in text for word in words)

        words = ("ERROR", "K is all zeros", "12.5", "77", "31.2", "tiny 7.1", "abacus", "1.")
        tab.wait(lambda: shown(*words), f"{words} in the panel")
        assert "fan" not in tab.text

        def seen() -> bool:
            graph.publish(b"\x00", "running")
            image = tab.screenshot()
            return colored(image, GREEN) > 100 and colored(image, person_color(0)) > 30

        tab.wait(seen, "people and picture")
        tab.wait_for_text("running")
        # A person's surface of a colour that nobody else has, to be seen from both sides.
        corners = np.array([[0, -1, 3], [1, 1, 3], [-1, 1, 3]], np.float32)
        mesh = Mesh(corners, np.array([[0, 1, 2], [0, 2, 1]], np.int32))

        def surface_seen() -> bool:
            graph.meshes.publish(mesh_array({4: mesh}, [], Header(), 2.0))
            return colored(tab.screenshot(), person_color(4)) > 60

        tab.wait(surface_seen, "a surface")
        observer.wait(lambda: observer.status(NODE).message == "somebody looks", "who looks")
    observer.wait(lambda: not any(graph.watchers), "no subscriptions")
    assert node.alive and "Traceback" not in node.log


@pytest.mark.parametrize(
    ("settings", "image", "focal_length"),
    [
        ({}, "image", 900),
        ({"rectified": "yes"}, "image", 500),
        ({"rectified": "no"}, "image_rect", 900),
        ({}, "image_rect", 500),
        ({"fov_deg": 90.0}, "image", 640),
    ],
)
def test_the_picture_has_the_camera_that_the_pose_node_takes_it_for(
    spin, observer, settings, image, focal_length
):
    """K says 900 pixels, P 500."""
    options = ["--ros-args", "-r", f"image:={image}"]
    node = spin(partial(ViewNode, cli_args=options), view_port=0, **settings)
    infos = observer.publisher(CameraInfo, "camera_info", qos.SENSOR)
    node._subscribe()  # as with a browser
    observer.wait(infos.get_subscription_count, "the node")
    info = CameraInfo(width=1280, height=720, distortion_model="plumb_bob", d=[0.0] * 5)
    info.header.frame_id = "eye"
    info.k = [900.0, 0.0, 640.0, 0.0, 900.0, 360.0, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [500.0, 0.0, 640.0, 0.0, 0.0, 500.0, 360.0, 0.0, 0.0, 0.0, 1.0, 0.0]

    def known():
        infos.publish(info)
        time.sleep(0.05)
        camera = node._camera(info.header, 1280, 720)
        return None if "calibration" in node._notes else camera

    assert observer.wait(known, "a calibration").fx == pytest.approx(focal_length)


def test_people_are_not_shown_on_a_picture_that_is_not_theirs(spin, eye):
    node = spin(ViewNode, view_port=0)
    shown = []
    node._page.show_picture = shown.append
    newest = eye.image()
    stamp = newest.header.stamp.sec, newest.header.stamp.nanosec
    node._pictures.keep(stamp, newest)
    node._show_picture((1, 0))
    assert shown.pop() is None and "none is at hand" in node._notes["picture"]
    for wanted in (stamp, None):
        node._show_picture(wanted)
        assert shown.pop() is not None and "picture" not in node._notes
    # A picture may be overtaken by its people.
    late = eye.image()
    later = late.header.stamp.sec, late.header.stamp.nanosec
    threading.Timer(0.02, node._pictures.keep, (later, late)).start()
    node._show_picture(later)
    assert shown.pop() is not None


def labels(node: Any) -> list[str]:
    return [label.text for label in node._page._labels if label.visible]


def test_without_people_for_a_second_the_newest_picture_is_shown_alone(spin, observer, eye, scene):
    node = spin(ViewNode, view_port=0, fov_deg=60.0)
    graph = Graph(observer, eye, scene)
    with visitor(node.port):
        observer.wait(lambda: all(graph.watchers), "subscriptions")

        def alone() -> bool:
            eye.show()
            time.sleep(0.05)
            picture = node._page._picture
            there = picture is not None and picture.visible and not labels(node)
            return there and node._notes.get("people") == "none came on /bodies"

        def together() -> bool:
            graph.publish(b"\x00", "running")
            time.sleep(0.05)
            return len(labels(node)) == 3 and node._notes["people"] == "3"

        for _ in range(2):
            observer.wait(alone, "a picture without people")
            assert "age when shown" not in node._notes
            observer.wait(together, "people")
        observer.wait(alone, "the end of people who come no more")


def test_people_of_a_graph_without_pictures_vanish_as_well(spin, observer, eye, scene):
    node = spin(ViewNode, view_port=0)
    graph = Graph(observer, eye, scene)
    with visitor(node.port):
        observer.wait(lambda: all(graph.watchers), "subscriptions")

        def seen() -> bool:
            message = body_array(people(scene), eye.header(), (1280, 720), MPI15)
            graph.bodies.publish(message)
            time.sleep(0.05)
            return len(labels(node)) == 3

        observer.wait(seen, "people")
        observer.wait(lambda: not labels(node), "nobody")


def test_surfaces_go_with_their_lifetime_and_with_the_browser(spin, observer, eye, scene):
    node = spin(ViewNode, view_port=0)
    graph = Graph(observer, eye, scene)

    def shown(*wanted: int, lifetime: float) -> bool:
        meshes = {k: triangles(3) for k in wanted}
        graph.meshes.publish(mesh_array(meshes, [], Header(), lifetime))
        time.sleep(0.05)
        return set(node._page._surfaces) == set(wanted)

    with visitor(node.port):
        observer.wait(lambda: all(graph.watchers), "subscriptions")
        observer.wait(lambda: shown(1, 2, lifetime=1.0), "surfaces of both")
        # Of the first nothing more is heard, not even that it is gone.
        observer.wait(lambda: shown(2, lifetime=60.0), "the end of the first alone")
        observer.wait(lambda: shown(2, 3, lifetime=0.0), "one that stays")
    observer.wait(lambda: not any(graph.watchers), "no subscriptions")
    observer.wait(lambda: not node._page._surfaces, "no surfaces")
    with visitor(node.port):
        observer.wait(lambda: all(graph.watchers), "subscriptions")
        observer.wait(lambda: shown(4, lifetime=60.0), "none of those before")


def test_bad_messages_are_told_and_do_not_end_it(start, observer, eye, scene, browser):
    node = start(NODE, view_port=0)
    graph = Graph(observer, eye, scene)
    raw = observer.publisher(MarkerArray, "meshes", qos.RELIABLE)
    with opened(browser, address(node, observer)) as tab:
        observer.wait(lambda: all(graph.watchers), "subscriptions")
        message = body_array(people(scene), eye.header(), (1280, 720), MPI15)
        message.bodies[0].scores = []
        wrong = body_array(people(scene), eye.header(), (1280, 720), MPI15)
        wrong.skeleton = "octopus"

        def told() -> bool:
            graph.bodies.publish(message)
            graph.bodies.publish(wrong)
            raw.publish(b"\x00\x01\x00\x00\xff\xff\xff\x7f")
            eye.calibrate(None)
            return "octopus" in node.log and "MarkerArray" in node.log

        observer.wait(told, "the errors in the log")
        tab.wait_for_text("problem here")
        tab.wait_for_text("K is all zeros")
    assert node.alive and "Traceback" not in node.log


def test_a_port_in_use_ends_it_with_the_reason(start, observer):
    first = start(NODE, view_port=0)
    port = int(address(first, observer).rpartition(":")[2])
    second = start(NODE, view_port=port)
    assert second.wait() == 2
    assert f"127.0.0.1:{port}" in second.log and "Traceback" not in second.log


def test_who_serves_everybody_is_warned(start, observer):
    node = start(NODE, view_port=0, view_host="0.0.0.0")
    address(node, observer)
    assert "everybody who reaches this machine" in node.log


def test_the_command_runs_the_node_until_ctrl_c(observer):
    words = ["view", "--port", "0", "namespace:=robot", "bodies:=bodies_raw"]
    process = subprocess.Popen(
        [sys.executable, "-m", "smap_ros", *words], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "open http" in line)
        there = re.search(r"http://\S+", line)
        assert there is not None
        with urllib.request.urlopen(there[0], timeout=60) as page:
            assert b"viser" in page.read().lower()
        names = observer.wait(
            lambda: [n for n in observer.node.get_node_names_and_namespaces() if NODE in n],
            "the node",
        )
        assert names == [(NODE, "/robot")]
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


# --- surfaces out of bytes -----------------------------------------------------------------------


def triangles(count: int, seed: int = 0) -> Mesh:
    rng = np.random.default_rng(seed)
    return Mesh(
        rng.normal(size=(30, 3)).astype(np.float32), rng.integers(0, 30, (count, 3), np.int32)
    )


@pytest.mark.parametrize("frame", ["", "a", "ab", "abc", "abcd", "camera_optical_frame"])
def test_surfaces_are_read_from_what_the_pose_node_publishes(frame):
    meshes = {k: triangles(k + 1, k) for k in (0, 3, 8)}
    surfaces = surfaces_from_markers(mesh_array(meshes, [5], Header(frame_id=frame), 2.0))
    assert surfaces.gone == (5,) and not surfaces.all_gone
    assert surfaces.lifetimes == dict.fromkeys(meshes, 2.0)
    welder = Welder()
    for identity, mesh in meshes.items():
        expected = mesh.vertices[mesh.faces].reshape(-1, 3)
        np.testing.assert_array_equal(surfaces.corners[identity], expected)
        welded = welder.mesh(surfaces.corners[identity])
        np.testing.assert_array_equal(welded.vertices[welded.faces].reshape(-1, 3), expected)
        assert len(welded.vertices) == len(np.unique(mesh.faces))


def test_other_markers_in_a_message_are_passed_over():
    full = Marker(id=1, type=Marker.SPHERE_LIST, ns="ab", text="abc", mesh_resource="a")
    full.points = [Point(x=1.0)] * 2
    full.texture.data = [1, 2, 3]
    full.mesh_file.data = [1]
    triangle = Marker(id=9, type=Marker.TRIANGLE_LIST, points=[Point(x=float(k)) for k in range(4)])
    array = MarkerArray(markers=[full, triangle, Marker(action=Marker.DELETEALL)])
    surfaces = surfaces_from_markers(serialize_message(array))
    assert surfaces.all_gone and surfaces.gone == ()
    # The fourth point makes no triangle.
    assert surfaces.corners[9].tolist() == [[0, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert set(surfaces.corners) == {9}
    assert surfaces.lifetimes == {9: math.inf}


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_message_that_is_cut_off_is_refused(share):
    whole = mesh_array({1: triangles(9)}, [2], Header(), 2.0)
    with pytest.raises(InputError, match="MarkerArray"):
        surfaces_from_markers(whole[: int(share * len(whole))])
