"""Networks that exporters, other tools and accidents make: run as they are meant, or refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import write_bundle
from smap_ros.cli import bench
from smap_ros.cli.engine import inspect
from smap_ros.engines import create_engine, factory
from smap_ros.engines.agreement import WrongAnswerError, check_answers
from smap_ros.engines.factory import measure, open_model
from smap_ros.engines.names import GpuOptions
from smap_ros.errors import BundleError, EngineError
from smap_ros.estimators.options import ModelChoice

RUNTIMES = ["onnxruntime", "openvino"]
FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, weights=()) -> onnx.ModelProto:
    """A network of nodes; inputs and outputs are (name, type, shape)."""
    values = [[helper.make_tensor_value_info(*one) for one in side] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "odd", *values, list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def cast_from(kind: int) -> bytes:
    cast = helper.make_node("Cast", ["x"], ["y"], to=FLOAT)
    return model_of([cast], [("x", kind, [1, 3])], [("y", FLOAT, [1, 3])]).SerializeToString()


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("kind", ["BOOL", "INT64", "INT8", "UINT16", "DOUBLE", "FLOAT16"])
def test_inputs_of_other_types_are_told_in_numpys_names(name, kind):
    engine = open_model(cast_from(TensorProto.DataType.Value(kind)), name, threads=1)
    (spec,) = engine.inputs
    expected = {"BOOL": "bool", "DOUBLE": "float64"}.get(kind, kind.lower())
    assert spec.dtype == expected
    got = engine.run({"x": np.array([[0, 1, 1]], spec.dtype)})["y"]
    np.testing.assert_array_equal(got, [[0, 1, 1]])


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("kind", ["BFLOAT16", "STRING"])
def test_types_that_numpy_lacks_are_refused(name, kind):
    node = helper.make_node("Identity", ["x"], ["y"])
    number = TensorProto.DataType.Value(kind)
    model = model_of([node], [("x", number, [1, 3])], [("y", number, [1, 3])])
    with pytest.raises(EngineError, match=r"'x' is .*, which numpy doesn't have; export the"):
        open_model(model.SerializeToString(), name, threads=1)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_bundle_with_a_network_of_whole_numbers_is_refused(scene, make_bundle, name):
    cast = helper.make_node("Cast", ["image"], ["heatmap_2d"], to=FLOAT)
    image = ("image", TensorProto.INT64, [1, 3, 256, 448])
    model = model_of([cast], [image], [("heatmap_2d", FLOAT, [1, 3, 256, 448])])
    with pytest.raises(BundleError, match=r"is image int64\[.*; expected float32 in bundle"):
        create_engine(make_bundle(scene, model.SerializeToString()), name, threads=1)


@pytest.mark.parametrize("name", RUNTIMES)
def test_an_input_beyond_all_memory_is_refused(name):
    relu = helper.make_node("Relu", ["x"], ["y"])
    shape = [1 << 40, 3]
    model = model_of([relu], [("x", FLOAT, shape)], [("y", FLOAT, shape)])
    with pytest.raises(EngineError, match=r"are too large|can't load the network"):
        open_model(model.SerializeToString(), name, threads=1)


@pytest.mark.parametrize("name", RUNTIMES)
def test_inputs_and_outputs_have_the_files_names(name):
    """Exporters end graphs with Identity, and OpenVINO makes one tensor of both its ends."""
    nodes = [
        helper.make_node("Identity", ["z"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Identity", ["b"], ["y"]),
    ]
    model = model_of(nodes, [("z", FLOAT, [1, 3])], [("y", FLOAT, [1, 3])]).SerializeToString()
    for _ in range(2):  # compiled, and as OpenVINO kept it
        engine = open_model(model, name, threads=1)
        assert [spec.name for spec in (*engine.inputs, *engine.outputs)] == ["z", "y"]
        got = engine.run({"z": np.array([[-1, 0, 2]], np.float32)})
        np.testing.assert_array_equal(got["y"], [[0, 0, 2]])


def any_picture() -> bytes:
    """SMAP's outputs of pictures of any size, but for those of a pixel."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("AveragePool", ["image"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Conv", ["small", "weights"], ["all"]),
        helper.make_node("Split", ["all", "sizes"], ["heatmap_2d", "det_d", "root_d"], axis=1),
    ]
    weights = [
        numpy_helper.from_array(rng.random((58, 3, 1, 1), np.float32), "weights"),
        numpy_helper.from_array(np.array([43, 14, 1]), "sizes"),
    ]
    outputs = [
        (name, FLOAT, [1, channels, "h", "w"])
        for name, channels in (("heatmap_2d", 43), ("det_d", 14), ("root_d", 1))
    ]
    image = ("image", FLOAT, [1, 3, "height", "width"])
    return model_of(nodes, [image], outputs, weights).SerializeToString()


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_network_for_pictures_of_any_size_runs_at_the_manifests(scene, make_bundle, name):
    bundle = make_bundle(scene, any_picture())
    engine = create_engine(bundle, name, threads=1)
    assert engine.inputs[0].shape == (1, 3, None, None)
    assert engine.run({"image": scene_sized()})["heatmap_2d"].shape == (1, 43, 64, 112)


def scene_sized() -> np.ndarray:
    return np.zeros((1, 3, 256, 448), np.float32)


def test_a_network_for_pictures_of_any_size_is_timed_at_the_manifests(
    scene, make_bundle, monkeypatch
):
    bundle = make_bundle(scene, any_picture())
    engine = create_engine(bundle, "onnxruntime", threads=1)
    seen = set()
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda given: seen.add(given["image"].shape) or run(given))
    measure(engine, 0, shapes=bundle.manifest.network_inputs)
    assert seen == {(1, 3, 256, 448)}
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    assert create_engine(bundle, threads=1, remeasure=True).notes == ()


