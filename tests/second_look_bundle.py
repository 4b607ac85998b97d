"""A second look whose answer is known: a network that says the same of every crop."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE = 64


def second_look(**changes: Any) -> dict[str, Any]:
    """A valid ``second_look`` of a manifest, with fields changed; both looks count half."""
    return {
        "input": {"name": "image", "width": SIZE, "height": SIZE, "color": "rgb",
                  "mean": [0, 0, 0], "std": [1, 1, 1]},
        "outputs": {
            "joints": {"name": "joints", "shape": [1, 15, 3]},
            "pose": {"name": "pose", "shape": [1, 15, 3]},
            "presence": {"name": "presence", "shape": [1, 1]},
        },
        **changes,
    }  # fmt: skip


def second_model(joints: np.ndarray, pose: np.ndarray, presence: float = 1.0) -> bytes:
    """The network: joints [15, 3] in crop pixels and scores, pose [15, 3] in metres.

    A crop that is all black makes everything NaN.
    """
    values = {"joints": joints[None], "pose": pose[None], "presence": np.array([[presence]])}
    constants = [
        numpy_helper.from_array(np.asarray(value, np.float32), f"{name}_value")
        for name, value in values.items()
    ]
    constants.append(numpy_helper.from_array(np.float32(0), "zero"))
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Log", ["mean"], ["logarithm"]),
        helper.make_node("Mul", ["logarithm", "zero"], ["poison"]),
        *(helper.make_node("Add", [f"{name}_value", "poison"], [name]) for name in values),
    ]
    graph = helper.make_graph(
        nodes,
        "second",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape)
            for name, value in values.items()
        ],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
