"""Plain residual networks, ResNet-18 to -152.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, in the "v1.5" form of
torchvision and of the official pose networks: a bottleneck strides on its 3x3 convolution,
convolutions have no bias. Module names give torchvision's state-dict keys (``conv1``, ``bn1``,
``layer1.0.conv1``, ``layer1.0.downsample.0``, ...) without the classifier.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from smap_ros.errors import InputError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: ResNet-18 and -34.

    Args:
        inputs: channels that come in.
        width: channels of the convolutions and of the output.
        stride: of the first convolution.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, width, H/stride, W/stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.relu(self.bn2(self.conv2(y)) + _shortcut(self.downsample, x))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut: ResNet-50, -101 and -152.

    Args:
        inputs: channels that come in.
        width: channels of the inner convolutions; the output has four times as many.
        stride: of the 3x3 convolution.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 4 * width, H/stride, W/stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        out: Tensor = self.relu(self.bn3(self.conv3(y)) + _shortcut(self.downsample, x))
        return out


class _Shape(NamedTuple):
    """Kind of block and number of blocks in each of the four stages."""

    block: type[BasicBlock] | type[Bottleneck]
    counts: tuple[int, int, int, int]


DEPTHS: dict[int, _Shape] = {
    18: _Shape(BasicBlock, (2, 2, 2, 2)),
    34: _Shape(BasicBlock, (3, 4, 6, 3)),
    50: _Shape(Bottleneck, (3, 4, 6, 3)),
    101: _Shape(Bottleneck, (3, 4, 23, 3)),
    152: _Shape(Bottleneck, (3, 8, 36, 3)),
}


class ResNet(nn.Module):
    """Stem and four stages, without pooling and classifier.

    Args:
        depth: 18, 34, 50, 101 or 152.
        inputs: channels of the image.
        stem_stride: of the 7x7 convolution.
        max_pool: halve the stem's output by 3x3 max pooling.
        stem_width: channels of the stem; the stages have 1, 2, 4 and 8 times as many, and four
            times that in bottlenecks. 64 in every official network.

    With the usual stem, the stages have strides 4, 8, 16 and 32; ``width`` is the number of
    channels of the last one (512 or 2048).

    Raises:
        InputError: if there is no ResNet of that depth.
    """

    def __init__(
        self,
        depth: int,
        *,
        inputs: int = 3,
        stem_stride: int = 2,
        max_pool: bool = True,
        stem_width: int = 64,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise InputError(f"no ResNet-{depth}; known depths: {', '.join(map(str, DEPTHS))}")
        block, counts = DEPTHS[depth]
        self.conv1 = nn.Conv2d(inputs, stem_width, 7, stem_stride, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem_width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if max_pool else nn.Identity()
        self.width = stem_width
        for i, count in enumerate(counts, start=1):
            width = stem_width * 2 ** (i - 1)
            blocks = [block(self.width, width, 1 if i == 1 else 2)]
            self.width = width * block.expansion
            blocks += [block(self.width, width) for _ in range(count - 1)]
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, image: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 64, h, w], where networks add guidance to early features."""
        early: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        return early

    def stages(self, early: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output of the stem -> the four stages' maps, fine to coarse."""
        c2: Tensor = self.get_submodule("layer1")(early)
        c3: Tensor = self.get_submodule("layer2")(c2)
        c4: Tensor = self.get_submodule("layer3")(c3)
        c5: Tensor = self.get_submodule("layer4")(c4)
        return c2, c3, c4, c5

    def forward(self, image: Tensor) -> Tensor:
        """[B, inputs, H, W] -> the last stage's map, [B, width, H/32, W/32] with the usual stem."""
        return self.stages(self.stem(image))[-1]


def _projection(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What makes the shortcut fit, where the shape changes."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def _shortcut(projection: nn.Sequential | None, x: Tensor) -> Tensor:
    return x if projection is None else projection(x)
