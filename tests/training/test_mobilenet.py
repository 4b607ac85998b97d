"""MobileNetV2's weights in MobileHumanPose's wider encoder, MoveNet's too; the quick PReLU."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_train.models.layers.prelu import PReLU
from smap_train.models.mobilehuman import Lpres, Lpski, Lpwo
from smap_train.models.mobilenet import (
    read_mobilenet,
    read_movenet_lightning,
    start_from_mobilenet,
)
from smap_train.targets.pixels import normalised

from .test_movenet import archive

# Expansion, channels and how many blocks, as the paper's table 2 has them.
TABLE = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
WIDTHS = [width for _, width, _ in TABLE]


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """Random weights under the published names."""
    torch.manual_seed(1)
    weights: dict[str, Tensor] = {}

    def put(conv: str, norm: str, *shape: int) -> None:
        fan = shape[1] * shape[2] * shape[3]
        weights[f"{conv}.weight"] = torch.randn(shape) / fan**0.5
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{norm}.{part}"] = torch.rand(shape[0]) + (0.5 if part[-1] in "tr" else -0.5)

    put("features.0.0", "features.0.1", 32, 3, 3, 3)
    inputs, number = 32, 1
    for expansion, width, count in TABLE:
        for _ in range(count):
            name, hidden, place = f"features.{number}.conv", inputs * expansion, 0
            if expansion > 1:
                put(f"{name}.0", f"{name}.1", hidden, inputs, 1, 1)
                place = 3
            put(f"{name}.{place}", f"{name}.{place + 1}", hidden, 1, 3, 3)
            put(f"{name}.{place + 3}", f"{name}.{place + 4}", width, hidden, 1, 1)
            inputs, number = width, number + 1
    return weights


def mobilenet(weights: dict[str, Tensor], image: Tensor, strides: list[int]) -> list[Tensor]:
    """The groups' outputs of MobileNetV2 with other strides and ReLU; written out on its own."""

    def normed(x: Tensor, name: str) -> Tensor:
        mean, variance, scale, bias = (
            weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, bias, eps=1e-5)

    first, *others = strides
    x = F.conv2d(image, weights["features.0.0.weight"], stride=first, padding=1)
    x = F.relu(normed(x, "features.0.1"))
    outputs, number = [], 1
    for (expansion, _, count), stride in zip(TABLE, others, strict=True):
        for k in range(count):
            name, y, place = f"features.{number}.conv", x, 0
            if expansion > 1:
                y = F.relu(normed(F.conv2d(y, weights[f"{name}.0.weight"]), f"{name}.1"))
                place = 3
            kernel = weights[f"{name}.{place}.weight"]
            y = F.conv2d(y, kernel, stride=1 if k else stride, padding=1, groups=len(kernel))
            y = F.relu(normed(y, f"{name}.{place + 1}"))
            y = F.conv2d(y, weights[f"{name}.{place + 3}.weight"])
            y = normed(y, f"{name}.{place + 4}")
            x = x + y if k else y
            number += 1
        outputs.append(x)
    return outputs


@pytest.mark.parametrize("variant", [Lpski, Lpwo])
def test_the_encoder_starts_as_mobilenet(published, variant):
    torch.manual_seed(0)
    backbone = variant(15).eval()
    start_from_mobilenet(backbone, published)
    image = torch.randn(1, 3, 64, 64)
    strides = [variant.stem_stride, *variant.strides]
    expected = mobilenet(published, image, strides)
    groups, _ = backbone._parts
    with torch.no_grad():
        x = backbone.first_conv(image)
        for group, width, own in zip(groups, WIDTHS, expected, strict=True):
            x = group(x)
            torch.testing.assert_close(x[:, :width], own, rtol=1e-3, atol=1e-3)
            if x.shape[1] > width:
                assert x[:, width:].abs().max() > 0  # there is room to learn
    assert all(a < b for a, b in pairwise([0, *WIDTHS]))


