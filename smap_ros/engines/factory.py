"""Engines by name, and the choice of the fastest on this machine."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np

from smap_ros.bundles.bundle import Bundle
from smap_ros.engines.base import Engine, zeros
from smap_ros.engines.names import EngineName, Precision
from smap_ros.errors import BundleError, EngineError, SmapError
from smap_ros.paths import cache_directory

log = logging.getLogger(__name__)

# name -> module and class; a new runtime adds a line. Imported only when used.
_RUNTIMES = {
    "openvino": ("smap_ros.engines.openvino", "OpenVinoEngine"),
    "onnxruntime": ("smap_ros.engines.onnxruntime", "OnnxRuntimeEngine"),
    "tensorrt": ("smap_ros.engines.tensorrt", "TensorRtEngine"),
}
ENGINES = get_args(EngineName)

MEASURE_SECONDS = 1.0


@dataclass(frozen=True)
class Timing:
    """How long one run takes.

    Attributes:
        least_ms, median_ms, p95_ms: milliseconds.
        runs: number of runs they come from.
    """

    least_ms: float
    median_ms: float
    p95_ms: float
    runs: int


def available_engines() -> dict[str, str]:
    """Runtimes that can be imported on this machine: name -> version, in order of preference."""
    versions = {name: _module(name).version() for name in _RUNTIMES}
    return {name: version for name, version in versions.items() if version is not None}


def cpu_runtime(preferred: str) -> str | None:
    """A runtime for networks whose sizes vary, which TensorRT doesn't take.

    Args:
        preferred: taken if it is such a runtime.

    Returns:
        Name of a runtime on the CPU, or None when none is installed.
    """
    names = [name for name in available_engines() if name != "tensorrt"]
    return preferred if preferred in names else next(iter(names), None)


def create_engine(
    bundle: Bundle,
    name: str = "auto",
    threads: int = 0,
    precision: Precision = "f32",
    *,
    remeasure: bool = False,
) -> Engine:
    """Load a bundle's network, warm, with its inputs and outputs checked against the manifest.

    ``auto`` measures every available runtime for a second on this machine, takes the fastest,
    and remembers the choice until the bundle, a runtime, the threads or the CPU change. Where
    TensorRT is installed, the first measurement includes building its plan: minutes.

    Args:
        bundle: from :func:`smap_ros.bundles.bundle.load_bundle`.
        name: ``auto``, ``openvino``, ``onnxruntime`` or ``tensorrt``.
        threads: threads of the network on a CPU; 0 takes all cores this process may use.
        precision: ``f32`` gives the network's own numbers on every runtime; ``auto`` lets the
            runtime use a coarser, faster arithmetic.
        remeasure: with ``auto``, measure again instead of recalling the choice.

    Raises:
        EngineError: if the name is unknown or the runtime isn't available or fails.
        BundleError: if the network's inputs or outputs contradict the manifest.
    """
    if name not in ENGINES:
        raise EngineError(f"engine {name!r} is unknown; expected one of {', '.join(ENGINES)}")
    if precision not in ("f32", "auto"):
        raise EngineError(f"precision is {precision!r}; expected f32 or auto")
    if name != "auto":
        return _open_checked(bundle, name, threads, precision)
    candidates = available_engines()
    key = _choice_key(bundle, candidates, threads, precision)
    chosen = None if remeasure else _recall(key)
    if chosen in candidates:
        try:
            engine = _open_checked(bundle, chosen, threads, precision)
            log.info("engine %s: the fastest when measured earlier on this machine", chosen)
            return engine
        except EngineError as error:
            log.warning("engine %s, chosen earlier, fails now: %s", chosen, error)
    engine = _fastest(bundle, list(candidates), threads, precision)
    _remember(key, engine.name)
    return engine


def open_model(model: bytes, name: str, threads: int = 0, precision: Precision = "f32") -> Engine:
    """Load any ONNX network with a named runtime, without checks against a manifest.

    Raises:
        EngineError: if the runtime isn't available or refuses the network.
    """
    factory: Callable[..., Engine] = getattr(_module(name), _RUNTIMES[name][1])
    return factory(model, threads=threads, precision=precision)


def measure(engine: Engine, seconds: float, warm_up: int = 2) -> Timing:
    """Time an engine on zeros of its input shape; at least three runs."""
    inputs = zeros(engine.inputs)
    for _ in range(warm_up):
        engine.run(inputs)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        engine.run(inputs)
        times.append((time.perf_counter() - start) * 1e3)
    median, p95 = np.percentile(times, [50, 95])
    return Timing(min(times), float(median), float(p95), len(times))


def _open_checked(bundle: Bundle, name: str, threads: int, precision: Precision) -> Engine:
    engine = open_model(bundle.read(), name, threads, precision)
    try:
        _check_against_manifest(bundle, engine)
    except SmapError:
        engine.close()
        raise
    return engine


def _check_against_manifest(bundle: Bundle, engine: Engine) -> None:
    """Run the network once and compare what it takes and gives with the manifest.

    Running it also catches outputs whose sizes the ONNX file leaves open.
    """
    manifest = bundle.manifest
    tail = f"in bundle {bundle.name!r}: the model file and bundle.yaml don't belong together"
    wanted = manifest.network_inputs
    expected = ", ".join(f"{name} {list(shape)}" for name, shape in wanted.items())
    got = ", ".join(str(spec) for spec in engine.inputs)
    fits = {spec.name for spec in engine.inputs} == set(wanted)
    if not (fits and all(spec.accepts(wanted[spec.name]) for spec in engine.inputs)):
        raise BundleError(f"the network's input is {got}; expected {expected} {tail}")
    if any(spec.dtype != "float32" for spec in engine.inputs):
        raise BundleError(f"the network's input is {got}; expected float32 {tail}")
    outputs = engine.run({name: np.zeros(shape, np.float32) for name, shape in wanted.items()})
    for role, output in manifest.outputs.items():
        if output.name not in outputs:
            raise BundleError(
                f"the network has no output {output.name!r} ({role}), it has "
                f"{', '.join(sorted(outputs))} {tail}"
            )
        array = outputs[output.name]
        if array.shape != output.shape or array.dtype != np.float32:
            raise BundleError(
                f"the network's output {output.name!r} ({role}) is {array.dtype}"
                f"{list(array.shape)}; expected float32{list(output.shape)} {tail}"
            )


def _fastest(bundle: Bundle, names: list[str], threads: int, precision: Precision) -> Engine:
    """Open and time each runtime; the fastest stays open, the others' reasons are logged."""
    best: Engine | None = None
    best_ms = np.inf
    failures: list[str] = []
    for name in names:
        try:
            engine = _open_checked(bundle, name, threads, precision)
        except EngineError as error:
            failures.append(f"{name}: {error}")
            log.warning("engine %s can't be used: %s", name, error)
            continue
        # The least, not the median: what else runs on the machine only ever adds.
        time_ms = measure(engine, MEASURE_SECONDS).least_ms
        log.info("engine %s (%s): %.1f ms a frame", name, engine.device, time_ms)
        slower = best if time_ms < best_ms else engine
        if time_ms < best_ms:
            best, best_ms = engine, time_ms
        if slower is not None:
            slower.close()
    if best is None:
        raise EngineError(
            "no inference runtime can run the network "
            f"({'; '.join(failures) or 'none is installed'}); pip install openvino or onnxruntime"
        )
    log.info("engine %s chosen: the fastest here with %.1f ms a frame", best.name, best_ms)
    return best


def _module(name: str) -> ModuleType:
    return importlib.import_module(_RUNTIMES[name][0])


def _choice_key(
    bundle: Bundle, versions: dict[str, str], threads: int, precision: Precision
) -> str:
    facts = {
        "model": bundle.model_hash,
        "runtimes": versions,
        "threads": threads,
        "cores": len(os.sched_getaffinity(0)),
        "precision": precision,
        "cpu": cpu_name(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def cpu_name() -> str:
    """Model of this machine's CPU."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _choice_path() -> Path:
    return cache_directory() / "engine_choice.json"


def _choices() -> dict[str, Any]:
    try:
        data = json.loads(_choice_path().read_text())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _recall(key: str) -> str | None:
    name = _choices().get(key)
    return name if isinstance(name, str) else None


def _remember(key: str, name: str) -> None:
    try:
        path = _choice_path()
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({**_choices(), key: name}, indent=1))
        os.replace(temporary, path)
    except OSError as error:
        log.warning("the choice of engine can't be remembered: %s", error)
