"""Graphs in which two of what should be one are mixed up."""

from __future__ import annotations

import time

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from smap_ros.nodes import diagnostics, qos
from smap_ros.nodes.smoother import SmootherNode
from tests.ros.pose3d_client import calibrated_node


def test_two_cameras_on_one_topic_are_told_apart_in_words(start, observer, eye, scene_bundle):
    calibrated_node(start, observer, eye, scene_bundle)

    def told(words):
        eye.calibrate()
        eye.show(eye.image())
        time.sleep(0.1)
        found = observer.status("pose3d_node")
        return found and words in found.message and found

    observer.wait(lambda: told("images are stamped"), "one camera")
    other = rclpy.create_node("second_driver", context=observer.node.context)
    try:
        other.create_publisher(Image, "image", qos.SENSOR)
        status = observer.wait(lambda: told("2 nodes publish images on /image"), "a warning")
        assert status.level == DiagnosticStatus.WARN
        assert "(/observer, /second_driver)" in status.message
    finally:
        other.destroy_node()
    observer.wait(lambda: told("images are stamped"), "one camera again")


@pytest.mark.parametrize("patience", [0.0, 600.0])
def test_two_nodes_of_one_name_are_told_once_they_stay(spin, observer, monkeypatch, patience):
    """A node that was killed is still seen for a while: that is none."""
    monkeypatch.setattr(diagnostics, "TWINS", patience)
    spin(SmootherNode)
    observer.wait(lambda: observer.status("smoother_node"), "one")
    assert "is called" not in observer.status("smoother_node").message
    spin(SmootherNode)
    names = observer.node.get_node_names
    observer.wait(lambda: names().count("smoother_node") == 2, "two")
    if patience:
        observer.diagnostics.clear()
        observer.wait(lambda: len(observer.diagnostics) > 3, "what they say")
        assert "is called" not in observer.status("smoother_node").message
    else:
        status = observer.wait(
            lambda: (s := observer.status("smoother_node")) and "is called" in s.message and s, "it"
        )
        assert status.level == DiagnosticStatus.WARN
        assert "another node is called /smoother_node too" in status.message
