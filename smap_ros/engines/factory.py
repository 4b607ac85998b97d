"""Engines by name, and the choice of the fastest on this machine."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import numpy as np

from smap_ros.bundles.bundle import Bundle
from smap_ros.engines.agreement import WrongAnswerError, check_answers, picture_inputs
from smap_ros.engines.base import Engine, zeros
from smap_ros.engines.cuda import GpuError, gpu_identity
from smap_ros.engines.inspect.onnx_graph import check_whole
from smap_ros.engines.kept import write_atomically
from smap_ros.engines.names import EngineName, GpuOptions, Precision
from smap_ros.errors import BundleError, EngineError, InputError
from smap_ros.paths import cache_directory

log = logging.getLogger(__name__)

# name -> module and class; a new runtime adds a line. Imported only when used.
_RUNTIMES = {
    "openvino": ("smap_ros.engines.openvino", "OpenVinoEngine"),
    "onnxruntime": ("smap_ros.engines.onnxruntime", "OnnxRuntimeEngine"),
    "tensorrt": ("smap_ros.engines.tensorrt", "TensorRtEngine"),
}
ENGINES = get_args(EngineName)
PRECISIONS = get_args(Precision)
HALF = "model_fp16"  # role of the graph of half precision in a bundle's files

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


@dataclass(frozen=True)
class Opening:
    """How a network is opened; see :func:`create_engine`."""

    threads: int
    precision: Precision
    gpu: GpuOptions
    rows: int


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
    gpu: GpuOptions | None = None,
    rows: int = 1,
    remeasure: bool = False,
) -> Engine:
    """Load a bundle's network, warm, with its inputs and outputs checked against the manifest.

    ``auto`` measures every available runtime for a second on this machine, takes the fastest,
    and remembers the choice until the bundle, a runtime, the threads, the CPU or the GPU change.
    Where TensorRT is installed, the first measurement includes building its plan: minutes. A
    runtime that fails is passed over; why is in the engine's ``notes``.

    An engine on a GPU must answer to a stored picture what a CPU answers, or is refused.

    Args:
        bundle: from :func:`smap_ros.bundles.bundle.load_bundle`.
        name: ``auto``, ``openvino``, ``onnxruntime`` or ``tensorrt``.
        threads: threads of the network on a CPU; 0 takes all cores this process may use.
        precision: ``f32`` gives the network's own numbers on every runtime; the others let it use
            a coarser, faster arithmetic, see ``engines.names``.
        gpu: which GPU, and what TensorRT may take of it.
        rows: how many crops or people a network is sent at once, that takes any number.
        remeasure: with ``auto``, measure again instead of recalling the choice.

    Raises:
        EngineError: if the name is unknown or the runtime isn't available or fails.
        BundleError: if the network's inputs or outputs contradict the manifest.
    """
    if name not in ENGINES:
        raise EngineError(f"engine {name!r} is unknown; expected one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise EngineError(f"precision is {precision!r}; expected one of {', '.join(PRECISIONS)}")
    how = Opening(threads, precision, gpu or GpuOptions(), rows)
    if name != "auto":
        return _open_checked(bundle, name, how)
    candidates = available_engines()
    key = _choice_key(bundle, candidates, how)
    chosen, notes = (None, ()) if remeasure else _recall(key)
    if chosen in candidates:
        try:
            engine = _open_checked(bundle, chosen, how)
            engine.notes = notes
            log.info("engine %s: the fastest when measured earlier on this machine", chosen)
            return engine
        except EngineError as error:
            log.warning("engine %s, chosen earlier, fails now: %s", chosen, error)
    engine, lasting = _fastest(bundle, list(candidates), how)
    if lasting:
        _remember(key, engine)
    return engine


def open_model(
    model: bytes,
    name: str,
    threads: int = 0,
    precision: Precision = "f32",
    *,
    gpu: GpuOptions | None = None,
    rows: int = 1,
) -> Engine:
    """Load any ONNX network with a named runtime, without checks against a manifest.

    Args:
        model: content of the ONNX file.
        name, threads, precision, gpu, rows: see :func:`create_engine`.

    Raises:
        EngineError: if the runtime isn't available or refuses the network, or weights of it lie in
            other files.
    """
    factory: Callable[..., Engine] = getattr(_module(name), _RUNTIMES[name][1])
    extra = {"gpu": gpu, "rows": rows} if name == "tensorrt" else {}
    try:
        check_whole(model)
        unread = None
    except InputError as error:
        unread = error  # the runtime as a rule refuses such a file, and knows better why
    engine = factory(model, threads=threads, precision=precision, **extra)
    if unread is not None:
        engine.close()
        raise EngineError(f"nobody can tell where the network's weights are: {unread}")
    return engine


def measure(
    engine: Engine,
    seconds: float,
    warm_up: int = 2,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> Timing:
    """Time an engine on zeros; at least three runs.

    Args:
        engine: what is timed.
        seconds: how long, about.
        warm_up: runs before.
        shapes: of its inputs, as a manifest states them; else any free size counts as 1.
    """
    inputs = zeros(engine.inputs, shapes)
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


def _open_checked(bundle: Bundle, name: str, how: Opening) -> Engine:
    model = bundle.read(_role(bundle, name, how.precision))
    engine = open_model(model, name, how.threads, how.precision, gpu=how.gpu, rows=how.rows)
    try:
        _check_against_manifest(bundle, engine)
        if name == "tensorrt":
            _check_answers(bundle, engine, how.precision)
    except BaseException:
        engine.close()
        raise
    return engine


def _role(bundle: Bundle, name: str, precision: Precision) -> str:
    """Which of a bundle's graphs a runtime takes."""
    if name != "tensorrt" or precision not in ("f16", "auto"):
        return "model"
    if HALF in bundle.manifest.files.entries:
        return HALF
    if precision == "f16":
        raise EngineError(
            f"bundle {bundle.name!r} has no graph of half precision; export it again with "
            "--gpu-half, or set precision to tf32"
        )
    return "model"


