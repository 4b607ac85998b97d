"""Real nodes over real DDS: an observer in this process, nodes in others (or in executors)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install 'smap-ros[ros]'")
pytest.importorskip("smap_ros.msg", reason="the messages are not built: install the package")

from builtin_interfaces.msg import Time  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_msgs.msg import Header  # noqa: E402

from smap_ros.bundles.bundle import write_bundle  # noqa: E402
from smap_ros.graph.middleware import middleware_environment  # noqa: E402
from smap_ros.graph.node_types import NODES  # noqa: E402
from smap_ros.nodes import qos  # noqa: E402
from smap_ros.nodes.conversions import array_to_image, info_from_camera  # noqa: E402
from tests.browser import browser  # noqa: E402, F401  a fixture
from tests.ros.message_packages import (  # noqa: E402
    HRI,
    TF2,
    VISION,
    MessagePackage,
    messages,
)

FRAME = "robot/camera_optical"
BRIGHT, GREY, BLACK = 250, 128, 0
# Discovery between processes, and the start of a Python process with an inference runtime, on a
# machine that is busy with other things.
PATIENCE = 30.0


class Observer:
    """A node of the test's own, spun in a thread."""

    def __init__(self) -> None:
        self.node = rclpy.create_node("observer")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self.diagnostics: list[Any] = []
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 50)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join(5)
        self.node.destroy_node()

    def _on_diagnostics(self, message: Any) -> None:
        self.diagnostics.extend(message.status)

    def collect(self, kind: Any, topic: str, profile: Any = qos.RELIABLE) -> list[Any]:
        """What arrives on a topic from now on."""
        received: list[Any] = []
        self.node.create_subscription(kind, topic, received.append, profile)
        return received

    def publisher(self, kind: Any, topic: str, profile: Any = qos.RELIABLE) -> Any:
        return self.node.create_publisher(kind, topic, profile)

    def wait(self, condition: Callable[[], Any], what: str, timeout: float = PATIENCE) -> Any:
        """The first true value of a condition."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.01)
        raise AssertionError(f"{what}: not within {timeout:g} s")

    def status(self, node: str) -> Any:
        """The newest diagnostics of a node, or None."""
        found = [s for s in list(self.diagnostics) if s.hardware_id == node]
        return found[-1] if found else None

    def values(self, node: str) -> dict[str, str]:
        status = self.status(node)
        return {v.key: v.value for v in status.values} if status else {}

    def call(self, kind: Any, name: str, request: Any, timeout: float = PATIENCE) -> Any:
        """Call a service and wait for the answer."""
        client = self.node.create_client(kind, name)
        try:
            assert client.wait_for_service(timeout), f"no service {name}"
            future = client.call_async(request)
            self.wait(future.done, f"an answer of {name}", timeout)
            return future.result()
        finally:
            self.node.destroy_client(client)


class NodeProcess:
    """A node in a process of its own."""

    def __init__(self, name: str, log: Path, parameters: dict[str, Any], args: list[str]) -> None:
        self.name = name
        self._log = log
        words = [word for k, v in parameters.items() for word in ("-p", f"{k}:={json.dumps(v)}")]
        command = [sys.executable, "-m", NODES[name].module, "--ros-args", *words, *args]
        with log.open("wb") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def wait(self, timeout: float = PATIENCE) -> int:
        return self.process.wait(timeout)

    def interrupt(self) -> int:
        """Stop in order, as Ctrl-C does."""
        if self.alive:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class Eye:
    """What a camera driver does: publishes images and their calibration."""

    def __init__(self, observer: Observer, camera: Any) -> None:
        self.observer, self.camera = observer, camera
        self.images = observer.publisher(Image, "image", qos.SENSOR)
        self.infos = observer.publisher(CameraInfo, "camera_info", qos.SENSOR)
        self._count = 0

    def ready(self) -> None:
        """Wait until somebody takes the images and the calibration."""
        self.observer.wait(
            lambda: min(self.images.get_subscription_count(), self.infos.get_subscription_count()),
            "a subscriber of image and camera_info",
        )

    def header(self) -> Header:
        """A header with a stamp of its own."""
        self._count += 1
        return Header(frame_id=FRAME, stamp=Time(sec=1000 + self._count, nanosec=123456789))

    def calibrate(self, camera: Any = "own") -> None:
        camera = self.camera if camera == "own" else camera
        header = Header(frame_id=FRAME)
        self.infos.publish(info_from_camera(camera, header, (1280, 720)))

    def image(self, value: int = BRIGHT) -> Image:
        pixels = np.full((self.camera.height, self.camera.width, 3), value, np.uint8)
        return array_to_image(pixels, self.header())

    def show(self, message: Any = None, publisher: Any = None) -> tuple[int, int]:
        """Publish an image; its stamp."""
        message = self.image() if message is None else message
        (publisher or self.images).publish(message)
        return message.header.stamp.sec, message.header.stamp.nanosec


@pytest.fixture(scope="session", autouse=True)
def ros_domain() -> Iterator[None]:
    """A domain of our own on this machine, so that runs side by side don't meet."""
    settings = {
        "ROS_DOMAIN_ID": str(10 + os.getpid() % 90),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).parents[2]), os.getenv("PYTHONPATH", "")]
        ),
        "OMP_NUM_THREADS": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings, **middleware_environment(os.environ)}.items():
            patch.setenv(name, value)
        rclpy.init()
        yield
        rclpy.try_shutdown()


