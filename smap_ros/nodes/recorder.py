"""All topics of the graph into a bag (MCAP), where `ros2 bag record` isn't at hand."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
)
from rclpy.serialization import serialize_message
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Bool
from visualization_msgs.msg import MarkerArray

from smap_ros.bags.messages import image_from_message
from smap_ros.errors import InputError
from smap_ros.graph.node_types import RECORDER_NODE
from smap_ros.images import BitDepth
from smap_ros.msg import Body, BodyArray, SkeletonInfo
from smap_ros.nodes.conversions import array_to_compressed, stamp_of_bytes
from smap_ros.nodes.diagnostics import Diagnostics, Health, Level
from smap_ros.nodes.image_watch import ImageInput, ImageWatch
from smap_ros.nodes.parameters import NodeParameters
from smap_ros.nodes.runtime import BAD_INPUT, run
from smap_ros.paths import user_path

# A slow disk must not cost messages: as many wait per topic.
_DEPTH = 100
_UNLIMITED = QosTime(sec=9223372036, nsec=854775807)

# Element types of rclpy's introspection, where a message file spells them differently.
_FILE_TYPES = {"float": "float32", "double": "float64", "boolean": "bool", "octet": "byte"}


@dataclass(frozen=True)
class Topic:
    """A topic to record.

    Attributes:
        name: relative or absolute.
        kind: message class.
        reliable: False for sensor data.
        latched: whether the last message is kept for those who come later.
    """

    name: str
    kind: Any
    reliable: bool = True
    latched: bool = False

    @property
    def profile(self) -> QoSProfile:
        """QoS that this kind of publisher can serve, with a long queue."""
        reliability, durability = QoSReliabilityPolicy, QoSDurabilityPolicy
        return QoSProfile(
            history=QoSHistoryPolicy.KEEP_LAST,
            depth=_DEPTH,
            reliability=reliability.RELIABLE if self.reliable else reliability.BEST_EFFORT,
            durability=durability.TRANSIENT_LOCAL if self.latched else durability.VOLATILE,
        )

    @property
    def offered(self) -> Qos:
        """The publisher's QoS as a bag states it, so that a player offers the same."""
        return Qos(
            history=QosHistory.KEEP_LAST,
            depth=1 if self.latched else 5,
            reliability=(QosReliability.RELIABLE if self.reliable else QosReliability.BEST_EFFORT),
            durability=(QosDurability.TRANSIENT_LOCAL if self.latched else QosDurability.VOLATILE),
            deadline=_UNLIMITED,
            lifespan=_UNLIMITED,
            liveliness=QosLiveliness.AUTOMATIC,
            liveliness_lease_duration=_UNLIMITED,
            avoid_ros_namespace_conventions=False,
        )


TOPICS = (
    Topic("camera_info", CameraInfo, reliable=False),
    Topic("end_of_stream", Bool, latched=True),
    Topic("bodies_raw", BodyArray),
    Topic("bodies", BodyArray),
    Topic("skeleton_info", SkeletonInfo, latched=True),
    Topic("poses", PoseArray),
    Topic("markers", MarkerArray),
    Topic("/diagnostics", DiagnosticArray),
)


