"""/diagnostics once a second, without the diagnostic_updater package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

PERIOD = 1.0  # seconds
TOPIC = "/diagnostics"
DEPTH = 10
# For timers that must run although the simulation's clock stands still.
STEADY = Clock(clock_type=ClockType.STEADY_TIME)


class Level(Enum):
    """How well a node is."""

    OK = DiagnosticStatus.OK
    WARN = DiagnosticStatus.WARN
    ERROR = DiagnosticStatus.ERROR


@dataclass(frozen=True)
class Health:
    """What a node says about itself.

    Attributes:
        level: how well it is.
        message: one line; what to do, if it isn't.
        values: numbers and facts by key.
    """

    level: Level
    message: str
    values: Mapping[str, str] = field(default_factory=dict)


class Diagnostics:
    """Publishes a node's health once a second.

    Args:
        node: the node.
        task: name of what is reported, after the node's name.
        health: called once a second.
    """

    def __init__(self, node: Node, task: str, health: Callable[[], Health]) -> None:
        self._node = node
        self._name = f"{node.get_fully_qualified_name().lstrip('/')}: {task}"
        self._health = health
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, DEPTH)
        self._timer = node.create_timer(PERIOD, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Publish now, outside the period."""
        health = self._health()
        message = DiagnosticArray(
            status=[
                DiagnosticStatus(
                    level=health.level.value,
                    name=self._name,
                    message=health.message,
                    hardware_id=self._node.get_name(),
                    values=[KeyValue(key=k, value=v) for k, v in health.values.items()],
                )
            ]
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)
