"""A bundle's errors, to be laid over poses that it never saw.

Poses from motion capture and joint limits, seen by random cameras, are disturbed by errors drawn
from those that the bundle makes: a refining network sees far more poses than were rendered.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.skeletons import MPI15
from smap_train.refining.found import FoundPeople, told

Float = NDArray[np.float32]
ROOT = MPI15.root

_TALL = (40 / 256, 300 / 256)  # height of 1.7 m as a share of the picture's, least and most
_FIRST, _LAST = (40 / 448, 60 / 256), (408 / 448, 216 / 256)  # where pelvises are, shares


class ErrorModel:
    """Errors of a bundle's people, to be laid over other poses.

    Depth relative to the root is a line through the true one per joint (networks play safe and
    shrink it) plus a residual; image points are off by a share of the person's size; the root's
    depth by a factor; poses by lines and residuals as well. All errors of a person are drawn
    together, so they stay correlated.
    """

    def __init__(self, pairs: FoundPeople) -> None:
        depth = pairs.found[..., 2] - pairs.found[:, ROOT, None, 2]
        true_depth = pairs.true[..., 2] - pairs.true[:, ROOT, None, 2]
        self.size, self.scores = pairs.size, pairs.scores
        self.slope = np.array([_slope(t, d) for t, d in zip(true_depth.T, depth.T, strict=True)])
        self.residual = np.nan_to_num(depth - self.slope * true_depth)
        size = _extent(pairs.true_pixels)[:, None, None]
        self.shift = np.nan_to_num((pairs.pixels - pairs.true_pixels) / size)
        self.factor = pairs.found[:, ROOT, 2] / pairs.true[:, ROOT, 2]
        self.pose_slope = self.pose_residual = None
        if pairs.poses is not None:
            true_poses = pairs.true_poses()
            self.pose_slope = np.array(
                [
                    [_slope(true_poses[:, j, axis], pairs.poses[:, j, axis]) for axis in range(3)]
                    for j in range(len(MPI15))
                ]
            )
            self.pose_residual = np.nan_to_num(pairs.poses - self.pose_slope * true_poses)

    def apply(
        self, rng: np.random.Generator, true: Float, true_pixels: Float, focal: Float
    ) -> FoundPeople:
        """What the bundle might have made of people [M, 15, 3] seen with focal lengths [M]."""
        rows = rng.integers(len(self.factor), size=len(true))
        relative = self.slope * (true[..., 2] - true[:, ROOT, None, 2]) + self.residual[rows]
        depth = true[:, ROOT, 2, None] * self.factor[rows, None] + relative
        pixels = true_pixels + self.shift[rows] * _extent(true_pixels)[:, None, None]
        centre = (np.array(self.size) - 1) / 2
        plane = (pixels - centre) / focal[:, None, None] * depth[..., None]
        found = np.concatenate([plane, depth[..., None]], axis=-1)
        inside = ((pixels >= 0) & (pixels < self.size)).all(axis=-1)
        scores = self.scores[rows]
        missing = (scores == 0) | ~inside
        missing[:, ROOT] = False
        found[missing], pixels[missing], scores[missing] = np.nan, np.nan, 0
        columns = (found, true, pixels, true_pixels, scores, focal)
        poses = None
        if self.pose_residual is not None:
            told_ = self.pose_slope * told(true, true_pixels, focal) + self.pose_residual[rows]
            poses = told_.astype(np.float32)
        return FoundPeople(*(c.astype(np.float32) for c in columns), self.size, poses)


def _slope(true: Float, found: Float) -> float:
    known = np.isfinite(found) & (np.abs(true) > 1e-6)
    if not known.any():
        return 1.0
    return float((true[known] * found[known]).sum() / (true[known] ** 2).sum())


def _extent(pixels: Float) -> Float:
    """Larger side of each person's box, pixels [M]."""
    size: Float = (np.nanmax(pixels, axis=1) - np.nanmin(pixels, axis=1)).max(axis=-1)
    return np.maximum(size, 8.0)


def view(
    rng: np.random.Generator, poses: Float, size: tuple[int, int]
) -> tuple[Float, Float, Float]:
    """Poses before random cameras.

    Args:
        rng: decides on the cameras.
        poses: float32 [M, 15, 3], root-relative, metres, z up.
        size: width and height of the network's input.

    Returns:
        Joints [M, 15, 3] in the optical frame, network pixels [M, 15, 2] and focal lengths [M].
    """
    count = len(poses)
    yaw = rng.uniform(-np.pi, np.pi, count)
    pitch = rng.normal(0, np.radians(15), count)
    cos, sin = np.cos(yaw), np.sin(yaw)
    x = cos * poses[..., 0].T - sin * poses[..., 1].T
    y = sin * poses[..., 0].T + cos * poses[..., 1].T
    z = poses[..., 2].T
    # World z up, looking along y: optical x right, y down, z forward; then the camera's pitch.
    down = -z * np.cos(pitch) - y * np.sin(pitch)
    forward = y * np.cos(pitch) - z * np.sin(pitch)
    joints = np.stack([x.T, down.T, forward.T], axis=-1)
    focal = size[0] / 2 / np.tan(rng.uniform(np.radians(45), np.radians(110), count) / 2)
    tall = size[1] * np.exp(rng.uniform(*np.log(_TALL), count))  # pixels of 1.7 m
    depth = np.maximum(1.7 * focal / tall, 0.7)
    at = rng.uniform(_FIRST, _LAST, (count, 2)) * size
    centre = (np.array(size) - 1) / 2
    joints[..., :2] += ((at - centre) / focal[:, None] * depth[:, None])[:, None]
    joints[..., 2] = np.maximum(joints[..., 2] + depth[:, None], 0.2)
    pixels = joints[..., :2] / joints[..., 2:] * focal[:, None, None] + centre
    return joints.astype(np.float32), pixels.astype(np.float32), focal.astype(np.float32)


def half_mirrored(
    rng: np.random.Generator, inputs: Float, targets: Float, width: int
) -> tuple[Float, Float]:
    """About every second person seen in a mirror; inputs [M, 90 or 135] and targets [M, 45].

    ``width`` is that of the network's input.
    """
    rows = rng.random(len(inputs)) < 0.5
    scores = inputs[rows, 75:90][:, MPI15.flip]
    poses = inputs[rows, 90:].reshape(rows.sum(), -1, 3)
    if poses.shape[1]:
        poses = poses[:, MPI15.flip] * np.float32([-1, 1, 1])
    people = inputs[rows, :75].reshape(-1, 15, 5)[:, MPI15.flip]
    people[..., [0, 2]] *= -1
    people[:, ROOT, 0] += width - 1  # the root's column is not relative
    joints = targets[rows].reshape(-1, 15, 3)[:, MPI15.flip]
    joints[..., 0] *= -1
    inputs, targets = inputs.copy(), targets.copy()
    behind = (scores, poses.reshape(rows.sum(), -1))
    inputs[rows] = np.concatenate([people.reshape(-1, 75), *behind], axis=1)
    targets[rows] = joints.reshape(-1, 45)
    return inputs, targets
