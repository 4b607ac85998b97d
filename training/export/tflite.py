"""TensorFlow Lite networks as ONNX: as many kinds of layers as pose networks on phones have.

OpenVINO reads TensorFlow Lite, ONNX Runtime and TensorRT don't. Pictures become channels first,
float16 constants behind a Dequantize become float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from smap_ros.errors import InputError
from smap_train.models.deployment import OPSET

Array = NDArray[Any]

_OPERATORS = {code: name for name, code in vars(tflite.BuiltinOperator).items()
              if isinstance(code, int)}  # fmt: skip
_TYPES = {
    tflite.TensorType.FLOAT32: np.float32,
    tflite.TensorType.FLOAT16: np.float16,
    tflite.TensorType.INT32: np.int32,
}
_SAME = tflite.Padding.SAME
_RELU6 = 6.0


@dataclass(frozen=True)
class _Layer:
    """An operator of the network: its name, options and tensors."""

    name: str
    options: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class _Reader:
    """Tensors and layers of a file, as numpy and Python have them."""

    def __init__(self, content: bytes):
        self._model = tflite.Model.GetRootAs(content, 0)
        self._graph = graph = self._model.Subgraphs(0)
        self.inputs = graph.InputsAsNumpy().tolist()
        self.outputs = {self.name(k): k for k in graph.OutputsAsNumpy().tolist()}
        self.layers = [self._layer(graph.Operators(k)) for k in range(graph.OperatorsLength())]
        self.maker = {tensor: layer for layer in self.layers for tensor in layer.outputs}

    def name(self, tensor: int) -> str:
        return str(self._graph.Tensors(tensor).Name().decode())

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self._graph.Tensors(tensor).ShapeAsNumpy().tolist())

    def constant(self, tensor: int) -> Array | None:
        """The tensor's values, or None if it is computed from the input."""
        maker = self.maker.get(tensor)
        if maker is not None:
            source = self.constant(maker.inputs[0]) if maker.name == "DEQUANTIZE" else None
            return None if source is None else source.astype(np.float32)
        info = self._graph.Tensors(tensor)
        data = self._model.Buffers(info.Buffer()).DataAsNumpy()
        if isinstance(data, int):  # flatbuffers' word for nothing
            return None
        return np.frombuffer(data.tobytes(), _TYPES[info.Type()]).reshape(self.shape(tensor))

    def _layer(self, operator: Any) -> _Layer:
        code = self._model.OperatorCodes(operator.OpcodeIndex())
        name = _OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        options, schema = None, _OPTIONS.get(name)
        if schema is not None:
            table, options = operator.BuiltinOptions(), schema()
            options.Init(table.Bytes, table.Pos)
        inputs, outputs = operator.InputsAsNumpy(), operator.OutputsAsNumpy()
        return _Layer(name, options, tuple(inputs.tolist()), tuple(outputs.tolist()))


