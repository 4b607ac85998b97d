"""What TensorRT is said to make of networks: tables, limits, and the command that shows them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines.inspect.onnx_graph import OnnxGraph, read_graph
from smap_ros.engines.inspect.tensorrt_operators import VERSIONS, check_operators, check_opset


def one_node(operator: str, *ranks: int, outputs: int = 1, opset: int = 18, **attributes):
    """A network of one node whose inputs have these ranks."""
    names = [f"in{k}" for k in range(len(ranks))]
    results = [f"out{k}" for k in range(outputs)]
    floats = TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node(operator, names, results, **attributes)],
        "one",
        [
            helper.make_tensor_value_info(name, floats, [2] * rank)
            for name, rank in zip(names, ranks, strict=True)
        ],
        [helper.make_tensor_value_info(name, floats, None) for name in results],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def read(model: onnx.ModelProto) -> OnnxGraph:
    return read_graph(model.SerializeToString())


def answers(model: onnx.ModelProto) -> tuple[str, str]:
    (row,) = check_operators(read(model))
    return row.verdicts["10"], row.verdicts["11"]


YES = ("yes", "yes")
CASES = [
    (one_node("Conv", 4, 4), YES),
    (one_node("GridSample", 4, 4), YES),
    (one_node("GridSample", 5, 5), ("no: 5-D from 11.2", "from 11.2 (5-D)")),
    (one_node("GridSample", 3, 3), ("no: 3-D", "no: 3-D")),
    (one_node("Attention", 4, 4, 4, opset=23), ("from 10.14", "yes")),
    (one_node("DFT", 3, opset=20), ("no: from 11.2", "from 11.2")),
    (one_node("Swish", 3, opset=24), ("no: from 11.0", "yes")),
    (one_node("Det", 3), ("no", "no")),
    (one_node("MaxPool", 4, kernel_shape=[3, 3]), YES),
    (one_node("MaxPool", 4, kernel_shape=[3, 3], dilations=[1, 1]), YES),
    (one_node("MaxPool", 4, kernel_shape=[3, 3], dilations=[2, 2]), ("no: dilated",) * 2),
    (one_node("MaxPool", 4, outputs=2, kernel_shape=[3, 3]), ("no: indices as output",) * 2),
    (one_node("MaxPool", 3, kernel_shape=[3]), ("no: 3-D",) * 2),
    (one_node("Resize", 4, mode="linear"), YES),
    (one_node("Resize", 4, mode="cubic"), ("no: mode cubic",) * 2),
    (one_node("Resize", 4, mode="linear", antialias=1), ("no: antialias 1",) * 2),
    (one_node("TopK", 2, 1), YES),
    (one_node("TopK", 2, 1, sorted=0), ("no: unsorted",) * 2),
    (one_node("ScatterND", 2, 2, 2, reduction="max"), ("no: reduction max",) * 2),
    (one_node("LayerNormalization", 3, 1), YES),
    (one_node("LayerNormalization", 3, 1, outputs=2), ("no: more than one output",) * 2),
    (one_node("ReduceMean", 3), YES),
    (one_node("ReduceMean", 3, 1), ("no: axes aren't constant",) * 2),
]


@pytest.mark.parametrize(("model", "expected"), CASES)
def test_operators_and_their_limits_are_judged(model, expected):
    assert answers(model) == expected


def test_constant_axes_are_taken():
    model = one_node("ReduceMean", 3, 1)
    del model.graph.input[1]
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "in1"))
    assert answers(model) == YES


def test_the_worst_node_decides():
    model = one_node("GridSample", 4, 4)
    model.graph.node.append(helper.make_node("GridSample", ["far", "in1"], ["more"]))
    far = helper.make_tensor_value_info("far", TensorProto.FLOAT, [1] * 5)
    model.graph.input.append(far)
    assert answers(model) == ("no: 5-D from 11.2", "from 11.2 (5-D)")


def test_operators_of_other_domains_need_plugins():
    model = one_node("Fancy", 2)
    model.graph.node[0].domain = "com.example"
    assert answers(model) == ("no: needs a plugin",) * 2


@pytest.mark.parametrize(
    ("opset", "expected"),
    [
        (18, YES),
        (20, YES),
        (23, ("reads opset 9 to 20", "yes")),
        (26, ("reads opset 9 to 20", "reads opset 9 to 25")),
        (8, ("reads opset 9 to 20", "reads opset 9 to 25")),
    ],
)
def test_opsets_are_judged(opset, expected):
    assert tuple(check_opset(read(one_node("Conv", 4, 4, opset=opset))).values()) == expected


@pytest.mark.parametrize("role", ["model", "refine"])
def test_the_shipped_bundle_needs_nothing_that_tensorrt_lacks(role):
    graph = read_graph(load_bundle("smap_lite").read(role))
    assert set(check_opset(graph).values()) == {"yes"}
    for row in check_operators(graph):
        assert row.verdicts == dict.fromkeys(VERSIONS, "yes"), row.operator


@pytest.mark.parametrize("operator", ["GridSample", "MaxPool", "ReduceSum", "TopK", "Resize"])
def test_a_node_without_its_inputs_is_no_crash(operator):
    assert all(answers(one_node(operator)))
