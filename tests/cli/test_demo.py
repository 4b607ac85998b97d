"""`smap-ros demo` before and after the graph, without running it: what it removes and when."""

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from smap_ros.cli import demo
from smap_ros.errors import SmapError
from smap_ros.evaluation.common.metrics import compare
from smap_ros.evaluation.virtual.truth import read_truth
from smap_ros.offline.results import Summary
from smap_ros.paths import config_directory

EARLIER = ("bag/bag.mcap", "bag/metadata.yaml", "logs/recorder_node.log")


@pytest.fixture
def out(tmp_path, monkeypatch):
    """An earlier demo's folder; no graph runs."""

    def play(options, planned) -> None:
        raise SmapError(f"played with {sorted(path.name for path in options.out.iterdir())}")

    monkeypatch.setattr(demo, "_require_ros", lambda: None)
    monkeypatch.setattr(demo, "_play", play)
    for name in EARLIER:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("written")
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clip", "nope.mp4", "--fov", 60], "nope.mp4 doesn't exist"),
        (["--clip", "clip.mp4"], "needs --camera"),
        (["--clip", "clip.mp4", "--fov", 60, "--camera", "c.yaml"], "give one"),
        (["--clip", "clip.mp4", "--camera", "c.yaml"], "can't read the calibration c.yaml"),
        (["--clip", "clip.mp4", "--fov", 0], "field of view"),
        (["--clip", "text.mp4", "--fov", 60], "can't be opened as a video"),
        (["--bundle", "no"], "no bundle 'no'"),
        (["--clip", "out/bag/own.mp4", "--fov", 60], "which the demo writes anew; move the clip"),
    ],
)
def test_what_is_refused_costs_no_earlier_results(smap_ros, out, clip, tmp_path, words, message):
    (tmp_path / "text.mp4").write_text("no film")
    if "out/bag/own.mp4" in words:
        shutil.copy(clip, out / "bag" / "own.mp4")
    done = smap_ros("demo", *words, "--out", "out")
    assert done.returncode == 2
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert all((out / name).is_file() for name in EARLIER)


def test_somebody_elses_bag_is_refused(smap_ros, out):
    (out / "bag" / "robot_0.mcap").write_text("mine")
    done = smap_ros("demo", "--out", "out")
    assert done.returncode == 2 and "out/bag isn't what an earlier demo left" in done.stderr
    assert (out / "bag" / "robot_0.mcap").is_file() and (out / EARLIER[0]).is_file()


def test_an_earlier_demos_bag_and_logs_make_room(smap_ros, out):
    done = smap_ros("demo", "--out", "out")
    assert done.returncode == 2 and "played with []" in done.stderr


def test_what_came_of_the_shipped_clip_says_how_many_joints_were_found(tmp_path, capsys):
    """The errors are of these alone."""
    truth = read_truth(config_directory() / "demo" / "truth.json")
    found = []
    for frame in truth[:3]:
        bodies = [replace(body, joints_3d=body.joints_3d.copy()) for body in frame]
        for body in bodies:
            body.joints_3d[[5, 8, 11]] = np.nan
        found.append(replace(frame, bodies=tuple(bodies)))
    recording = SimpleNamespace(
        image_stamps=(0, 1, 2), processed=(0, 1, 2), seconds=0.2, latency_ms={}, node=lambda _: {}
    )
    demo._show(tmp_path, recording, Summary(3, 3, 9, 3, {}, ()), (compare(found, truth), 0))
    assert re.search(r"joints of the found +80\.0 %", capsys.readouterr().out)