class RecorderNode(Node):
    """Subscribes everything the graph publishes but ``image_annotated``, and writes a bag.

    Times in the bag are those of arrival, so that with the stamps they give the latency.
    """

    _whole = False  # a node that refuses its parameters is destroyed half made, from Kilted on

    def __init__(self, **options: Any) -> None:
        super().__init__(RECORDER_NODE.name, **options)
        self.exit_status = 0
        settings = NodeParameters(self, RECORDER_NODE.parameters)
        self._quality = settings.whole("jpeg_quality")
        self._writer = _open_bag(settings.text("output"))
        self._whole = True
        self._store = get_typestore(Stores.ROS2_JAZZY)
        for kind in (Body, BodyArray, SkeletonInfo):
            name = _type_name(kind)
            self._store.register(get_types_from_msg(message_definition(kind), name))
        images = ImageInput.of(self, settings)
        self._watch = ImageWatch(self, images)
        for topic in TOPICS:
            seen = self._watch.info if topic.name == "camera_info" else None
            self._record_raw(topic, topic.profile, seen)
        self._record_images(images)
        self._diagnostics = Diagnostics(self, "recorder", self._health)
        self.get_logger().info(f"recording to {settings.text('output')}")

    def destroy_node(self) -> None:
        """Finish the bag, then the node."""
        try:
            if self._whole:
                self._writer.close()
        except OSError as error:
            self._give_up(error)
        super().destroy_node()

    def _write(self, connection: Connection, arrived: int, data: bytes) -> None:
        """Append a message; when there is no more room, end the process with what is written."""
        if self.exit_status:
            return
        try:
            self._writer.write(connection, arrived, data)
        except OSError as error:
            self._give_up(error)
            rclpy.try_shutdown()

    def _give_up(self, error: OSError) -> None:
        if not self.exit_status:
            self.exit_status = BAD_INPUT
            self.get_logger().fatal(
                f"can't write the bag: {error.strerror}; what was recorded before can be read "
                "(smap-ros bag, smap-ros estimate)"
            )

    def _record_raw(
        self, topic: Topic, profile: QoSProfile, seen: Callable[[Time], None] | None = None
    ) -> None:
        """Write a topic's messages as they come over the wire; tell somebody their stamps."""
        connection = self._connection(topic, self.resolve_topic_name(topic.name))

        def write(data: bytes) -> None:
            self._write(connection, time.time_ns(), data)
            if seen is not None:
                seen(stamp_of_bytes(data))

        self.create_subscription(topic.kind, topic.name, write, profile, raw=True)

    def _record_images(self, images: ImageInput) -> None:
        topic = Topic(images.topic, images.kind, reliable=images.reliable)
        if images.compressed or self._quality == 0:
            self._record_raw(topic, images.profile, self._watch.image)
            return
        name = f"{images.topic}/compressed"
        connection = self._connection(replace(topic, name=name, kind=CompressedImage), name)
        depth = BitDepth()

        def write(message: Image) -> None:
            arrived = time.time_ns()
            self._watch.image(message.header.stamp)
            try:
                image = image_from_message(message, depth)
            except InputError as error:
                self.get_logger().error(
                    f"an image is not recorded: {error}", throttle_duration_sec=5.0
                )
                return
            small = array_to_compressed(image, message.header, self._quality)
            self._write(connection, arrived, serialize_message(small))

        self.create_subscription(Image, images.topic, write, images.profile)

    def _health(self) -> Health:
        doubt, values = self._watch.report()
        if doubt is None:
            return Health(Level.OK, "recording", values)
        return Health(doubt.level, doubt.text, values)

    def _connection(self, topic: Topic, name: str) -> Connection:
        return self._writer.add_connection(
            name,
            _type_name(topic.kind),
            typestore=self._store,
            offered_qos_profiles=[topic.offered],
        )


def message_definition(kind: Any) -> str:
    """The fields of a message class as text of a ``.msg`` file.

    The files themselves are not installed everywhere; constants and defaults are left out,
    which neither the layout nor the type's hash depends on.
    """
    lines = []
    for name, declared in kind.get_fields_and_field_types().items():
        element, suffix = declared, ""
        if declared.startswith("sequence<"):
            element, suffix = declared[len("sequence<") : -1], "[]"
        elif declared.endswith("]"):
            element, _, size = declared.partition("[")
            suffix = f"[{size}"
        lines.append(f"{_FILE_TYPES.get(element, element)}{suffix} {name}")
    return "\n".join(lines) + "\n"


def _type_name(kind: Any) -> str:
    """``smap_ros/msg/BodyArray``."""
    package = kind.__module__.split(".")[0]
    return f"{package}/msg/{kind.__name__}"


def _open_bag(output: str) -> Writer:
    if not output:
        raise InputError("parameter output is empty; expected the folder of the bag to write")
    path = user_path(output)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.open()
    except (WriterError, OSError) as error:
        raise InputError(
            f"the bag {output} can't be written: {error}; expected a folder that doesn't exist yet"
        ) from error
    return writer


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node as a process."""
    return run([RecorderNode], argv)


if __name__ == "__main__":
    sys.exit(main())
