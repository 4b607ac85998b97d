"""MAED from a checkpoint to people in metres: export, runtimes, estimator, commands.

The weights are random, as no free trained ones exist, and the body is the goldens' synthetic
one. The network is a small one of the same making.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.engines import create_engine
from smap_ros.engines.factory import open_model
from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.persons.surface import turn_to
from smap_ros.skeletons import H36M17, MPI15, SMPL24, SPIN49, convert
from smap_train.cli import app
from smap_train.export import ExportOptions, export_video_kind
from smap_train.export.maed import TokenGraph
from smap_train.models import create
from smap_train.models.checkpoint import load_model, save_checkpoint
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.layers.smpl import PARENTS
from smap_train.models.maed import Maed
from smap_train.models.maed.body import _JOINT_MAP
from tests.training.exporting import FACTS, MEAN, STD, assert_refused, busy_picture

SMALL = {"image_size": 32, "width": 24, "depth": 1, "heads": 3, "blocks": (1, 1, 1)}
WINDOW = 16
# Where the working set's joints are among SPIN's 49, as the official evaluation numbers them.
OF_49 = [37, 38, 39, 34, 35, 36, 28, 29, 30, 33, 32, 31, 27, 26, 25]


def small(mode: str = "parallel", *, body: bool = True) -> Maed:
    """A network that answers to what it sees, and sees people at a likely scale."""
    torch.manual_seed(0)
    model = create("maed", **SMALL, mode=mode).eval()
    assert isinstance(model, Maed)
    if body:
        model.decoder.smpl.set_body(synthetic_body())
        model.decoder.smpl.set_joint_regressors(synthetic_regressor("J_regressor_extra", 9))
    for layer in model.decoder.joint_regs:
        nn.init.normal_(layer.weight, std=0.05)
    nn.init.normal_(model.decoder.deccam.weight, std=0.05)
    with torch.no_grad():
        model.decoder.deccam.bias.copy_(torch.tensor([0.9, 0.02, -0.03]))
    return model


def saved(path: Path, model: Maed, mode: str = "parallel") -> Path:
    save_checkpoint(path, "maed", model.state_dict(), **SMALL, mode=mode)
    return path


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("weights") / "maed.pth", small())


@pytest.fixture(scope="module")
def exported(checkpoint, tmp_path_factory) -> Bundle:
    """Takes some seconds: torch's exporter traces two networks."""
    folder = tmp_path_factory.mktemp("bundles") / "maed"
    settings = {"first_stage": "scene"}
    bundle, error = export_video_kind(checkpoint, folder, ExportOptions(**FACTS, settings=settings))
    assert error < 1e-4
    return bundle


@pytest.fixture(scope="module")
def network(checkpoint) -> Maed:
    model = load_model(checkpoint)
    assert isinstance(model, Maed)
    return model


def test_bundle_states_what_official_weights_need(exported):
    manifest = load_bundle(exported.folder).manifest
    assert (manifest.kind, manifest.joint_set, manifest.window) == ("video", "spin49", 16)
    assert manifest.box_margin == pytest.approx(1.1 * 1.3)
    assert manifest.focal_px / manifest.input.width == pytest.approx(5000 / 224)
    assert (manifest.input.color, manifest.input.pixel_range) == ("rgb", 1)
    assert manifest.input.mean == tuple(MEAN) and manifest.input.std == tuple(STD)
    faces = np.load(exported.folder / "faces.npy")
    np.testing.assert_array_equal(faces, synthetic_body().faces)
    for role in ("model", "clip"):  # the exporter's notes name this machine
        assert b"stack_trace" not in exported.read(role)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_both_parts_together_run_like_torch(exported, network, runtime):
    first = create_engine(exported, runtime, threads=1)
    second = open_model(exported.read("clip"), runtime, threads=1)
    images = np.random.default_rng(0).uniform(-2, 2, (WINDOW, 3, 32, 32)).astype(np.float32)
    parts = [first.run({"image": part})["tokens"].copy() for part in np.split(images, [1, 4])]
    got = second.run({"tokens": np.concatenate(parts)[None]})
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)[None])
    names = {"camera": "cam", "joints": "kp_3d", "vertices": "verts"}
    for name, own in names.items():
        error = np.abs(got[name][0] - expected[own].numpy().reshape(got[name][0].shape)).max()
        assert error < 3e-5, f"{name}: {error:.1e} (metres, or shares of the crop)"
    assert got["joints"].shape == (1, WINDOW, 49, 3)
    assert np.ptp(got["joints"], axis=1).max() > 1e-3  # what is seen makes a difference
    first.close()
    second.close()


