"""TensorRT without an NVIDIA GPU: how it is missed, and what a plan is kept for."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest

from smap_ros.engines import create_engine
from smap_ros.engines.cuda import GpuFacts
from smap_ros.engines.tensorrt.plans import PlanKey
from smap_ros.errors import EngineError

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
