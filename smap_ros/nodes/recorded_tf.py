"""TF of a bag, said again beside its images."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node

from smap_ros.geometry.transforms import Transform, TransformTree
from smap_ros.nodes import qos
from smap_ros.nodes.tf_messages import TFMessage


class RecordedTransforms:
    """Says on ``/tf`` where a bag's frames were at each of its images, with the image's stamp.

    Images are shown at other times than they were taken at, so TF as it was recorded would belong
    to none of them. What doesn't move is on ``/tf_static``.

    Args:
        node: publishes.
        tree: of the bag.
    """

    def __init__(self, node: Node, tree: TransformTree) -> None:
        self._tree = tree
        self._moving, self._fixed = tree.frames
        self._publisher: Any = None
        if not (self._moving or self._fixed):
            return
        if TFMessage is None:
            node.get_logger().info(
                "the bag has TF, which isn't said again: tf2_msgs isn't installed; it comes with a "
                "ROS distribution, not from PyPI"
            )
            return
        self._publisher = node.create_publisher(TFMessage, "/tf", qos.TF)
        self._static = node.create_publisher(TFMessage, "/tf_static", qos.LATCHED)
        found = {name: tree.at(name, 0.0) for name in self._fixed}
        self._static.publish(_message(found, Time()))

    def show(self, taken: float, stamp: Time) -> None:
        """Where the frames were when an image was taken, seconds, under the stamp it has now."""
        if self._publisher is not None:
            found = {name: self._tree.at(name, taken) for name in self._moving}
            self._publisher.publish(_message(found, stamp))


def _message(poses: dict[str, Transform | None], stamp: Time) -> Any:
    transforms = []
    for child, pose in poses.items():
        if pose is None:
            continue
        stamped = TransformStamped(child_frame_id=child)
        stamped.header.frame_id, stamped.header.stamp = pose.parent, stamp
        t, q = stamped.transform.translation, stamped.transform.rotation
        t.x, t.y, t.z = pose.translation
        q.x, q.y, q.z, q.w = pose.rotation
        transforms.append(stamped)
    return TFMessage(transforms=transforms)
