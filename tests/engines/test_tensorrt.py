"""TensorRT without an NVIDIA GPU: how it is missed, and what a plan is kept for."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from smap_ros.engines import create_engine
from smap_ros.engines.cuda import GpuFacts, _advice, out_of_memory
from smap_ros.engines.cuda_layers import Failed
from smap_ros.engines.names import GPU_NUMBER
from smap_ros.engines.tensorrt.building import Order, build_plan
from smap_ros.engines.tensorrt.plans import PlanKey, clean_plans, plan_folder
from smap_ros.errors import EngineError
from smap_ros.estimators.options import ModelOptions

GPU = GpuFacts("Orin", "8.7", 16, 8 << 30, "12.6", True, "pycuda")


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
@pytest.mark.parametrize("precision", ["f32", "tf32"])
def test_missing_tensorrt_says_how_to_get_it(scene, make_bundle, precision):
    with pytest.raises(EngineError, match=r"(?s)TensorRT.*missing.*pip install tensorrt"):
        create_engine(make_bundle(scene), "tensorrt", precision=precision)


def test_half_precision_is_refused_before_anything_is_loaded(scene, make_bundle):
    with pytest.raises(EngineError, match=r"no graph of half precision.*set precision to tf32"):
        create_engine(make_bundle(scene), "tensorrt", precision="f16")


def test_a_plan_is_for_one_network_tensorrt_and_gpu():
    keys = [
        PlanKey.of(b"model", "10.3.0", GPU, "flags"),
        PlanKey.of(b"other", "10.3.0", GPU, "flags"),
        PlanKey.of(b"model", "10.4.0", GPU, "flags"),
        PlanKey.of(b"model", "10.3.0", GPU, "others"),
        *(
            PlanKey.of(b"model", "10.3.0", replace(GPU, **change), "flags")
            for change in (
                {"name": "orin"},
                {"capability": "8.9"},
                {"processors": 8},
                {"memory": 4 << 30},
                {"driver": "13.0"},
            )
        ),
    ]
    assert len({key.path for key in keys}) == len(keys)
    same = PlanKey.of(b"model", "10.3.0", replace(GPU, driver="12.8", layer="cuda-python"), "flags")
    assert same.path == keys[0].path
    assert keys[1].timing_path == keys[0].timing_path != keys[2].timing_path


def test_a_builder_whose_libraries_print_no_text_is_understood(tmp_path, monkeypatch):
    """What came after such a line was lost, and with it the limits of the build."""
    (tmp_path / "noisy.py").write_text(
        "import os\nos.write(1, b'\\xff\\xfe\\n')\nraise RuntimeError('because')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match="no TensorRT plan could be built: because"):
        build_plan(b"model", Order(False, module="noisy"))


def test_plans_that_can_not_be_deleted_are_an_error(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (plan_folder() / "folder").mkdir(parents=True)
    plan = plan_folder() / "a.plan"
    plan.write_bytes(b"plan")

    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(EngineError, match=r"can't delete .*: Operation not permitted"):
            clean_plans()
    assert clean_plans() == (1, 4)
    assert clean_plans() == (0, 0) and (plan_folder() / "folder").is_dir()


def test_how_gpus_are_counted_is_said_wherever_one_is_chosen():
    """CUDA counts otherwise than nvidia-smi, unless it is told to count alike."""
    told = [ModelOptions.model_fields["gpu"].description or "", _advice(Failed("invalid device"))]
    for words in told:
        assert GPU_NUMBER in words
    assert "setting gpu (" in told[1]
    page = (Path(__file__).parents[2] / "docs" / "nvidia.md").read_text()
    for words in (GPU_NUMBER, page):
        assert "as CUDA counts, the fastest first" in words
        assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in words


@pytest.mark.parametrize(
    ("words", "lacking"),
    [
        ("[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)", True),
        ("Error Code 2: OutOfMemory (Requested size was 629145600 bytes.)", True),
        ("Error Code 2: OutOfMemory (no further information)", True),
        ("CUDA_ERROR_OUT_OF_MEMORY", True),
        ("cuMemAlloc failed: out of memory", True),
        ("CUDA initialization failure with error: 2. Please check your CUDA installation", True),
        ("CUDA initialization failure with error: 222. Please check it", False),
        ("Could not find any implementation for node Conv_7", False),
        ("Serialization assertion failed: magicTag; Memory pool of 2 MB", False),
    ],
)
def test_how_it_is_said_that_a_gpu_has_no_memory_left(words, lacking):
    assert out_of_memory(words) == lacking
