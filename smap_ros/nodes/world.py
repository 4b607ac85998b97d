"""A camera's mounting and motion from /tf and /tf_static."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node

from smap_ros.errors import InputError
from smap_ros.geometry.mounting import Mounting
from smap_ros.geometry.transforms import (
    HOLD,
    STATE_MOUNTING,
    WORLD_FRAME,
    Transform,
    TransformTree,
)
from smap_ros.nodes import qos
from smap_ros.nodes.conversions import seconds
from smap_ros.nodes.tf_messages import TFMessage


class WorldFrame:
    """Listens to TF and says where the floor is.

    Args:
        node: subscribes.
        name: of the world's frame; for a mounting level, z up, its origin on the floor.
        parameter: that names it; instead: what can be done without TF.
        hold: seconds for which a frame's newest transform holds.

    Raises:
        InputError: if tf2_msgs isn't installed.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        parameter: str = WORLD_FRAME,
        instead: str = STATE_MOUNTING,
        hold: float = HOLD,
    ) -> None:
        if TFMessage is None:
            raise InputError(
                f"{parameter} is {name!r}, but tf2_msgs isn't installed. It comes with a ROS "
                f"distribution (ros-jazzy-tf2-msgs), not from PyPI; without it {instead}"
            )
        self._node, self._name = node, name
        self._tree = TransformTree(parameter=parameter, instead=instead, hold=hold)
        self._subscriptions = [
            node.create_subscription(TFMessage, "/tf", self._take_moving, qos.TF),
            node.create_subscription(TFMessage, "/tf_static", self._take_fixed, qos.TF_STATIC),
        ]

    def mounting(self, frame_id: str, stamp: float) -> Mounting:
        """How the camera with this optical frame is mounted at a time, seconds.

        Raises:
            CameraError: if TF doesn't say.
        """
        return self._tree.mounting(frame_id, self._name, stamp)

    def pose(self, frame_id: str, stamp: float) -> NDArray[np.float64]:
        """The camera's optical frame to the world at a time, float64 [4, 4].

        Raises:
            CameraError: if TF doesn't say.
        """
        return self._tree.pose(frame_id, self._name, stamp)

    def close(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _take_moving(self, message: Any) -> None:
        self._take(message, fixed=False)

    def _take_fixed(self, message: Any) -> None:
        self._take(message, fixed=True)

    def _take(self, message: Any, *, fixed: bool) -> None:
        for stamped in message.transforms:
            t, q = stamped.transform.translation, stamped.transform.rotation
            transform = Transform(stamped.header.frame_id, (t.x, t.y, t.z), (q.x, q.y, q.z, q.w))
            stamp = seconds(stamped.header.stamp)
            self._tree.add(stamped.child_frame_id, transform, stamp, fixed=fixed)
