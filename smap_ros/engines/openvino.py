"""OpenVINO on the CPU."""

from __future__ import annotations

import logging
from typing import Any

from smap_ros.engines.base import (
    Array,
    CpuEngine,
    TensorSpec,
    cpu_device,
    import_runtime,
    runtime_version,
    thread_count,
    zeros,
)
from smap_ros.engines.names import Precision
from smap_ros.errors import EngineError
from smap_ros.paths import cache_directory

log = logging.getLogger(__name__)


class OpenVinoEngine(CpuEngine):
    """A network compiled by OpenVINO for the CPU, tuned for the latency of single images.

    Args:
        model: content of the ONNX file, weights embedded.
        threads: threads of the network; 0 takes all cores this process may use.
        precision: ``f32`` computes as the ONNX file says; ``auto`` leaves it to OpenVINO, which
            takes bfloat16 where the CPU has units for it.

    Raises:
        EngineError: if openvino is not installed or refuses the network.
    """

    name = "openvino"

    def __init__(self, model: bytes, threads: int = 0, precision: Precision = "f32") -> None:
        count = thread_count(threads)
        core = import_runtime(self.name).Core()
        try:
            network = core.read_model(model=model)
            compiled = core.compile_model(network, "CPU", _options(count, precision))
            self.handle = compiled.create_infer_request()
        except Exception as error:  # openvino raises RuntimeError and classes of its own
            raise EngineError(f"openvino can't load the network: {error}") from error
        self.device = f"{cpu_device(count)}, {_precision(compiled)}"
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)
        self.run(zeros(self.inputs))  # warm-up: the first run allocates

    def _infer(self, inputs: dict[str, Array]) -> dict[str, Array]:
        # Sharing both ways saves two copies; the outputs live until the next run.
        values = self.handle.infer(inputs, share_inputs=True, share_outputs=True)
        return {spec.name: values[k] for k, spec in enumerate(self.outputs)}


def version() -> str | None:
    """Installed version, or None."""
    installed = runtime_version(OpenVinoEngine.name)
    return None if installed is None else installed.split("-", maxsplit=1)[0]


def _options(threads: int, precision: Precision) -> dict[str, Any]:
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
    }
    if precision == "f32":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    try:
        options["CACHE_DIR"] = str(cache_directory() / "openvino")
    except OSError as error:
        log.warning("openvino compiles the network at every start: no cache folder (%s)", error)
    return options


def _precision(compiled: Any) -> str:
    """The arithmetic the plugin chose, like ``f32`` or ``bf16``."""
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _spec(port: Any) -> TensorSpec:
    shape = tuple(
        size.get_length() if size.is_static else None for size in port.get_partial_shape()
    )
    dtype = {"f32": "float32", "f16": "float16", "u8": "uint8"}
    kind = port.get_element_type().get_type_name()
    return TensorSpec(port.get_any_name(), shape, dtype.get(kind, kind))
