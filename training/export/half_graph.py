"""The graph of half precision that GPUs run: computed in fp16, with float32 inputs and outputs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from smap_ros.bundles.bundle import Bundle
from smap_ros.engines.agreement import LIMITS, disagreement, picture_inputs
from smap_ros.errors import InputError
from smap_train.export.common import change_bundle
from smap_train.export.networks import open_session

# What loses too much in fp16: sums over many values, and exponentials.
_FLOAT32 = [
    "Exp",
    "Log",
    "Softmax",
    "LogSoftmax",
    "LayerNormalization",
    "InstanceNormalization",
    "ReduceMean",
    "ReduceSum",
    "ReduceL2",
    "Pow",
    "Sqrt",
    "Reciprocal",
    "GridSample",
    "ScatterElements",
    "ScatterND",
]


def add_half_graph(bundle: Bundle) -> tuple[Bundle, float]:
    """Write ``model.fp16.onnx`` beside a bundle's network.

    Exponentials, normalisations and what ends in the outputs (depths, poses) stay float32.

    Returns:
        The bundle, and how far the answer to a picture moves, as a share of an output's range.

    Raises:
        InputError: if it moves by more than an engine would accept.
    """
    model = onnx.load_from_string(bundle.read())
    _unfold_weights(model.graph)
    half = convert_float_to_float16(
        model,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_FLOAT32],
        node_block_list=_heads(model.graph),
    )
    _drop_repeated(half.graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.fp16.onnx"
        onnx.save(half, path)
        inputs = picture_inputs(bundle.manifest)
        exact, rounded = (_answer(file, inputs) for file in (bundle.folder / "model.onnx", path))
        error, worst = disagreement(rounded, exact)
        if not error <= LIMITS["f16"]:
            raise InputError(
                f"in half precision output {worst} moves by {error:.1e} of its range; at most "
                f"{LIMITS['f16']:g} is expected. Export without --gpu-half: GPUs take tf32 then"
            )
        return change_bundle(bundle, {}, model_fp16=path), error


def _answer(path: Path, inputs: dict) -> dict:
    session = open_session(path)
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _drop_repeated(graph: onnx.GraphProto) -> None:
    """The converter writes the cast of a tensor once for every node that takes it."""
    kept = {node.output[0]: node for node in reversed(graph.node)}  # the first of each
    once = [node for node in graph.node if kept[node.output[0]] is node]
    del graph.node[:]
    graph.node.extend(once)


def _unfold_weights(graph: onnx.GraphProto) -> None:
    """Weights that are stored as fp16 become float32: the converter wants to see them itself."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Cast" and node.input[0] in stored]:
        values = numpy_helper.to_array(stored[node.input[0]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.node.remove(node)
    used = {name for node in graph.node for name in node.input}
    for tensor in stored.values():
        if tensor.name not in used:
            graph.initializer.remove(tensor)


def _heads(graph: onnx.GraphProto) -> list[str]:
    """Names of the nodes from the last convolutions or products to the outputs."""
    for k, node in enumerate(graph.node):
        node.name = node.name or f"node_{k}"
    makers = {name: node for node in graph.node for name in node.output}
    wanted, found = [output.name for output in graph.output], {}
    while wanted:
        node = makers.get(wanted.pop())
        if node is None or node.name in found:
            continue
        found[node.name] = node
        if node.op_type not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            wanted.extend(node.input)
    return list(found)
