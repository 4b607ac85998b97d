"""How a camera is mounted: its pose in a world that is level.

Models that search people in space need to know where the floor is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Mounting:
    """Where the floor is, seen from a camera.

    Attributes:
        height: of the camera above the floor, metres.
        pitch: looking down, radians.
        roll: the right side of the image up, radians.
    """

    height: float
    pitch: float = 0.0
    roll: float = 0.0

    @classmethod
    def above(cls, up: NDArray[np.floating], height: float) -> Mounting:
        """From the upward direction, [3] in the optical frame, unit length."""
        x, y, z = (float(v) for v in up)
        return cls(height, -math.asin(min(1.0, max(-1.0, z))), math.atan2(x, -y))

    @property
    def down(self) -> Float64:
        """The direction of the floor, float64 [3] in the optical frame, unit length."""
        level = math.cos(self.pitch)
        x, y = -level * math.sin(self.roll), level * math.cos(self.roll)
        return np.array([x, y, math.sin(self.pitch)])

    def pose(self, ahead: float) -> tuple[Float64, Float64]:
        """Pose of the camera, see :func:`level_pose`; all in metres."""
        return level_pose(self.roll, self.pitch, self.height, ahead)


def level_pose(roll: float, pitch: float, height: float, ahead: float) -> tuple[Float64, Float64]:
    """Pose of a camera in a world whose z axis points up, its origin on the floor ahead.

    The world's x axis points from the origin towards the camera, its y axis to the right of
    who looks with the camera.

    Args:
        roll: the right side of the image up, radians.
        pitch: looking down, radians.
        height: of the camera above the floor.
        ahead: horizontal distance from the camera to the world's origin, in the unit of
            ``height``.

    Returns:
        Rotation, float64 [3, 3], world to optical frame, exactly orthonormal; position of the
        camera in the world, float64 [3], in the unit of ``height``.
    """
    c, s = math.cos(pitch), math.sin(pitch)
    level = np.array([[0.0, 1.0, 0.0], [s, 0.0, -c], [-c, 0.0, -s]])
    c, s = math.cos(roll), math.sin(roll)
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return turn @ level, np.array([ahead, 0.0, height])
