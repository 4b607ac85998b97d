"""Listens to a camera's topic for a while and says what comes of it: a process of the doctor.

    python -m smap_ros.nodes.topic_check TOPIC SECONDS [CAMERA_INFO_TOPIC]

The last line of its output is a JSON list of findings, with the fields of
:class:`smap_ros.doctor.machine.Check`.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import rclpy
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from smap_ros.bags.messages import image_from_message
from smap_ros.bags.topics import named_camera
from smap_ros.calibration import rectification
from smap_ros.doctor.machine import Check
from smap_ros.errors import CameraError, SmapError
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import seconds
from smap_ros.nodes.early import EarlyMessages
from smap_ros.nodes.image_watch import ImageInput, ImageWatch
from smap_ros.nodes.offers import Offer, offers
from smap_ros.nodes.pipeline import LiveCameras

DISCOVERY = 5.0  # seconds until a topic that is there is known
POLL = 0.1  # seconds
KINDS: dict[str, type[Image | CompressedImage]] = {
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/CompressedImage": CompressedImage,
}
INFO = "sensor_msgs/msg/CameraInfo"
COMPRESSED = "/compressed"


class Listener:
    """Takes images and calibrations of a topic.

    Args:
        node: subscribes.
        topic: of the images, its full name.
        kind: of its messages.
        info_topic: of the calibration.
    """

    def __init__(
        self, node: Node, topic: str, kind: type[Image | CompressedImage], info_topic: str
    ) -> None:
        self._topic, self._info_topic = topic, info_topic
        self.watch = ImageWatch(node, ImageInput(topic, kind, qos.SENSOR))
        self.cameras = LiveCameras()
        base = topic.removesuffix(COMPRESSED)
        self.cameras.rectification = rectification("auto", base, info_topic)
        self.arrivals: list[float] = []
        self.bytes = 0
        self.shapes: Counter[str] = Counter()
        self.image: Image | CompressedImage | None = None
        self.infos, self.early = 0, False
        self.info: CameraInfo | None = None
        node.create_subscription(kind, topic, self._on_image, qos.SENSOR)
        node.create_subscription(CameraInfo, info_topic, self._on_info, qos.SENSOR)
        EarlyMessages(node, CameraInfo, info_topic, self._on_early_info)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.arrivals.append(time.monotonic())
        self.bytes += len(message.data)
        self.shapes[_shape(message)] += 1
        self.image = message
        self.watch.image(message.header.stamp)

    def _on_info(self, message: CameraInfo) -> None:
        self.infos += 1
        self.info = message
        self.watch.info(message.header.stamp)
        self.cameras.take_info(message)

    def _on_early_info(self, message: CameraInfo) -> None:
        """A calibration that was said once, before we listened."""
        self.early, self.info = True, self.info or message
        self.cameras.take_early_info(message)

    # --- findings -------------------------------------------------------------------------------

    def findings(self, duration: float) -> list[Check]:
        """What has come in so many seconds."""
        doubt, _ = self.watch.look()
        rate = _rate(self.arrivals)
        megabytes = self.bytes / duration / 1e6
        detail = f"{len(self.arrivals)} in {duration:g} s"
        if len(self.arrivals) > 1:
            detail += f": {rate:.1f} Hz, {megabytes:.1f} MB/s"
        checks = [Check("images", doubt is None, detail, doubt.text if doubt else "")]
        if self.image is None:
            return checks
        picture = self._picture(self.image)
        return [*checks, picture, self._frame(self.image), *self._calibration(self.image, picture)]

    def _picture(self, message: Image | CompressedImage) -> Check:
        detail = ", then ".join(self.shapes)
        try:
            image = image_from_message(message)
        except SmapError as error:
            return Check("picture", False, detail, str(error))
        if isinstance(message, CompressedImage):
            detail += f", {image.shape[1]}x{image.shape[0]} px"
        if len(self.shapes) > 1 and {len(shape) for shape in self.shapes}:
            return Check("picture", False, detail, "the topic changes its format: two cameras?")
        if not named_camera(self._topic):
            hint = "by its name these are no pictures of a camera, but distances or drawings"
            return Check("picture", False, detail, hint)
        if image.max() == 0:
            return Check("picture", False, detail, "all of it is black: is the lens covered?")
        return Check("picture", True, f"{detail}, mean brightness {image.mean():.0f} of 255")

    def _frame(self, message: Image | CompressedImage) -> Check:
        name = message.header.frame_id
        hint = "it has no frame: TF and RViz can't place it; set the driver's frame_id"
        return Check("frame", bool(name), repr(name), hint, optional=True)

    def _infos_in_words(self) -> str:
        said = f"{self.infos} messages"
        return said if self.infos or not self.early else f"{said}, and one from before (latched)"

    def _calibration(self, message: Image | CompressedImage, picture: Check) -> list[Check]:
        if self.info is None:
            hint = (
                "none came: name its topic (--camera-info), calibrate the camera and let the "
                "driver publish it, or state fov_deg"
            )
            return [Check("CameraInfo", False, self._info_topic, hint)]
        came = Check("CameraInfo", True, f"{self._info_topic}, {self._infos_in_words()}")
        if not picture.ok:
            return [came]
        height, width = image_from_message(message).shape[:2]
        stamp = seconds(message.header.stamp)
        try:
            camera = self.cameras.camera(message.header.frame_id, width, height, stamp)
        except CameraError as error:
            return [came, Check("calibration", False, "", str(error))]
        lens = f"{camera.distortion_model} lens" if any(camera.distortion) else "no lens"
        detail = (
            f"fx {camera.fx:.1f}, fy {camera.fy:.1f} px, horizontal field of view "
            f"{math.degrees(camera.fov):.1f} degrees, {lens}; {self.cameras.source}"
        )
        return [came, Check("calibration", True, detail)]


def check(topic: str, duration: float, info_topic: str) -> list[Check]:
    """Listen, and say what was found.

    Args:
        topic: of the images.
        duration: seconds.
        info_topic: of the calibration; empty: ``camera_info`` beside the images.
    """
    node = rclpy.create_node("smap_ros_doctor")
    topic = node.resolve_topic_name(topic)
    found = _wait_for(node, topic)
    kinds = sorted({offer.kind for offer in found})
    if not any(kind in KINDS for kind in kinds):
        return [_absent(node, topic, kinds)]
    kind = next(kind for kind in kinds if kind in KINDS)
    beside = topic.removesuffix(COMPRESSED).rpartition("/")[0] + "/camera_info"
    info_topic = node.resolve_topic_name(info_topic or beside)
    listener = Listener(node, topic, KINDS[kind], info_topic)
    # Subscriptions and publishers find each other in their own time.
    _spin(node, DISCOVERY, until=lambda: listener.arrivals)
    _spin(node, duration)
    publishers = _publishers(offers(node, topic))
    findings = listener.findings(duration)
    simulated = any("use_sim_time:=true" in finding.hint for finding in findings)
    line = _line(topic, info_topic, simulated and node.count_publishers("/clock") > 0)
    return [publishers, *findings, line]


def _wait_for(node: Node, topic: str) -> tuple[Offer, ...]:
    """Who publishes it, once somebody does or nobody will."""
    _spin(node, DISCOVERY, until=lambda: offers(node, topic))
    return offers(node, topic)


def _spin(node: Node, duration: float, until: Callable[[], object] = lambda: None) -> None:
    """Take messages for so many seconds, or until something is true."""
    end = time.monotonic() + duration
    while time.monotonic() < end and not until():
        rclpy.spin_once(node, timeout_sec=POLL)


def _absent(node: Node, topic: str, kinds: list[str]) -> Check:
    """That the topic has no images, and which ones have."""
    there = [
        name
        for name, types in node.get_topic_names_and_types()
        if any(kind in KINDS for kind in types) and node.count_publishers(name)
    ]
    what = (
        f"{topic} is published as {' and '.join(kinds)}" if kinds else f"nobody publishes {topic}"
    )
    listed = f"topics with images: {', '.join(sorted(there))}" if there else "no topic has images"
    return Check("topic", False, what, f"{listed}. ROS_DOMAIN_ID must be that of the driver")


def _publishers(found: tuple[Offer, ...]) -> Check:
    hint = "several publish it, and their images come mixed: stop all but one"
    return Check("publishers", len(found) <= 1, "; ".join(map(str, found)) or "gone", hint)


def _line(topic: str, info_topic: str, simulated: bool) -> Check:
    base = topic.removesuffix(COMPRESSED)
    line = f"ros2 launch smap_ros pose3d.launch.py image:={base} camera_info:={info_topic}"
    more = " compressed:=true" * (base != topic) + " use_sim_time:=true" * simulated
    return Check("launch with", True, line + more)


def _shape(message: Image | CompressedImage) -> str:
    if isinstance(message, CompressedImage):
        return f"compressed, format {message.format!r}"
    return f"{message.width}x{message.height} px {message.encoding}, step {message.step}"


def _rate(times: list[float]) -> float:
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def main() -> int:
    """Run as a process; see the module."""
    words: list[Any] = [*sys.argv[1:], ""]
    rclpy.init()
    checks = check(words[0], float(words[1]), words[2])
    sys.stdout.write(json.dumps([asdict(one) for one in checks]) + "\n")
    sys.stdout.flush()
    rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
