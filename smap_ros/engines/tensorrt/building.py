"""Has plans built by a process of its own, which may take long, take all memory, or die."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smap_ros.engines.cuda import GpuError
from smap_ros.engines.kept import write_atomically
from smap_ros.errors import EngineError

log = logging.getLogger(__name__)

PERIOD = 1.0  # seconds between words on how far it is
_LOOK = 0.5  # seconds between looks at the clock and the memory


@dataclass(frozen=True)
class Order:
    """How a plan is built.

    Attributes:
        tf32: whether float32 may be multiplied as TF32.
        rows: sizes that the network leaves free are 1 to this.
        workspace: bytes that a layer may take beside its inputs and outputs.
        module: Python module of TensorRT.
        capability: a card to build for that isn't here, like ``SM89``; only TensorRT-RTX can.
        device: number of the GPU to build for, where none is stated that isn't here.
    """

    tf32: bool
    rows: int = 1
    workspace: int = 1 << 30
    module: str = "tensorrt"
    capability: str = ""
    device: int = 0

    @property
    def flags(self) -> str:
        """What of it makes another plan; what kind of GPU it is says the plan's key."""
        return f"tf32={self.tf32} rows={self.rows} workspace={self.workspace} {self.capability}"


@dataclass(frozen=True)
class Limits:
    """When a build is given up.

    Attributes:
        seconds: a large network takes a Jetson half an hour and more.
        memory: bytes of the building process; the system's killer would pick any victim.
    """

    seconds: float = 2 * 3600.0
    memory: int = 0

    @property
    def bytes(self) -> int:
        """The limit, by default nine tenths of this machine's memory."""
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return self.memory or total * 9 // 10


def build_plan(
    model: bytes,
    order: Order,
    timing: Path | None = None,
    limits: Limits | None = None,
    progress: Callable[[str], None] | None = None,
) -> bytes:
    """Build a plan; takes seconds to an hour.

    Args:
        model: content of the ONNX file.
        order: how.
        timing: file of what was measured in earlier builds; read and brought up to date.
        limits: when to give up.
        progress: takes a line of words every second; by default the log takes some of them.

    Raises:
        EngineError: if TensorRT refuses the network or dies of it, a limit is reached, or there
            is no room for files; of type ``GpuError``, if the GPU fails or has no memory left.
    """
    try:
        return _built(model, order, timing, limits or Limits(), progress or Logged())
    except OSError as error:
        raise EngineError(
            f"no TensorRT plan could be built: {error}. It takes room for the network and the plan "
            f"in {tempfile.gettempdir()}; set TMPDIR to a folder that has it"
        ) from error


def _built(
    model: bytes,
    order: Order,
    timing: Path | None,
    limits: Limits,
    progress: Callable[[str], None],
) -> bytes:
    with tempfile.TemporaryDirectory(prefix="smap_ros_plan") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        (folder / "order.json").write_text(json.dumps(vars(order)))
        if timing is not None and timing.is_file():
            with contextlib.suppress(OSError):
                (folder / "timing").write_bytes(timing.read_bytes())
        _run(folder, limits, progress)
        if timing is not None and (folder / "timing").is_file():
            _keep(folder / "timing", timing)
        return (folder / "plan").read_bytes()


def _run(folder: Path, limits: Limits, progress: Callable[[str], None]) -> None:
    command = [sys.executable, str(Path(__file__).with_name("builder.py")), str(folder)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with (
        (folder / "stderr").open("wb") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
            errors="replace",  # TensorRT's libraries may print anything
        ) as child,
    ):
        try:
            reason, kind = _follow(child, limits, progress)
        except BaseException:  # ctrl-C too: nothing is left running
            child.kill()
            raise
    if child.returncode == 0 and reason is None and (folder / "plan").is_file():
        return
    if reason is None:
        reason = _death(child.returncode, (folder / "stderr").read_text(errors="replace"))
    raise kind(f"no TensorRT plan could be built: {reason}")


def _follow(
    child: subprocess.Popen[str], limits: Limits, progress: Callable[[str], None]
) -> tuple[str | None, type[EngineError]]:
    """Watch a build until it ends; why it failed, as far as it said or was ended by us.

    Returns:
        The reason in words or None, and the type of the error.
    """
    lines: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(child, lines), daemon=True)
    reader.start()
    started = said = time.monotonic()
    reason: str | None = None
    kind: type[EngineError] = EngineError
    doing = "starting"
    for line in _arriving(lines):
        now = time.monotonic()
        taken = _resident(child.pid)
        if now - started > limits.seconds:
            child.kill()
            return f"it took over {limits.seconds:g} s; {_OTHERWISE}", kind
        if taken > limits.bytes:
            child.kill()
            return (
                f"it took {taken / 2**30:.1f} GiB of memory, the limit is "
                f"{limits.bytes / 2**30:.1f} GiB; {_OTHERWISE}"
            ), kind
        facts = _facts(line)
        if "error" in facts:
            reason, kind = facts["error"], GpuError if facts.get("gpu") else EngineError
        if "phase" in facts:
            doing = f"{facts['phase']}, {facts['done']} of {facts['of']} steps"
        if now - said >= PERIOD:  # also in phases that say nothing
            said = now
            progress(f"building a TensorRT plan, {now - started:.0f} s: {doing}")
    child.wait()
    return reason, kind


_OTHERWISE = "close other programs, lower workspace_mb, or choose another engine"


class Logged:
    """Tells the log how far a build is: ever more seldom, the last time a minute ago at most."""

    def __init__(self) -> None:
        self._began = self._said = time.monotonic()

    def __call__(self, words: str) -> None:
        """Tell it, if it is time to."""
        now = time.monotonic()
        if now - self._said >= min(max(5.0, (now - self._began) / 4), 60.0):
            self._said = now
            log.warning("%s", words)  # as that it is built at all: everybody waits


def _read(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    with contextlib.suppress(ValueError):  # closed: the build was given up
        for line in child.stdout:
            lines.put(line)
    lines.put(None)


def _arriving(lines: queue.Queue[str | None]) -> Iterator[str]:
    """Lines as they come, empty ones while none does, until the end."""
    while True:
        try:
            line = lines.get(timeout=_LOOK)
        except queue.Empty:
            line = ""
        if line is None:
            return
        yield line


def _facts(line: str) -> dict[str, Any]:
    """What a line says; TensorRT's libraries may print lines of their own."""
    try:
        data = json.loads(line)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _resident(pid: int) -> int:
    """Bytes of memory that a process has; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _death(status: int, errors: str) -> str:
    tail = errors.strip().splitlines()[-1:] or [""]
    if status == -signal.SIGKILL:
        return f"the builder was killed, most likely for lack of memory; {_OTHERWISE}"
    if status < 0:
        name = signal.Signals(-status).name
        return f"TensorRT's builder died ({name}) of this network; choose another engine. {tail[0]}"
    return f"the builder ended with status {status}: {tail[0]}"


def _keep(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, source.read_bytes())
    except OSError as error:
        log.warning("what the builder measured can't be kept: %s", error)
