"""The three-stage SMAP network.

Zhen et al., "SMAP: Single-Shot Multi-Person Absolute 3D Pose Estimation", ECCV 2020. An
MSPN-style cascade: each stage is a ResNet-50 shaped encoder and a decoder of four units; the
later stages see the features of the one before. Module names give the official state-dict
keys. Depth heads work on centimetres and on root depth divided by the focal length in
network-input pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15

STRIDE = 4  # network-input pixels per map cell
KEYPOINTS = len(MPI15.joints)  # 15
LIMBS = len(MPI15.limbs)  # 14
MAPS_2D = KEYPOINTS + 2 * LIMBS  # 43: heatmaps, then x and y of each limb's affinity field

# Of the input, bgr / 255: ImageNet's.
MEAN_BGR, STD_BGR = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)

_BLOCKS = (3, 4, 6, 3)  # ResNet-50
_ENCODER_WIDTH = 256  # of the finest layer; each coarser one has twice as many channels
_STEM_WIDTH = 64


class StageMaps(NamedTuple):
    """What one stage predicts at its four decoder levels, coarse to fine.

    All maps have the resolution of the finest level, [B, C, H/4, W/4].

    Attributes:
        heatmap_2d: C = 43, keypoint heatmaps then affinity fields (scaled to 255 and 127).
        det_d: C = 14, depth of each limb's second joint relative to its first, cm.
        root_d: C = 1, root depth in cm divided by the focal length in network-input pixels.
    """

    heatmap_2d: tuple[Tensor, ...]
    det_d: tuple[Tensor, ...]
    root_d: tuple[Tensor, ...]


class ConvUnit(nn.Module):
    """Convolution with bias, batch normalisation and, optionally, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        y: Tensor = self.bn(self.conv(x))
        return F.relu(y, inplace=True) if self.relu else y


class Bottleneck(nn.Module):
    """ResNet bottleneck with the stride on its 3x3 convolution."""

    def __init__(self, inputs: int, width: int, stride: int, *, project: bool) -> None:
        super().__init__()
        outputs = 4 * width
        self.conv_bn_relu1 = ConvUnit(inputs, width, 1)
        self.conv_bn_relu2 = ConvUnit(width, width, 3, stride)
        self.conv_bn_relu3 = ConvUnit(width, outputs, 1, relu=False)
        self.downsample = ConvUnit(inputs, outputs, 1, stride, relu=False) if project else None

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 4 * width, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.conv_bn_relu3(self.conv_bn_relu2(self.conv_bn_relu1(x))) + shortcut)


class Stem(nn.Module):
    """Image to quarter resolution: 7x7 convolution and 3x3 max-pooling, stride 2 each."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = ConvUnit(3, _STEM_WIDTH, 7, 2)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 64, H/4, W/4]."""
        return F.max_pool2d(self.conv(image), 3, stride=2, padding=1)


