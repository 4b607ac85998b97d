"""How the camera moved between two images, as far as people are concerned.

A camera that turns moves everybody at once; a tracker that takes that for their own motion loses
them. Where TF tells the motion it is used; else what all people have in common is taken for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """Where points that stand still are seen now: ``rotation @ point + translation``.

    Attributes:
        rotation: float64 [3, 3], of the optical frame before to that now.
        translation: float64 [3], metres.
    """

    rotation: Float
    translation: Float

    def points(self, points: Float) -> Float:
        """Points [..., 3] of the frame before in that now."""
        moved: Float = points @ self.rotation.T + self.translation
        return moved

    def vectors(self, vectors: Float) -> Float:
        """Directions and velocities [..., 3] of the frame before in that now."""
        turned: Float = vectors @ self.rotation.T
        return turned

    @classmethod
    def between(cls, before: Float, now: Float) -> Motion:
        """Of a camera with these poses in a frame that stands still.

        Args:
            before, now: float64 [4, 4], optical frame to the fixed frame.
        """
        change = np.linalg.inv(now) @ before
        return cls(change[:3, :3], change[:3, 3])

    @classmethod
    def turn(cls, yaw: float, pitch: float) -> Motion:
        """People move by so much in direction, radians: right and down."""
        c, s = math.cos(yaw), math.sin(yaw)
        across = np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        c, s = math.cos(pitch), math.sin(pitch)
        down = np.array([[1, 0, 0], [0, c, s], [0, -s, c]])
        return cls(across @ down, np.zeros(3))


STILL = Motion(np.eye(3), np.zeros(3))

# How well a person's direction agrees with a shift, radians; and how far apart depths may be.
_TOLERANCE = 0.03
_DEPTH_RATIO = 0.35  # of the logarithm
# A turn must explain so many more people than standing still would: one alone just walks.
_GAIN = 1.0
_SLOW = math.radians(15.0)  # radians/second; below that prediction copes by itself
_FASTEST = math.radians(180.0)  # radians/second that the turning may change by from image to image
_SUDDEN = 0.3  # radians of such a change weigh as much as one person
_MOST = 8  # people who are looked at; a crowd's nearest tell enough
_MEMORY = 0.15  # seconds over which the rate of turning is remembered


class TurnEstimator:
    """The camera's turning from all people together, for want of anything better.

    Every pairing of a track with a detection proposes a turn; the one that brings most people to
    where somebody was detected wins. The camera counts as turning from when that explains a person
    more than standing still does, until the turn ends.
    """

    def __init__(self) -> None:
        self._rate = np.zeros(2)  # radians/second, right and down; zero while it stands still

    def reset(self) -> None:
        """Forget how the camera turned."""
        self._rate = np.zeros(2)

    def estimate(self, expected: Float, found: Float, step: float) -> Motion | None:
        """The turn since the last image, or None where none is seen.

        Args:
            expected: float64 [T, 3], where people would be if the camera stood still.
            found: float64 [B, 3], where somebody was detected.
            step: seconds since the last image.
        """
        if step <= 0:
            return None
        turn = self._common(expected, found, step)
        weight = 1 - math.exp(-step / _MEMORY)
        if turn is None:  # too few people to see it: it may go on a little
            self._rate *= 1 - weight
            turn = self._rate * step
        elif self._rate.any():
            self._rate += weight * (turn / step - self._rate)
        else:
            self._rate = turn / step
        if np.linalg.norm(self._rate) < _SLOW:
            self.reset()
            return None
        return Motion.turn(float(turn[0]), float(turn[1]))

    def _common(self, expected: Float, found: Float, step: float) -> Float | None:
        """The turn that at least two people have in common, radians [2]; None without two."""
        if len(expected) < 2 or len(found) < 2:
            return None
        expected, found = _nearest(expected), _nearest(found)
        offsets = _directions(found)[None] - _directions(expected)[:, None]  # [T, B, 2]
        depths = np.maximum(found[None, :, 2], 1e-6) / np.maximum(expected[:, None, 2], 1e-6)
        fits = np.abs(np.log(depths)) < _DEPTH_RATIO  # [T, B]
        if not self._rate.any():
            standing = float(_support(np.zeros((1, 2)), offsets, fits)[0])
            if standing > min(fits.shape) - _GAIN:  # no turn could explain so much more
                return np.zeros(2)
        proposals = np.concatenate([np.zeros((1, 2)), self._rate[None] * step, offsets[fits]])
        sudden = np.linalg.norm(proposals - self._rate * step, axis=1)
        possible = sudden <= _FASTEST * step
        support = _support(proposals, offsets, fits) - sudden / _SUDDEN
        support[~possible] = -np.inf
        usual = int(support[:2].argmax()) if self._rate.any() else 0
        best = int(support.argmax())
        turn: Float = proposals[best if support[best] > support[usual] + _GAIN else usual]
        if not turn.any():
            return turn
        off = np.where(fits, np.linalg.norm(offsets - turn, axis=2), np.inf)
        nearest = off.argmin(axis=1)
        agree = off.min(axis=1) < 2 * _TOLERANCE
        if agree.sum() < 2:
            return None
        return np.asarray(np.median(offsets[agree, nearest[agree]], axis=0), np.float64)


def _nearest(points: Float) -> Float:
    """The people nearest to the camera, as many as are looked at."""
    if len(points) <= _MOST:
        return points
    nearest: Float = points[np.argsort(points[:, 2])[:_MOST]]
    return nearest


def _directions(points: Float) -> Float:
    """Right and down, radians [N, 2]."""
    depth = np.maximum(points[:, 2:], 1e-6)
    directions: Float = np.arctan2(points[:, :2], depth)
    return directions


def _support(proposals: Float, offsets: Float, fits: NDArray[np.bool_]) -> Float:
    """How many people each proposal [P, 2] brings to a detection, float64 [P]."""
    off = ((offsets[None] - proposals[:, None, None]) ** 2).sum(axis=3)  # [P, T, B]
    near = np.where(fits, np.exp(-off / (2 * _TOLERANCE**2)), 0.0)
    # Each detection counts for one person only.
    support: Float = np.minimum(near.max(axis=2).sum(axis=1), near.max(axis=1).sum(axis=1))
    return support