def official_crop(image, person):
    """The crop of the official evaluation in its own steps, and its corner and side."""
    points = person.joints_2d.astype(float)
    low, high = points.min(axis=0), points.max(axis=0)
    side = (high - low).max() * 1.1 * 1.3
    x, y = (low + high) / 2 - side / 2
    # In float64: a pixel rounded the other way moves what a random network sees by half a pixel.
    warp = np.array([[1, 0, -x], [0, 1, -y]]) * 32 / side
    crop = cv2.warpAffine(image, warp, (32, 32))
    pixels = (crop[..., ::-1] / 255 - MEAN) / STD
    return pixels.transpose(2, 0, 1).astype(np.float32), np.array([x, y]), side


@pytest.fixture(scope="module")
def people_scene(scene_maker):
    return scene_maker([[-1.2, 0.2, 3.5], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]])


@pytest.fixture(scope="module")
def pictures(people_scene):
    """Another thing to see in every image."""
    noise = np.random.default_rng(0).integers(-60, 60, (4, 90, 160, 3))
    return [busy_picture(people_scene, one) for one in noise]


@pytest.mark.parametrize("delay", [0, 2])
def test_people_are_those_of_the_official_steps(
    people_scene, pictures, make_bundle, exported, network, delay
):
    """Four images, the window mirrored as officially; with a delay the last answers the second."""
    scene, first = people_scene, make_bundle(people_scene).folder
    cpu = {"engine": "onnxruntime", "threads": 1}
    people = create_estimator(first, **cpu).estimate(pictures[0], scene.camera)
    estimator = create_estimator(
        exported, **cpu, first_stage=str(first), delay=delay, overlap="centre"
    )
    frames = [estimator.estimate(p, scene.camera, 0.1 * k) for k, p in enumerate(pictures)]
    shown = len(pictures) - 1 - delay
    by_id = {body.id: body for body in frames[-1]}
    assert frames[-1].stamp == pytest.approx(0.1 * shown) and len(by_id) == len(people) == 3
    order = np.pad(np.arange(4), (0, WINDOW - 4), "reflect")
    for identity, person in enumerate(people):
        crops = [official_crop(picture, person) for picture in pictures]
        with torch.inference_mode():
            clip = torch.from_numpy(np.stack([crops[k][0] for k in order]))[None]
            found = {name: value.numpy() for name, value in network(clip).items()}
        body, (_, corner, side) = by_id[identity], crops[shown]
        seen = (found["kp_2d"][0, shown, OF_49] + 1) / 2 * side + corner
        assert np.abs(body.joints_2d - seen).max() < 0.05
        joints, vertices = found["kp_3d"][0, shown, OF_49], found["verts"][0, shown]
        depth = 2 * scene.camera.fx / (side * found["cam"][shown, 0])
        root = scene.camera.back_project(seen[2].astype(float), np.array(depth))
        assert np.abs(body.root - root).max() < 0.01  # the pelvis isn't where SMPL's origin is
        turn = turn_to(root)
        for got, expected in ((body.joints_3d, joints), (body.mesh.vertices, vertices)):
            assert np.abs((got - body.root) - (expected - joints[2]) @ turn.T).max() < 1e-3
        assert body.present.all()


def test_spin49_names_the_joints_that_spin_takes():
    for name, source in zip(SPIN49.joints, _JOINT_MAP, strict=True):
        plain = name.removesuffix("_op")
        if source < len(SMPL24) and plain in SMPL24.joints:
            assert SMPL24.joints.index(plain) == source, name
    assert [SPIN49.index(joint) for joint in MPI15.joints] == OF_49
    pairs = {"nose": 24, "r_eye": 25, "l_eye": 26, "r_ear": 27, "l_ear": 28}
    for joint, vertex in pairs.items():
        assert _JOINT_MAP[SPIN49.index(joint)] == _JOINT_MAP[SPIN49.index(f"{joint}_op")] == vertex


