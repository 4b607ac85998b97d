"""Who publishes a topic, and whether a subscription gets anything of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSReliabilityPolicy

# Fast DDS begins its ids with this; two bytes that name the machine follow.
_FAST_DDS, _MACHINE = b"\x01\x0f", 4


@dataclass(frozen=True)
class Offer:
    """What a publisher offers.

    Attributes:
        node: its node, with namespace.
        kind: type of its messages, like ``sensor_msgs/msg/Image``.
        reliable: whether it sends again what got lost.
        latched: whether who comes late gets what was sent before.
        remote: whether it is on another machine, as far as one can tell.
    """

    node: str
    kind: str
    reliable: bool
    latched: bool
    remote: bool

    def __str__(self) -> str:
        durability = "transient local" if self.latched else "volatile"
        place = ", on another machine" if self.remote else ""
        return f"{self.node}: {'reliable' if self.reliable else 'best effort'}, {durability}{place}"


def offers(node: Node, topic: str) -> tuple[Offer, ...]:
    """Who publishes a topic, as a node knows it.

    Args:
        node: any.
        topic: its full name.
    """
    found = node.get_publishers_info_by_topic(topic)
    here = _machine_of(node) if found else b""
    return tuple(
        Offer(
            node=f"{one.node_namespace.rstrip('/')}/{one.node_name}",
            kind=one.topic_type,
            reliable=one.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE,
            latched=one.qos_profile.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL,
            remote=bool(here) and _machine(one) not in (b"", here),
        )
        for one in found
    )


def mismatch(found: Sequence[Offer], topic: str, kind: str, reliable: bool) -> str:
    """Why a subscription gets nothing of any publisher; empty if it gets what one sends.

    Args:
        found: who publishes.
        topic: for people.
        kind: type of the messages that are subscribed.
        reliable: whether they are asked for as reliable.
    """
    right = [offer for offer in found if offer.kind == kind]
    if found and not right:
        kinds = " and ".join(sorted({offer.kind for offer in found}))
        return f"{topic} is published as {kinds}; expected {kind}"
    if reliable and right and not any(offer.reliable for offer in right):
        who = ", ".join(offer.node for offer in right)
        return (
            f"no image can come: reliable images of {topic} are asked for, but {who} offers best "
            "effort. Set image_reliability:=best_effort, or let the driver publish reliably"
        )
    return ""


def _machine_of(node: Node) -> bytes:
    """What names the machine that a node runs on; empty where nothing does."""
    own = node.get_publishers_info_by_topic("/rosout")
    me = node.get_name(), node.get_namespace()
    mine = (one for one in own if (one.node_name, one.node_namespace) == me)
    return next((_machine(one) for one in mine), b"")


def _machine(publisher: Any) -> bytes:
    name = bytes(publisher.endpoint_gid[:_MACHINE])
    return name if name.startswith(_FAST_DDS) else b""
