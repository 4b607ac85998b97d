"""Which way a person's torso faces.

Torso axes as in REP-155: x forward out of the chest, y to the person's left, z up to the head.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body
from smap_ros.skeletons import MPI15, convert

Quaternion = tuple[float, float, float, float]
IDENTITY: Quaternion = (0.0, 0.0, 0.0, 1.0)

_NECK, _PELVIS = MPI15.index("neck"), MPI15.index("pelvis")
_PAIRS = [(MPI15.index(f"l_{name}"), MPI15.index(f"r_{name}")) for name in ("shoulder", "hip")]
# Below this the joints lie on one another or on one line, and tell no direction.
MIN_LENGTH = 0.02  # metres


def torso_orientation(body: Body) -> Quaternion | None:
    """Orientation of the torso in the camera's optical frame.

    Up is from pelvis to neck; left is from the right to the left shoulder and hip, made
    perpendicular to it.

    Returns:
        Quaternion (x, y, z, w), or None when too few torso joints were found.
    """
    points = convert(body.joints_3d.astype(np.float64), body.skeleton, MPI15)
    up = _unit(points[_NECK] - points[_PELVIS])
    sides = [points[left] - points[right] for left, right in _PAIRS]
    found = [side for side in sides if np.isfinite(side).all()]
    if up is None or not found:
        return None
    across = sum(found[1:], found[0])
    left = _unit(across - across.dot(up) * up)
    if left is None:
        return None
    (lx, ly, lz), (ux, uy, uz) = left.tolist(), up.tolist()
    forward = [ly * uz - lz * uy, lz * ux - lx * uz, lx * uy - ly * ux]
    return quaternion(np.array([forward, left, up]).T)


def quaternion(rotation: NDArray[np.float64]) -> Quaternion:
    """Quaternion (x, y, z, w), w >= 0, of a rotation matrix, float64 [3, 3].

    From the largest of its four components, so that it is exact for every rotation
    (Shepperd, 1978).
    """
    r = rotation
    trace = float(np.trace(r))
    # Squares of the components times four: x, y, z, w.
    squares = [1 + 2 * float(r[k, k]) - trace for k in range(3)] + [1 + trace]
    largest = int(np.argmax(squares))
    if largest == 3:
        q = [r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1], squares[3]]
    else:
        i, j, k = largest, (largest + 1) % 3, (largest + 2) % 3
        q = [0.0, 0.0, 0.0, r[k, j] - r[j, k]]
        q[i], q[j], q[k] = squares[i], r[j, i] + r[i, j], r[k, i] + r[i, k]
    scale = math.copysign(0.5 / math.sqrt(squares[largest]), q[3])
    x, y, z, w = (float(v) * scale for v in q)
    return x, y, z, w


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64] | None:
    length = float(np.linalg.norm(vector))
    return vector / length if length >= MIN_LENGTH else None  # NaN compares false
