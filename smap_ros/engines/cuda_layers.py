"""pycuda and cuda-python behind one set of primitives, for :class:`smap_ros.engines.cuda.Gpu`.

Both classes have the same methods. All but ``open`` and ``release`` need the context current.
Resources come with the function that gives them back; streams' ``int`` is the driver's handle.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import EngineError

# Of a stream: others' work in the default stream isn't waited for, and can't spoil a capture.
_NON_BLOCKING = 1

Array = NDArray[Any]
Free = Callable[[], Any]
Shape = tuple[int, int, int]


class Failed(Exception):  # noqa: N818 - not for users: becomes an EngineError
    """The driver refused something, in its words."""


class _PyCuda:
    """The driver by pycuda. Its ``autoinit`` is not used: it makes a context of its own."""

    name = "pycuda"

    def __init__(self) -> None:
        self._cuda: Any = importlib.import_module("pycuda.driver")
        self._context: Any = None
        self._device: Any = None

    def _call(self, function: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except self._cuda.Error as error:
            reason = str(error)
        except UnicodeDecodeError:  # it reads a log that the driver didn't write
            reason = "the driver gives no reason that can be read"
        # An error keeps the frames that it passed, and these what they hold: what pycuda gives back
        # by forgetting would live on, and with it the context.
        del function, arguments, named
        raise Failed(reason)

    def open(self, device: int) -> None:
        self._call(self._cuda.init)
        self._device = self._call(self._cuda.Device, device)
        self._context = self._call(self._device.retain_primary_context)

    def release(self) -> None:
        # pycuda lets go of a primary context only where it is current (elsewhere it leaks it, or
        # leaves it behind on the driver's stack): current for pycuda, and no longer for the driver.
        self.push()
        call_driver("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))
        self._call(self._context.detach)

    def push(self) -> None:
        self._call(self._context.push)

    def pop(self) -> None:
        self._call(self._cuda.Context.pop)

    def attribute(self, name: str) -> int:
        which = getattr(self._cuda.device_attribute, name)
        return int(self._call(self._device.get_attribute, which))

    def device_name(self) -> str:
        return str(self._call(self._device.name))

    def memory(self) -> int:
        return int(self._call(self._device.total_memory))

    def driver_version(self) -> int:
        return int(self._call(self._cuda.get_driver_version))

    def allocate(self, size: int) -> tuple[int, Free]:
        memory = self._call(self._cuda.mem_alloc, size)
        return int(memory), lambda: self._call(memory.free)

    def pin(self, size: int) -> tuple[NDArray[np.uint8], int, Free]:
        flags = self._cuda.host_alloc_flags.DEVICEMAP
        array = self._call(self._cuda.pagelocked_empty, size, np.uint8, mem_flags=flags)
        owner = array.base
        try:
            seen = int(self._call(owner.get_device_pointer))
        except Failed:
            self._call(owner.free)
            raise
        return array, seen, lambda: self._call(owner.free)

    def stream(self) -> tuple[Any, Free]:
        return self._held(self._call(self._cuda.Stream, _NON_BLOCKING))

    def upload(self, address: int, array: Array, stream: Any) -> None:
        self._call(self._cuda.memcpy_htod_async, address, array, stream.it)

    def download(self, array: Array, address: int, stream: Any) -> None:
        self._call(self._cuda.memcpy_dtoh_async, array, address, stream.it)

    def wait(self, stream: Any) -> None:
        self._call(stream.it.synchronize)

    def finish(self) -> None:
        self._call(self._cuda.Context.synchronize)

    def module(self, image: bytes) -> tuple[Any, Free]:
        return self._held(self._call(self._cuda.module_from_buffer, image + b"\0"))

    def function(self, module: Any, name: str) -> Any:
        function = _Held(self._call(module.it.get_function, name))
        module.behind.append(function)
        return function

    def launch(
        self, function: Any, grid: Shape, block: Shape, addresses: Sequence[int], stream: Any
    ) -> None:
        values = [np.uintp(address) for address in addresses]
        self._call(function.it, *values, grid=grid, block=block, stream=stream.it)

    def event(self) -> tuple[Any, Free]:
        return self._held(self._call(self._cuda.Event))

    def record(self, event: Any, stream: Any) -> None:
        self._call(event.it.record, stream.it)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        self._call(end.it.synchronize)
        return float(self._call(end.it.time_since, start.it))

    def _held(self, it: Any) -> tuple[_Held, Free]:
        held = _Held(it)
        return held, held.let_go


class _Held:
    """Something of pycuda's, which gives back streams, events and modules only by forgetting them.

    Attributes:
        it: what is held; None when it was given back, whoever has this object then.
        behind: what keeps it alive, and is forgotten with it.
    """

    def __init__(self, it: Any) -> None:
        self.it = it
        self.behind: list[_Held] = []

    def __int__(self) -> int:
        return int(self.it.handle)

    def let_go(self) -> None:
        for held in self.behind:
            held.let_go()
        self.it = None


class _CudaPython:
    """The driver by cuda-python."""

    name = "cuda-python"

    def __init__(self) -> None:
        self._cuda: Any = None
        # The module was moved in version 12.6, and the old name dropped in 13.
        for module in ("cuda.bindings.driver", "cuda.cuda"):
            if self._cuda is None:
                with contextlib.suppress(ImportError, OSError):
                    self._cuda = importlib.import_module(module)
        if self._cuda is None:
            raise ImportError("neither cuda.bindings.driver nor cuda.cuda is there")
        self._device: Any = None
        self._context: Any = None

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            status, *result = getattr(self._cuda, function)(*arguments)
        except RuntimeError as error:  # no driver library, or one too old to have the function
            raise Failed(f"{function} failed: {error}") from error
        except (KeyError, ValueError) as error:  # a status that is newer than the bindings
            raise Failed(f"{function} failed, status unknown to cuda-python: {error}") from error
        if int(status) != 0:
            words = status.name.removeprefix("CUDA_ERROR_").replace("_", " ").lower()
            raise Failed(f"{function} failed: {words}")
        return result[0] if len(result) == 1 else tuple(result)

    def open(self, device: int) -> None:
        self._call("cuInit", 0)
        self._device = self._call("cuDeviceGet", device)
        self._context = self._call("cuDevicePrimaryCtxRetain", self._device)

    def release(self) -> None:
        self._call("cuDevicePrimaryCtxRelease", self._device)

    def push(self) -> None:
        self._call("cuCtxPushCurrent", self._context)

    def pop(self) -> None:
        self._call("cuCtxPopCurrent")

    def attribute(self, name: str) -> int:
        which = getattr(self._cuda.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{name}")
        return int(self._call("cuDeviceGetAttribute", which, self._device))

    def device_name(self) -> str:
        name: bytes = self._call("cuDeviceGetName", 256, self._device)
        return name.split(b"\0")[0].decode(errors="replace")

    def memory(self) -> int:
        return int(self._call("cuDeviceTotalMem", self._device))

    def driver_version(self) -> int:
        return int(self._call("cuDriverGetVersion"))

    def allocate(self, size: int) -> tuple[int, Free]:
        memory = self._call("cuMemAlloc", size)
        return int(memory), lambda: self._call("cuMemFree", memory)

    def pin(self, size: int) -> tuple[NDArray[np.uint8], int, Free]:
        host = int(self._call("cuMemHostAlloc", size, self._cuda.CU_MEMHOSTALLOC_DEVICEMAP))
        array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(host))
        try:
            seen = self._call("cuMemHostGetDevicePointer", host, 0)
        except Failed:
            self._call("cuMemFreeHost", host)
            raise
        return array, int(seen), lambda: self._call("cuMemFreeHost", host)

    def stream(self) -> tuple[Any, Free]:
        stream = self._call("cuStreamCreate", _NON_BLOCKING)
        return stream, lambda: self._call("cuStreamDestroy", stream)

    def upload(self, address: int, array: Array, stream: Any) -> None:
        self._call("cuMemcpyHtoDAsync", address, array.ctypes.data, array.nbytes, stream)

    def download(self, array: Array, address: int, stream: Any) -> None:
        self._call("cuMemcpyDtoHAsync", array.ctypes.data, address, array.nbytes, stream)

    def wait(self, stream: Any) -> None:
        self._call("cuStreamSynchronize", stream)

    def finish(self) -> None:
        self._call("cuCtxSynchronize")

    def module(self, image: bytes) -> tuple[Any, Free]:
        module = self._call("cuModuleLoadData", image + b"\0")
        return module, lambda: self._call("cuModuleUnload", module)

    def function(self, module: Any, name: str) -> Any:
        return self._call("cuModuleGetFunction", module, name.encode())

    def launch(
        self, function: Any, grid: Shape, block: Shape, addresses: Sequence[int], stream: Any
    ) -> None:
        values = (tuple(addresses), (ctypes.c_void_p,) * len(addresses))
        self._call("cuLaunchKernel", function, *grid, *block, 0, stream, values, 0)

    def event(self) -> tuple[Any, Free]:
        event = self._call("cuEventCreate", 0)
        return event, lambda: self._call("cuEventDestroy", event)

    def record(self, event: Any, stream: Any) -> None:
        self._call("cuEventRecord", event, stream)

    def elapsed_ms(self, start: Any, end: Any) -> float:
        self._call("cuEventSynchronize", end)
        return float(self._call("cuEventElapsedTime", start, end))


CudaLayer: TypeAlias = _PyCuda | _CudaPython
LAYERS: dict[str, type[_PyCuda] | type[_CudaPython]] = {
    layer.name: layer for layer in (_PyCuda, _CudaPython)
}


def installed_layer() -> CudaLayer:
    """The first layer that can be imported.

    Raises:
        EngineError: if none can, saying how to get one.
    """
    reasons = []
    for name, layer in LAYERS.items():
        try:
            return layer()
        except (ImportError, OSError, AttributeError) as error:  # AttributeError: of an old pycuda
            reasons.append(f"{name}: {error}")
    raise EngineError(
        "no Python package for NVIDIA's driver can be imported "
        f"({'; '.join(reasons)}). pip install cuda-python of your CUDA's major version, or "
        "pycuda, which compiles itself and needs g++ and the CUDA toolkit. Or choose engine "
        "auto, openvino or onnxruntime"
    )


def call_driver(function: str, *arguments: Any) -> None:
    """Call the driver's library itself, for what pycuda doesn't have.

    Raises:
        Failed: if it refuses, or has no such function.
    """
    try:
        status = getattr(ctypes.CDLL("libcuda.so.1"), function)(*arguments)
    except (OSError, AttributeError) as error:
        raise Failed(f"the driver has no {function} ({error})") from error
    if status:
        raise Failed(f"{function} failed with status {status}")
