"""Walks of any length along any curve, from one captured straight walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_train.virtual.geometry import about, between
from smap_train.virtual.motion import Motion

# Frames over which the end of a gait cycle is blended into its beginning.
_BLEND = 8
_SAMPLES_PER_SPAN = 200
# Width of the course of a straight walk, as a share of its length.
_STRAIGHT = 0.15


@dataclass(frozen=True)
class GaitCycle:
    """One period of a walk that faces and travels towards -y.

    Attributes:
        poses: [C, S, 3, 3]; the frame after the last one is the first one.
        travel: metres gone since the cycle began, float64 [C]; stride: metres a cycle.
        sway: sideways offset and height of the pelvis, float64 [C, 2].
    """

    poses: NDArray[np.float64]
    travel: NDArray[np.float64]
    stride: float
    sway: NDArray[np.float64]

    def at(self, frame: float) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        """Pose, metres gone and sway at any frame number."""
        share = frame % 1
        pose, gone, sway = self._whole(int(frame // 1))
        if share == 0:
            return pose, gone, sway
        next_pose, next_gone, next_sway = self._whole(int(frame // 1) + 1)
        return (
            between(pose, next_pose, share),
            (1 - share) * gone + share * next_gone,
            (1 - share) * sway + share * next_sway,
        )

    def _whole(self, frame: int) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
        turns, k = divmod(frame, len(self.poses))
        return self.poses[k], turns * self.stride + float(self.travel[k]), self.sway[k]


def gait_cycle(motion: Motion) -> GaitCycle:
    """The period of a straight walk that closes best.

    Raises:
        InputError: if the sequence is too short or doesn't travel.
    """
    course = motion.path[-1, :2] - motion.path[0, :2]
    fps = int(round(motion.fps))
    gone = float(np.linalg.norm(course))
    across = (motion.path[:, :2] - motion.path[0, :2]) @ (course[1], -course[0]) / max(gone, 1e-9)
    if gone < 1.0 or len(motion) < 2 * fps or np.ptp(across) > _STRAIGHT * gone:
        raise InputError(
            f"motion {motion.name} goes {gone:.1f} m in {len(motion) / fps:.1f} s, "
            f"{np.ptp(across):.1f} m to the sides; "
            "expected a straight walk of at least 1 m and 2 s, or give it a single waypoint"
        )
    turn = about("z", -np.pi / 2 - np.arctan2(course[1], course[0]))
    poses = turn @ motion.poses.astype(np.float64)
    path = (motion.path - motion.path[0]) @ turn.T
    first, last = _closing_pair(poses, fps)
    cycle = poses[first:last].copy()
    for k in range(_BLEND):  # towards the frames that precede the first one
        share = (k + 1) / (_BLEND + 1)
        cycle[k - _BLEND] = between(cycle[k - _BLEND], poses[first - _BLEND + k], share)
    travel = -(path[first : last + 1, 1] - path[first, 1])
    sway = np.stack([path[first:last, 0], motion.path[first:last, 2]], axis=1)
    ramp = np.linspace(0, 1, last - first, endpoint=False)[:, None]
    drift = np.array([path[last, 0], motion.path[last, 2]]) - sway[0]
    sway = sway - ramp * drift
    sway[:, 0] -= sway[:, 0].mean()
    return GaitCycle(cycle, travel[:-1], float(travel[-1]), sway)


def _closing_pair(poses: NDArray[np.float64], fps: int) -> tuple[int, int]:
    """First frame and the one a period later that resembles it most."""
    flat = poses.reshape(len(poses), -1)
    best = (np.inf, 0, 0)
    for first in range(_BLEND, len(poses) - int(0.8 * fps)):
        ends = np.arange(first + int(0.8 * fps), min(first + int(1.5 * fps), len(poses) - 1))
        if len(ends):
            error = np.linalg.norm(flat[ends] - flat[first], axis=1)
            k = int(error.argmin())
            best = min(best, (float(error[k]), first, int(ends[k])))
    return best[1], best[2]


class Curve:
    """A smooth curve through points on the floor (Catmull-Rom), by length."""

    def __init__(self, waypoints: NDArray[np.float64]) -> None:
        """Through ``waypoints`` [N >= 2, 2]."""
        points = np.asarray(waypoints, dtype=np.float64)
        ends = 2 * points[0] - points[1], 2 * points[-1] - points[-2]
        p = np.concatenate([ends[:1], points, ends[1:]])
        t = np.linspace(0, 1, _SAMPLES_PER_SPAN, endpoint=False)[:, None]
        spans = [
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2
                   + (3 * b - a - 3 * c + d) * t**3)
            for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
        ]  # fmt: skip
        self._points = np.concatenate([*spans, points[-1:]])
        steps = np.linalg.norm(np.diff(self._points, axis=0), axis=1)
        self._lengths = np.concatenate([[0.0], np.cumsum(steps)])
        self.length = float(self._lengths[-1])

    def at(self, distance: float) -> NDArray[np.float64]:
        """Point [2] after ``distance`` metres; beyond the ends, straight on."""
        end = np.clip(distance, 0, self.length)
        point = np.array([np.interp(end, self._lengths, self._points[:, k]) for k in range(2)])
        if distance == end:
            return point
        k = 1 if distance < 0 else -1
        step = self._points[k] - self._points[k - 1]
        return point + step / np.linalg.norm(step) * (distance - end)

    def direction(self, distance: float, span: float = 0.3) -> NDArray[np.float64]:
        """Unit direction of travel [2], averaged over ``span`` metres as bodies turn."""
        step = self.at(distance + span) - self.at(distance - span)
        return step / np.linalg.norm(step)
