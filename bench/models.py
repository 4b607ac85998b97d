"""Every network at its official size: time, memory, and the share of the machine's peak.

    taskset -c 1 python bench/models.py [NAME ...] [--threads 1] [--seconds 2]
                                        [--json FILE] [--markdown]

Each network runs in torch as it is, and each graph that it is deployed as in ONNX Runtime and
OpenVINO (f32), all in processes of their own. Time is the least processor time of some runs, so
other load on the machine counts as little as possible. Memory is the process's peak from before
the network is loaded, weights included. The machine's peak is that of a large matrix product in
torch with the same threads, in the same run. Weights and inputs are
those of the golden files, so networks without free weights are measured as well; a dash stands
where a network has no exporter. A second table tells what the graphs consist of, and what TensorRT
makes of it.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from smap_ros.engines.base import import_runtime
from smap_ros.engines.factory import open_model
from smap_ros.engines.inspect.onnx_graph import OnnxGraph, read_graph
from smap_ros.engines.inspect.tensorrt_operators import VERSIONS, YES, check_operators, check_opset

RUNTIMES = ("onnxruntime", "openvino")
PEAK_SIZE = 2048  # rows and columns of the matrix product
MIN_RUNS = 2


@dataclass(frozen=True)
class Run:
    """One network or graph in one runtime: least processor time, peak megabytes."""

    ms: float
    mb: float


@dataclass(frozen=True)
class Row:
    """A network, or a graph that it is deployed as.

    Attributes:
        model: name in the registry.
        part: of the network; ``forward`` for torch's own.
        gflop: floating-point operations of one run's convolutions and matrix products, a
            multiplication with addition being two.
        runs: by runtime, where it ran.
        opset, operators, tensorrt: of a graph: ONNX's version, how often each operator occurs,
            and what each version of TensorRT makes of it.
    """

    model: str
    part: str
    gflop: float
    runs: dict[str, Run] = field(default_factory=dict)
    opset: int = 0
    operators: dict[str, int] = field(default_factory=dict)
    tensorrt: dict[str, str] = field(default_factory=dict)

    def share(self, runtime: str, peak: float) -> float:
        """Share of the machine's peak, which is in GFLOP a second of processor time."""
        return self.gflop / (self.runs[runtime].ms / 1e3) / peak


def peak_memory_mb(work: Callable[[], float]) -> Run:
    """Run something that gives milliseconds, and what it adds to the process's peak memory."""
    before = _resident_mb("VmRSS")
    ms = work()
    return Run(ms, _resident_mb("VmHWM") - before)


def _resident_mb(field: str) -> float:
    """Memory of this process, now (VmRSS) or at its peak (VmHWM).

    Not ``ru_maxrss``, which begins with what the parent process had.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) * 1024 / 1e6 for x in lines if x.startswith(field))


def least_ms(run: Callable[[], object], seconds: float) -> float:
    """Least processor time of some runs of something that has run before; milliseconds."""
    times: list[float] = []
    end = time.process_time() + seconds
    while len(times) < MIN_RUNS or time.process_time() < end:
        start = time.process_time()
        run()
        times.append((time.process_time() - start) * 1e3)
    return min(times)


# What follows runs in processes of their own and imports torch, or a runtime, only there.


def peak(seconds: float, threads: int) -> float:
    """GFLOP a second of a large f32 matrix product in torch."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.randn(2, PEAK_SIZE, PEAK_SIZE)
    torch.mm(a, b)
    return 2 * PEAK_SIZE**3 / 1e6 / least_ms(lambda: torch.mm(a, b), seconds)


def forward(seconds: float, threads: int, name: str) -> dict[str, Any]:
    """The network as it is, in torch."""
    import torch

    from smap_train.models.examples import example

    torch.set_num_threads(threads)
    gflop = 0.0

    def work() -> float:
        nonlocal gflop
        model, arguments = example(name)
        gflop = count_gflop(model, arguments)
        with torch.inference_mode():
            return least_ms(lambda: model(*arguments), seconds)

    run = peak_memory_mb(work)
    return asdict(Row(name, "forward", gflop, {"torch": run}))


def count_gflop(model: Any, arguments: Any) -> float:
    """Operations of convolutions and matrix products in one run."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(*arguments)
    return counter.get_total_flops() / 1e9


def export(threads: int, name: str, folder: str) -> list[dict[str, Any]]:
    """Write the graphs of a network and examples of their inputs; rows without times."""
    import torch

    from smap_train.export.registry import deployed_graphs
    from smap_train.models.examples import example

    torch.set_num_threads(threads)
    rows = []
    for part, graph in deployed_graphs(name, example(name)[0]).items():
        path = Path(folder) / f"{part}.onnx"
        gflop = count_gflop(graph.graph, graph.inputs.values())
        graph.write(path)
        np.savez(path.with_suffix(".npz"), **{k: v.numpy() for k, v in graph.inputs.items()})
        answers = tensorrt_answers(read_graph(path.read_bytes()))
        rows.append(asdict(Row(name, part, gflop, **graph_facts(path), tensorrt=answers)))
    return rows


def graph_facts(path: Path) -> dict[str, Any]:
    """Opset, and how often each operator occurs, the commonest first."""
    import onnx

    model = onnx.load(path)
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    operators = Counter(node.op_type for node in model.graph.node)
    return {"opset": opset, "operators": dict(operators.most_common())}


def tensorrt_answers(graph: OnnxGraph) -> dict[str, str]:
    """Version of TensorRT -> yes, or what it doesn't take, or only since a release."""
    answers = {}
    for version, opset in check_opset(graph).items():
        found = {"opset": opset} | {s.operator: s.verdicts[version] for s in check_operators(graph)}
        limits = [f"{name} {answer}" for name, answer in found.items() if answer != YES]
        answers[version] = "; ".join(limits) or YES
    return answers


