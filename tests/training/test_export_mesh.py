"""3DCrowdNet from a checkpoint to people with their surface in metres.

Weights are the random ones of the golden files, as no free trained ones exist, and the body is the
goldens' synthetic one. Exporting takes 15 to 25 s: torch's exporter traces a ResNet-50. That of the
vision transformer has the same heads, so its own part is only traced here.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from torch import nn

from smap_ros.bundles.bundle import Bundle, load_bundle
from smap_ros.engines import create_engine
from smap_ros.errors import InputError
from smap_ros.estimators import create_estimator
from smap_ros.skeletons import MPI15, SMPL30, convert
from smap_train.export import ExportOptions, export_mesh_kind
from smap_train.export.mesh import PLACED, MeshGraph, complete_body, example_people
from smap_train.models import create
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.crowdnet import vit
from smap_train.models.crowdnet.graphs import INPUTS
from smap_train.models.crowdnet.network import PoseGuidedNetwork
from smap_train.models.crowdnet.vposer import VPoser
from smap_train.models.golden import load_golden
from smap_train.models.golden_body import synthetic_body, synthetic_regressor
from smap_train.models.layers.smpl_files import load_smpl
from tests.training.exporting import FACTS, assert_refused, busy_picture


@pytest.fixture(scope="module")
def smpl(tmp_path_factory) -> Path:
    """The folder of a user whose checkpoint has a body: all that it takes."""
    folder = tmp_path_factory.mktemp("smpl")
    np.save(folder / "J_regressor_extra.npy", synthetic_regressor("J_regressor_extra", 9))
    return folder


@pytest.fixture(scope="module")
def network() -> PoseGuidedNetwork:
    golden, _ = load_golden("crowdnet")
    assert isinstance(golden, PoseGuidedNetwork)
    golden.human_model_layer.set_joint_regressor(synthetic_regressor("J_regressor_extra", 9))
    return golden


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "crowdnet.pth"
    save_checkpoint(path, "crowdnet", network.state_dict())
    return path


@pytest.fixture(scope="module")
def exported(checkpoint, smpl, tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "crowdnet"
    bundle, error = export_mesh_kind(checkpoint, folder, ExportOptions(smpl=smpl, **FACTS))
    assert error < 2e-5
    return bundle


def test_bundle_states_the_official_preparation_and_holds_the_triangles(exported):
    manifest = load_bundle(exported.folder).manifest
    assert (manifest.kind, manifest.joint_set, manifest.cells) == ("mesh", "smpl30", 64)
    assert (manifest.box_enlargement, manifest.box_margin) == (1.2, 1.25)
    assert (manifest.focal_px, manifest.min_joint_score) == (5000.0, 0.1)
    assert manifest.input.color == "rgb" and set(manifest.input.mean) == {0.0}
    faces = np.load(exported.folder / "faces.npy")
    np.testing.assert_array_equal(faces, synthetic_body().faces)
    assert faces.dtype == np.int32


def test_graph_has_only_operators_that_all_runtimes_take(exported):
    content = exported.read()
    assert b"stack_trace" not in content  # the exporter's notes name this machine
    operators = {node.op_type for node in onnx.load_from_string(content).graph.node}
    assert not operators & {"GridSample", "If", "Loop", "Scan", "NonZero"}


@pytest.mark.parametrize(("runtime", "limit"), [("onnxruntime", 2e-5), ("openvino", 2e-4)])
def test_any_number_of_people_runs_like_torch(exported, network, runtime, limit):
    """``limit``: metres about the pelvis, whose distance of 24 m is exact to some micrometres."""
    engine = create_engine(exported, runtime, threads=1)
    graph, people = MeshGraph(network).eval(), example_people()
    for count in (1, 2):
        inputs = [tensor[:count] for tensor in people]
        with torch.inference_mode():
            joints, vertices = (tensor.numpy() for tensor in graph(*inputs)[-2:])
            direct = network(*inputs)["out_mesh_cam_render"].numpy()
        np.testing.assert_allclose(vertices, direct, atol=1e-4)
        got = engine.run({k: v.numpy() for k, v in zip(INPUTS, inputs, strict=True)})
        pelvis = got["joints_3d"][:, :1]
        assert pelvis.shape == (count, 1, 3) and pelvis[..., 2].min() > 5
        for name, expected in zip(PLACED, (joints, vertices), strict=True):
            error = (got[name] - pelvis) - (expected - joints[:, :1])
            assert np.abs(error).max() < limit
        assert np.abs(pelvis - joints[:, :1]).max() < 1e-3
    assert np.abs(vertices[0] - vertices[1]).max() > 0.05  # what is seen makes a difference
    engine.close()


def official_mesh(network, image, person, camera):
    """The official way from a person's 2D pose to the mesh in the whole image, in its own steps.

    The camera's depth is that of the official drawing, ``k * 256 / box``, for a focal length of
    5000 pixels in the image.

    Returns:
        Vertices and joints about the pelvis, its pixel, and its depth for our focal length.
    """
    x, y, side = official_box(person.joints_2d, camera)
    source = np.float32([[x, y], [x + side, y], [x, y + side]])
    target = np.float32([[0, 0], [256, 0], [0, 256]])
    affine = cv2.getAffineTransform(source, target)
    crop = cv2.warpAffine(image, affine, (256, 256))[..., ::-1].astype(np.float32) / 255
    cells = np.column_stack([person.joints_2d, np.ones(15)]) @ affine.T / 256 * 64
    guide = convert(cells, MPI15, SMPL30)
    mask = np.isfinite(guide).all(axis=1, keepdims=True)
    inputs = (crop.transpose(2, 0, 1), np.where(mask, guide, 0), mask)
    with torch.inference_mode():
        outputs = network(*(torch.from_numpy(a.astype(np.float32))[None] for a in inputs))
        vertices = outputs["out_mesh_cam_render"][0].double()
        joints = network.human_model_layer.double().joints30(vertices[None])[0].numpy()
    network.human_model_layer.float()
    pelvis = joints[0]
    pixel = (pelvis[:2] / pelvis[2] * 5000 + 128) / 256 * side + (x, y)
    depth = pelvis[2] * 256 / side * camera.fx / 5000
    return vertices.numpy() - pelvis, joints - pelvis, pixel, depth


def official_box(joints, camera):
    """x, y and side of the square, as 3DCrowdNet's two functions have it, inside the image."""
    low, high = joints.min(axis=0).astype(float), joints.max(axis=0).astype(float)
    start, extent = (low + high) / 2 - (high - low) * 0.6, (high - low) * 1.2 - 1
    assert start.min() > 0 and (start + extent < (camera.width - 1, camera.height - 1)).all()
    side = extent.max() * 1.25
    return *(start + extent / 2 - side / 2), side


