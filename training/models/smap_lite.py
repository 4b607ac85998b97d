"""SMAP-lite: SMAP's output representation on a mobile backbone, for CPUs.

MoveNet's keypoint branch, or the smaller EfficientNet-Lite0, feeds a feature pyramid of
depthwise-separable units. The outputs are SMAP's (Zhen et al., ECCV 2020, section 3): 15
keypoint heatmaps, 28 part-affinity channels, 14 relative bone depths and one root depth map, so
the same association and lifting run them. Beside them, each pelvis tells the person's whole pose,
hidden joints included, as ROMP's body centres do (Sun et al., ICCV 2021): evidence for RefineNet.
Each neck may do so as well, for people whose pelvis is out of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_train.models.layers.mobile import EfficientNetLite0
from smap_train.models.layers.movenet import MoveNet, read_published
from smap_train.models.layers.norms import HoldsNorms

JOINTS, LIMBS = 15, 14

# The heads start where the targets are on average: rare keypoints, people at about 4 m seen
# with 400 px of focal length.
_HEATMAP_PRIOR_LOGIT = -4.0
_ROOT_DEPTH_PRIOR_LOG = -4.6
_SPREAD_PRIOR_LOG = -2.3


class _Unit(nn.Sequential):
    """Depthwise k x k, pointwise, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 5):
        super().__init__(
            nn.Conv2d(inputs, inputs, kernel, padding=kernel // 2, groups=inputs, bias=False),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


def _lateral(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


class _Head(nn.Conv2d):
    """A 1x1 convolution that answers in float32, also under autocast: depths need the digits."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, outputs, H, W] of features [B, inputs, H, W]."""
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


_BACKBONES = {"movenet": MoveNet, "efficientnet_lite0": EfficientNetLite0}


class SmapLite(HoldsNorms):
    """The network. 4.9 M parameters on MoveNet, 3.2 M on EfficientNet-Lite0.

    Input: float [B, 3, H, W], RGB in [-1, 1], H and W multiples of 32.

    Args:
        widths: channels of the pyramid at strides 4, 8 and 16 (and 32).
        backbone: ``movenet`` or ``efficientnet_lite0``.
        necks: whether necks tell depth and pose too, and how uncertain depths are is told.

    Raises:
        InputError: if there is no such backbone.
    """

    stride = 4

    def __init__(
        self,
        widths: Sequence[int] = (64, 96, 128),
        backbone: str = "movenet",
        necks: bool = False,
    ):
        super().__init__()
        if backbone not in _BACKBONES:
            raise InputError(f"unknown backbone {backbone!r}; known: {', '.join(_BACKBONES)}")
        fine, middle, coarse = widths
        self.backbone = _BACKBONES[backbone]()
        c4, c8, c16, c32 = self.backbone.channels
        self.lateral32 = _lateral(c32, coarse)
        self.context32 = nn.Sequential(_Unit(coarse, coarse, 7), _Unit(coarse, coarse, 7))
        self.lateral16 = _lateral(c16, coarse)
        self.context16 = nn.Sequential(_Unit(coarse, coarse, 7), _Unit(coarse, middle, 7))
        self.lateral8 = _lateral(c8, middle)
        self.context8 = nn.Sequential(_Unit(middle, middle, 7), _Unit(middle, middle, 5))
        self.lateral4 = _lateral(c4, fine)
        self.down4 = nn.Conv2d(middle, fine, 1)
        self.trunk = nn.Sequential(_Unit(fine, fine, 5), _Unit(fine, fine, 5))
        self.keypoints = _Head(fine, JOINTS)
        self.affinities = _Head(fine, 2 * LIMBS)
        # Depths vary slowly within a person: stride 8 is enough and sees further.
        self.depth_trunk = _Unit(middle, middle, 7)
        self.bone_depth = _Head(middle, LIMBS)
        self.root_depth = _Head(middle, 1)
        self.pose_trunk = nn.Sequential(_Unit(middle, coarse, 7), _Unit(coarse, coarse, 7))
        self.pose = _Head(coarse, 3 * JOINTS)
        self.neck_depth = _Head(middle, 1) if necks else None
        self.neck_pose = _Head(coarse, 3 * JOINTS) if necks else None
        self.depth_spread = _Head(middle, 2) if necks else None  # of pelvis and neck
        nn.init.constant_(self.keypoints.bias, _HEATMAP_PRIOR_LOGIT)
        nn.init.constant_(self.root_depth.bias, _ROOT_DEPTH_PRIOR_LOG)
        heads = (self.keypoints, self.affinities, self.bone_depth, self.root_depth, self.pose)
        for head in heads:
            nn.init.normal_(head.weight, std=1e-2)
        self.start_necks()

    @torch.no_grad()
    def start_necks(self) -> None:
        """Let necks tell what pelvises tell, before they learn it; depths uncertain by a tenth."""
        if self.neck_depth is None or self.neck_pose is None or self.depth_spread is None:
            return
        self.neck_depth.load_state_dict(self.root_depth.state_dict())
        self.neck_pose.load_state_dict(self.pose.state_dict())
        nn.init.zeros_(self.depth_spread.weight)
        nn.init.constant_(self.depth_spread.bias, _SPREAD_PRIOR_LOG)

    def load_pretrained(self, movenet: Path | None = None) -> None:
        """Start the backbone from published weights.

        Args:
            movenet: the archive that :func:`read_published` reads; for that backbone.

        Raises:
            InputError: if the archive is needed and missing, or is another one.
        """
        if not isinstance(self.backbone, MoveNet):
            self.backbone.load_imagenet()
            return
        if movenet is None:
            raise InputError("the MoveNet backbone starts from an archive; set `movenet: PATH`")
        self.backbone.load_published(read_published(movenet))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict the maps.

        Returns:
            In eval mode, under SMAP's names: ``heatmap_2d`` [B, 43, H/4, W/4] (keypoints in
            [0, 1], then part affinities), ``det_d`` [B, 14, H/4, W/4] bone depths in metres,
            ``root_d`` [B, 1, H/4, W/4] root depth over focal length, metres per network pixel.
            ``pose`` [B, 45, H/4, W/4] is the whole pose as seen from each person's pelvis, see
            :class:`smap_train.targets.smap_lite.Targets`.
            With ``necks`` also ``neck_d`` and ``neck_pose``, the same of necks, and
            ``depth_spread`` [B, 2, H/4, W/4], the mean absolute error to expect of the logarithm
            of pelvises' and necks' depths.
            In training mode, what the losses act on: ``keypoint_logits``, ``affinities``,
            ``bone_depth`` (metres), ``root_depth_log`` and ``pose`` at the same size; then
            ``neck_depth_log``, ``neck_pose`` and ``depth_spread_log``.
        """
        f4, f8, f16, f32 = self.backbone(image)
        x = self.context32(self.lateral32(f32))
        x = self.context16(self.lateral16(f16) + _up(x))
        x = self.context8(self.lateral8(f8) + _up(x))
        depth = self.depth_trunk(x)
        bone, root = _up(self.bone_depth(depth)), _up(self.root_depth(depth))
        told = self.pose_trunk(x)
        pose = _up(self.pose(told))
        necks: dict[str, Tensor] = {}
        if self.neck_depth is not None and self.neck_pose is not None:
            assert self.depth_spread is not None
            necks = {
                "neck_depth_log": _up(self.neck_depth(depth)),
                "neck_pose": _up(self.neck_pose(told)),
                "depth_spread_log": _up(self.depth_spread(depth)),
            }
        x = self.trunk(F.relu(self.lateral4(f4) + _up(self.down4(x))))
        logits, affinities = self.keypoints(x), self.affinities(x)
        if self.training:
            return {
                "keypoint_logits": logits,
                "affinities": affinities,
                "bone_depth": bone,
                "root_depth_log": root,
                "pose": pose,
                **necks,
            }
        if necks:
            necks = {
                "neck_d": necks["neck_depth_log"].exp(),
                "neck_pose": necks["neck_pose"],
                "depth_spread": necks["depth_spread_log"].exp(),
            }
        return {
            "heatmap_2d": torch.cat([logits.sigmoid(), affinities], dim=1),
            "det_d": bone,
            "root_d": root.exp(),
            "pose": pose,
            **necks,
        }