class Converter:
    """One network on its way to ONNX.

    Attributes:
        nodes, constants: of the graph so far, to which more can be added.
        values: name of each output by its name in the file.

    Args:
        content: of the ``.tflite`` file.
        outputs: names of those to keep; layers that only others need are left out.
        input_name: of the image input.

    Raises:
        InputError: if it has no such output, or a layer of a kind that isn't known here.
    """

    def __init__(self, content: bytes, outputs: Sequence[str], input_name: str):
        self._file = _Reader(content)
        self._names = {self._file.inputs[0]: input_name}
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        _, height, width, channels = self._file.shape(self._file.inputs[0])
        shape = (1, channels, height, width)
        self.input = helper.make_tensor_value_info(input_name, onnx.TensorProto.FLOAT, shape)
        missing = sorted(set(outputs) - set(self._file.outputs))
        if missing:
            raise InputError(
                f"the network has no outputs {missing}; it has {sorted(self._file.outputs)}"
            )
        self.values = {name: self._value(self._file.outputs[name]) for name in outputs}

    def model(self, outputs: Sequence[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The finished graph with these outputs."""
        graph = helper.make_graph(self.nodes, "network", [self.input], outputs, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
        model.ir_version = 9
        onnx.checker.check_model(model, full_check=True)
        return model

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """One more node; returns the name of its output."""
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def add_constant(self, values: Array, name: str) -> str:
        """One more constant; returns its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _value(self, tensor: int) -> str:
        """Name of a tensor's value in the graph, with all that makes it."""
        # From the input on, so that no recursion is deeper than one layer.
        for layer in self._needed(tensor):
            convert = _CONVERTERS.get(layer.name)
            if convert is None:
                raise InputError(
                    f"a layer is {layer.name}; known are {', '.join(sorted(_CONVERTERS))}"
                )
            self._names[layer.outputs[0]] = convert(self, layer)
        return self._names[tensor]

    def _needed(self, tensor: int) -> list[_Layer]:
        """Layers that are not in the graph yet, in the file's order, which is that of running."""
        wanted, needed = {tensor}, []
        for layer in reversed(self._file.layers):
            made = layer.name == "DEQUANTIZE" or layer.outputs[0] in self._names
            if layer.outputs[0] in wanted and not made:
                needed.append(layer)
                wanted.update(layer.inputs)
        return needed[::-1]

    def _convolution(self, layer: _Layer) -> str:
        source, weights, bias = layer.inputs
        name, options = f"v{layer.outputs[0]}", layer.options
        values = self._constant(weights)
        groups = 1
        if layer.name == "DEPTHWISE_CONV_2D":
            groups = self._file.shape(source)[3]
            if options.DepthMultiplier() != 1:
                raise InputError("a depthwise layer multiplies channels, which isn't known here")
            values = values.transpose(3, 0, 1, 2)
        else:
            values = values.transpose(0, 3, 1, 2)
        kernel, strides = values.shape[2:], (options.StrideH(), options.StrideW())
        padded = self._file.maker.get(source)
        if padded is not None and padded.name == "PAD":
            pads, given = self._padding(padded), padded.inputs[0]
        else:
            pads, given = self._same(source, kernel, strides, options.Padding()), source
        inputs = [
            self._names[given],
            self.add_constant(values, f"{name}_weights"),
            self.add_constant(self._constant(bias), f"{name}_bias"),
        ]
        plain = self.add(
            "Conv", inputs, f"{name}_conv", kernel_shape=kernel, strides=strides, pads=pads,
            group=groups, dilations=(options.DilationHFactor(), options.DilationWFactor()),
        )  # fmt: skip
        return self._activated(plain, options, name)

    def _pad(self, layer: _Layer) -> str:
        """Of no node: the convolutions behind it pad."""
        behind = [one for one in self._file.layers if layer.outputs[0] in one.inputs]
        if any(one.name not in ("CONV_2D", "DEPTHWISE_CONV_2D") for one in behind):
            raise InputError("a PAD is not followed by a convolution; only that is known here")
        return self._names[layer.inputs[0]]

    def _add(self, layer: _Layer) -> str:
        name = f"v{layer.outputs[0]}"
        summed = self.add("Add", [self._names[k] for k in layer.inputs], f"{name}_sum")
        return self._activated(summed, layer.options, name)

    def _pool(self, layer: _Layer) -> str:
        options = layer.options
        kernel = options.FilterHeight(), options.FilterWidth()
        strides = options.StrideH(), options.StrideW()
        pads = self._same(layer.inputs[0], kernel, strides, options.Padding())
        name = f"v{layer.outputs[0]}"
        given = [self._names[layer.inputs[0]]]
        return self.add("MaxPool", given, name, kernel_shape=kernel, strides=strides, pads=pads)

    def _resize(self, layer: _Layer) -> str:
        (_, height, width, _), out = self._file.shape(layer.inputs[0]), layer.outputs[0]
        _, high, wide, _ = self._file.shape(out)
        if layer.options.AlignCorners() or not layer.options.HalfPixelCenters():
            raise InputError("a resize doesn't count from pixel centres; only that is known here")
        scales = self.add_constant(
            np.array([1, 1, high / height, wide / width], np.float32), f"v{out}_scales"
        )
        given = [self._names[layer.inputs[0]], "", scales]
        return self.add("Resize", given, f"v{out}", mode="linear",
                        coordinate_transformation_mode="half_pixel")  # fmt: skip

    def _flatten(self, layer: _Layer) -> str:
        if self._file.shape(layer.inputs[0])[1:3] != (1, 1):
            raise InputError("a reshape of a picture isn't known here")
        return self.add("Flatten", [self._names[layer.inputs[0]]], f"v{layer.outputs[0]}")

    def _logistic(self, layer: _Layer) -> str:
        return self.add("Sigmoid", [self._names[layer.inputs[0]]], f"v{layer.outputs[0]}")

    def _activated(self, value: str, options: Any, name: str) -> str:
        function = options.FusedActivationFunction()
        if function == tflite.ActivationFunctionType.NONE:
            return value
        if function == tflite.ActivationFunctionType.RELU:
            return self.add("Relu", [value], name)
        if function != tflite.ActivationFunctionType.RELU6:
            raise InputError(f"activation {function} isn't known here")
        limits = [
            self.add_constant(np.float32(limit), f"{name}_{limit:g}") for limit in (0.0, _RELU6)
        ]
        return self.add("Clip", [value, *limits], name)

    def _constant(self, tensor: int) -> Array:
        values = self._file.constant(tensor)
        if values is None:
            raise InputError("weights that are computed aren't known here")
        return values

    def _padding(self, layer: _Layer) -> tuple[int, ...]:
        _, rows, columns, _ = self._constant(layer.inputs[1]).tolist()
        return rows[0], columns[0], rows[1], columns[1]

    def _same(
        self, source: int, kernel: Sequence[int], strides: Sequence[int], padding: int
    ) -> tuple[int, ...]:
        """Padding top, left, bottom, right; with SAME the output is input / stride, rounded up."""
        if padding != _SAME:
            return (0, 0, 0, 0)
        sizes = self._file.shape(source)[1:3]
        wanted = [
            max((-(-size // stride) - 1) * stride + side - size, 0)
            for size, side, stride in zip(sizes, kernel, strides, strict=True)
        ]
        return (
            wanted[0] // 2,
            wanted[1] // 2,
            wanted[0] - wanted[0] // 2,
            wanted[1] - wanted[1] // 2,
        )


_OPTIONS = {
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "RESIZE_BILINEAR": tflite.ResizeBilinearOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "ADD": tflite.AddOptions,
}
_CONVERTERS: dict[str, Callable[[Converter, _Layer], str]] = {
    "CONV_2D": Converter._convolution,
    "DEPTHWISE_CONV_2D": Converter._convolution,
    "PAD": Converter._pad,
    "ADD": Converter._add,
    "MAX_POOL_2D": Converter._pool,
    "RESIZE_BILINEAR": Converter._resize,
    "RESHAPE": Converter._flatten,
    "LOGISTIC": Converter._logistic,
}
