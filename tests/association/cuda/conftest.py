"""kernels.cu compiled by g++, so that its kernels run where there is no GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from smap_ros.association.cuda import layout, program

HERE = Path(__file__).parent
SOURCE = Path(layout.__file__).parent


class HostKernels:
    """The kernels on the CPU: the threads of a block are fibres."""

    def __init__(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))

    def launch(self, kernel: str, grid: tuple[int, int], *arrays: np.ndarray) -> None:
        pointers = (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
        assert self.library.run(kernel.encode(), *grid, pointers) == 0, kernel

    def frame(self, params, straight, mirrored=None):
        """All kernels behind the network: the arena, poisoned beforehand, and the maps."""
        cells = int(params["height"] * params["width"])
        arena = np.frombuffer(bytearray(b"\xa5" * layout.ARENA.itemsize), layout.ARENA)
        maps = np.full((int(params["channels"]), cells), np.nan, np.float32)
        tables = [
            np.array([array.ctypes.data for array in outputs], np.uint64)
            for outputs in (straight, mirrored or straight)
        ]
        buffers = {
            "params": params, "arena": arena, "maps": maps,
            "straight": tables[0], "mirrored": tables[1],
        }  # fmt: skip
        for step in program.association_launches(cells, len(maps), people=8):
            self.launch(step.kernel, step.grid, *(buffers[name] for name in step.arguments))
        return arena[0], maps


@pytest.fixture(
    scope="session",
    params=[(64, False), (128, True)],
    ids=["64 threads", "128 threads, last first"],
)
def kernels(request, tmp_path_factory) -> HostKernels:
    threads, reversed_ = request.param
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ isn't installed: it compiles the kernels for this test")
    library = tmp_path_factory.mktemp("kernels") / "kernels.so"
    subprocess.run(
        [
            compiler, "-std=c++17", "-O2", "-shared", "-fPIC", "-ffp-contract=off",
            "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", f"-DHOST_BLOCK={threads}",
            *(["-DREVERSED"] if reversed_ else []),
            f"-I{HERE}", f"-I{SOURCE}", str(HERE / "host.cpp"), "-o", str(library),
        ],
        check=True,
    )  # fmt: skip
    return HostKernels(library)
