"""TensorRT without an NVIDIA GPU: what can be checked is how it is missed, and the plan cache."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import pytest

from smap_ros.engines import create_engine
from smap_ros.engines.tensorrt import Toolkit, load_plan, plan_path, save_plan
from smap_ros.errors import EngineError

KIT = Toolkit(SimpleNamespace(__version__="10.3.0"), None, "Some GPU")
MODEL, PLAN = b"model", b"plan"


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is here")
def test_missing_tensorrt_says_how_to_get_it(scene, make_bundle):
    with pytest.raises(EngineError, match=r"(?s)TensorRT.*missing.*pip install tensorrt"):
        create_engine(make_bundle(scene), "tensorrt")


def test_plan_that_was_built_here_is_used():
    assert load_plan(MODEL, KIT, "auto") is None
    path = save_plan(PLAN, MODEL, KIT, "auto")
    assert load_plan(MODEL, KIT, "auto") == PLAN
    assert json.loads(path.with_suffix(".json").read_text())["gpu"] == "Some GPU"


def test_plan_is_for_one_network_version_gpu_and_precision():
    paths = {
        plan_path(*key)
        for key in [
            (b"model", "10.3.0", "GPU", "f32"),
            (b"other", "10.3.0", "GPU", "f32"),
            (b"model", "10.4.0", "GPU", "f32"),
            (b"model", "10.3.0", "gpu", "f32"),
            (b"model", "10.3.0", "GPU", "auto"),
        ]
    }
    assert len(paths) == 5


@pytest.mark.parametrize("damage", ["plan", "sidecar", "no sidecar", "foreign sidecar"])
def test_plan_that_was_not_built_here_is_ignored(damage, caplog):
    path = save_plan(PLAN, MODEL, KIT, "f32")
    sidecar = path.with_suffix(".json")
    if damage == "plan":
        path.write_bytes(b"another plan")
    elif damage == "sidecar":
        sidecar.write_text("{")
    elif damage == "no sidecar":
        sidecar.unlink()
    else:
        sidecar.write_text("[]")
    assert load_plan(MODEL, KIT, "f32") is None
    assert "ignoring the plan" in caplog.text
