"""Stands in for TensorRT where there is none: its Python interface, as far as the engine uses it.

Plans hold the ONNX file, and run on ONNX Runtime when the stream comes to them. What this module
has, the real bindings of TensorRT 10.0 to 11.4 have as well: ``.ci/bindings.py`` compares them.
``TENSORRT_DOES`` in the environment makes it fail in the ways that TensorRT does.
"""

from __future__ import annotations

import ctypes
import enum
import json
import os
import time
from functools import partial

import numpy as np
import onnxruntime

__version__ = os.environ.get("TENSORRT_VERSION", "10.3.0")

# As it says that there is no memory, of the GPU or that a layer may take.
NO_MEMORY = "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)"
WANTS = "Error Code 2: OutOfMemory (Requested size was {} bytes.)"


class Severity(enum.IntEnum):
    INTERNAL_ERROR, ERROR, WARNING = range(3)


class ILogger:
    Severity = Severity

    def log(self, severity, message):
        pass  # ours overrides it


class IProgressMonitor:
    pass


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class BuilderFlag(enum.Enum):
    TF32 = 7


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class TensorIOMode(enum.Enum):
    INPUT, OUTPUT = 1, 2


class TensorLocation(enum.Enum):
    DEVICE, HOST = 0, 1


def nptype(dtype):
    if dtype == "bf16":
        raise TypeError("Could not resolve TensorRT datatype to an equivalent numpy datatype.")
    return np.dtype(dtype)


def _does(what: str) -> bool:
    return what in os.environ.get("TENSORRT_DOES", "").split()


def _gpu() -> int:
    """Which one is current in this thread; the first one where none is, as in CUDA's runtime."""
    number = ctypes.c_int()
    ctypes.CDLL("libcuda.so.1").cuCtxGetDevice(ctypes.byref(number))
    return number.value


def _session(model: bytes):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if _does("round"):  # otherwise than the engine that it is compared with
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _shape(node) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else -1 for size in node.shape)


class ITensor:
    def __init__(self, node):
        self.name, self.shape = node.name, _shape(node)


class INetworkDefinition:
    num_inputs = 0

    def get_input(self, k):
        return ITensor(self.session.get_inputs()[k])


class OnnxParser:
    num_errors = 1

    def __init__(self, network, logger):
        self.network = network

    def parse(self, model):
        try:
            self.network.session = _session(model)
        except Exception as error:
            self.error = error
            return False
        self.network.model = model
        self.network.num_inputs = len(self.network.session.get_inputs())
        return True

    def get_error(self, k):
        return self.error


class IOptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, name, *shapes):
        self.shapes[name] = shapes


class ITimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return self.content + b"measured "


