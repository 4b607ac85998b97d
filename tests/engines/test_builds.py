"""NVIDIA's own parser and builder (TensorRT-RTX, which needs no GPU) on the networks that ship."""

from __future__ import annotations

import importlib.util
import logging

import pytest

from smap_ros.bundles.bundle import list_bundles, load_bundle
from smap_ros.engines.tensorrt.building import Order, build_plan
from smap_ros.errors import EngineError

RTX = "tensorrt_rtx_bindings"
NETWORKS = [
    (name, role)
    for name in list_bundles()
    for role, entry in load_bundle(name).manifest.files.entries.items()
    if entry.path.endswith(".onnx")
]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec(RTX) is None,
    reason="TensorRT-RTX isn't installed: pip install 'smap-ros[gpu-check]' (95 MB)",
)


def order(**changes) -> Order:
    return Order(**{"tf32": False, "rows": 8, "module": RTX, "capability": "SM89", **changes})


@pytest.mark.parametrize(("name", "role"), NETWORKS)
def test_every_shipped_network_builds(name, role, tmp_path):
    model, timing = load_bundle(name).read(role), tmp_path / "timing"
    said: list[str] = []
    plan = build_plan(model, order(), timing, progress=said.append)
    assert len(plan) > len(model) // 4
    assert timing.stat().st_size > 0


def test_it_refuses_what_is_no_network(caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(EngineError, match="TensorRT can't read the network"):
        build_plan(b"no network", order())
