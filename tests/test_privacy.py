"""Nothing leaves the machine: no identifier in the home folder, nobody else's host looked up."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

# What remains is ours or the user's to see: engines built here, matplotlib's list of fonts.
OWN = (".cache/smap_ros/", ".cache/matplotlib/")


def run_at_home(home: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a command with an empty home, under strace where that is installed."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "ORT_DISABLE_TELEMETRY")
        and key != "_ROS_WHEELS_BOOTSTRAP_COMPLETE"
    }
    environment["HOME"] = str(home)
    trace = []
    if shutil.which("strace"):
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        trace = ["strace", "-f", "--seccomp-bpf", "-s", "200", "-e", calls, "-o", f"{home}.trace"]
    return subprocess.run(
        [*trace, sys.executable, *map(str, words)],
        env=environment, cwd=home.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def strangers(home: Path) -> list[str]:
    """Files in the home that aren't ours."""
    files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    return [name for name in files if not name.startswith(OWN)]


def conversations(home: Path) -> list[str]:
    """System calls of the trace that reach for another machine, or ask for its address."""
    trace = Path(f"{home}.trace")
    if not trace.exists():
        return []
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        address = re.search(r'inet_addr\("([\d.]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line)
        if address is None:
            continue
        host = address[1] or address[2]
        local = host.startswith(("127.", "0.0.0.0", "239.")) or host in ("::1", "::")
        if not local or "htons(53)" in line:
            found.append(line)
    return found


@pytest.fixture
def home(tmp_path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def test_doctor_leaves_nothing_and_calls_nobody(home):
    done = run_at_home(home, "-m", "smap_ros", "doctor")
    assert done.returncode == 0, done.stderr
    assert [path for path in home.rglob("*") if path.is_file()] == []
    assert conversations(home) == []


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_estimate_leaves_nothing_and_calls_nobody(home, tmp_path, make_bundle, scene, engine):
    folder = make_bundle(scene).folder
    cv2.imwrite(str(tmp_path / "a.png"), scene.image(250))
    words = ("--bundle", folder, "--engine", engine, "--fov", 80, "--out", tmp_path / "out")
    done = run_at_home(home, "-m", "smap_ros", "estimate", tmp_path / "a.png", *words)
    assert done.returncode == 0, done.stderr
    assert strangers(home) == []
    assert conversations(home) == []


def test_a_node_leaves_nothing_and_calls_nobody(home, tmp_path, make_bundle, scene):
    pytest.importorskip("rclpy", reason="a node needs ROS")
    cv2.imwrite(str(tmp_path / "a.png"), scene.image(250))
    code = """
import sys
from smap_ros.graph.launcher import Launcher
from smap_ros.graph.plan import REPLAY, plan
values = dict(word.split(":=") for word in sys.argv[1:])
with Launcher(plan(REPLAY, values)) as graph:
    sys.exit(graph.wait(60))
"""
    values = {
        "source": tmp_path / "a.png",
        "fov_deg": 80.0,
        "pacing": "as_consumed",
        "engine": "openvino",
        "bundle": make_bundle(scene).folder,
    }
    done = run_at_home(home, "-c", code, *(f"{key}:={value}" for key, value in values.items()))
    assert done.returncode == 0, done.stderr
    assert strangers(home) == []
    assert conversations(home) == []


def test_training_imports_leave_nothing_and_call_nobody(home):
    pytest.importorskip("lightning", reason="training needs torch and lightning")
    done = run_at_home(
        home, "-c", "import smap_train.engine.trainer, smap_train.export.networks, anny"
    )
    assert done.returncode == 0, done.stderr
    assert strangers(home) == []
    assert conversations(home) == []
