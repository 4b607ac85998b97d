"""VirtualPose's decoding, training, conversion and graphs, in small."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from smap_ros.errors import InputError
from smap_ros.skeletons import MPI15
from smap_train.convert import convert
from smap_train.models import create
from smap_train.models.checkpoint import load_model
from smap_train.models.deployment import Export
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.virtualpose import graphs
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.cameras import (
    Cameras,
    make_camera,
    orbit_pose,
)
from smap_train.models.virtualpose.config import JOINTS, flip_order
from smap_train.models.virtualpose.detection import Detections, decode
from smap_train.models.virtualpose.losses import backbone_losses, pose_losses
from smap_train.models.virtualpose.model import Roots, VirtualPose
from smap_train.targets.agr import Abstraction, abstraction, truth

SMALL = {
    "image_size": [256, 128],
    "map_size": [64, 32],
    "max_people": 4,
    "space_bins": [16, 16, 8],
    "person_bins": 8,
    "v2v_width": 8,
    "depth_stem_width": 8,
    "depth_head_width": 16,
}
INTRINSICS = (230.0, 230.0, 160.0, 90.0)
IMAGE_SIZE = (320, 180)


@pytest.fixture(scope="module")
def people() -> np.ndarray:
    return Golden(GOLDENS / "virtualpose").arrays["people_3d"]


def small_network(**options) -> VirtualPose:
    """Weights large enough that candidates differ."""
    torch.manual_seed(0)
    network = VirtualPose(**SMALL, **options)
    for weight in network.parameters():
        if weight.ndim > 1:
            nn.init.kaiming_normal_(weight)
    nn.init.constant_(network.REN.depth_net.depth[2].bias, 25.0)  # about 4.6 m
    return network.eval()


def small_camera(yaw: float = 0.3) -> Cameras:
    return make_camera(*orbit_pose(0.0, 0.1, yaw, 4600.0, 1000.0), INTRINSICS, IMAGE_SIZE)


def small_scene(people: np.ndarray, network: VirtualPose, yaw: float = 0.3) -> Abstraction:
    return abstraction(people, small_camera(yaw), network.config)


def batched(values: list[Cameras]) -> Cameras:
    return Cameras(*(torch.cat(parts) for parts in zip(*values, strict=True)))


def tensor(scene: Abstraction) -> Tensor:
    return torch.from_numpy(scene.maps)[None]


# detection and candidates


def test_decode_finds_peaks_and_orders_them_by_depth():
    root, sides = torch.zeros(1, 1, 8, 16), torch.full((1, 4, 8, 16), 2.0)
    depth = torch.full((1, 1, 8, 16), -3.0)
    for x, y, score, distance in ((3, 2, 0.9, 1.0), (4, 2, 0.8, 9.0), (10, 5, 0.5, 2.0)):
        root[0, 0, y, x], depth[0, 0, y, x] = score, distance
    root[0, 0, 7, 15] = 0.05  # too weak
    sides[0, 0] = -1.0  # the network may say so; a box can't
    found = decode(root, sides, depth, count=4, threshold=0.1)
    assert found.depths[0, :, 0].tolist() == [2.0, 1.0, -1.0, -1.0]
    assert found.xys[0, :2].tolist() == [[10.5, 5.5], [3.5, 2.5]]
    assert found.inds[0, :2].tolist() == [5 * 16 + 10, 2 * 16 + 3]
    assert found.bboxes[0].tolist()[:2] == [[10.5, 3.5, 12.5, 7.5], [3.5, 0.5, 5.5, 4.5]]
    assert not found.bboxes[0, 2:].any()


def test_candidates_are_local_maxima_in_world_millimetres():
    network = VirtualPose(**SMALL)
    cubes = torch.zeros(1, 16, 16, 8)
    cubes[0, 15, 0, 7], cubes[0, 0, 15, 0], cubes[0, 1, 14, 1] = 0.9, 0.7, 0.6
    xyz, scores = network.REN.peaks(cubes)
    assert xyz[0, :2].tolist() == [[4000.0, -4000.0, 2300.0], [-4000.0, 4000.0, -100.0]]
    torch.testing.assert_close(scores[0], torch.tensor([0.9, 0.7, 0.0, 0.0]))


def test_flags_name_the_nearest_person_or_nobody(people):
    network = VirtualPose(**SMALL)
    scene = small_scene(people, network)
    roots = people[:, MPI15.root]
    xyz = np.stack([roots[1] + [0, 900, 0], roots[0] + [5, 0, 0], roots[2] + [0, 0, 1001]])
    found = _roots(xyz, [0.31, 0.3, 0.29])
    assert network.flags(found, None).tolist() == [[0.0, -1.0, -1.0]]
    assert network.flags(found, truth([scene], network.config)).tolist() == [[1.0, 0.0, -1.0]]
    nobody = truth([small_scene(people[:0], network)], network.config)
    assert network.flags(found, nobody).tolist() == [[-1.0] * 3]


def _roots(xyz: np.ndarray, scores: list[float]) -> Roots:
    empty = torch.empty(0)
    detections = Detections(empty, empty, empty, empty, empty)
    values = torch.from_numpy(xyz).float()[None], torch.tensor([scores])
    return Roots(empty, empty, detections, empty, *values)


def test_soft_argmax_finds_a_sharp_peak_between_voxels():
    pose = VirtualPose(**SMALL).PEN
    scores = torch.zeros(1, 2, 8, 8, 8)
    scores[0, 0, 7, 0, 3] = 10.0
    scores[0, 1, 2, 4, 4], scores[0, 1, 3, 4, 4] = 10.0, 10.0
    step = 2000 / 7
    expected = [[1000.0, -1000.0, -1000 + 3 * step], [-1000 + 2.5 * step, *[-1000 + 4 * step] * 2]]
    torch.testing.assert_close(pose.expect(scores)[0], torch.tensor(expected))


# whole networks


def test_a_batch_is_its_images_one_by_one(people):
    network = small_network(root_threshold=0.0)
    scenes = [small_scene(people, network), small_scene(people[::-1], network, yaw=2.0)]
    cameras = [small_camera(), small_camera(yaw=2.0)]
    with torch.inference_mode():
        together = network(torch.cat([tensor(s) for s in scenes]), batched(cameras))
        alone = [network(tensor(s), c) for s, c in zip(scenes, cameras, strict=True)]
    assert (together["pred"][:, 0, 0, 3] >= 0).all()
    for name in ("grid_centers", "dec_bboxes", "dec_depths", "pred", "root_cubes"):
        parts = torch.cat([outputs[name] for outputs in alone])
        torch.testing.assert_close(together[name], parts, rtol=1e-4, atol=1e-2)


def test_an_empty_scene_has_nobody():
    network = small_network()
    outputs = network(torch.zeros(1, 21, 32, 64), small_camera())
    assert outputs["pred"].shape == (1, 4, 17, 5)
    assert (outputs["dec_depths"] < 0).all()
    empty = network.REN.cubes(torch.zeros(1, 17, 32, 64), _detected_nowhere(), small_camera())
    assert not empty.any()


def _detected_nowhere() -> Detections:
    root = torch.zeros(1, 1, 32, 64)
    return decode(root, torch.zeros(1, 4, 32, 64), root, count=4, threshold=0.1)


def test_losses_fall_and_reach_every_weight_but_the_unused_heads(people):
    network = small_network(matched_threshold_mm=1e5).train()
    scenes = [small_scene(people, network), small_scene(people, network, yaw=1.0)]
    known, config = truth(scenes, network.config), network.config
    maps = torch.cat([tensor(s) for s in scenes])
    cameras = batched([small_camera(), small_camera(yaw=1.0)])
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    history = []
    for _ in range(6):
        losses = pose_losses(network(maps, cameras, known), known, cameras, config)
        loss = 0.1 * losses["loss_depth"] + 1000 * losses["loss_3d"] + losses["loss_cord"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(loss.item())
    assert history[-1] < 0.8 * history[0]
    idle = {name.rsplit(".", 1)[0] for name, p in network.named_parameters() if p.grad is None}
    unused = ("REN.depth_net.final_layer", "REN.depth_net.bbox.0", "REN.depth_net.bbox.2")
    assert idle == set(unused)


def test_joint_loss_counts_matched_candidates_and_known_joints(people):
    network = VirtualPose(**SMALL)
    known = truth([small_scene(people, network)], network.config)
    known = known._replace(joints_weight=torch.ones_like(known.joints_weight))
    known.joints_weight[0, 1, 0] = 0
    pred = torch.zeros(1, 4, 17, 5)
    pred[..., 3] = torch.tensor([1.0, -1.0, 0.0, -1.0])[:, None]
    pred[0, 0, :, :3] = known.joints_mm[0, 1] + 10.0
    pred[0, 2, :, :3] = known.joints_mm[0, 0]
    outputs = {
        "pred": pred,
        "depth_map": torch.zeros(1, 1, 32, 64),
        "root_cubes": known.root_cube + 2.0,
    }
    losses = pose_losses(outputs, known, small_camera(), network.config)
    assert float(losses["loss_cord"]) == pytest.approx(10 * 16 / 17 / 2)
    assert float(losses["loss_3d"]) == pytest.approx(4.0)
    expected = float(known.depth_mm.mean())
    assert float(losses["loss_depth"]) == pytest.approx(expected, rel=1e-4)


def test_backbone_losses_are_zero_for_a_perfect_backbone_and_skip_unlabelled_joints(people):
    network = VirtualPose(**SMALL)
    scene = small_scene(people[:1], network)  # in maps this small, people cover each other's boxes
    known = truth([scene], network.config)
    perfect = {"pose": tensor(scene)[:, :17], "bbox": tensor(scene)[:, 17:]}
    labelled = torch.ones(1, 17)
    losses = backbone_losses(perfect, perfect["pose"], labelled, known)
    assert {name: float(value) for name, value in losses.items()} == {
        "loss_2d": 0.0,
        "loss_bbox": pytest.approx(0.0, abs=1e-6),
    }
    wrong = {"pose": perfect["pose"] + 0.5, "bbox": perfect["bbox"] + 3.0}
    labelled[0, :8] = 0
    losses = backbone_losses(wrong, perfect["pose"], labelled, known)
    assert float(losses["loss_2d"]) == pytest.approx(0.25 * 9 / 17)
    assert float(losses["loss_bbox"]) == pytest.approx(3.0, rel=1e-4)


def test_backbone_flip_test_is_symmetric_and_only_touches_poses():
    torch.manual_seed(0)
    network = PoseDetResNet(18, head_width=16).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        got, twin = network(image), network(image.flip(-1))
        network.flip_test = False
        once = network(image)
    torch.testing.assert_close(twin["pose"].flip(-1)[:, flip_order(17)], got["pose"])
    assert not torch.allclose(once["pose"], got["pose"])
    torch.testing.assert_close(once["bbox"], got["bbox"])
    torch.testing.assert_close(once["depth"], got["depth"])


def test_left_and_right_joints_are_partners():
    swap = {"l_": "r_", "r_": "l_"}
    partners = [JOINTS[k] for k in flip_order(17)]
    assert partners == [swap.get(name[:2], name[:2]) + name[2:] for name in JOINTS]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"space_bins": [16, 16, 6]}, "space_bins"),
        ({"person_bins": 30}, "person_bins"),
        ({"joints": 16}, "joints"),
        ({"v2v_width": 7}, "v2v_width"),
        ({"space_bins": [16, 16]}, "space_bins"),
        ({"depth_layers": 18}, "depth_layers"),
    ],
)
def test_impossible_configurations_are_refused_by_name(options, named):
    with pytest.raises(InputError, match=named):
        create("virtualpose", **options)


# official checkpoints


def test_both_networks_convert_from_official_files(tmp_path):
    """The backbone's file holds the whole model; REN's and PEN's may or may not."""
    torch.manual_seed(0)
    pose, image = VirtualPose(**SMALL), PoseDetResNet(18, head_width=16)
    whole = {f"module.{k}": v for k, v in pose.state_dict().items()}
    whole |= {f"module.backbone.{k}": v for k, v in image.state_dict().items()}
    content = {"epoch": 3, "state_dict": whole, "precision": np.float64(0.5), "optimizer": {}}
    files = {
        "virtualpose": (content, SMALL, pose),
        "virtualpose_backbone": (content, {"depth": 18, "head_width": 16}, image),
        "pose_alone": (pose.state_dict(), SMALL, pose),
        "backbone_alone": (image.state_dict(), {"depth": 18, "head_width": 16}, image),
    }
    for name, (weights, options, expected) in files.items():
        source, out = tmp_path / f"{name}.pth.tar", tmp_path / f"{name}.pth"
        torch.save(weights, source)
        model = "virtualpose_backbone" if "backbone" in name else "virtualpose"
        summary = convert(model, source, out, **options)
        assert summary.tensors == len(expected.state_dict())
        loaded = load_model(out).state_dict()
        assert all(torch.equal(loaded[k], v) for k, v in expected.state_dict().items())


