"""The driver layer under both Python packages, on a driver that stands in for NVIDIA's."""

from __future__ import annotations

import pytest

from smap_ros.engines import cuda_layers
from smap_ros.errors import EngineError


@pytest.mark.parametrize("layer", list(cuda_layers.LAYERS))
def test_the_layer(run_cases, layer):
    run_cases("cases_driver.py", layer)


def test_pycuda_comes_first_then_cuda_python(monkeypatch):
    class There:
        name = "cuda-python"

    def missing():
        raise ImportError("No module named 'pycuda'")

    monkeypatch.setattr(cuda_layers, "LAYERS", {"pycuda": missing, "cuda-python": There})
    assert isinstance(cuda_layers.installed_layer(), There)
    monkeypatch.setattr(cuda_layers, "LAYERS", {"pycuda": missing})
    with pytest.raises(EngineError, match=r"pycuda: No module.*pip install cuda-python"):
        cuda_layers.installed_layer()
