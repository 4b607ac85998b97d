"""Decoders: one feature a frame to SMPL's pose, shape and a weak-perspective camera."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from smap_train.models.layers.smpl import JOINTS, PARENTS, SHAPES
from smap_train.models.maed.body import SpinBody

_HIDDEN = 1024
_POSE = 6 * JOINTS
_CAMERA = 3


class MeshDecoder(nn.Module, ABC):
    """Two linear layers, without a non-linearity between them as officially, and a body."""

    smpl: SpinBody

    @abstractmethod
    def parameters_of(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pose 6D [B, 144], shape [B, 10] and camera [B, 3] of features [B, C]."""

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Decode.

        Args:
            features: [B, C].

        Returns:
            ``pose6d`` [B, 144], ``shape`` [B, 10], ``cam`` [B, 3] and what
            ``SpinBody.describe`` makes of them.
        """
        pose6d, shape, camera = self.parameters_of(features)
        direct = {"pose6d": pose6d, "shape": shape, "cam": camera}
        return {**direct, **self.smpl.describe(pose6d, shape, camera)}


class KinematicTreeDecoder(MeshDecoder):
    """MAED's KTD: each joint's rotation is regressed with those of all its ancestors in view.

    Args:
        features: channels of a feature.
        dropout: probability, in training mode.
    """

    def __init__(self, features: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.smpl = SpinBody()
        self.fc1 = nn.Linear(features, _HIDDEN)
        self.fc2 = nn.Linear(_HIDDEN, _HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.joint_regs = nn.ModuleList(
            nn.Linear(_HIDDEN + 6 * len(ancestors(joint)), 6) for joint in range(JOINTS)
        )
        self.decshape = nn.Linear(_HIDDEN, SHAPES)
        self.deccam = nn.Linear(_HIDDEN, _CAMERA)
        for layer in (*self.joint_regs, self.decshape, self.deccam):
            nn.init.xavier_uniform_(layer.get_parameter("weight"), gain=0.01)

    def parameters_of(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``MeshDecoder``."""
        x = self.dropout(self.fc2(self.dropout(self.fc1(features))))
        rotations: list[Tensor] = []
        for joint, layer in enumerate(self.joint_regs):
            chain = [rotations[ancestor] for ancestor in ancestors(joint)]
            rotations.append(layer(torch.cat((x, *chain), dim=-1)))
        return torch.cat(rotations, dim=-1), self.decshape(x), self.deccam(x)


class IterativeDecoder(MeshDecoder):
    """SPIN's regressor (Kolotouros et al., ICCV 2019): corrections to a mean body, three times.

    The mean pose, shape and camera are buffers that a checkpoint or ``set_mean`` fills; until
    then they are NaN.

    Args:
        features: channels of a feature.
        dropout: probability, in training mode.
        iterations: number of corrections.
    """

    def __init__(self, features: int, dropout: float = 0.5, iterations: int = 3) -> None:
        super().__init__()
        self.iterations = iterations
        for name, size in (("pose", _POSE), ("shape", SHAPES), ("cam", _CAMERA)):
            self.register_buffer(f"init_{name}", torch.full((1, size), torch.nan))
        self.smpl = SpinBody()
        self.fc1 = nn.Linear(features + _POSE + SHAPES + _CAMERA, _HIDDEN)
        self.fc2 = nn.Linear(_HIDDEN, _HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.decpose = nn.Linear(_HIDDEN, _POSE)
        self.decshape = nn.Linear(_HIDDEN, SHAPES)
        self.deccam = nn.Linear(_HIDDEN, _CAMERA)
        for layer in (self.decpose, self.decshape, self.deccam):
            nn.init.xavier_uniform_(layer.weight, gain=0.01)

    def set_mean(self, pose6d: Tensor, shape: Tensor, camera: Tensor) -> None:
        """Set where the iterations start: 144, 10 and 3 numbers."""
        for name, value in (("pose", pose6d), ("shape", shape), ("cam", camera)):
            self.get_buffer(f"init_{name}").copy_(value.reshape(1, -1))

    def parameters_of(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See ``MeshDecoder``."""
        names = ("init_pose", "init_shape", "init_cam")
        pose, shape, camera = (
            self.get_buffer(name).expand(features.shape[0], -1) for name in names
        )
        for _ in range(self.iterations):
            x = self.fc1(torch.cat((features, pose, shape, camera), dim=1))
            x = self.dropout(self.fc2(self.dropout(x)))
            pose = pose + self.decpose(x)
            shape = shape + self.decshape(x)
            camera = camera + self.deccam(x)
        return pose, shape, camera


def ancestors(joint: int) -> list[int]:
    """The joints from the root down to the parent of a joint; empty for the root."""
    chain: list[int] = []
    while (joint := PARENTS[joint]) >= 0:
        chain.insert(0, joint)
    return chain
