"""Names and folders that ROS refuses: one line that says so, whoever starts the node."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from smap_ros.cli import main
from smap_ros.paths import config_directory

LONG = "a" * 240
CLIP = config_directory() / "demo" / "clip.mp4"


def camera_node(*words: str, **environment: str | None) -> subprocess.CompletedProcess[str]:
    given = {**os.environ, **environment}
    source = ("--ros-args", "-p", f"source:={CLIP}", "-p", "fov_deg:=60.0")
    return subprocess.run(
        [sys.executable, "-m", "smap_ros.nodes.camera", *source, *words],
        env={k: v for k, v in given.items() if v is not None},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-r", f"__ns:=/{LONG}"), "ROS refuses a name"),
        (
            ("-r", f"image:=/{LONG}{LONG}"),
            "ROS refuses a name: failed to resolve name: topic length",
        ),
        (("-r", "image:=/1abc"), "ROS can't start"),
        (("-r", "__node:=a b"), "ROS can't start"),
    ],
)
def test_a_name_that_ros_refuses_is_one_line(words, told):
    done = camera_node(*words)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [one for one in done.stderr.splitlines() if "[FATAL]" in one]
    assert told in line and len(line) < 400


@pytest.mark.parametrize("home", [None, "/proc"])
def test_a_home_that_cant_be_written_is_told_with_what_to_set(home):
    done = camera_node(HOME=home, ROS_LOG_DIR=None, ROS_HOME=None)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "set HOME, or ROS_LOG_DIR to a folder that can be written" in done.stderr


@pytest.mark.parametrize("topic", ["bad topic//", "/1bad", f"/{LONG}{LONG}"])
def test_the_doctor_says_what_is_wrong_with_a_topics_name(topic, capsys):
    assert main(["doctor", "--topic", topic, "--seconds", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "failed to resolve name: topic" in line
    assert "Error:" not in line and ".c:" not in line