@pytest.mark.parametrize("name", RUNTIMES)
def test_weights_that_lie_where_the_process_was_started_are_not_taken(
    tmp_path: Path, network_onnx, monkeypatch, name
):
    """Runtimes look for them there, and bundle.yaml has no hash of them."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(network_onnx)
    onnx.save(
        model, "model.onnx", save_as_external_data=True, location="weights.bin", size_threshold=1024
    )
    with pytest.raises(EngineError, match=r"in other files \(weights.bin\).*export it with all"):
        open_model(Path("model.onnx").read_bytes(), name, threads=1)


def test_openvino_compiles_anew_what_was_altered_in_its_cache(
    scene, make_bundle, network_onnx, monkeypatch, tmp_path, caplog
):
    """It takes a file whose weights were altered, and answers with other numbers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = make_bundle(scene, network_onnx)
    given = {"image": np.random.default_rng(0).random((1, 3, 256, 448), np.float32)}
    expected = create_engine(bundle, "openvino", threads=1).run(given)["heatmap_2d"].copy()
    (blob,) = (tmp_path / "cache").rglob("*.blob")
    content = blob.read_bytes()
    for share in (0.5, 0.7, 0.9):
        altered, at = bytearray(content), int(share * len(content))
        altered[at : at + 64] = bytes(64)
        blob.unlink()
        blob.write_bytes(altered)
        got = create_engine(bundle, "openvino", threads=1).run(given)["heatmap_2d"]
        np.testing.assert_array_equal(got, expected)
        assert "isn't what openvino wrote: it is compiled anew" in caplog.text
        caplog.clear()
        create_engine(bundle, "openvino", threads=1)
        assert "compiled anew" not in caplog.text and blob.is_file()


def test_what_another_openvino_kept_is_compiled_anew_once(
    scene, make_bundle, network_onnx, monkeypatch, tmp_path, caplog
):
    """A new release writes over the file of the one before, which was whole."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle = make_bundle(scene, network_onnx)
    create_engine(bundle, "openvino", threads=1)
    (blob,) = (tmp_path / "cache").rglob("*.blob")
    header, _, rest = blob.read_bytes().partition(b"\n")
    blob.unlink()
    blob.write_bytes(header.replace(b"20", b"19") + b"\n" + rest)
    blob.with_suffix(".sha256").write_text(hashlib.sha256(blob.read_bytes()).hexdigest())
    kept = blob.read_bytes()
    create_engine(bundle, "openvino", threads=1)
    assert blob.read_bytes() != kept
    kept = blob.stat().st_mtime_ns
    create_engine(bundle, "openvino", threads=1)
    assert "compiled anew" not in caplog.text and blob.stat().st_mtime_ns == kept


def test_graphs_with_other_outputs_are_told_apart_from_wrong_answers():
    """As of a graph of half precision that was exported from another network."""
    relu = helper.make_node("Relu", ["x"], ["y"])
    exp = helper.make_node("Exp", ["x"], ["more"])
    inputs, y, more = [("x", FLOAT, [1, 3])], ("y", FLOAT, [1, 3]), ("more", FLOAT, [1, 3])
    whole = open_model(model_of([relu, exp], inputs, [y, more]).SerializeToString(), RUNTIMES[0])
    half = open_model(model_of([relu], inputs, [y]).SerializeToString(), RUNTIMES[0])
    given = {"x": np.ones((1, 3), np.float32)}
    assert check_answers(given, half, half, "f16") == 0
    for one, other in ((half, whole), (whole, half)):
        with pytest.raises(WrongAnswerError, match=r"graphs don't belong together. Export it"):
            check_answers(given, one, other, "f16")


def test_a_graph_of_half_precision_that_is_added_is_another_choice(
    scene_manifest, network_onnx, tmp_path
):
    """Else TensorRT, which lacked it, would stay passed over."""
    (tmp_path / "model").write_bytes(network_onnx)
    how = factory.Opening(1, "f16", GpuOptions(), 1)
    files = {"model": tmp_path / "model"}
    keys = [
        factory._choice_key(
            write_bundle(tmp_path / "b", scene_manifest(), **files, **more), {}, how
        )
        for more in ({}, {"model_fp16": tmp_path / "model"})
    ]
    assert keys[0] != keys[1]


def test_a_network_that_no_runtime_takes_is_an_error_of_bench(scene, make_bundle, tmp_path, capsys):
    bundle = make_bundle(scene, b"no network")
    choice = ModelChoice.of({"bundle": str(bundle.folder)})
    with pytest.raises(EngineError, match="no runtime could be measured"):
        bench.run(choice, "all", (64, 64), 0.1, None, tmp_path / "numbers.json")
    told = capsys.readouterr().out
    assert "onnxruntime: onnxruntime can't load the network" in told
    assert (tmp_path / "numbers.json").is_file()


def test_names_that_look_like_markup_are_shown_as_they_are(scene, make_bundle, capsys):
    """Of operators, which anybody's file may call anything, and of measures."""
    node = helper.make_node("[/bold]", ["image"], ["y"])
    model = model_of([node], [("image", FLOAT, [1])], [("y", FLOAT, [1])]).SerializeToString()
    origin = {"data": "d", "command": "c", "commit": "e"}
    metrics = {"[/red]": {"value": 1.5, "command": "measure"}}
    bundle = make_bundle(scene, model, provenance={**origin, "metrics": metrics})
    inspect(str(bundle.folder))
    told = capsys.readouterr().out
    assert "[/bold]" in told and "[/red]" in told
