"""`smap-ros view`: recordings as a process, and what it refuses."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from smap_ros.cli.demo import view_command
from smap_ros.graph.plan import VIEW, plan

pytest.importorskip("viser", reason="viser isn't installed: pip install 'smap-ros[view]'")

FRAME = {
    "source": "walk.mp4",
    "index": 0,
    "stamp": 0.0,
    "camera": {"fx": 500, "fy": 500, "cx": 320, "cy": 180, "width": 640, "height": 360},
    "bodies": [],
}


@pytest.fixture
def recording(tmp_path) -> Path:
    path = tmp_path / "bodies.json"
    path.write_text(json.dumps({"frames": [FRAME]}))
    return path


def start(*words: object, **where: Path) -> tuple[subprocess.Popen[str], str]:
    """A viewer as a process, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "smap_ros", "view", *map(str, words)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if found := re.search(r"http://\S+", line):
            return process, found[0]
    raise AssertionError("".join(lines))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_serves_a_recording_until_it_is_told_to_stop(recording, number):
    process, address = start(recording, "--port", 0)
    try:
        with urllib.request.urlopen(address, timeout=60) as page:
            assert b"<!doctype html>" in page.read(200).lower()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0 and out == err == ""


def test_a_warning_tells_who_serves_everybody(recording):
    process, _ = start(recording, "--port", 0, "--host", "127.0.0.1")
    process.terminate()
    _, quiet = process.communicate(timeout=60)
    assert "warning" not in quiet
    done = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "smap_ros",
            "view",
            str(recording),
            "--port",
            "0",
            "--host",
            "0.0.0.0",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.stderr is not None
    line = done.stderr.readline()
    done.terminate()
    done.communicate(timeout=60)
    assert "everybody who reaches this machine" in line


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["nowhere"], "nowhere is no recording"),
        (["broken.json"], "can't read broken.json"),
        (["text.db3"], "can't be opened as a ROS bag"),
        (["bodies.json", "namespace:=robot"], "expected one recording"),
        (["bodies.json", "bodies.json"], "expected one recording"),
        (["bodies.json", "--host", "no.such.host.invalid"], "can't be resolved"),
        (["bodies.json", "--port", "70000"], "less than or equal to 65535"),
        (["bodies.json", "--camera-pitch", "10"], "without --camera-height"),
        (["bodies.json", "--images", "nowhere.mp4"], "nowhere.mp4"),
        (["nonsense:=1"], "no argument 'nonsense'"),
        (["view_rate:=0"], "view_rate is 0"),
        (["--images", "clip.mp4"], "is for a bodies.json"),
    ],
)
def test_what_it_cannot_do_is_refused_in_one_line(smap_ros, recording, words, reason):
    Path("broken.json").write_text('{"frames": [')
    Path("text.db3").write_text("no database")
    done = smap_ros("view", *words)
    assert done.returncode == 2
    assert reason in done.stderr and done.stderr.count("\n") == 1


def test_a_port_in_use_is_refused_live_and_recorded(smap_ros, recording):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        for words in ([recording], []):
            done = smap_ros("view", *words, "--port", port)
            assert done.returncode == 2 and "is another viewer running?" in done.stderr


def test_without_viser_it_says_how_to_get_it(smap_ros, recording, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = smap_ros("view", recording)
    assert done.returncode == 2 and "pip install 'smap-ros[view]'" in done.stderr


def test_the_live_viewer_takes_the_arguments_of_its_graph():
    (process,) = plan(
        VIEW, {"image": "/eye/raw", "compressed": "true", "bodies": "people"}
    ).processes
    assert process.parameters == {"view_node": {"compressed": True}}
    assert process.remappings == (("image", "/eye/raw"), ("bodies", "people"))


@pytest.mark.parametrize(
    ("program", "found", "expected"),
    [
        (".venv/bin/smap-ros", None, ".venv/bin/smap-ros view 'out of/bag'"),
        ("/usr/bin/smap-ros", "/usr/bin/smap-ros", "smap-ros view 'out of/bag'"),
        ("/usr/lib/smap_ros/__main__.py", None, "smap-ros view 'out of/bag'"),
    ],
)
def test_the_demo_prints_a_line_that_runs(monkeypatch, program, found, expected):
    monkeypatch.setattr(sys, "argv", [program, "demo"])
    monkeypatch.setattr("shutil.which", lambda name: found)
    assert view_command(Path("out of/bag")) == expected
