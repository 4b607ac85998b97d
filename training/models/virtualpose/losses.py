"""What VirtualPose is trained with, with the official weights.

Stage 1 trains the backbone on images; stage 2 trains REN and PEN on virtual scenes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from smap_train.losses.shared import mean, mean_count
from smap_train.models.virtualpose.cameras import Cameras, depth_unit_mm
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.detection import gather
from smap_train.models.virtualpose.model import Truth

WEIGHT_HEATMAP, WEIGHT_BOX = 10_000.0, 0.1  # stage 1
WEIGHT_DEPTH, WEIGHT_CUBE, WEIGHT_JOINTS = 0.1, 1000.0, 1.0  # stage 2


class RootBoxes(NamedTuple):
    """What the backbone learns of boxes: fields of :class:`Truth`."""

    inds: Tensor
    sides: Tensor
    in_view: Tensor


def backbone_losses(
    outputs: dict[str, Tensor], heatmaps: Tensor, labelled: Tensor, truth: Truth | RootBoxes
) -> dict[str, Tensor]:
    """Losses of ``PoseDetResNet``, not weighted.

    Args:
        outputs: of the network in training mode.
        heatmaps: [B, J, h, w], what ``pose`` should be.
        labelled: [B, J], 1 for joints that somebody in the image has, else 0.

    Returns:
        Scalars ``loss_2d``, the mean squared error of the heatmaps, and ``loss_bbox``, the mean
        distance error at the roots, cells.
    """
    sides = gather(outputs["bbox"], truth.inds)
    mask, known = truth.in_view[..., None].expand_as(sides), labelled[..., None, None]
    return {
        "loss_2d": F.mse_loss(outputs["pose"] * known, heatmaps * known),
        "loss_bbox": masked_l1(sides, truth.sides, mask),
    }


def pose_losses(
    outputs: dict[str, Tensor], truth: Truth, cameras: Cameras, config: VirtualPoseConfig
) -> dict[str, Tensor]:
    """Losses of ``VirtualPose``, not weighted.

    Args:
        outputs: of the network, called with the truth.

    Returns:
        Scalars ``loss_depth``, the error of root depths, mm; ``loss_3d``, the mean squared error
        of the root cube; ``loss_cord``, the mean error of the coordinates of matched candidates'
        joints, mm, zero if there are none.
    """
    unit = depth_unit_mm(cameras, config)[:, None]
    depth = gather(outputs["depth_map"], truth.inds)[..., 0] * unit
    return {
        "loss_depth": masked_l1(depth, truth.depth_mm, truth.in_view),
        "loss_3d": F.mse_loss(outputs["root_cubes"], truth.root_cube),
        "loss_cord": _joint_loss(outputs["pred"], truth),
    }


def _joint_loss(pred: Tensor, truth: Truth) -> Tensor:
    """Mean absolute error over matched candidates, joints and axes; unknown joints count as 0."""
    image, candidate = torch.nonzero(pred[:, :, 0, 3] >= 0, as_tuple=True)
    person = pred[image, candidate, 0, 3].long()
    error = pred[image, candidate, :, :3] - truth.joints_mm[image, person]
    weighted = error.abs() * truth.joints_weight[image, person][..., None]
    return mean(weighted)


def masked_l1(got: Tensor, expected: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error where the mask is 1; all of one shape."""
    return ((got - expected).abs() * mask).sum() / (mean_count(mask.sum(), got, least=0) + 1e-4)
