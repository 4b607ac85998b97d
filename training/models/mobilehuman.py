"""MobileHumanPose: 3D joints of one person from a crop, on a MobileNetV2-like encoder-decoder.

Choi et al., "MobileHumanPose: Toward Real-Time 3D Human Pose Estimation in Mobile Devices",
CVPR Workshops 2021. Three backbones: LPSKI joins encoder and decoder by skip concatenation
(the paper's model), LPRES concatenates densely, LPWO not at all. Module names give the
official state-dict keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.skeletons import H36M18, MPI15, MUCO21, Skeleton
from smap_train.models.layers.held import HeldFront
from smap_train.models.layers.norms import HoldsNorms
from smap_train.models.layers.prelu import PReLU
from smap_train.models.layers.soft_argmax import soft_argmax_3d

INPUT_SIZE = 256  # officially
SIZE_STEP = 64  # what sizes are multiples of
DEPTH_HALF_RANGE_M = 1.0  # the volume's depth spans the root's depth +- this

JOINT_SETS: dict[int, Skeleton] = {15: MPI15, 18: H36M18, 21: MUCO21}

_STEM_WIDTH, _LAST_WIDTH, _DECODER_WIDTH = 48, 2048, 256
_CONV_SPREAD = 0.001  # of the official first weights


class _Group(NamedTuple):
    """Inverted residuals of one width; the first one has the group's stride."""

    expansion: int
    width: int
    blocks: int


