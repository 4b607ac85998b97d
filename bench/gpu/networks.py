"""The networks in torch, as far as a GPU takes them without TensorRT: eager, compiled, as a graph.

The shipped ones are read from their ONNX files (:class:`OnnxInTorch`); the official SMAP is built
by ``smap_train`` with random weights, whose speed is that of trained ones.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.gpu.asking import Asked, Missing, summary
from smap_ros.bundles.bundle import load_bundle

SHIPPED = ("smap_lite", "virtualpose_lite")
OFFICIAL = (1, 3, 512, 832)


def ask(asked: Asked) -> None:
    """Milliseconds of each network in each arithmetic and each way of running it."""
    try:
        import torch
    except ImportError as error:
        raise Missing(f"torch isn't installed ({error})") from error
    cuda = torch.cuda.is_available()
    if not cuda and not asked.dry:
        raise Missing("torch sees no GPU")
    for name in SHIPPED:
        bundle = load_bundle(name)
        network = OnnxInTorch(bundle.read())
        shape = bundle.manifest.input.shape  # type: ignore[attr-defined]
        asked.tell(**{f"{name} against ONNX Runtime": _error(network, bundle.read(), shape)})
        _each_way(asked, name, network, shape, cuda)
    try:
        from smap_train.models import create
    except ImportError as error:
        asked.tell(official=f"smap_train isn't installed ({error})")
        return
    torch.manual_seed(0)
    shape = (1, 3, 64, 64) if asked.dry else OFFICIAL
    _each_way(asked, "smap", create("smap").eval(), shape, cuda)


def _each_way(asked: Asked, name: str, network: Any, shape: tuple[int, ...], cuda: bool) -> None:
    import torch

    kinds = {"fp32": torch.float32, "tf32": torch.float32}
    kinds |= {"fp16": torch.float16, "bf16": torch.bfloat16} if cuda else {}
    device = "cuda" if cuda else "cpu"
    network = network.to(device)
    for kind, dtype in kinds.items():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
        torch.backends.cudnn.benchmark = True
        model = network.to(dtype=dtype).to(memory_format=torch.channels_last)
        image = torch.randn(shape, device=device).to(dtype)
        image = image.contiguous(memory_format=torch.channels_last)
        ways: dict[str, Callable[[], Any]] = {"eager": lambda m=model, x=image: m(x)}
        with torch.inference_mode():
            if cuda:
                with contextlib.suppress(RuntimeError):
                    ways["graph"] = captured(model, image)[0]
                if not asked.dry and kind in ("tf32", "fp16"):
                    with contextlib.suppress(Exception):  # a compiler of its own, with reasons
                        compiled = torch.compile(model)
                        compiled(image)
                        ways["compiled graph"] = captured(compiled, image)[0]
            spent = {}
            for way, work in ways.items():
                timed = cuda_times_us if cuda else _cpu_times_us
                passes = [timed(work, asked.count(200)) for _ in range(asked.count(2, 1))]
                spent[way] = min(p["median"] for p in passes) / 1e3
        rate = 1e3 / min(spent.values())
        asked.tell(**{f"{name} {kind}": {"ms": spent, "images_per_s": rate}})


def captured(model: Any, image: Any) -> tuple[Callable[[], None], Any]:
    """A model on one image as a CUDA graph: what runs it again, and its outputs' memory."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            model(image)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = model(image)
    return graph.replay, outputs


