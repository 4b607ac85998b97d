"""The shipped graphs in TensorRT, or TensorRT-RTX where only that is: answers and times."""

from __future__ import annotations

import importlib
from typing import Any
from unittest import mock

from bench.gpu.asking import Asked, Missing, event_times_us
from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.engines.agreement import (
    Answers,
    disagreement,
    drawn_inputs,
    image_inputs,
    picture_inputs,
)
from smap_ros.engines.factory import open_model
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.engines.tensorrt import engine as engine_module
from smap_ros.errors import EngineError

GRAPHS = [
    (name, role)
    for name, roles in (
        ("smap_lite", ("model", "second", "refine", "fuse")),
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
                    asked.tell(**{key: _graph(asked, load_bundle(name), role, precision)})
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


def pictures(bundle: Bundle, role: str) -> Answers:
    """What a graph is shown, by input; what else it takes is drawn.

    Of what isn't in a picture the answers are near 0, and rounding is much of them.
    """
    manifest: Any = bundle.manifest
    if role == "second":
        return image_inputs(manifest.second_look.input)
    return picture_inputs(manifest) if role == "model" else {}


def _graph(asked: Asked, bundle: Bundle, role: str, precision: Precision) -> dict[str, Any]:
    options, model = GpuOptions(asked.device), bundle.read(role)
    engine: Any = open_model(model, "tensorrt", precision=precision, gpu=options, rows=8)
    try:
        reference = open_model(model, "onnxruntime", 1)
        inputs = {**drawn_inputs(reference.inputs), **pictures(bundle, role)}
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
