"""How well people, who are joints, fit labels, which are boxes.

Everything is cut to the picture. Then it is the share of the box about a person's joints that lies
inside the label, grown by a tenth on each side, times the ratio of the boxes' longer sides (the
shorter by the longer one). The box is that of the joints that were seen, or of all joints where
that fits better: some label what is visible of a person, MOTChallenge all of them. Somebody of whom
no joint was seen fits nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smap_ros.bodies import Body

Float = NDArray[np.float64]

GROWN = 0.1  # of a label's width and height, on each side


def likeness(boxes: Float, bodies: Sequence[Body], size: Float) -> Float:
    """How well people fit labels, float64 [P, N] in [0, 1].

    Args:
        boxes: float64 [P, 4], labels: left, top, width, height, pixels.
        bodies: N people.
        size: float64 [2], width and height of the picture.
    """
    labels = within(corners(boxes), size)
    seen = [body.seen for body in bodies]
    whole = [body.seen.any() & body.present for body in bodies]
    fits = [_fits(labels, within(_joint_corners(bodies, used), size)) for used in (seen, whole)]
    return np.asarray(np.maximum(*fits), np.float64)


def _fits(labels: Float, found: Float) -> Float:
    """Likeness of boxes as corners, float64 [P, 4] with [N, 4]: [P, N]; 0 where one is NaN."""
    sides, lengths = labels[:, 2:] - labels[:, :2], found[:, 2:] - found[:, :2]
    low, high = labels[:, :2] - GROWN * sides, labels[:, 2:] + GROWN * sides
    common = np.minimum(high[:, None], found[:, 2:]) - np.maximum(low[:, None], found[:, :2])
    # Joints may stand in a line: then it is the share of that line.
    wide = np.broadcast_to(lengths > 0, common.shape)
    shares = np.divide(common.clip(0), lengths, out=1.0 * (common >= 0), where=wide)
    a, b = sides.max(axis=1)[:, None], lengths.max(axis=1)[None]
    larger = np.maximum(a, b)
    ratio = np.divide(np.minimum(a, b), larger, out=np.zeros(larger.shape), where=larger > 0)
    return np.nan_to_num(np.asarray(shares.prod(axis=2) * ratio, np.float64))


def corners(boxes: Float) -> Float:
    """Left, top, right, bottom of left, top, width, height, float64 [P, 4]."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _joint_corners(bodies: Sequence[Body], used: Sequence[NDArray[np.bool_]]) -> Float:
    """Corners about some joints of each person, float64 [N, 4]; NaN where there is none."""
    rows = np.full((len(bodies), 4), np.nan)
    for row, body, joints in zip(rows, bodies, used, strict=True):
        points = body.joints_2d[joints & np.isfinite(body.joints_2d).all(axis=1)]
        if len(points):
            row[:2], row[2:] = points.min(axis=0), points.max(axis=0)
    return rows


def within(boxes: Float, size: Float) -> Float:
    """Corners cut to the picture, float64 [P, 4]; NaN where nothing is in it."""
    low, high = np.maximum(boxes[:, :2], 0), np.minimum(boxes[:, 2:], size)
    inside = np.concatenate([low, high], axis=1)
    return np.where((low <= high).all(axis=1, keepdims=True), inside, np.nan)
