"""The SMPL body model as a layer.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015: a template mesh
is deformed by shape coefficients and by the pose, and skinned linearly to 24 joints. Metres; y
up, x to the person's left, z to the front; the root joint rests at its own place, not at the
origin.

The body itself is licensed and not part of this package: ``smpl_files.load_smpl`` reads the
user's own copy. A layer built without a body holds NaN until a checkpoint or ``set_body``
fills it, so that a forgotten body never looks like a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smap_ros.errors import InputError

VERTICES, JOINTS, SHAPES, FACES = 6890, 24, 10, 13776
POSE_FEATURES = 9 * (JOINTS - 1)  # 207: rotation matrices minus the identity, root left out
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
# Where each level of the tree begins: joints are numbered level by level, so that eight steps
# turn them all instead of 23. It shows in the size of exported graphs.
_LEVELS = (0, 1, 4, 7, 10, 15, 18, 20, 22, 24)

Layout = Literal["smplx", "smplpytorch"]


@dataclass(frozen=True)
class SmplBody:
    """The arrays of a body model.

    Attributes:
        v_template: [6890, 3], the mean body in rest pose, metres.
        shapedirs: [6890, 3, 10], displacement per shape coefficient.
        posedirs: [6890, 3, 207], displacement per pose feature.
        joint_regressor: [24, 6890], rest joints from rest vertices.
        weights: [6890, 24], skinning weights.
        faces: [13776, 3], vertices of each triangle.

    Raises:
        InputError: if an array has another shape, naming it.
    """

    v_template: NDArray[Any]
    shapedirs: NDArray[Any]
    posedirs: NDArray[Any]
    joint_regressor: NDArray[Any]
    weights: NDArray[Any]
    faces: NDArray[Any]

    def __post_init__(self) -> None:
        for name, shape in _SHAPES.items():
            got = np.shape(getattr(self, name))
            if got != shape:
                raise InputError(f"SMPL body: {name} has shape {got}, expected {shape}")


_SHAPES: dict[str, tuple[int, ...]] = {
    "v_template": (VERTICES, 3),
    "shapedirs": (VERTICES, 3, SHAPES),
    "posedirs": (VERTICES, 3, POSE_FEATURES),
    "joint_regressor": (JOINTS, VERTICES),
    "weights": (VERTICES, JOINTS),
    "faces": (FACES, 3),
}


class SmplOutput(NamedTuple):
    """A posed body.

    Attributes:
        vertices: [B, 6890, 3], metres.
        joints: [B, 24, 3], the joints of the skeleton, metres.
    """

    vertices: Tensor
    joints: Tensor


class Smpl(nn.Module):
    """SMPL with its arrays as buffers.

    Args:
        layout: whose buffer names and shapes the state dict has: ``smplx`` (in MAED's
            checkpoints) or ``smplpytorch`` (in 3DCrowdNet's). The mathematics is the same.
    """

    def __init__(self, layout: Layout = "smplx") -> None:
        super().__init__()
        self.layout = layout
        if layout == "smplx":
            self.register_buffer("faces_tensor", torch.zeros(FACES, 3, dtype=torch.int64))
            self.register_buffer("v_template", _unset(VERTICES, 3))
            self.register_buffer("shapedirs", _unset(VERTICES, 3, SHAPES))
            self.register_buffer("J_regressor", _unset(JOINTS, VERTICES))
            self.register_buffer("posedirs", _unset(POSE_FEATURES, VERTICES * 3))
            self.register_buffer("parents", torch.tensor(PARENTS))
            self.register_buffer("lbs_weights", _unset(VERTICES, JOINTS))
        elif layout == "smplpytorch":
            self.register_buffer("th_betas", torch.zeros(1, SHAPES))
            self.register_buffer("th_shapedirs", _unset(VERTICES, 3, SHAPES))
            self.register_buffer("th_posedirs", _unset(VERTICES, 3, POSE_FEATURES))
            self.register_buffer("th_v_template", _unset(1, VERTICES, 3))
            self.register_buffer("th_J_regressor", _unset(JOINTS, VERTICES))
            self.register_buffer("th_weights", _unset(VERTICES, JOINTS))
            self.register_buffer("th_faces", torch.zeros(FACES, 3, dtype=torch.int64))
        else:
            raise InputError(f"SMPL layout {layout!r}: expected 'smplx' or 'smplpytorch'")

    @property
    def faces(self) -> Tensor:
        """Triangles, int64 [13776, 3]."""
        return self.get_buffer("faces_tensor" if self.layout == "smplx" else "th_faces")

    @property
    def joint_regressor(self) -> Tensor:
        """Rest joints from rest vertices, [24, 6890]."""
        return self.get_buffer("J_regressor" if self.layout == "smplx" else "th_J_regressor")

    def set_body(self, body: SmplBody) -> None:
        """Fill the buffers with a body model."""
        posedirs = body.posedirs
        if self.layout == "smplx":
            posedirs = posedirs.reshape(-1, POSE_FEATURES).T
        template, shapedirs, poses, regressor, weights = self._arrays()
        for buffer, array in (
            (self.faces, body.faces),
            (template, body.v_template),
            (shapedirs, body.shapedirs),
            (poses, posedirs),
            (regressor, body.joint_regressor),
            (weights, body.weights),
        ):
            buffer.copy_(torch.from_numpy(np.asarray(array, np.float64)))

    def forward(self, betas: Tensor, rotations: Tensor) -> SmplOutput:
        """Pose the body.

        Args:
            betas: shape coefficients, [B, 10].
            rotations: of each joint relative to its parent, [B, 24, 3, 3]. From axis-angle:
                ``rotations.axis_angle_to_matrix(pose.unflatten(-1, (24, 3)))``.

        Returns:
            Vertices and joints.
        """
        template, shapedirs, posedirs, regressor, weights = self._arrays()
        if self.layout == "smplpytorch":
            posedirs = posedirs.reshape(-1, POSE_FEATURES).T
        shaped = template + (betas @ shapedirs.reshape(-1, SHAPES).T).unflatten(-1, (VERTICES, 3))
        rest = regress_joints(regressor, shaped)  # [B, 24, 3]
        identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
        pose = (rotations[:, 1:] - identity).flatten(1)  # [B, 207]
        posed = shaped + (pose @ posedirs).unflatten(-1, (VERTICES, 3))
        world, joints = forward_kinematics(rotations, rest)
        # x -> world (x - rest joint) + joint, blended over the joints of each vertex
        offsets = joints - (world @ rest[..., None])[..., 0]
        blended = weights @ torch.cat((world.flatten(2), offsets), dim=-1)  # [B, 6890, 12]
        matrix = blended[..., :9].unflatten(-1, (3, 3))
        vertices = (matrix * posed[..., None, :]).sum(-1) + blended[..., 9:]
        return SmplOutput(vertices, joints)

    def _arrays(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Template [6890, 3], shape and pose directions, joint regressor, skinning weights."""
        if self.layout == "smplx":
            names = ("v_template", "shapedirs", "posedirs", "J_regressor", "lbs_weights")
        else:
            names = ("th_v_template", "th_shapedirs", "th_posedirs", "th_J_regressor", "th_weights")
        template, *others = (self.get_buffer(name) for name in names)
        return template.view(VERTICES, 3), others[0], others[1], others[2], others[3]


def forward_kinematics(rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
    """Turn the joints about their parents, root first.

    Args:
        rotations: relative to the parent, [B, 24, 3, 3].
        rest: joints in rest pose, [B, 24, 3].

    Returns:
        World rotations [B, 24, 3, 3] and joint positions [B, 24, 3].
    """
    bones = (rest[:, 1:] - rest[:, list(PARENTS[1:])])[..., None]  # [B, 23, 3, 1]
    world, joints = [rotations[:, :1]], [rest[:, :1]]
    for before, start, stop in zip(_LEVELS, _LEVELS[1:], _LEVELS[2:], strict=False):
        above = [parent - before for parent in PARENTS[start:stop]]
        parents = world[-1][:, above]
        joints.append(joints[-1][:, above] + (parents @ bones[:, start - 1 : stop - 1])[..., 0])
        world.append(parents @ rotations[:, start:stop])
    return torch.cat(world, dim=1), torch.cat(joints, dim=1)


def regress_joints(regressor: Tensor, vertices: Tensor) -> Tensor:
    """Joints as weighted means of vertices: [J, 6890], [B, 6890, 3] -> [B, J, 3]."""
    return regressor @ vertices


def _unset(*shape: int) -> Tensor:
    return torch.full(shape, torch.nan)
