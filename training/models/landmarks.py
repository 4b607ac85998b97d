"""The second look at a person: BlazePose's landmark network (Bazarevsky et al. 2020), full size.

Its layers are those of ``pose_landmark_full.tflite`` as MediaPipe publishes it, batch norms folded
away, without the mask that it was trained with beside. The published weights are the start of
training. It tells where each of 33 landmarks is and draws a heatmap of it; a landmark goes from
where it is told to where the heatmap near there has it (MediaPipe's own pipeline does so, too,
within seven cells), and the landmarks are brought to mpi15 by a fixed map.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from smap_ros.errors import InputError
from smap_ros.evaluation.views.truth import from_blaze

SIZE = 256  # of the crops, pixels
LANDMARKS = 33
POINTS = 39  # the network's last six say where to cut the next crop
MARGIN = 1.25  # half side of a crop over the distance from the pelvis to the farthest joint
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}  # OpenVINO, as the file is
# What the file calls: landmarks [39, 5] as x, y, z, logits of visible and present; that somebody
# is there; landmarks in metres [39, 3]; logits of heatmaps [64, 64, 39].
OUTPUTS = {
    "landmarks": "Identity", "presence": "Identity_1", "world": "Identity_4",
    "heatmaps": "Identity_3",
}  # fmt: skip
CELLS = 64  # of the heatmaps' side
_LAST = 2  # cells of a side, in the end


class _Block(NamedTuple):
    """An inverted residual of the trunk."""

    hidden: int
    width: int
    kernel: int
    stride: int = 1


_STEM, _FIRST = 24, 16
_TRUNK = (
    _Block(64, 24, 3, 2), _Block(144, 24, 3),
    _Block(144, 32, 5, 2), _Block(192, 32, 5),
    _Block(192, 64, 3, 2), _Block(384, 64, 3), _Block(384, 64, 3),
    _Block(384, 88, 5), _Block(528, 88, 5), _Block(528, 88, 5),
    _Block(528, 144, 5, 2), _Block(864, 144, 5), _Block(864, 144, 5), _Block(864, 144, 5),
)  # fmt: skip
_NECK_HIDDEN, _NECK = 864, 288
_NECK_SHARED = 4  # of its layers; the heatmaps see what these make
_UNITS = (2, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1)  # strides
_DRAWN_FROM, _DRAWN = (1, 3, 9), 48  # blocks of the trunk behind the heatmaps, and their width
# Chosen on sports photos and virtual people in jittered crops (training/NOTES.md).
_NEAR_PX = 16.0  # deviation of heatmaps from what is told
_SHARP = 4.0  # factor on logits, of which the softmax is where a landmark is
_CLEAR = 2.0  # added to the highest logit: its logistic function is how far a landmark goes


class _Conv(nn.Conv2d):
    """A convolution padded as the published graph's are."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, *,
        deep: bool = False, early: bool = True,
    ) -> None:  # fmt: skip
        """``early``: of stride 2, pad before as much as behind; else one pixel, and behind only."""
        groups = inputs if deep else 1
        self.behind = stride == 2 and not early
        padding = 0 if self.behind else kernel // 2
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, outputs, H/stride, W/stride]."""
        return super().forward(F.pad(x, (0, 1, 0, 1)) if self.behind else x)


class _Inverted(nn.Module):
    """Expand, filter each channel, project without activation."""

    def __init__(self, inputs: int, block: _Block) -> None:
        super().__init__()
        self.expand = _Conv(inputs, block.hidden)
        self.filter = _Conv(block.hidden, block.hidden, block.kernel, block.stride, deep=True)
        self.project = _Conv(block.hidden, block.width)
        self.adds = block.stride == 1 and inputs == block.width

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, width, H/stride, W/stride]."""
        y = F.relu6(self.expand(x), inplace=True)
        y = self.project(F.relu6(self.filter(y), inplace=True))
        return x + y if self.adds else y


class _Unit(nn.Module):
    """BlazeBlock: filter each channel, mix, add the input (its maxima, where it gets smaller)."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.filter = _Conv(_NECK, _NECK, 3, stride, deep=True, early=False)
        self.mix = _Conv(_NECK, _NECK)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, 288, H, W] -> [B, 288, H/stride, W/stride]."""
        y = self.mix(F.relu6(self.filter(x), inplace=True))
        return F.relu6(y + (x if self.stride == 1 else F.max_pool2d(x, 2)), inplace=True)


class _Lateral(nn.Module):
    """What a layer of some stride gives to the heatmaps."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.filter = _Conv(inputs, inputs, 3, deep=True)
        self.mix = _Conv(inputs, _DRAWN)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 48, H, W]."""
        return F.relu6(self.mix(F.relu6(self.filter(x), inplace=True)), inplace=True)


