"""A headless Chromium for tests, driven over its DevTools socket.

Debian's package is enough (`apt-get install chromium`); no driver and no library of its own.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

BINARIES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# A page with WebGL in software, on two cores that others use as well.
PATIENCE = 90.0  # seconds
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Tabs that nobody sees go on as if they were seen.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
    "--remote-allow-origins=*",
)


def executable() -> str | None:
    """Where Chromium is, or None."""
    return next((found for name in BINARIES if (found := shutil.which(name))), None)


def colored(image: np.ndarray, color: tuple[int, int, int]) -> int:
    """Pixels of a hue, lit or shaded: how much of a person is to be seen."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(int)
    wanted = cv2.cvtColor(np.uint8([[color[::-1]]]), cv2.COLOR_BGR2HSV)[0, 0].astype(int)
    apart = np.abs(hsv[..., 0] - wanted[0])
    # The panel's own blue lines are thin, on the right.
    near = (np.minimum(apart, 180 - apart) < 8) & (hsv[..., 1] > 60) & (hsv[..., 2] > 50)
    return int(near[:, : near.shape[1] * 55 // 100].sum())


class Tab:
    """A page in the browser."""

    def __init__(self, browser: Browser, target: str, address: str) -> None:
        self._browser, self._target = browser, target
        from websockets.sync.client import connect  # comes with viser

        self._socket = connect(address, max_size=None, proxy=None, ping_interval=None)
        self._count = 0
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its answer."""
        self._count += 1
        self._socket.send(json.dumps({"id": self._count, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(timeout=PATIENCE))
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return dict(answer["result"])

    def open(self, address: str) -> None:
        """Go to a page."""
        self.call("Network.enable")
        # As if somebody looked: a page may do less without the focus, viser's doesn't reconnect.
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    @property
    def text(self) -> str:
        """What stands on the page."""
        return str(self.evaluate("document.body ? document.body.innerText : ''"))

    def wait(self, condition: Callable[[], Any], what: str) -> Any:
        """The first true value of a condition."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            time.sleep(0.2)
        raise AssertionError(f"{what}: not within {PATIENCE:g} s; the page says {self.text!r}")

    def wait_for_text(self, text: str) -> None:
        """Wait until it stands on the page."""
        self.wait(lambda: text in self.text, f"{text!r} on the page")

    def screenshot(self) -> np.ndarray:
        """What is to be seen, uint8 [H, W, 3] bgr."""
        self.call("Page.bringToFront")  # another tab in front of it would keep it from being drawn
        data = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None
        return image

    def close(self) -> None:
        """Close the page, as its cross does."""
        self._socket.close()
        self._browser.get(f"close/{self._target}")


class Browser:
    """A Chromium of its own, with an empty profile.

    Args:
        size: of the window in pixels; small ones are drawn sooner.
    """

    def __init__(self, size: tuple[int, int] = (720, 440)) -> None:
        binary = executable()
        assert binary is not None
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        window = f"--window-size={size[0]},{size[1]}"
        self._process = subprocess.Popen(
            [binary, *FLAGS, window, f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        file = Path(self._profile.name) / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not (file.is_file() and "\n" in file.read_text()):
            assert time.monotonic() < end and self._process.poll() is None, "chromium didn't start"
            time.sleep(0.1)
        self._port = int(file.read_text().splitlines()[0])

    def get(self, path: str, method: str = "GET") -> str:
        """An answer of the DevTools server."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._port}/json/{path}", method=method
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def tab(self, address: str) -> Tab:
        """A new tab with a page."""
        target = json.loads(self.get("new?about:blank", "PUT"))
        tab = Tab(self, target["id"], target["webSocketDebuggerUrl"])
        tab.open(address)
        return tab

    def close(self) -> None:
        """End it, and all its tabs."""
        self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(15)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._profile.cleanup()


class Visitor:
    """What a browser says to the page's server, and whatever else somebody may say."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def say(self, kind: str, **fields: Any) -> None:
        """Send a message."""
        import msgspec  # comes with viser

        self._connection.send(msgspec.msgpack.encode({"type": kind, **fields}))

    def show_itself(self, **camera: Any) -> None:
        """Tell a camera, from when on it is one of the page's clients."""
        usual = {
            "wxyz": [1.0, 0.0, 0.0, 0.0], "position": [0.0, 0.0, 0.0], "look_at": [1.0, 0.0, 0.0],
            "up_direction": [0.0, 0.0, 1.0], "fov": 1.0, "near": 0.1, "far": 10.0,
            "image_width": 600, "image_height": 400,
        }  # fmt: skip
        self.say("ViewerCameraMessage", **{**usual, **camera})


@contextmanager
def visitor(port: int, **camera: Any) -> Iterator[Visitor]:
    """A client of the page that draws nothing, until the end of the block.

    Args:
        port: of the page.
        camera: fields of what it tells of its camera, for the usual ones.
    """
    import viser
    from websockets.sync.client import connect

    with connect(
        f"ws://127.0.0.1:{port}",
        subprotocols=[f"viser-v{viser.__version__}"],  # type: ignore[list-item]
        max_size=None,
        max_queue=None,  # nobody reads what the page says
        proxy=None,
    ) as connection:
        visitor = Visitor(connection)
        visitor.show_itself(**camera)
        yield visitor


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium; tests that need it are skipped where there is none."""
    if executable() is None:
        pytest.skip("chromium isn't installed: apt-get install chromium")
    if importlib.util.find_spec("viser") is None:
        pytest.skip("viser isn't installed: pip install 'smap-ros[view]'")
    chromium = Browser()
    yield chromium
    chromium.close()
