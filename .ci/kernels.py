"""Writes kernels.ptx from kernels.cu: python .ci/kernels.py [OUT]; needs nvcc of CUDA 13.

Robots have no compiler: the driver turns the PTX into code for its GPU once, and keeps it. PTX for
compute capability 7.5 is taken by every later GPU, and its version line is lowered to that of
CUDA 10 (6.3), which the code needs no more than, so that older drivers take it as well.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "smap_ros/association/cuda/kernels.cu"
TARGET = SOURCE.with_suffix(".ptx")
ARCHITECTURE, PTX_VERSION = "compute_75", "6.3"


def ptx() -> str:
    """The kernels in PTX, without the comments that tell one build of nvcc from another."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "kernels.ptx"
        subprocess.run(["nvcc", f"-arch={ARCHITECTURE}", "-ptx", "-o", out, SOURCE], check=True)
        text = out.read_text()
    text = re.sub(r"^//.*\n", "", text, flags=re.MULTILINE).lstrip()
    # Which bytes of a load are used: a hint, which older versions don't know.
    text = re.sub(r"^\s*\.pragma \"used_bytes_mask.*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"^\.version .*$", f".version {PTX_VERSION}", text, flags=re.MULTILINE)


if __name__ == "__main__":
    Path(sys.argv[1] if len(sys.argv) > 1 else TARGET).write_text(ptx())
