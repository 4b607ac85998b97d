"""The PTX that ships: made of the source beside it, and code for every GPU since Turing."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from smap_ros.association.cuda import layout, program

ROOT = Path(__file__).parents[3]
PTX = Path(layout.__file__).with_name("kernels.ptx")
ARCHITECTURES = (75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121)
COMPILER = "13.0"  # other releases write other, equally good code


def test_it_is_made_of_the_source():
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc isn't installed: it makes the PTX anew")
    version = subprocess.run(["nvcc", "--version"], capture_output=True, text=True, check=True)
    if f"release {COMPILER}" not in version.stdout:
        pytest.skip(f"nvcc isn't of CUDA {COMPILER}, which made the PTX")
    spec = importlib.util.spec_from_file_location("kernels", ROOT / ".ci" / "kernels.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.ptx() == PTX.read_text(), "run python .ci/kernels.py"


def test_it_holds_every_kernel_and_nothing_that_rounds_once_for_two():
    text = PTX.read_text()
    kernels = set(re.findall(r"\.entry (\w+)", text))
    launched = {step.kernel for step in program.association_launches(100, 103)}
    image = {program.letterbox_launch(100).kernel, program.mirror_launch(100).kernel}
    assert kernels == launched | image | {"count_bad", "take"}
    assert "fma." not in text


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_gpu_takes_it(architecture, tmp_path):
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas isn't installed: it assembles the PTX as the driver does")
    command = ["ptxas", f"-arch=sm_{architecture}", "-O0", "-o", tmp_path / "out.cubin", PTX]
    subprocess.run(command, check=True)
