"""Heatmaps projected into a cube of the world."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from training.models.virtualpose.cameras import Cameras, project, to_cells
from training.models.virtualpose.config import VirtualPoseConfig
from training.models.virtualpose.detection import Detections

# Sampling coordinates are limited to this, far enough outside of -1..1 to read zeros.
_OUTSIDE = 1.1


class Voxels(NamedTuple):
    """Where the voxels of N cubes lie in their images.

    Attributes:
        cells: [N, P, 2], map cells.
        depth_mm: [N, P], along the optical axis.
        inside: [N, P], 1 where the voxel is seen by the camera, else 0.
    """

    cells: Tensor
    depth_mm: Tensor
    inside: Tensor


def axis_mm(size_mm: float, bins: int, like: Tensor) -> Tensor:
    """Voxel centres along one axis about the cube's centre: [bins]."""
    return torch.linspace(-size_mm / 2, size_mm / 2, bins, dtype=like.dtype, device=like.device)


def grid_mm(
    size_mm: tuple[float, float, float], bins: tuple[int, int, int], center_mm: Tensor
) -> Tensor:
    """Voxel centres, x slowest and z fastest: centres [N, 3] -> [N, P, 3], P = product of bins."""
    axes = [axis_mm(size, count, center_mm) for size, count in zip(size_mm, bins, strict=True)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(1, -1, 3)
    return grid + center_mm[:, None]


def locate(cameras: Cameras, points_mm: Tensor, config: VirtualPoseConfig) -> Voxels:
    """Project voxels into their images: [N, P, 3] world points, N cameras."""
    pixels, depth = project(cameras, points_mm)
    size = cameras.image_size
    inside = ((pixels >= 0) & (pixels < size[:, None])).all(-1)
    limit = size.amax(-1)[:, None, None]
    cells = to_cells(torch.minimum(pixels.clamp(min=-1.0), limit), size, config)
    return Voxels(cells, depth, inside.to(pixels.dtype))


def sample(heatmaps: Tensor, voxels: Voxels) -> Tensor:
    """Bilinear heatmap values at voxels.

    A 4-D grid sample with the voxels as one row, which every runtime has.

    Args:
        heatmaps: [N, J, h, w].
        voxels: N cubes.

    Returns:
        [N, J, P], 0 where the camera doesn't see the voxel.
    """
    last = voxels.cells.new_tensor([heatmaps.shape[-1] - 1, heatmaps.shape[-2] - 1])
    where = (voxels.cells / last * 2 - 1).clamp(-_OUTSIDE, _OUTSIDE)
    values = F.grid_sample(heatmaps, where[:, None], align_corners=True)
    return values[:, :, 0] * voxels.inside[:, None]


def detection_weight(
    voxels: Voxels, detections: Detections, unit_mm: Tensor, sigma_mm: float
) -> Tensor:
    """How well each voxel fits the detection that it fits best.

    A voxel fits a detection if it projects into the detection's box and has its depth.

    Args:
        voxels: one cube an image.
        detections: of the images.
        unit_mm: [B], what the detections' depths are multiplied by.
        sigma_mm: standard deviation of the depth.

    Returns:
        [B, P] in 0..1.
    """
    x, y = voxels.cells[:, None].unbind(-1)  # each [B, 1, P]
    left, top, right, bottom = detections.bboxes[..., None, :].unbind(-1)  # each [B, K, 1]
    boxed = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    depth = detections.depths * unit_mm[:, None, None]  # [B, K, 1]
    off = (voxels.depth_mm[:, None] - depth) / sigma_mm
    fits = boxed & (detections.depths >= 0)
    return ((off.square() * -0.5).exp() * fits).amax(1)