@contextmanager
def _observing() -> Iterator[Observer]:
    one = Observer()
    yield one
    one.close()


@contextmanager
def _starting(folder: Path) -> Iterator[Callable[..., NodeProcess]]:
    started: list[NodeProcess] = []

    def begin(name: str, *args: str, **parameters: Any) -> NodeProcess:
        log = folder / f"{name}{len(started)}.log"
        started.append(NodeProcess(name, log, parameters, list(args)))
        return started[-1]

    yield begin
    failed = []
    for node in started:
        expected = (0,) if node.alive else (0, 2)
        if node.interrupt() not in expected:
            failed.append(f"{node.name} ended with {node.process.returncode}:\n{node.log[-2000:]}")
    assert not failed, "\n".join(failed)


@pytest.fixture(scope="session")
def observing(ros_domain: None) -> Callable[[], Any]:
    """Makes observers, for modules that share one."""
    return _observing


@pytest.fixture(scope="session")
def starting(ros_domain: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Makes what ``start`` is, for modules that share nodes."""
    return lambda: _starting(tmp_path_factory.mktemp("nodes"))


@pytest.fixture(scope="session")
def make_eye() -> Callable[[Observer, Any], Eye]:
    return Eye


@pytest.fixture
def observer(observing: Callable[[], Any]) -> Iterator[Observer]:
    with observing() as one:
        yield one


@pytest.fixture
def start(starting: Callable[[], Any]) -> Iterator[Callable[..., NodeProcess]]:
    """Start nodes as processes; at the end they must stop in order."""
    with starting() as begin:
        yield begin


@pytest.fixture
def spin() -> Iterator[Callable[..., Any]]:
    """Run nodes in executors of this process."""
    running: list[tuple[Any, Any, threading.Thread]] = []

    def begin(kind: Callable[..., Any], **parameters: Any) -> Any:
        overrides = [rclpy.parameter.Parameter(k, value=v) for k, v in parameters.items()]
        node = kind(parameter_overrides=overrides)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        running.append((node, executor, thread))
        return node

    yield begin
    for node, executor, thread in running:
        executor.shutdown()
        thread.join(5)
        node.destroy_node()
        assert not thread.is_alive()


@pytest.fixture(scope="session")
def bundles(
    tmp_path_factory: pytest.TempPathFactory,
    scene_onnx: Callable[..., bytes],
    scene_manifest: Callable[..., dict[str, Any]],
) -> Callable[[Any], str]:
    """Folder of a bundle that sees a scene."""

    def make(scene: Any) -> str:
        folder = tmp_path_factory.mktemp("bundles")
        (folder / "source.onnx").write_bytes(scene_onnx(scene.maps()))
        write_bundle(folder / "scene", scene_manifest(), folder / "source.onnx")
        return str(folder / "scene")

    return make


@pytest.fixture(scope="session")
def scene_bundle(bundles: Callable[[Any], str], scene: Any) -> str:
    """A bundle that sees three people in bright images."""
    return bundles(scene)


@pytest.fixture
def eye(observer: Observer, scene: Any) -> Eye:
    return Eye(observer, scene.camera)


def _found(package: MessagePackage, name: str) -> Any:
    """A fixture: processes that start from now on find a message package."""

    @pytest.fixture(name=name)
    def found(ros_domain: None, monkeypatch: pytest.MonkeyPatch) -> None:
        paths = {} if find_spec(package.name) is not None else messages(package)
        for variable, path in paths.items():
            monkeypatch.setenv(variable, path, prepend=os.pathsep)

    return found


with_tf2, with_hri = _found(TF2, "with_tf2"), _found(HRI, "with_hri")
with_vision = _found(VISION, "with_vision")