class Landmarks(nn.Module):
    """Crops of a person to joints in pixels, poses in metres and presence.

    Its first weights are torch's; give it published ones with :func:`load_graph`.
    """

    to_joints: Tensor
    to_scores: Tensor
    used: Tensor
    cells: Tensor

    def __init__(self) -> None:
        super().__init__()
        relu = partial(nn.ReLU6, inplace=True)
        self.stem = nn.Sequential(
            _Conv(3, _STEM, 3, 2), relu(), _Conv(_STEM, _STEM, 3, deep=True), relu(),
            _Conv(_STEM, _FIRST),
        )  # fmt: skip
        widths = [_FIRST, *(block.width for block in _TRUNK)]
        self.trunk = nn.ModuleList(
            _Inverted(inputs, block) for inputs, block in zip(widths, _TRUNK, strict=False)
        )
        hidden = _NECK_HIDDEN
        self.neck = nn.Sequential(
            _Conv(widths[-1], hidden), relu(), _Conv(hidden, hidden, 3, deep=True), relu(),
            _Conv(hidden, hidden, 3, deep=True), relu(), _Conv(hidden, _NECK), relu(),
        )  # fmt: skip
        self.units = nn.Sequential(*(_Unit(stride) for stride in _UNITS))
        self.landmarks = nn.Conv2d(_NECK, 5 * POINTS, _LAST)
        self.presence = nn.Conv2d(_NECK, 1, _LAST)
        self.world = nn.Conv2d(_NECK, 3 * POINTS, _LAST)
        drawn_from = (*(_TRUNK[block].width for block in _DRAWN_FROM), _NECK_HIDDEN)
        self.laterals = nn.ModuleList(_Lateral(width) for width in drawn_from)
        self.heatmaps = nn.Conv2d(_DRAWN, POINTS, 1)
        points, scores = mapping()
        used = np.flatnonzero(points.any(axis=0))
        for name, values in (
            ("to_joints", points[:, used]), ("to_scores", scores[:, used]), ("used", used),
            ("cells", cell_middles()),
        ):  # fmt: skip
            self.register_buffer(name, torch.from_numpy(values), persistent=False)
        self._held = 0

    def freeze(self, blocks: int) -> None:
        """Hold the stem and the first blocks of the trunk; 0 holds nothing."""
        self._held = blocks
        for part in [self.stem, *self.trunk[:blocks]] if blocks else []:
            part.requires_grad_(False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """See :meth:`answer`, with presence and the joints' scores as probabilities.

        Args:
            image: float32 [B, 3, 256, 256], rgb, 0 to 1.

        Returns:
            ``joints`` [B, 15, 3], x and y in crop pixels from the corner of the crop, score;
            ``pose`` [B, 15, 3], metres, x right, y down, z away in the crop, about the middle of
            the hips; ``presence`` [B, 1].
        """
        pixels, scores, pose, presence = self.answer(image)
        joints = torch.cat([pixels, scores], dim=2)
        return {"joints": joints, "pose": pose, "presence": presence.sigmoid()}

    def answer(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pixels [B, 15, 2], scores [B, 15, 1], pose [B, 15, 3], logit of presence [B, 1]."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._held):
            x = self.stem(image)
        layers = []
        for k, block in enumerate(self.trunk):
            with torch.set_grad_enabled(torch.is_grad_enabled() and k >= self._held):
                x = block(x)
            if k in _DRAWN_FROM:
                layers.append(x)
        layers.append(self.neck[:_NECK_SHARED](x))
        x = self.units(self.neck[_NECK_SHARED:](layers[-1]))
        # In the order of `layers`, which files have.
        told = self.landmarks(x).reshape(-1, POINTS, 5)[:, self.used]
        presence = self.presence(x).flatten(1)
        world = self.world(x).reshape(-1, POINTS, 3)[:, self.used]
        pixels = self._shown(told[..., :2], self._drawn(layers)[:, self.used])
        scores = self.to_scores @ told[..., 3:4].sigmoid()
        return self.to_joints @ pixels, scores, self.to_joints @ world, presence

    def _drawn(self, layers: list[Tensor]) -> Tensor:
        """Logits of the heatmaps, [B, 39, 64, 64], from layers of stride 4, 8, 16 and 32."""
        *finer, drawn = [lateral(x) for lateral, x in zip(self.laterals, layers, strict=True)]
        for part in reversed(finer):
            drawn = part + F.interpolate(drawn, scale_factor=2.0, mode="bilinear")
        return self.heatmaps(drawn)

    def _shown(self, told: Tensor, drawn: Tensor) -> Tensor:
        """Landmarks where heatmaps near them have them, [B, K, 2]; see :func:`shown`."""
        # Divided first: squares of pixels are beyond what half precision holds.
        away = ((self.cells - told[..., None]) / (math.sqrt(2) * _NEAR_PX)) ** 2  # [B, K, 2, 64]
        likely = drawn - away[:, :, 1, :, None] - away[:, :, 0, None, :]
        flat = likely.flatten(2)
        shares = (_SHARP * flat).softmax(dim=2).unflatten(2, (CELLS, CELLS))
        sides = torch.stack([shares.sum(dim=2), shares.sum(dim=3)], dim=2)
        clear = (flat.amax(dim=2, keepdim=True) + _CLEAR).sigmoid()
        return told + clear * ((sides * self.cells).sum(dim=3) - told)


def cell_middles() -> NDArray[np.float32]:
    """Middles of the heatmaps' columns, or rows, in crop pixels from the corner; float32 [64]."""
    return ((np.arange(CELLS) + 0.5) * (SIZE / CELLS)).astype(np.float32)


def shown(told: NDArray[np.floating], drawn: NDArray[np.floating]) -> NDArray[np.float64]:
    """Landmarks where heatmaps near them have them.

    The softmax of logits, less what is far from where a landmark is told, is where it may be; as
    far as the highest of these is clear, the landmark goes to the mean.

    Args:
        told: float [K, 2], crop pixels.
        drawn: float [K, 64, 64], logits.

    Returns:
        float64 [K, 2], crop pixels.
    """
    told, cells = np.asarray(told, np.float64), cell_middles().astype(np.float64)
    away = (cells - told[..., None]) ** 2 / (2 * _NEAR_PX**2)  # [K, 2, 64]
    likely = drawn - away[:, 1, :, None] - away[:, 0, None, :]
    highest = likely.max(axis=(1, 2))
    shares = np.exp(_SHARP * (likely - highest[:, None, None]))
    shares /= shares.sum(axis=(1, 2), keepdims=True)
    mean = np.stack([shares.sum(axis=1) @ cells, shares.sum(axis=2) @ cells], axis=1)
    clear = 1 / (1 + np.exp(-(highest + _CLEAR)))[:, None]
    return np.asarray(told + clear * (mean - told), np.float64)


def mapping() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights of the landmarks in each joint and in its score, float32 [15, 33] each.

    A joint is what :func:`from_blaze` makes of the landmarks, which is linear in them; its score is
    the mean of theirs, as they count in it.
    """
    points = from_blaze(np.eye(LANDMARKS, dtype=np.float32), np.ones(LANDMARKS, np.float32))
    weights = np.abs(points)
    return points, weights / weights.sum(axis=1, keepdims=True)


def layers(network: Landmarks) -> Iterator[nn.Conv2d]:
    """Its convolutions in the order in which the graphs in files have them."""
    heads = (network.landmarks, network.presence, network.world)
    drawing = (network.laterals, network.heatmaps)
    for part in (network.stem, network.trunk, network.neck, network.units, *heads, *drawing):
        yield from (module for module in part.modules() if isinstance(module, nn.Conv2d))


@torch.no_grad()
def load_graph(network: Landmarks, graph: onnx.GraphProto) -> None:
    """Give a network the weights of its graph: the published one, or one that was exported.

    Args:
        network: any.
        graph: weights may be fp16 behind a Cast.

    Raises:
        InputError: if it is another network's.
    """
    own, given = list(layers(network)), list(_convolutions(graph))
    if len(own) != len(given):
        raise InputError(f"the network has {len(given)} convolutions; expected {len(own)}")
    for number, (layer, (kernel, bias)) in enumerate(zip(own, given, strict=True)):
        assert layer.bias is not None
        if kernel.shape != layer.weight.shape or bias.shape != layer.bias.shape:
            raise InputError(
                f"convolution {number} has a kernel of {list(kernel.shape)}; expected "
                f"{list(layer.weight.shape)}"
            )
        layer.weight.copy_(kernel)
        layer.bias.copy_(bias)


def _convolutions(graph: onnx.GraphProto) -> Iterator[tuple[Tensor, Tensor]]:
    """Kernel and bias of each, float32, in the order of the graph."""
    values = {tensor.name: tensor for tensor in graph.initializer}
    cast = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        stored = [values.get(cast.get(name, name)) for name in node.input[1:3]]
        if len(stored) < 2 or None in stored:
            raise InputError(
                f"convolution {node.name or node.output[0]!r} has no stored kernel and bias; "
                "expected MediaPipe's landmark network, or one that was taught on from it"
            )
        kernel, bias = (numpy_helper.to_array(tensor).astype(np.float32) for tensor in stored)
        yield torch.from_numpy(kernel), torch.from_numpy(bias)