def engine(seconds: float, threads: int, runtime: str, path: str) -> dict[str, Any]:
    """A graph in a runtime."""
    import_runtime(runtime)
    inputs = dict(np.load(Path(path).with_suffix(".npz")))

    def work() -> float:
        opened = open_model(Path(path).read_bytes(), runtime, threads)  # runs it once
        return least_ms(lambda: opened.run(inputs), seconds)

    return asdict(peak_memory_mb(work))


def apart(function: str, *arguments: object) -> Any:
    """Call one of the functions above in a process of its own.

    Raises:
        SystemExit: with its error output, if it fails.
    """
    root = Path(__file__).resolve().parents[1]
    script = (
        "import json, sys; sys.path[:0] = sys.argv[1:3]; import models;"
        "name, *rest = map(json.loads, sys.argv[3:]);"
        "print('RESULT', json.dumps(getattr(models, name)(*rest)))"
    )
    words = [str(root), str(root / "bench"), *map(json.dumps, (function, *arguments))]
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{function} {arguments} failed:\n{done.stderr}")
    return json.loads(done.stdout.partition("RESULT")[2])


def measure(name: str, seconds: float, threads: int) -> list[Row]:
    """All rows of a network: one if it is deployed as it is, else one more for each graph.

    A network whose golden input is several people isn't what is deployed for one.
    """
    forward = _row(apart("forward", seconds, threads, name))
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for found in apart("export", threads, name, folder):
            path = str(Path(folder) / f"{found['part']}.onnx")
            runs = {r: Run(**apart("engine", seconds, threads, r, path)) for r in RUNTIMES}
            rows.append(replace(_row(found), runs=runs))
    if len(rows) == 1 and math.isclose(forward.gflop, rows[0].gflop, rel_tol=0.05):
        return [replace(rows[0], runs={**forward.runs, **rows[0].runs})]
    return [forward, *rows]


def _row(found: dict[str, Any]) -> Row:
    return Row(**{**found, "runs": {key: Run(**run) for key, run in found["runs"].items()}})


def milliseconds(value: float) -> str:
    """Three digits that count, and never an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def times_table(rows: list[Row], peak_gflops: float, style: box.Box) -> Table:
    """Milliseconds, megabytes and percent of the peak, by runtime."""
    table = Table(box=style, padding=(0, 1, 0, 0))
    for column in ("model", "part"):
        table.add_column(column, no_wrap=True)
    table.add_column("GFLOP", justify="right")
    runtimes = {"torch": "torch", "onnxruntime": "ORT", "openvino": "OV"}
    for short in runtimes.values():
        for column in (f"{short} ms", "MB", "peak"):
            table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        cells = []
        for runtime in runtimes:
            run = row.runs.get(runtime)
            share = f"{row.share(runtime, peak_gflops):.0%}" if run else "-"
            cells += [milliseconds(run.ms), f"{run.mb:.0f}", share] if run else ["-"] * 3
        table.add_row(row.model, row.part, f"{row.gflop:.3g}", *cells)
    return table


def operators_table(rows: list[Row], style: box.Box) -> Table:
    """Opset and operators of each graph, and what TensorRT refuses or takes since when."""
    table = Table(box=style, padding=(0, 1, 0, 0))
    for column in ("model", "part", "opset", "operators", *(f"TensorRT {v}" for v in VERSIONS)):
        table.add_column(column)
    for row in rows:
        if row.opset:
            operators = ", ".join(f"{name} {count}" for name, count in row.operators.items())
            answers = (row.tensorrt[version] for version in VERSIONS)
            table.add_row(row.model, row.part, str(row.opset), operators, *answers)
    return table


def main() -> None:
    """Measure and print."""
    from smap_train.models import REGISTRY

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=list(REGISTRY), help="models; default all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each measurement")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--markdown", action="store_true", help="print for a document")
    options = parser.parse_args()
    style = box.MARKDOWN if options.markdown else box.SIMPLE_HEAD
    console = Console(width=10_000 if options.markdown else None)
    rows: list[Row] = []
    gflops = 0.0
    for name in options.names:
        Console(stderr=True).print(f"{name} ...", highlight=False)
        # Again with each network: on a busy machine the best of many is nearest to the peak.
        gflops = max(gflops, apart("peak", options.seconds, options.threads))
        rows += measure(name, options.seconds, options.threads)
        if options.json is not None:
            facts = {"threads": options.threads, "peak_gflops": gflops}
            content = {**facts, "rows": [asdict(row) for row in rows]}
            options.json.write_text(json.dumps(content, indent=1) + "\n")
    console.print(f"peak: {gflops:.1f} GFLOP/s with {options.threads} thread(s)", highlight=False)
    console.print(times_table(rows, gflops, style))
    console.print(operators_table(rows, style))


if __name__ == "__main__":
    main()
