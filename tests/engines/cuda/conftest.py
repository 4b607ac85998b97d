"""A driver that stands in for NVIDIA's, under the real pycuda and cuda-python."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smap_ros.association.cuda import layout

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "association" / "cuda"
ROOT = HERE.parents[2]


def pycuda_module() -> Path | None:
    """The extension module of pycuda, which is linked to the driver."""
    found = importlib.util.find_spec("pycuda")
    if found is None or not found.submodule_search_locations:
        return None
    return next(Path(found.submodule_search_locations[0]).glob("_driver*.so"), None)


@pytest.fixture(scope="session")
def driver(tmp_path_factory) -> Path:
    """Folder of a ``libcuda.so.1``; what it lacks of pycuda's functions says "not supported"."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ isn't installed: it compiles the driver and kernels for this test")
    folder = tmp_path_factory.mktemp("driver")
    lacking = folder / "lacking.cpp"
    module, names = pycuda_module(), set()
    if module is not None and shutil.which("nm"):
        command = ["nm", "-D", "--undefined-only", str(module)]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        names = set(re.findall(r" U (cu[A-Z]\w+)", listed))
    function = 'extern "C" __attribute__((weak)) int %s(void) { return 801; }\n'
    lacking.write_text("".join(function % name for name in sorted(names)))
    common = [compiler, "-O2", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-Wl,-soname,libcuda.so.1"]
    subprocess.run(
        [
            *common, "-std=c++17", "-ffp-contract=off", "-fno-strict-aliasing", "-DHOST_BLOCK=64",
            f"-I{KERNELS}", f"-I{Path(layout.__file__).parent}", HERE / "driver.cpp",
            lacking, "-ldl", "-o", folder / "libcuda.so.1",
        ],
        check=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def run_cases(driver):
    """Runs a file of test cases in a process whose CUDA driver is ours."""

    def run(cases: str, layer: str, **environment: str) -> None:
        module = {"pycuda": "pycuda", "cuda-python": "cuda.bindings"}[layer]
        try:
            missing = importlib.util.find_spec(module) is None
        except ModuleNotFoundError:
            missing = True
        if missing:
            pytest.skip(f"{layer} isn't installed")
        done = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-header",
                "-rs", "-c", ROOT / "pyproject.toml", f"--rootdir={ROOT}", HERE / cases,
            ],
            env={
                **os.environ, **environment, "LD_LIBRARY_PATH": str(driver), "LAYER": layer,
                "PYTHONPATH": os.pathsep.join([str(HERE / "stand_in"), *sys.path]),
            },
            cwd=ROOT, capture_output=True, text=True, timeout=550, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-60000:] + done.stderr[-2000:]
        assert " passed" in done.stdout and "failed" not in done.stdout

    return run