def test_what_does_not_fit_is_refused(published, tmp_path):
    with pytest.raises(InputError, match=r"LPSKI or LPWO with channels: 1"):
        start_from_mobilenet(Lpski(15, 0.5), published)
    with pytest.raises(InputError, match=r"LPSKI or LPWO with channels: 1"):
        start_from_mobilenet(Lpres(15), published)
    torch.save({"some.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"other.pt holds something else; expected MobileNetV2"):
        read_mobilenet(tmp_path / "other.pt")
    torch.save(published, tmp_path / "weights.pt")
    assert read_mobilenet(tmp_path / "weights.pt").keys() == published.keys()


BACKBONE = "center_net_mobile_net_v2fpn_feature_extractor/model_1/model/"


@pytest.fixture
def lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, Tensor]]:
    """An archive of random weights as MoveNet Lightning's are published, and these."""
    generator = torch.Generator().manual_seed(2)
    weights: dict[str, Tensor] = {}

    def put(name: str, *shape: int) -> None:
        spread = (shape[0] * shape[1] * (1 if name.endswith("depthwise") else shape[2])) ** -0.5
        weights[f"{BACKBONE}{name}_weights"] = torch.randn(shape, generator=generator) * spread
        outputs = shape[2] if name.endswith("depthwise") else shape[3]
        weights[f"{BACKBONE}{name}_bn_offset"] = torch.randn(outputs, generator=generator) * 0.1

    put("Conv1/Conv2D", 3, 3, 3, 32)
    inputs, number = 32, 0
    for expansion, width, count in TABLE:
        for _ in range(count):
            name, hidden = f"block_{number}" if number else "expanded_conv", inputs * expansion
            if number:
                put(f"{name}_expand/Conv2D", 1, 1, inputs, hidden)
            put(f"{name}_depthwise/depthwise", 3, 3, hidden, 1)
            put(f"{name}_project/Conv2D", 1, 1, hidden, width)
            inputs, number = width, number + 1
    path = archive(tmp_path / "models.tgz", weights, "movenet-lightning", monkeypatch)
    return path, {name: value.half().float() for name, value in weights.items()}


@pytest.mark.parametrize("pixel_range", [1, 255])
def test_the_encoder_starts_as_movenet_on_the_same_picture(lightning, pixel_range):
    """MoveNet takes RGB in [-1, 1], MobileHumanPose what ImageNet's normalisation gives."""
    path, weights = lightning
    torch.manual_seed(0)
    backbone = Lpski(15).eval()
    start_from_mobilenet(backbone, read_movenet_lightning(path, pixel_range))
    picture = np.random.default_rng(3).integers(0, 256, (64, 64, 3), np.uint8)
    x = torch.from_numpy(picture.transpose(2, 0, 1) / np.float32(127.5) - 1)[None]
    kernel = weights[f"{BACKBONE}Conv1/Conv2D_weights"].permute(3, 2, 0, 1)
    x = F.relu(F.conv2d(x, kernel, weights[f"{BACKBONE}Conv1/Conv2D_bn_offset"], 2, 1))
    with torch.no_grad():
        y = backbone.first_conv(normalised(picture, pixel_range)[None])
        # At the border the one pads with grey, the other with the mean colour.
        inner = np.s_[:, :32, 1:-1, 1:-1]
        torch.testing.assert_close(y[inner], x[..., 1:-1, 1:-1], rtol=1e-3, atol=1e-3)
        block = backbone.inv_residual[1](backbone.inv_residual[0](y))
        x = y[:, :32]
        for name, stride in (("expanded_conv", 2), ("block_1", 2)):
            x = inverted_residual(weights, name, x, stride)
    torch.testing.assert_close(block[:, :24], x, rtol=1e-3, atol=1e-3)


def inverted_residual(weights: dict[str, Tensor], name: str, x: Tensor, stride: int) -> Tensor:
    """A block with its batch norms folded, with ReLU; written out on its own."""
    parts = [("depthwise/depthwise", stride), ("project/Conv2D", 1)]
    for part, step in parts if name == "expanded_conv" else [("expand/Conv2D", 1), *parts]:
        kernel = weights[f"{BACKBONE}{name}_{part}_weights"]
        bias = weights[f"{BACKBONE}{name}_{part}_bn_offset"]
        deep = part.startswith("depthwise")
        kernel = kernel.permute(2, 3, 0, 1) if deep else kernel.permute(3, 2, 0, 1)
        x = F.conv2d(x, kernel, bias, step, int(deep), groups=len(kernel) if deep else 1)
        x = x if part.startswith("project") else F.relu(x)
    return x


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_quick_gradients_are_torchs(layout):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64).contiguous(memory_format=layout)
    x[0, 0, 0, 0] = 0.0
    results = []
    for kind in (nn.PReLU, PReLU):
        module = kind(4).double()
        with torch.no_grad():
            module.weight.copy_(torch.tensor([0.25, 0.0, -0.5, 2.0]))
        inputs = x.clone().requires_grad_()
        output = module(inputs)
        (output * torch.arange(240.0).reshape(2, 4, 5, 6)).sum().backward()
        results.append((output.detach(), inputs.grad, module.weight.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
