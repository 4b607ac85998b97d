"""MobileHumanPose from a checkpoint to people in metres: export, runtimes, estimator, commands.

The weights are the random ones of the golden files, as no free official ones exist, turned to the
pixels of 0 to 255 that official ones expect.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.engines import create_engine
from smap_ros.estimators import create_estimator
from smap_ros.skeletons import H36M18, MPI15, convert
from smap_train.cli import app
from smap_train.export import ExportOptions, export_topdown_kind
from smap_train.export.exporters import export
from smap_train.models import create
from smap_train.models.checkpoint import load_model, save_checkpoint
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.mobilehuman import MobileHuman
from tests.training.exporting import FACTS, MEAN, STD, assert_refused, busy_picture, official_flip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    golden = Golden(GOLDENS / "mobilehumanpose", "manifest_LPSKI_j18.json")
    path = tmp_path_factory.mktemp("weights") / "mobilehuman.pth"
    weights = golden.weights()
    weights["backbone.first_conv.0.weight"] = weights["backbone.first_conv.0.weight"] / 255
    save_checkpoint(path, "mobilehuman", weights, backbone="LPSKI", joints=18)
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Bundle:
    """Takes some seconds: torch's exporter traces the network."""
    folder = tmp_path_factory.mktemp("bundles") / "mobilehuman"
    settings = {"first_stage": "scene", "box_margin": 1.25}
    bundle, error = export_topdown_kind(
        checkpoint, folder, ExportOptions(**FACTS, settings=settings)
    )
    assert error < 1e-4
    return bundle


@pytest.fixture(scope="module")
def network(checkpoint) -> MobileHuman:
    model = load_model(checkpoint)
    assert isinstance(model, MobileHuman)
    return model


def test_bundle_states_what_the_official_weights_need(exported):
    manifest = load_bundle(exported.folder).manifest
    assert (manifest.kind, manifest.joint_set, manifest.cells) == ("topdown", "h36m18", 32)
    assert manifest.input.pixel_range == 255 and manifest.input.color == "rgb"
    assert manifest.depth_half_range_m == 1.0 and not manifest.flip_test
    assert b"stack_trace" not in exported.read()  # the exporter's notes name this machine


def test_smaller_crops_have_fewer_cells(tmp_path):
    options = {"joints": 15, "width": 0.0625, "input_size": 128, "pixel_range": 1}
    network = create("mobilehuman", **options)
    save_checkpoint(tmp_path / "small.pth", "mobilehuman", network.state_dict(), **options)
    source = tmp_path / "small.pth"
    bundle, error = export_topdown_kind(source, tmp_path / "small", ExportOptions(**FACTS))
    manifest = bundle.manifest
    assert (manifest.input.width, manifest.input.height, manifest.cells) == (128, 128, 16)
    assert manifest.joint_set == "mpi15" and manifest.input.pixel_range == 1 and error < 1e-4
    engine = create_engine(bundle, "onnxruntime", threads=1)
    crops = np.random.default_rng(0).uniform(-2, 2, (2, 3, 128, 128)).astype(np.float32)
    with torch.inference_mode():
        expected = network.eval()(torch.from_numpy(crops))["coord"].numpy()
    assert np.abs(engine.run({"image": crops})["coord"] - expected).max() < 1e-3
    engine.close()


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_any_number_of_crops_runs_like_torch(exported, network, runtime):
    engine = create_engine(exported, runtime, threads=1)
    rng = np.random.default_rng(0)
    for count in (1, 3, 2):
        crops = rng.uniform(-2, 1100, (count, 3, 256, 256)).astype(np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(crops))["coord"].numpy()
        got = engine.run({"image": crops})["coord"]
        assert got.shape == (count, 18, 3)
        assert np.abs(got - expected).max() < 2e-3  # cells, of 32
    assert np.ptp(expected, axis=0).max() > 0.01  # what is seen makes a difference
    engine.close()


def official_joints(network, image, person, camera, *, flip):
    """The official way from a person's box to joints in metres, in its own steps.

    Box to square to crop by OpenCV's three points, RGB of 0 to 255 less ImageNet's mean, cells
    over the box and +-1 m about the root.
    """
    low, high = person.joints_2d.min(axis=0), person.joints_2d.max(axis=0)
    side = float((high - low).max()) * 1.25
    x, y = ((low + high) / 2 - side / 2).astype(float)
    source = np.float32([[x, y], [x + side, y], [x, y + side]])
    target = np.float32([[0, 0], [256, 0], [0, 256]])
    crop = cv2.warpAffine(image, cv2.getAffineTransform(source, target), (256, 256))
    pixels = (crop[..., ::-1].astype(np.float32) - MEAN) / STD
    blob = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.inference_mode():
        cells = network(blob)["coord"]
        if flip:
            cells = official_flip(cells, network(blob.flip(-1))["coord"], 32, H36M18)
    cells = cells[0].double().numpy()
    depth = (cells[:, 2] / 32 * 2 - 1) + float(person.root[2])
    u, v = cells[:, 0] / 32 * side + x, cells[:, 1] / 32 * side + y
    rays = np.column_stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones(18)])
    return convert(rays * depth[:, None], H36M18, MPI15), depth, side


