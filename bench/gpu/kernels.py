"""The kernels on the GPU: equal to numpy's to the last bit, and how long they take."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu.asking import Asked, event_times_us
from bench.naive_association import synthetic_scene
from smap_ros.association import associate
from smap_ros.association.cuda import layout, program
from smap_ros.engines.cuda import Gpu
from smap_ros.errors import EngineError
from smap_ros.estimators.smap.lifting import LiftingConfig, bone_depths, chain_depths, told_poses

SIZES = ((128, 208), (64, 112), (97, 101))  # of maps; the first are those of SMAP's 832x512
TOLD = tuple(layout.OUTPUTS)[:4]
PEOPLE = (0, 1, 3, 10, 25, 40, 127)
PTX = Path(layout.__file__).with_name("kernels.ptx")
GOLDENS = Path(__file__).parents[2] / "tests" / "goldens" / "smap_post" / "assoc.npz"


class Frame:
    """Association and lifting of maps that lie on the GPU, in memory filled with nonsense."""

    def __init__(self, gpu: Gpu, image: bytes, size: tuple[int, int], root: int = 2) -> None:
        self.gpu, self.stream = gpu, gpu.stream()
        channels = [layout.OUTPUTS[name] for name in TOLD]
        units = layout.MapUnits(np.ones(sum(channels), np.float32), TOLD)
        params = layout.parameters(size, units, root=root)
        cells = size[0] * size[1]
        self.launches = list(program.association_launches(cells, sum(channels)))
        self.functions = gpu.functions(image, [step.kernel for step in self.launches])
        self.outputs = [gpu.memory(4 * cells * count) for count in channels]
        table = np.array(self.outputs, np.uint64)
        self.at = {
            "params": self._given(params.reshape(1)),
            "straight": self._given(table),
            "mirrored": self._given(table),
            "maps": self._given(np.full(4 * cells * sum(channels), 0xA5, np.uint8)),
            "arena": self._given(np.full(layout.ARENA.itemsize, 0xA5, np.uint8)),
        }
        self.result = gpu.pinned((1,), layout.RESULT)

    def _given(self, array: np.ndarray) -> int:
        address = self.gpu.memory(array.nbytes)
        self.gpu.upload(address, np.ascontiguousarray(array), self.stream)
        self.gpu.wait(self.stream)
        return address

    def show(self, outputs: list[np.ndarray]) -> None:
        """Put a network's outputs where the kernels read them."""
        for address, array in zip(self.outputs, outputs, strict=True):
            self.gpu.upload(address, np.ascontiguousarray(array), self.stream)
        self.gpu.wait(self.stream)

    def work(self) -> None:
        """All kernels, and the people down."""
        for step in self.launches:
            addresses = [self.at[name] for name in step.arguments]
            function = self.functions[step.kernel]
            self.gpu.launch(function, step.grid, program.BLOCK, addresses, self.stream)
        first = self.result.view(np.uint8)[: layout.FIRST_BYTES]
        self.gpu.download(first, self.at["arena"], self.stream)

    def people(self) -> Any:
        """The people of what was shown."""
        self.work()
        self.gpu.wait(self.stream)
        return self.result[0]


def ask(asked: Asked) -> None:
    """PTX first, as it ships; then, where nvcc is, code for this very GPU."""
    gpu = Gpu(asked.device)
    try:
        images = {"ptx": PTX.read_bytes(), **_cubin(gpu.facts.capability)}
        asked.tell(unequal=0)
        for kind, image in images.items():
            try:
                _compare(asked, gpu, kind, image)
            except EngineError as error:
                if kind == "ptx":
                    raise
                asked.tell(**{kind: str(error)})
        _time(asked, gpu, images["ptx"])
    finally:
        gpu.close()


def _compare(asked: Asked, gpu: Gpu, kind: str, image: bytes) -> None:
    frames: dict[Any, Frame] = {}
    scenes = asked.count(1000 if kind == "ptx" else 100, 5)
    same = found = 0
    for size, root, outputs in chain(_goldens(asked.count(100, 1)), _drawn(scenes)):
        if (size, root) not in frames:
            frames[size, root] = Frame(gpu, image, size, root)
        equal, people = compare(frames[size, root], outputs, root)
        same, found, asked.told["unequal"] = (
            same + equal, found + people, asked.told["unequal"] + (not equal)
        )  # fmt: skip
    asked.tell(**{kind: {"equal": same, "people": found}})


