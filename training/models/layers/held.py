"""What held inverted residuals compute, without what doesn't reach their output.

Held blocks with held norms are a fixed function. Norms fold into the convolutions before them, and
channels whose way to the output goes through zeros alone needn't be computed: a narrow published
network inside of a wider one is as quick as it was before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Layer:
    """A convolution with its norm folded in, and the slope behind it if there is an activation."""

    def __init__(self, conv: nn.Conv2d, norm: nn.BatchNorm2d, activation: nn.PReLU | None) -> None:
        folded = fuse_conv_bn_eval(deepcopy(conv).eval(), deepcopy(norm).eval())
        assert folded.bias is not None
        self.weight, self.bias = folded.weight.detach(), folded.bias.detach()
        self.slope = None if activation is None else activation.weight.detach().clone()
        self.stride, self.padding = conv.stride, conv.padding
        self.deep = conv.groups > 1

    def narrow(self, wanted: Tensor) -> Tensor:
        """Keep these outputs, bool [outputs]; returns which inputs they need, bool [inputs]."""
        self.weight, self.bias = self.weight[wanted], self.bias[wanted]
        self.slope = None if self.slope is None else self.slope[wanted]
        return wanted if self.deep else self.weight.abs().amax((0, 2, 3)) > 0

    def take(self, given: Tensor) -> None:
        """Do without the inputs that aren't given, bool [inputs]."""
        if not self.deep:
            self.weight = self.weight[:, given].contiguous(memory_format=torch.channels_last)

    def __call__(self, x: Tensor) -> Tensor:
        groups = len(self.weight) if self.deep else 1
        x = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=groups)
        if self.slope is None:
            return x
        return F.relu_(x) if not self.slope.any() else F.prelu(x, self.slope)


class HeldFront:
    """A stem and inverted residuals that don't learn: crops to their output, without gradients.

    Args:
        units: of each block its layers, the stem the first, and whether it adds its input.
    """

    def __init__(self, units: Sequence[tuple[list[_Layer], bool]]) -> None:
        last = units[-1][0][-1]
        # An output is wanted if anything but a zero can come out of it.
        wanted = torch.zeros_like(last.bias, dtype=torch.bool)
        for layers, identity in reversed(units):
            project = layers[-1]
            wanted |= (project.weight.abs().amax((1, 2, 3)) > 0) | (project.bias != 0)
            if not identity:
                break
        self._outputs = wanted
        self._units: list[tuple[list[_Layer], Tensor | None]] = []
        for k, (layers, identity) in reversed(list(enumerate(units))):
            needed = [wanted]  # of the last layer's outputs, and of each layer's inputs
            for layer in reversed(layers):
                needed.append(layer.narrow(needed[-1]))
            before = needed[-1] | wanted if identity else needed[-1]
            before = before if k else torch.ones_like(before)  # an image has all its colours
            for layer, given in zip(layers, [before, *needed[-2:0:-1]], strict=True):
                layer.take(given)
            self._units.append((layers, wanted[before] if identity else None))
            wanted = before
        self._units.reverse()

    @classmethod
    def of(cls, stem: nn.Sequential, blocks: Iterable[nn.Module]) -> Self:
        """Of MobileHumanPose's first parts, as they are now.

        Args:
            stem: convolution, norm, PReLU.
            blocks: each with ``conv``, units like the stem and then a convolution and a norm, and
                ``identity``.
        """
        units = [([_unit(stem)], False)]
        for block in blocks:
            parts = list(block.conv)
            *inner, project, norm = parts
            layers = [*map(_unit, inner), _Layer(project, norm, None)]
            units.append((layers, bool(block.identity)))
        return cls(units)

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, C, ...], all channels of the last block."""
        x = image
        for layers, added in self._units:
            y = x
            for layer in layers:
                y = layer(y)
            x = y if added is None else y + x[:, added]
        full = x.new_zeros(len(x), len(self._outputs), *x.shape[2:])
        full = full.contiguous(memory_format=torch.channels_last)
        full[:, self._outputs] = x
        return full


def _unit(unit: nn.Module) -> _Layer:
    """A convolution, its norm and its PReLU."""
    assert isinstance(unit, nn.Sequential)
    conv, norm, activation = unit
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert isinstance(activation, nn.PReLU)
    return _Layer(conv, norm, activation)
