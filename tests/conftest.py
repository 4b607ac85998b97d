"""Scenes whose people are known, and real ONNX bundles that see them.

The network of such a bundle holds the label maps of its scene as constants and looks only at
the brightness of the image: a bright one shows the scene, a grey one nobody, and a black one
makes every output NaN. So the whole way from image to metres runs for real, and can be held
against the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, settings
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.camera import Camera
from smap_ros.skeletons import MPI15, SKELETONS

# A busy machine is slow, and no test judges by the clock.
settings.register_profile(
    "any pace", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any pace")

WIDTH, HEIGHT, STRIDE = 448, 256, 4
LIMBS = np.array(MPI15.limbs)
BRIGHT, GREY, BLACK = 250, 128, 0

# A standing person about the pelvis, metres, y down; x to the person's left.
_PERSON = np.array(
    [
        [0, -0.50, 0], [0, -0.78, -0.05], [0, 0, 0],
        [0.20, -0.48, 0], [0.28, -0.20, 0.06], [0.30, 0.04, -0.10],
        [0.10, 0.02, 0], [0.12, 0.45, -0.06], [0.12, 0.88, 0.04],
        [-0.20, -0.48, 0], [-0.28, -0.22, -0.08], [-0.34, 0.00, -0.20],
        [-0.10, 0.02, 0], [-0.12, 0.45, 0.03], [-0.13, 0.88, 0.08],
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """People before a camera.

    Attributes:
        joints: float64 [N, 15, 3], metres, optical frame, nearest pelvis first.
        camera: 1280x720 px.
    """

    joints: np.ndarray
    camera: Camera

    def image(self, value: int) -> np.ndarray:
        """A plain image of the camera's size, uint8 [H, W, 3]."""
        return np.full((self.camera.height, self.camera.width, 3), value, np.uint8)

    @property
    def scale(self) -> float:
        """Network pixels per image pixel."""
        return min(WIDTH / self.camera.width, HEIGHT / self.camera.height)

    def maps(self) -> dict[str, np.ndarray]:
        """Labels on the network's grid: maps of order 1, bone depths in m, root depths in m/px."""
        grid = np.stack(
            np.meshgrid(np.arange(WIDTH // STRIDE), np.arange(HEIGHT // STRIDE)), axis=-1
        ).astype(float)
        pixels = self.camera.project(self.joints)
        # SMAP's mapping, and the middle of cell 0 at 0.5: its index is half a cell less.
        network = (pixels + (np.array([WIDTH, HEIGHT]) / self.scale - self._size) / 2) * self.scale
        cells = network / STRIDE - 0.5  # [N, 15, 2]
        heat = np.exp(-((grid - cells[:, :, None, None]) ** 2).sum(-1) / 2).max(axis=0)
        fields, bones = zip(*(self._limb(grid, cells, k) for k in range(len(LIMBS))), strict=True)
        roots = ((grid - cells[:, MPI15.root, None, None]) ** 2).sum(-1).argmin(axis=0)
        depth = self.joints[:, MPI15.root, 2] / (self.camera.fx * self.scale)
        return {
            "maps": np.concatenate([heat, *fields])[None].astype(np.float32),
            "bone_depth": np.stack(bones)[None].astype(np.float32),
            "root_depth": depth[roots][None, None].astype(np.float32),
        }

    def poses(self, root: int = MPI15.root) -> np.ndarray:
        """Label of an output ``pose``, float32 [1, 45, h, w], metres: each person in columns."""
        pixels = self.camera.project(self.joints)
        ratio = self.joints[:, root, 2] / self.camera.fx
        plane = (pixels - pixels[:, root, None]) * ratio[:, None, None]
        depth = self.joints[..., 2:] - self.joints[:, root, None, 2:]
        told = np.concatenate([plane, depth], axis=-1).reshape(-1, 45)
        shape = (45, HEIGHT // STRIDE, WIDTH // STRIDE)
        return np.broadcast_to(told[self._columns(root)].T[:, None], shape)[None].astype(np.float32)

    def necks(self) -> dict[str, np.ndarray]:
        """Labels of ``neck_depth`` and ``neck_pose``, each person in columns."""
        depth = self.joints[:, 0, 2] / (self.camera.fx * self.scale)
        shape = (1, HEIGHT // STRIDE, WIDTH // STRIDE)
        columns = np.broadcast_to(depth[self._columns(0)], shape)
        return {"neck_depth": columns[None].astype(np.float32), "neck_pose": self.poses(0)}

    def _columns(self, root: int) -> np.ndarray:
        """Whose joint ``root`` is nearest to each column of the grid, int [w]."""
        pixels = self.camera.project(self.joints)
        offset = (np.array([WIDTH, HEIGHT]) / self.scale - self._size) / 2
        columns = (pixels[:, root, 0] + offset[0]) * self.scale / STRIDE
        return np.abs(np.arange(WIDTH // STRIDE) + 0.5 - columns[:, None]).argmin(axis=0)

    @property
    def _size(self) -> np.ndarray:
        return np.array([self.camera.width, self.camera.height])

    def _limb(self, grid: np.ndarray, cells: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        a, b = cells[:, LIMBS[k, 0], None, None], cells[:, LIMBS[k, 1], None, None]
        along = b - a
        length = np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-9)
        share = ((grid - a) * along).sum(-1, keepdims=True) / length**2
        off = np.linalg.norm(grid - a - np.clip(share, 0, 1) * along, axis=-1)  # [N, h, w]
        owner = off.argmin(axis=0)
        unit = np.moveaxis((along / length)[owner, 0, 0], -1, 0)  # [2, h, w]
        rise = self.joints[:, LIMBS[k, 1], 2] - self.joints[:, LIMBS[k, 0], 2]
        return unit * (off.min(axis=0) < 2), rise[owner]


def make_scene(roots: np.ndarray, camera: Camera | None = None) -> Scene:
    """A scene of standing people.

    Args:
        roots: float [N, 3], positions of the pelvises, metres.
    """
    camera = camera or Camera.from_fov(1280, 720, np.deg2rad(80))
    roots = np.asarray(roots, dtype=float).reshape(-1, 3)
    roots = roots[np.argsort(roots[:, 2])]
    return Scene(roots[:, None] + _PERSON, camera)


SMAP_NAMES = {
    "maps": "heatmap_2d",
    "bone_depth": "det_d",
    "root_depth": "root_d",
    "pose": "pose",
    "neck_depth": "neck_d",
    "neck_pose": "neck_pose",
    "depth_spread": "depth_spread",
}


def outputs_of(labels: dict[str, np.ndarray]) -> dict[str, Any]:
    """``outputs`` of the manifest of a network that holds these labels."""
    return {k: {"name": SMAP_NAMES[k], "shape": list(v.shape)} for k, v in labels.items()}


def scene_model(labels: dict[str, np.ndarray], names: dict[str, str] = SMAP_NAMES) -> bytes:
    """The network described at the top of this file; ``names`` are those of its outputs."""
    names = {key: name for key, name in names.items() if key in labels}
    height, width = (STRIDE * n for n in labels["maps"].shape[2:])
    constants = {
        key: numpy_helper.from_array(array, f"{key}_label") for key, array in labels.items()
    }
    numbers = {"dark": -0.02, "half": -0.6, "steep": 1000.0, "zero": 0.0, "one": 1.0}
    scalars = [numpy_helper.from_array(np.float32(v), k) for k, v in numbers.items()]
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=1),
        helper.make_node("Add", ["mean", "half"], ["above"]),
        helper.make_node("Mul", ["above", "steep"], ["ramp"]),
        helper.make_node("Clip", ["ramp", "zero", "one"], ["gate"]),
        helper.make_node("Add", ["mean", "dark"], ["light"]),
        helper.make_node("Log", ["light"], ["logarithm"]),  # NaN for a black image
        helper.make_node("Mul", ["logarithm", "zero"], ["poison"]),
    ]
    for key, name in names.items():
        nodes += [
            helper.make_node("Mul", [f"{key}_label", "gate"], [f"{key}_gated"]),
            helper.make_node("Add", [f"{key}_gated", "poison"], [name]),
        ]
    graph = helper.make_graph(
        nodes,
        "scene",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, height, width])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, labels[key].shape)
            for key, name in names.items()
        ],
        [*constants.values(), *scalars],
    )
    return _serialised(graph)


