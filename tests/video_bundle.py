"""Bundles of kind ``video`` whose answers are known, made of a few ONNX nodes.

A crop's token is its mean colour. The answer for an image is a standing person, seen in the
middle of the crop at a fixed scale, whose top of the head and first vertex are moved by the
colour of the crop and by the mean colour of all crops in the window: by how much tells what the
network was shown.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.skeletons import MPI15, SKELETONS, convert

SIZE, WINDOW, VERTICES = 32, 4, 6
SCALE = 0.7
FOCAL_PX = 5000.0 * SIZE / 224
FACES = np.array([[0, 1, 2], [3, 4, 5], [0, 5, 3]], np.int32)

# Joints about the pelvis and corners about them, metres, axes as the optical frame's.
HEAD = np.array([0.0, -0.78, -0.05])
CORNERS = np.array(
    [[0, -0.9, 0], [0.3, 0, 0.1], [-0.3, 0, 0.1], [0.1, 0.9, 0], [-0.1, 0.9, 0], [0, 0, -0.2]]
)
_PERSON = np.array(
    [
        [0, -0.50, 0], HEAD, [0, 0, 0],
        [0.20, -0.48, 0], [0.28, -0.20, 0.06], [0.30, 0.04, -0.10],
        [0.10, 0.02, 0], [0.12, 0.45, -0.06], [0.12, 0.88, 0.04],
        [-0.20, -0.48, 0], [-0.28, -0.22, -0.08], [-0.34, 0.00, -0.20],
        [-0.10, 0.02, 0], [-0.12, 0.45, 0.03], [-0.13, 0.88, 0.08],
    ]
)  # fmt: skip


def crop_model(*, factor: float = 1.0) -> bytes:
    """Any number of rgb crops [N, 3, 32, 32], values 0 to 1 -> their mean colours [N, 1, 3]."""
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "factor"], ["scaled"]),
        helper.make_node("Unsqueeze", ["scaled", "one"], ["tokens"]),
    ]
    constants = {"axes": np.array([2, 3]), "factor": np.float32(factor), "one": np.array([1])}
    inputs, outputs = {"image": ["crops", 3, SIZE, SIZE]}, {"tokens": ["crops", 1, 3]}
    return _model("crop", nodes, constants, inputs, outputs)


def clip_model(
    joint_set: str = "spin49",
    *,
    window: int = WINDOW,
    camera: tuple[float, float, float] = (SCALE, 0.0, 0.0),
    sway: float = 1.0,
) -> bytes:
    """Tokens [1, T, 1, 3] -> ``camera``, ``joints`` and ``vertices`` as described above."""
    joints = len(SKELETONS[joint_set])
    body = np.nan_to_num(convert(_PERSON, MPI15, SKELETONS[joint_set]))
    moved = np.array([name == "head_top" for name in SKELETONS[joint_set].joints])
    corner = np.arange(VERTICES) == 0
    constants: dict[str, Any] = {
        "time": np.array([1]),
        "sway": np.float32(sway),
        "joints_rest": body.astype(np.float32).reshape(1, 1, joints, 3),
        "joints_moved": moved.astype(np.float32).reshape(1, 1, joints, 1),
        "vertices_rest": CORNERS.astype(np.float32).reshape(1, 1, VERTICES, 3),
        "vertices_moved": corner.astype(np.float32).reshape(1, 1, VERTICES, 1),
        "camera_seen": np.tile(np.array(camera, np.float32), (1, window, 1)),
    }
    nodes = [
        helper.make_node("ReduceMean", ["tokens", "time"], ["all"], keepdims=1),
        helper.make_node("Add", ["tokens", "all"], ["sum"]),
        helper.make_node("Mul", ["sum", "sway"], ["shift"]),
    ]
    for name in ("joints", "vertices"):
        nodes += [
            helper.make_node("Mul", ["shift", f"{name}_moved"], [f"{name}_shift"]),
            helper.make_node("Add", [f"{name}_rest", f"{name}_shift"], [name]),
        ]
    nodes.append(helper.make_node("Identity", ["camera_seen"], ["camera"]))
    outputs = {
        "camera": [1, window, 3],
        "joints": [1, window, joints, 3],
        "vertices": [1, window, VERTICES, 3],
    }
    return _model("clip", nodes, constants, {"tokens": [1, window, 1, 3]}, outputs)


def _model(
    name: str,
    nodes: list[onnx.NodeProto],
    constants: dict[str, Any],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
) -> bytes:
    def values(shapes: dict[str, list[Any]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()]

    tensors = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, name, values(inputs), values(outputs), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def write_video_bundle(
    folder: Path,
    manifest: dict[str, Any],
    *,
    model: bytes | None = None,
    clip: bytes | None = None,
    faces: np.ndarray = FACES,
    **changes: Any,
) -> Bundle:
    """Write such a bundle beside its first stage ``scene``.

    Args:
        folder: of both bundles.
        manifest: a valid one of kind ``topdown``, of which most is taken.
        model, clip, faces: take the place of the usual files.
        changes: of the manifest.
    """
    parts = folder / "parts"
    parts.mkdir(exist_ok=True)
    (parts / "model.onnx").write_bytes(crop_model() if model is None else model)
    (parts / "clip.onnx").write_bytes(clip_model() if clip is None else clip)
    np.save(parts / "faces.npy", faces)
    image = {**manifest["input"], "width": SIZE, "height": SIZE}
    unused = ("cells", "depth_half_range_m")
    facts = {
        **{key: value for key, value in manifest.items() if key not in unused},
        "name": "sway",
        "kind": "video",
        "input": image,
        "outputs": {"tokens": {"name": "tokens", "shape": [1, 1, 3]}},
        "joint_set": "spin49",
        "box_margin": 1.4,
        "focal_px": FOCAL_PX,
        "window": WINDOW,
        "vertices": VERTICES,
        **changes,
    }
    others = {"clip": parts / "clip.onnx", "faces": parts / "faces.npy"}
    return write_bundle(folder / "sway", facts, parts / "model.onnx", **others)
