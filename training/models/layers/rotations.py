"""Rotations in the representations that the mesh networks speak.

6D (Zhou et al., "On the Continuity of Rotation Representations in Neural Networks", CVPR
2019), matrices, quaternions (w, x, y, z) and axis-angle vectors (radians). All functions take
any leading dimensions, have finite gradients at the identity, and export to ONNX.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

IDENTITY_6D = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)

_TRACE_THRESHOLD = 1e-6  # torchgeometry and kornia 0.1: which of the four cases applies
_AXIS_ANGLE_OFFSET = 1e-8  # SMPL layers: keeps the norm of a zero vector above zero
_LEAST_ANGLE = 1e-12  # ONNX's optimiser drops so small an offset: a zero vector would be 0 / 0


def rot6d_to_matrix(rot6d: Tensor, eps: float = 1e-6) -> Tensor:
    """Gram-Schmidt on two columns; the third is their cross product.

    The six numbers are the first two columns row by row: elements 0, 2, 4 are column 1 and
    elements 1, 3, 5 column 2.

    Args:
        rot6d: [..., 6]; needs no normalisation.
        eps: lower bound of the norms divided by; 1e-6 in MAED and SPIN, 1e-12 in 3DCrowdNet.

    Returns:
        Rotation matrices [..., 3, 3].
    """
    pair = rot6d.unflatten(-1, (3, 2))  # [..., 3, 2]
    first = F.normalize(pair[..., 0], dim=-1, eps=eps)
    along = (first * pair[..., 1]).sum(-1, keepdim=True)
    second = F.normalize(pair[..., 1] - along * first, dim=-1, eps=eps)
    # Some official code leaves out the dimension, and crosses the batch axis of a batch of 3.
    third = torch.linalg.cross(first, second, dim=-1)
    return torch.stack((first, second, third), dim=-1)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions of rotation matrices, by the largest of four components.

    The formula of torchgeometry and kornia 0.1, with their choice among the cases: the sign
    of the result depends on it.

    Args:
        matrix: [..., 3, 3].

    Returns:
        (w, x, y, z), [..., 4].
    """
    rows = matrix.unbind(-2)
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = (row.unbind(-1) for row in rows)
    by_x = torch.stack((m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20), -1)
    by_y = torch.stack((m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12), -1)
    by_z = torch.stack((m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22), -1)
    by_w = torch.stack((1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01), -1)
    low, x_over_y, z_over_w = m22 < _TRACE_THRESHOLD, m00 > m11, m00 < -m11

    def choose(x: Tensor, y: Tensor, z: Tensor, w: Tensor, mask: tuple[Tensor, ...]) -> Tensor:
        return torch.where(mask[0], torch.where(mask[1], x, y), torch.where(mask[2], z, w))

    masks = (low, x_over_y, z_over_w)
    chosen = choose(by_x, by_y, by_z, by_w, tuple(mask[..., None] for mask in masks))
    # The chosen component's square, times four; chosen before the root: gradients stay finite.
    square = choose(by_x[..., 1], by_y[..., 2], by_z[..., 3], by_w[..., 0], masks)
    return 0.5 * chosen / square.sqrt()[..., None]


def quaternion_to_axis_angle(quaternion: Tensor) -> Tensor:
    """Axis times angle, the angle in (-pi, pi]: (w, x, y, z) [..., 4] -> [..., 3]."""
    w, xyz = quaternion[..., :1], quaternion[..., 1:]
    square = xyz.square().sum(-1, keepdim=True)
    turned = square > 0
    sine = torch.where(turned, square, torch.ones_like(square)).sqrt()
    sign = torch.where(w < 0, -torch.ones_like(w), torch.ones_like(w))
    angle = 2 * torch.atan2(sign * sine, sign * w)
    return xyz * torch.where(turned, angle / sine, torch.full_like(sine, 2.0))


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis-angle vectors of rotation matrices through quaternions; NaN becomes 0.

    As in torchgeometry and kornia 0.1, whose results SPIN, MAED and 3DCrowdNet report.

    Args:
        matrix: [..., 3, 3].

    Returns:
        [..., 3], radians.
    """
    vector = quaternion_to_axis_angle(matrix_to_quaternion(matrix))
    return torch.where(torch.isnan(vector), torch.zeros_like(vector), vector)


def axis_angle_to_quaternion(axis_angle: Tensor) -> Tensor:
    """Unit quaternions (w, x, y, z) of axis-angle vectors: [..., 3] -> [..., 4].

    The offset inside the norm is that of the SMPL layers (smplx, SPIN, smplpytorch).
    """
    angle = torch.linalg.vector_norm(axis_angle + _AXIS_ANGLE_OFFSET, dim=-1, keepdim=True)
    angle = angle.clamp_min(_LEAST_ANGLE)
    half = 0.5 * angle
    return torch.cat((half.cos(), half.sin() * axis_angle / angle), dim=-1)


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices of quaternions (w, x, y, z) of any norm: [..., 4] -> [..., 3, 3]."""
    norm = torch.linalg.vector_norm(quaternion, dim=-1, keepdim=True)
    w, x, y, z = (quaternion / norm).unbind(-1)
    rows = (
        (w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (w * y + x * z)),
        (2 * (w * z + x * y), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (w * x + y * z), w * w - x * x - y * y + z * z),
    )
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices of axis-angle vectors, radians: [..., 3] -> [..., 3, 3]."""
    return quaternion_to_matrix(axis_angle_to_quaternion(axis_angle))
