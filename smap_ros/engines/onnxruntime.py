"""ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

from smap_ros.engines.base import (
    Array,
    CpuEngine,
    TensorSpec,
    cpu_device,
    import_runtime,
    runtime_version,
    tensor_type,
    thread_count,
)
from smap_ros.engines.names import Precision
from smap_ros.errors import EngineError

_TYPES = {
    "tensor(float)": "float32", "tensor(double)": "float64", "tensor(bool)": "bool",
    **{
        f"tensor({kind})": kind
        for kind in (
            "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        )
    },
}  # fmt: skip


class OnnxRuntimeEngine(CpuEngine):
    """A network run by ONNX Runtime's CPU provider.

    Args:
        model: content of the ONNX file, weights embedded.
        threads: threads of the network; 0 takes all cores this process may use.
        precision: accepted for the common interface; this provider always computes as the
            ONNX file says.

    Raises:
        EngineError: if onnxruntime is not installed or refuses the network.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes, threads: int = 0, precision: Precision = "f32") -> None:
        del precision
        count = thread_count(threads)
        onnxruntime = import_runtime(self.name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised; it would print them as well
        # By default idle workers spin, which takes a robot's other processes their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # Without its fallback, which prints of each refusal and tries the same once more.
            self.handle = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # onnxruntime raises a class of its own for each status
            raise EngineError(f"onnxruntime can't load the network: {error}") from error
        self.device = cpu_device(count)
        self.inputs = tuple(_spec(node) for node in self.handle.get_inputs())
        self.outputs = tuple(_spec(node) for node in self.handle.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self._warm_up()

    def _infer(self, inputs: dict[str, Array]) -> dict[str, Array]:
        return dict(zip(self._names, self.handle.run(self._names, inputs), strict=True))


def version() -> str | None:
    """Installed version, or None."""
    return runtime_version(OnnxRuntimeEngine.name)


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, tensor_type(node.name, node.type, _TYPES))
