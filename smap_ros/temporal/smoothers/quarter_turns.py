"""People turned by quarter turns about the optical axis, so that they stand in the picture.

What learned from people who stand knows no others. Those whom a camera on its side or upside down
sees lie in its frame, all of them; who lies on the floor does before any camera. Which way
somebody is up is told by their trunk, so nobody has to state how the camera is mounted.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smap_ros.temporal.smoothers.base import Float, Seen, carried, rows_before

MEMORY = 2.0  # seconds after which a trunk that was seen counts for a third
# Radians: a trunk must lean farther than this before its person is turned again, so that one who
# leans by about 45 degrees, or bends for a moment, isn't turned to and fro.
FARTHEST_LEAN = math.radians(60)
# Of the trunk's length, that must be seen across the optical axis: of people below a camera that
# looks down the rest is noise, and no side of them is up.
SEEN_ACROSS = 0.5
_COS, _SIN = np.array([1.0, 0.0, -1.0, 0.0]), np.array([0.0, 1.0, 0.0, -1.0])


class QuarterTurns:
    """How far each person of a stream must be turned to stand.

    Args:
        neck: index of the joint above the root.
    """

    def __init__(self, neck: int) -> None:
        self._neck = neck
        self.reset()

    def reset(self) -> None:
        """Forget everybody."""
        self._ids = np.zeros(0, np.int64)
        self._turns = np.zeros(0)
        self._trunks = np.zeros((0, 3))
        self._time = -math.inf

    def update(self, seen: Seen) -> NDArray[np.int64]:
        """Quarter turns, counterclockwise in the image, of the people of a picture; int64 [N]."""
        rows = rows_before(seen.ids, self._ids)
        turns = carried(self._turns, rows, 0.0)
        trunks = carried(self._trunks, rows, 0.0) * math.exp((self._time - seen.time) / MEMORY)
        trunk = seen.joints[:, self._neck] - seen.joints[:, seen.root]
        trunks += np.where(np.isfinite(trunk), trunk, 0.0)
        tilt = np.arctan2(trunks[:, 0], -trunks[:, 1])
        lean = np.abs(np.mod(tilt - turns * (np.pi / 2) + np.pi, 2 * np.pi) - np.pi)
        across = np.linalg.norm(trunks[:, :2], axis=1)
        known = (across > 0) & (across >= SEEN_ACROSS * np.linalg.norm(trunks, axis=1))
        again = known & ((rows < 0) | (lean > FARTHEST_LEAN))
        turns = np.where(again, np.round(tilt / (np.pi / 2)) % 4, turns)
        self._ids, self._turns, self._trunks, self._time = seen.ids, turns, trunks, seen.time
        return turns.astype(np.int64)


def turned(joints: Float, turns: NDArray[np.int64]) -> Float:
    """Joints [N, ..., 3] of the optical frame after so many quarter turns of each person, exact."""
    cos, sin = (part[turns % 4].reshape(-1, *(1,) * (joints.ndim - 2)) for part in (_COS, _SIN))
    x, y, z = np.moveaxis(joints, -1, 0)
    return np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=-1)
