"""The CUDA driver by pycuda or cuda-python: memory, streams, kernels and graphs of a GPU.

A :class:`Gpu` works in the primary context of its device, which TensorRT and CUDA's runtime use as
well. Every call makes it current and takes it away again, so any thread may call, one at a time,
and other libraries' contexts stay as they are. What a ``Gpu`` gave out, it takes back when closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from smap_ros.engines.cuda_layers import CudaLayer, Failed, call_driver, installed_layer
from smap_ros.engines.names import GPU_NUMBER
from smap_ros.errors import EngineError

log = logging.getLogger(__name__)

LACKS_MEMORY = "Close what else uses the GPU, or choose a smaller model or engine auto"

_THREAD_LOCAL = 1  # a capture that calls of other threads can't spoil
# Of the driver, CUDA's runtime, and TensorRT, which tells the runtime's error by its number.
_OUT_OF_MEMORY = re.compile(r"out[ _]?of[ _]?memory|initialization failure with error:? 2\b", re.I)


@dataclass(frozen=True)
class GpuFacts:
    """What a GPU is.

    Attributes:
        name: as its maker calls it.
        capability: compute capability, like ``8.7``.
        processors: number of multiprocessors.
        memory: bytes.
        driver: CUDA version of the driver, like ``12.6``.
        integrated: whether it shares the memory of the CPU, as on a Jetson.
        layer: the Python package that talks to the driver.
    """

    name: str
    capability: str
    processors: int
    memory: int
    driver: str
    integrated: bool
    layer: str


class GpuError(EngineError):
    """The GPU or its driver fails now, which may pass: memory is taken, a module isn't loaded."""


