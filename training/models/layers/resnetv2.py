"""ResNet with weight-standardised convolutions and group norm, without pre-activation.

The "ResNet-v2" of Big Transfer (Kolesnikov et al., ECCV 2020) as the hybrid vision transformers
use it: three stages, stride 16. Weights come from TensorFlow, hence its SAME padding: what is
uneven goes to the bottom and the right. Module names give timm's state-dict keys.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGE_WIDTHS = (256, 512, 1024)
STRIDE = 16  # image pixels per cell of the last map
_STEM_WIDTH = 64
_BOTTLENECK = 4  # outputs of a block over its inner width
_GROUPS = 32
_STANDARD_EPS = 1e-5


class StdConv2d(nn.Conv2d):
    """Convolution without bias, its filters standardised, its padding SAME."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def standardised(self) -> Tensor:
        """The weights in use: mean 0 and (about) standard deviation 1 in each output filter."""
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        deviation = self.weight.std(dim=(1, 2, 3), keepdim=True, unbiased=False)
        return (self.weight - mean) / (deviation + _STANDARD_EPS)  # outside the root

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)]."""
        return F.conv2d(same_pad(x, self.kernel_size[0], self.stride[0]), self._filters(), None,
                        self.stride)  # fmt: skip

    def _filters(self) -> Tensor:
        return self.standardised()


class BakedConv2d(StdConv2d):
    """The same layer with the standardised weights stored: for export, not for training."""

    def __init__(self, source: StdConv2d) -> None:
        super().__init__(
            source.in_channels, source.out_channels, source.kernel_size[0], source.stride[0]
        )
        self.weight = nn.Parameter(source.standardised().detach(), requires_grad=False)

    def _filters(self) -> Tensor:
        return self.weight


def bake_convolutions(network: nn.Module) -> None:
    """Replace every ``StdConv2d`` by one that stores what it computes, in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is StdConv2d:
                setattr(parent, name, BakedConv2d(child))


def same_pad(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """TensorFlow's SAME padding: the outputs are ceil(size / stride), the odd pixel at the end."""
    pads: list[int] = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value) if any(pads) else x


class NormAct(nn.GroupNorm):
    """Group norm in 32 groups and, optionally, ReLU."""

    def __init__(self, channels: int, *, relu: bool = True) -> None:
        super().__init__(_GROUPS, channels)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        y = super().forward(x)
        return F.relu(y, inplace=True) if self.relu else y


class Shortcut(nn.Module):
    """1x1 convolution and norm where a block changes width or stride."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = StdConv2d(inputs, outputs, 1, stride)
        self.norm = NormAct(outputs, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        y: Tensor = self.norm(self.conv(x))
        return y


class Bottleneck(nn.Module):
    """Residual block with the stride on its 3x3 convolution and the last ReLU after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, project: bool) -> None:
        super().__init__()
        width = outputs // _BOTTLENECK
        self.downsample = Shortcut(inputs, outputs, stride) if project else None
        self.conv1 = StdConv2d(inputs, width, 1)
        self.norm1 = NormAct(width)
        self.conv2 = StdConv2d(width, width, 3, stride)
        self.norm2 = NormAct(width)
        self.conv3 = StdConv2d(width, outputs, 1)
        self.norm3 = NormAct(outputs, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return F.relu(self.norm3(self.conv3(y)) + shortcut)


class Stem(nn.Module):
    """Image to quarter resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = StdConv2d(3, _STEM_WIDTH, 7, 2)
        self.norm = NormAct(_STEM_WIDTH)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 64, H/4, W/4]."""
        y = same_pad(self.norm(self.conv(image)), 3, 2, value=-torch.inf)
        return F.max_pool2d(y, 3, 2)


class Stage(nn.Module):
    """Blocks of one width; the first one changes width and stride."""

    def __init__(self, inputs: int, outputs: int, stride: int, blocks: int) -> None:
        super().__init__()
        first = Bottleneck(inputs, outputs, stride, project=True)
        rest = (Bottleneck(outputs, outputs, 1, project=False) for _ in range(1, blocks))
        self.blocks = nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        y: Tensor = self.blocks(x)
        return y


class ResNetV2(nn.Module):
    """Three stages at strides 4, 8 and 16.

    Args:
        blocks: number of blocks in each stage; (3, 4, 9) in MAED's checkpoints.
    """

    def __init__(self, blocks: tuple[int, int, int] = (3, 4, 9)) -> None:
        super().__init__()
        self.stem = Stem()
        stages, inputs = [], _STEM_WIDTH
        for k, (count, outputs) in enumerate(zip(blocks, STAGE_WIDTHS, strict=True)):
            stages.append(Stage(inputs, outputs, 1 if k == 0 else 2, count))
            inputs = outputs
        self.stages = nn.Sequential(*stages)

    def forward(self, image: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, 1024, H/16, W/16]."""
        y: Tensor = self.stages(self.stem(image))
        return y
