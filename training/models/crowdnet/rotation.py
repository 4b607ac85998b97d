"""From the joints' features to the parameters of the body, over a graph of the joints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.skeletons import CROWD15, Skeleton
from smap_train.models.crowdnet.position import FEATURES, sample_map

NODES = len(CROWD15)  # 15
LATENT, SHAPES = 32, 10
_WIDTH, _RESIDUAL_BLOCKS = 128, 4


def joint_graph(skeleton: Skeleton) -> NDArray[np.float64]:
    """Adjacency of the joints, normalised on both sides: D^-1/2 A D^-1/2, [J, J].

    Bones, pairs of left and right joints, and each joint to itself.
    """
    adjacency = np.eye(len(skeleton))
    pairs = [(k, int(partner)) for k, partner in enumerate(skeleton.flip)]
    for a, b in (*skeleton.limbs, *pairs):
        adjacency[a, b] = adjacency[b, a] = 1
    scale = adjacency.sum(1) ** -0.5
    normalised: NDArray[np.float64] = scale[:, None] * adjacency * scale
    return normalised


# Not a buffer: the official state dict doesn't have it.
GRAPH: list[list[float]] = joint_graph(CROWD15).tolist()


class GraphConv(nn.Module):
    """A linear layer of its own for each joint, then a mean over the joint's neighbours."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fcbn_list = nn.ModuleList(
            nn.Sequential(nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs)) for _ in range(NODES)
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, 15, inputs] -> [B, 15, outputs]."""
        nodes = [layer(node) for layer, node in zip(self.fcbn_list, x.unbind(1), strict=True)]
        return F.relu(torch.matmul(x.new_tensor(GRAPH), torch.stack(nodes, dim=1)))


class GraphResidual(nn.Module):
    """Two graph convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.graph_block1 = GraphConv(width, width)
        self.graph_block2 = GraphConv(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 15, width] -> the same."""
        y: Tensor = self.graph_block2(self.graph_block1(x))
        return x + y


class BodyParameters(NamedTuple):
    """What the graph network says of a person.

    Attributes:
        root_6d: rotation of the root joint, [B, 6].
        latent: code of the body pose in VPoser's space, [B, 32].
        shape: SMPL's shape coefficients, [B, 10].
        camera: [B, 3], see ``body.camera_translation``.
    """

    root_6d: Tensor
    latent: Tensor
    shape: Tensor
    camera: Tensor


class RotationNet(nn.Module):
    """Features sampled at the joints, a graph network over them, four linear heads.

    Args:
        features: channels of the late features.
    """

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        residuals = (GraphResidual(_WIDTH) for _ in range(_RESIDUAL_BLOCKS))
        # A node: image features, position, score.
        self.graph_block = nn.Sequential(GraphConv(features + 4, _WIDTH), *residuals)
        self.root_pose_out = _head(6)
        self.pose_out = _head(LATENT)
        self.shape_out = _head(SHAPES)
        self.cam_out = _head(3)

    def forward(self, features: Tensor, positions: Tensor, scores: Tensor) -> BodyParameters:
        """Regress the body.

        Args:
            features: [B, features, 8, 8].
            positions: [B, 15, 3] in cells of 8; no gradient goes back to them.
            scores: [B, 15, 1]; nor to these.

        Returns:
            The parameters.
        """
        positions, scores = positions.detach(), scores.detach()
        nodes = torch.cat([sample_map(features, positions), positions, scores], dim=-1)
        flat = self.graph_block(nodes).flatten(1)
        heads: Sequence[nn.Module]
        heads = (self.root_pose_out, self.pose_out, self.shape_out, self.cam_out)
        return BodyParameters(*(head(flat) for head in heads))


def _head(outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(NODES * _WIDTH, outputs))
