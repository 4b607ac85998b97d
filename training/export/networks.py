"""From torch to ONNX: writing networks, halving their files, comparing the two."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from smap_train.models.deployment import Export

Array = NDArray[np.float32]

INPUT_NAME = "image"  # of networks that look at one
MIN_HALF = 256  # smaller constants stay fp32: they weigh nothing and may be shapes or gains
MIN_AXES = 2  # so do vectors: biases, into which batch norms are folded, and gains
LARGEST_HALF = float(np.finfo(np.float16).max)


class Ordered(nn.Module):
    """The network with its outputs as a tuple, which the exporter names."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        outputs = self.network(image)
        return tuple(outputs[name] for name in self.names)


def one_input(
    network: nn.Module,
    example: Tensor,
    outputs: tuple[str, ...],
    *,
    input_name: str = INPUT_NAME,
    free_batch: bool = False,
) -> Export:
    """A network of one input and a dict of outputs, ready to be written.

    Shapes are the example's; with ``free_batch`` the first axis takes any size, and the example
    must have more than 1 there.
    """
    graph = Ordered(network.eval(), outputs).eval()
    return Export(
        graph, {input_name: example}, outputs, {input_name: "batch"} if free_batch else {}
    )


def store_half(path: Path, least_axes: int = MIN_AXES) -> None:
    """Store large weights as fp16 behind a Cast: half the file, arithmetic stays fp32.

    Runtimes fold the casts away when they load the model. The exporter has folded batch norms into
    the weights before, so these are the numbers that the network multiplies with. Weights beyond
    fp16's largest number stay as they are.

    Args:
        path: the network's file, written anew.
        least_axes: constants with fewer axes stay as they are.
    """
    model = onnx.load(path)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim < least_axes or not _can_be_half(array):
            kept.append(tensor)
            continue
        name = f"{tensor.name}__fp16"
        kept.append(numpy_helper.from_array(array.astype(np.float16), name))
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _can_be_half(array: NDArray[np.generic]) -> bool:
    large = array.dtype == np.float32 and array.size >= MIN_HALF
    return large and bool(np.abs(array).max() <= LARGEST_HALF)  # NaN stays, to be found


def compare(export: Export, path: Path) -> float:
    """Largest difference between ONNX Runtime and torch, relative to each output's range."""
    session = open_session(path)
    return worst(
        range_error(answers(session, export, inputs), arrays(export.run(inputs)))
        for inputs in export.examples()
    )


def answers(
    session: onnxruntime.InferenceSession, export: Export, inputs: Mapping[str, Tensor]
) -> dict[str, Array]:
    """What ONNX Runtime answers to a graph's inputs, by the outputs' names."""
    got = session.run(list(export.outputs), arrays(inputs))
    return dict(zip(export.outputs, got, strict=True))


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Tensors as numpy has them."""
    return {name: value.numpy() for name, value in tensors.items()}


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX file in ONNX Runtime on the CPU, without its warnings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def range_error(got: Mapping[str, Array], expected: Mapping[str, Array]) -> float:
    """Largest difference of any output, relative to its own range."""
    return worst(relative_error(got[name], expected[name]) for name in expected)


def relative_error(got: Array, expected: Array) -> float:
    """Largest difference of an output over its largest value; NaN if one is NaN."""
    scale = max(float(np.abs(expected).max()), 1e-6)
    return float(np.abs(got - expected).max()) / scale


def worst(errors: Iterable[float]) -> float:
    """The largest error; NaN, which Python's ``max`` overlooks, if one is NaN."""
    return float(np.max(list(errors)))
