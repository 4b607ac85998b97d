"""What a plan is asked, so that rounding is told from an answer that is wrong."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines.agreement import LIMITS, disagreement, image_inputs, picture_inputs
from smap_ros.engines.factory import open_model
from smap_ros.offline.bench import three_people

SPLIT = 8193.0  # what leaves 10 bits of mantissa of float32, as TF32 has
CROPS = [("smap_lite", "second"), ("smap_lite_free", "second"), ("mobilehuman_lite", "model")]


def asked(name: str, role: str) -> dict[str, np.ndarray]:
    """What a shipped network of crops is asked."""
    manifest = load_bundle(name).manifest
    return (
        image_inputs(manifest.second_look.input) if role == "second" else picture_inputs(manifest)
    )


def rounded(model: bytes, precision: str) -> bytes:
    """The network with all that it multiplies rounded, as a GPU does."""
    network = onnx.load_from_string(model)
    graph = network.graph
    graph.initializer.append(numpy_helper.from_array(np.float32(SPLIT), "split"))
    nodes, known = [], {}
    for node in graph.node:
        factors = 2 if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") else 0
        for k, name in enumerate(node.input[:factors]):
            if name not in known:
                known[name] = f"{name}/rounded"
                nodes += rounding(name, known[name], precision)
            node.input[k] = known[name]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return network.SerializeToString()


def rounding(source: str, target: str, precision: str) -> list[onnx.NodeProto]:
    between = [f"{target}/{k}" for k in range(2)]
    if precision == "f16":
        return [
            helper.make_node("Cast", [source], between[:1], to=TensorProto.FLOAT16),
            helper.make_node("Cast", between[:1], [target], to=TensorProto.FLOAT),
        ]
    return [
        helper.make_node("Mul", [source, "split"], between[:1]),
        helper.make_node("Sub", [between[0], source], between[1:]),
        helper.make_node("Sub", between, [target]),
    ]


def answer(model: bytes, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the network as it is written: a runtime would take roundings away."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("precision", ["f32", "tf32", "f16"])
@pytest.mark.parametrize(("name", "role"), CROPS)
def test_rounding_is_no_wrong_answer_about_a_crop(name, role, precision):
    model, inputs = load_bundle(name).read(role), asked(name, role)
    expected = open_model(model, "onnxruntime", 1).run(inputs)
    got = answer(model if precision == "f32" else rounded(model, precision), inputs)
    error, worst = disagreement(got, expected)
    assert error < LIMITS[precision] / 2, worst
    assert error > 0 or precision == "f32"


@pytest.mark.parametrize("name", ["smap_lite", "smap_lite_free"])
def test_a_crop_shows_somebody(name):
    spec = load_bundle(name).manifest.second_look
    told = open_model(load_bundle(name).read("second"), "onnxruntime", 1).run(asked(name, "second"))
    assert told["presence"] > 0.99
    joints = told["joints"][0]
    assert (joints[:, 2] > 0.9).sum() >= 12
    assert ((joints[:, :2] > 0) & (joints[:, :2] < spec.input.width)).all()


def test_a_whole_picture_stays_whole():
    manifest = load_bundle("smap_lite").manifest
    (image,) = picture_inputs(manifest).values()
    expected = three_people((manifest.input.width, manifest.input.height))[..., ::-1] / 127.5 - 1
    np.testing.assert_allclose(image[0], expected.transpose(2, 0, 1), rtol=0, atol=1e-6)