def _serialised(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def manifest(**changes: Any) -> dict[str, Any]:
    """A valid manifest without its files, with top-level fields changed."""
    grid = [HEIGHT // STRIDE, WIDTH // STRIDE]
    return {
        "name": "scene",
        "kind": "smap",
        "version": "1",
        "input": {
            "name": "image",
            "width": WIDTH,
            "height": HEIGHT,
            "color": "bgr",
            "mean": [0, 0, 0],
            "std": [1, 1, 1],
        },
        "outputs": {
            "maps": {"name": "heatmap_2d", "shape": [1, 43, *grid]},
            "bone_depth": {"name": "det_d", "shape": [1, 14, *grid]},
            "root_depth": {"name": "root_d", "shape": [1, 1, *grid]},
        },
        "scales": {
            "heatmap_scale": 1,
            "paf_scale": 1,
            "bone_depth_unit_m": 1,
            "root_depth_unit_m": 1,
        },
        "stride": STRIDE,
        "joint_set": "mpi15",
        "precision": "fp32",
        "licence": "Apache-2.0",
        "provenance": {"data": "none", "command": "pytest", "commit": "unknown"},
        **changes,
    }


def spot_model(joints: int, *, depth_cell: float = 20.0, bias_cells: float = 0.0) -> bytes:
    """A top-down network that puts all joints on the red part of a crop.

    Its output is the red part's middle in 32 cells (the crop's where nothing is red), with x too
    large by ``bias_cells``, and for z always ``depth_cell``. Takes any number of rgb crops of
    256x256 pixels, values 0 to 1.
    """
    size, cells = 256, 32
    grid = np.arange(size, dtype=np.float32) * cells / size
    constants = {
        "columns": np.float32(bias_cells) + grid[None, :].repeat(size, 0)[None, None],
        "rows": grid[:, None].repeat(size, 1)[None, None],
        "red_less_green": np.array([1, -1, 0], np.float32).reshape(1, 3, 1, 1),
        "zero": np.float32(0),
        "little": np.float32(1e-4),
        "little_middle": np.float32(1e-4 * cells / 2),
        "depth": np.float32(depth_cell),
        "channels": np.array([1]),
        "axes": np.array([1, 2, 3]),
        "per_joint": np.array([1, joints, 1]),
        "flat": np.array([-1, 1, 1]),
    }
    nodes = [
        helper.make_node("Mul", ["image", "red_less_green"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "channels"], ["difference"], keepdims=1),
        helper.make_node("Max", ["difference", "zero"], ["red"]),
        helper.make_node("ReduceSum", ["red", "axes"], ["mass"], keepdims=0),
        helper.make_node("Add", ["mass", "little"], ["total"]),
    ]
    for name in ("columns", "rows"):
        nodes += [
            helper.make_node("Mul", ["red", name], [f"{name}_red"]),
            helper.make_node("ReduceSum", [f"{name}_red", "axes"], [f"{name}_sum"], keepdims=0),
            helper.make_node("Add", [f"{name}_sum", "little_middle"], [f"{name}_part"]),
            helper.make_node("Div", [f"{name}_part", "total"], [f"{name}_mean"]),
            helper.make_node("Reshape", [f"{name}_mean", "flat"], [f"{name}_cell"]),
        ]
    nodes += [
        helper.make_node("Mul", ["rows_cell", "zero"], ["nought"]),
        helper.make_node("Add", ["nought", "depth"], ["depth_cell"]),
        helper.make_node("Concat", ["columns_cell", "rows_cell", "depth_cell"], ["xyz"], axis=2),
        helper.make_node("Tile", ["xyz", "per_joint"], ["coord"]),
    ]
    graph = helper.make_graph(
        nodes,
        "spot",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["people", 3, size, size])],
        [helper.make_tensor_value_info("coord", TensorProto.FLOAT, ["people", joints, 3])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )
    return _serialised(graph)


def topdown_manifest(joint_set: str = "h36m18", **changes: Any) -> dict[str, Any]:
    """A valid manifest of kind topdown after the bundle ``scene``, without its files."""
    image = {"name": "image", "width": 256, "height": 256, "color": "rgb"}
    joints = len(SKELETONS[joint_set])
    return {
        **{k: v for k, v in manifest().items() if k not in ("scales", "stride")},
        "name": "spot",
        "kind": "topdown",
        "input": {**image, "mean": [0, 0, 0], "std": [1, 1, 1], "pixel_range": 1},
        "outputs": {"coords": {"name": "coord", "shape": [1, joints, 3]}},
        "joint_set": joint_set,
        "first_stage": "scene",
        "cells": 32,
        "depth_half_range_m": 1.0,
        "box_margin": 1.25,
        **changes,
    }


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Three people at 3 to 6 metres."""
    return make_scene(np.array([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]]))


@pytest.fixture(scope="session")
def crowd() -> Scene:
    """Forty people in four rows, their distances different from one to the next."""
    x, y = np.meshgrid(np.linspace(-7, 7, 10), [-3.6, -1.4, 0.8, 3.0])
    z = 9 + 0.05 * np.arange(40)
    return make_scene(np.stack([x.ravel(), y.ravel(), z], axis=-1))


@pytest.fixture(scope="session")
def scene_manifest() -> Callable[..., dict[str, Any]]:
    """See :func:`manifest`."""
    return manifest


@pytest.fixture(scope="session")
def scene_onnx() -> Callable[[dict[str, np.ndarray]], bytes]:
    """See :func:`scene_model`."""
    return scene_model


@pytest.fixture(scope="session")
def scene_maker() -> Callable[..., Scene]:
    """See :func:`make_scene`."""
    return make_scene


@pytest.fixture
def make_bundle(tmp_path: Path) -> Callable[..., Bundle]:
    """Write the bundle of a scene: ``make_bundle(scene, model=bytes, refine=path, **manifest)``."""

    def make(
        scene: Scene, model: bytes | None = None, refine: Path | None = None, **changes: Any
    ) -> Bundle:
        source = tmp_path / "source.onnx"
        source.write_bytes(scene_model(scene.maps()) if model is None else model)
        return write_bundle(tmp_path / "scene", manifest(**changes), source, refine)

    return make


@pytest.fixture(scope="session")
def spot_onnx() -> Callable[..., bytes]:
    """See :func:`spot_model`."""
    return spot_model


@pytest.fixture(scope="session")
def crop_manifest() -> Callable[..., dict[str, Any]]:
    """See :func:`topdown_manifest`."""
    return topdown_manifest


@pytest.fixture(scope="session")
def virtualpose_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small VirtualPose from ``smap-train export``; see ``virtualpose_scene``."""
    pytest.importorskip("torch", reason="making networks needs torch: pip install 'smap-ros[dev]'")
    from tests.virtualpose_scene import export_bundle

    return export_bundle(tmp_path_factory.mktemp("virtualpose"))


@pytest.fixture(scope="session")
def level_scene(virtualpose_bundle: Bundle) -> Any:
    """Three people on the floor before a camera that looks down."""
    from tests.virtualpose_scene import level_scene

    return level_scene(_PERSON)


@pytest.fixture(scope="session")
def level_bundle(
    virtualpose_bundle: Bundle, level_scene: Any, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A VirtualPose whose backbone sees ``level_scene`` in bright images."""
    folder, exported = tmp_path_factory.mktemp("level"), virtualpose_bundle
    facts = exported.manifest.model_dump(mode="json", exclude={"files"}, exclude_none=True)
    (folder / "source.onnx").write_bytes(scene_model({"maps": level_scene.maps}, {"maps": "maps"}))
    others = {role: exported.folder / f"{role}.onnx" for role in ("root", "pose")}
    return write_bundle(folder / "level", facts, folder / "source.onnx", **others)


@pytest.fixture(scope="session")
def network_onnx() -> bytes:
    """A small random convolutional network with SMAP's outputs, for comparing runtimes."""
    rng = np.random.default_rng(0)
    layers = [(3, 16, 2), (16, 32, 2), (32, 32, 1), (32, 58, 1)]
    nodes, weights, source = [], [], "image"
    for k, (inputs, outputs, stride) in enumerate(layers):
        kernel = rng.normal(0, np.sqrt(2 / (9 * inputs)), (outputs, inputs, 3, 3))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{k}"))
        attributes = {"strides": [stride, stride], "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [source, f"w{k}"], [f"c{k}"], **attributes))
        nodes.append(helper.make_node("LeakyRelu", [f"c{k}"], [f"r{k}"], alpha=0.1))
        source = f"r{k}"
    weights.append(numpy_helper.from_array(np.array([43, 14, 1]), "sizes"))
    names = ["heatmap_2d", "det_d", "root_d"]
    nodes.append(helper.make_node("Split", [source, "sizes"], names, axis=1))
    grid = (HEIGHT // STRIDE, WIDTH // STRIDE)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, HEIGHT, WIDTH])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, n, *grid])
            for name, n in zip(names, (43, 14, 1), strict=True)
        ],
        weights,
    )
    return _serialised(graph)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep engines and choices that tests make out of the user's cache."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder
