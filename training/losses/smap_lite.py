"""Losses of smap_lite: SMAP's three terms in forms that small networks learn fast.

SMAP (section 4.1) uses mean squared errors with hard mining. Here keypoints use the quality
focal loss (Li et al., NeurIPS 2020), which needs no mining and gives scores in [0, 1]; depths
use L1 as in SMAP, the root's on the logarithm so that near and far people count alike, and so
do whole poses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from smap_train.losses.shared import mean, mean_count

Weight = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; chosen so that each starts near 1."""

    keypoints: Weight = 1.0
    affinities: Weight = 2.0
    bone_depth: Weight = 2.0
    root_depth: Weight = 1.0
    pose: Weight = 3.0
    neck_depth: Weight = 1.0
    neck_pose: Weight = 2.0
    depth_spread: Weight = 0.1
    teacher: Weight = 1.0


def keypoint_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Quality focal loss, normalised by the number of labelled peaks.

    Args:
        logits, target, weight: [B, 15, h, w]; target in [0, 1].
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    focus = (logits.sigmoid() - target).square()
    peaks = mean_count((target > 0.5).sum(), target)
    return 4.0 * (focus * cross_entropy * weight).sum() / peaks


def affinity_loss(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Squared error of part affinities, normalised by the labelled limb area.

    Args:
        output, target: [B, 28, h, w].
        weight: [B, 14, h, w].
    """
    error = (output - target).square()
    error = error[:, 0::2] + error[:, 1::2]
    on_limb = (target[:, 0::2].square() + target[:, 1::2].square()) > 0
    # Limbs cover about 1 % of the map: the rest counts a tenth per cell.
    weight = weight * torch.where(on_limb, 1.0, 0.1)
    return (error * weight).sum() / mean_count(on_limb.sum(), output)


def bone_depth_loss(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 in metres over the labelled limb area; [B, 14, h, w] each."""
    return ((output - target).abs() * weight).sum() / mean_count(weight.sum(), output)


def root_depth_loss(log_depth: Tensor, roots: Tensor) -> Tensor:
    """L1 of log depth over the 3x3 cells around each labelled root.

    Args:
        log_depth: [B, 1, h, w].
        roots: [B, N, 3], rows of (row, column, depth over focal length); depth 0 is no person.
    """
    found = _at_roots(log_depth, roots)[..., 0]
    depth = roots[..., 2][roots[..., 2] > 0]
    return mean((found - depth.log()[:, None, None]).abs())


def spread_loss(log_spread: Tensor, log_depth: Tensor, roots: Tensor) -> Tensor:
    """How badly the told spread fits the errors that are made (a Laplace distribution's).

    The errors themselves are not touched: where the network is unsure it still tries.

    Args:
        log_spread, log_depth: [B, 1, h, w].
        roots: [B, N, 3] as in :func:`root_depth_loss`.
    """
    spread = _at_roots(log_spread, roots)[..., 0]
    depth = roots[..., 2][roots[..., 2] > 0]
    error = (_at_roots(log_depth, roots)[..., 0] - depth.log()[:, None, None]).abs().detach()
    return mean(error * (-spread).exp() + spread)


def pose_loss(output: Tensor, roots: Tensor, poses: Tensor) -> Tensor:
    """L1 in metres over the known coordinates in the 3x3 cells around each labelled root.

    Args:
        output: [B, 45, h, w].
        roots: [B, N, 3] as in :func:`root_depth_loss`.
        poses: [B, N, 45], metres; NaN where unknown.
    """
    found = _at_roots(output, roots)
    true = poses[roots[..., 2] > 0][:, None, None]
    known = torch.isfinite(true).expand_as(found)
    return mean((found - true.nan_to_num()).abs()[known])


def _at_roots(maps: Tensor, roots: Tensor) -> Tensor:
    """Values [P, 3, 3, C] of maps [B, C, h, w] around the P labelled roots."""
    height, width = maps.shape[-2:]
    batch, person = torch.nonzero(roots[..., 2] > 0, as_tuple=True)
    row, column = roots[batch, person, :2].long().unbind(-1)
    offset = torch.arange(-1, 2, device=maps.device)
    rows = (row[:, None, None] + offset[:, None]).clamp(0, height - 1)
    columns = (column[:, None, None] + offset[None]).clamp(0, width - 1)
    return maps[batch[:, None, None], :, rows, columns]


def lite_losses(output: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms, unweighted, from training-mode outputs and a batch of targets."""
    terms = {
        "keypoints": keypoint_loss(
            output["keypoint_logits"], batch["keypoints"], batch["keypoint_weight"]
        ),
        "affinities": affinity_loss(
            output["affinities"], batch["affinities"], batch["affinity_weight"]
        ),
        "bone_depth": bone_depth_loss(
            output["bone_depth"], batch["bone_depth"], batch["bone_weight"]
        ),
        "root_depth": root_depth_loss(output["root_depth_log"], batch["roots"]),
        "pose": pose_loss(output["pose"], batch["roots"], batch["poses"]),
    }
    if "neck_pose" in output:
        spread = output["depth_spread_log"]
        terms["neck_depth"] = root_depth_loss(output["neck_depth_log"], batch["necks"])
        terms["neck_pose"] = pose_loss(output["neck_pose"], batch["necks"], batch["neck_poses"])
        terms["depth_spread"] = spread_loss(
            spread[:, :1], output["root_depth_log"], batch["roots"]
        ) + spread_loss(spread[:, 1:], output["neck_depth_log"], batch["necks"])
    return terms
