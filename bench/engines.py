"""Inference runtimes on one bundle's network: speed, and how far their numbers are apart.

    python bench/engines.py [--bundle NAME] [--threads 1 2] [--seconds 2]

Everything is compared with ONNX Runtime in f32 at the same number of threads, measured in the
same run. Wall time is the least of many runs; processor time tells how much of the machine it
takes (with one thread it is also the time that other load on the machine doesn't distort).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.engines import Engine, available_engines, create_engine
from smap_ros.engines.base import Array
from smap_ros.engines.names import Precision

REFERENCE = "onnxruntime"
PRECISIONS: tuple[Precision, ...] = ("f32", "auto")
IMAGES = 3


@dataclass(frozen=True)
class Row:
    """One runtime with one setting; times in milliseconds, error relative to the range."""

    engine: str
    precision: str
    threads: int
    start_ms: float
    wall_ms: float
    median_ms: float
    processor_ms: float
    error: float


def images(bundle: Bundle) -> list[Array]:
    """Inputs of the network's size, smooth as pictures are."""
    rng = np.random.default_rng(0)
    _, channels, height, width = bundle.manifest.input.shape
    coarse = rng.standard_normal((IMAGES, 1, channels, height // 8, width // 8))
    return [np.kron(c, np.ones((8, 8))).astype(np.float32) for c in coarse]


def outputs(engine: Engine, inputs: list[Array]) -> list[dict[str, Array]]:
    """What the network makes of the inputs; copies."""
    name = engine.inputs[0].name
    return [{k: v.copy() for k, v in engine.run({name: x}).items()} for x in inputs]


def relative_error(got: list[dict[str, Array]], expected: list[dict[str, Array]]) -> float:
    """Largest difference, relative to the range of the output it is in."""
    return max(
        float(np.abs(a[name] - b[name]).max() / max(np.abs(b[name]).max(), 1e-9))
        for a, b in zip(got, expected, strict=True)
        for name in b
    )


def time_runs(engine: Engine, image: Array, seconds: float) -> tuple[float, float, float]:
    """Least and median wall time, and least processor time of a run, milliseconds."""
    name = engine.inputs[0].name
    wall, processor = [], []
    end = time.perf_counter() + seconds
    while len(wall) < 5 or time.perf_counter() < end:
        start, spent = time.perf_counter(), time.process_time()
        engine.run({name: image})
        processor.append((time.process_time() - spent) * 1e3)
        wall.append((time.perf_counter() - start) * 1e3)
    return min(wall), float(np.median(wall)), min(processor)


def measure(bundle: Bundle, threads: int, seconds: float) -> list[Row]:
    """All runtimes with one number of threads, the reference first."""
    inputs = images(bundle)
    names = sorted(available_engines(), key=lambda name: name != REFERENCE)
    expected: list[dict[str, Array]] = []
    rows = []
    for name in names:
        for precision in PRECISIONS:
            start = time.perf_counter()
            engine = create_engine(bundle, name, threads, precision)
            start_ms = (time.perf_counter() - start) * 1e3
            got = outputs(engine, inputs)
            expected = expected or got
            times = time_runs(engine, inputs[0], seconds)
            error = relative_error(got, expected)
            arithmetic = engine.device.rpartition(", ")[2] if name == "openvino" else precision
            rows.append(Row(name, f"{precision} ({arithmetic})", threads, start_ms, *times, error))
            engine.close()
            if name == REFERENCE:
                break  # it has one arithmetic only
    return rows


def table(title: str, rows: list[Row]) -> Table:
    """The rows with the ratio to the reference."""
    out = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1))
    for name in ("engine", "precision"):
        out.add_column(name, no_wrap=True)
    for name in ("threads", "start ms", "least", "median", "cpu", "speed", "error"):
        out.add_column(name, justify="right")
    references = {row.threads: row for row in reversed(rows) if row.engine == REFERENCE}
    for row in rows:
        times = [f"{t:.1f}" for t in (row.wall_ms, row.median_ms, row.processor_ms)]
        ratio = f"{references[row.threads].wall_ms / row.wall_ms:.2f} x"
        first = (row.engine, row.precision, str(row.threads), f"{row.start_ms:.0f}")
        out.add_row(*first, *times, ratio, f"{row.error:.0e}")
    return out


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", default="smap_lite", help="name or folder of a bundle")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each measurement")
    options = parser.parse_args()
    bundle = load_bundle(options.bundle)
    rows = [row for threads in options.threads for row in measure(bundle, threads, options.seconds)]
    spec = bundle.manifest.input
    Console().print(table(f"{bundle.name} {spec.width}x{spec.height}", rows))


if __name__ == "__main__":
    main()
