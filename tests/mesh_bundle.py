"""A mesh network made by hand: it measures the 2D pose it is given and puts a figure there.

From pelvis and neck it takes where the pelvis is seen and how tall the torso appears, and so
where before the crop's camera a figure with ``TORSO`` between them stands. The figure is that of
the scenes; its surface is a small tetrahedron about each joint.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.skeletons import MPI15, SMPL30, convert
from tests.conftest import _PERSON, topdown_manifest

FOCAL, SIZE, CELLS = 5000.0, 256, 64
TORSO = 0.5  # metres from pelvis to neck, straight up
CORNERS = 0.05 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
TRIANGLES = np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])

# The figure's joints about the pelvis; those that mpi15 lacks are at the pelvis.
FIGURE = np.nan_to_num(convert(_PERSON, MPI15, SMPL30)).astype(np.float32)
SURFACE = (FIGURE[:, None] + CORNERS).reshape(-1, 3).astype(np.float32)
FACES = (4 * np.arange(len(FIGURE))[:, None, None] + TRIANGLES).reshape(-1, 3)


def mesh_model(*, broken: bool = False, size: int = SIZE) -> bytes:
    """The network; with ``broken`` one of its vertices is NaN. Any number of people."""
    surface = SURFACE.copy()
    if broken:
        surface[7, 1] = np.nan
    step = size / CELLS
    constants = {
        "figure": FIGURE[None],
        "surface": surface[None],
        "pelvis_index": np.array([SMPL30.index("pelvis")]),
        "neck_index": np.array([SMPL30.index("neck")]),
        "vertical": np.array([1]),
        "coordinates": np.array([2]),
        "everything": np.array([1, 2, 3]),
        "step": np.float32(step),
        "middle": np.float32(size / 2),
        "torso": np.float32(FOCAL * TORSO),
        "focal": np.float32(FOCAL),
        "least": np.float32(1),
        "zero": np.float32(0),
    }
    nodes = [
        # Both are used, so that they are inputs; neither changes a number.
        helper.make_node("ReduceMean", ["image", "everything"], ["brightness"], keepdims=0),
        helper.make_node("ReduceMax", ["mask", "everything_mask"], ["known"], keepdims=0),
        helper.make_node("Add", ["brightness", "known"], ["seen"]),
        helper.make_node("Mul", ["seen", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "column"], ["nought"]),
        helper.make_node("Mul", ["joints", "step"], ["pixels"]),
        helper.make_node("Gather", ["pixels", "pelvis_index"], ["pelvis"], axis=1),
        helper.make_node("Gather", ["pixels", "neck_index"], ["neck"], axis=1),
        helper.make_node("Sub", ["pelvis", "neck"], ["torso_seen"]),
        helper.make_node("Gather", ["torso_seen", "vertical"], ["height"], axis=2),
        helper.make_node("Max", ["height", "least"], ["tall"]),
        helper.make_node("Div", ["torso", "tall"], ["depth"]),  # [N, 1, 1]
        helper.make_node("Sub", ["pelvis", "middle"], ["off"]),
        helper.make_node("Div", ["off", "focal"], ["direction"]),
        helper.make_node("Mul", ["direction", "depth"], ["lateral"]),
        helper.make_node("Concat", ["lateral", "depth"], ["place"], axis=2),
        helper.make_node("Add", ["place", "nought"], ["root"]),
        helper.make_node("Add", ["figure", "root"], ["joints_3d"]),
        helper.make_node("Add", ["surface", "root"], ["vertices"]),
    ]
    constants["everything_mask"] = np.array([1, 2])
    constants["column"] = np.array([-1, 1, 1])
    shapes = {"image": [3, size, size], "joints": [30, 2], "mask": [30, 1]}
    results = {"joints_3d": [30, 3], "vertices": [len(SURFACE), 3]}
    graph = helper.make_graph(
        nodes,
        "figure",
        [_tensor(name, shape) for name, shape in shapes.items()],
        [_tensor(name, shape) for name, shape in results.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def mesh_manifest(**changes: Any) -> dict[str, Any]:
    """A valid manifest of kind mesh after the bundle ``scene``, without its files."""
    return {
        **{
            k: v
            for k, v in topdown_manifest().items()
            if k not in ("flip_test", "depth_half_range_m")
        },
        "name": "figure",
        "kind": "mesh",
        "outputs": {
            "joints": {"name": "joints_3d", "shape": [1, len(FIGURE), 3]},
            "vertices": {"name": "vertices", "shape": [1, len(SURFACE), 3]},
        },
        "joint_set": "smpl30",
        "cells": CELLS,
        "focal_px": FOCAL,
        "box_enlargement": 1.2,
        "box_margin": 1.25,
        "min_joint_score": 0.1,
        **changes,
    }


def write_mesh_bundle(
    folder: Path, model: bytes | None = None, faces: Any = FACES, **changes: Any
) -> Bundle:
    """A bundle ``figure`` in a folder, with the network above or another one."""
    source, triangles = folder / "figure.onnx", folder / "triangles.npy"
    source.write_bytes(mesh_model() if model is None else model)
    np.save(triangles, faces)
    return write_bundle(folder / "figure", mesh_manifest(**changes), source, faces=triangles)


def _tensor(name: str, shape: list[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["people", *shape])
