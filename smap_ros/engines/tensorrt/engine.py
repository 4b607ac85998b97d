"""The engine: a plan found or built, loaded, and run with memory of its own on the GPU."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smap_ros.engines.base import (
    Array,
    TensorSpec,
    check_inputs,
    load_runtime,
    runtime_version,
    zeros,
)
from smap_ros.engines.cuda import LACKS_MEMORY, Gpu, GpuError, out_of_memory
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.engines.tensorrt.builder import make_logger
from smap_ros.engines.tensorrt.building import Order, build_plan
from smap_ros.engines.tensorrt.plans import (
    PlanKey,
    forget_plan,
    load_plan,
    note,
    noted,
    only_one,
    save_plan,
)
from smap_ros.errors import EngineError, SmapError

log = logging.getLogger(__name__)

OLDEST, NEWEST = 10, 11


@dataclass(frozen=True)
class Tensor:
    """An input or output of a loaded network.

    Attributes:
        spec: as users see it; sizes that may vary are None.
        address: of its memory on the device, enough for the largest shape.
        host: pinned memory of the same size, flat.
    """

    spec: TensorSpec
    address: int
    host: Array


class TensorRtEngine:
    """A network run by TensorRT on a GPU.

    Args:
        model: content of the ONNX file, weights embedded. Its types are kept: half precision is a
            matter of the file.
        threads: ignored; for the common interface.
        precision: ``f32`` without TF32; everything else with it.
        gpu: which one, and what the builder may take of it.
        rows: sizes that the network leaves free may be 1 to this.

    Attributes:
        gpu: the GPU, for others who work on the same memory.
        stream: in which everything happens.
        fresh: whether the plan was built just now.

    Raises:
        EngineError: if TensorRT, the driver or the GPU is missing, or the network is refused; of
            type ``GpuError``, if the GPU fails or has no memory left.
    """

    name = "tensorrt"
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        model: bytes,
        threads: int = 0,
        precision: Precision = "f32",
        gpu: GpuOptions | None = None,
        rows: int = 8,
    ) -> None:
        del threads
        options = gpu or GpuOptions()
        self._progress = options.progress
        self._trt = import_tensorrt()
        self.gpu = Gpu(options.device)
        self._words: list[str] = []
        try:
            self._order = Order(
                precision != "f32",
                rows,
                options.workspace_mb << 20,
                self._trt.__name__,
                device=options.device,
            )
            version, facts = str(self._trt.__version__), self.gpu.facts
            self.key = PlanKey.of(model, version, facts, self._order.flags)
            self.device = f"{facts.name}, {precision}"
            self._load(model)
            self.stream = self.gpu.stream()
            self.tensors = {name: self._tensor(name) for name in self._names}
            for name, tensor in self.tensors.items():
                self._must(self._context.set_tensor_address(name, tensor.address), "take memory")
            given = [name for name in self._names if self._is_input(name)]
            self.inputs = tuple(self.tensors[name].spec for name in given)
            self.outputs = tuple(t.spec for name, t in self.tensors.items() if name not in given)
            self.run(zeros(self.inputs))
        except SmapError:
            self.gpu.close()
            raise
        except Exception as error:  # its bindings raise what they like
            self.gpu.close()
            raise self._failed("start", f"{error}; {self._reasons()}") from error
        except BaseException:
            self.gpu.close()
            raise

    def _load(self, model: bytes) -> None:
        """The plan that is kept, or a new one when there is none or TensorRT refuses it."""
        with only_one(self.key, self._progress):
            plan = load_plan(self.key)
            self.fresh = plan is None
            if plan is not None and not self._opens(plan):
                log.warning(
                    "TensorRT refuses the plan %s (%s): it is deleted and built anew",
                    self.key.path, self._reasons(),
                )  # fmt: skip
                forget_plan(self.key)
                self.fresh = True
            if self.fresh and not self._opens(self._built(model)):
                raise EngineError(
                    f"TensorRT refuses the plan that it built itself: {self._reasons()}. Is the "
                    "TensorRT of another version found by the library path?"
                )

    def _built(self, model: bytes) -> bytes:
        log.warning(
            "building a TensorRT plan for %s; this takes minutes, once (`smap-ros engine build` "
            "does it beforehand)", self.gpu.facts.name,
        )  # fmt: skip
        try:
            timing = self.key.timing_path
        except OSError:
            timing = None
        plan = build_plan(model, self._order, timing, progress=self._progress)
        try:
            log.info("kept the TensorRT plan in %s", save_plan(plan, self.key))
        except OSError as error:
            log.warning("the TensorRT plan can't be kept and is built at every start: %s", error)
        return plan

    def _opens(self, plan: bytes) -> bool:
        """Load a plan; whether TensorRT takes it.

        Raises:
            GpuError: if it would, and the GPU has no memory for it: the plan is good.
        """
        with self.gpu.current("load a plan"):
            self._words.clear()
            logger = make_logger(self._trt, self._words)
            runtime = self._trt.Runtime(logger)
            engine = runtime.deserialize_cuda_engine(plan)
            if engine is None and not out_of_memory(self._reasons()):
                return False
            context = None if engine is None else engine.create_execution_context()
            if context is None:
                del engine, runtime  # now: the error keeps this frame, and the context goes first
                raise self._failed("run the network", self._reasons())
            self._engine, self._context = engine, context
            # TensorRT wants them gone in this order, and before the memory that they work on.
            held = [logger, runtime, engine, context]
            self.gpu.on_close(lambda: [held.pop() for _ in range(len(held))])
            self.gpu.on_close(self._let_go)
            return True

    def _let_go(self) -> None:
        self._context = self._engine = None

    @property
    def _names(self) -> list[str]:
        """Of all inputs, then of all outputs, whose sizes follow from those of the inputs."""
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        return sorted(names, key=self._is_input, reverse=True)

    def _is_input(self, name: str) -> bool:
        return bool(self._engine.get_tensor_mode(name) == self._trt.TensorIOMode.INPUT)

    def _tensor(self, name: str) -> Tensor:
        """Memory for a tensor's largest shape."""
        engine = self._engine
        if engine.get_tensor_location(name) != self._trt.TensorLocation.DEVICE:
            raise EngineError(
                f"the network takes the shape {name!r} as a number on the host, which this engine "
                "can't give; choose engine auto, openvino or onnxruntime"
            )
        try:
            dtype = np.dtype(self._trt.nptype(engine.get_tensor_dtype(name)))
        except TypeError as error:
            raise EngineError(
                f"the network's {name!r} is {engine.get_tensor_dtype(name)}, which numpy doesn't "
                "have; export the network with float32 inputs and outputs"
            ) from error
        shape = tuple(engine.get_tensor_shape(name))
        largest = self._largest(name, shape)
        size = int(np.prod(largest, dtype=np.int64))
        memory = self.gpu.memory(size * dtype.itemsize)
        spec = TensorSpec(name, tuple(None if s == -1 else s for s in shape), dtype.name)
        return Tensor(spec, memory, self.gpu.pinned((size,), dtype))

    def _largest(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        if -1 not in shape:
            return shape
        if self._is_input(name):
            most = tuple(self._engine.get_tensor_profile_shape(name, 0)[2])
            self._must(self._context.set_input_shape(name, most), f"take {most} as {name}")
            return most
        largest = tuple(self._context.get_tensor_shape(name))
        if -1 in largest:
            raise EngineError(
                f"how large the network's output {name!r} is depends on what it sees, which this "
                "engine can't handle; choose engine auto, openvino or onnxruntime"
            )
        return largest

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See :meth:`smap_ros.engines.base.Engine.run`."""
        if self._context is None:
            raise EngineError("the engine is closed; create a new one")
        check_inputs(self.inputs, inputs)
        with self.gpu.current("run the network"):
            self.send(inputs)
            self.enqueue()
            views = self.fetch()
            self.gpu.wait(self.stream)
        return views

    def send(self, inputs: Mapping[str, Array], stream: Any = None) -> None:
        """Have inputs, which fit, copied to their memory in a stream, by default the engine's."""
        with self.gpu.current("give the network its inputs"):
            for name, array in inputs.items():
                self._upload(self.tensors[name], array, self._in(stream))

    def fetch(self, names: Sequence[str] | None = None, stream: Any = None) -> dict[str, Array]:
        """Have outputs, by default all, copied to the host; there when the stream is done."""
        names = [spec.name for spec in self.outputs] if names is None else names
        with self.gpu.current("fetch the network's outputs"):
            return {n: self._download(self.tensors[n], self._in(stream)) for n in names}

    def address(self, name: str) -> int:
        """Where an input or output lies on the device."""
        return self.tensors[name].address

    def enqueue(self, elsewhere: Mapping[str, int] | None = None, stream: Any = None) -> None:
        """Have the network run, on what lies in the inputs' memory.

        Args:
            elsewhere: addresses of inputs and outputs that are not to be the engine's own.
            stream: of the same GPU, by default the engine's own.
        """
        with self.gpu.current("run the network"):
            self._words.clear()
            for name, tensor in self.tensors.items():
                address = (elsewhere or {}).get(name, tensor.address)
                self._must(self._context.set_tensor_address(name, address), "take memory")
            self._must(self._context.execute_async_v3(int(self._in(stream))), "run the network")

    def _in(self, stream: Any) -> Any:
        return self.stream if stream is None else stream

    def _upload(self, tensor: Tensor, array: Array, stream: Any) -> None:
        if array.size > tensor.host.size:
            raise EngineError(
                f"network input {tensor.spec.name!r} is {list(array.shape)}; the plan was built "
                f"for {self._order.rows} at once. Send fewer at a time"
            )
        if None in tensor.spec.shape:
            shape = tuple(array.shape)
            self._must(self._context.set_input_shape(tensor.spec.name, shape), f"take {shape}")
        host = tensor.host[: array.size]
        host.reshape(array.shape)[...] = array
        self.gpu.upload(tensor.address, host, stream)

    def _download(self, tensor: Tensor, stream: Any) -> Array:
        shape = tuple(self._context.get_tensor_shape(tensor.spec.name))
        host = tensor.host[: int(np.prod(shape, dtype=np.int64))]
        self.gpu.download(host, tensor.address, stream)
        return host.reshape(shape)

    def _must(self, done: bool, what: str) -> None:
        """TensorRT tells failures by False, and why in its log."""
        if not done:
            raise self._failed(what, self._reasons())

    def _failed(self, what: str, reasons: str) -> EngineError:
        """The error that TensorRT can't do something."""
        name = self.gpu.facts.name
        if out_of_memory(reasons):
            return GpuError(f"{name} has no memory for the plan: {reasons}. {LACKS_MEMORY}")
        return EngineError(
            f"TensorRT can't {what} on {name}: {reasons}. Choose engine auto, openvino or "
            "onnxruntime"
        )

    def _reasons(self) -> str:
        return "; ".join(self._words) or "it gives no reason"

    def close(self) -> None:
        """See :meth:`smap_ros.engines.base.Engine.close`."""
        self.gpu.close()

    def believed(self) -> bool:
        """Whether the plan's answer was found to be that of a CPU."""
        return noted(self.key, "error") is not None

    def believe(self, error: float) -> None:
        """Note how far the plan's answer is from that of a CPU."""
        note(self.key, error=error)

    def disbelieve(self) -> None:
        """Delete the plan, whose answer is wrong."""
        forget_plan(self.key)


def version() -> str | None:
    """Installed version, or None; says nothing about a GPU."""
    return runtime_version(TensorRtEngine.name)


def import_tensorrt() -> Any:
    """TensorRT's module.

    Raises:
        EngineError: saying how to get it.
    """
    try:
        trt = load_runtime(TensorRtEngine.name)
    except (ImportError, OSError) as error:
        raise EngineError(
            f"TensorRT's Python module is missing ({error}). On a Jetson it comes with JetPack; "
            "elsewhere pip install tensorrt. Or choose engine auto, openvino or onnxruntime"
        ) from error
    if int(trt.__version__.split(".")[0]) < OLDEST:
        raise EngineError(
            f"TensorRT is {trt.__version__}; expected {OLDEST} to {NEWEST}. Update it"
        )
    return trt
