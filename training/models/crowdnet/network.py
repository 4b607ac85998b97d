"""3DCrowdNet with a ResNet-50, and with HAP's vision transformer."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from smap_ros.skeletons import SMPL30
from smap_train.models.crowdnet.body import ROOT, CrowdBody
from smap_train.models.crowdnet.guidance import HEATMAP_SIZE, PoseGuidance, joint_heatmaps
from smap_train.models.crowdnet.position import CELLS, FEATURES, PositionNet
from smap_train.models.crowdnet.rotation import NODES, RotationNet
from smap_train.models.crowdnet.vit import WIDTH, HapBackbone
from smap_train.models.crowdnet.vposer import ROT6D_EPS, VPoser
from smap_train.models.layers.resnet import ResNet
from smap_train.models.layers.rotations import matrix_to_axis_angle, rot6d_to_matrix

_STEM_WIDTH = 64
_CELL = HEATMAP_SIZE / CELLS  # heatmap cells in a cell of the late features


class PoseGuidedNetwork(nn.Module, ABC):
    """What both networks share; see ``CrowdNet`` for inputs and outputs."""

    def __init__(self, backbone: nn.Module, early_features: int, features: int = FEATURES) -> None:
        super().__init__()
        self.backbone = backbone
        self.pose2feat = PoseGuidance(early_features, len(SMPL30))
        self.position_net = PositionNet(NODES, features)
        self.rotation_net = RotationNet(features)
        self.vposer = VPoser()
        self.human_model_layer = CrowdBody()

    @abstractmethod
    def features(self, image: Tensor, heatmaps: Tensor) -> Tensor:
        """[B, 3, 256, 256] and [B, 30, 64, 64] -> late features [B, 2048, 8, 8]."""

    def forward(self, image: Tensor, joints: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Predict; see the class for the arguments and for the result."""
        outputs = self.regress(image, joints, mask)
        pose, shape, camera = (
            outputs[f"out_{name}"] for name in ("smpl_pose", "smpl_shape", "cam_param")
        )
        body = self.human_model_layer.pose(pose, shape, camera)
        return {
            **outputs,
            "out_joint_proj": body.joints_2d,
            "out_mesh_cam": body.vertices - body.joints[:, ROOT : ROOT + 1],
            "out_mesh_cam_render": body.vertices,
        }

    def regress(self, image: Tensor, joints: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The outputs that need no body model: joints, pose, shape and camera.

        This is what is deployed: SMPL's licence forbids passing the body on inside a network.
        """
        features = self.features(image, joint_heatmaps(joints, mask))
        positions, scores = self.position_net(features)
        found = self.rotation_net(features, positions, scores)
        root = matrix_to_axis_angle(rot6d_to_matrix(found.root_6d, ROT6D_EPS))
        return {
            "out_joint_img": positions * _CELL,
            "out_joint_score": scores,
            "out_smpl_pose": torch.cat([root, self.vposer(found.latent)], dim=-1),
            "out_smpl_shape": found.shape,
            "out_cam_param": found.camera,
        }


class CrowdNet(PoseGuidedNetwork):
    """3DCrowdNet with a ResNet-50.

    Inputs, all float32:

    - ``image`` [B, 3, 256, 256]: square RGB crop of the person, divided by 255 and nothing
      else;
    - ``joints`` [B, 30, 2 or more]: the person's 2D pose in the order of ``smpl30``, x and y in
      cells of 64 over the crop; what follows (a score) is not used;
    - ``mask`` [B, 30, 1]: 1 where a joint is known.

    ``forward`` returns a dict, in both modes:

    - ``out_joint_img`` [B, 15, 3]: joints of ``crowd15``; x, y and depth in cells of 64;
    - ``out_joint_score`` [B, 15, 1]: the volumes' probabilities there;
    - ``out_smpl_pose`` [B, 72]: axis-angle, radians; ``out_smpl_shape`` [B, 10];
    - ``out_cam_param`` [B, 3]: see ``body.camera_translation``;
    - ``out_joint_proj`` [B, 30, 2]: the body's joints in cells of 64 over the crop;
    - ``out_mesh_cam`` [B, 6890, 3]: the mesh about its pelvis, metres;
    - ``out_mesh_cam_render`` [B, 6890, 3]: the mesh before the crop's camera, metres.

    The last three are NaN until there is a body: see ``body.CrowdBody``.

    Args:
        depth: of the ResNet, officially 50.
        stem_width: channels of its stem, officially 64; fewer for smaller networks.
    """

    backbone: ResNet

    def __init__(self, depth: int = 50, stem_width: int = _STEM_WIDTH) -> None:
        backbone = ResNet(depth, stem_width=stem_width)
        super().__init__(backbone, stem_width, backbone.width)

    def features(self, image: Tensor, heatmaps: Tensor) -> Tensor:
        """[B, 3, 256, 256] and [B, 30, 64, 64] -> late features [B, 2048, 8, 8]."""
        guided = self.pose2feat(self.backbone.stem(image), heatmaps)
        return self.backbone.stages(guided)[-1]


class HapCrowdNet(PoseGuidedNetwork):
    """3DCrowdNet with HAP's ViT-B/16; inputs and outputs as ``CrowdNet``.

    Officially ``vit_conv_layer`` is given to no optimiser and so stays as it was drawn: a
    checkpoint must carry it, it can't be replaced by another random one.
    """

    backbone: HapBackbone

    def __init__(self) -> None:
        super().__init__(HapBackbone(), early_features=WIDTH)
        self.vit_conv_layer = nn.Conv2d(WIDTH, FEATURES, 1)

    def features(self, image: Tensor, heatmaps: Tensor) -> Tensor:
        """[B, 3, 256, 256] and [B, 30, 64, 64] -> late features [B, 2048, 8, 8]."""
        guided = self.pose2feat(self.backbone.early(image), heatmaps)
        late = self.backbone.late(guided)
        step = late.shape[-1] // CELLS  # every second token, as officially
        features: Tensor = self.vit_conv_layer(late[..., ::step, ::step])
        return features
