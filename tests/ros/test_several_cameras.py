"""Two cameras in one graph: what belongs to one of them carries its namespace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseArray
from rclpy.parameter import Parameter

from smap_ros.graph.node_types import MARKERS_NODE, RVIZ_MODULE
from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.markers import MarkersNode, _transform
from smap_ros.nodes.smoother import SmootherNode


@pytest.mark.parametrize(
    ("arguments", "parameters", "frame"),
    [
        ([], {}, "body_3"),
        (["-r", "__ns:=/robot/left"], {}, "robot/left/body_3"),
        (["-r", "__ns:=/left"], {"tf_prefix": "left_"}, "left_body_3"),
    ],
)
def test_frames_of_people_carry_the_namespace_or_the_prefix(
    ros_domain, arguments, parameters, frame
):
    overrides = [Parameter(k, value=v) for k, v in parameters.items()]
    node = MarkersNode(cli_args=["--ros-args", *arguments], parameter_overrides=overrides)
    try:
        message = BodyArray(bodies=[BodyMessage(id=3)])
        (name,) = node._frames(3)
        assert _transform(message.bodies[0], message, name).child_frame_id == frame
    finally:
        node.destroy_node()


def test_diagnostics_of_nodes_of_one_name_differ(observer, start):
    for namespace in ("left", "right"):
        start("smoother_node", "-r", f"__ns:=/{namespace}")
    for namespace in ("left", "right"):
        name = f"{namespace}/smoother_node"
        status = observer.wait(lambda name=name: observer.status(name), f"diagnostics of {name}")
        assert status.name == f"{name}: smoothing"


@pytest.mark.parametrize(
    ("kind", "name", "topic", "source"),
    [
        (SmootherNode, "smoother_node", "/bodies_raw", "pose3d_node"),
        (MarkersNode, MARKERS_NODE.name, "/bodies", "smoother_node"),
    ],
)
def test_a_node_that_nobody_feeds_warns(observer, spin, kind, name, topic, source):
    spin(kind)
    warning = observer.wait(
        lambda: (s := observer.status(name)) and s.level == DiagnosticStatus.WARN and s.message,
        "a warning",
    )
    assert warning == f"nobody publishes {topic}; start {source} in the same namespace"
    publisher = observer.publisher(BodyArray, topic)
    observer.wait(
        lambda: f"the diagnostics of {source} say why" in observer.status(name).message,
        "another warning, as somebody is there",
    )
    observer.wait(publisher.get_subscription_count, "the node")
    message = BodyArray(skeleton="mpi15")
    observer.wait(
        lambda: (publisher.publish(message), observer.status(name).message == "running")[-1],
        "no warning",
    )


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (SmootherNode, "smoother_node", []),
        (MarkersNode, MARKERS_NODE.name, ["-r", "bodies:=bodies_raw"]),
    ],
    ids=["smoother", "markers without a smoother"],
)
def test_a_node_whose_feeder_runs_in_vain_says_where_to_look(
    observer, start, spin, kind, name, words
):
    """Takes the five seconds after which people are missed."""
    start("pose3d_node", autostart=False)  # as after a model that can't be loaded
    spin(partial(kind, cli_args=["--ros-args", *words]))
    told = "nobody publishes /bodies_raw, though pose3d_node runs; its diagnostics say why"
    observer.wait(lambda: (s := observer.status(name)) and s.message == told, "the warning")


@pytest.mark.parametrize(
    ("words", "feeder"),
    [
        ([], "smoother_node"),
        (["-r", "bodies:=people"], "smoother_node"),
        (["-r", "bodies:=/front/bodies_raw"], "pose3d_node"),
        (["-r", "bodies:=people", "-r", "bodies_raw:=people"], "pose3d_node"),
    ],
)
def test_the_markers_node_knows_who_feeds_it(ros_domain, words, feeder):
    node = MarkersNode(cli_args=["--ros-args", *words])
    try:
        assert node._feeder() == feeder
    finally:
        node.destroy_node()


def test_rviz_starts_in_the_frame_of_the_camera_with_what_ros_was_told(
    ros_domain, observer, tmp_path
):
    """With a program of that name in the place of RViz, which needs a screen."""
    shown = tmp_path / "shown.json"
    program = tmp_path / "rviz2"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"json.dump(sys.argv[1:], open({str(shown)!r}, 'w'))\n"
    )
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    words = ["--ros-args", "-r", "__ns:=/left", "-p", "use_sim_time:=true"]
    process = subprocess.Popen([sys.executable, "-m", RVIZ_MODULE, *words], env=environment)
    publisher = observer.publisher(BodyArray, "/left/bodies")
    message = BodyArray(skeleton="mpi15")
    message.header.frame_id = "left_optical"
    observer.wait(
        lambda: (publisher.publish(message), process.poll() is not None)[-1], "RViz's start"
    )
    assert process.returncode == 0
    layout, arguments = (given := json.loads(shown.read_text()))[1], given[2:]
    assert layout.endswith("pose3d.rviz") and os.path.isfile(layout)
    assert arguments == ["-f", "left_optical", *words]


@pytest.mark.parametrize(
    ("sent", "profile", "told"),
    [
        (
            BodyArray,
            qos.SENSOR,
            "nothing of /bodies can come: /observer offers best effort, and people are taken "
            "reliably; let it publish them reliably",
        ),
        (
            PoseArray,
            qos.RELIABLE,
            "/bodies is published as geometry_msgs/msg/PoseArray; expected smap_ros/msg/BodyArray",
        ),
    ],
    ids=["best effort", "another type"],
)
def test_a_node_that_somebody_feeds_in_vain_says_why(observer, start, sent, profile, told):
    """Takes the five seconds after which people are missed."""
    observer.publisher(sent, "/bodies", profile)
    start(MARKERS_NODE.name)
    observer.wait(
        lambda: (s := observer.status(MARKERS_NODE.name)) and s.message == told, "the warning"
    )