# graphs for engines


def test_graphs_say_in_onnx_what_torch_says(tmp_path, people):
    """Three exports, each some seconds of the exporter's own time."""
    network = small_network()
    torch.manual_seed(0)
    backbone = PoseDetResNet(18, stem_width=8, head_width=16)
    scene = small_scene(people, network)
    exports = {
        "backbone": graphs.backbone_export(backbone, network.config.image_size),
        "root": graphs.root_export(network, maps=tensor(scene)),
        "pose": graphs.pose_export(network, maps=tensor(scene)),
    }
    assert exports["backbone"].run()["maps"].shape == tensor(scene).shape
    for name, export in exports.items():
        path = tmp_path / f"{name}.onnx"
        export.write(path)
        model = onnx.load(path)
        assert model.opset_import[0].version == 18
        samplers = [node for node in model.graph.node if node.op_type == "GridSample"]
        assert len(samplers) == (name != "backbone")
        _assert_same(export, _session(path), name)
    _assert_any_number_of_people(exports["pose"], _session(tmp_path / "pose.onnx"))


def _session(path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _feeds(export: Export) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in export.inputs.items()}


def _assert_same(export: Export, session, name: str) -> None:
    expected = export.run()
    got = dict(zip(export.outputs, session.run(list(export.outputs), _feeds(export)), strict=True))
    found = expected.get("depths", torch.ones(1, 1))[0] > 0
    assert found.any()
    for key, value in expected.items():
        detected = key in ("boxes", "roots_2d", "depths")  # dropped ones are ties
        rows = (slice(None), found.numpy()) if detected else ...
        np.testing.assert_allclose(
            got[key][rows], value.numpy()[rows], rtol=1e-3, atol=1e-4, err_msg=f"{name}: {key}"
        )