class Encoder(nn.Module):
    """Four ResNet-50 layers; the previous stage's features are added after each."""

    def __init__(self, blocks_of_layers: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        inputs = _STEM_WIDTH
        for k, (blocks, outputs) in enumerate(zip(blocks_of_layers, widths, strict=True)):
            stride = 1 if k == 0 else 2
            first = Bottleneck(inputs, outputs // 4, stride, project=True)
            rest = (Bottleneck(outputs, outputs // 4, 1, project=False) for _ in range(1, blocks))
            self.add_module(f"layer{k + 1}", nn.Sequential(first, *rest))
            inputs = outputs

    def forward(self, x: Tensor, skips: list[Tensor] | None) -> list[Tensor]:
        """Encode.

        Args:
            x: [B, 64, H/4, W/4].
            skips: what to add to each layer's output, fine to coarse; None in the first stage.

        Returns:
            Four maps, fine to coarse: 256, 512, 1024, 2048 channels at strides 4, 8, 16, 32.
        """
        maps = []
        for k, layer in enumerate(self.children()):
            x = layer(x)
            if skips is not None:
                x = x + skips[k]
            maps.append(x)
        return maps


class DecoderUnit(nn.Module):
    """One decoder level: fusion with the encoder map, three heads, links to the next stage."""

    def __init__(self, inputs: int, width: int, *, coarsest: bool, link: bool, cross: bool) -> None:
        super().__init__()
        self.u_skip = ConvUnit(inputs, width, 1, relu=False)
        if not coarsest:
            self.up_conv = ConvUnit(width, width, 1, relu=False)
        if link:
            self.skip1 = ConvUnit(inputs, inputs, 1)
            self.skip2 = ConvUnit(width, inputs, 1)
        if cross:
            self.cross_conv = ConvUnit(width, _STEM_WIDTH, 1)
        self.res_conv1 = ConvUnit(width, width, 1)
        self.res_conv2 = ConvUnit(width, MAPS_2D, 3, relu=False)
        self.res_d_conv1 = ConvUnit(width, width, 1)
        self.res_d_conv2 = ConvUnit(width, LIMBS, 3, relu=False)
        self.res_rd_conv1 = ConvUnit(width, width, 1)
        self.res_rd_conv2 = ConvUnit(width, 1, 3, relu=False)

    def forward(self, encoded: Tensor, coarser: Tensor | None) -> Tensor:
        """Fuse the encoder map with the next coarser level: [B, width, h, w]."""
        x = self.u_skip(encoded)
        if coarser is not None:
            x = x + self.up_conv(_resize(coarser, x.shape[-2:]))
        return F.relu(x)

    def heatmap_2d(self, fused: Tensor, size: torch.Size) -> Tensor:
        """Keypoint heatmaps and affinity fields, [B, 43, *size]."""
        return _resize(self.res_conv2(self.res_conv1(fused)), size)

    def det_d(self, fused: Tensor, size: torch.Size) -> Tensor:
        """Relative depth of the limbs, [B, 14, *size]."""
        return _resize(self.res_d_conv2(self.res_d_conv1(fused)), size)

    def root_d(self, fused: Tensor, size: torch.Size) -> Tensor:
        """Normalised root depth, [B, 1, *size]."""
        return _resize(self.res_rd_conv2(self.res_rd_conv1(fused)), size)


class Decoder(nn.Module):
    """Four units from the coarsest encoder map (``up1``) to the finest (``up4``)."""

    def __init__(self, widths: Sequence[int], width: int, *, link: bool) -> None:
        super().__init__()
        levels = len(widths)
        for u, inputs in enumerate(reversed(widths), start=1):
            unit = DecoderUnit(
                inputs, width, coarsest=u == 1, link=link, cross=link and u == levels
            )
            self.add_module(f"up{u}", unit)

    @property
    def units(self) -> list[DecoderUnit]:
        """The units, coarse to fine."""
        return [unit for unit in self.children() if isinstance(unit, DecoderUnit)]

    def forward(self, encoded: list[Tensor]) -> list[Tensor]:
        """Encoder maps, fine to coarse -> fused maps, coarse to fine."""
        fused: list[Tensor] = []
        for unit, x in zip(self.units, reversed(encoded), strict=True):
            fused.append(unit(x, fused[-1] if fused else None))
        return fused

    def links(self, encoded: list[Tensor], fused: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """What the next stage receives: its input, and what it adds to its encoder maps."""
        skips = [
            unit.skip1(x) + unit.skip2(out)
            for unit, x, out in zip(self.units, reversed(encoded), fused, strict=True)
        ]
        return self.units[-1].cross_conv(fused[-1]), skips[::-1]


class Stage(nn.Module):
    """Encoder and decoder; every stage but the last feeds the next one."""

    def __init__(
        self, blocks: Sequence[int], widths: Sequence[int], width: int, *, link: bool
    ) -> None:
        super().__init__()
        self.downsample = Encoder(blocks, widths)
        self.upsample = Decoder(widths, width, link=link)


class Smap(nn.Module):
    """SMAP: heatmaps, part affinity fields, relative and root depth from one image.

    Input: float32 [B, 3, H, W], BGR / 255 normalised with :data:`MEAN_BGR` and
    :data:`STD_BGR`; officially 512 x 832. H and W should be
    multiples of 32.

    In training mode ``forward`` returns one ``StageMaps`` a stage, for ``losses.smap_loss``;
    in eval mode a dict of

    - ``heatmap_2d`` [B, 43, H/4, W/4]: the SUM of the last stage's three finest levels (as
      officially; thresholds downstream act on the sum),
    - ``det_d`` [B, 14, H/4, W/4] and ``root_d`` [B, 1, H/4, W/4]: its finest level alone.

    Args:
        stages: length of the cascade; 3 in the official checkpoints.
        width: channels of the decoder; 256 in the official checkpoints.
        blocks: bottlenecks of the encoder's four layers; ResNet-50's in the official checkpoints.
        encoder: channels of its finest layer, a multiple of 4; each next one has twice as many.
    """

    def __init__(
        self,
        stages: int = 3,
        width: int = 256,
        blocks: Sequence[int] = _BLOCKS,
        encoder: int = _ENCODER_WIDTH,
    ) -> None:
        super().__init__()
        if len(blocks) != len(_BLOCKS) or encoder % 4 or min(stages, width, encoder, *blocks) < 1:
            raise InputError(
                f"smap: stages {stages}, width {width}, blocks {list(blocks)}, encoder {encoder}; "
                "expected positive numbers, four of blocks, a multiple of 4 for encoder"
            )
        widths = [encoder << k for k in range(len(blocks))]
        self.top = Stem()
        self._stages: list[str] = [f"stage{i}" for i in range(stages)]
        for i, name in enumerate(self._stages):
            self.add_module(name, Stage(blocks, widths, width, link=i < stages - 1))

    @property
    def stages(self) -> list[Stage]:
        """The stages in order."""
        return [self.get_submodule(name) for name in self._stages]  # type: ignore[misc]

    def forward(self, image: Tensor) -> dict[str, Tensor] | tuple[StageMaps, ...]:
        """Predict; see the class for the two kinds of result."""
        if self.training:
            return self.forward_stages(image)
        return self._infer(image)

    def forward_stages(self, image: Tensor) -> tuple[StageMaps, ...]:
        """All maps of all stages and levels, whatever the mode."""
        result = []
        for stage, fused in zip(self.stages, self._fused(image), strict=True):
            heads, size = list(zip(stage.upsample.units, fused, strict=True)), fused[-1].shape[-2:]
            result.append(
                StageMaps(
                    tuple(unit.heatmap_2d(x, size) for unit, x in heads),
                    tuple(unit.det_d(x, size) for unit, x in heads),
                    tuple(unit.root_d(x, size) for unit, x in heads),
                )
            )
        return tuple(result)

    def _infer(self, image: Tensor) -> dict[str, Tensor]:
        """The eval-mode result, without the heads it doesn't need."""
        fused = self._fused(image)[-1]
        units, size = self.stages[-1].upsample.units, fused[-1].shape[-2:]
        levels = [unit.heatmap_2d(x, size) for unit, x in zip(units[1:], fused[1:], strict=True)]
        return {
            "heatmap_2d": levels[0] + levels[1] + levels[2],
            "det_d": units[-1].det_d(fused[-1], size),
            "root_d": units[-1].root_d(fused[-1], size),
        }

    def _fused(self, image: Tensor) -> list[list[Tensor]]:
        """Fused decoder maps of every stage, coarse to fine."""
        x, skips, result = self.top(image), None, []
        for i, stage in enumerate(self.stages):
            encoded = stage.downsample(x, skips)
            fused = stage.upsample(encoded)
            result.append(fused)
            if i < len(self._stages) - 1:
                x, skips = stage.upsample.links(encoded, fused)
        return result


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    """Bilinear resize that maps corner cells onto corner cells."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
