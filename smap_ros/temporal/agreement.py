"""How well predicted people agree with detected ones, in space and in the image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

# Joint distances are compared with this share of the person's height in the image; as COCO's
# object keypoint similarity with one constant for all joints (hip and shoulder are about 0.1).
JOINT_TOLERANCE = 0.1
_LEAST_SIZE = 10.0  # pixels


def distance(expected: Float, found: Float, lateral: Float, depth: Float) -> Float:
    """Distance of people from predictions, in units of what is allowed; float64 [T, B].

    Args:
        expected: float64 [T, 3], metres; found: float64 [B, 3].
        lateral, depth: float64 [T], what is allowed across and along the view, metres.
    """
    length = np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-6)
    ray = expected / length
    offset = found[None] - expected[:, None]  # [T, B, 3]
    along = (offset * ray[:, None]).sum(axis=2)
    across = np.linalg.norm(offset - along[..., None] * ray[:, None], axis=2)
    away: Float = np.hypot(across / lateral[:, None], along / depth[:, None])
    return away


def similarity(joints: Float, others: Float) -> Float:
    """Agreement in the image, in [0, 1]: mean similarity of joints and overlap of boxes.

    Args:
        joints: float64 [T, J, 2], pixels; NaN where missing.
        others: float64 [B, J, 2].

    Returns:
        float64 [T, B].
    """
    low, high = boxes(joints)
    size = np.maximum((high - low).max(axis=1), _LEAST_SIZE)  # [T]
    squared = ((others[None] - joints[:, None]) ** 2).sum(axis=3)  # [T, B, J]
    both = np.isfinite(squared)
    scale = 2 * (JOINT_TOLERANCE * size[:, None, None]) ** 2
    close = np.where(both, np.exp(-np.where(both, squared, 0.0) / scale), 0.0)
    same = close.sum(axis=2) / np.maximum(both.sum(axis=2), 1)
    agreement: Float = (same + overlap((low, high), boxes(others))) / 2
    return agreement


Boxes = tuple[Float, Float]


def boxes(points: Float) -> Boxes:
    """Low and high corners, [N, 2] each, of points [N, J, 2]; those of nobody have no extent."""
    present = np.isfinite(points)
    low = np.where(present, points, np.inf).min(axis=1, initial=np.inf)
    high = np.where(present, points, -np.inf).max(axis=1, initial=-np.inf)
    nobody = ~np.isfinite(low)
    low[nobody], high[nobody] = 0, 0
    return low, high


def common(a: Boxes, b: Boxes) -> Float:
    """Area that boxes [T] share with boxes [B], float64 [T, B]."""
    low = np.maximum(a[0][:, None], b[0][None])
    return np.asarray(np.clip(np.minimum(a[1][:, None], b[1][None]) - low, 0, None).prod(axis=2))


def inside(a: Boxes, b: Boxes) -> Float:
    """Share of each of boxes [T] that lies in boxes [B], float64 [T, B]."""
    return np.asarray(common(a, b) / np.maximum((a[1] - a[0]).prod(axis=1), 1e-9)[:, None])


def overlap(a: Boxes, b: Boxes) -> Float:
    """Intersection over union of boxes [T] with boxes [B], float64 [T, B]."""
    inner = common(a, b)
    total = (a[1] - a[0]).prod(axis=1)[:, None] + (b[1] - b[0]).prod(axis=1)[None] - inner
    share: Float = np.where(total > 0, inner / np.maximum(total, 1e-9), 0.0)
    return share
