"""What somebody says once, before we come; and again when started anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy
from rclpy.subscription import Subscription

from smap_ros.nodes import qos
from smap_ros.nodes.diagnostics import STEADY

LOOK = 0.5  # seconds


class EarlyMessages:
    """Hears the latched messages of a topic, beside a subscription to those that come from now on.

    Only once a publisher has some: the others would warn of a subscription they don't fit.

    Args:
        node: subscribes.
        kind: of the messages.
        topic: its full name.
        callback: takes them.
    """

    def __init__(self, node: Node, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        self._node, self._kind, self._topic, self._callback = node, kind, topic, callback
        self._subscription: Subscription | None = None
        self._timer = node.create_timer(LOOK, self._look, clock=STEADY)

    def close(self) -> None:
        """Hear no more."""
        self._node.destroy_timer(self._timer)
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _look(self) -> None:
        profiles = [
            publisher.qos_profile
            for publisher in self._node.get_publishers_info_by_topic(self._topic)
        ]
        if any(
            profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL
            and profile.reliability == QoSReliabilityPolicy.RELIABLE
            for profile in profiles
        ):
            self._timer.cancel()
            self._subscription = self._node.create_subscription(
                self._kind, self._topic, self._callback, qos.LATCHED
            )
