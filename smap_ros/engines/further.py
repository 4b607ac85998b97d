"""A bundle's further networks, behind the first one: where they run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from smap_ros.bundles.bundle import Bundle
from smap_ros.engines.agreement import (
    Answers,
    WrongAnswerError,
    check_answers,
    drawn_inputs,
)
from smap_ros.engines.base import Engine
from smap_ros.engines.factory import cpu_runtime, open_model
from smap_ros.engines.names import GpuOptions, Precision
from smap_ros.errors import EngineError

log = logging.getLogger(__name__)


def open_further(
    bundle: Bundle,
    role: str,
    first: Engine,
    threads: int = 0,
    precision: Precision = "f32",
    *,
    gpu: GpuOptions | None = None,
    rows: int = 1,
    inputs: Callable[[], Answers] | None = None,
    shown: Callable[[Answers], Answers] = dict,
) -> Engine:
    """Load a network behind the first one, on the same runtime.

    Where TensorRT can't, or answers wrong, a runtime for the CPU is taken instead, and the reason
    is added to the first one's notes.

    Args:
        bundle: whose network it is.
        role: of its file in the manifest.
        first: the bundle's first network, loaded.
        threads, precision, gpu, rows: see :func:`smap_ros.engines.create_engine`.
        inputs: makes what a new plan is asked; by default numbers are drawn.
        shown: what of the answer is compared with that of a CPU.

    Raises:
        EngineError: if no runtime can.
    """
    model = bundle.read(role)
    try:
        engine = open_model(model, first.name, threads, precision, gpu=gpu, rows=rows)
        if first.name == "tensorrt":
            _check(model, engine, precision, inputs, shown)
        return engine
    except EngineError as error:
        runtime = cpu_runtime(first.name)
        if runtime is None or runtime == first.name:
            raise
        log.warning("the %s network runs on %s: %s", role, runtime, error)
        first.notes = (*first.notes, f"{first.name} for {role}: {error}")
        return open_model(model, runtime, threads, precision)


def _check(
    model: bytes,
    engine: Any,
    precision: Precision,
    inputs: Callable[[], Answers] | None,
    shown: Callable[[Answers], Answers],
) -> None:
    """Refuse a plan whose answer isn't that of a CPU, and close it; once for each plan."""
    runtime = cpu_runtime("onnxruntime")
    try:
        if engine.believed() or runtime is None:
            return
        reference = open_model(model, runtime)
        try:
            asked = drawn_inputs(engine.inputs) if inputs is None else inputs()
            engine.believe(check_answers(asked, engine, reference, precision, shown))
        finally:
            reference.close()
    except BaseException as error:
        if isinstance(error, WrongAnswerError):
            engine.disbelieve()
        engine.close()
        raise
