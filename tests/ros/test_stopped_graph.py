"""A graph that is stopped, or whose disk is full, leaves no process behind and a bag to read."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from smap_ros.offline.results import read_bodies
from smap_ros.sources import open_source
from smap_ros.viz.video import VideoWriter

pytest.importorskip("rclpy", reason="the graph needs ROS")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def film(tmp_path_factory, scene) -> Path:
    """More images than any of these tests waits for."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    writer = VideoWriter(path, rate=10)
    for k in range(400):
        image = scene.image(250)
        image[:16, : 2 * k] = 0  # images that differ: none is taken for a repetition
        writer.add(image, k / 10)
    writer.close()
    return path


@pytest.fixture
def start(tmp_path, child_environment):
    """Start ``smap-ros WORDS...``; what is left of it is ended after the test."""
    running = []

    def start(*words: object, **options: object) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "smap_ros", *map(str, words)],
            cwd=tmp_path,
            env={**child_environment, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.terminate()
            process.wait(30)


def wait_for(condition, process, seconds=90.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.1)


def size(bag: Path) -> int:
    return sum(path.stat().st_size for path in bag.glob("*.mcap"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_live_graph_ends_with_all_its_nodes(start, ros_domain, film, make_bundle, scene, number):
    words = ("fov_deg:=80.0", "engine:=onnxruntime", f"bundle:={make_bundle(scene).folder}")
    process = start("up", f"source:={film}", *words)
    children = lambda: psutil.Process(process.pid).children(recursive=True)  # noqa: E731
    wait_for(lambda: len(children()) >= 4, process)
    nodes = children()
    time.sleep(3.0)
    process.send_signal(number)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    assert "Traceback" not in complaint
    assert psutil.wait_procs(nodes, timeout=60)[1] == []


def test_a_stopped_demo_shows_what_was_recorded(
    start, ros_domain, film, make_bundle, scene, tmp_path
):
    out = tmp_path / "out"
    words = ("--clip", film, "--fov", 80, "--bundle", make_bundle(scene).folder)
    process = start("demo", *words, "--engine", "onnxruntime", "--out", out)
    wait_for(lambda: size(out / "bag") > 300_000, process)
    nodes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, complaint = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM, complaint
    assert complaint.splitlines()[-1] == (
        f"smap-ros: stopped by SIGTERM; what was recorded until then is in {out}"
    )
    assert psutil.wait_procs(nodes, timeout=60)[1] == []
    frames = read_bodies(out / "bodies.json")
    assert 0 < len(frames) < 400
    assert sum(1 for _ in open_source(str(out / "annotated.mp4"))) == len(frames)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_demo_that_is_stopped_while_its_nodes_begin_leaves_none(
    start, ros_domain, film, make_bundle, scene, tmp_path, number
):
    words = ("--clip", film, "--fov", 80, "--bundle", make_bundle(scene).folder)
    process = start("demo", *words, "--engine", "onnxruntime", "--out", tmp_path / "out")

    def nodes():
        try:
            return psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    end = time.monotonic() + 90
    while not nodes():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
    process.send_signal(number)
    seen = set(nodes())
    while process.poll() is None and time.monotonic() < end:
        seen |= set(nodes())
        time.sleep(0.02)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 128 + number, complaint
    assert seen and psutil.wait_procs(seen, timeout=30)[1] == []


def test_a_full_disk_ends_the_recorder_with_a_bag_to_read(
    start, ros_domain, film, make_bundle, scene, tmp_path
):
    out = tmp_path / "out"
    words = ("--clip", film, "--fov", 80, "--bundle", make_bundle(scene).folder)
    process = start("demo", *words, "--engine", "onnxruntime", "--out", out)
    wait_for(lambda: size(out / "bag") > 0, process)
    nodes = psutil.Process(process.pid).children(recursive=True)
    (recorder,) = [node for node in nodes if "smap_ros.nodes.recorder" in node.cmdline()]
    # Of the recorder alone: the middleware's shared memory is files, too.
    recorder.rlimit(psutil.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    _, complaint = process.communicate(timeout=150)
    assert process.returncode == 2, complaint
    assert "Traceback" not in complaint
    log = (out / "logs" / "recorder_node.log").read_text()
    assert "can't write the bag: File too large" in log and "Traceback" not in log
    done = subprocess.run(
        [sys.executable, "-m", "smap_ros", "bag", "out/bag", "--recorded", "--report", "report"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.json").is_file()


@pytest.mark.parametrize(
    "way", [["scripts/pose3d_node"], ["-m", "smap_ros.nodes", "smap_ros.nodes.pose3d"]]
)
@pytest.mark.parametrize("library", ["numpy", "rclpy", "rmw_fastrtps"])
def test_an_interrupt_during_the_imports_leaves_no_traceback(way, library, ros_domain):
    """As `ros2 launch`, `ros2 run` and our launcher start nodes.

    The last library is loaded while ROS is initialised, which takes interrupts only from then on.
    """
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = subprocess.Popen([sys.executable, *way], cwd=ROOT, **pipes)
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: library in maps.read_text(), process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode in (0, -signal.SIGINT), said
    assert "Traceback" not in said


def test_an_interrupt_from_before_ros_takes_them_is_not_lost(ros_domain):
    program = (
        "import os, signal, sys, rclpy\n"
        "from smap_ros.nodes import runtime, smoother\n"
        "begin = rclpy.init\n"
        "def init(**words):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    begin(**words)\n"
        "rclpy.init = init\n"
        "sys.exit(runtime.run([smoother.SmootherNode], []))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_while_a_node_ends_by_itself_changes_nothing(ros_domain, number):
    """As the launcher's comes, when a camera node is at the end of its film."""
    program = (
        "import atexit, os, sys\n"
        "from rclpy.node import Node\n"
        "from smap_ros.nodes import runtime\n"
        f"atexit.register(os.kill, os.getpid(), {int(number)})\n"
        "class Done(Node):\n"
        "    exit_status = 0\n"
        "    def __init__(self):\n"
        "        super().__init__('done')\n"
        "        self.create_timer(0.05, self.context.shutdown)\n"
        "status = runtime.run([Done], [])\n"
        f"os.kill(os.getpid(), {int(number)})\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, (done.returncode, done.stderr)