def test_human36m_joints_are_those_that_spin_compares():
    """SPIN picks ankle, knee, hip of the right leg, then of the left one, ... out of its 17."""
    model = small()
    regressors = synthetic_regressor("J_regressor_extra", 9), synthetic_regressor("J_h36m", 17)
    model.decoder.smpl.set_joint_regressors(*regressors)
    tokens = torch.randn(1, 2, 4, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        rows = model.from_tokens(tokens)["h36m_kp_3d"]
        got = TokenGraph(model, "h36m17")(tokens)["joints"]
    official = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10, 0, 7, 9]
    names = (
        "r_ankle r_knee r_hip l_hip l_knee l_ankle r_wrist r_elbow r_shoulder l_shoulder l_elbow "
        "l_wrist neck head_top pelvis spine nose"
    )
    for row, name in zip(official, names.split(), strict=True):
        assert torch.equal(got[:, :, H36M17.index(name)], rows[:, :, row])
    assert np.isfinite(convert(got.numpy(), H36M17, MPI15)).all()


def smpl_folder(folder: Path, *, h36m: bool = True) -> Path:
    """The user's own files."""
    folder.mkdir()
    body = synthetic_body()
    np.savez(
        folder / "SMPL_NEUTRAL.npz",
        J_regressor=body.joint_regressor,
        f=body.faces,
        kintree_table=np.array([PARENTS, range(24)]),
        **{k: v for k, v in vars(body).items() if k not in ("joint_regressor", "faces")},
    )
    np.save(folder / "J_regressor_extra.npy", synthetic_regressor("J_regressor_extra", 9))
    if h36m:
        np.save(folder / "J_regressor_h36m.npy", synthetic_regressor("J_regressor_h36m", 17))
    return folder


@pytest.mark.slow
def test_the_command_exports_a_variant_with_the_users_body(tmp_path):
    """Another mode, joint set and precision; a second export takes as long as the first."""
    model = small("vanilla", body=False)
    path = saved(tmp_path / "vanilla.pth", model, "vanilla")
    body = ["--smpl", str(smpl_folder(tmp_path / "smpl"))]
    options = ["--half", "--set", "joint_set=h36m17", "--set", "first_stage=mine"]
    out = tmp_path / "vanilla"
    result = CliRunner().invoke(app, ["export", str(path), str(out), *body, *options])
    assert result.exit_code == 0, result.output
    bundle = load_bundle(out)
    manifest = bundle.manifest
    assert (manifest.window, manifest.joint_set, manifest.first_stage) == (1, "h36m17", "mine")
    assert manifest.precision == "fp16"
    second = open_model(bundle.read("clip"), "onnxruntime", threads=1)
    model.load_body(tmp_path / "smpl")
    tokens = torch.randn(1, 1, 4, 24, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected: dict[str, Tensor] = TokenGraph(model, "h36m17")(tokens)
    got = second.run({"tokens": tokens.numpy()})
    for name, value in expected.items():
        assert np.abs(got[name] - value.numpy()).max() < 5e-3, name


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "windw=8"], "windw: Extra inputs.*kind video has first_stage, box_margin"),
        (["--set", "window=17"], "window: Input should be less than or equal to 16"),
        (["--set", "joint_set=mpi15"], "joint_set: Input should be 'spin49' or 'h36m17'"),
        (["--set", "joint_set=h36m17"], r"needs J_regressor_h36m\.npy.*--smpl"),
        (["--smpl", "nowhere"], "no SMPL body at nowhere: put SMPL_NEUTRAL.npz or"),
        (["--refine", "refine.pth"], "--refine is of no use for a maed"),
        (["--backbone", "backbone.pth"], "--backbone is of no use for a maed"),
    ],
)
def test_wrong_settings_write_nothing(checkpoint, tmp_path, options, words):
    assert_refused(checkpoint, tmp_path / "bundle", options, words)


def test_a_body_that_is_missing_is_asked_for(tmp_path):
    path = saved(tmp_path / "bare.pth", small(body=False))
    with pytest.raises(InputError, match=r"--smpl\. It must hold SMPL_NEUTRAL\.pkl, from https"):
        export_video_kind(path, tmp_path / "bundle", ExportOptions(**FACTS))
    save_checkpoint(tmp_path / "refine.pth", "refinenet", create("refinenet").state_dict())
    with pytest.raises(InputError, match="holds a RefineNet; expected a Maed"):
        export_video_kind(tmp_path / "refine.pth", tmp_path / "bundle", ExportOptions(**FACTS))
    assert not (tmp_path / "bundle").exists()
