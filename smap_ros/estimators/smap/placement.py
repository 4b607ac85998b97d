"""How far away a person is, from how large they appear."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smap_ros.camera import Camera

Float = NDArray[np.float32]
Double = NDArray[np.float64]

MIN_JOINTS = 6  # fewer say little about size
MAX_LOG_RATIO = 0.3  # a third nearer or farther than the network says is all that size may do


def depths_from_size(
    joints_3d: Float, joints_2d: Float, scores: Float, camera: Camera, root: int
) -> Double:
    """Depth at which each person's skeleton would appear as large as they do.

    A person's joints relative to the root are taken as they are; the translation that brings
    their projections closest to the image points, weighted by score, has a closed form, since
    ``x (Z + dz) = X + dx`` is linear in it.

    Args:
        joints_3d: float32 [N, J, 3], metres; only positions relative to the root count.
        joints_2d: float32 [N, J, 2], pixels; NaN where missing.
        scores: float32 [N, J]; joints of score 0 don't count.
        camera: intrinsics at the size of the image.
        root: index of the root.

    Returns:
        float64 [N], depth of the root in metres; NaN for people with fewer than ``MIN_JOINTS``
        joints or without a solution in front of the camera.
    """
    rays = np.asarray(camera.back_project(joints_2d, np.ones(scores.shape)))[..., :2]
    relative = (joints_3d - joints_3d[:, root, None]).astype(np.float64)
    usable = (scores > 0) & np.isfinite(rays).all(axis=-1) & np.isfinite(relative).all(axis=-1)
    weight = np.where(usable, scores, 0.0).astype(np.float64)
    rays = np.where(usable[..., None], rays, 0.0)
    relative = np.where(usable[..., None], relative, 0.0)
    # Unknown T of  T_xy - ray T_z = ray dz - dxy  in each joint; T_xy eliminated by weighted means.
    right = rays * relative[..., 2:] - relative[..., :2]
    total = np.maximum(weight.sum(axis=1), 1e-9)[:, None, None]
    centred_rays = rays - (weight[..., None] * rays).sum(axis=1, keepdims=True) / total
    centred_right = right - (weight[..., None] * right).sum(axis=1, keepdims=True) / total
    spread = (weight[..., None] * centred_rays**2).sum(axis=(1, 2))
    product = (weight[..., None] * centred_rays * centred_right).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(spread > 0, -product / spread, np.nan)
    solved = (usable.sum(axis=1) >= MIN_JOINTS) & (depth > 0)
    result: Double = np.where(solved, depth, np.nan)
    return result


def placed_by_size(
    joints_3d: Float, joints_2d: Float, scores: Float, camera: Camera, root: int, share: float
) -> Float:
    """People moved along the ray through their root towards where their size puts them.

    Args:
        joints_3d: float32 [N, J, 3], metres, optical frame, as the network places them.
        joints_2d: float32 [N, J, 2], pixels, where the joints were seen; NaN where missing.
        scores: float32 [N, J], of what was seen; 0 for joints that were inferred.
        camera: intrinsics at the size of the image.
        root: index of the root.
        share: of the size in the logarithm of the depth, 0 to 1; the rest is the network's.

    Returns:
        float32 [N, J, 3]; people of unknown size stay where they are.
    """
    by_size = depths_from_size(joints_3d, joints_2d, scores, camera, root)
    depth = joints_3d[:, root, 2].astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_ratio = np.log(by_size / depth)
    log_ratio = np.nan_to_num(np.clip(log_ratio, -MAX_LOG_RATIO, MAX_LOG_RATIO))
    factor = np.exp(share * log_ratio)[:, None, None]
    moved: Double = joints_3d + joints_3d[:, root, None] * (factor - 1)
    return moved.astype(np.float32)
