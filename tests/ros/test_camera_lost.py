"""The camera node on a network camera that stalls, vanishes and comes back."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from smap_ros.nodes import qos
from smap_ros.paths import config_directory
from tests.mjpeg_server import NetworkCamera

NODE = "camera_node"


@pytest.fixture
def network_camera():
    one = NetworkCamera(film=(config_directory() / "demo" / "clip.mp4").read_bytes())
    yield one
    one.stalled.clear()
    one.vanish()


def test_a_camera_that_vanishes_is_a_warning_until_it_is_back(start, observer, network_camera):
    images = observer.collect(Image, "image", qos.SENSOR)
    node = start(NODE, source=f"{network_camera.url}/stream", fov_deg=60.0)
    observer.wait(lambda: len(images) > 5, "images")
    network_camera.vanish()

    def said(words):
        status = observer.status(NODE)
        return status if status and words in status.message else None

    status = observer.wait(lambda: said("is lost after"), "a warning")
    assert status.level == DiagnosticStatus.WARN and "opening it again every" in status.message
    network_camera.appear()
    before = len(images)
    observer.wait(lambda: len(images) > before + 5 and said("running"), "images again")
    assert "gives images again" in node.log


def test_a_stalled_camera_is_a_warning_and_does_not_keep_the_node_from_ending(
    start, observer, network_camera
):
    images = observer.collect(Image, "image", qos.SENSOR)
    node = start(NODE, source=f"{network_camera.url}/stream", fov_deg=60.0)
    observer.wait(lambda: images, "images")
    network_camera.stalled.set()
    observer.wait(
        lambda: (s := observer.status(NODE)) and "gives no image for 1 s" in s.message, "a warning"
    )
    assert node.interrupt() == 0
    assert network_camera.stalled.is_set() and "Traceback" not in node.log


def test_the_end_of_a_film_behind_a_url_is_no_failure(start, network_camera):
    node = start(NODE, source=f"{network_camera.url}/film.mp4", rate=500.0, pacing="real_time")
    assert node.wait(60) == 0
    assert "end of film.mp4 after 90 images" in node.log


def test_wishes_that_only_a_device_can_grant_are_refused_elsewhere(start, network_camera):
    node = start(NODE, source=f"{network_camera.url}/stream", image_width=640, pixel_format="MJPG")
    assert node.wait() == 2
    assert "640xany px MJPG is for V4L2 devices" in node.log and "Traceback" not in node.log
