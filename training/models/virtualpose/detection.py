"""People found in the maps: root heatmap peaks with their boxes and depths."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Detections(NamedTuple):
    """K detections in each image, far ones first, dropped ones last.

    Attributes:
        bboxes: [B, K, 4], left, top, right, bottom in map cells; 0 if dropped.
        depths: [B, K, 1], root depth over the focal length in network pixels; -1 if dropped.
        scores: [B, K, 1], root heatmap.
        inds: int64 [B, K], position of the root's cell in the flattened map.
        xys: [B, K, 2], middle of that cell, the cell's index plus a half.
    """

    bboxes: Tensor
    depths: Tensor
    scores: Tensor
    inds: Tensor
    xys: Tensor


def decode(
    root: Tensor, sides: Tensor, depth: Tensor, *, count: int, threshold: float
) -> Detections:
    """Find the ``count`` best peaks.

    Args:
        root: [B, 1, h, w], root heatmap.
        sides: [B, 4, h, w], distances from the root to the box's sides, cells.
        depth: [B, 1, h, w], normalised root depth.
        threshold: detections with a lower score are dropped.
    """
    width = root.shape[-1]
    peaks = root * (F.max_pool2d(root, 3, 1, 1) == root)
    scores, inds = peaks.flatten(1).topk(count, dim=1)
    valid = (scores >= threshold)[..., None]
    row = torch.div(inds, width, rounding_mode="floor")
    xys = torch.stack([inds - row * width, row], dim=-1).to(root.dtype) + 0.5
    reach = gather(sides, inds).clamp(min=0)
    corners = torch.cat([xys - reach[..., :2], xys + reach[..., 2:]], dim=-1)
    depths = torch.where(valid, gather(depth, inds).clamp(min=0), -1.0)
    order = depths[..., 0].topk(count, dim=1).indices
    found = Detections(corners * valid, depths, scores[..., None], inds[..., None], xys)
    found = Detections(*(_reorder(value, order) for value in found))
    return found._replace(inds=found.inds[..., 0])


def gather(maps: Tensor, inds: Tensor) -> Tensor:
    """Map values at flat positions: [B, C, h, w] and int64 [B, K] -> [B, K, C]."""
    flat = maps.flatten(2)
    return flat.gather(2, inds[:, None].expand(-1, flat.shape[1], -1)).transpose(1, 2)


def _reorder(values: Tensor, order: Tensor) -> Tensor:
    """[B, K, C] sorted by int64 [B, K]."""
    return values.gather(1, order[..., None].expand(-1, -1, values.shape[2]))
