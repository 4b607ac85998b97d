"""TensorRT (10 or newer) on an NVIDIA GPU, memory handled through cuda-python.

A plan only fits the GPU and TensorRT version that built it, and loading one runs what is in
it. So plans are built here from the bundle's checked ONNX file, kept in the cache folder with
a side-car that holds their hash, and anything that doesn't match is built anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from smap_ros.engines.base import Array, TensorSpec, check_inputs, runtime_version, zeros
from smap_ros.engines.names import Precision
from smap_ros.errors import EngineError
from smap_ros.paths import cache_directory

log = logging.getLogger(__name__)

WORKSPACE_BYTES = 1 << 30


@dataclass(frozen=True)
class Toolkit:
    """The imported TensorRT and CUDA runtime modules, and the GPU they found."""

    trt: Any
    cudart: Any
    gpu: str


def toolkit() -> Toolkit:
    """TensorRT, the CUDA runtime and the first GPU.

    Raises:
        EngineError: naming what is missing and how to get it.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except (ImportError, OSError) as error:
        raise EngineError(
            f"TensorRT's Python module is missing ({error}). On a Jetson it comes with JetPack; "
            "elsewhere pip install tensorrt. Or choose engine auto, openvino or onnxruntime"
        ) from error
    if int(trt.__version__.split(".")[0]) < 10:
        raise EngineError(f"TensorRT is {trt.__version__}; expected 10 or newer. Update it")
    cudart = _cuda_runtime()
    status, properties = cudart.cudaGetDeviceProperties(0)
    if int(status) != 0:
        raise EngineError(
            f"no usable NVIDIA GPU ({status}); check nvidia-smi and the driver, or choose engine "
            "auto, openvino or onnxruntime"
        )
    return Toolkit(trt, cudart, properties.name.decode(errors="replace"))


class TensorRtEngine:
    """A network run by TensorRT on the first GPU.

    Args:
        model: content of the ONNX file, weights embedded; sizes left free become 1.
        threads: ignored; for the common interface.
        precision: ``f32`` without TF32, or ``auto``: with TensorRT 10 half precision where it
            is faster, with 11 the types of the ONNX file, and TF32.

    Raises:
        EngineError: if TensorRT, cuda-python or the GPU is missing, or the network is refused.
    """

    name = "tensorrt"

    def __init__(self, model: bytes, threads: int = 0, precision: Precision = "f32") -> None:
        del threads
        self._kit = kit = toolkit()
        plan = load_plan(model, kit, precision) or build_plan(model, kit, precision)
        runtime = kit.trt.Runtime(kit.trt.Logger(kit.trt.Logger.ERROR))
        self._engine: Any = runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError("TensorRT can't load the plan it built; see its messages above")
        self._context: Any = self._engine.create_execution_context()
        self.device = f"{kit.gpu}, {precision}"
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        modes = {name: self._engine.get_tensor_mode(name) for name in names}
        given = kit.trt.TensorIOMode.INPUT
        self.inputs = tuple(self._spec(name) for name in names if modes[name] == given)
        self.outputs = tuple(self._spec(name) for name in names if modes[name] != given)
        self._host = {**zeros(self.inputs), **zeros(self.outputs)}
        self._device: dict[str, int] = {}
        self._stream = self._call("cudaStreamCreate")
        for name, array in self._host.items():
            self._device[name] = int(self._call("cudaMalloc", array.nbytes))
            self._context.set_tensor_address(name, self._device[name])
        self.run(zeros(self.inputs))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See :meth:`smap_ros.engines.base.Engine.run`."""
        if self._context is None:
            raise EngineError("the engine is closed; create a new one")
        check_inputs(self.inputs, inputs)
        kind = self._kit.cudart.cudaMemcpyKind
        for name, array in inputs.items():
            source = np.ascontiguousarray(array)
            self._copy(self._device[name], source.ctypes.data, source, kind.cudaMemcpyHostToDevice)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EngineError("TensorRT failed to run the network; see its messages above")
        for spec in self.outputs:
            target = self._host[spec.name]
            address = self._device[spec.name]
            self._copy(target.ctypes.data, address, target, kind.cudaMemcpyDeviceToHost)
        self._call("cudaStreamSynchronize", self._stream)
        return {spec.name: self._host[spec.name] for spec in self.outputs}

    def close(self) -> None:
        """See :meth:`smap_ros.engines.base.Engine.close`."""
        if self._context is None:
            return
        self._context = self._engine = None
        for address in self._device.values():
            self._call("cudaFree", address)
        self._call("cudaStreamDestroy", self._stream)
        self._device = {}

    def _copy(self, target: int, source: int, array: Array, kind: Any) -> None:
        self._call("cudaMemcpyAsync", target, source, array.nbytes, kind, self._stream)

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call the CUDA runtime; its status becomes an error, its result is returned."""
        status, *result = getattr(self._kit.cudart, function)(*arguments)
        if int(status) != 0:
            raise EngineError(f"{function} failed with {status} on {self._kit.gpu}")
        return result[0] if result else None

    def _spec(self, name: str) -> TensorSpec:
        dtype = np.dtype(self._kit.trt.nptype(self._engine.get_tensor_dtype(name)))
        return TensorSpec(name, tuple(self._engine.get_tensor_shape(name)), dtype.name)


