"""The graph of half precision: float32 outside, fp16 within, as near as an engine demands."""

from __future__ import annotations

import shutil

import onnx
import pytest
from onnx import TensorProto

from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines import agreement
from smap_ros.engines.factory import HALF
from smap_ros.errors import InputError
from smap_train.export.half_graph import add_half_graph


@pytest.fixture
def bundle(tmp_path):
    shipped = load_bundle("virtualpose_lite")
    return load_bundle(shutil.copytree(shipped.folder, tmp_path / "vp"))


def test_it_lies_beside_the_other(bundle):
    made, error = add_half_graph(bundle)
    assert 0 < error < 5e-3
    assert (made.folder / "model.fp16.onnx").is_file()
    assert made.read() == bundle.read() and made.read("root") == bundle.read("root")
    graph = onnx.load_from_string(made.read(HALF)).graph
    ends = [*graph.input, *graph.output]
    assert {end.type.tensor_type.elem_type for end in ends} == {TensorProto.FLOAT}
    convolutions = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    half = [name for name in convolutions if kinds.get(name) == TensorProto.FLOAT16]
    assert len(convolutions) * 0.9 < len(half) < len(convolutions)  # but not the heads
    names = [name for node in graph.node for name in node.output]
    assert len(set(names)) == len(names)
    again, same = add_half_graph(made)
    assert same == error and again.manifest.files == made.manifest.files


def test_a_graph_that_no_engine_would_accept_is_not_written(bundle, monkeypatch):
    monkeypatch.setitem(agreement.LIMITS, "f16", 1e-6)
    with pytest.raises(InputError, match=r"in half precision output \w+ moves by .*--gpu-half"):
        add_half_graph(bundle)
    assert HALF not in load_bundle(bundle.folder).manifest.files.entries
    assert not (bundle.folder / "model.fp16.onnx").exists()