def test_people_are_those_of_the_official_steps(scene_maker, make_bundle, exported, network):
    scene = scene_maker([[-1.2, 0.2, 5.0], [0.9, 0.1, 6.0]])
    image = busy_picture(scene, np.random.default_rng(0).integers(-60, 60, (90, 160, 3)))
    first = make_bundle(scene).folder
    people = create_estimator(first, "onnxruntime", threads=1).estimate(image, scene.camera)
    estimator = create_estimator(exported, "onnxruntime", threads=1, first_stage=str(first))
    frame = estimator.estimate(image, scene.camera)
    assert len(frame) == len(people) == 2
    expected = [official_mesh(network, image, person, scene.camera) for person in people]
    expected.sort(key=lambda one: one[3])
    for body, (vertices, joints, pixel, depth) in zip(frame, expected, strict=True):
        root = scene.camera.back_project(pixel, np.array(depth))
        ray = root / np.linalg.norm(root)
        axis = np.cross([0, 0, 1], ray)
        angle = np.arcsin(np.linalg.norm(axis)) / np.linalg.norm(axis)
        turn = cv2.Rodrigues(axis * angle)[0]
        # The network may see a pixel of the crop another way, by OpenCV's rounding.
        assert np.abs(body.mesh.vertices - (vertices @ turn.T + root)).max() < 0.01
        at = convert(joints @ turn.T + root, SMPL30, MPI15)
        assert np.abs(body.joints_3d - at).max() < 0.01
        assert np.abs(body.joints_2d[MPI15.root] - pixel).max() < 0.5


class Features(nn.Module):
    """The part of a network that differs from one backbone to the other."""

    def __init__(self, network: PoseGuidedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image, heatmaps):
        return self.network.features(image, heatmaps)


def test_the_vision_transformer_takes_any_number_of_people_too(monkeypatch):
    """Two of its blocks, traced without weights: all of it is a file of 400 MB."""
    monkeypatch.setattr(vit, "DEPTH", 2)
    with torch.device("meta"):
        features = Features(create("hap_crowdnet")).eval()
        inputs = torch.zeros(2, 3, 256, 256), torch.zeros(2, 30, 64, 64)
        batch = {0: torch.export.Dim("batch")}
        program = torch.export.export(features, inputs, dynamic_shapes=(batch, batch), strict=False)
    (output,) = program.graph.output_node().args[0]
    count, *shape = output.meta["val"].shape
    assert not isinstance(count, int) and shape == [2048, 8, 8]