def cuda_times_us(work: Callable[[], Any], runs: int) -> dict[str, float]:
    """Microseconds by torch's events."""
    import torch

    work()
    spent = []
    for _ in range(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        end.synchronize()
        spent.append(start.elapsed_time(end) * 1e3)
    return summary(spent)


def _cpu_times_us(work: Callable[[], Any], runs: int) -> dict[str, float]:
    spent = []
    for _ in range(runs):
        began = time.perf_counter()
        work()
        spent.append((time.perf_counter() - began) * 1e6)
    return summary(spent)


def _error(network: Any, model: bytes, shape: tuple[int, ...]) -> float:
    """How far the reader below is from ONNX Runtime, as a share of an output's range."""
    import torch

    from smap_ros.engines.factory import open_model

    engine = open_model(model, "onnxruntime", 1)
    image = np.random.default_rng(0).random(shape, np.float32)
    expected = engine.run({engine.inputs[0].name: image})
    with torch.inference_mode():
        got = network(torch.from_numpy(image))
    names = [spec.name for spec in engine.outputs]
    return max(
        float(np.abs(g.numpy() - expected[n]).max() / np.abs(expected[n]).max())
        for n, g in zip(names, got, strict=True)
    )


def _module() -> type:
    import torch

    return torch.nn.Module


class OnnxInTorch(_module()):  # type: ignore[misc]
    """An ONNX file of the operators that the shipped backbones have, run by torch.

    Raises:
        Missing: if it has another operator.
    """

    def __init__(self, model: bytes) -> None:
        import onnx
        import torch
        from onnx import helper, numpy_helper

        super().__init__()
        graph = onnx.load_from_string(model).graph
        self.inputs = [node.name for node in graph.input]
        self.outputs = [node.name for node in graph.output]
        self.fixed: dict[str, list[float]] = {}  # small constants, as Python has them
        self.names: dict[str, str] = {}  # of weights, as torch may call them
        for tensor in graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.size <= 8:
                self.fixed[tensor.name] = array.reshape(-1).tolist()
            if array.dtype.kind == "f":
                name = f"w{len(self.names)}"
                self.register_buffer(name, torch.from_numpy(array.astype(np.float32)))
                self.names[tensor.name] = name
        self.steps = []
        for node in graph.node:
            if node.op_type == "Cast":  # of weights that are stored in half precision
                for known in (self.fixed, self.names):
                    if node.input[0] in known:
                        known[node.output[0]] = known[node.input[0]]  # type: ignore[index]
                continue
            if node.op_type not in _OPERATORS:
                raise Missing(f"operator {node.op_type} isn't among those that torch is shown")
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            step = node.op_type, list(node.input), node.output[0], attributes
            self.steps.append(step)

    def forward(self, image: Any) -> list[Any]:
        """Outputs in the file's order."""
        values = {self.inputs[0]: image}

        def tensor(name: str) -> Any:
            return values[name] if name in values else getattr(self, self.names[name])

        for operator, inputs, output, attributes in self.steps:
            values[output] = _OPERATORS[operator](self, tensor, inputs, attributes)
        return [values[name] for name in self.outputs]


def _convolved(net: Any, tensor: Any, inputs: list[str], given: dict[str, Any]) -> Any:
    from torch.nn import functional

    bias = tensor(inputs[2]) if len(inputs) > 2 else None
    top, left, bottom, right = given.get("pads", [0] * 4)
    x = tensor(inputs[0])
    if (top, left) != (bottom, right):
        x, top, left = functional.pad(x, (left, right, top, bottom)), 0, 0
    how = {"stride": tuple(given.get("strides", (1, 1))), "padding": (top, left)}
    how |= {"dilation": tuple(given.get("dilations", (1, 1))), "groups": given.get("group", 1)}
    return functional.conv2d(x, tensor(inputs[1]), bias, **how)


def _resized(net: Any, tensor: Any, inputs: list[str], given: dict[str, Any]) -> Any:
    from torch.nn import functional

    x = tensor(inputs[0])
    if len(inputs) > 3:
        size = [int(s) for s in net.fixed[inputs[3]][2:]]
    else:
        size = [round(s * f) for s, f in zip(x.shape[2:], net.fixed[inputs[2]][2:], strict=True)]
    if given["mode"] == b"nearest":
        return functional.interpolate(x, size, mode="nearest")
    corners = given["coordinate_transformation_mode"] == b"align_corners"
    return functional.interpolate(x, size, mode="bilinear", align_corners=corners)


def _sliced(net: Any, tensor: Any, inputs: list[str], given: dict[str, Any]) -> Any:
    x = tensor(inputs[0])
    starts, ends, axes = ([int(v) for v in net.fixed[name]] for name in inputs[1:4])
    for start, end, axis in zip(starts, ends, axes, strict=True):
        x = x.narrow(axis, start, min(end, x.shape[axis]) - start)
    return x


def _clipped(net: Any, tensor: Any, inputs: list[str], given: dict[str, Any]) -> Any:
    low, high = (net.fixed[name][0] if name else None for name in (*inputs[1:], "", "")[:2])
    return tensor(inputs[0]).clamp(low, high)


_OPERATORS: dict[str, Callable[..., Any]] = {
    "Conv": _convolved,
    "Resize": _resized,
    "Slice": _sliced,
    "Clip": _clipped,
    "Relu": lambda net, tensor, inputs, given: tensor(inputs[0]).relu(),
    "Sigmoid": lambda net, tensor, inputs, given: tensor(inputs[0]).sigmoid(),
    "Exp": lambda net, tensor, inputs, given: tensor(inputs[0]).exp(),
    "Add": lambda net, tensor, inputs, given: tensor(inputs[0]) + tensor(inputs[1]),
    "Concat": lambda net, tensor, inputs, given: _joined([tensor(n) for n in inputs], given),
}


def _joined(tensors: list[Any], given: dict[str, Any]) -> Any:
    import torch

    return torch.cat(tensors, given["axis"])
