"""Heatmaps projected into a cube of the world."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from smap_train.models.virtualpose.cameras import Cameras, depth_unit_mm, project, to_cells
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.detection import Detections

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


def voxel_pitch_mm(size_mm: tuple[float, float, float], bins: tuple[int, int, int]) -> float:
    """The largest distance between neighbouring voxels along an axis."""
    return max(size / max(count - 1, 1) for size, count in zip(size_mm, bins, strict=True))


def read(
    heatmaps: Tensor, voxels: Voxels, pitch_mm: float, cameras: Cameras, config: VirtualPoseConfig
) -> Tensor:
    """Heatmap values at voxels, of the heatmaps that are as wide as the voxels.

    Args:
        heatmaps: [N, L * J, h, w], ``widened``.
        voxels: N cubes whose voxels are ``pitch_mm`` apart.

    Returns:
        [N, J, P], 0 where the camera doesn't see the voxel.
    """
    levels = sample(heatmaps, voxels)
    if not config.widening:
        return levels
    levels = levels.unflatten(1, (len(config.widening) + 1, -1))  # [N, L, J, P]
    cells_per_mm = depth_unit_mm(cameras, config) * (config.map_size[0] / config.image_size[0])
    radius = cells_per_mm[:, None] * (pitch_mm / 2) / voxels.depth_mm.clamp(min=pitch_mm)
    return (levels * _level_weights(radius, config.widening)[:, :, None]).sum(1)


def widened(heatmaps: Tensor, radii: Sequence[int]) -> Tensor:
    """The heatmaps and, for each of L - 1 radii, ones with wider peaks of the same height.

    A peak becomes a pyramid that falls to zero about twice the radius away.

    Args:
        heatmaps: [N, J, h, w].
        radii: cells, growing; none leaves the heatmaps as they are.

    Returns:
        [N, L * J, h, w].
    """
    levels, highest, reached = [heatmaps], heatmaps, 0
    for radius in radii:  # a maximum of maxima, first along rows, then along columns
        step = radius - reached
        highest = F.max_pool2d(highest, (1, 2 * step + 1), 1, (0, step))
        highest = F.max_pool2d(highest, (2 * step + 1, 1), 1, (step, 0))
        smooth = F.avg_pool2d(highest, (1, 2 * radius + 1), 1, (0, radius))
        levels.append(F.avg_pool2d(smooth, (2 * radius + 1, 1), 1, (radius, 0)))
        reached = radius
    return torch.cat(levels, dim=1)


def _level_weights(radius: Tensor, radii: Sequence[int]) -> Tensor:
    """Linear interpolation between the radii 0, ...: [N, P] -> [N, L, P]."""
    knots = [0, *radii]
    rising = [
        ((radius - low) / (high - low)).clamp(0, 1) for low, high in pairwise(knots)
    ]  # how far each step is done
    edges = [torch.ones_like(radius), *rising, torch.zeros_like(radius)]
    return torch.stack([done - begun for done, begun in pairwise(edges)], dim=1)


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
