"""What is drawn of a frame, as arrays: no browser in here.

Coordinates are metres in the camera's optical frame. A page draws them below a node that stands
where the camera does (:func:`camera_pose`), in a world whose z axis points up from the floor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body, BodyFrame
from smap_ros.camera import Camera
from smap_ros.geometry.mounting import Mounting
from smap_ros.geometry.orientation import quaternion
from smap_ros.view.floor import Floor
from smap_ros.viz.colors import BACKGROUND, RGB, mix, person_color, side_color
from smap_ros.viz.draw import label

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
UInt8 = NDArray[np.uint8]

LABEL_ABOVE = 0.22  # metres over the topmost joint
PREDICTED_SHADE = 0.6  # share of the background in the colour of who wasn't seen in this image
FRUSTUM_DEPTH = 1.0  # metres from the camera to its picture
TRAIL_ABOVE = 0.01  # metres over the floor, so that the grid doesn't hide it
BESIDE = 0.12  # of the distance: how far right of the people an overview looks
FIELD_OF_VIEW = math.radians(45)  # of the browser's own camera, vertical
NOBODY = (-4.0, 0.0)  # where people may come, metres in the world
_UP_MARK = 0.12  # height of the mark on the picture's upper edge, as a share of its width


@dataclass(frozen=True)
class View:
    """A frame as it is to be shown.

    Attributes:
        bodies: the people.
        floor: where they stand.
        camera: of the picture; None where it isn't known.
        predicted: of each person, whether it was not seen in this frame; () for none.
        trails: by track id: float32 [n, 3], metres in the optical frame.
    """

    bodies: Sequence[Body]
    floor: Floor
    camera: Camera | None = None
    predicted: Sequence[bool] = ()
    trails: Mapping[int, Float32] = field(default_factory=dict)


@dataclass(frozen=True)
class Label:
    """A text in space: what it says, where it stands (metres), its colour."""

    text: str
    position: tuple[float, float, float]
    color: RGB


@dataclass(frozen=True)
class People:
    """All people of a frame, as a batch of balls and a batch of rods.

    Attributes:
        joints: float32 [J, 3], centres of the balls.
        joint_colors: uint8 [J, 3].
        limbs: float32 [L, 2, 3], ends of the rods.
        limb_colors: uint8 [L, 3].
        labels: one for each person.
    """

    joints: Float32
    joint_colors: UInt8
    limbs: Float32
    limb_colors: UInt8
    labels: tuple[Label, ...]


def people_of(bodies: Sequence[Body], predicted: Sequence[bool] = ()) -> People:
    """The people of a frame for drawing; joints that are missing, and limbs to them, are not.

    Args:
        bodies: people.
        predicted: of each, whether it was carried over from earlier frames; () for none.
    """
    joints, joint_colors, limbs, limb_colors = [], [], [], []
    labels = []
    for order, body in enumerate(bodies):
        skeleton, present = body.skeleton, body.present
        if not present.any():
            continue
        color = person_color(body.id, order)
        if order < len(predicted) and predicted[order]:
            color = mix(color, BACKGROUND, PREDICTED_SHADE)
        shades = {side: side_color(color, side) for side in ("left", "right", "middle")}
        for joint in np.flatnonzero(present).tolist():
            joints.append(body.joints_3d[joint])
            joint_colors.append(shades[skeleton.side(joint)])
        for a, b in skeleton.limbs:
            if present[a] and present[b]:
                side = skeleton.side(b) if skeleton.side(b) != "middle" else skeleton.side(a)
                limbs.append(body.joints_3d[[a, b]])
                limb_colors.append(shades[side])
        x, y, z = body.joints_3d[present][np.argmin(body.joints_3d[present, 1])].tolist()
        labels.append(Label(label(body), (x, y - LABEL_ABOVE, z), color))
    return People(
        joints=np.array(joints, np.float32).reshape(-1, 3),
        joint_colors=np.array(joint_colors, np.uint8).reshape(-1, 3),
        limbs=np.array(limbs, np.float32).reshape(-1, 2, 3),
        limb_colors=np.array(limb_colors, np.uint8).reshape(-1, 3),
        labels=tuple(labels),
    )


def rods(segments: Float32, radius: float) -> tuple[Float32, Float32, Float32]:
    """How a rod of length 1 and radius 1 along z is put between the ends of segments.

    Args:
        segments: float32 [L, 2, 3], metres.
        radius: of the rods, metres.

    Returns:
        Centres, float32 [L, 3]; rotations as quaternions w, x, y, z, float32 [L, 4]; scales,
        float32 [L, 3].
    """
    ways = (segments[:, 1] - segments[:, 0]).astype(np.float64)
    lengths = np.linalg.norm(ways, axis=1)
    along = ways / np.maximum(lengths, 1e-9)[:, None]
    # The shortest turn from z to a direction d: (1 + z.d, z x d), normalised.
    turns = np.stack([1 + along[:, 2], -along[:, 1], along[:, 0], 0 * lengths], axis=1)
    sizes = np.linalg.norm(turns, axis=1)
    turns[sizes < 1e-6] = (0.0, 1.0, 0.0, 0.0)  # straight back: half a turn about x
    turns /= np.linalg.norm(turns, axis=1, keepdims=True)
    scales = np.stack([np.full_like(lengths, radius)] * 2 + [lengths], axis=1)
    centres = segments.mean(axis=1)
    return centres.astype(np.float32), turns.astype(np.float32), scales.astype(np.float32)


def trails(frames: Sequence[BodyFrame]) -> dict[int, Float32]:
    """The ways of the tracked people over some frames.

    Returns:
        By track id: float32 [n, 3], positions of the root in order, n >= 2.
    """
    ways: dict[int, list[Float32]] = {}
    for frame in frames:
        for body in frame:
            if body.id is not None and np.isfinite(body.root).all():
                ways.setdefault(body.id, []).append(body.root)
    return {identity: np.stack(way) for identity, way in ways.items() if len(way) > 1}


def trail_segments(ways: Mapping[int, Float32], floor: Floor) -> tuple[Float32, UInt8]:
    """Trails on the floor, as lines in the world that fade towards their beginning.

    Args:
        ways: by track id: float32 [n, 3], optical frame.
        floor: where they lie.

    Returns:
        Ends, float32 [S, 2, 3], metres in the world; colours, uint8 [S, 2, 3].
    """
    rotation, position = camera_pose(floor.mounting)
    segments, colors = [], []
    for identity, way in ways.items():
        points = way.astype(np.float64) @ rotation.T + position
        points[:, 2] = TRAIL_ABOVE
        segments.append(np.stack([points[:-1], points[1:]], axis=1))
        shade = np.array(person_color(identity), np.float64)
        share = np.linspace(0.15, 0.9, len(points))[:, None]  # of full brightness
        fading = shade * share
        colors.append(np.stack([fading[:-1], fading[1:]], axis=1))
    if not segments:
        return np.zeros((0, 2, 3), np.float32), np.zeros((0, 2, 3), np.uint8)
    return np.concatenate(segments).astype(np.float32), np.concatenate(colors).astype(np.uint8)


@dataclass(frozen=True)
class Frustum:
    """A camera with its picture in space.

    Attributes:
        segments: float32 [S, 2, 3], edges of the pyramid and a mark on its upper side.
        centre: of the picture, metres.
        size: width and height of the picture, metres.
    """

    segments: Float32
    centre: tuple[float, float, float]
    size: tuple[float, float]


def frustum(camera: Camera, depth: float = FRUSTUM_DEPTH) -> Frustum:
    """What a camera sees, up to a distance; a lens's distortion is left out.

    Pixel centres have whole coordinates, so that the picture reaches half a pixel further.
    """
    left, right = ((u - camera.cx) / camera.fx * depth for u in (-0.5, camera.width - 0.5))
    top, bottom = ((v - camera.cy) / camera.fy * depth for v in (-0.5, camera.height - 0.5))
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    points = [np.array([x, y, depth]) for x, y in corners]
    edges = [(np.zeros(3), point) for point in points]
    edges += [(points[k], points[(k + 1) % 4]) for k in range(4)]
    middle, width = (left + right) / 2, right - left
    tip = np.array([middle, top - _UP_MARK * width, depth])
    for side in (-_UP_MARK * width, _UP_MARK * width):
        edges.append((np.array([middle + side, top, depth]), tip))
    return Frustum(
        np.array(edges, np.float32), (middle, (top + bottom) / 2, depth), (width, bottom - top)
    )


def camera_pose(mounting: Mounting) -> tuple[Float64, Float64]:
    """A camera in the world: z up, its origin on the floor below the camera, x backward, y right.

    Returns:
        Rotation, float64 [3, 3], optical frame to world; position, float64 [3], metres.
    """
    rotation, position = mounting.pose(0.0)
    return rotation.T, position


def wxyz(rotation: Float64) -> tuple[float, float, float, float]:
    """Quaternion of a rotation matrix, in the order that viser wants."""
    x, y, z, w = quaternion(rotation)
    return w, x, y, z


@dataclass(frozen=True)
class Viewpoint:
    """Where to look from, and to; metres in the world."""

    position: tuple[float, float, float]
    target: tuple[float, float, float]


def overview(bodies: Sequence[Body], floor: Floor) -> Viewpoint:
    """From behind, beside and above the camera to the middle of the people."""
    position = camera_pose(floor.mounting)[1]
    places = _places(bodies, floor)
    if len(places):
        x, y, _ = np.median(places, axis=0)
        # From the camera to the farthest of them, and what they spread.
        reach = float(np.abs(places - [0, 0, position[2]]).max())
    else:
        (x, y), reach = NOBODY, 4.0
    eye = np.array([0.25 * reach + 0.4, y + 0.62 * reach, position[2] + 0.28 * reach])
    target = np.array([0.65 * x, y, 0.75])
    ahead = target - eye
    # The panel covers the right: look a little beside the people, so that they stand left of it.
    right = np.cross(ahead, [0.0, 0.0, 1.0]) * BESIDE
    return Viewpoint(_triple(eye), _triple(target + right))


def _places(bodies: Sequence[Body], floor: Floor) -> Float64:
    """Where the roots of people are, float64 [n, 3], metres in the world."""
    rotation, position = camera_pose(floor.mounting)
    roots = [body.root for body in bodies if np.isfinite(body.root).all()]
    return np.array(roots, np.float64).reshape(-1, 3) @ rotation.T + position


def _triple(values: Float64) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z


def through_camera(camera: Camera, floor: Floor) -> tuple[Viewpoint, float]:
    """The camera's own view, from just behind it, and its vertical opening in radians."""
    rotation, position = camera_pose(floor.mounting)
    target = position + rotation @ [0.0, 0.0, 4.0]
    return Viewpoint(_triple(position), _triple(target)), 2 * math.atan(
        camera.height / 2 / camera.fy
    )


def from_above(bodies: Sequence[Body], floor: Floor) -> Viewpoint:
    """Straight down on the people and the camera."""
    places = _places(bodies, floor)[:, :2]
    # The camera stands at (0, 0).
    box = np.concatenate([places if len(places) else [NOBODY], [(0.0, 0.0)]])
    x, y = (float(v) for v in (box.min(axis=0) + box.max(axis=0)) / 2)
    span = float(np.ptp(box, axis=0).max())
    # Above the heads so high that the box and a margin of a tenth on each side are seen.
    height = 2.0 + 0.6 * span / math.tan(FIELD_OF_VIEW / 2)
    return Viewpoint((x + 0.01, y, height), (x, y, 0.0))
