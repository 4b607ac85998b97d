"""Soft-argmax of volumes: the expected position under a softmax over all cells.

Sun et al., "Integral Human Pose Regression", ECCV 2018. Positions are 0-based cell indices,
x first; volumes are stored [..., D, H, W] with x along W, y along H and z along D.
"""

from __future__ import annotations

import torch
from torch import Tensor


def volume_softmax(logits: Tensor, sharpness: float = 1.0) -> Tensor:
    """Softmax over all cells of each volume.

    Args:
        logits: [..., D, H, W].
        sharpness: factor on the logits; above 1 the expectation moves towards the maximum.

    Returns:
        Probabilities [..., D, H, W], which sum to 1 over the last three axes.
    """
    cells = logits.flatten(-3)
    return torch.softmax(cells if sharpness == 1 else cells * sharpness, -1).view(logits.shape)


def expected_cell(probabilities: Tensor) -> Tensor:
    """Mean position of each volume, from its three marginals.

    Args:
        probabilities: [..., D, H, W], summing to 1 over the last three axes.

    Returns:
        (x, y, z) in 0-based cells, [..., 3].
    """
    rows = probabilities.sum(-1)  # [..., D, H]
    marginals = probabilities.sum((-3, -2)), rows.sum(-2), rows.sum(-1)
    return torch.stack([(m * _indices(m)).sum(-1) for m in marginals], dim=-1)


def soft_argmax_3d(logits: Tensor, sharpness: float = 1.0) -> Tensor:
    """Expected cell (x, y, z) under the softmax of each volume, [..., D, H, W] -> [..., 3]."""
    return expected_cell(volume_softmax(logits, sharpness))


def hat_weights(positions: Tensor, size: int) -> Tensor:
    """Weights of linear interpolation along one axis.

    Products of these sample maps and volumes with matrix products alone, so an exported
    network needs no GridSample operator (ONNX has it for volumes only from opset 20).

    Args:
        positions: 0-based cells, [...].
        size: number of cells of the axis.

    Returns:
        [..., size]; at most two neighbours are non-zero, and outside of the axis fade to zero.
    """
    return (1 - (positions[..., None] - _indices(positions, size)).abs()).clamp(min=0)


def _indices(like: Tensor, size: int | None = None) -> Tensor:
    """0, 1, 2, ... as numbers of the same kind, along the last axis."""
    count = like.shape[-1] if size is None else size
    return torch.arange(count, dtype=like.dtype, device=like.device)
