"""From torch to ONNX: writing networks, halving their files, comparing the two."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from smap_ros.errors import InputError

OPSET = 18  # read by OpenVINO, ONNX Runtime and TensorRT 10 alike
INPUT_NAME = "image"  # of networks that look at one
MAX_RELATIVE_ERROR = 1e-3
MIN_HALF = 256  # smaller constants stay fp32: they weigh nothing and may be shapes or gains


class Ordered(nn.Module):
    """The network with its outputs as a tuple, which the exporter names."""

    def __init__(self, network: nn.Module, names: tuple[str, ...]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """See the class."""
        outputs = self.network(image)
        return tuple(outputs[name] for name in self.names)


def to_onnx(
    network: nn.Module,
    example: Tensor,
    outputs: tuple[str, ...],
    path: Path,
    *,
    free_batch: bool = False,
    input_name: str = INPUT_NAME,
) -> None:
    """Write a network of one input in eval mode as ONNX with embedded weights.

    Shapes are the example's; with ``free_batch`` the first axis takes any size. The example
    must have more than 1 there then: the exporter takes a 1 for a constant. The input is called
    ``input_name`` in the file.
    """
    program = torch.onnx.export(
        Ordered(network.eval(), outputs).eval(),
        (example,),
        dynamo=True,
        opset_version=OPSET,
        input_names=[input_name],
        output_names=list(outputs),
        dynamic_shapes=({0: torch.export.Dim("batch")},) if free_batch else None,
        external_data=False,
        verbose=False,
    )
    save_program(program, path)


def save_program(program: torch.onnx.ONNXProgram | None, path: Path) -> None:
    """Write an exported network, weights embedded.

    The exporter notes the source line of each node, with the path of the file on the machine
    it ran on; these notes are left out.
    """
    assert program is not None  # the exporter returns None only when it writes a file itself
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
    program.save(str(path), external_data=False)


def fuse_batch_norm(network: nn.Module) -> None:
    """Fold each batch norm behind a convolution or linear layer of an ``nn.Sequential`` into it."""
    for sequence in network.modules():
        if not isinstance(sequence, nn.Sequential):
            continue
        for index in range(1, len(sequence)):
            layer, norm = sequence[index - 1], sequence[index]
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index - 1] = fuse_conv_bn_eval(layer, norm)
            elif isinstance(layer, nn.Linear) and isinstance(norm, nn.BatchNorm1d):
                sequence[index - 1] = fuse_linear_bn_eval(layer, norm)
            else:
                continue
            sequence[index] = nn.Identity()


def rounded(weights: Tensor) -> Tensor:
    """To what ``store_half`` keeps of them."""
    halved = weights.is_floating_point() and weights.numel() >= MIN_HALF
    return weights.half().float() if halved else weights


def store_half(path: Path, least_axes: int = 0) -> None:
    """Store large weights as fp16 behind a Cast: half the file, arithmetic stays fp32.

    Runtimes fold the casts away when they load the model.

    Args:
        path: the network's file, written anew.
        least_axes: constants with fewer axes stay as they are.
    """
    model = onnx.load(path)
    kept, casts = [], []
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype != np.float32 or array.size < MIN_HALF or array.ndim < least_axes:
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


def compare(
    network: nn.Module,
    path: Path,
    example: Tensor,
    names: tuple[str, ...],
    input_name: str = INPUT_NAME,
) -> float:
    """Largest difference between ONNX Runtime and torch, relative to each output's range."""
    got = open_session(path).run(list(names), {input_name: example.numpy()})
    with torch.no_grad():
        expected = network(example)
    pairs = zip(got, names, strict=True)
    return worst(relative_error(a, expected[name].numpy()) for a, name in pairs)


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """An ONNX file in ONNX Runtime on the CPU, without its warnings."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def relative_error(got: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """Largest difference of an output over its largest value; NaN if one is NaN."""
    scale = max(float(np.abs(expected).max()), 1e-6)
    return float(np.abs(got - expected).max()) / scale


def worst(errors: Iterable[float]) -> float:
    """The largest error; NaN, which Python's ``max`` overlooks, if one is NaN."""
    return float(np.max(list(errors)))


def require_agreement(error: float, limit: float = MAX_RELATIVE_ERROR) -> None:
    """Refuse to make a bundle of a network that ONNX Runtime runs differently.

    Raises:
        InputError: if the relative difference is too large, or NaN.
    """
    if not error <= limit:
        raise InputError(
            f"ONNX Runtime and torch differ by {error:.2e} of the outputs' range; expected at "
            f"most {limit:.0e}. Nothing was written; please report this"
        )
