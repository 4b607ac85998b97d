"""Where the floor is: stated, or guessed from the people who stand on it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import ANKLE_HEIGHT, Body
from smap_ros.geometry.mounting import Mounting
from smap_ros.skeletons import MPI15, convert
from smap_ros.temporal.smoothers.base import believable

Float64 = NDArray[np.float64]

STRAIGHT_LEG = math.radians(150)  # a knee that is less bent belongs to somebody who stands
# Fewer people who stand tell the height, but not which way is up: the camera is taken as level.
MIN_STANDING = 5
AGREEING = 0.1  # length of the median of their directions; of people every way up it is about 0
ANKLE_NOISE = 0.05  # metres
UP_NOISE = math.radians(4)  # people lean as they walk
OUTLIER = 0.15  # metres off the floor, where a foot counts half
PLANE_ROUNDS = 5
# As a person holds a camera; nobody looks at the grid while there is nobody on it.
ASSUMED_HEIGHT = 1.5  # metres
LEVEL: Float64 = np.array([0.0, -1.0, 0.0])  # up, in the optical frame of a level camera

_NECK = MPI15.index("neck")
_LEGS = [[MPI15.index(f"{s}_{j}") for j in ("hip", "knee", "ankle")] for s in "lr"]
_ANKLES = [leg[2] for leg in _LEGS]


class Known(Enum):
    """How the floor is known."""

    STATED = "stated"
    FEET = "guessed from feet"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Floor:
    """The floor, and how it is known."""

    mounting: Mounting
    known: Known


def stated_floor(mounting: Mounting) -> Floor:
    """The floor under a camera whose mounting is known, by parameters or TF."""
    return Floor(mounting, Known.STATED)


def guess_floor(bodies: Iterable[Body]) -> Floor:
    """The floor that people stand on.

    Up is about the way from the ankles to the neck of those with a straight leg, its median over
    all of them; the floor is the plane through everybody's lower ankle that agrees with that. With
    too few people who stand, the camera is level and the floor below the lowest ankle (or joint).

    Args:
        bodies: people of one or more frames, metres in the optical frame.
    """
    poses = [convert(believable(body.joints_3d), body.skeleton, MPI15) for body in bodies]
    if not poses:
        return Floor(Mounting(ASSUMED_HEIGHT), Known.ASSUMED)
    points = np.stack(poses)  # [N, 15, 3]
    uprights = _uprights(points)
    median = np.median(uprights, axis=0) if len(uprights) else LEVEL
    length = float(np.linalg.norm(median))
    if len(uprights) >= MIN_STANDING and length > AGREEING:
        up = median / length
        up, depth = _plane(_lowest(points[:, _ANKLES], up), up)
        known, depth = Known.FEET, depth + ANKLE_HEIGHT
    else:
        up = LEVEL
        ankles, others = (_lowest(points[:, k], up) for k in (_ANKLES, slice(None)))
        known = Known.FEET if len(ankles) else Known.ASSUMED
        lowest = ankles if len(ankles) else others
        below = float((-lowest @ up).max()) if len(lowest) else ASSUMED_HEIGHT
        depth = below + (ANKLE_HEIGHT if len(ankles) else 0.0)
    if depth <= 0:  # nobody stands above the camera: these are no people
        return Floor(Mounting(ASSUMED_HEIGHT), Known.ASSUMED)
    return Floor(Mounting.above(up, depth), known)


def moved(old: Floor, new: Floor) -> bool:
    """Whether a floor differs enough from another for the eye: 5 cm or 1.5 degrees."""
    a, b = old.mounting, new.mounting
    turn = max(abs(a.pitch - b.pitch), abs(a.roll - b.roll))
    return abs(a.height - b.height) > 0.05 or turn > math.radians(1.5)


def _uprights(points: Float64) -> Float64:
    """Unit vectors, [S, 3], from ankles to neck of the people with a straight leg.

    Args:
        points: float64 [N, 15, 3], NaN where missing.
    """
    straight = np.zeros(len(points), bool)
    for hip, knee, ankle in _LEGS:
        thigh, shin = points[:, hip] - points[:, knee], points[:, ankle] - points[:, knee]
        with np.errstate(invalid="ignore", divide="ignore"):
            lengths = np.linalg.norm(thigh, axis=1) * np.linalg.norm(shin, axis=1)
            straight |= (thigh * shin).sum(axis=1) / lengths < math.cos(STRAIGHT_LEG)
    vectors = points[:, _NECK] - points[:, _ANKLES].mean(axis=1)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    good = straight & np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0.5)
    return np.asarray(vectors[good] / lengths[good])


def _lowest(points: Float64, up: Float64) -> Float64:
    """The lowest point of each row that has one, [R, 3].

    Args:
        points: float64 [N, K, 3], NaN where missing.
    """
    depths = np.where(np.isfinite(points).all(axis=2), -points @ up, -np.inf)  # [N, K]
    chosen = depths.argmax(axis=1)
    rows = np.flatnonzero(np.isfinite(depths.max(axis=1)))
    return np.asarray(points[rows, chosen[rows]])


def _plane(points: Float64, up: Float64) -> tuple[Float64, float]:
    """The plane through points whose normal is about ``up``.

    Least squares of the points' distances (standard deviation ANKLE_NOISE, however many points
    there are, for they are wrong together) and of the normal's turn (UP_NOISE); points far off
    count less and less.

    Returns:
        The normal, float64 [3], unit length; the plane's distance below the origin.
    """
    across = np.linalg.svd(up[None])[2][1:]  # [2, 3], perpendicular to up
    # A point a on the floor: (up + turn @ across) . a + depth = 0; unknown are turn and depth.
    matrix = np.concatenate([points @ across.T, np.ones((len(points), 1))], axis=1)
    heights = points @ up
    weights = np.ones(len(points))
    prior = np.diag([UP_NOISE**-2, UP_NOISE**-2, 0.0])
    solution = np.zeros(3)
    for _ in range(PLANE_ROUNDS):
        scaled = matrix * (weights / weights.sum() / ANKLE_NOISE**2)[:, None]
        solution = np.linalg.solve(scaled.T @ matrix + prior, -scaled.T @ heights)
        residuals = matrix @ solution + heights
        weights = 1 / (1 + (residuals / OUTLIER) ** 2)
    normal = up + solution[:2] @ across
    length = float(np.linalg.norm(normal))
    return np.asarray(normal / length), float(solution[2]) / length
