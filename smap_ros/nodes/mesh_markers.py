"""The surfaces of people for RViz and Foxglove: triangles, now and then, while somebody looks.

A person's mesh is 13,776 triangles, which are 41,328 points in a marker. As Python objects they
take 0.2 s to make and to serialise; so the message is serialised with three points for each
person, and the rest of them is put into its bytes: 2 ms.
"""

from __future__ import annotations

import struct
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from rclpy.lifecycle import LifecyclePublisher
from rclpy.serialization import serialize_message
from std_msgs.msg import Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bodies import Body, Mesh
from smap_ros.nodes.marker_array import rgba
from smap_ros.viz.colors import person_color

NAMESPACE = "meshes"
ALPHA = 0.9
LIFETIME = 2.0  # seconds, at least; and long enough for a few meshes at the chosen rate
LIFETIME_PERIODS = 3.0
LONGEST = 1e9  # seconds; a message holds 32 bits of them

_ORDER = "<" if sys.byteorder == "little" else ">"
_LENGTH, _POINT = struct.Struct(f"{_ORDER}I"), struct.Struct(f"{_ORDER}3d")
_STAND_INS = 3  # points of a marker before its own are put in


class MeshMarkers:
    """Publishes people's meshes, at most so often, and only what somebody receives.

    Markers are updated in place. They have the namespace ``meshes`` and a person's track id, or,
    as this stands before the tracker, the person's place in the frame. Who is gone is deleted,
    at the same rate; if the images end, markers vanish by themselves.

    Args:
        publisher: of MarkerArray.
        rate: meshes of a person per second; 0 for none.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        publisher: LifecyclePublisher,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.publisher = publisher
        self.rate = rate
        self._clock = clock
        self._last = -np.inf
        self._shown: set[int] = set()

    def show(self, bodies: Sequence[Body], header: Header) -> None:
        """Publish the meshes of a frame's people, if it is time to and there are any.

        Args:
            bodies: people; those without a (finite) mesh are left out.
            header: of the image.
        """
        if self.publisher.get_subscription_count() == 0:
            self._shown = set()
            return
        now = self._clock()
        if self.rate <= 0 or (now - self._last) * self.rate < 1:
            return
        meshes = {
            order if body.id is None else body.id: body.mesh
            for order, body in enumerate(bodies)
            if body.mesh is not None and np.isfinite(body.mesh.vertices).all()
        }
        if meshes or self._shown:
            lifetime = min(max(LIFETIME, LIFETIME_PERIODS / self.rate), LONGEST)
            gone = sorted(self._shown - set(meshes))
            self.publisher.publish(mesh_array(meshes, gone, header, lifetime))
            self._shown, self._last = set(meshes), now


def mesh_array(
    meshes: dict[int, Mesh], gone: Sequence[int], header: Header, lifetime: float
) -> bytes:
    """A MarkerArray of triangles, serialised.

    Args:
        meshes: surfaces by marker id.
        gone: ids to delete.
        header: of the image.
        lifetime: of a marker, seconds.
    """
    stand_ins = {identity: _stand_ins(order) for order, identity in enumerate(meshes)}
    markers = [_marker(k, header, points, lifetime) for k, points in stand_ins.items()]
    markers += [
        Marker(header=header, ns=NAMESPACE, id=k, action=Marker.DELETE, type=Marker.TRIANGLE_LIST)
        for k in gone
    ]
    message: bytes = serialize_message(MarkerArray(markers=markers))
    pieces, start = [], 0
    for identity, mesh in meshes.items():
        points = stand_ins[identity]
        found = b"".join(_POINT.pack(p.x, p.y, p.z) for p in points)
        where = message.index(found, start)
        before = message[start:where]
        corners = mesh.vertices[mesh.faces].reshape(-1, 3)
        pieces += [_with_length(before, len(corners)), corners.astype(f"{_ORDER}f8").tobytes()]
        start = where + len(found)
    return b"".join([*pieces, message[start:]])


def _stand_ins(order: int) -> list[Point]:
    """Points that are found again in a message, other ones for each marker."""
    values = np.random.default_rng(order).normal(size=(_STAND_INS, 3)).tolist()
    return [Point(x=x, y=y, z=z) for x, y, z in values]


def _with_length(before: bytes, count: int) -> bytes:
    """The bytes before a sequence of points with its length replaced.

    CDR, the serialisation of ROS messages: the length of a sequence of doubles stands before
    them, with 4 bytes of padding between where alignment to 8 needs it. Points are 24 bytes, so
    no other number of them changes the alignment of what follows.
    """
    at = -4 if _LENGTH.unpack(before[-4:])[0] == _STAND_INS else -8
    return before[:at] + _LENGTH.pack(count) + before[len(before) + at + 4 :]


def _marker(identity: int, header: Header, points: list[Point], lifetime: float) -> Marker:
    marker = Marker(
        header=header,
        ns=NAMESPACE,
        id=identity,
        type=Marker.TRIANGLE_LIST,
        action=Marker.ADD,
        points=points,
        color=rgba(person_color(identity), ALPHA),
        lifetime=Duration(sec=int(lifetime), nanosec=int(lifetime % 1 * 1e9)),
    )
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = 1.0
    return marker
