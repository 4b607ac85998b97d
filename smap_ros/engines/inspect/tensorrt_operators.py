"""Which ONNX operators TensorRT 10 and 11 take, as far as their documents tell.

Sources: the operator matrix of onnx-tensorrt 10.15 (``docs/operators.md``) and its change log for
what 10.0 lacked; for 11, the ONNX opset guide and the release notes of 11.0 and 11.2, which add
operators and take none away. What is checked is the operators and the limits in ``_LIMITS``;
types of elements, and values known only when the network runs, are not. TensorRT has the last
word: ``smap-ros engine build BUNDLE --engine tensorrt``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from smap_ros.engines.inspect.onnx_graph import Node, OnnxGraph

VERSIONS = ("10", "11")
YES = "yes"
# Opsets, ends included: the least for all, the greatest for 10.0 and for 11.
MIN_OPSET = 9
MAX_OPSET = {"10": 20, "11": 25}

_SUPPORTED = frozenset(
    """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool
    BatchNormalization BlackmanWindow Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape
    Conv ConvTranspose Cos Cosh CumSum DFT DeformConv DepthToSpace DequantizeLinear Div Dropout
    Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor GRU Gather GatherElements GatherND Gelu
    Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If
    InstanceNormalization IsInf IsNaN LRN LSTM LayerNormalization LeakyRelu Less LessOrEqual Log
    LogSoftmax Loop LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min
    Mish Mod Mul Neg NonMaxSuppression NonZero Not OneHot Or PRelu Pad Pow QuantizeLinear RNN
    RMSNormalization RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd
    ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round
    STFT Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh Size Slice
    Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Swish Tan Tanh TensorScatter
    ThresholdedRelu Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """.split()  # noqa: SIM905 - so many names are easier to read this way
)

# Those that came after 10.0: the release, as (major, minor).
_SINCE = {
    "DeformConv": (10, 1),
    **dict.fromkeys(("BlackmanWindow", "HammingWindow", "HannWindow"), (10, 4)),
    "STFT": (10, 5),
    "Attention": (10, 14),
    **dict.fromkeys(("RMSNormalization", "RotaryEmbedding", "TensorScatter"), (10, 15)),
    "Swish": (11, 0),
    "DFT": (11, 2),
}
_SPATIAL_GRID_SINCE = (11, 2)
_RESIZE_MODES = ("nearest", "linear")
_RESIZE_COORDINATES = (
    "half_pixel",
    "pytorch_half_pixel",
    "tf_half_pixel_for_nn",
    "asymmetric",
    "align_corners",
)


@dataclass(frozen=True)
class Support:
    """What TensorRT makes of an operator in a network.

    Attributes:
        operator: its name.
        count: how often it occurs.
        verdicts: version of TensorRT (``VERSIONS``) -> ``YES``, or why not, or since when.
    """

    operator: str
    count: int
    verdicts: dict[str, str]


def check_operators(graph: OnnxGraph) -> tuple[Support, ...]:
    """Each operator of a network with TensorRT's answer, the commonest first."""
    return tuple(
        Support(name, count, {version: _verdict(name, graph, version) for version in VERSIONS})
        for name, count in graph.operators.items()
    )


def check_opset(graph: OnnxGraph) -> dict[str, str]:
    """Version of TensorRT -> ``YES``, or which opsets it reads."""
    return {
        version: YES
        if MIN_OPSET <= graph.opset <= greatest
        else f"reads opset {MIN_OPSET} to {greatest}"
        for version, greatest in MAX_OPSET.items()
    }


def _verdict(name: str, graph: OnnxGraph, version: str) -> str:
    """For all nodes with that operator: the first that is refused decides."""
    if ":" in name:
        return "no: needs a plugin"
    if name not in _SUPPORTED:
        return "no"
    since = _SINCE.get(name, (10, 0))
    if since[0] > int(version):
        return f"no: from {_release(since)}"
    for node in graph.nodes:
        limit = _LIMITS.get(name) if node.operator == name else None
        reason = limit(node, graph, int(version)) if limit is not None else ""
        if reason:
            return reason
    return YES if since[1] == 0 or since[0] < int(version) else f"from {_release(since)}"


def _first(node: Node) -> str:
    """The first input; empty where a file leaves it out, which it must not."""
    return next(iter(node.inputs), "")


def _grid_sample(node: Node, graph: OnnxGraph, version: int) -> str:
    rank = graph.ranks.get(_first(node))
    if rank == 4:
        return ""
    if rank is None:
        return "4-D only; the file doesn't tell"
    needed = _release(_SPATIAL_GRID_SINCE)
    if rank == 5 and version == _SPATIAL_GRID_SINCE[0]:
        return f"from {needed} ({rank}-D)"
    return f"no: {rank}-D" + (f" from {needed}" if rank == 5 else "")


def _pool(node: Node, graph: OnnxGraph, version: int) -> str:
    del version
    dilations = node.attributes.get("dilations")
    if isinstance(dilations, tuple) and set(dilations) != {1}:
        return "no: dilated"
    if len(node.outputs) > 1:
        return "no: indices as output"
    rank = graph.ranks.get(_first(node), 4)
    return "" if rank in (4, 5) else f"no: {rank}-D"


def _resize(node: Node, graph: OnnxGraph, version: int) -> str:
    del graph, version
    wanted = {
        "mode": ("nearest", _RESIZE_MODES),
        "coordinate_transformation_mode": ("half_pixel", _RESIZE_COORDINATES),
        "keep_aspect_ratio_policy": ("stretch", ("stretch",)),
        "antialias": (0, (0,)),
    }
    for name, (default, allowed) in wanted.items():
        value = node.attributes.get(name, default)
        if value not in allowed:
            return f"no: {name} {value}"
    return ""


def _scatter_nd(node: Node, graph: OnnxGraph, version: int) -> str:
    del graph, version
    reduction = node.attributes.get("reduction", "none")
    return "" if reduction == "none" else f"no: reduction {reduction}"


def _top_k(node: Node, graph: OnnxGraph, version: int) -> str:
    del graph, version
    return "" if node.attributes.get("sorted", 1) == 1 else "no: unsorted"


def _layer_norm(node: Node, graph: OnnxGraph, version: int) -> str:
    del graph, version
    return "" if not any(node.outputs[1:]) else "no: more than one output"


def _constant_axes(node: Node, graph: OnnxGraph, version: int) -> str:
    del version
    axes = node.inputs[1] if len(node.inputs) > 1 else ""
    return "" if axes == "" or axes in graph.constants else "no: axes aren't constant"


# Operator -> why a node is refused, or empty.
_LIMITS: dict[str, Callable[[Node, OnnxGraph, int], str]] = {
    "GridSample": _grid_sample,
    **dict.fromkeys(("AveragePool", "LpPool", "MaxPool"), _pool),
    "Resize": _resize,
    "ScatterND": _scatter_nd,
    "TopK": _top_k,
    "LayerNormalization": _layer_norm,
    **dict.fromkeys(
        (
            *(name for name in _SUPPORTED if name.startswith("Reduce")),
            *("CumSum", "Squeeze", "Unsqueeze"),
        ),
        _constant_axes,
    ),
}


def _release(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
