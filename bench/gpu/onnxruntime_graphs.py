"""The shipped graphs on ONNX Runtime's own CUDA provider: answers and times."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from bench.gpu.asking import Asked, Missing, summary
from bench.gpu.tensorrt_graphs import GRAPHS, pictures
from smap_ros.bundles.bundle import load_bundle
from smap_ros.engines.agreement import Answers, disagreement

PROVIDER = "CUDAExecutionProvider"


def ask(asked: Asked) -> None:
    """Each graph with and without TF32, inputs and outputs bound to the device."""
    import onnxruntime

    if PROVIDER not in onnxruntime.get_available_providers():
        raise Missing(f"ONNX Runtime {onnxruntime.__version__} has no {PROVIDER}")
    if hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    for name, role in GRAPHS[: 1 if asked.dry else None]:
        bundle = load_bundle(name)
        model = bundle.read(role)
        inputs, expected = _answer(onnxruntime, model, pictures(bundle, role))
        for tf32 in ("0", "1"):
            options = {"device_id": str(asked.device), "use_tf32": tf32}
            key = f"{name} {role} tf32={tf32}"
            try:
                session = onnxruntime.InferenceSession(model, providers=[(PROVIDER, options)])
                asked.tell(**{key: _timed(asked, session, inputs, expected)})
            except Exception as error:  # ONNX Runtime's classes are many
                asked.tell(**{key: str(error)})


def _answer(
    onnxruntime: Any, model: bytes, shown: Answers
) -> tuple[dict[str, Any], dict[str, Any]]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    kinds = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(bool)": np.bool_}
    inputs = {}
    for node in session.get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in node.shape]
        inputs[node.name] = rng.random(shape, np.float32).astype(kinds[node.type])
    inputs |= shown
    names = [node.name for node in session.get_outputs()]
    return inputs, dict(zip(names, session.run(names, inputs), strict=True))


def _timed(
    asked: Asked, session: Any, inputs: dict[str, Any], expected: dict[str, Any]
) -> dict[str, Any]:
    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_cpu_input(name, array)
    for name in expected:
        binding.bind_output(name, "cuda", asked.device)
    spent = []
    for _ in range(asked.count(200)):
        began = time.perf_counter()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        spent.append((time.perf_counter() - began) * 1e3)
    got = dict(zip(expected, binding.copy_outputs_to_cpu(), strict=True))
    error, worst = disagreement(got, expected)
    return {"error": error, "worst": worst, "ms": summary(spent)}
