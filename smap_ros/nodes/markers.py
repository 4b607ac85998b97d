"""People for those who look, and in the forms that other software takes: poses, TF, REP-155."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import Any

from geometry_msgs.msg import PoseArray, TransformStamped
from rclpy.node import Node
from visualization_msgs.msg import MarkerArray

from smap_ros.errors import SmapError
from smap_ros.graph.node_types import MARKERS_NODE, POSE3D_NODE, SMOOTHER_NODE
from smap_ros.graph.parameters import MarkerStyle
from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray
from smap_ros.nodes import detections, humans, qos
from smap_ros.nodes.annotator import Annotator
from smap_ros.nodes.clocks import latency_ms
from smap_ros.nodes.conversions import bodies_from_message
from smap_ros.nodes.diagnostics import Diagnostics, Feed, Health, Level
from smap_ros.nodes.image_watch import ImageInput
from smap_ros.nodes.marker_array import MarkerBuilder
from smap_ros.nodes.parameters import NodeParameters, Values
from smap_ros.nodes.runtime import run
from smap_ros.nodes.statistics import FrameStatistics
from smap_ros.nodes.tf_messages import TFMessage
from smap_ros.settings import build

_NO_TF = (
    "tf is on, but tf2_msgs isn't installed: no TF frames. It comes with a ROS distribution "
    "(ros-jazzy-tf2-msgs), not from PyPI"
)
_NO_HRI = (
    f"hri is on, but {humans.MISSING}: no topics of REP-155. It comes with a ROS distribution "
    "(ros-jazzy-hri-msgs), not from PyPI"
)

_NO_IDS = (
    "people have no ids: they get no TF frames, and REP-155 tells of nobody; start smoother_node, "
    "which tracks them (smoother:=true)"
)
_NO_FRAME = (
    "tf is on, but the people's frame_id is empty: they get no TF frames, as nobody could place "
    "them; set the frame_id of the camera's driver"
)


class MarkersNode(Node):
    """Subscribes ``bodies``; publishes ``markers``, ``poses``, ``image_annotated`` and TF.

    And, where their messages are installed, ``detections`` and REP-155's ``/humans/bodies``.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(MARKERS_NODE.name, **options)
        self._settings = NodeParameters(self, MARKERS_NODE.parameters, accept=self._accept)
        self._style = self._settings.options(MarkerStyle)
        self._builder = MarkerBuilder()
        self._problem = ""
        self._placed = True  # the newest people have a frame that TF can know
        self._statistics = FrameStatistics()
        self._markers = self.create_publisher(MarkerArray, "markers", qos.RELIABLE)
        self._poses = self.create_publisher(PoseArray, "poses", qos.RELIABLE)
        self._transforms = self._make_transforms()
        self._prefix = self._frame_prefix()
        self._humans = self._make_humans()
        self._detections = self._make_detections()
        self._annotator = Annotator(self, ImageInput.of(self, self._settings))
        self.create_subscription(BodyArray, "bodies", self._on_bodies, qos.RELIABLE)
        self._feed = Feed(self, "bodies", self._feeder())
        self._nameless = False  # nobody of those who came last was tracked
        self._diagnostics = Diagnostics(self, "visualization", self._health)

    def _feeder(self) -> str:
        """Who is to publish the people; without a smoother we are given the raw ones."""
        people = self.resolve_topic_name("bodies")
        raw = people.endswith("/bodies_raw") or people == self.resolve_topic_name("bodies_raw")
        return POSE3D_NODE.name if raw else SMOOTHER_NODE.name

    def _make_transforms(self) -> Any:
        if not self._settings.flag("tf"):
            return None
        if TFMessage is None:
            self.get_logger().warning(_NO_TF)
            return None
        return self.create_publisher(TFMessage, "/tf", 100)

    def _make_humans(self) -> humans.Humans | None:
        wanted = self._settings.text("hri")
        if wanted == "off":
            return None
        if humans.AVAILABLE:
            return humans.Humans(self, self._prefix)
        if wanted == "on":
            self.get_logger().warning(_NO_HRI)
        return None

    def _make_detections(self) -> Any:
        if not detections.AVAILABLE:
            return None
        return self.create_publisher(detections.KIND, "detections", qos.RELIABLE)

    def _frame_prefix(self) -> str:
        """What makes the frames of several cameras differ."""
        namespace: str = self.get_namespace()
        inside = f"{namespace.strip('/')}/" if namespace.strip("/") else ""
        return self._settings.text("tf_prefix") or inside

    def _on_bodies(self, message: BodyArray) -> None:
        started = time.perf_counter()
        self._statistics.arrived()
        self._feed.came()
        try:
            bodies = bodies_from_message(message)
        except SmapError as error:
            self._statistics.rejected += 1
            self._problem = str(error)
            self.get_logger().error(str(error), throttle_duration_sec=5.0)
            return
        self._problem = ""
        if message.bodies:
            self._nameless = all(body.id == BodyMessage.UNTRACKED for body in message.bodies)
        predicted = (body.predicted for body in message.bodies)
        people = list(zip(bodies, predicted, strict=True))
        self._markers.publish(self._builder.build(people, message.header, self._style))
        poses = [body.pose for body in message.bodies]
        self._poses.publish(PoseArray(header=message.header, poses=poses))
        self._broadcast(message)
        if self._humans is not None:
            self._humans.show(message, bodies)
        if self._detections is not None and self._detections.get_subscription_count() > 0:
            self._detections.publish(detections.detection_array(message))
        self._annotator.annotate(message, bodies)
        work = {"building": (time.perf_counter() - started) * 1e3}
        self._statistics.done(len(bodies), latency_ms(self, message.header.stamp), work)

    def _broadcast(self, message: BodyArray) -> None:
        self._placed = bool(message.header.frame_id)
        if self._transforms is None:
            return
        if not self._placed:
            self.get_logger().warning(_NO_FRAME, once=True)
            return
        frames = [
            _transform(body, message, frame)
            for body in message.bodies
            if _has_frame(body)
            for frame in self._frames(body.id)
        ]
        if frames:
            self._transforms.publish(TFMessage(transforms=frames))

    def _frames(self, identity: int) -> list[str]:
        """The names of a person's frame: ours, and where REP-155 is published, its own."""
        frames = [f"{self._prefix}body_{identity}"]
        if self._humans is not None:
            frames.append(f"body_{humans.body_id(identity, self._prefix)}")
        return frames

    def _accept(self, values: Values) -> None:
        self._style = build(MarkerStyle, values)

    def _health(self) -> Health:
        values = {
            **self._statistics.values(),
            "pictures": str(self._annotator.drawn),
            "pictures missed": str(self._annotator.missed),
            "REP-155": self._told_of_humans(),
            "detections": "published" if detections.AVAILABLE else detections.MISSING,
        }
        if self._problem:
            return Health(Level.ERROR, self._problem, values)
        if self._transforms is None and self._settings.flag("tf"):
            return Health(Level.WARN, _NO_TF, values)
        if self._transforms is not None and not self._placed:
            return Health(Level.WARN, _NO_FRAME, values)
        if self._humans is None and self._settings.text("hri") == "on":
            return Health(Level.WARN, _NO_HRI, values)
        if self._nameless and (self._transforms is not None or self._settings.text("hri") == "on"):
            return Health(Level.WARN, _NO_IDS, values)
        if silence := self._feed.problem():
            return Health(Level.WARN, silence, values)
        if blind := self._annotator.problem:
            return Health(Level.WARN, blind, values)
        return Health(Level.OK, "running", values)

    def _told_of_humans(self) -> str:
        if self._humans is not None:
            return "published"
        return "off" if self._settings.text("hri") == "off" else humans.MISSING


def _has_frame(body: BodyMessage) -> bool:
    return bool(body.pose_oriented) and body.id != BodyMessage.UNTRACKED


def _transform(body: BodyMessage, message: BodyArray, frame: str) -> TransformStamped:
    transform = TransformStamped(header=message.header, child_frame_id=frame)
    position = body.pose.position
    translation = transform.transform.translation
    translation.x, translation.y, translation.z = position.x, position.y, position.z
    transform.transform.rotation = body.pose.orientation
    return transform


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([MarkersNode], argv)


if __name__ == "__main__":
    sys.exit(main())
