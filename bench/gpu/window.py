"""What a GPU at hand is asked, in the order of what it is worth: one command for all of it.

    python bench/gpu/window.py [--out bench/results/gpu.json] [--only kernels frame] [--dry-run]

Each step is a process of its own with a limit of time (15 minutes in all), and fails for itself:
what it found until then is kept, the next one follows. The file is written after each step, with
the device, the versions, and the bars that were met or missed. A step whose software isn't there
says so and is skipped.

``--dry-run`` is the rehearsal: few scenes and short measurements whose times mean nothing, on
whatever driver is found (``tests/engines/cuda`` has one that stands in for NVIDIA's), torch on the
CPU where it has no GPU.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from bench.gpu.asking import Asked, Missing  # noqa: E402 - found by the line above
from smap_ros.engines.cuda import Gpu  # noqa: E402
from smap_ros.errors import SmapError  # noqa: E402

PACKAGES = (
    "numpy", "torch", "cuda-bindings", "pycuda", "tensorrt", "tensorrt-rtx-cu13-bindings",
    "onnxruntime", "onnxruntime-gpu",
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A question.

    Attributes:
        name: also of the module of ``bench.gpu`` whose ``ask`` asks it.
        seconds: it is ended after.
    """

    name: str
    seconds: int


STEPS = (
    Step("machine", 60),
    Step("kernels", 200),
    Step("networks", 200),
    Step("frame", 90),
    Step("sanitizers", 110),
    Step("tensorrt_graphs", 180),
    Step("onnxruntime_graphs", 60),
)


@dataclass(frozen=True)
class Bar:
    """What is hoped for.

    Attributes:
        what: in words.
        path: where the number lies in the answers: step, then keys.
        limit: bar.
        above: whether more is better.
        floor: what the hardware could do at best, in the same unit.
    """

    what: str
    path: tuple[str, ...]
    limit: float
    above: bool = False
    floor: float | None = None

    def judge(self, steps: dict[str, Any]) -> dict[str, Any]:
        """The bar beside what was measured; ``met`` is None where nothing was."""
        value: Any = steps.get(self.path[0], {}).get("answers", {})
        for key in self.path[1:]:
            value = value.get(key) if isinstance(value, dict) else None
        met = None
        if value is not None:
            met = bool(value >= self.limit if self.above else value <= self.limit)
        told = {"what": self.what, "bar": self.limit, "measured": value, "met": met}
        if self.floor is not None:
            told |= {"floor": self.floor}
            if value:
                told |= {"share_of_floor": value / self.floor if self.above else self.floor / value}
        return told


BARS = (
    Bar("scenes that differ from numpy", ("kernels", "unequal"), 0.5),
    Bar("association and lifting, 10 people, us", ("kernels", "us", "10", "graph"), 100, floor=20),
    Bar("bytes down for a frame", ("frame", "bytes_down"), 65536),
    # Arithmetic at 790 TFLOP/s and 1.6 GB at 3 TB/s: half a millisecond on an H100.
    Bar("official SMAP 832x512, fp16, images/s", ("networks", "smap fp16", "images_per_s"), 300,
        above=True, floor=2000),
)  # fmt: skip


def main() -> int:
    """Ask all, or one step in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "gpu.json")
    parser.add_argument("--device", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[step.name for step in STEPS])
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        return _answer(options)
    try:
        gpu = Gpu(options.device)
        gpu.close()
    except SmapError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    answers = {
        "command": " ".join(["python", *sys.argv]),
        "dry_run": options.dry_run,
        "gpu": vars(gpu.facts),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": _versions(),
        "steps": {},
    }
    for step in STEPS:
        if options.only and step.name not in options.only:
            continue
        sys.stderr.write(f"{step.name} (at most {step.seconds} s) ...\n")
        answers["steps"][step.name] = result = _ask(step, options)
        sys.stderr.write(f"  {result['status']}, {result['seconds']} s. {result['reason']}\n")
        answers["bars"] = [bar.judge(answers["steps"]) for bar in BARS]
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(answers, indent=1) + "\n")
    for bar in answers["bars"]:
        sys.stderr.write(f"{bar['what']}: {bar['measured']} (bar {bar['bar']}, met {bar['met']})\n")
    differs = answers["bars"][0]["met"] is False
    return int(differs or any(s["status"] == "failed" for s in answers["steps"].values()))


def _ask(step: Step, options: argparse.Namespace) -> dict[str, Any]:
    """A step in a process of its own: how it went, and all that it told."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="window") as folder:
        part = Path(folder) / "part.json"
        command = [sys.executable, __file__, "--step", step.name, "--out", part]
        command += ["--device", str(options.device), *(["--dry-run"] * options.dry_run)]
        try:
            done = subprocess.run(
                command, timeout=step.seconds, capture_output=True, text=True, check=False
            )
            status = {0: "done", 3: "skipped"}.get(done.returncode, "failed")
            lines = done.stderr.strip().splitlines()
            reason = lines[-1] if status != "done" and lines else ""
            if status == "failed" and done.returncode < 0:
                reason = f"ended by signal {-done.returncode}. {reason}"
        except subprocess.TimeoutExpired:
            status, reason = "failed", f"it took over {step.seconds} s"
        told = json.loads(part.read_text()) if part.is_file() else {}
    seconds = round(time.monotonic() - began, 1)
    return {"status": status, "reason": reason, "seconds": seconds, "answers": told}


def _answer(options: argparse.Namespace) -> int:
    """In the process of a step."""
    asked = Asked(options.out, options.device, options.dry_run)
    try:
        importlib.import_module(f"bench.gpu.{options.step}").ask(asked)
    except Missing as missing:
        sys.stderr.write(f"{missing}\n")
        return 3
    return 0


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    sys.exit(main())
