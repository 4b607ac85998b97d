"""Who else takes images does so as the pose node does, and says what it misses."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import QoSReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from smap_ros.nodes import qos
from smap_ros.nodes.conversions import array_to_compressed, array_to_image, seconds, stamp_of_bytes
from smap_ros.sources.bag import open_bag

RECORDER, VIEWER = "recorder_node", "view_node"
RELIABLE = "image_reliability:=reliable"


@contextlib.contextmanager
def recorder(output: Path, *parameters: str) -> Iterator[None]:
    words = [word for one in (f"output:={output}", *parameters) for word in ("-p", one)]
    process = subprocess.Popen(
        [sys.executable, "-m", "smap_ros.nodes.recorder", "--ros-args", *words]
    )
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def told(observer, node: str, words: str) -> DiagnosticStatus:
    return observer.wait(
        lambda: (s := observer.status(node)) and words in s.message and s, f"{node}: {words}", 60
    )


def asked_for(observer, topic: str) -> set[QoSReliabilityPolicy]:
    found = observer.node.get_subscriptions_info_by_topic(topic)
    return {one.qos_profile.reliability for one in found}


@pytest.mark.parametrize("further", [(), ("jpeg_quality:=0",)])
def test_the_recorder_asks_for_images_as_its_parameters_say_and_tells_of_none(
    observer, tmp_path, further
):
    observer.publisher(Image, "image", qos.SENSOR)
    with recorder(tmp_path / "bag", RELIABLE, *further):
        status = told(observer, RECORDER, "/observer offers best effort")
        assert status.level == DiagnosticStatus.ERROR
        assert "image_reliability:=best_effort" in status.message
        assert asked_for(observer, "/image") == {QoSReliabilityPolicy.RELIABLE}


@pytest.mark.parametrize(
    ("kind", "parameters", "recorded"),
    [
        (Image, (), "/image/compressed"),
        (Image, ("jpeg_quality:=0",), "/image"),
        (CompressedImage, ("compressed:=true",), "/image/compressed"),
    ],
)
def test_the_recorder_measures_what_gets_lost(observer, tmp_path, kind, parameters, recorded):
    """Every second image has none but its calibration, at 20 Hz."""
    raw = kind is Image
    images = observer.publisher(kind, "image" if raw else "image/compressed", qos.RELIABLE)
    infos = observer.publisher(CameraInfo, "camera_info", qos.RELIABLE)
    gone = iter(np.random.default_rng(0).random(10_000) < 0.5)
    picture = np.full((24, 32, 3), 90, np.uint8)

    def lossy():
        header = Header(frame_id="eye", stamp=observer.node.get_clock().now().to_msg())
        infos.publish(CameraInfo(header=header, width=32, height=24))
        if not next(gone):
            made = array_to_image(picture, header) if raw else None
            images.publish(made or array_to_compressed(picture, header, 90))
        found = observer.status(RECORDER)
        return found and "Hz arrive" in found.message and found

    with recorder(tmp_path / "bag", RELIABLE, *parameters):
        observer.wait(images.get_subscription_count, "the recorder")
        status = observer.wait(lambda: (time.sleep(0.05), lossy())[-1], "the loss", 60)
        assert status.level == DiagnosticStatus.WARN
        lost = float(observer.values(RECORDER)["images lost [%]"])
        assert 10 < lost < 90
    with open_bag(tmp_path / "bag") as reader:
        counts = {one.topic: one.msgcount for one in reader.connections}
    assert counts[recorded] > 5 and counts["/camera_info"] > counts[recorded]


def test_the_viewer_asks_for_images_as_its_parameters_say_and_tells_of_none(
    spin, observer, monkeypatch
):
    pytest.importorskip("viser", reason="viser isn't installed: pip install 'smap-ros[view]'")
    from smap_ros.nodes.view import ViewNode
    from smap_ros.view.page import Page

    browsers: list[int] = []
    monkeypatch.setattr(Page, "clients", property(lambda page: browsers))

    observer.publisher(Image, "image", qos.SENSOR)
    node = spin(ViewNode, view_port=0, image_reliability="reliable")
    told(observer, VIEWER, "nobody looks")
    assert asked_for(observer, "/image") == set()
    browsers.append(1)
    status = told(observer, VIEWER, "/observer offers best effort")
    assert status.level == DiagnosticStatus.ERROR
    assert asked_for(observer, "/image") == {QoSReliabilityPolicy.RELIABLE}
    assert "offers best effort" in node._notes["images"]
    browsers.clear()
    observer.diagnostics.clear()
    told(observer, VIEWER, "nobody looks")


@pytest.mark.parametrize("stamp", [(0, 0), (5, 999_999_999), (2**31 - 1, 1), (-3, 7)])
def test_a_stamp_is_read_from_the_bytes_of_a_message(stamp):
    message = Image(header=Header(frame_id="eye"), data=bytes(30))
    message.header.stamp.sec, message.header.stamp.nanosec = stamp
    read = stamp_of_bytes(serialize_message(message))
    assert read == message.header.stamp and seconds(read) == seconds(message.header.stamp)


def test_bytes_that_hold_no_stamp_hold_no_time():
    assert seconds(stamp_of_bytes(b"\0\1\0\0\1")) == 0
    assert seconds(stamp_of_bytes(b"\0\0\0\0" + (7).to_bytes(4, "big") + bytes(8))) == 7
