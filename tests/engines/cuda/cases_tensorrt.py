"""Run by test_tensorrt.py in a process of its own: the TensorRT engine on what stands in for it."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import re
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle, write_bundle
from smap_ros.camera import Camera
from smap_ros.cli.engine import build
from smap_ros.engines import create_engine, cuda_layers, factory
from smap_ros.engines import kept as kept_files
from smap_ros.engines.base import zeros
from smap_ros.engines.cuda import GpuError
from smap_ros.engines.factory import open_model
from smap_ros.engines.names import GpuOptions
from smap_ros.engines.tensorrt import building, plans
from smap_ros.engines.tensorrt.building import Limits, Order, build_plan
from smap_ros.errors import EngineError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.base import NON_FINITE, ModelInfo
from smap_ros.estimators.options import ModelChoice
from smap_ros.estimators.second_look.lanes import Lanes
from smap_ros.sources import open_source
from tests.conftest import spot_model, topdown_manifest

LAYER = os.environ["LAYER"]
FAKE = ctypes.CDLL("libcuda.so.1")


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    monkeypatch.delenv("TENSORRT_DOES", raising=False)
    yield
    FAKE.fake_work()
    assert FAKE.fake_live() == 0
    assert FAKE.fake_depth() == 0


@pytest.fixture(autouse=True)
def the_layer(monkeypatch):
    monkeypatch.setattr(cuda_layers, "LAYERS", {LAYER: cuda_layers.LAYERS[LAYER]})


@pytest.fixture(autouse=True)
def no_plans(own_cache):
    plans.clean_plans()
    factory._choice_path().unlink(missing_ok=True)


@pytest.fixture
def bundle(scene, make_bundle, network_onnx):
    return make_bundle(scene, network_onnx)


@pytest.fixture
def model(bundle):
    return bundle.read()


def kept() -> list:
    return sorted(plans.plan_folder().glob("*.plan"))


def assert_built_anew_once(model: bytes) -> None:
    """The plan that is kept is replaced, and the new one is good."""
    for fresh in (True, False):
        engine = open_model(model, "tensorrt")
        assert engine.fresh == fresh
        engine.close()


def image(model: bytes, seed: int = 0) -> dict[str, np.ndarray]:
    engine = open_model(model, "onnxruntime", 1)
    rng = np.random.default_rng(seed)
    return {s.name: rng.random(s.shape, np.float32) for s in engine.inputs}


def test_it_answers_what_the_network_answers(model):
    engine, other = open_model(model, "tensorrt"), open_model(model, "onnxruntime", 1)
    for seed in (0, 1):
        inputs = image(model, seed)
        got, expected = engine.run(inputs), other.run(inputs)
        assert set(got) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array)
    assert engine.inputs == other.inputs and engine.outputs == other.outputs
    assert engine.device == "Host standing in, f32"
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(inputs)


def test_a_plan_is_built_once_and_found_again(model):
    first = open_model(model, "tensorrt")
    (path,) = kept()
    facts = json.loads(path.with_suffix(".json").read_text())
    assert facts["gpu"] == "Host standing in" and facts["capability"] == "8.7"
    assert facts["tensorrt"] == "10.3.0" and facts["processors"] == 16 and facts["driver"] == "12"
    second = open_model(model, "tensorrt")
    assert first.fresh and not second.fresh
    assert first.key.timing_path.read_bytes() == b"measured "
    first.close()
    second.close()


def test_another_arithmetic_workspace_or_number_of_rows_is_another_plan(model):
    for precision, gpu, rows in [
        ("f32", None, 1), ("tf32", None, 1), ("f32", GpuOptions(workspace_mb=64), 1),
        ("f32", None, 4),
    ]:  # fmt: skip
        open_model(model, "tensorrt", precision=precision, gpu=gpu, rows=rows).close()
    assert len(kept()) == 4
    headers = [json.loads(path.read_bytes().partition(b"\n")[0]) for path in kept()]
    assert sorted(header["tf32"] for header in headers) == [False, False, False, True]


@pytest.mark.parametrize("damage", ["plan", "side-car", "no side-car", "foreign"])
def test_a_plan_that_was_not_built_here_is_built_anew(model, damage, caplog):
    open_model(model, "tensorrt").close()
    (path,) = kept()
    side_car = path.with_suffix(".json")
    if damage == "plan":
        path.write_bytes(b"another plan")
    elif damage == "side-car":
        side_car.write_text("{")
    elif damage == "no side-car":
        side_car.unlink()
    else:
        side_car.write_text("[]")
    assert_built_anew_once(model)
    assert "ignoring the plan" in caplog.text


def test_a_plan_that_tensorrt_refuses_is_built_anew_once(model, monkeypatch, caplog):
    open_model(model, "tensorrt").close()
    (path,) = kept()
    header, _, rest = path.read_bytes().partition(b"\n")
    facts = {**json.loads(header), "version": "10.2.0"}
    engine_key = json.loads(path.with_suffix(".json").read_text())
    key = plans.PlanKey(**{k: engine_key[k] for k in plans.PlanKey.__dataclass_fields__})
    plans.save_plan(json.dumps(facts).encode() + b"\n" + rest, key)
    engine = open_model(model, "tensorrt")
    assert engine.fresh
    assert "Version tag does not match" in caplog.text and "built anew" in caplog.text
    engine.close()
    monkeypatch.setenv("TENSORRT_DOES", "refuse_plans")
    with pytest.raises(EngineError, match=r"refuses the plan that it built itself: .*magicTag"):
        open_model(model, "tensorrt")


@pytest.mark.parametrize(
    ("does", "message"),
    [
        ("crash", r"no TensorRT plan could be built: TensorRT's builder died \(SIGSEGV\)"),
        ("be_killed", "killed, most likely for lack of memory"),
        ("refuse", "can't build the network: Could not find any implementation for node Conv_7"),
        ("no_context", "TensorRT can't run the network"),
        ("bf16", "is bf16, which numpy doesn't have; export the network with float32"),
        ("host_shapes", "as a number on the host"),
        ("take_no_memory", "TensorRT can't take memory on Host standing in"),
        ("not_run", "TensorRT can't run the network on Host standing in"),
        ("builder_not_started", "returned nullptr; CUDA initialization failure with error: 35"),
        ("runtime_not_started", "returned nullptr.*; CUDA initialization failure with error: 35"),
        ("wrong", "answer to a test picture is wrong"),
        ("nan", "answer to a test picture is wrong"),
        ("refuse_plans", "refuses the plan that it built itself"),
    ],
)
def test_each_failure_is_a_message_and_the_next_engine(bundle, monkeypatch, does, message):
    monkeypatch.setenv("TENSORRT_DOES", does)
    with pytest.raises(EngineError, match=message):
        create_engine(bundle, "tensorrt", 1)
    assert FAKE.fake_live() == 0
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    engine = create_engine(bundle, threads=1, remeasure=True)
    assert engine.name != "tensorrt"
    (note,) = engine.notes
    assert note.startswith("tensorrt: ")
    recalled = create_engine(bundle, threads=1)
    assert recalled.notes == engine.notes  # what the diagnostics say
    assert ModelInfo.of(bundle.manifest, recalled).notes == engine.notes


@pytest.mark.parametrize(
    ("function", "after", "status", "message"),
    [
        ("cuInit", 0, 100, "GPU 0 can't open"),  # no device
        ("cuInit", 0, 999, "GPU 0 can't open"),
        ("cuDevicePrimaryCtxRetain", 0, 2, "out of memory"),
        ("cuDeviceGetAttribute", 0, 999, "can't ask for its properties"),
        ("cuMemAlloc_v2", 1, 2, "out of memory"),
        ("cuMemHostAlloc", 1, 2, "out of memory"),
        ("cuStreamCreate", 0, 2, "out of memory"),
        ("cuMemcpyHtoDAsync_v2", 0, 700, "can't copy to the device"),
        ("cuStreamSynchronize", 0, 700, "can't finish its work"),
        ("cuStreamSynchronize", 4, 700, "can't finish its work"),  # while it is timed
    ],
)
def test_each_failure_of_the_gpu_is_the_next_engine(
    bundle, monkeypatch, function, after, status, message
):
    create_engine(bundle, "tensorrt", 1).close()  # its plan is there, and believed
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    FAKE.fake_fail(function.encode(), after, status)
    engine = create_engine(bundle, threads=1, remeasure=True)
    assert engine.name != "tensorrt"
    (note,) = engine.notes
    assert note.startswith("tensorrt: ") and re.search(message, note), note
    assert ModelInfo.of(bundle.manifest, engine).notes == engine.notes
    FAKE.fake_work()
    assert FAKE.fake_live() == 0
    again = create_engine(bundle, threads=1)  # measured anew: it may have passed
    assert again.notes == ()
    again.close()


@pytest.mark.parametrize("version", ["8.6.1", "9.3.0"])
def test_a_tensorrt_that_is_too_old_is_the_next_engine(bundle, monkeypatch, version):
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    monkeypatch.setattr("tensorrt.__version__", version)
    engine = create_engine(bundle, threads=1, remeasure=True)
    (note,) = engine.notes
    assert note == f"tensorrt: TensorRT is {version}; expected 10 to 11. Update it"


@pytest.mark.parametrize(
    "function", ["cuMemAlloc_v2", "cuMemHostAlloc", "cuStreamCreate", "cuDevicePrimaryCtxRetain"]
)
@pytest.mark.parametrize("after", [0, 2])
def test_out_of_memory_half_way_gives_everything_back(model, function, after):
    FAKE.fake_fail(function.encode(), after, 2)
    if function in ("cuMemAlloc_v2", "cuMemHostAlloc") or after == 0:
        with pytest.raises(EngineError, match=r"out of memory.*Close what else uses the GPU"):
            open_model(model, "tensorrt")
    else:
        open_model(model, "tensorrt").close()


def test_what_was_measured_earlier_may_be_damaged(model):
    first = open_model(model, "tensorrt")
    first.close()
    first.key.timing_path.write_bytes(b"damaged")
    plans.forget_plan(first.key)
    again = open_model(model, "tensorrt")
    assert again.fresh and again.key.timing_path.read_bytes() == b"measured "
    again.close()


@pytest.mark.parametrize("place", ["a file", "no home"])
def test_without_a_cache_folder_plans_are_built_and_not_kept(
    bundle, monkeypatch, tmp_path, caplog, place
):
    if place == "a file":
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr("pathlib.Path.home", no_home)
    for _ in range(2):
        engine = create_engine(bundle, "tensorrt", 1)
        assert engine.fresh
        engine.close()
    assert "the TensorRT plan can't be kept and is built at every start" in caplog.text
    monkeypatch.setenv("TENSORRT_DOES", "wrong")
    with pytest.raises(EngineError, match="answer to a test picture is wrong"):
        create_engine(bundle, "tensorrt", 1)


def no_home():
    raise RuntimeError("Could not determine home directory.")


def test_without_locks_plans_are_kept_all_the_same(model, monkeypatch, caplog):
    """As on some network file systems."""

    def refuse(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(plans.fcntl, "flock", refuse)
    for fresh in (True, False):
        engine = open_model(model, "tensorrt")
        assert engine.fresh == fresh
        engine.close()
    assert "no lock ([Errno 37] No locks available)" in caplog.text


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_a_plan_that_others_may_have_written_is_not_loaded(model, caplog, mode):
    """Loading one runs what is in it; its side-car's hash proves nothing then."""
    open_model(model, "tensorrt").close()
    (path,) = kept()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(mode)
    assert_built_anew_once(model)
    assert "others than you may have written it" in caplog.text


