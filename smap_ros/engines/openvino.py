"""OpenVINO on the CPU."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any, BinaryIO

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
from smap_ros.engines.kept import ours, write_atomically
from smap_ros.engines.names import Precision
from smap_ros.errors import EngineError
from smap_ros.paths import cache_directory

log = logging.getLogger(__name__)

_TYPES = {
    "f16": "float16", "f32": "float32", "f64": "float64", "boolean": "bool",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
}  # fmt: skip


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
        kept = _cache_folder(model)
        try:
            network = core.read_model(model=model)
            # A compiled port has the names of all tensors that became one in it, too.
            given = {port.get_any_name() for port in network.inputs}
            made = [port.get_any_name() for port in network.outputs]
            compiled = core.compile_model(network, "CPU", _options(count, precision, kept))
            self.handle = compiled.create_infer_request()
        except Exception as error:  # openvino raises RuntimeError and classes of its own
            raise EngineError(f"openvino can't load the network: {error}") from error
        _vouch(kept)
        self.device = f"{cpu_device(count)}, {_precision(compiled)}"
        self.inputs = tuple(_spec(port, min(port.get_names() & given)) for port in compiled.inputs)
        self.outputs = tuple(
            _spec(port, name) for port, name in zip(compiled.outputs, made, strict=True)
        )
        self._warm_up()

    def _infer(self, inputs: dict[str, Array]) -> dict[str, Array]:
        # Sharing both ways saves two copies; the outputs live until the next run.
        values = self.handle.infer(inputs, share_inputs=True, share_outputs=True)
        return {spec.name: values[k] for k, spec in enumerate(self.outputs)}


def version() -> str | None:
    """Installed version, or None."""
    installed = runtime_version(OpenVinoEngine.name)
    return None if installed is None else installed.split("-", maxsplit=1)[0]


def _cache_folder(model: bytes) -> Path | None:
    """Where OpenVINO keeps what it made of a network, without what isn't as it was written.

    OpenVINO loads a file whose weights were damaged, and answers with other numbers.
    """
    try:
        folder = cache_directory() / "openvino" / hashlib.sha256(model).hexdigest()[:24]
        folder.mkdir(parents=True, exist_ok=True)
        for blob in folder.glob("*.blob"):
            if not _is_whole(blob):
                log.warning("%s isn't what openvino wrote: it is compiled anew", blob)
                for path in (blob, blob.with_suffix(".sha256")):
                    path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("openvino compiles the network at every start: no cache folder (%s)", error)
        return None
    return folder


def _is_whole(blob: Path) -> bool:
    noted = blob.with_suffix(".sha256")
    with blob.open("rb") as file:
        return ours(file) and noted.is_file() and noted.read_bytes() == _digest(file)


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest().encode()


def _vouch(folder: Path | None) -> None:
    """Note what files OpenVINO has written just now hold.

    It writes over one that another release of it wrote.
    """
    if folder is None:
        return
    try:
        for blob in folder.glob("*.blob"):
            noted = blob.with_suffix(".sha256")
            if not noted.is_file() or noted.stat().st_mtime_ns < blob.stat().st_mtime_ns:
                with blob.open("rb") as file:
                    write_atomically(noted, _digest(file))
    except OSError as error:
        log.warning("openvino compiles the network again at the next start: %s", error)


def _options(threads: int, precision: Precision, kept: Path | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
    }
    if precision == "f32":
        options["INFERENCE_PRECISION_HINT"] = "f32"
    if kept is not None:
        options["CACHE_DIR"] = str(kept)
    return options


def _precision(compiled: Any) -> str:
    """The arithmetic the plugin chose, like ``f32`` or ``bf16``."""
    return str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())


def _spec(port: Any, name: str) -> TensorSpec:
    shape = tuple(
        size.get_length() if size.is_static else None for size in port.get_partial_shape()
    )
    kind = port.get_element_type().get_type_name()
    return TensorSpec(name, shape, tensor_type(name, kind, _TYPES))
