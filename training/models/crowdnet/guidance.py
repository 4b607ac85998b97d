"""How a 2D pose tells the network whom to look at."""

from __future__ import annotations

import torch
from torch import Tensor, nn

HEATMAP_SIZE = 64  # cells a side that 2D joints are given in, over the whole crop
_SIGMA = 2.5  # cells


def joint_heatmaps(joints: Tensor, mask: Tensor) -> Tensor:
    """A Gaussian of height 1 for each known joint.

    Args:
        joints: [B, J, 2 or more], x and y in cells, finite; what follows them is not used.
        mask: [B, J, 1], 1 where a joint is known; the others' maps are zero.

    Returns:
        [B, J, 64, 64].
    """
    cells = torch.arange(HEATMAP_SIZE, dtype=joints.dtype, device=joints.device)
    offsets = (cells - joints[..., :2, None]) / _SIGMA  # [B, J, 2, 64]
    across, down = torch.exp(-offsets.square() / 2).unbind(2)
    return down[..., :, None] * across[..., None, :] * mask[..., None]


class PoseGuidance(nn.Module):
    """Joins early image features and joint heatmaps; the official ``pose2feat``.

    Args:
        features: channels of the image features, in and out.
        joints: number of heatmaps.
    """

    def __init__(self, features: int, joints: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(features + joints, features, 3, padding=1),
            nn.BatchNorm2d(features),
            nn.ReLU(inplace=True),
        )

    def forward(self, early: Tensor, heatmaps: Tensor) -> Tensor:
        """[B, features, h, w] and [B, joints, 64, 64] -> [B, features, h, w].

        Larger heatmaps are thinned out to every n-th cell, beginning with the first.
        """
        step = HEATMAP_SIZE // early.shape[-1]
        guided: Tensor = self.conv(torch.cat([early, heatmaps[..., ::step, ::step]], dim=1))
        return guided
