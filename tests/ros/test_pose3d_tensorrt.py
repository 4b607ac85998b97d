"""The pose node on TensorRT, over a driver and a TensorRT that stand in for NVIDIA's."""

from __future__ import annotations

import os
import re
import sys

from diagnostic_msgs.msg import DiagnosticStatus

from smap_ros.msg import BodyArray
from tests.engines.cuda.conftest import HERE, driver  # noqa: F401 - a fixture
from tests.ros.pose3d_client import NODE, answer


def test_a_node_that_builds_a_plan_says_how_far_it_is_and_then_runs_on_it(
    start,
    observer,
    eye,
    scene_bundle,
    driver,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    paths = {"LD_LIBRARY_PATH": [str(driver)], "PYTHONPATH": [str(HERE / "stand_in"), *sys.path]}
    for name, folders in paths.items():
        folders = [*folders, os.environ.get(name, "")]
        monkeypatch.setenv(name, os.pathsep.join(filter(None, folders)))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TENSORRT_DOES", "slowly")
    node = start(NODE, bundle=scene_bundle, engine="tensorrt", fov_deg=80.0, association="cuda")
    bodies = observer.collect(BodyArray, "bodies_raw")
    said = observer.wait(
        lambda: next((s for s in list(observer.diagnostics) if "1 of 2 steps" in s.message), None),
        "how far the plan is",
    )
    assert said.level == DiagnosticStatus.WARN
    words = r"not configured yet: building a TensorRT plan, \d+ s: Building Engine, 1 of 2 steps"
    assert re.fullmatch(words, said.message)
    eye.ready()
    assert len(answer(observer, bodies, eye.show()).bodies) == 3
    status = observer.wait(
        lambda: (s := observer.status(NODE)) and "not configured" not in s.message and s, "work"
    )
    assert "on tensorrt (Host standing in, f32)" in {v.key: v.value for v in status.values}["model"]
    assert "Traceback" not in node.log