def test_a_plan_of_another_user_is_not_loaded(model, monkeypatch, caplog):
    open_model(model, "tensorrt").close()
    (path,) = kept()
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        monkeypatch.setattr(kept_files, "_ROOT", 54321)
    else:
        os.chown(path, 12345, 12345)
    engine = open_model(model, "tensorrt")
    assert engine.fresh and "others than you may have written it" in caplog.text
    engine.close()


def test_one_that_waits_for_another_says_so(model, caplog):
    """And goes on when the other ends, however it does: the lock is the kernel's."""
    engine = open_model(model, "tensorrt")
    engine.close()
    lock = engine.key.path.with_suffix(".lock")
    holder = subprocess.Popen(
        [
            sys.executable, "-c",
            "import fcntl, sys, time\nfile = open(sys.argv[1], 'w')\n"
            "fcntl.flock(file, fcntl.LOCK_EX)\nprint('held', flush=True)\ntime.sleep(600)",
            lock,
        ],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    said: list[str] = []

    def kill_it(words: str) -> None:
        said.append(words)
        holder.kill()

    again = open_model(model, "tensorrt", gpu=GpuOptions(progress=kill_it))
    holder.communicate()
    assert not again.fresh
    assert said[0] == "another process is building this TensorRT plan, waiting for 0 s"
    assert "another process is building this TensorRT plan; it is waited for" in caplog.text
    again.close()


def test_a_gpu_that_fails_for_good_is_told_as_what_failed_first(bundle, monkeypatch, caplog):
    """After an illegal access every call fails, those that give back too."""
    create_engine(bundle, "tensorrt", 1).close()
    back = ("cuMemFree_v2", "cuMemFreeHost", "cuStreamDestroy_v2", "cuCtxSynchronize")
    for function in ("cuStreamSynchronize", *back):
        FAKE.fake_fail(function.encode(), 0, 700)
    with pytest.raises(EngineError, match="can't finish its work"):
        create_engine(bundle, "tensorrt", 1)
    if LAYER == "cuda-python":  # pycuda says it on stderr, and goes on
        assert "can't give back what was taken" in caplog.text
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    engine = create_engine(bundle, threads=1, remeasure=True)
    assert engine.name != "tensorrt"
    (note,) = engine.notes
    assert "can't finish its work" in note
    FAKE.fake_forget()


def test_a_gpu_without_memory_costs_no_plan(bundle, monkeypatch):
    """The check of a new plan fails, but not because of the plan."""
    monkeypatch.setattr(factory, "picture_inputs", out_of_memory)
    with pytest.raises(EngineError, match="out of memory"):
        create_engine(bundle, "tensorrt", 1)
    assert len(kept()) == 1


def out_of_memory(manifest):
    raise GpuError("Orin can't run the network: out of memory")


@pytest.mark.parametrize("does", ["load_without_memory", "no_memory_for_context"])
def test_a_plan_for_which_there_is_no_memory_now_is_kept(bundle, monkeypatch, caplog, does):
    create_engine(bundle, "tensorrt", 1).close()
    (path,) = kept()
    built = path.stat().st_mtime_ns
    monkeypatch.setenv("TENSORRT_DOES", does)
    with pytest.raises(
        GpuError, match=r"no memory for the plan: .*\. Close what else uses the GPU"
    ):
        create_engine(bundle, "tensorrt", 1)
    assert FAKE.fake_live() == 0
    assert_the_cpu_for_this_start(bundle, monkeypatch, "no memory for the plan")
    assert kept() == [path] and path.stat().st_mtime_ns == built
    assert "built anew" not in caplog.text


def assert_the_cpu_for_this_start(bundle, monkeypatch, reason: str) -> None:
    """The choice of `auto`, which is not to be remembered: the memory is free again next time."""
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    with contextlib.closing(create_engine(bundle, threads=1)) as engine:
        (note,) = engine.notes
        assert engine.name != "tensorrt" and reason in note
    monkeypatch.delenv("TENSORRT_DOES")
    with contextlib.closing(create_engine(bundle, threads=1)) as engine:
        assert engine.notes == ()  # TensorRT was asked, and works


@pytest.mark.parametrize("does", ["build_without_memory", f"want_{1 << 20}"])
def test_a_builder_without_memory_of_the_gpu_is_tried_again(bundle, monkeypatch, does):
    monkeypatch.setenv("TENSORRT_DOES", does)
    with pytest.raises(
        GpuError, match=r"could be built: .*\. The GPU has no memory for that: close"
    ):
        create_engine(bundle, "tensorrt", 1)
    assert_the_cpu_for_this_start(bundle, monkeypatch, "The GPU has no memory for that")


def test_a_layer_that_wants_more_than_it_may_take_says_which_setting(bundle, monkeypatch):
    """It would again: another engine is chosen for good."""
    monkeypatch.setenv("TENSORRT_DOES", f"want_{1 << 40}")
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    for _ in range(2):
        with contextlib.closing(create_engine(bundle, threads=1)) as engine:
            (note,) = engine.notes
            assert engine.name != "tensorrt" and note.endswith(". Raise workspace_mb")
        monkeypatch.delenv("TENSORRT_DOES", raising=False)


def test_another_gpu_than_the_first_has_a_plan_of_its_own(model, monkeypatch, caplog):
    """TensorRT builds for the GPU whose context is current."""
    monkeypatch.setenv("FAKE_GPUS", "2")
    for fresh in (True, False):
        with contextlib.closing(open_model(model, "tensorrt", gpu=GpuOptions(1))) as engine:
            assert engine.fresh == fresh and engine.gpu.facts.capability == "8.8"
    (path,) = kept()
    assert json.loads(path.read_bytes().partition(b"\n")[0])["gpu"] == 1
    with contextlib.closing(open_model(model, "tensorrt", gpu=GpuOptions(0))) as engine:
        assert engine.fresh
    assert len(kept()) == 2 and "refuses the plan" not in caplog.text


def test_a_gpu_that_the_builder_can_not_open_is_told(model):
    with pytest.raises(
        GpuError, match=r"could be built: GPU 1 can't open: .* setting gpu \(number"
    ):
        build_plan(model, Order(False, device=1))


@pytest.mark.parametrize("name", ["smap_lite", "smap_lite_free"])
def test_second_looks_run_on_it(name, monkeypatch):
    """Their plans are asked about somebody: of the presence of nobody rounding alone is much."""
    monkeypatch.setenv("TENSORRT_DOES", "round")
    bundle = load_bundle(name)
    first = SimpleNamespace(name="tensorrt", notes=())
    for fresh in (True, False):
        lanes = Lanes.open(bundle, bundle.manifest.second_look, first, 1, "f32", None)
        with contextlib.closing(lanes):
            (engine,) = lanes._engines
            assert (engine.name, first.notes) == ("tensorrt", ())
            assert engine.fresh == fresh
    assert plans.noted(engine.key, "error") < 1e-4


def test_a_plan_for_something_else_is_not_taken(model, caplog):
    """Files of another machine or setting, under the name of ours."""
    other = open_model(model, "tensorrt", gpu=GpuOptions(workspace_mb=64))
    mine = open_model(model, "tensorrt")
    for engine in (other, mine):
        engine.close()
    for suffix in (".plan", ".json"):
        os.replace(other.key.path.with_suffix(suffix), mine.key.path.with_suffix(suffix))
    engine = open_model(model, "tensorrt")
    assert engine.fresh and "it was built for something else" in caplog.text
    engine.close()


def test_without_room_for_its_files_a_build_is_an_error(model, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    with pytest.raises(EngineError, match=r"No such file.*in /proc/nowhere; set TMPDIR"):
        open_model(model, "tensorrt")


def test_the_limits_of_a_build(model, monkeypatch):
    monkeypatch.setenv("TENSORRT_DOES", "hang")
    with pytest.raises(EngineError, match="it took over 1 s"):
        build_plan(model, Order(False), limits=Limits(seconds=1))
    monkeypatch.setenv("TENSORRT_DOES", "take_memory")
    with pytest.raises(EngineError, match=r"it took \d\.\d GiB of memory, the limit is 0.6 GiB"):
        build_plan(model, Order(False), limits=Limits(memory=600_000_000))


def test_how_far_a_build_is_is_told_also_while_nothing_happens(model, monkeypatch, caplog):
    monkeypatch.setenv("TENSORRT_DOES", "hang")
    said: list[str] = []
    with pytest.raises(EngineError, match="it took over 4 s"):
        open_model_in(4, model, GpuOptions(progress=said.append), monkeypatch)
    assert len(said) >= 2
    assert re.fullmatch(r"building a TensorRT plan, \d s: Building Engine, 1 of 2 steps", said[-1])


def open_model_in(seconds, model, options, monkeypatch):
    monkeypatch.setattr(building.Limits, "__init__", lambda self: None)
    monkeypatch.setattr(building.Limits, "seconds", seconds, raising=False)
    monkeypatch.setattr(building.Limits, "memory", 0, raising=False)
    return open_model(model, "tensorrt", gpu=options)


def test_what_is_no_network_is_refused():
    with pytest.raises(EngineError, match="TensorRT can't read the network"):
        open_model(b"no network", "tensorrt")


def test_an_answer_that_is_wrong_is_refused(bundle, monkeypatch):
    monkeypatch.setenv("TENSORRT_DOES", "wrong")
    with pytest.raises(EngineError, match=r"answer to a test picture is wrong: .* differs from"):
        create_engine(bundle, "tensorrt", 1)
    assert kept() == []
    monkeypatch.delenv("TENSORRT_DOES")
    engine = create_engine(bundle, "tensorrt", 1)
    assert engine.believed()
    assert plans.noted(engine.key, "error") == 0
    engine.close()


def test_half_precision_needs_its_graph(bundle):
    with pytest.raises(EngineError, match="has no graph of half precision; export it again"):
        create_engine(bundle, "tensorrt", 1, "f16")
    engine = create_engine(bundle, "tensorrt", 1, "auto")  # takes what there is
    engine.close()


def test_two_that_start_together_build_once(model):
    engines = []
    threads = [
        threading.Thread(target=lambda: engines.append(open_model(model, "tensorrt")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(engine.fresh for engine in engines) == [False, False, True]
    for engine in engines:
        engine.close()


def test_many_people_go_at_once():
    model = create_refine()
    engine, other = open_model(model, "tensorrt", rows=8), open_model(model, "onnxruntime", 1)
    assert engine.inputs == other.inputs
    (spec,) = engine.inputs
    for rows in (1, 8, 3):
        given = {spec.name: np.random.default_rng(rows).random((rows, 75), np.float32)}
        for name, array in other.run(given).items():
            np.testing.assert_array_equal(engine.run(given)[name], array)
    with pytest.raises(EngineError, match=r"is \[9, 75\]; the plan was built for 8 at once"):
        engine.run({spec.name: np.zeros((9, 75), np.float32)})
    engine.close()


def test_outputs_of_unknown_size_are_refused(monkeypatch):
    monkeypatch.setenv("TENSORRT_DOES", "unknown_sizes")
    with pytest.raises(EngineError, match="'y' is depends on what it sees"):
        open_model(create_refine(), "tensorrt", rows=8)


def create_refine() -> bytes:
    """A network for any number of rows of 75 numbers."""
    import onnx
    from onnx import TensorProto, helper

    weights = np.random.default_rng(0).random((75, 45), np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "rows",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 75])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 45])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def test_twenty_lives_of_an_estimator_in_two_threads(scene, make_bundle):
    bundle = make_bundle(scene)
    for _ in range(20):
        made = []
        thread = threading.Thread(
            target=lambda: made.append(create_estimator(bundle, "tensorrt"))  # noqa: B023
        )
        thread.start()
        thread.join()
        frame = made[0].estimate(scene.image(250), scene.camera)
        assert len(frame.bodies) == len(scene.joints)
        made[0].close()
        assert FAKE.fake_live() == 0


def test_the_choice_is_made_again_on_another_gpu(bundle, monkeypatch):
    monkeypatch.setattr(factory, "MEASURE_SECONDS", 0.01)
    versions, opening = factory.available_engines(), factory.Opening(1, "f32", GpuOptions(), 1)
    assert "tensorrt" in versions
    here = factory._choice_key(bundle, versions, opening)
    FAKE.fake_fail(b"cuInit", 0, 100)
    assert factory._choice_key(bundle, versions, opening) != here


def test_version_is_that_of_the_module():
    assert os.environ.get("TENSORRT_VERSION", "10.3.0") == factory.available_engines()["tensorrt"]
    assert zeros(()) == {}


MOUNTED = {"camera_height": 1.2, "camera_pitch_deg": 10.0}


def virtualpose_case():
    frames = open_source("config/demo/clip.mp4")
    images = [frame.image for frame, _ in zip(frames, range(8), strict=False)][::4]
    return load_bundle("virtualpose_lite"), images, Camera.for_image(images[0], fov_deg=60)


def test_all_networks_of_a_virtualpose_run_on_it():
    """To the last bit what the CPU's says; what comes down is people, not maps."""
    bundle, images, camera = virtualpose_case()
    gpu = create_estimator(bundle, "tensorrt", **MOUNTED)
    plain = create_estimator(bundle, "onnxruntime", 1, **MOUNTED)
    assert len(kept()) == 3 and gpu.about.notes == ()
    people = 0
    for image in (*images, np.zeros_like(images[0]), images[0]):
        before = FAKE.fake_calls(b"bytes down")
        got = gpu.estimate(image, camera)
        assert FAKE.fake_calls(b"bytes down") - before < 10_000
        expected = plain.estimate(image, camera)
        assert len(got.bodies) == len(expected.bodies) and got.dropped == expected.dropped
        for mine, theirs in zip(got.bodies, expected.bodies, strict=True):
            for name in ("joints_3d", "joints_2d", "scores"):
                np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        people += len(got.bodies)
    assert people > 0
    gpu.close()


def test_bad_maps_of_a_virtualpose_are_counted_on_it(monkeypatch):
    bundle, images, camera = virtualpose_case()
    gpu = create_estimator(bundle, "tensorrt", **MOUNTED)
    monkeypatch.setenv("TENSORRT_DOES", "nan")
    frame = gpu.estimate(images[0], camera)
    assert (frame.bodies, frame.dropped) == ((), {NON_FINITE: 3})
    gpu.close()


def test_maps_that_can_not_stay_on_it_pass_through_the_host():
    bundle, images, camera = virtualpose_case()
    for function in ("cuModuleLoadDataEx", "cuModuleLoadData"):
        FAKE.fake_fail(function.encode(), 0, 2)
    gpu = create_estimator(bundle, "tensorrt", **MOUNTED)
    (note,) = gpu.about.notes
    assert note.startswith("maps on the GPU: ") and "out of memory" in note
    assert len(gpu.estimate(images[0], camera).bodies) > 0
    gpu.close()


def test_all_plans_answers_are_those_of_the_cpu():
    create_estimator(load_bundle("virtualpose_lite"), "tensorrt", **MOUNTED).close()
    noted = [json.loads(path.with_suffix(".json").read_text()) for path in kept()]
    assert [facts["error"] for facts in noted] == [0, 0, 0]


def topdown(folder):
    """A bundle whose network takes any number of crops, behind the scene's."""
    (folder / "spot.onnx").write_bytes(spot_model(18))
    return write_bundle(folder / "spot", topdown_manifest(), folder / "spot.onnx")


@pytest.mark.parametrize(("kind", "count"), [("virtualpose", 3), ("topdown", 2)])
def test_engine_build_builds_the_plans_that_are_used_later(
    scene, make_bundle, tmp_path, caplog, kind, count
):
    make_bundle(scene)
    name = "virtualpose_lite" if kind == "virtualpose" else str(topdown(tmp_path).folder)
    stated = MOUNTED if kind == "virtualpose" else {}
    build(name, ModelChoice.of({"bundle": name, "engine": "tensorrt", **stated}), force=True)
    assert len(kept()) == count
    caplog.clear()
    create_estimator(load_bundle(name), "tensorrt", **stated).close()
    assert "building a TensorRT plan" not in caplog.text and len(kept()) == count


def test_networks_that_answer_wrong_run_on_the_cpu(monkeypatch):
    bundle, images, camera = virtualpose_case()
    create_engine(bundle, "tensorrt", 1).close()  # the backbone's plan is there, and believed
    monkeypatch.setenv("TENSORRT_DOES", "wrong")
    gpu = create_estimator(bundle, "tensorrt", **MOUNTED)
    root, pose = gpu.about.notes
    assert root.startswith("tensorrt for root: tensorrt's answer to a test picture is wrong")
    assert pose.startswith("tensorrt for pose: tensorrt's answer to a test picture is wrong")
    assert len(kept()) == 1
    monkeypatch.delenv("TENSORRT_DOES")
    assert len(gpu.estimate(images[0], camera).bodies) > 0
    gpu.close()


def test_networks_that_it_refuses_run_on_the_cpu(monkeypatch):
    bundle = load_bundle("virtualpose_lite")
    create_engine(bundle, "tensorrt", 1).close()  # the backbone's plan is there
    monkeypatch.setenv("TENSORRT_DOES", "refuse")
    gpu = create_estimator(bundle, "tensorrt", **MOUNTED)
    gpu.close()
    assert [note.partition(":")[0] for note in gpu.about.notes] == [
        "tensorrt for root",
        "tensorrt for pose",
    ]
