"""MAED's losses (Wan et al., ICCV 2021, section 3.4), with the official weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from smap_ros.skeletons import SPIN49
from smap_train.losses.shared import devices, mean, norm
from smap_train.models.layers.rotations import axis_angle_to_matrix

WEIGHTS = {"joints_2d": 300.0, "joints_3d": 600.0, "pose": 60.0, "shape": 0.06, "norm": 1.0}
_HIPS = [SPIN49.index("r_hip"), SPIN49.index("l_hip")]
_CAMERA = 3  # first numbers of theta


def maed_losses(found: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The terms, not weighted, of N clips of T frames.

    Args:
        found: of the network: ``kp_2d`` [N, T, 49, 2], ``kp_3d`` [N, T, 49, 3], ``rotmat``
            [N, T, 24, 3, 3], ``theta`` [N, T, 85].
        labels: ``joints_2d`` [N, T, 49, 3], -1..1 over the crop and confidence; ``joints_3d``
            [N, T, 49, 4], metres and 1 where known; ``pose`` [N, T, 72], ``shape`` [N, T, 10];
            ``has_fit`` [N, T], 1 where these are known.

    Returns:
        ``joints_2d``, of which what isn't labelled counts as right; ``joints_3d`` about the hips,
        over the clips that have any; ``pose`` and ``shape`` over the frames that have a fit;
        ``norm`` of the parameters behind the camera's.
    """
    flat, deep = labels["joints_2d"], labels["joints_3d"]
    has_3d = (deep[..., 3] > 0).flatten(1).any(1)
    fits = labels["has_fit"] > 0
    rotations = axis_angle_to_matrix(labels["pose"].unflatten(-1, (-1, 3)))
    theta = found["theta"]
    error = (_about_hips(found["kp_3d"]) - _about_hips(deep[..., :3])).square() * deep[..., 3:]
    shape = theta[..., -labels["shape"].shape[-1] :]
    return {
        "joints_2d": (flat[..., 2:] * (found["kp_2d"] - flat[..., :2]).square()).mean(),
        "joints_3d": mean(error[has_3d]),
        "pose": mean((found["rotmat"] - rotations).square()[fits]),
        "shape": mean((shape - labels["shape"]).square()[fits]),
        "norm": norm(theta[..., _CAMERA:]) / (devices() * theta[..., 0].numel()),
    }


def _about_hips(joints: Tensor) -> Tensor:
    return joints - joints[..., _HIPS, :].mean(-2, keepdim=True)