@pytest.fixture(scope="module")
def people_scene(scene_maker):
    return scene_maker([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]])


@pytest.fixture(scope="module")
def picture(people_scene):
    return busy_picture(people_scene, np.random.default_rng(0).integers(-60, 60, (90, 160, 3)))


@pytest.mark.parametrize("flip", [False, True])
def test_people_are_those_of_the_official_steps(
    people_scene, picture, make_bundle, exported, network, flip
):
    scene = people_scene
    first = make_bundle(scene).folder
    people = create_estimator(first, "onnxruntime", threads=1).estimate(picture, scene.camera)
    estimator = create_estimator(
        exported, "onnxruntime", threads=1, first_stage=str(first), flip_test=flip
    )
    frame = estimator.estimate(picture, scene.camera)
    assert len(frame) == len(people) == 3
    expected = [
        official_joints(network, picture, person, scene.camera, flip=flip) for person in people
    ]
    # Their pelvis is where the random network puts it; the estimator gives the nearest first.
    expected.sort(key=lambda joints: joints[0][MPI15.root, 2])
    for body, (joints, depth, side) in zip(frame, expected, strict=True):
        if flip:  # the official flip test moves everybody to the left by this
            pixels = side * (1 - 32 / 256) / 2 / 32
            joints[:, 0] += pixels / scene.camera.fx * convert(depth[:, None], H36M18, MPI15)[:, 0]
        assert np.abs(body.joints_3d - joints).max() < 2e-3
        assert body.present.all()


def test_half_the_size_is_nearly_as_exact(checkpoint, network, tmp_path):
    """A second export, with weights as fp16."""
    bundle, error = export_topdown_kind(
        checkpoint, tmp_path / "half", ExportOptions(**{**FACTS, "half": True})
    )
    assert 1e-4 < error < 1e-2  # of the rounding, beside the network as it was
    assert (bundle.folder / "model.onnx").stat().st_size < 8e6
    engine = create_engine(bundle, "onnxruntime", threads=1)
    crops = np.random.default_rng(1).uniform(-2, 1100, (1, 3, 256, 256)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(crops))["coord"].numpy()
    assert np.abs(engine.run({"image": crops})["coord"] - expected).max() < 0.3


def test_the_commands_convert_and_export_a_variant(tmp_path):
    """From a file as officially laid out: 64 cubes, MuCo's joints, other pixels. Takes 8 s."""
    torch.manual_seed(0)
    weights = MobileHuman("LPWO", 21).state_dict()
    official, path = tmp_path / "snapshot_24.pth.tar", tmp_path / "lpwo.pth"
    prefixed = {f"module.{key}": value for key, value in weights.items()}
    torch.save({"epoch": 24, "network": prefixed, "optimizer": {}}, official)
    variant = ["--set", "backbone=LPWO", "--set", "joints=21"]
    result = CliRunner().invoke(app, ["convert", "mobilehuman", str(official), str(path), *variant])
    assert result.exit_code == 0, result.output
    options = ["--set", "pixel_range=1", "--set", "flip_test=true", "--licence", "mine"]
    result = CliRunner().invoke(app, ["export", str(path), str(tmp_path / "lpwo"), *options])
    assert result.exit_code == 0, result.output
    manifest = load_bundle(tmp_path / "lpwo").manifest
    assert (manifest.joint_set, manifest.cells, manifest.flip_test) == ("muco21", 64, True)
    assert (manifest.input.pixel_range, manifest.first_stage) == (1, "smap_lite")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "flip_tset=true"], "flip_tset: Extra inputs.*kind topdown has first_stage"),
        (["--set", "pixel_range=2"], "pixel_range: Input should be 1 or 255"),
        (["--set", "flip_test"], "expected NAME=VALUE"),
        (["--set", "flip_test=[", "--set", "pixel_range=1"], "is no YAML value"),
        (["--refine", "refine.pth"], "--refine is of no use for a mobilehuman"),
        (["--backbone", "backbone.pth"], "--backbone is of no use for a mobilehuman"),
    ],
)
def test_wrong_settings_write_nothing(checkpoint, tmp_path, options, words):
    assert_refused(checkpoint, tmp_path / "bundle", options, words)


def test_a_first_stage_that_is_nowhere_is_told(checkpoint, tmp_path, caplog):
    def exported(first_stage: str) -> str:
        caplog.clear()
        options = ExportOptions(settings={"first_stage": first_stage})
        export(checkpoint, tmp_path / f"by_{first_stage}", options)
        return caplog.text

    assert "by_nothing finds nobody until bundle nothing, its first_stage" in exported("nothing")
    assert "finds nobody" not in exported("smap_lite")
