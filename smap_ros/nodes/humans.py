"""People for software that follows REP-155: the topics under ``/humans/bodies``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PointStamped
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Header

from smap_ros.bodies import Body
from smap_ros.msg import Body as BodyMessage
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.nodes.diagnostics import STEADY
from smap_ros.skeletons import HRI18, convert

try:  # comes with a ROS distribution; there is no wheel of it
    from hri_msgs.msg import (
        IdsList,
        NormalizedPointOfInterest2D,
        NormalizedRegionOfInterest2D,
        Skeleton2D,
    )
except ImportError:
    IdsList = None

BODIES = "/humans/bodies"  # REP-155 groups its topics there, whatever the node's namespace
MISSING = "hri_msgs isn't installed"
Floats = NDArray[np.floating]
QUIET = 2.0  # seconds without a message after which nobody is tracked any more

AVAILABLE = IdsList is not None


def body_id(identity: int, prefix: str) -> str:
    """A person's id in REP-155.

    It is part of topics' names, whose parts hold letters, digits and single underscores and begin
    with no digit.

    Args:
        identity: track id.
        prefix: what makes the people of several cameras differ.
    """
    camera = re.sub(r"[^A-Za-z0-9]+", "_", prefix).strip("_")
    return "_".join(part for part in (f"b{identity}", camera) if part)


class Humans:
    """Publishes who is tracked, and for each of them the topics of a body.

    Those of a person are there for as long as the person is tracked.

    Args:
        node: publishes.
        prefix: what makes the people of several cameras differ.
    """

    def __init__(self, node: Node, prefix: str) -> None:
        self._node, self._prefix = node, prefix
        self._tracked = node.create_publisher(IdsList, f"{BODIES}/tracked", qos.RELIABLE)
        self._topics: dict[str, _BodyTopics] = {}
        self._header = Header()
        self._timer = node.create_timer(QUIET, self._forget, clock=STEADY)

    def show(self, message: BodyArray, bodies: Sequence[Body]) -> None:
        """Publish the tracked people of an image.

        Args:
            message: the people.
            bodies: the same, in the same order.
        """
        size = (message.image_width, message.image_height)
        people = {
            body_id(said.id, self._prefix): _Seen(said, body, message.header, size)
            for said, body in zip(message.bodies, bodies, strict=True)
            if said.id != BodyMessage.UNTRACKED
        }
        self._list(people, message.header)
        for identity, seen in people.items():
            self._topics[identity].publish(seen)
        self._timer.reset()

    def _list(self, people: Collection[str], header: Header) -> None:
        """Say who is tracked; their topics come, and those of others go."""
        for identity in set(self._topics) - set(people):
            self._topics.pop(identity).close()
        for identity in people:
            if identity not in self._topics:
                self._topics[identity] = _BodyTopics(self._node, identity)
        self._header = header
        self._tracked.publish(IdsList(header=header, ids=list(people)))

    def _forget(self) -> None:
        """Nothing comes: nobody is tracked any more."""
        if self._topics:
            self._list((), self._header)


class _BodyTopics:
    """The topics of one person."""

    def __init__(self, node: Node, identity: str) -> None:
        self._node = node
        kinds = {
            "position": (PointStamped, _position),
            "skeleton2d": (Skeleton2D, _skeleton),
            "roi": (NormalizedRegionOfInterest2D, _region),
        }
        self._publishers = [
            (node.create_publisher(kind, f"{BODIES}/{identity}/{name}", qos.RELIABLE), make)
            for name, (kind, make) in kinds.items()
        ]

    def publish(self, seen: _Seen) -> None:
        """Publish what there is of a person and somebody receives."""
        for publisher, make in self._publishers:
            if publisher.get_subscription_count() > 0 and (message := make(seen)) is not None:
                publisher.publish(message)

    def close(self) -> None:
        """End the topics."""
        for publisher, _ in self._publishers:
            self._node.destroy_publisher(publisher)


@dataclass(frozen=True)
class _Seen:
    """A person in an image: as said, the same as a body, and the image's header and size."""

    said: BodyMessage
    body: Body
    header: Header
    size: tuple[int, int]


def _position(seen: _Seen) -> PointStamped:
    return PointStamped(header=seen.header, point=seen.said.pose.position)


# These tell what is in this picture: nothing of a predicted person, who wasn't seen in it.


def _skeleton(seen: _Seen) -> Skeleton2D | None:
    if seen.said.predicted:
        return None
    points = [
        NormalizedPointOfInterest2D(x=x, y=y, c=c)
        for x, y, c in skeleton_points(seen.body, seen.size).tolist()
    ]
    return Skeleton2D(header=seen.header, skeleton=points)


def _region(seen: _Seen) -> NormalizedRegionOfInterest2D | None:
    edges = region(np.asarray(seen.said.box, float), seen.size)
    if edges is None or seen.said.predicted:
        return None
    corners = dict(zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
    return NormalizedRegionOfInterest2D(header=seen.header, c=seen.said.score, **corners)


def skeleton_points(body: Body, size: tuple[int, int]) -> Floats:
    """A person's joints in the picture as ``hri_msgs/Skeleton2D`` has them.

    Args:
        body: the person.
        size: width and height of the image in pixels.

    Returns:
        float64 [18, 3], in the order of :data:`HRI18`: x and y as shares of the picture's width
        and height, and the score. All are 0 for joints that are missing or out of the picture.
    """
    rows = np.concatenate([body.joints_2d, body.scores[:, None]], axis=1).astype(float)
    points = convert(rows, body.skeleton, HRI18)  # [18, 3]
    points[:, :2] = _shares(points[:, :2], size)
    inside = ((points[:, :2] >= 0) & (points[:, :2] <= 1)).all(axis=1)  # False for NaN
    points[~inside] = 0
    return points


def region(box: Floats, size: tuple[int, int]) -> tuple[float, ...] | None:
    """The part of a box that is in the picture; None if nothing of it is.

    Args:
        box: float64 [4], x_min, y_min, x_max, y_max in pixels.
        size: width and height of the image in pixels.

    Returns:
        The same as shares of the picture's width and height.
    """
    low, high = _shares(box.reshape(2, 2), size).clip(0, 1)
    if not (high > low).all():
        return None
    return (*low.tolist(), *high.tolist())


def _shares(points: Floats, size: tuple[int, int]) -> Floats:
    """Pixels [..., 2] as shares of the picture, whose first pixel reaches from -0.5 to 0.5."""
    return (points + 0.5) / np.maximum(size, 1)
