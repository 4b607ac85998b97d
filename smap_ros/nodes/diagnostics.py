"""/diagnostics once a second, without the diagnostic_updater package."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from smap_ros.nodes.offers import mismatch, offers

PERIOD = 1.0  # seconds
SILENCE = 2.0  # seconds without images after which they are missed
# The same of people: those who make them report what they miss themselves, and sooner.
UNFED = 5.0  # seconds
# A node that was killed is still seen for as long as the middleware waits for it: 20 s.
TWINS = 30.0  # seconds
PEOPLE = "smap_ros/msg/BodyArray"
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
        # With the namespace: there may be a node of that name for each camera.
        self._hardware = node.get_fully_qualified_name().lstrip("/")
        self._name = f"{self._hardware}: {task}"
        self._health = health
        self._alone = time.monotonic()  # when nobody else had our name
        self._publisher = node.create_publisher(DiagnosticArray, TOPIC, DEPTH)
        self._timer = node.create_timer(PERIOD, self.publish, clock=STEADY)

    def publish(self) -> None:
        """Publish now, outside the period."""
        health = self._with_twin(self._health())
        message = DiagnosticArray(
            status=[
                DiagnosticStatus(
                    level=health.level.value,
                    name=self._name,
                    message=health.message,
                    hardware_id=self._hardware,
                    values=[KeyValue(key=k, value=v) for k, v in health.values.items()],
                )
            ]
        )
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _with_twin(self, health: Health) -> Health:
        """The health, with a warning if another node has had our name for long."""
        me = self._node.get_name(), self._node.get_namespace()
        if self._node.get_node_names_and_namespaces().count(me) < 2:
            self._alone = time.monotonic()
            return health
        if health.level is Level.ERROR or time.monotonic() - self._alone < TWINS:
            return health
        text = (
            f"another node is called {self._node.get_fully_qualified_name()} too: parameters, "
            "services and diagnostics of both get mixed up; stop it, or give one of them another "
            "name or namespace (__node:=, __ns:=)"
        )
        said = text if health.level is Level.OK else f"{health.message}; {text}"
        return Health(Level.WARN, said, health.values)


class Feed:
    """Whether anybody feeds a node.

    Args:
        node: the node.
        topic: it subscribes.
        from_node: what publishes there in our graphs, for people to look at.
    """

    def __init__(self, node: Node, topic: str, from_node: str) -> None:
        self._node, self._from = node, from_node
        self._topic: str = node.resolve_topic_name(topic)
        self._last = time.monotonic()

    def came(self) -> None:
        """A message came."""
        self._last = time.monotonic()

    def problem(self) -> str:
        """What is wrong, in one line; empty when messages come."""
        if time.monotonic() - self._last <= UNFED:
            return ""
        found = offers(self._node, self._topic)
        if not found and self._beside:
            return (
                f"nobody publishes {self._topic}, though {self._from} runs; its diagnostics say why"
            )
        if not found:
            return f"nobody publishes {self._topic}; start {self._from} in the same namespace"
        if wrong := mismatch(found, self._topic, PEOPLE, reliable=False):
            return wrong
        if not any(offer.reliable for offer in found if offer.kind == PEOPLE):
            who = ", ".join(offer.node for offer in found if offer.kind == PEOPLE)
            return (
                f"nothing of {self._topic} can come: {who} offers best effort, and people are "
                "taken reliably; let it publish them reliably"
            )
        return f"nothing on {self._topic} for {UNFED:g} s; the diagnostics of {self._from} say why"

    @property
    def _beside(self) -> bool:
        """Whether the node that is to feed us runs in our namespace."""
        who = self._from, self._node.get_namespace()
        return who in self._node.get_node_names_and_namespaces()