_GROUPS = (
    _Group(1, 64, 1),
    _Group(6, 48, 2),
    _Group(6, 48, 3),
    _Group(6, 64, 4),
    _Group(6, 96, 3),
    _Group(6, 160, 3),
    _Group(6, 320, 1),
)


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation, PReLU with a slope per channel."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1
    ) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            PReLU(outputs),
        )


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, filter each channel, project without activation."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [] if expansion == 1 else [ConvUnit(inputs, hidden, 1)]
        self.conv = nn.Sequential(
            *expand,
            ConvUnit(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.identity = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        y: Tensor = self.conv(x)
        return x + y if self.identity else y


class DecoderUnit(nn.Sequential):
    """1x1 and 3x3 convolutions, then twice the size; [B, C, H, W] -> [B, outputs, 2H, 2W]."""

    def __init__(self, inputs: int, middle: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, middle, 1),
            nn.BatchNorm2d(middle),
            PReLU(middle),
            nn.Conv2d(middle, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            PReLU(outputs),
            nn.UpsamplingBilinear2d(scale_factor=2),
        )


_Part = Callable[[Tensor], Tensor]


class Backbone(HoldsNorms, ABC):
    """Crop to volumes, in the parts that the three variants share.

    Args:
        joints: number of volumes.
        width: factor on the channels, under which each of them is still a whole number.
        input_size: of the crops, pixels.
    """

    stem_stride: ClassVar[int]
    strides: ClassVar[tuple[int, ...]]
    # Channels that come into each group, into the last 1x1 unit, and into the decoder units.
    group_inputs: ClassVar[tuple[int, ...]]
    last_inputs: ClassVar[int]
    decoder_inputs: ClassVar[tuple[int, int, int]]
    decoder_middles: ClassVar[tuple[int, int, int]]
    decoder_name: ClassVar[str] = "deconv"
    cell_size: ClassVar[int]  # pixels of the crop a cell
    front_groups: ClassVar[int]  # of which nothing but the last one's output is used

    def __init__(self, joints: int, width: float = 1.0, input_size: int = INPUT_SIZE) -> None:
        super().__init__()
        self.output_size = input_size // self.cell_size

        def scaled(channels: int) -> int:
            if not (own := channels * width).is_integer() or own < 1:
                raise InputError(f"width is {width}; expected 1, 0.5, 0.25, 0.125 or 0.0625")
            return int(own)

        self.first_conv = ConvUnit(3, scaled(_STEM_WIDTH), 3, self.stem_stride)
        blocks: list[InvertedResidual] = []
        for group, inputs, stride in zip(_GROUPS, self.group_inputs, self.strides, strict=True):
            own = scaled(group.width)
            blocks.append(InvertedResidual(scaled(inputs), own, stride, group.expansion))
            blocks += [
                InvertedResidual(own, own, 1, group.expansion) for _ in range(group.blocks - 1)
            ]
        self.inv_residual = nn.ModuleList(blocks)
        self.last_conv = ConvUnit(scaled(self.last_inputs), scaled(_LAST_WIDTH), 1)
        decoder = zip(self.decoder_inputs, self.decoder_middles, strict=True)
        for i, (inputs, middle) in enumerate(decoder):
            unit = DecoderUnit(scaled(inputs), scaled(middle), scaled(_DECODER_WIDTH))
            self.add_module(f"{self.decoder_name}{i}", unit)
        self.final_layer = nn.Conv2d(scaled(_DECODER_WIDTH), joints * self.output_size, 1)
        self._held = 0  # groups, and the stem
        self._front: tuple[HeldFront, ...] = ()  # not a part: its weights are theirs

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, joints * D, D, D], D = ``output_size``, depth in channels."""

    def _group(self, index: int, x: Tensor) -> Tensor:
        """One group's inverted residuals."""
        first = sum(group.blocks for group in _GROUPS[:index])
        for block in self.inv_residual[first : first + _GROUPS[index].blocks]:
            x = block(x)
        return x

    def freeze(self, blocks: int) -> None:
        """Hold the weights of the first blocks and, if there are any, the stem's.

        Their norms go on measuring, unless ``frozen_norms``; whole groups are quick then.
        """
        if not blocks:
            return
        for module in (self.first_conv, *self.inv_residual[:blocks]):
            module.requires_grad_(False)
        ends = np.cumsum([group.blocks for group in _GROUPS])
        self._held = min(int((ends <= blocks).sum()), self.front_groups)

    def end_of_front(self) -> range:
        """The blocks of the last group that :class:`HeldFront` stands for in training."""
        groups = self._held if self.frozen_norms else 0
        ends = [sum(group.blocks for group in _GROUPS[:k]) for k in range(groups + 1)]
        return range(*ends[-2:]) if groups else range(0)

    def _begun(self, image: Tensor) -> tuple[Tensor, int]:
        """What the stem and some of the groups, so many, make of crops."""
        if not (self.training and self.end_of_front()):
            return self.first_conv(image), 0
        if not self._front:
            blocks = self.inv_residual[: self.end_of_front().stop]
            self._front = (HeldFront.of(self.first_conv, blocks),)
        return self._front[0](image), self._held

    def held_parts(self) -> Iterable[nn.Module]:
        """The encoder: the decoder has no statistics to start with."""
        return (self.first_conv, self.inv_residual)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Of the stem and all blocks."""
        return [*self.first_conv.parameters(), *self.inv_residual.parameters()]

    def start_officially(self) -> None:
        """Convolutions from a normal distribution of 0.001, as the official training begins."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=_CONV_SPREAD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def _parts(self) -> tuple[list[_Part], list[_Part]]:
        """The groups and the decoder units, in order."""
        groups: list[_Part] = [partial(self._group, i) for i in range(len(_GROUPS))]
        decoder: list[_Part] = [self.get_submodule(f"{self.decoder_name}{i}") for i in range(3)]
        return groups, decoder


class Lpski(Backbone):
    """Skips from encoder to decoder; volumes of 32^3 cells."""

    stem_stride = 2
    strides = (2, 2, 2, 2, 2, 1, 1)
    group_inputs = (_STEM_WIDTH, 64, 48, 48, 64, 96, 160)
    last_inputs = 320
    decoder_inputs = (96 + _LAST_WIDTH, 64 + _DECODER_WIDTH, 48 + _DECODER_WIDTH)
    decoder_middles = (96, 64, 48)
    cell_size = 8
    front_groups = 3

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, 256, 256] -> [B, joints * 32, 32, 32], or of another size."""
        groups, decoder = self._parts
        x, begun = self._begun(image)
        encoded = [x] * begun  # the last of them is right, and no other is a skip
        for group in groups[begun:]:
            x = group(x)
            encoded.append(x)
        x = self.last_conv(x)
        for unit, skip in zip(decoder, (encoded[4], encoded[3], encoded[2]), strict=True):
            x = unit(torch.cat([skip, x], 1))
        volumes: Tensor = self.final_layer(x)
        return volumes


class Lpwo(Backbone):
    """A plain chain without concatenation; volumes of 64^3 cells."""

    stem_stride = 1
    strides = (1, 2, 2, 2, 2, 2, 1)
    group_inputs = (_STEM_WIDTH, 64, 48, 48, 64, 96, 160)
    last_inputs = 320
    decoder_inputs = (_LAST_WIDTH, _DECODER_WIDTH, _DECODER_WIDTH)
    decoder_middles = (160, 96, 64)
    cell_size = 4
    front_groups = 7

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, 256, 256] -> [B, joints * 64, 64, 64], or of another size."""
        groups, decoder = self._parts
        x, begun = self._begun(image)
        parts: list[_Part] = [*groups[begun:], self.last_conv, *decoder, self.final_layer]
        for part in parts:
            x = part(x)
        return x


