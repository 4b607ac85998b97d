"""NVIDIA's own checkers over the kernels: memory, races between threads; ncu's times of each."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.gpu.asking import Asked, Missing

SCRIPT = Path(__file__).with_name("window.py")
TOOLS = {
    "memcheck": ["compute-sanitizer", "--tool", "memcheck", "--error-exitcode", "9"],
    "racecheck": ["compute-sanitizer", "--tool", "racecheck", "--error-exitcode", "9"],
    "initcheck": ["compute-sanitizer", "--tool", "initcheck", "--error-exitcode", "9"],
    "ncu": ["ncu", "--clock-control", "none", "--csv", "--launch-count", "12", "--metrics",
            "gpu__time_duration.sum,dram__bytes.sum"],
}  # fmt: skip


def ask(asked: Asked) -> None:
    """Each tool over the rehearsal of the kernels, which are few scenes."""
    tools = {name: command for name, command in TOOLS.items() if shutil.which(command[0])}
    if not tools:
        raise Missing("neither compute-sanitizer nor ncu is on the path")
    for name, command in tools.items():
        with tempfile.TemporaryDirectory() as folder:
            work = [sys.executable, SCRIPT, "--step", "kernels", "--dry-run"]
            work += ["--device", str(asked.device), "--out", Path(folder) / "part.json"]
            try:
                done = subprocess.run(
                    [*command, *work], capture_output=True, text=True, check=False, timeout=60
                )
            except subprocess.TimeoutExpired:
                asked.tell(**{name: {"status": None, "tail": ["it took over 60 s"]}})
                continue
        tail = [line for line in done.stdout.splitlines() if line.strip()][-40:]
        asked.tell(**{name: {"status": done.returncode, "tail": tail}})