class Gpu:
    """A GPU, and what was taken of it.

    Args:
        device: its number, see ``names.GPU_NUMBER``.
        layer: what talks to the driver; by default what is installed.

    Attributes:
        facts: what it is.

    Raises:
        EngineError: if no layer, no driver or no such GPU is there.
    """

    def __init__(self, device: int = 0, layer: CudaLayer | None = None) -> None:
        self._layer = layer or installed_layer()
        self._lock = threading.RLock()
        # What gives back each thing that was taken, by what the thing is.
        self._taken: dict[tuple[str, int], Callable[[], Any]] = {}
        self._first: list[Callable[[], Any]] = []
        self._closed = False
        self._name = f"GPU {device}"
        with self._reported("open"):
            self._layer.open(device)
        self.facts = self._read_facts()
        self._name = self.facts.name

    def _read_facts(self) -> GpuFacts:
        layer = self._layer
        try:
            with self._reported("ask for its properties"):
                attribute = layer.attribute
                major = attribute("COMPUTE_CAPABILITY_MAJOR")
                minor = attribute("COMPUTE_CAPABILITY_MINOR")
                version = layer.driver_version()
                return GpuFacts(
                    layer.device_name(),
                    f"{major}.{minor}",
                    attribute("MULTIPROCESSOR_COUNT"),
                    layer.memory(),
                    f"{version // 1000}.{version % 1000 // 10}",
                    bool(attribute("INTEGRATED")),
                    layer.name,
                )
        except EngineError:
            layer.release()
            raise

    @contextlib.contextmanager
    def current(self, doing: str = "work") -> Iterator[CudaLayer]:
        """The GPU's primary context current in this thread, failures as ``EngineError``."""
        with self._lock:
            if self._closed:
                raise EngineError(f"{self._name} is closed; create the engine anew")
            with self._reported(doing):
                self._layer.push()
                try:
                    yield self._layer
                finally:
                    self._layer.pop()

    @contextlib.contextmanager
    def _reported(self, doing: str) -> Iterator[None]:
        try:
            yield
        except Failed as error:
            raise GpuError(f"{self._name} can't {doing}: {error}{_advice(error)}") from error

    def memory(self, size: int) -> int:
        """Address of so many bytes on the device."""
        with self.current(f"give {size / 1e6:.1f} MB of memory") as layer:
            address, free = layer.allocate(max(size, 1))
            self._taken["memory", address] = free
            return address

    def pinned(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """An array on the host that the device copies from and to by itself; gone when closed."""
        return self.mapped(shape, dtype)[0]

    def mapped(self, shape: Sequence[int], dtype: DTypeLike) -> tuple[NDArray[Any], int]:
        """A pinned array, and the address at which the device sees it without a copy."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        with self.current(f"pin {size / 1e6:.1f} MB of the host's memory") as layer:
            raw, address, free = layer.pin(max(size, 1))
            self._taken["pinned", raw.ctypes.data] = free
            return raw[:size].view(kind).reshape(shape), address

    def give_back(self, thing: int | NDArray[Any]) -> None:
        """Give back memory of the device, by its address, or a pinned array, before closing.

        Nothing may work on it any more.
        """
        if isinstance(thing, np.ndarray):
            key = "pinned", int(thing.ctypes.data)
        else:
            key = "memory", thing
        with self.current("give back memory"):
            self._taken.pop(key)()

    @contextlib.contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Gives back what was taken inside, where it ends by an error."""
        before = len(self._taken)
        try:
            yield
        except BaseException:
            with self.current("give back what was taken"):
                while len(self._taken) > before:
                    self._taken.popitem()[1]()
            raise

    def stream(self) -> Any:
        """A stream: work in it goes in order. ``int`` of it is the driver's handle."""
        with self.current("make a stream") as layer:
            stream, free = layer.stream()
            self._taken["stream", id(stream)] = free
            return stream

    def upload(self, address: int, array: NDArray[Any], stream: Any) -> None:
        """Copy a contiguous array to the device; pinned ones without waiting."""
        with self.current("copy to the device") as layer:
            layer.upload(address, array, stream)

    def download(self, array: NDArray[Any], address: int, stream: Any) -> None:
        """Copy from the device into a contiguous array; into pinned ones without waiting."""
        with self.current("copy from the device") as layer:
            layer.download(array, address, stream)

    def wait(self, stream: Any) -> None:
        """Wait until all work in a stream is done."""
        with self.current("finish its work") as layer:
            layer.wait(stream)

    def functions(self, image: bytes, names: Sequence[str]) -> dict[str, Any]:
        """Kernels of a module (PTX or cubin) by name."""
        with self.current("load its kernels") as layer:
            module, free = layer.module(image)
            self._taken["module", id(free)] = free
            return {name: layer.function(module, name) for name in names}

    def launch(
        self,
        function: Any,
        grid: tuple[int, int],
        threads: int,
        addresses: Sequence[int],
        stream: Any,
    ) -> None:
        """Start a kernel whose arguments are all addresses."""
        with self.current("start a kernel") as layer:
            layer.launch(function, (*grid, 1), (threads, 1, 1), addresses, stream)

    def event(self) -> Any:
        """A mark in a stream, to tell times by."""
        with self.current("make an event") as layer:
            event, free = layer.event()
            self._taken["event", id(event)] = free
            return event

    def record(self, event: Any, stream: Any) -> None:
        """Set a mark."""
        with self.current("record an event") as layer:
            layer.record(event, stream)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        """Time between two marks that were passed."""
        with self.current("tell a time") as layer:
            return layer.elapsed_ms(start, end)

    def capture(self, work: Callable[[], None], stream: Any) -> Graph:
        """Record work in a stream as a graph.

        Returns:
            What starts all of it at once, in the same stream.

        Raises:
            EngineError: if it holds something that can't be captured; the stream is usable then.
        """
        executable, handle = ctypes.c_void_p(), ctypes.c_void_p(int(stream))
        with self.current("capture its work"), contextlib.ExitStack() as recorded:
            call_driver("cuStreamBeginCapture_v2", handle, ctypes.c_int(_THREAD_LOCAL))
            try:
                work()
            except BaseException:  # a stream left capturing is of no use to anybody
                with contextlib.suppress(Failed):
                    _end_capture(handle, recorded)
                raise
            graph = _end_capture(handle, recorded)
            flags = ctypes.c_ulonglong(0)
            call_driver("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, flags)
            key = "graph", int(executable.value or 0)
            self._taken[key] = lambda: call_driver("cuGraphExecDestroy", executable)
        return Graph(self, executable, handle)

    def _forget_graph(self, executable: int) -> None:
        with self.current("give back a graph"):
            self._taken.pop(("graph", executable))()

    def on_close(self, release: Callable[[], Any]) -> None:
        """Have something done when the GPU is closed, in its context, before all is given back.

        What was stated last is done first.
        """
        self._first.append(release)

    def close(self) -> None:
        """Give everything back, when all work is done; harmless when done twice.

        What can't be given back, after an error of the GPU, is logged: whoever closes can do
        nothing about it, and often has the error itself to tell.
        """
        with self._lock:
            if self._closed:
                return
            try:
                with self.current("give back what was taken") as layer:
                    with contextlib.suppress(Failed):  # of work that failed: it was reported then
                        layer.finish()
                    self._give_all_back()
            except GpuError as error:
                log.warning("%s", error)
            self._closed = True
            try:
                self._layer.release()
            except Failed as error:
                log.warning("%s can't be let go: %s", self._name, error)

    def _give_all_back(self) -> None:
        """What was taken last goes first; what can't be given back keeps nothing else."""
        failed: Failed | None = None
        while self._first:
            self._first.pop()()
        while self._taken:
            _, free = self._taken.popitem()
            try:
                free()
            except Failed as error:
                failed = failed or error
        if failed is not None:
            raise failed


class Graph:
    """Recorded work; calling it starts all of it, in the stream it was recorded in."""

    def __init__(self, gpu: Gpu, executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        self._gpu, self._executable, self._stream = gpu, executable, stream

    def __call__(self) -> None:
        """Start it."""
        with self._gpu.current("start its graph"):
            call_driver("cuGraphLaunch", self._executable, self._stream)

    def give_back(self) -> None:
        """Give it back before the GPU is closed; it must not be running."""
        self._gpu._forget_graph(int(self._executable.value or 0))


def out_of_memory(words: str) -> bool:
    """Whether the words of whoever works on a GPU say that its memory is used up."""
    return _OUT_OF_MEMORY.search(words) is not None


def gpu_identity(device: int = 0) -> str:
    """What tells a GPU from others, or why there is none, in words that change with it."""
    try:
        gpu = Gpu(device)
    except EngineError as error:
        return str(error)
    gpu.close()
    return str(gpu.facts)


def _end_capture(stream: ctypes.c_void_p, recorded: contextlib.ExitStack) -> ctypes.c_void_p:
    """What was recorded, which is given back with the stack."""
    graph = ctypes.c_void_p()
    call_driver("cuStreamEndCapture", stream, ctypes.byref(graph))
    recorded.callback(call_driver, "cuGraphDestroy", graph)
    return graph


def _advice(error: Failed) -> str:
    """What to do about it, where that is known."""
    text = str(error).lower().replace("_", " ")
    if out_of_memory(text):
        return f". {LACKS_MEMORY}"
    if "invalid device" in text or "no device" in text or "ordinal" in text:
        return f". Check nvidia-smi and the setting gpu ({GPU_NUMBER}), or choose engine auto"
    if "ptx" in text or "insufficient driver" in text:
        return ". Update the NVIDIA driver, or choose engine auto"
    return ""
