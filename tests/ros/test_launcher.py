"""The whole graph, started for real from its data: in processes, and composed in one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import av
import numpy as np
import psutil
import pytest
from sensor_msgs.msg import Image

from smap_ros.graph.launcher import Launcher
from smap_ros.graph.plan import REPLAY, plan
from smap_ros.images import encode_compressed
from smap_ros.msg import BodyArray
from smap_ros.nodes import qos

FRAMES = 60


@pytest.fixture(scope="module")
def clip(tmp_path_factory, scene):
    """Bright frames, in which the scene's bundle sees three people."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=20)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        for _ in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(scene.image(250), format="bgr24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def replay(clip, bundle, **values):
    return plan(
        REPLAY,
        {
            "source": str(clip),
            "fov_deg": 80.0,
            "bundle": bundle,
            "engine": "onnxruntime",
            "threads": 1,
            **values,
        },
    )


@pytest.mark.parametrize("composed", [False, True], ids=["processes", "composed"])
def test_a_clip_goes_all_the_way_and_the_graph_ends_by_itself(
    observer, clip, scene_bundle, tmp_path, composed
):
    """Six seconds of clip: an observer that isn't part of the graph is discovered within three."""
    planned = replay(clip, scene_bundle, rate=10.0, composed=composed, namespace="robot")
    bodies = observer.collect(BodyArray, "/robot/bodies")
    launcher = Launcher(planned, log_directory=tmp_path)
    with launcher:
        assert len(launcher.pids) == (1 if composed else 4)
        assert launcher.wait(60) == 0, _logs(tmp_path)
        status = launcher.stop()
    assert set(status.values()) == {0}, _logs(tmp_path)
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in bodies]
    # The observer may be discovered after the first frames have passed.
    assert len(stamps) >= FRAMES // 4 and stamps == sorted(set(stamps))
    assert [body.id for body in bodies[-1].bodies] == [0, 1, 2]
    depth = sorted(body.pose.position.z for body in bodies[-1].bodies)
    np.testing.assert_allclose(depth, [3.0, 4.5, 6.0], atol=0.05)
    assert "Traceback" not in _logs(tmp_path)


def test_one_picture_gives_its_people_though_the_model_is_loaded_later(
    observer, scene, scene_bundle, tmp_path
):
    picture = tmp_path / "people.jpg"
    picture.write_bytes(encode_compressed(scene.image(250)))
    bodies: list[BodyArray] = []
    listener = observer.node.create_subscription(
        BodyArray, "/robot/bodies_raw", bodies.append, qos.RELIABLE
    )
    # The second subscriber of images comes once we hear the pose node: nothing is shown before.
    planned = replay(picture, scene_bundle, namespace="robot", subscribers=2)
    launcher = Launcher(planned, log_directory=tmp_path)
    with launcher:
        observer.wait(listener.get_publisher_count, "the pose node", 120)
        observer.collect(Image, "/robot/image", qos.SENSOR)
        assert launcher.wait(120) == 0, _logs(tmp_path)
        assert set(launcher.stop().values()) == {0}, _logs(tmp_path)
    assert len(bodies) >= 1, _logs(tmp_path)
    assert {len(message.bodies) for message in bodies} == {3}
    assert "end of people.jpg after 1 images" in _logs(tmp_path)


def test_a_node_that_fails_ends_the_graph_with_its_status(tmp_path, scene_bundle, monkeypatch):
    # What lies where the user stands is none of our modules: neither his own nor the checkout.
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH")  # of these tests, with the working folder in it
    (tmp_path / "yaml.py").write_text("raise SystemExit(7)")
    (tmp_path / "smap_ros" / "msg").mkdir(parents=True)
    launcher = Launcher(replay("nowhere.mp4", scene_bundle), log_directory=tmp_path)
    with launcher:
        assert launcher.wait(60) == 2
        status = launcher.stop()
    assert status["camera_node"] == 2
    assert "doesn't exist" in (tmp_path / "camera_node.log").read_text()


def test_an_interrupt_ends_the_starter_and_all_its_nodes(clip, scene_bundle, tmp_path):
    script = tmp_path / "starter.py"
    script.write_text(
        "import sys\n"
        "from smap_ros.graph.plan import REPLAY, plan\n"
        "from smap_ros.graph.launcher import Launcher\n"
        f"values = {{'source': {str(clip)!r}, 'bundle': {scene_bundle!r}, 'loop': True,\n"
        "          'fov_deg': 80.0, 'engine': 'onnxruntime', 'composed': True}\n"
        "launcher = Launcher(plan(REPLAY, values))\n"
        "spawn = launcher._spawn\n"
        "def announced(process):\n"
        "    running = spawn(process)\n"
        "    print(running.pid, flush=True)\n"
        "    return running\n"
        "launcher._spawn = announced\n"
        "sys.exit(launcher.run())\n"
    )
    starter = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    pid = int(starter.stdout.readline())
    time.sleep(2)
    os.kill(pid, 0)  # there
    starter.send_signal(signal.SIGINT)
    assert starter.wait(60) == 0
    starter.stdout.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _logs(folder):
    return "\n".join(f"{path.name}:\n{path.read_text()[-1500:]}" for path in folder.glob("*.log"))


def test_a_graph_that_is_stopped_while_its_processes_begin_leaves_no_traceback(
    clip, scene_bundle, tmp_path
):
    """Python itself takes an interrupt badly while it starts."""
    for k, pause in enumerate((0.0, 0.02, 0.05, 0.1, 0.2)):
        with Launcher(replay(clip, scene_bundle), log_directory=tmp_path / str(k)) as launcher:
            time.sleep(pause)
            processes = [psutil.Process(pid) for pid in launcher.pids.values()]
        assert psutil.wait_procs(processes, timeout=10)[1] == []
    said = "".join(log.read_text() for log in tmp_path.glob("*/*.log"))
    assert "Traceback" not in said, said
