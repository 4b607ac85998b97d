"""The shipped graphs in TensorRT, or TensorRT-RTX where only that is: answers and times."""

from __future__ import annotations

import importlib
from typing import Any
from unittest import mock

from bench.gpu.asking import Asked, Missing, event_times_us
from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines.agreement import disagreement
from smap_ros.engines.base import zeros
from smap_ros.engines.factory import open_model
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.engines.tensorrt import engine as engine_module
from smap_ros.errors import EngineError

GRAPHS = [
    (name, role)
    for name, roles in (
        ("smap_lite", ("model", "refine")),
        ("virtualpose_lite", ("model", "root", "pose")),
        ("maed_smoother", ("model",)),
    )
    for role in roles
]
RTX = ("tensorrt_rtx", "tensorrt_rtx_bindings")


def ask(asked: Asked) -> None:
    """Each graph in each arithmetic: how far from the CPU's answer, and how long."""
    module = _module()
    asked.tell(version=str(module.__version__))
    precisions: tuple[Precision, ...] = ("f32", "tf32")
    with mock.patch.object(engine_module, "import_tensorrt", return_value=module):
        for name, role in GRAPHS[: 2 if asked.dry else None]:
            for precision in precisions[: 1 if asked.dry else None]:
                key = f"{name} {role} {precision}"
                try:
                    asked.tell(**{key: _graph(asked, load_bundle(name).read(role), precision)})
                except EngineError as error:
                    asked.tell(**{key: str(error)})


def _module() -> Any:
    """TensorRT 10 or 11, else TensorRT-RTX, which has the same interface."""
    try:
        return engine_module.import_tensorrt()
    except EngineError as error:
        reason = str(error)
    for name in RTX:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError):
            continue
    raise Missing(reason)


def _graph(asked: Asked, model: bytes, precision: Precision) -> dict[str, Any]:
    import numpy as np

    options = GpuOptions(asked.device)
    engine: Any = open_model(model, "tensorrt", precision=precision, gpu=options, rows=8)
    try:
        reference = open_model(model, "onnxruntime", 1)
        rng = np.random.default_rng(0)
        inputs = {
            name: rng.random(a.shape, np.float32).astype(a.dtype)
            for name, a in zeros(reference.inputs).items()
        }
        expected = {name: array.copy() for name, array in reference.run(inputs).items()}
        error, worst = disagreement(engine.run(inputs), expected)
        times = event_times_us(engine.gpu, engine.stream, engine.enqueue, asked.count(200))
        found = {"error": error, "worst": worst, "us": times}
        found["plan_mb"] = engine.key.path.stat().st_size / 1e6
        try:
            replay = engine.gpu.capture(engine.enqueue, engine.stream)
            found["graph_us"] = event_times_us(engine.gpu, engine.stream, replay, asked.count(200))
        except EngineError as failed:
            found["capture"] = str(failed)
        return found
    finally:
        engine.close()
