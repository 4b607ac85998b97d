"""3DPW (von Marcard et al., ECCV 2018) as MAED measures it: errors of poses, meshes and motion.

14 joints of the Human3.6M regressor; the middle of the hips of both is at the origin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.evaluation.common.metrics import joint_errors, procrustes

Float = NDArray[np.float64]

# All of mpi15 but the pelvis, in the official order.
JOINTS = (
    "r_ankle", "r_knee", "r_hip", "l_hip", "l_knee", "l_ankle", "r_wrist", "r_elbow", "r_shoulder",
    "l_shoulder", "l_elbow", "l_wrist", "neck", "head_top",
)  # fmt: skip
# Those in the 17 joints of the Human3.6M regressor for SMPL.
H36M_ROWS = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)
HIPS = [2, 3]


def centred(joints: Float) -> Float:
    """Joints [..., 14, 3] with the middle of the hips at the origin."""
    moved: Float = joints - joints[..., HIPS, :].mean(axis=-2, keepdims=True)
    return moved


def mpjpe(predicted: Float, true: Float) -> Float:
    """Mean joint error of each frame, float64 [T], in the unit of the joints [T, 14, 3].

    Joints that either lacks don't count; NaN for a frame without any.
    """
    return frame_means(joint_errors(centred(predicted), centred(true)))


def pa_mpjpe(predicted: Float, true: Float) -> Float:
    """The same after the best similarity transform of each frame, float64 [T]."""
    return frame_means(joint_errors(aligned(predicted, true), true))


def aligned(predicted: Float, true: Float) -> Float:
    """Predictions [T, 14, 3] moved, turned and scaled onto the truth, frame by frame."""
    fitted = np.full_like(predicted, np.nan)
    for k, (pose, target) in enumerate(zip(predicted, true, strict=True)):
        both = np.isfinite(pose).all(axis=1) & np.isfinite(target).all(axis=1)
        if both.sum() >= 3:
            fitted[k, both] = procrustes(pose[both], target[both])
    return fitted


def acceleration(joints: Float) -> Float:
    """Mean size of the second difference of the centred joints, float64 [T-2], unit/frame^2."""
    return frame_means(np.linalg.norm(_second_difference(joints), axis=-1))


def acceleration_error(predicted: Float, true: Float) -> Float:
    """Mean distance between the second differences of both, float64 [T-2], unit/frame^2.

    The official script joins all videos before, so that their boundaries count.
    """
    difference = _second_difference(predicted) - _second_difference(true)
    return frame_means(np.linalg.norm(difference, axis=-1))


def frame_means(values: Float) -> Float:
    """Mean of what is there in each row [T, N], float64 [T]; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=-1)
    total = np.where(there, values, 0).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _second_difference(joints: Float) -> Float:
    moved = centred(joints)
    return np.asarray(moved[:-2] - 2 * moved[1:-1] + moved[2:], np.float64)
