"""Whole frames on the GPU, held against the CPU's estimator on a driver that stands in."""

from __future__ import annotations

import pytest

from smap_ros.engines import cuda_layers


@pytest.mark.parametrize("layer", list(cuda_layers.LAYERS))
def test_the_frame(run_cases, layer):
    run_cases("cases_frame.py", layer)


def test_a_gpu_that_shares_the_memory(run_cases):
    run_cases("cases_frame.py", "cuda-python", FAKE_INTEGRATED="1")