def _check_answers(bundle: Bundle, engine: Any, precision: Precision) -> None:
    """Refuse a plan whose answer to a stored picture isn't that of a CPU; once for each plan."""
    if engine.believed():
        return
    runtime = cpu_runtime("onnxruntime")
    if runtime is None:
        log.warning("TensorRT's answers aren't checked: no runtime for the CPU is installed")
        return
    reference = open_model(bundle.read(), runtime)
    try:
        inputs = picture_inputs(bundle.manifest)
        engine.believe(check_answers(inputs, engine, reference, precision))
    except WrongAnswerError:  # not where the GPU has no memory left: the plan took long to build
        engine.disbelieve()
        raise
    finally:
        reference.close()


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


def _fastest(bundle: Bundle, names: list[str], how: Opening) -> tuple[Engine, bool]:
    """Open and time each runtime; the fastest stays open, the others' reasons are logged.

    Returns:
        The engine, and whether that lasts: a GPU without memory now may have some next time.
    """
    lasting = True
    best: Engine | None = None
    best_ms = np.inf
    failures: list[str] = []
    for name in names:
        try:
            engine, time_ms = _timed(bundle, name, how)
        except EngineError as error:
            failures.append(f"{name}: {error}")
            lasting = lasting and not isinstance(error, GpuError)
            log.warning("engine %s can't be used: %s", name, error)
            continue
        except BaseException:
            if best is not None:
                best.close()
            raise
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
    best.notes = tuple(failures)
    log.info("engine %s chosen: the fastest here with %.1f ms a frame", best.name, best_ms)
    return best, lasting


def _timed(bundle: Bundle, name: str, how: Opening) -> tuple[Engine, float]:
    """A runtime's engine, open, and its milliseconds: the least, as other load only ever adds."""
    engine = _open_checked(bundle, name, how)
    try:
        shapes = bundle.manifest.network_inputs
        return engine, measure(engine, MEASURE_SECONDS, shapes=shapes).least_ms
    except BaseException:
        engine.close()
        raise


def _module(name: str) -> ModuleType:
    return importlib.import_module(_RUNTIMES[name][0])


def _choice_key(bundle: Bundle, versions: dict[str, str], how: Opening) -> str:
    files = bundle.manifest.files.entries
    facts = {
        "model": [files[role].sha256 for role in ("model", HALF) if role in files],
        "runtimes": versions,
        "threads": how.threads,
        "cores": len(os.sched_getaffinity(0)),
        "precision": how.precision,
        "cpu": cpu_name(),
    }
    if "tensorrt" in versions:  # a container started once without its GPU isn't kept to the CPU
        facts["gpu"] = gpu_identity(how.gpu.device)
        facts["gpu options"] = [how.gpu.workspace_mb, how.rows]
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


def _recall(key: str) -> tuple[str | None, tuple[str, ...]]:
    """The engine that was chosen, and why others were passed over then."""
    match _choices().get(key):
        case {"engine": str(name), "notes": list(notes)}:
            return name, tuple(map(str, notes))
    return None, ()


def _remember(key: str, engine: Engine) -> None:
    try:
        path = _choice_path()
        chosen = {"engine": engine.name, "notes": list(engine.notes)}
        write_atomically(path, json.dumps({**_choices(), key: chosen}, indent=1).encode())
    except OSError as error:
        log.warning("the choice of engine can't be remembered: %s", error)
