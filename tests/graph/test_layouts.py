"""The layouts for RViz and Foxglove: what they look at, and from where."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import yaml

from smap_ros.graph.layouts import foxglove_layout
from smap_ros.graph.parameters import CameraNodeOptions
from smap_ros.paths import config_directory

FRAME = CameraNodeOptions().frame_id
FLOOR = 1.5  # metres below the camera


def people(layout):
    return json.loads(layout)["configById"]["3D!people"]


def test_the_shipped_layouts_follow_our_camera_node():
    panel = people((config_directory() / "foxglove" / "pose3d.json").read_text())
    assert panel["followTf"] == panel["layers"]["floor"]["frameId"] == FRAME
    rviz = yaml.safe_load((config_directory() / "rviz" / "pose3d.rviz").read_text())
    manager = rviz["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == FRAME
    # Relative, so that they are those of RViz's own namespace.
    topics = [d["Topic"]["Value"] for d in manager["Displays"] if "Topic" in d]
    assert topics and not any(topic.startswith("/") for topic in topics)


@pytest.mark.parametrize(("namespace", "prefix"), [("", ""), ("left", "/left"), ("/a/b/", "/a/b")])
def test_a_layout_follows_any_camera(namespace, prefix):
    text = foxglove_layout("eye/optical", namespace)
    panel = people(text)
    assert panel["followTf"] == panel["layers"]["floor"]["frameId"] == "eye/optical"
    assert set(panel["topics"]) == {f"{prefix}/markers", f"{prefix}/meshes", f"{prefix}/poses"}
    assert f'"{prefix}/image_annotated"' in text and f'"{prefix}/bodies"' in text
    assert '"/diagnostics"' in text and FRAME not in text


def test_the_default_layout_is_the_shipped_one():
    shipped = (config_directory() / "foxglove" / "pose3d.json").read_text()
    assert json.loads(foxglove_layout(FRAME)) == json.loads(shipped)


def test_foxglove_looks_from_above_the_floor_down_at_the_people():
    """Its orbit camera turns by -thetaOffset about z, then by phi about x, and looks along -z."""
    state = people(foxglove_layout(FRAME))["cameraState"]
    phi, theta = math.radians(state["phi"]), -math.radians(state["thetaOffset"])
    about_z = np.array(
        [[math.cos(theta), -math.sin(theta), 0], [math.sin(theta), math.cos(theta), 0], [0, 0, 1]]
    )
    about_x = np.array(
        [[1, 0, 0], [0, math.cos(phi), -math.sin(phi)], [0, math.sin(phi), math.cos(phi)]]
    )
    right, up, back = (about_z @ about_x).T
    position = np.array(state["targetOffset"]) + state["distance"] * back
    # In the optical frame: y points down, z away from the camera.
    assert position[1] < 0 < FLOOR, "above the camera, and so above the floor"
    assert -back[1] > 0.3 and -back[2] > 0.3, "looks down, and the way the camera looks"
    assert up[1] < -0.5 and right[0] > 0.9, "upright, and not mirrored"