# --- the user's files ---------------------------------------------------------------------------


@pytest.fixture
def bare() -> PoseGuidedNetwork:
    """A network as it is built: its body is NaN."""
    network = create("crowdnet")
    assert isinstance(network, PoseGuidedNetwork)
    return network


def test_a_body_comes_from_the_users_file_when_the_checkpoint_has_none(bare, smpl, tmp_path):
    body = synthetic_body()
    for file in smpl.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"put SMPL_NEUTRAL.npz or SMPL_NEUTRAL.pkl there"):
        complete_body(bare, tmp_path)
    _write_body(tmp_path, 1.0)
    faces = complete_body(bare, tmp_path)
    np.testing.assert_array_equal(faces, body.faces)
    layer = bare.human_model_layer
    assert all(bool(buffer.isfinite().all()) for buffer in layer.buffers())
    torch.testing.assert_close(layer.th_v_template[0], torch.tensor(body.v_template).float())


def _write_body(folder, size):
    """The body that is so many times as large as the stand-in, as users have theirs."""
    body = synthetic_body()
    np.savez(
        folder / "SMPL_NEUTRAL.npz",
        v_template=size * body.v_template,
        shapedirs=body.shapedirs,
        posedirs=body.posedirs,
        J_regressor=body.joint_regressor,
        weights=body.weights,
        f=body.faces,
        kintree_table=np.stack([[-1, *_parents()], np.arange(24)]),
    )


def _parents():
    return (0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)


def test_a_named_body_takes_the_place_of_a_stand_in_aloud(bare, smpl, tmp_path, caplog):
    layer = bare.human_model_layer
    layer.set_body(synthetic_body())
    for file in smpl.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    complete_body(bare, tmp_path)
    assert "holds none of SMPL_NEUTRAL.npz and SMPL_NEUTRAL.pkl" in caplog.text
    assert "the bundle has the stand-in" in caplog.text
    caplog.clear()
    _write_body(tmp_path, 2.0)
    complete_body(bare, tmp_path)
    own = torch.tensor(2 * synthetic_body().v_template).float()
    torch.testing.assert_close(layer.th_v_template[0], own)
    assert f"the bundle has the body of {tmp_path}" in caplog.text
    caplog.clear()
    _write_body(tmp_path, 3.0)  # the weights' own is real now
    complete_body(bare, tmp_path)
    torch.testing.assert_close(layer.th_v_template[0], own)
    assert not caplog.records


def test_a_real_body_gets_no_head_of_a_stand_in(bare, smpl, tmp_path):
    _write_body(tmp_path, 2.0)
    bare.human_model_layer.set_body(load_smpl(tmp_path))
    with pytest.raises(InputError, match="name it with --smpl"):
        complete_body(bare, None, stand_in=True)
    complete_body(bare, smpl, stand_in=True)
    bare.human_model_layer.set_body(synthetic_body())
    assert len(complete_body(bare, None, stand_in=True)) == 13776


def test_a_vposer_of_the_users_takes_the_place_of_the_checkpoints(bare, smpl, tmp_path):
    bare.human_model_layer.set_body(synthetic_body())
    for file in smpl.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.manual_seed(1)
    own = VPoser().vposer.state_dict()
    torch.save(own, tmp_path / "vposer_v1.pt")
    complete_body(bare, tmp_path)
    assert all(torch.equal(v, own[k]) for k, v in bare.vposer.vposer.state_dict().items())


@pytest.mark.parametrize("folder", [None, "nowhere"])
def test_without_the_users_files_it_is_said_what_goes_where(bare, folder, tmp_path):
    words = r"--smpl.*J_regressor_extra.npy.*SPIN.*SMPL_NEUTRAL.pkl.*smplify.*vposer_v1.pt.*smpl-x"
    with pytest.raises(InputError, match=words):
        complete_body(bare, folder and tmp_path / folder)
    bare.human_model_layer.set_body(synthetic_body())
    with pytest.raises(InputError, match=r"J_regressor_extra.npy is missing"):
        complete_body(bare, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "name it with --smpl"),
        (["--set", "box_margn=1"], "box_margn: Extra inputs.*kind mesh has first_stage"),
        (["--refine", "refine.pth"], "--refine is of no use for a crowdnet"),
        (["--backbone", "backbone.pth"], "--backbone is of no use for a crowdnet"),
    ],
)
def test_wrong_settings_write_nothing(checkpoint, tmp_path, options, words):
    assert_refused(checkpoint, tmp_path / "bundle", options, words)
