"""`smap-ros demo` and `smap-ros up` as processes: real nodes, a real bag, an end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability

from smap_ros.bags.stages import OF_STAGES
from smap_ros.evaluation.bags.replay import inspect_bag, recorded
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos
from smap_ros.offline.results import read_bodies
from smap_ros.sources import open_source
from smap_ros.viz.video import VideoWriter

FRAMES, EMPTY = 8, 5
RUNTIME = ("--engine", "onnxruntime", "--threads", "1")


def smap_ros(*words: object, cwd: Path, timeout: float = 90) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "smap_ros", *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory, scene) -> Path:
    """Frames that show the scene's three people, but for one."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    writer = VideoWriter(path, rate=10)
    for k in range(FRAMES):
        image = scene.image(128 if k == EMPTY else 250)
        image[:16] -= np.random.default_rng(k).integers(0, 99, (16, 1280, 1), np.uint8)
        writer.add(image, k / 10)
    writer.close()
    return path


@pytest.fixture(scope="module")
def demo(clip, scene_bundle, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One run of the demo, some ten seconds: five processes start, play and end."""
    folder = tmp_path_factory.mktemp("demo")
    words = ("--clip", clip, "--fov", 80, "--bundle", scene_bundle, *RUNTIME, "--out", "out")
    done = smap_ros("demo", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    # Here and not only below: what fails in a fixture is set up anew when a test is run once more.
    frames = read_bodies(folder / "out" / "bodies.json")
    assert len(frames) == FRAMES, "the smoother came up after the clip had been played"
    return folder / "out", done


def test_the_demo_leaves_all_its_files_and_says_where(demo):
    out, done = demo
    names = {"annotated.mp4", "bodies.json", "contact_sheet.png", "poses_3d.png", "bag", "logs"}
    assert {path.name for path in out.iterdir()} == names
    assert all(name in done.stdout for name in names)
    assert f"{FRAMES} / {FRAMES} / 0" in done.stdout, done.stdout
    for row in ("network", "image to bodies_raw", "image to bodies", "images/s"):
        assert row in done.stdout
    assert f"latency in ms ({OF_STAGES})" in " ".join(done.stdout.split())
    run = inspect_bag(out / "bag")
    recorded(run, out / "bag")
    assert "network" in run.latency and run.latency_note == OF_STAGES


def test_the_people_of_every_frame_are_where_they_should_be(demo, scene):
    frames = read_bodies(demo[0] / "bodies.json")
    assert [frame.index for frame in frames] == list(range(FRAMES))
    assert [frame.stamp for frame in frames] == pytest.approx([k / 10 for k in range(FRAMES)])
    for frame in frames:
        if frame.index == EMPTY:
            continue  # the smoother fills so short a gap, or not, as the machine's pace has it
        assert len(frame) == 3
        roots = sorted((body.root for body in frame), key=lambda root: float(root[2]))
        np.testing.assert_allclose(roots, scene.joints[:, 2], atol=0.12)
    video = open_source(str(demo[0] / "annotated.mp4"))
    assert len(list(video)) == FRAMES


def test_the_bag_holds_every_topic_of_the_graph(demo):
    with AnyReader([demo[0] / "bag"]) as reader:
        topics = {c.topic: c for c in reader.connections}
        counts = {name: c.msgcount for name, c in topics.items()}
    assert set(topics) == {
        "/image/compressed", "/camera_info", "/end_of_stream", "/bodies_raw", "/bodies",
        "/skeleton_info", "/poses", "/markers", "/diagnostics",
    }  # fmt: skip
    assert counts["/bodies"] == counts["/bodies_raw"] >= FRAMES
    assert counts["/image/compressed"] >= FRAMES
    assert counts["/skeleton_info"] == 1
    (profile,) = topics["/skeleton_info"].ext.offered_qos_profiles
    assert profile.durability == QosDurability.TRANSIENT_LOCAL


def test_the_bag_is_a_source_of_images_with_their_calibration(demo, scene):
    frames = list(open_source(str(demo[0] / "bag")))
    assert frames[0].camera.fx == pytest.approx(scene.camera.fx)
    assert frames[0].image.shape == (720, 1280, 3)


def test_message_types_in_the_bag_are_those_of_ros(demo, observer):
    observer.publisher(BodyArray, "typed", qos.RELIABLE)
    infos = observer.wait(
        lambda: observer.node.get_publishers_info_by_topic("typed"), "the publisher's description"
    )
    with AnyReader([demo[0] / "bag"]) as reader:
        digest = reader.typestore.hash_rihs01("smap_ros/msg/BodyArray")
    assert digest.split("_")[-1] in str(infos[0].topic_type_hash)


def test_a_second_demo_replaces_the_first(demo, clip, scene_bundle):
    out, _ = demo
    keep = out / "notes.txt"
    keep.write_text("mine")
    words = ("--clip", clip, "--fov", 80, "--bundle", scene_bundle, *RUNTIME, "--real-time")
    done = smap_ros("demo", *words, "--out", out, cwd=out.parent)
    keep_text = keep.read_text()
    keep.unlink()
    assert done.returncode == 0, done.stderr
    assert keep_text == "mine"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--clip", "CLIP"], "needs --camera CALIBRATION.yaml or --fov DEGREES"),
        (["--bundle", "nope"], "no bundle 'nope'"),
        (["--engine", "tensorrt"], "can't configure"),
    ],
)
def test_a_demo_that_cannot_work_says_why(tmp_path, clip, words, message):
    words = [str(clip) if word == "CLIP" else word for word in words]
    done = smap_ros("demo", *words, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_up_runs_the_live_graph_until_ctrl_c(tmp_path, clip, scene_bundle, observer):
    words = [f"source:={clip}", "fov_deg:=80", f"bundle:={scene_bundle}", "loop:=true"]
    words += ["engine:=onnxruntime", "threads:=1", "markers:=false"]
    command = [sys.executable, "-m", "smap_ros", "up", *words]
    bodies = observer.collect(BodyArray, "bodies")
    with (tmp_path / "up.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            observer.wait(lambda: any(len(m.bodies) == 3 for m in list(bodies)), "three people")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0, (tmp_path / "up.log").read_text()
        finally:
            if process.poll() is None:
                process.kill()
    received = len(bodies)
    time.sleep(0.5)
    assert len(bodies) == received, "nodes live on"
