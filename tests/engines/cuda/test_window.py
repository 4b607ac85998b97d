"""The rehearsal of what a GPU at hand is asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.gpu.window import STEPS, Bar

HERE = Path(__file__).parent
SCRIPT = HERE.parents[2] / "bench" / "gpu" / "window.py"


def run(tmp_path, *options, **environment) -> tuple[subprocess.CompletedProcess[str], Path]:
    out = tmp_path / "answers.json"
    command = [sys.executable, SCRIPT, "--dry-run", "--out", out, *options]
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done, out


@pytest.fixture
def standing_in(driver, tmp_path) -> dict[str, str]:
    return {
        "LD_LIBRARY_PATH": str(driver),
        "PYTHONPATH": os.pathsep.join([str(HERE / "stand_in"), *filter(None, sys.path)]),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
    }


def test_the_dry_run(standing_in, tmp_path):
    """All steps, in processes of their own: half a minute."""
    done, out = run(tmp_path, **standing_in)
    assert done.returncode == 0, done.stderr
    answers = json.loads(out.read_text())
    assert answers["dry_run"] is True and answers["gpu"]["name"] == "Host standing in"
    assert answers["versions"]["numpy"] and answers["command"].endswith(str(out))
    steps = answers["steps"]
    assert list(steps) == [step.name for step in STEPS]
    assert {s["status"] for s in steps.values()} <= {"done", "skipped"}
    kernels = steps["kernels"]["answers"]
    assert kernels["unequal"] == 0 and kernels["ptx"]["equal"] == 5 + 2
    assert kernels["ptx"]["people"] > 20 and kernels["us"]["10"]["graph"] > 0
    networks = steps["networks"]["answers"]
    assert networks["smap_lite against ONNX Runtime"] < 1e-4
    assert networks["virtualpose_lite against ONNX Runtime"] < 1e-4
    assert networks["smap fp32"]["images_per_s"] > 0
    frame = steps["frame"]["answers"]
    assert frame["people"] > 0 and frame["notes"] == [] and 0 < frame["bytes_down"] <= 65536
    for role in ("model", "second"):
        assert steps["tensorrt_graphs"]["answers"][f"smap_lite {role} f32"]["error"] == 0
    bars = {bar["what"]: bar for bar in answers["bars"]}
    assert bars["bytes down for a frame"]["met"] is True
    assert bars["official SMAP 832x512, fp16, images/s"]["met"] is None  # nothing was measured


def test_a_step_that_fails_is_told_and_the_next_follows(standing_in, tmp_path):
    environment = {**standing_in, "TENSORRT_DOES": "crash"}
    done, out = run(tmp_path, "--only", "frame", "machine", **environment)
    assert done.returncode == 1
    steps = json.loads(out.read_text())["steps"]
    assert (steps["machine"]["status"], steps["frame"]["status"]) == ("done", "failed")
    assert "TensorRT's builder died (SIGSEGV)" in steps["frame"]["reason"]


def test_no_gpu_is_one_line(tmp_path):
    done, out = run(tmp_path)
    if done.returncode == 0:
        pytest.skip("there is a GPU")
    assert done.returncode == 2 and "Traceback" not in done.stderr and not out.exists()
    assert done.stderr.startswith("GPU 0 can't open: ")


def test_all_of_it_fits_the_window():
    assert sum(step.seconds for step in STEPS) <= 900


@pytest.mark.parametrize(
    ("bar", "value", "met"),
    [
        (Bar("less", ("a", "b"), 100, floor=20), 80, True),
        (Bar("less", ("a", "b"), 100), 120, False),
        (Bar("more", ("a", "b"), 300, above=True, floor=2000), 500, True),
        (Bar("more", ("a", "b"), 300, above=True), 200, False),
        (Bar("as much", ("a", "b"), 300), 300, True),
        (Bar("not asked", ("a", "c"), 1), 1, None),
    ],
)
def test_bars(bar, value, met):
    judged = bar.judge({"a": {"answers": {"b": value}}})
    assert judged["met"] is met
    if met is not None and bar.floor:
        assert judged["share_of_floor"] == pytest.approx(0.25)