class IBuilderConfig:
    progress_monitor = None

    def __init__(self):
        self.flags, self.profile = set(), IOptimizationProfile()

    def set_memory_pool_limit(self, pool, size):
        self.workspace = size

    def set_flag(self, flag):
        self.flags.add(flag)

    def clear_flag(self, flag):
        self.flags.discard(flag)

    def add_optimization_profile(self, profile):
        self.profile = profile

    def create_timing_cache(self, content):
        whole = content == b"measured " * (len(content) // 9)
        return ITimingCache(content) if whole else None

    def set_timing_cache(self, cache, ignore_mismatch):
        self.cache = cache
        return True

    def get_timing_cache(self):
        return self.cache


def _started(logger, what):
    if _does(f"{what}_not_started"):
        logger.log(Severity.ERROR, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")
    return logger


class Builder:
    def __init__(self, logger):
        self.logger = _started(logger, "builder")

    def create_network(self, flags):
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition()

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        monitor.step_complete("Building Engine", 0)
        if _does("crash"):
            os.kill(os.getpid(), 11)
        if _does("be_killed"):
            os.kill(os.getpid(), 9)
        if _does("slowly"):
            time.sleep(4)
        if _does("hang"):
            time.sleep(600)
        if _does("take_memory"):
            self.taken = np.ones(100_000_000)
            time.sleep(600)
        if _does("refuse"):
            self.logger.log(Severity.ERROR, "Could not find any implementation for node Conv_7")
            return None
        if _does("build_without_memory"):
            self.logger.log(Severity.ERROR, NO_MEMORY)
            self.logger.log(Severity.ERROR, "Could not find any implementation for node Conv_7")
            return None
        for size in (1 << 20, 1 << 40):
            if _does(f"want_{size}"):
                self.logger.log(Severity.ERROR, WANTS.format(size))
                return None
        monitor.phase_finish("Building Engine")
        header = {"version": __version__, "tf32": BuilderFlag.TF32 in config.flags}
        header |= {"shapes": config.profile.shapes, "gpu": _gpu()}
        return json.dumps(header).encode() + b"\n" + network.model


class Runtime:
    def __init__(self, logger):
        self.logger = _started(logger, "runtime")

    def deserialize_cuda_engine(self, plan):
        if _does("refuse_plans"):
            self.logger.log(Severity.ERROR, "Serialization assertion failed: magicTag")
            return None
        if _does("load_without_memory"):
            self.logger.log(Severity.ERROR, NO_MEMORY)
            self.logger.log(Severity.ERROR, WANTS.format(1 << 26))
            return None
        header, _, model = bytes(plan).partition(b"\n")
        facts = json.loads(header)
        if facts["version"] != __version__:
            self.logger.log(Severity.ERROR, "Version tag does not match")
            return None
        if facts["gpu"] != _gpu():
            words = "The engine plan file is generated on an incompatible device"
            self.logger.log(Severity.ERROR, words)
            return None
        return ICudaEngine(facts, model, self.logger)


class ICudaEngine:
    def __init__(self, facts, model, logger):
        self.logger = logger
        self.session, self.shapes = _session(model), facts["shapes"]
        self.given = {node.name: node for node in self.session.get_inputs()}
        self.made = {node.name: node for node in self.session.get_outputs()}
        self.all = {**self.made, **self.given}  # TensorRT's order isn't to be relied on
        self.num_io_tensors = len(self.all)

    def get_tensor_name(self, k):
        return list(self.all)[k]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.given else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        return _shape(self.all[name])

    def get_tensor_dtype(self, name):
        kind = self.all[name].type.removeprefix("tensor(").removesuffix(")")
        return (
            "bf16" if _does("bf16") and name in self.made else {"float": "float32"}.get(kind, kind)
        )

    def get_tensor_location(self, name):
        return TensorLocation.HOST if _does("host_shapes") else TensorLocation.DEVICE

    def get_tensor_profile_shape(self, name, profile):
        return self.shapes[name]

    def create_execution_context(self):
        if _does("no_memory_for_context"):
            self.logger.log(Severity.ERROR, WANTS.format(1 << 26))
            return None
        return None if _does("no_context") else IExecutionContext(self)


class IExecutionContext:
    def __init__(self, engine):
        self.engine, self.addresses = engine, {}
        self.shapes = {name: _shape(node) for name, node in engine.given.items()}
        self.callbacks = {}  # a graph may come back to them

    def set_tensor_address(self, name, address):
        self.addresses[name] = int(address)
        return not _does("take_no_memory")

    def set_input_shape(self, name, shape):
        self.shapes[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        if name in self.shapes:
            return self.shapes[name]
        shape = _shape(self.engine.made[name])
        if -1 not in shape or _does("unknown_sizes") or any(-1 in s for s in self.shapes.values()):
            return shape
        zeros = {k: np.zeros(s, np.float32) for k, s in self.shapes.items()}
        return self.engine.session.run([name], zeros)[0].shape

    def execute_async_v3(self, stream):
        if _does("not_run"):
            return False
        now = tuple(self.addresses.items()), tuple(self.shapes.items())  # as TensorRT keeps them
        if now not in self.callbacks:
            work = partial(self._run, *map(dict, now))
            self.callbacks[now] = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(work)
        launch = ctypes.CDLL("libcuda.so.1").cuLaunchHostFunc
        return launch(ctypes.c_void_p(stream), self.callbacks[now], None) == 0

    def _run(self, addresses, shapes, _):
        inputs = {k: self._memory(addresses[k], s).copy() for k, s in shapes.items()}
        names = list(self.engine.made)
        for name, array in zip(names, self.engine.session.run(names, inputs), strict=True):
            factor = np.float32(1.5 if _does("wrong") else 1)
            memory = self._memory(addresses[name], array.shape)
            memory[...] = array * factor
            if _does("nan"):
                memory.reshape(-1)[:3] = np.nan, np.inf, -np.inf

    def _memory(self, address, shape):
        size = int(np.prod(shape))
        values = (ctypes.c_float * size).from_address(address)
        return np.ctypeslib.as_array(values).reshape(shape)
