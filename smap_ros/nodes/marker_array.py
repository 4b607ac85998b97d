"""People as RViz markers that are updated in place."""

from __future__ import annotations

from collections.abc import Sequence

from builtin_interfaces.msg import Duration
from geometry_msgs.msg import Point
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from smap_ros.bodies import Body
from smap_ros.graph.parameters import MarkerStyle
from smap_ros.nodes.conversions import NANOSECONDS
from smap_ros.viz.colors import RGB, person_color, side_color
from smap_ros.viz.draw import label

JOINTS, LIMBS, LABELS = "joints", "limbs", "labels"
LABEL_HEIGHT = 0.18  # metres
LABEL_ABOVE = 0.25  # metres over the topmost joint
PREDICTED_ALPHA = 0.4


class MarkerBuilder:
    """Remembers what is shown, so that only what vanished is deleted.

    A person keeps the marker ids of the track id; people without one are numbered.
    """

    def __init__(self) -> None:
        self._shown: set[tuple[str, int]] = set()

    def build(
        self, bodies: Sequence[tuple[Body, bool]], header: Header, style: MarkerStyle
    ) -> MarkerArray:
        """Markers of the people of a frame, and DELETE for those who are gone.

        Args:
            bodies: people, each with whether it is predicted.
            header: of the image.
            style: how they look.
        """
        markers: list[Marker] = []
        for order, (body, predicted) in enumerate(bodies):
            identity = order if body.id is None else body.id
            markers += _person(body, identity, 1.0 if not predicted else PREDICTED_ALPHA, style)
        seconds = int(style.lifetime)
        lifetime = Duration(sec=seconds, nanosec=int((style.lifetime - seconds) * NANOSECONDS))
        for marker in markers:
            marker.header, marker.lifetime = header, lifetime
        now = {(marker.ns, marker.id) for marker in markers}
        gone = sorted(self._shown - now)
        self._shown = now
        markers += [
            Marker(header=header, ns=ns, id=identity, action=Marker.DELETE) for ns, identity in gone
        ]
        return MarkerArray(markers=markers)


def _person(body: Body, identity: int, alpha: float, style: MarkerStyle) -> list[Marker]:
    skeleton, present = body.skeleton, body.present
    color = person_color(body.id, identity)
    shades = {side: rgba(side_color(color, side), alpha) for side in ("left", "right", "middle")}
    points = {
        joint: Point(x=x, y=y, z=z)
        for joint, (x, y, z) in enumerate(body.joints_3d.tolist())
        if present[joint]
    }
    if not points:
        return []
    joints = _marker(JOINTS, identity, Marker.SPHERE_LIST, style.joint_diameter)
    joints.points = list(points.values())
    joints.colors = [shades[skeleton.side(joint)] for joint in points]
    limbs = _marker(LIMBS, identity, Marker.LINE_LIST, style.limb_width)
    for a, b in skeleton.limbs:
        if a in points and b in points:
            side = skeleton.side(b) if skeleton.side(b) != "middle" else skeleton.side(a)
            limbs.points += [points[a], points[b]]
            limbs.colors += [shades[side]] * 2
    markers = [joints, limbs] if limbs.points else [joints]
    if style.labels:
        text = _marker(LABELS, identity, Marker.TEXT_VIEW_FACING, LABEL_HEIGHT)
        top = min(points.values(), key=lambda point: point.y)  # y points down
        text.pose.position = Point(x=top.x, y=top.y - LABEL_ABOVE, z=top.z)
        text.text, text.color = label(body), rgba(color, alpha)
        markers.append(text)
    return markers


def _marker(namespace: str, identity: int, kind: int, size: float) -> Marker:
    marker = Marker(ns=namespace, id=identity, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = size
    return marker


def rgba(color: RGB, alpha: float) -> ColorRGBA:
    """A colour for markers; ``alpha`` 1 is opaque."""
    r, g, b = color
    return ColorRGBA(r=r / 255, g=g / 255, b=b / 255, a=alpha)
