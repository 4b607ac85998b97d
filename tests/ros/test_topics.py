"""The page's table of topics and services against what the nodes really have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy

from smap_ros.graph.node_types import NODES
from smap_ros.pictures import write_picture

PAGE = Path(__file__).parents[2] / "docs" / "robot.md"
# What every node or lifecycle node of ROS has.
PERSON = re.compile(r"/b\d+/")  # in the topics of one
STANDARD = ("rcl_interfaces/", "lifecycle_msgs/", "type_description_interfaces/")


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    name: str
    kind: str
    of: str
    quality: str


def rows() -> Iterator[Row]:
    """The rows of the two tables; that of REP-155 is of one node and one quality."""
    for heading, rest in (("Topics and services", []), ("REP-155", ["markers_node", "reliable"])):
        section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if line.startswith("| `"):
                name, kind = cells[0].strip("`"), cells[1].strip("`")
                full = name if name.startswith("/") else f"/{name}"
                yield Row(full, kind, *(rest or [cells[2].replace("`", ""), cells[3]]))


def kinds(found: list[tuple[str, list[str]]]) -> set[tuple[str, str]]:
    """Names and types as the table spells them, without what every node has."""
    return {
        (PERSON.sub("/<id>/", name), re.sub("/(msg|srv)/", "/", kind))
        for name, of_name in found
        for kind in of_name
        if not kind.startswith(STANDARD)
    }


def test_the_table_lists_every_topic_and_service_of_the_running_nodes(
    with_tf2, with_hri, with_vision, observer, start, scene_bundle, tmp_path
):
    picture = tmp_path / "bright.png"
    write_picture(picture, np.full((720, 1280, 3), 250, np.uint8))
    show = {"source": str(picture), "fov_deg": 80.0, "loop": True}
    start("camera_node", **show)
    start("camera_node", "-r", "__node:=other_camera", compressed=True, **show)
    start("pose3d_node", bundle=scene_bundle, engine="onnxruntime", threads=1)
    start("smoother_node", fixed_frame="odom")
    start("markers_node", tf=True)
    start("view_node", view_port=0)
    node = observer.node
    of_node = {name: name for name in NODES} | {"other_camera": "camera_node"}
    for name in of_node:
        observer.wait(lambda name=name: observer.status(name), f"diagnostics of {name}")
    observer.wait(lambda: node.count_publishers("skeleton_info"), "a model")
    observer.wait(lambda: node.count_publishers("/humans/bodies/b0/roi"), "people")

    table = {row.name: row for row in rows()}
    real: dict[tuple[str, str], set[str]] = {}
    for name, kind in of_node.items():
        given = kinds(node.get_publisher_names_and_types_by_node(name, "/"))
        given |= kinds(node.get_service_names_and_types_by_node(name, "/"))
        for one in given:
            real.setdefault(one, set()).add(kind)
        taken = kinds(node.get_subscriber_names_and_types_by_node(name, "/"))
        taken.discard(("/tf_static", "tf2_msgs/TFMessage"))  # the row of /tf names it
        assert taken <= {(topic, row.kind) for topic, row in table.items()}, name
    listed = {(topic, row.kind): row for topic, row in table.items()}
    assert set(real) == set(listed)
    for one, row in listed.items():
        assert (row.of == "all nodes") == (real[one] == set(NODES)), one
        assert row.of == "all nodes" or row.of.removeprefix("driver or ") in real[one], one
        topic = one[0].replace("<id>", "b0")
        ours = [p for p in node.get_publishers_info_by_topic(topic) if p.node_name in of_node]
        assert {quality(p.qos_profile) for p in ours} == {row.quality} - {"service"}, one


def quality(profile: QoSProfile) -> str:
    """In the words of the table."""
    reliable = profile.reliability == QoSReliabilityPolicy.RELIABLE
    latched = profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
    return ("reliable" if reliable else "best effort") + ", latched" * latched