def compare(frame: Frame, outputs: list[np.ndarray], root: int) -> tuple[bool, int]:
    """Whether the GPU finds what numpy finds, to the last bit, and how many people that are."""
    frame.show(outputs)
    block = frame.people()
    maps, bones, root_depth, poses = outputs
    with np.errstate(invalid="ignore"):  # some maps are full of NaN
        people = associate(maps, root_depth, root=root)
        lifting = LiftingConfig(root=root)
        depths = chain_depths(bone_depths(people, bones, lifting), root)
        told = told_poses(people, poses, lifting).reshape(len(people), layout.POSE)
    got = block["person"][: int(block["people"])]
    bad = sum(int((~np.isfinite(array)).sum()) for array in outputs)
    equal = (
        (int(block["people"]), int(block["bad"])) == (len(people), bad)
        and np.array_equal(got["joints"], people[..., [0, 1, 3]])
        and np.array_equal(got["depth_cm"], depths, equal_nan=True)
        and np.array_equal(got["pose"] / np.float32(100), told, equal_nan=True)
    )
    return equal, len(people)


def _drawn(scenes: int) -> Iterator[tuple[tuple[int, int], int, list[np.ndarray]]]:
    """Scenes of 0 to 127 people, every fifth with NaN, infinities and huge values in it."""
    for seed in range(scenes):
        size, root = SIZES[seed % len(SIZES)], (0, 2)[seed % 2]
        outputs = drawn(PEOPLE[seed % len(PEOPLE)], seed, size)
        if seed % 5 == 4:
            rng = np.random.default_rng(seed)
            for array in outputs:
                flat = array.reshape(-1)
                for value in (np.nan, np.inf, -np.inf, 1e7):
                    flat[rng.choice(len(flat), len(flat) // 50, replace=False)] = value
        yield size, root, outputs


def drawn(people: int, seed: int, size: tuple[int, int] = SIZES[0]) -> list[np.ndarray]:
    """What a network would give of so many people."""
    maps, root_depth = synthetic_scene(people, seed=seed, size=size, noise=0.02)
    return _with_lifting(maps, root_depth, seed)


def _with_lifting(maps: np.ndarray, root_depth: np.ndarray, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    bones = rng.normal(0, 30, (14, *root_depth.shape)).astype(np.float32)
    poses = rng.normal(0, 50, (layout.POSE, *root_depth.shape)).astype(np.float32)
    return [maps, bones, root_depth, poses]


def _goldens(most: int) -> Iterator[tuple[tuple[int, int], int, list[np.ndarray]]]:
    """The maps of SMAP's own scenes; that numpy finds SMAP's people in them is for the tests."""
    if not GOLDENS.is_file():
        return
    with np.load(GOLDENS) as data:
        names = [key.removesuffix("_maps16") for key in data if key.endswith("_maps16")]
        for name in names[:most]:
            maps = data[f"{name}_maps16"].astype(np.float32)
            depth = data[f"{name}_rdepth16"].astype(np.float32)
            for root in (0, 2):
                yield depth.shape, root, _with_lifting(maps, depth, 0)


def _cubin(capability: str) -> dict[str, bytes]:
    """The kernels compiled for this GPU; nothing where nvcc is missing or refuses."""
    if shutil.which("nvcc") is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "kernels.cubin"
        arch = f"-arch=sm_{capability.replace('.', '')}"
        command = ["nvcc", arch, "-cubin", "-o", out, PTX.with_suffix(".cu")]
        done = subprocess.run(command, capture_output=True, check=False)
        return {"cubin": out.read_bytes()} if done.returncode == 0 else {}


def _time(asked: Asked, gpu: Gpu, image: bytes) -> None:
    frame = Frame(gpu, image, SIZES[0])
    for people in (1, 10) if asked.dry else (1, 10, 40):
        frame.show(drawn(people, people))
        frame.people()
        ways = {"launches": frame.work}
        try:
            ways["graph"] = gpu.capture(frame.work, frame.stream)
        except EngineError as error:
            asked.tell(capture=str(error))
        runs = asked.count(200)
        times = {n: event_times_us(gpu, frame.stream, way, runs) for n, way in ways.items()}
        asked.tell(us={str(people): {name: spent["median"] for name, spent in times.items()}})
        asked.tell(us_p99={str(people): {name: spent["p99"] for name, spent in times.items()}})
