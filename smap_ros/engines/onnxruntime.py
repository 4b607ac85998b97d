"""ONNX Runtime on the CPU."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from smap_ros.engines.base import (
    Array,
    Precision,
    TensorSpec,
    check_inputs,
    cpu_device,
    thread_count,
    zeros,
)
from smap_ros.errors import EngineError

_DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class OnnxRuntimeEngine:
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
        try:
            onnxruntime: Any = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise EngineError(
                f"onnxruntime is not importable ({error}); pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = count
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # By default idle workers spin, which takes a robot's other processes their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own for each status
            raise EngineError(f"onnxruntime can't load the network: {error}") from error
        self.device = cpu_device(count)
        self.inputs = tuple(_spec(node) for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node) for node in self._session.get_outputs())
        self._names = [spec.name for spec in self.outputs]
        self.run(zeros(self.inputs))  # warm-up: the first run allocates and packs weights

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See :meth:`smap_ros.engines.base.Engine.run`."""
        if self._session is None:
            raise EngineError("the engine is closed; create a new one")
        check_inputs(self.inputs, inputs)
        try:
            values = self._session.run(self._names, dict(inputs))
        except Exception as error:
            raise EngineError(f"onnxruntime failed to run the network: {error}") from error
        return dict(zip(self._names, values, strict=True))

    def close(self) -> None:
        """See :meth:`smap_ros.engines.base.Engine.close`."""
        self._session = None


def version() -> str | None:
    """Installed version, or None."""
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        return None
    return str(onnxruntime.__version__)


def _spec(node: Any) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return TensorSpec(node.name, shape, _DTYPES.get(node.type, node.type))
