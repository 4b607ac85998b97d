"""The TensorRT engine on a driver and a TensorRT that stand in for NVIDIA's."""

from __future__ import annotations

import pytest

from smap_ros.engines import cuda_layers


@pytest.mark.parametrize("layer", list(cuda_layers.LAYERS))
def test_the_engine(run_cases, layer):
    run_cases("cases_tensorrt.py", layer, TENSORRT_VERSION="10.3.0")
