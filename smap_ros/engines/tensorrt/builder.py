"""Builds a plan: ``python builder.py FOLDER``, see ``building``.

A process of its own, because TensorRT's builder may die of a network instead of refusing it. It
reads ``order.json`` and ``model.onnx`` of the folder and writes ``plan``; each line that it prints
is JSON, of how far it is or why it stops.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_DIE_WITH_PARENT = 1  # of prctl


def main(folder: Path) -> int:
    """Build what was ordered; the exit status."""
    with contextlib.suppress(OSError, AttributeError):  # whoever ordered may be killed
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    order = json.loads((folder / "order.json").read_text())
    words: list[str] = []
    with contextlib.ExitStack() as held:  # what TensorRT makes is gone before the context is
        try:
            trt = importlib.import_module(order["module"])
            model = (folder / "model.onnx").read_bytes()
            if not order["capability"]:
                held.enter_context(_current(order["device"]))
            plan = _plan(trt, order, model, folder / "timing", words)
        except Exception as error:  # whatever it is, its words are what the user needs
            said = f"{error}" or repr(error)
            said = "; ".join([said, *(word for word in words if word not in said)])
            _say(**_failure(error, said, order))
            return 1
    (folder / "plan").write_bytes(plan)
    return 0


@contextlib.contextmanager
def _current(device: int) -> Iterator[None]:
    """A GPU's context current: TensorRT builds for the GPU that is, by default the first one."""
    from smap_ros.engines.cuda import Gpu  # not at the top, where this file's folder is looked in

    with contextlib.closing(Gpu(device)) as gpu, gpu.current("build a plan"):
        yield


def _failure(error: Exception, said: str, order: dict[str, Any]) -> dict[str, Any]:
    """What is said of an error: its words, with advice, and whether the GPU fails now."""
    from smap_ros.engines.cuda import GpuError, out_of_memory

    if isinstance(error, GpuError):
        return {"error": said, "gpu": True}
    if not out_of_memory(said):
        return {"error": said, "gpu": False}
    # TensorRT says OutOfMemory of what a layer may take as of what there is; CUDA means the latter.
    wanted = re.findall(r"OutOfMemory \(Requested size was (\d+)", said)
    of_cuda = re.search(r"out[ _]of[ _]memory", said, re.I)
    forbidden = not of_cuda and bool(wanted) and int(wanted[-1]) > order["workspace"]
    if forbidden or order["capability"]:
        return {"error": f"{said}. Raise workspace_mb", "gpu": False}
    advice = "The GPU has no memory for that: close what else uses it, or lower workspace_mb"
    return {"error": f"{said}. {advice}", "gpu": True}


def _plan(trt: Any, order: dict[str, Any], model: bytes, timing: Path, words: list[str]) -> bytes:
    logger = make_logger(trt, words)
    builder = trt.Builder(logger)
    # Types are those of the ONNX file, in TensorRT 10 as in 11, which knows no other way.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        reasons = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise RuntimeError(f"TensorRT can't read the network: {reasons}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order["workspace"])
    if order["tf32"]:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if order["capability"]:  # TensorRT-RTX builds for cards that aren't there
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(trt.ComputeCapability, order["capability"]), 0)
    _add_profile(builder, network, config, order["rows"])
    monitor = _monitor(trt)
    config.progress_monitor = monitor
    cache = config.create_timing_cache(timing.read_bytes() if timing.is_file() else b"")
    if cache is None or not config.set_timing_cache(cache, False):  # damaged, or another TensorRT's
        config.set_timing_cache(config.create_timing_cache(b""), False)
    serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        reason = "; ".join(words) or "no reason"
        raise RuntimeError(f"TensorRT can't build the network: {reason}")
    measured = config.get_timing_cache()
    if measured is not None:
        with contextlib.suppress(OSError):  # no room: the next build measures again
            timing.write_bytes(bytes(measured.serialize()))
    return bytes(serialised)


def _add_profile(builder: Any, network: Any, config: Any, rows: int) -> None:
    """Sizes that the ONNX file leaves free, like the number of people: 1 to ``rows``."""
    profile = builder.create_optimization_profile()
    free = False
    for k in range(network.num_inputs):
        source = network.get_input(k)
        shape = tuple(source.shape)
        if -1 in shape:
            free = True
            least, usual, most = (
                tuple(size if given == -1 else given for given in shape)
                for size in (1, min(4, rows), rows)
            )
            profile.set_shape(source.name, least, usual, most)
    if free:
        config.add_optimization_profile(profile)


def make_logger(trt: Any, words: list[str]) -> Any:
    """A logger that keeps what TensorRT says of errors."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                words.append(message.strip())

    return Logger()


def _monitor(trt: Any) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.steps[name] = steps
            _say(phase=name, inside=parent, done=0, of=steps)

        def step_complete(self, name: str, step: int) -> bool:
            _say(phase=name, done=step + 1, of=self.steps.get(name, 0))
            return True  # go on

        def phase_finish(self, name: str) -> None:
            self.steps.pop(name, None)

    return Monitor()


def _say(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # This file's folder, whose other files may have other libraries' names.
    sys.path[:] = [place for place in sys.path if place != str(Path(__file__).parent)]
    sys.exit(main(Path(sys.argv[1])))
