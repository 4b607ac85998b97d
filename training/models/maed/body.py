"""From SMPL parameters to joints, mesh and image points, as SPIN and MAED report them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.models.layers.rotations import matrix_to_axis_angle, rot6d_to_matrix
from smap_train.models.layers.smpl import JOINTS, VERTICES, Smpl, regress_joints

IMAGE_SIZE = 224  # pixels of the crop that the weak-perspective camera refers to
FOCAL_PX = 5000.0  # SPIN: focal length of the camera that stands for it

EXTRA_ROWS = 9  # J_regressor_extra: joints of other data sets
H36M_ROWS = 17  # J_regressor_h36m

# Vertices added to the 24 joints: nose, eyes, ears (right first); left big toe, small toe, heel,
# then right; finger tips from thumb to little finger, left then right.
_VERTEX_JOINTS = (
    332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787,
    2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133,
)  # fmt: skip
# Of those 45 joints and the 9 extra ones: 25 in OpenPose's order, then SPIN's 24.
_JOINT_MAP = (
    24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34,
    8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27,
)  # fmt: skip


class _VertexJoints(nn.Module):
    """Holds the indices under the key that smplx gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("extra_joints_idxs", torch.tensor(_VERTEX_JOINTS))


class SpinBody(Smpl):
    """SMPL with the 49 joints of SPIN and, if their regressor is set, the 17 of Human3.6M."""

    def __init__(self) -> None:
        super().__init__("smplx")
        self.register_buffer("J_regressor_extra", torch.full((EXTRA_ROWS, VERTICES), torch.nan))
        self.register_buffer("h36m_regressor", None, persistent=False)
        self.vertex_joint_selector = _VertexJoints()

    def set_joint_regressors(
        self, extra: NDArray[np.floating], h36m: NDArray[np.floating] | None = None
    ) -> None:
        """Set the regressors that come beside the body.

        Args:
            extra: ``J_regressor_extra``, [9, 6890].
            h36m: ``J_regressor_h36m``, [17, 6890]; not part of the state dict. With it the
                results have ``h36m_kp_3d`` and ``h36m_kp_2d``.

        Raises:
            InputError: if a shape is wrong.
        """
        given = {"J_regressor_extra": (extra, EXTRA_ROWS), "J_regressor_h36m": (h36m, H36M_ROWS)}
        for name, (array, rows) in given.items():
            if array is not None and array.shape != (rows, VERTICES):
                raise InputError(f"{name}: got {array.shape}, expected {(rows, VERTICES)}")
        self.get_buffer("J_regressor_extra").copy_(torch.from_numpy(np.asarray(extra, np.float32)))
        if h36m is not None:
            matrix = torch.from_numpy(np.array(h36m, np.float32))
            self.h36m_regressor = matrix.to(self.get_buffer("v_template").device)

    def joints49(self, vertices: Tensor, joints: Tensor) -> Tensor:
        """The 49 joints: vertices [B, 6890, 3] and joints [B, 24, 3] -> [B, 49, 3], metres."""
        picked = vertices[:, self.vertex_joint_selector.get_buffer("extra_joints_idxs")]
        extra = regress_joints(self.get_buffer("J_regressor_extra"), vertices)
        return torch.cat((joints, picked, extra), dim=1)[:, _JOINT_MAP]

    def describe(self, pose6d: Tensor, shape: Tensor, camera: Tensor) -> dict[str, Tensor]:
        """Everything that follows from the parameters of B bodies.

        Args:
            pose6d: 6D rotation of each joint relative to its parent, [B, 144].
            shape: [B, 10].
            camera: weak perspective (s, tx, ty), [B, 3].

        Returns:
            - ``theta`` [B, 85]: camera 3, axis-angle 72, shape 10;
            - ``rotmat`` [B, 24, 3, 3], ``verts`` [B, 6890, 3], metres;
            - ``kp_3d`` [B, 49, 3], metres; ``kp_2d`` [B, 49, 2], -1..1 over the crop;
            - ``h36m_kp_3d`` [B, 17, 3], ``h36m_kp_2d``, if the regressor is set.
        """
        rotations = rot6d_to_matrix(pose6d.unflatten(-1, (JOINTS, 6)))
        vertices, joints = self(shape, rotations)
        angles = matrix_to_axis_angle(rotations).flatten(1)
        keypoints = self.joints49(vertices, joints)
        result = {
            "theta": torch.cat((camera, angles, shape), dim=1),
            "kp_2d": project(keypoints, camera),
            "kp_3d": keypoints,
            "verts": vertices,
            "rotmat": rotations,
        }
        if self.h36m_regressor is not None:
            human36m = regress_joints(self.h36m_regressor, vertices)
            result["h36m_kp_3d"] = human36m
            result["h36m_kp_2d"] = project(human36m, camera)
        return result


def camera_translation(camera: Tensor) -> Tensor:
    """Where the body stands before the camera of focal length 5000 px that stands for (s, tx, ty).

    Args:
        camera: [B, 3].

    Returns:
        [B, 3], metres, in the optical frame of the crop.
    """
    scale, tx, ty = camera.unbind(-1)
    return torch.stack((tx, ty, 2 * FOCAL_PX / (IMAGE_SIZE * scale + 1e-9)), dim=-1)


def project(points: Tensor, camera: Tensor) -> Tensor:
    """Image points of a body: [B, J, 3] metres, [B, 3] -> [B, J, 2], -1..1 over the crop."""
    placed = points + camera_translation(camera)[:, None]
    return placed[..., :2] / placed[..., 2:] * (FOCAL_PX / (IMAGE_SIZE / 2))
