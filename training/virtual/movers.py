"""How people move: along a route with a captured gait, or as captured."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from smap_train.virtual.bodies import SEGMENT_INDEX, Body, BodyModel
from smap_train.virtual.geometry import about
from smap_train.virtual.motion import Motion
from smap_train.virtual.people import lowest
from smap_train.virtual.poses import Pose
from smap_train.virtual.posing import Posed, posed
from smap_train.virtual.walks import Curve, gait_cycle

# Mocap frame -> where a body is.
Mover = Callable[[float], Posed]
Change = Callable[[Pose], Pose]


def walker(
    body: Body,
    model: BodyModel,
    motion: Motion,
    start: float,
    waypoints: NDArray[np.floating],
    change: Change = lambda pose: pose,
) -> Mover:
    """Somebody who walks along the curve through ``waypoints`` [N >= 2, 2].

    Args:
        motion: whose gait carries them, at the speed it was captured with.
        start: frame of its gait cycle they begin with.
        change: of each pose, for arms that do something else.

    Raises:
        InputError: if the motion is no straight walk.
    """
    cycle = gait_cycle(motion)
    curve = Curve(np.asarray(waypoints))
    scale = _leg_length(body) / motion.leg_length
    origin = cycle.at(start)[1] * scale

    def move(frame: float) -> Posed:
        pose, gone, (sideways, height) = cycle.at(start + frame)
        distance = gone * scale - origin
        ahead = curve.direction(distance)
        heading = about("z", np.arctan2(ahead[1], ahead[0]) + np.pi / 2)
        offset = heading @ np.array([sideways * scale, 0.0, 0.0])
        at = np.array([*curve.at(distance), height * scale]) + offset
        return posed(body, model, change(pose), heading).moved(at)

    return move


def player(
    body: Body,
    model: BodyModel,
    motion: Motion,
    start: float,
    place: NDArray[np.floating],
    heading: float,
    speed: float = 1.0,
) -> Mover:
    """Somebody who does what was captured, from frame ``start`` on; the last pose is held.

    Args:
        place: where they begin, on the floor [2].
        heading: turn of the whole sequence about the vertical, radians.
        speed: frames of the sequence for each frame asked for.
    """
    scale = _leg_length(body) / motion.leg_length
    turn = about("z", heading)
    at = np.array([*place, 0.0])
    ground = motion.at(start)[1] * (1, 1, 0)

    def move(frame: float) -> Posed:
        pose, path = motion.at(start + speed * frame)
        return posed(body, model, pose, turn).moved(at + turn @ ((path - ground) * scale))

    return move


def grounded(mover: Mover, body: Body, model: BodyModel, frames: Iterable[float]) -> Mover:
    """The same on the floor: the feet of the whole sequence are put there, not of each frame."""
    heights = [lowest(model, body, mover(frame)) for frame in frames]
    lift = np.array([0.0, 0.0, -float(np.percentile(heights, 25))])
    return lambda frame: mover(frame).moved(lift)


def _leg_length(body: Body) -> float:
    joints = body.joints[[SEGMENT_INDEX[f"l_{s}"] for s in ("thigh", "shin", "foot")]]
    return float(np.linalg.norm(np.diff(joints, axis=0), axis=1).sum())
