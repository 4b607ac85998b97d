"""Reading ONNX files without the onnx package, compared with what the package reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines.inspect.onnx_graph import read_graph
from smap_ros.errors import InputError


def value(name: str, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def branch(operator: str) -> onnx.GraphProto:
    """One branch of an If."""
    nodes = [helper.make_node(operator, ["x"], [f"{operator}_y"])]
    return helper.make_graph(nodes, operator, [], [value(f"{operator}_y", [2, 3])])


def small_model() -> onnx.ModelProto:
    """A branch, a constant, an operator of another domain, and attributes of several kinds."""
    nodes = [
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(3, "f4"))),
        helper.make_node(
            "If", ["yes"], ["y"], then_branch=branch("Exp"), else_branch=branch("Neg")
        ),
        helper.make_node("Mystery", ["y"], ["z"], domain="com.example", pads=[-1, 300, 0]),
        helper.make_node("Softmax", ["z"], ["out"], axis=-1),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["big"], mode="cubic"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [value("x", ["any", 3]), value("yes", [], TensorProto.BOOL)],
        [value("out", None)],
        [numpy_helper.from_array(np.array([4, 6]), "sizes")],
    )
    opsets = [helper.make_opsetid("com.example", 1), helper.make_opsetid("", 19)]
    return helper.make_model(graph, opset_imports=opsets)


@pytest.mark.parametrize("role", ["model", "refine"])
def test_shipped_networks_are_read_as_the_onnx_package_reads_them(role):
    content = load_bundle("smap_lite").read(role)
    graph, expected = read_graph(content), onnx.load_from_string(content)
    assert graph.opset == expected.opset_import[0].version
    assert graph.operators == dict(Counter(node.op_type for node in expected.graph.node))
    assert graph.constants >= {tensor.name for tensor in expected.graph.initializer}
    for node, theirs in zip(graph.nodes, expected.graph.node, strict=True):
        assert (node.inputs, node.outputs) == (tuple(theirs.input), tuple(theirs.output))
    for tensor in expected.graph.value_info:
        assert graph.ranks[tensor.name] == len(tensor.type.tensor_type.shape.dim)


def test_branches_domains_constants_and_attributes_are_read():
    graph = read_graph(small_model().SerializeToString())
    assert graph.opset == 19
    names = {"Constant", "If", "Exp", "Neg", "com.example:Mystery", "Softmax", "Resize"}
    assert graph.operators == dict.fromkeys(names, 1)
    assert graph.constants == {"c", "sizes"}
    assert graph.ranks == {"x": 2, "yes": 0, "sizes": 1, "Exp_y": 2, "Neg_y": 2}
    attributes = {node.operator: node.attributes for node in graph.nodes}
    assert attributes["com.example:Mystery"] == {"pads": (-1, 300, 0)}
    assert attributes["Softmax"] == {"axis": -1}
    assert attributes["Resize"] == {"mode": "cubic"}
    assert graph.nodes[-1].inputs == ("x", "", "", "sizes")


@pytest.mark.parametrize(
    "content", [b"", b"not a network", b"\x08\x08", b"\x38\x01", b"\x3a\x7f", b"\xff" * 30]
)
def test_other_files_are_refused(content):
    with pytest.raises(InputError, match="not an ONNX file"):
        read_graph(content)


@given(st.data())
def test_cut_off_and_altered_files_are_refused_or_read_never_crash(data):
    whole = bytearray(small_model().SerializeToString())
    content = whole[: data.draw(st.integers(0, len(whole)))]
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert read_graph(bytes(content)).nodes
    except InputError as error:
        assert "ONNX file" in str(error)  # noqa: PT017 - harmless changes may be read


def elsewhere(name: str, place: str) -> onnx.TensorProto:
    """Weights in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"offset": "0", "location": place}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_files_with_weights_beside_the_network_are_named():
    """Wherever in it the tensors are: of nodes, branches, functions, and with few values."""
    model = small_model()
    assert read_graph(model.SerializeToString()).elsewhere == ()
    model.graph.initializer.append(elsewhere("w", "a.bin"))
    constant = helper.make_node("Constant", [], ["d"], value=elsewhere("d", "b.bin"))
    model.graph.node[1].attribute[0].g.node.append(constant)
    model.graph.sparse_initializer.add(values=elsewhere("s", "c.bin"))
    opsets = [helper.make_opsetid("", 19)]
    inside = helper.make_node("Constant", [], ["e"], value=elsewhere("e", "d.bin"))
    model.functions.append(helper.make_function("mine", "f", [], ["e"], [inside], opsets))
    graph = read_graph(model.SerializeToString())
    assert graph.elsewhere == ("a.bin", "b.bin", "c.bin", "d.bin")
    assert graph.operators == {
        **read_graph(small_model().SerializeToString()).operators,
        "Constant": 2,
    }
    embedded = elsewhere("w", "a.bin")
    embedded.data_location = TensorProto.DEFAULT  # what is stated of a file doesn't count then
    model = small_model()
    model.graph.initializer.append(embedded)
    assert read_graph(model.SerializeToString()).elsewhere == ()
