"""The runtimes behind one protocol, each running real networks."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from smap_ros.engines import TensorSpec, available_engines, create_engine
from smap_ros.engines.factory import open_model
from smap_ros.errors import BundleError, EngineError, InputError

RUNTIMES = ["onnxruntime", "openvino"]


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 256, 448), np.float32)


@pytest.fixture
def bundle(scene, make_bundle, network_onnx):
    return make_bundle(scene, network_onnx)


def test_both_runtimes_are_here():
    assert set(RUNTIMES) <= set(available_engines())


@pytest.mark.parametrize("name", RUNTIMES)
def test_engine_tells_what_it_runs(bundle, name):
    engine = create_engine(bundle, name, threads=1)
    assert engine.name == name and "CPU" in engine.device and "1 thread" in engine.device
    assert engine.inputs == (TensorSpec("image", (1, 3, 256, 448), "float32"),)
    assert {o.name: o.shape for o in engine.outputs} == {
        "heatmap_2d": (1, 43, 64, 112),
        "det_d": (1, 14, 64, 112),
        "root_d": (1, 1, 64, 112),
    }


def test_runtimes_agree(bundle):
    first, second = (create_engine(bundle, name, threads=1) for name in RUNTIMES)
    for seed in range(3):
        a, b = (engine.run({"image": image(seed)}) for engine in (first, second))
        for name, value in a.items():
            scale = np.abs(value).max()
            assert scale > 0.1
            assert np.abs(b[name] - value).max() < 1e-3 * scale


@pytest.mark.parametrize("name", RUNTIMES)
def test_numbers_do_not_depend_on_threads_or_on_the_run_before(bundle, name):
    one, two = (create_engine(bundle, name, threads=count) for count in (1, 2))
    expected = {key: value.copy() for key, value in one.run({"image": image(0)}).items()}
    one.run({"image": image(1)})
    for engine in (one, two):
        for key, value in engine.run({"image": image(0)}).items():
            np.testing.assert_allclose(value, expected[key], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", RUNTIMES)
def test_engine_runs_in_another_thread_than_it_was_made_in(bundle, name):
    engine = create_engine(bundle, name, threads=1)
    results = []
    worker = threading.Thread(target=lambda: results.append(engine.run({"image": image()})))
    worker.start()
    worker.join()
    assert results and np.isfinite(results[0]["heatmap_2d"]).all()


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"picture": image()},
        {"image": image(), "more": image()},
        {"image": image()[:, :, :128]},
        {"image": image()[0]},
        {"image": image().astype(np.float64)},
        {"image": np.zeros((1, 3, 256, 448), np.uint8)},
    ],
)
def test_wrong_inputs_are_refused(bundle, name, inputs):
    engine = create_engine(bundle, name, threads=1)
    with pytest.raises(InputError, match=r"expected .*image float32\[1, 3, 256, 448\]"):
        engine.run(inputs)


@pytest.mark.parametrize("name", RUNTIMES)
def test_inputs_need_not_be_contiguous(bundle, name):
    engine = create_engine(bundle, name, threads=1)
    expected = {key: value.copy() for key, value in engine.run({"image": image()}).items()}
    twisted = np.ascontiguousarray(image().transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    assert not twisted.flags.c_contiguous
    for key, value in engine.run({"image": twisted}).items():
        np.testing.assert_allclose(value, expected[key], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", RUNTIMES)
def test_arithmetic_of_the_process_is_left_alone(bundle, name):
    """Runtimes can flush subnormal numbers to zero, and do it in their caller's thread too."""
    engine = create_engine(bundle, name, threads=1)
    for _ in range(2):
        engine.run({"image": image()})
        tiny = np.array([1e-40], np.float32)
        assert (tiny / 2 > 0).all()
        assert float("1e-310") * 0.5 > 0


@pytest.mark.parametrize("name", RUNTIMES)
def test_closed_engine_says_so(bundle, name):
    engine = create_engine(bundle, name, threads=1)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({"image": image()})


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("model", [b"", b"not a network", b"\x08\x08\x12"])
def test_garbage_is_not_a_network(name, model):
    with pytest.raises(EngineError, match="can't load"):
        open_model(model, name, threads=1)


@pytest.mark.parametrize("name", RUNTIMES)
def test_precision_is_exact_by_default_and_may_be_left_to_the_runtime(bundle, name):
    exact = create_engine(bundle, name, threads=1)
    loose = create_engine(bundle, name, threads=1, precision="auto")
    a, b = (engine.run({"image": image()})["heatmap_2d"] for engine in (exact, loose))
    assert np.abs(a - b).max() < 0.05 * np.abs(a).max()
    assert "f32" in exact.device or name == "onnxruntime"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "caffe"}, "expected one of auto"),
        ({"name": "onnxruntime", "threads": -1}, "threads is -1"),
        ({"name": "onnxruntime", "precision": "f8"}, "precision is 'f8'"),
    ],
)
def test_wrong_arguments_are_refused(bundle, arguments, words):
    with pytest.raises(EngineError, match=words):
        create_engine(bundle, **arguments)