def _assert_any_number_of_people(export: Export, session) -> None:
    joints = export.run()["joints"].numpy()
    for people in (1, 5):
        feeds = {**_feeds(export), "roots": np.repeat(export.inputs["roots"][1:], people, axis=0)}
        got = session.run(["joints"], {k: np.asarray(v) for k, v in feeds.items()})[0]
        assert got.shape == (people, 17, 3)
        np.testing.assert_allclose(got[-1], joints[1], atol=1e-4)


def test_the_pose_graph_answers_in_the_optical_frame_in_metres(people):
    network = small_network()
    scene, camera = small_scene(people, network), small_camera()
    roots_mm = torch.from_numpy(people[:, MPI15.root]).float()
    export = graphs.pose_export(network, maps=tensor(scene), roots=roots_mm / 1000, camera=camera)
    heatmaps, three = tensor(scene)[:, :17].expand(3, -1, -1, -1), batched([camera] * 3)
    with torch.inference_mode():
        world = network.PEN(heatmaps, roots_mm, three).numpy()
    rotation, position = camera.rotation[0].numpy(), camera.position_mm[0].numpy()
    expected = (world - position) @ rotation.T / 1000
    np.testing.assert_allclose(export.run()["joints"], expected, atol=1e-4)
    assert expected[..., 2].min() > 1.0
