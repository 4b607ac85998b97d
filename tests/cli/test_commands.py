"""The other commands, and what all have in common."""

import json

import pytest

COMMANDS = (
    [], ["estimate"], ["demo"], ["up"], ["bench"], ["evaluate"], ["parameters"], ["layout"],
    ["doctor"], ["engine"], ["engine", "build"], ["engine", "inspect"],
)  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_explains_with_examples(smap_ros, command):
    done = smap_ros(*command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage: smap-ros" in done.stdout
    if command != ["engine"]:
        assert f"smap-ros {' '.join(command)}".strip() in done.stdout.partition("Usage")[2]


def test_help_loads_nothing_heavy(python):
    done = python("-X", "importtime", "-m", "smap_ros", "estimate", "--help")
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"numpy", "cv2", "av", "matplotlib", "openvino", "onnxruntime", "rclpy"}


def test_the_version_is_told(smap_ros):
    from smap_ros import __version__

    assert smap_ros("--version").stdout.strip() == f"smap-ros {__version__}"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Missing command"),
        (["nope"], "No such command 'nope'"),
        (["doctor", "--nope"], "No such option"),
        (["engine", "inspect", "nope"], "no bundle 'nope'"),
        (["up", "engine"], "isn't NAME:=VALUE"),
        (["up", "engine:=nope"], "expected one of auto"),
        (["up", "nope:=1"], "has no argument 'nope'; it has"),
        (["layout", ""], "the frame is ''; expected the frame_id of the camera's images"),
        (["layout", "a b"], "the frame is 'a b'; expected the frame_id of the camera's images"),
        (["layout", "a\n"], "the frame is 'a\\n'; expected the frame_id of the camera's images"),
        (["bench", "--seconds", "-1"], "expected positive numbers"),
        (["demo", "--clip", "nope.mp4", "--fov", "60"], "nope.mp4 doesn't exist"),
    ],
)
def test_bad_usage_ends_with_2_and_one_line(smap_ros, words, message):
    done = smap_ros(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_bug_keeps_its_traceback_and_ends_with_1(python):
    script = (
        "import sys, smap_ros.doctor.machine; from smap_ros.cli import main;"
        "smap_ros.doctor.machine.report = lambda: 1 / 0; sys.exit(main(['doctor']))"
    )
    done = python("-c", script)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


def test_doctor_reports_every_subject(smap_ros):
    done = smap_ros("doctor")
    assert done.returncode == 0, done.stderr
    for subject in ("Machine", "ROS 2", "Runtimes", "NVIDIA", "Cameras", "Models"):
        assert subject in done.stdout


def test_up_lists_the_arguments_of_both_graphs(smap_ros):
    done = smap_ros("up", "--show-args")
    assert done.returncode == 0
    for name in ("pose3d.launch.py", "replay.launch.py", "engine", "composed", "pacing"):
        assert name in done.stdout


def test_bench_measures_and_writes_numbers(smap_ros, bundle, picture, tmp_path):
    words = ("--bundle", bundle, "--engine", "onnxruntime", "--seconds", 0.2, "--image", picture)
    done = smap_ros("bench", *words, "--out", "bench.json")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "bench.json").read_text())
    (row,) = data["rows"]
    assert data["size"] == [1280, 720]
    assert row["engine"] == "onnxruntime"
    assert row["people"] == 3
    assert row["median_ms"] >= row["stages_ms"]["network"] > 0


def test_engine_inspect_tells_what_a_bundle_is(smap_ros, bundle):
    done = smap_ros("engine", "inspect", bundle)
    assert done.returncode == 0, done.stderr
    for fact in ("448x256", "heatmap_2d", "mpi15", "Apache-2.0"):
        assert fact in done.stdout
    for fact in ("network model", "opset 17", "TensorRT 10", "TensorRT 11", "ReduceMean"):
        assert fact in done.stdout


def test_engine_build_makes_the_engine_ready(smap_ros, bundle):
    done = smap_ros("engine", "build", bundle, "--engine", "onnxruntime", "--threads", 1)
    assert done.returncode == 0, done.stderr
    assert "onnxruntime on CPU, 1 thread" in done.stdout


def test_the_demo_without_ros_says_how_to_get_it(python):
    script = (
        "import sys; sys.modules['rclpy'] = None; from smap_ros.cli import main;"
        "sys.exit(main(['demo', '--out', 'out']))"
    )
    done = python("-c", script)
    assert done.returncode == 2
    assert "rclpy can't be imported" in done.stderr
    assert "`smap-ros estimate` works without ROS" in done.stderr


def test_a_group_without_a_command_says_so(capsys):
    from smap_ros.cli.ending import REFUSED, run_command
    from smap_train.cli import app

    def command():
        return app(args=["data"], prog_name="smap-train", standalone_mode=False)

    assert run_command("smap-train", command) == REFUSED
    expected = "smap-train: Missing command; `smap-train data --help` shows the usage\n"
    assert capsys.readouterr().err == expected