def plan_path(model: bytes, version: str, gpu: str, precision: str) -> Path:
    """Where the plan of a network is kept for this TensorRT and GPU."""
    parts = [hashlib.sha256(model).hexdigest(), version, gpu, precision]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
    return cache_directory() / "tensorrt" / f"{key}.plan"


def load_plan(model: bytes, kit: Toolkit, precision: str) -> bytes | None:
    """The plan built earlier on this machine, or None when there is none to be trusted."""
    path = plan_path(model, kit.trt.__version__, kit.gpu, precision)
    if not path.is_file():
        return None
    try:
        plan = path.read_bytes()
        expected = json.loads(path.with_suffix(".json").read_text())["plan_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.warning("ignoring the plan %s, its side-car is unusable (%r)", path, error)
        return None
    if hashlib.sha256(plan).hexdigest() != expected:
        log.warning("ignoring the plan %s: it is not the one that was built here", path)
        return None
    return plan


def save_plan(plan: bytes, model: bytes, kit: Toolkit, precision: str) -> Path:
    """Keep a plan with its side-car; returns where."""
    path = plan_path(model, kit.trt.__version__, kit.gpu, precision)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plan)
    sidecar = {
        "plan_sha256": hashlib.sha256(plan).hexdigest(),
        "model_sha256": hashlib.sha256(model).hexdigest(),
        "tensorrt": kit.trt.__version__,
        "gpu": kit.gpu,
        "precision": precision,
    }
    path.with_suffix(".json").write_text(json.dumps(sidecar, indent=1))
    return path


def build_plan(model: bytes, kit: Toolkit, precision: str) -> bytes:
    """Build and keep the plan of a network; takes minutes.

    Raises:
        EngineError: if TensorRT refuses the network, with its reasons.
    """
    trt = kit.trt
    log.warning("building a TensorRT plan for %s; this takes minutes, once", kit.gpu)
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse(model):
        reasons = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise EngineError(f"TensorRT can't read the network: {reasons}")
    for k in range(network.num_inputs):
        # Sizes that the ONNX file leaves free, like the number of crops, become 1: a plan for
        # one shape is the fastest, and estimators that may send more send them one by one.
        source = network.get_input(k)
        source.shape = tuple(1 if size == -1 else size for size in source.shape)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    if precision == "f32":
        config.clear_flag(trt.BuilderFlag.TF32)
    elif hasattr(trt.BuilderFlag, "FP16"):  # 11 has none: there the ONNX file decides alone
        config.set_flag(trt.BuilderFlag.FP16)
    serialised = builder.build_serialized_network(network, config)
    if serialised is None:
        raise EngineError("TensorRT can't build the network; see its messages above")
    plan = bytes(serialised)
    try:
        log.info("kept the TensorRT plan in %s", save_plan(plan, model, kit, precision))
    except OSError as error:
        log.warning("the TensorRT plan can't be kept and is built at every start: %s", error)
    return plan


def version() -> str | None:
    """Installed version, or None; says nothing about a GPU."""
    return runtime_version(TensorRtEngine.name)


def _cuda_runtime() -> Any:
    # cuda-python moved the module in version 12.6 and dropped the old name in 13.
    for module in ("cuda.bindings.runtime", "cuda.cudart"):
        with contextlib.suppress(ImportError, OSError):
            return importlib.import_module(module)
    raise EngineError(
        "cuda-python is missing, which moves images to the GPU; pip install cuda-python of your "
        "CUDA's major version. Or choose engine auto, openvino or onnxruntime"
    )
