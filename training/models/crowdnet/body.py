"""The body's mesh, its joints, and where they appear in the crop."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smap_ros.errors import InputError
from smap_ros.skeletons import SMPL30
from smap_train.models.crowdnet.guidance import HEATMAP_SIZE
from smap_train.models.layers.rotations import axis_angle_to_matrix
from smap_train.models.layers.smpl import JOINTS, VERTICES, Smpl, regress_joints

INPUT_SIZE = 256  # pixels a side of the crop
FOCAL_PX = 5000.0  # of the camera that looks at the crop
MAX_DEPTH_M = FOCAL_PX * 2.5 / INPUT_SIZE  # 48.83, where the crop spans 2.5 m
_DEPTH_OFFSET_M = 1e-4
_FACE_VERTICES = (331, 2802, 6262, 3489, 3990)  # nose, eyes, ears (left first)
_HEAD_TOP_ROW = 3  # of J_regressor_extra
ROOT = SMPL30.root


def camera_translation(camera: Tensor) -> Tensor:
    """Where the body stands before the crop's camera of ``FOCAL_PX``.

    Args:
        camera: [B, 3]: x and y in metres, and the logit of the depth's share of
            ``MAX_DEPTH_M``.

    Returns:
        (x, y, z) in metres, [B, 3].
    """
    return torch.cat([camera[:, :2], MAX_DEPTH_M * torch.sigmoid(camera[:, 2:])], dim=-1)


class PosedBody(NamedTuple):
    """A body before the crop's camera.

    Attributes:
        vertices: [B, 6890, 3], metres.
        joints: [B, 30, 3], metres, in the order of ``smpl30``.
        joints_2d: [B, 30, 2], heatmap cells of the crop.
    """

    vertices: Tensor
    joints: Tensor
    joints_2d: Tensor


class CrowdBody(Smpl):
    """SMPL with 3DCrowdNet's 30 joints.

    Nothing of the body is known until a checkpoint or ``set_body`` fills it, and the place of
    the head top not before ``set_joint_regressor``: what depends on them is NaN.
    """

    head_top_regressor: Tensor | None

    def __init__(self) -> None:
        super().__init__("smplpytorch")
        self.register_buffer("head_top_regressor", None, persistent=False)

    def set_joint_regressor(self, extra: NDArray[np.floating]) -> None:
        """Set where the head top is; not part of the state dict, as officially.

        Args:
            extra: ``J_regressor_extra``, [9, 6890], see ``layers.smpl_files``.

        Raises:
            InputError: if it has another shape.
        """
        if extra.ndim != 2 or extra.shape[0] <= _HEAD_TOP_ROW or extra.shape[1] != VERTICES:
            raise InputError(f"J_regressor_extra: got {extra.shape}, expected (9, {VERTICES})")
        row = torch.from_numpy(np.ascontiguousarray(extra[_HEAD_TOP_ROW : _HEAD_TOP_ROW + 1]))
        self.head_top_regressor = row.to(self.joint_regressor)

    def pose(self, pose: Tensor, shape: Tensor, camera: Tensor) -> PosedBody:
        """Pose the body and look at it.

        Args:
            pose: axis-angle vectors of the 24 joints, [B, 72].
            shape: [B, 10].
            camera: [B, 3], see ``camera_translation``.
        """
        rotations = axis_angle_to_matrix(pose.view(-1, JOINTS, 3))
        vertices = self(shape, rotations).vertices + camera_translation(camera)[:, None]
        joints = self.joints30(vertices)
        pixels = joints[..., :2] / (joints[..., 2:] + _DEPTH_OFFSET_M) * FOCAL_PX + INPUT_SIZE / 2
        return PosedBody(vertices, joints, pixels * (HEATMAP_SIZE / INPUT_SIZE))

    def joints30(self, vertices: Tensor) -> Tensor:
        """Joints of a mesh: [B, 6890, 3] -> [B, 30, 3]."""
        head_top = self.head_top_regressor
        if head_top is None:
            head_top = torch.full_like(self.joint_regressor[:1], torch.nan)
        return torch.cat(
            [
                regress_joints(self.joint_regressor, vertices),
                vertices[:, list(_FACE_VERTICES)],
                regress_joints(head_top, vertices),
            ],
            dim=1,
        )
