"""Joints in 2.5D: x and y in the crop, depth about the person."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from smap_train.models.layers.soft_argmax import expected_cell, hat_weights, volume_softmax

FEATURES, CELLS = 2048, 8  # of the late feature map; volumes have as many cells in depth


class PositionNet(nn.Module):
    """A volume for each joint from the late features, read by soft-argmax.

    Args:
        joints: number of volumes.
        features: channels of the late features.
    """

    def __init__(self, joints: int, features: int = FEATURES) -> None:
        super().__init__()
        self.joints = joints
        self.conv = nn.Sequential(nn.Conv2d(features, joints * CELLS, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Find the joints.

        Args:
            features: [B, features, 8, 8].

        Returns:
            Positions (x, y, z) [B, J, 3] in 0-based cells of 8, and scores [B, J, 1]: the
            probability at each position.
        """
        heatmap = self.conv(features)
        probabilities = volume_softmax(heatmap.view(-1, self.joints, CELLS, CELLS, CELLS))
        positions = expected_cell(probabilities)
        return positions, sample_volume(probabilities, positions)


def sample_volume(volumes: Tensor, positions: Tensor) -> Tensor:
    """Trilinear samples: [B, J, D, H, W] at (x, y, z) cells [B, J, 3] -> [B, J, 1]."""
    sampled = volumes
    for axis in (0, 1, 2):  # each takes the last axis away
        weights = hat_weights(positions[..., axis], sampled.shape[-1])
        shape = (*weights.shape[:2], *(1,) * (sampled.ndim - 3), -1)
        sampled = (sampled * weights.view(shape)).sum(-1)
    return sampled[..., None]


def sample_map(features: Tensor, positions: Tensor) -> Tensor:
    """Bilinear samples: [B, C, H, W] at (x, y, ...) cells [B, J, 2 or more] -> [B, J, C]."""
    height, width = features.shape[-2:]
    columns = hat_weights(positions[..., 0], width)
    lines = hat_weights(positions[..., 1], height)
    weights = (lines[..., :, None] * columns[..., None, :]).flatten(2)  # [B, J, H * W]
    return torch.matmul(weights, features.flatten(2).transpose(1, 2))