def _outputs(names: dict[str, tuple[int, ...]], input_shape=(1, 3, 256, 448), source="image"):
    """A network whose outputs have these names and shapes, all zero."""
    # The image takes part, else a runtime drops the input.
    nodes = [
        helper.make_node("ReduceMean", [source], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
    ]
    nodes += [helper.make_node("Expand", ["nothing", f"shape_{name}"], [name]) for name in names]
    shapes = [
        helper.make_tensor(f"shape_{name}", TensorProto.INT64, [len(shape)], shape)
        for name, shape in names.items()
    ]
    shapes.append(helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]))
    values = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "zeros",
        [values(source, TensorProto.FLOAT, input_shape)],
        [values(name, TensorProto.FLOAT, [None] * len(shape)) for name, shape in names.items()],
        shapes,
    )  # fmt: skip
    version = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=version, ir_version=9).SerializeToString()


RIGHT = {"heatmap_2d": (1, 43, 64, 112), "det_d": (1, 14, 64, 112), "root_d": (1, 1, 64, 112)}


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize(
    ("outputs", "changes", "words"),
    [
        (RIGHT, {}, None),
        ({**RIGHT, "spare": (1, 2)}, {}, None),
        ({k: v for k, v in RIGHT.items() if k != "det_d"}, {}, "no output 'det_d'"),
        ({**RIGHT, "root_d": (1, 2, 64, 112)}, {}, r"'root_d' .*\[1, 1, 64, 112\]"),
        ({**RIGHT, "heatmap_2d": (1, 43, 128, 208)}, {}, "'heatmap_2d'"),
        (RIGHT, {"source": "input"}, "network's input is input"),
        (RIGHT, {"input_shape": (1, 3, 512, 832)}, r"\[1, 3, 512, 832\].*\[1, 3, 256, 448\]"),
    ],
)  # fmt: skip
def test_networks_that_contradict_the_manifest_are_refused(
    scene, make_bundle, name, outputs, changes, words
):
    bundle = make_bundle(scene, _outputs(outputs, **changes))
    if words is None:
        create_engine(bundle, name, threads=1)
    else:
        with pytest.raises(BundleError, match=words):
            create_engine(bundle, name, threads=1)


def test_weights_outside_the_bundle_are_not_read(tmp_path: Path, network_onnx):
    import onnx

    model = onnx.load_from_string(network_onnx)
    outside = tmp_path / "outside"
    outside.mkdir()
    onnx.save(
        model, outside / "model.onnx", save_as_external_data=True, location="weights.bin",
        size_threshold=0,
    )  # fmt: skip
    for name in RUNTIMES:
        with pytest.raises(EngineError):
            open_model((outside / "model.onnx").read_bytes(), name, threads=1)


def test_openvino_keeps_the_compiled_network_and_survives_a_damaged_cache(bundle, own_cache):
    create_engine(bundle, "openvino", threads=1).close()
    blobs = [path for path in (own_cache / "smap_ros" / "openvino").rglob("*") if path.is_file()]
    assert blobs
    for blob in blobs:
        blob.write_bytes(b"damaged" * 100)
    engine = create_engine(bundle, "openvino", threads=1)
    assert np.abs(engine.run({"image": image()})["heatmap_2d"]).max() > 0.1


def test_engines_do_without_a_cache(bundle, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for name in ("openvino", "auto"):
        assert create_engine(bundle, name, threads=1).run({"image": image()})


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "tensorrt"])
def test_a_folder_of_a_runtimes_name_is_no_runtime(monkeypatch, tmp_path, bundle, name):
    """pip leaves one behind, or somebody's sources lie where Python was started."""
    (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for module in [m for m in sys.modules if m.partition(".")[0] == name]:
        monkeypatch.delitem(sys.modules, module)
    assert name not in available_engines()
    with pytest.raises(EngineError, match=rf"only a folder of that name, .*{name}, with nothing"):
        open_model(bundle.read(), name, threads=1)


def test_openvino_compiles_anew_where_its_cache_can_not_be_written(bundle, monkeypatch, tmp_path):
    (tmp_path / "smap_ros").mkdir()
    (tmp_path / "smap_ros" / "openvino").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert create_engine(bundle, "openvino", threads=1).run({"image": image()})


@pytest.mark.parametrize("threads", [1.5, "2", -1, 10**9, True, None])
def test_what_is_no_number_of_threads_is_refused(bundle, threads):
    with pytest.raises(EngineError, match=r"threads is .*; expected 0 .all cores. or a whole"):
        create_engine(bundle, "onnxruntime", threads)
