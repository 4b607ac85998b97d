"""3DCrowdNet's training losses: joints in 2.5D, parameters of the body, its joints in 2D and 3D.

Choi et al., CVPR 2022, section 4; means of absolute differences, with the official weights. Two
kinds of labels stand side by side: joints as a data set annotates them, and an SMPL body that
was fitted to the person beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from smap_ros.skeletons import CROWD15, SMPL30
from smap_train.models.crowdnet.body import ROOT, CrowdBody

CELL_WEIGHT = 1 / 8  # of differences in heatmap cells
_NODES = [SMPL30.index(name) for name in CROWD15.joints]


@dataclass(frozen=True)
class MeshTargets:
    """Labels of a batch of crops; joints in the order of ``smpl30``.

    What a mask leaves out may hold any finite number.

    Attributes:
        joints_img: annotated joints, [B, 30, 3]; x, y and depth in cells of 64 over the crop.
        joints_img_mask: [B, 30, 1], 1 where a joint is annotated and inside the crop.
        joints_cam: the same joints about the pelvis, metres, [B, 30, 3].
        joints_cam_mask: [B, 30, 1].
        has_3d: [B], 1 where the annotated joints have a depth.
        fit_joints_img, fit_joints_img_mask, fit_joints_cam: those of the fitted body; [B, 30, 3],
            [B, 30, 1], [B, 30, 3].
        pose: of the fitted body, axis-angle, radians, [B, 72].
        pose_mask: [B, 72], 1 for the joints that the fit knows of.
        shape: of the fitted body, [B, 10].
        has_fit: [B], 1 where there is a fitted body.
    """

    joints_img: Tensor
    joints_img_mask: Tensor
    joints_cam: Tensor
    joints_cam_mask: Tensor
    has_3d: Tensor
    fit_joints_img: Tensor
    fit_joints_img_mask: Tensor
    fit_joints_cam: Tensor
    pose: Tensor
    pose_mask: Tensor
    shape: Tensor
    has_fit: Tensor


def mesh_losses(
    outputs: Mapping[str, Tensor], body: CrowdBody, targets: MeshTargets
) -> dict[str, Tensor]:
    """The seven losses, weighted; their sum is minimised.

    Args:
        outputs: of a ``PoseGuidedNetwork`` with a body.
        body: the network's; gives the joints of its mesh.
        targets: labels.

    Returns:
        Scalars by name: ``body_joint_img``, ``smpl_joint_img``, ``smpl_pose``, ``smpl_shape``,
        ``body_joint_proj``, ``body_joint_cam``, ``smpl_joint_cam``.
    """
    t = targets
    has_3d, has_fit = t.has_3d[:, None, None], t.has_fit[:, None, None]
    flat = torch.ones_like(t.joints_img_mask).expand(-1, -1, 2)
    depth_known = torch.cat([flat, has_3d.expand_as(t.joints_img_mask)], dim=-1)[:, _NODES]
    joint_img = outputs["out_joint_img"]
    joints = body.joints30(outputs["out_mesh_cam"])
    joints = joints - joints[:, ROOT : ROOT + 1]
    body_mask = t.joints_img_mask[:, _NODES] * depth_known
    fit_mask = t.fit_joints_img_mask[:, _NODES] * has_fit
    return {
        "body_joint_img": CELL_WEIGHT * _l1(joint_img, t.joints_img[:, _NODES], body_mask),
        "smpl_joint_img": CELL_WEIGHT * _l1(joint_img, t.fit_joints_img[:, _NODES], fit_mask),
        "smpl_pose": _l1(outputs["out_smpl_pose"], t.pose, t.pose_mask * t.has_fit[:, None]),
        "smpl_shape": _l1(outputs["out_smpl_shape"], t.shape, t.has_fit[:, None]),
        "body_joint_proj": CELL_WEIGHT
        * _l1(outputs["out_joint_proj"], t.joints_img[..., :2], t.joints_img_mask),
        "body_joint_cam": _l1(joints, t.joints_cam, t.joints_cam_mask * has_3d),
        "smpl_joint_cam": _l1(joints, t.fit_joints_cam, has_fit),
    }


def _l1(got: Tensor, expected: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference; what is masked counts as right, as officially."""
    return ((got - expected).abs() * mask).mean()