class Lpres(Backbone):
    """Each part's input is the outputs of the two parts before it; volumes of 64^3 cells."""

    stem_stride = 1
    strides = (1, 2, 2, 2, 2, 2, 1)
    group_inputs = (_STEM_WIDTH, 48 + 64, 64 + 48, 48 + 48, 48 + 64, 64 + 96, 96 + 160)
    last_inputs = 160 + 320
    decoder_inputs = (320 + _LAST_WIDTH, _LAST_WIDTH + _DECODER_WIDTH, 2 * _DECODER_WIDTH)
    decoder_middles = (256, 256, 256)
    # As officially spelled, and so in the state-dict keys. (Officially it also keeps this
    # variant from training, as the initialiser looks for "deconv".)
    decoder_name = "deonv"
    cell_size = 4
    front_groups = 0

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, 256, 256] -> [B, joints * 64, 64, 64], or of another size."""
        groups, decoder = self._parts
        earlier = self.first_conv(image)
        x = groups[0](earlier)
        parts: list[_Part] = [*groups[1:], self.last_conv, *decoder]
        for part in parts:
            earlier, x = x, part(torch.cat([_fit(earlier, x), x], 1))
        volumes: Tensor = self.final_layer(x)
        return volumes


def _fit(earlier: Tensor, x: Tensor) -> Tensor:
    """Bring the earlier map to the size of the later one, where that was halved or doubled."""
    if earlier.shape[-1] > x.shape[-1]:
        return F.avg_pool2d(earlier, 3, 2, 1, count_include_pad=False)
    if earlier.shape[-1] < x.shape[-1]:
        return F.interpolate(earlier, scale_factor=2, mode="bilinear", align_corners=True)
    return earlier


BACKBONES: dict[str, type[Backbone]] = {"LPSKI": Lpski, "LPRES": Lpres, "LPWO": Lpwo}


class MobileHuman(nn.Module):
    """MobileHumanPose: joint positions in a cube around one person.

    Input: float32 [B, 3, 256, 256], RGB crop of a square box, (value - mean) / std with mean
    (0.485, 0.456, 0.406) and standard deviation (0.229, 0.224, 0.225). The official weights were
    trained on values of 0..255 normalised as if they were 0..1.

    Output, in both modes, with D = ``size`` cells a side (officially 32 for LPSKI, 64 for the
    others):

    - ``heatmap`` [B, joints * D, D, D]: logits, depth inside the channel axis;
    - ``coord`` [B, joints, 3]: x, y, z in 0-based cells. x and y span the box. Depth relative
      to the root in metres is ``(2 * z / D - 1) * DEPTH_HALF_RANGE_M``.

    The official configuration reads the 64^3 volumes as 32^3, which gives eight times as many
    wrong people; ``coord`` here always uses the network's own size.

    Args:
        backbone: ``"LPSKI"``, ``"LPRES"`` or ``"LPWO"``.
        joints: 18 (Human3.6M and thorax), 21 (MuCo) or 15 (this project's own).
        width: factor on the channels: 1 officially; 0.5, 0.25, ... for smaller networks.
        pixel_range: what the largest value of a pixel is, 255 officially; changes nothing here,
            and travels with the weights to whoever feeds the network.
        input_size: of the crops: 256 officially. Smaller ones have fewer cells of the same size.

    Raises:
        InputError: if there is no such backbone, joint set, width, range or size.
    """

    def __init__(
        self,
        backbone: str = "LPSKI",
        joints: int = 18,
        width: float = 1.0,
        pixel_range: int = 255,
        input_size: int = INPUT_SIZE,
    ) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise InputError(f"unknown backbone {backbone!r}; known: {', '.join(BACKBONES)}")
        if joints not in JOINT_SETS:
            known = ", ".join(map(str, JOINT_SETS))
            raise InputError(f"no set of {joints} joints; known sizes: {known}")
        if pixel_range not in (1, 255):
            raise InputError(f"pixel_range is {pixel_range}; expected 1 or 255")
        if input_size < SIZE_STEP or input_size % SIZE_STEP:
            raise InputError(f"input_size is {input_size}; expected a multiple of {SIZE_STEP}")
        self.backbone = BACKBONES[backbone](joints, float(width), input_size)
        self.pixel_range, self.input_size = pixel_range, input_size
        self.skeleton = JOINT_SETS[joints]
        self.size = self.backbone.output_size

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Predict volumes and coordinates; see the class."""
        heatmap = self.backbone(image)
        volumes = heatmap.view(-1, len(self.skeleton), self.size, self.size, self.size)
        return {"heatmap": heatmap, "coord": soft_argmax_3d(volumes)}


def coordinate_loss(coord: Tensor, target: Tensor, visible: Tensor, has_depth: Tensor) -> Tensor:
    """Training loss of each joint; its mean over people and joints is minimised.

    Args:
        coord: [B, J, 3] in cells.
        target: [B, J, 3] in cells.
        visible: [B, J, 1], 1 where a joint is labelled and inside the crop.
        has_depth: [B, 1] or [B, 1, 1], 1 where a person's depths are labelled.

    Returns:
        [B, J].
    """
    x, y, z = ((coord - target).abs() * visible).unbind(-1)
    return (x + y + z * has_depth.reshape(-1, 1)) / 3
