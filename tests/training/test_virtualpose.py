"""VirtualPose's networks against the official ones' outputs.

A slow file: a ResNet-152 at full size for the image and its mirror image, and eight people at
81 billion multiply-adds each, about 40 s on one core. Nothing is run twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from smap_train.models.golden import Golden, load_golden
from smap_train.models.virtualpose.backbone import PoseDetResNet
from smap_train.models.virtualpose.cameras import Cameras
from smap_train.models.virtualpose.detection import decode
from smap_train.models.virtualpose.golden_scene import golden_scene
from smap_train.models.virtualpose.losses import pose_losses
from smap_train.models.virtualpose.model import Roots, Truth, VirtualPose
from smap_train.models.virtualpose.projection import grid_mm
from smap_train.targets.agr import abstraction, truth

pytestmark = pytest.mark.slow

OFFICIAL_MM = 2.0  # the official float32 sums over 262,144 voxels err by up to 1 mm
PRECISE_MM = 0.01  # ours, against float64


class Run(NamedTuple):
    """The golden scene and what the network says to it, with its inner arrays."""

    network: VirtualPose
    golden: Golden
    maps: Tensor
    camera: Cameras
    outputs: dict[str, Tensor]
    inner: dict[str, Any]


@pytest.fixture(scope="module")
def backbone() -> tuple[PoseDetResNet, Golden]:
    return load_golden("virtualpose_backbone")


@pytest.fixture(scope="module")
def run() -> Run:
    """The scene without ground truth: three people are found."""
    network, golden = load_golden("virtualpose")
    maps, camera = golden_scene(golden.folder, golden.arrays)
    inner: dict[str, Any] = {}
    hooks = [_keep(network.REN, "ren", inner), _keep(network.REN.v2v_net, "ren_v2v", inner)]
    hooks.append(_keep(network.PEN.v2v_net, "pen_v2v", inner))
    with torch.inference_mode():
        outputs = network(maps, camera)
    for hook in hooks:
        hook.remove()
    return Run(network, golden, maps, camera, outputs, inner)


@pytest.fixture(scope="module")
def scene_truth(run) -> Truth:
    people = run.golden.arrays["people_3d"]
    config = run.network.config
    return truth([abstraction(people, run.camera, config)], config)


def _keep(module: nn.Module, name: str, kept: dict[str, Any]):
    def hook(module, inputs, output):
        kept[f"{name}_in"], kept[name] = inputs[0], output

    return module.register_forward_hook(hook)


def _outside(golden: Golden, got: dict[str, Tensor]) -> dict[str, Any]:
    """Those that are not within tolerance of their golden arrays."""
    errors = {name: golden.difference(name, value) for name, value in got.items()}
    return {name: error for name, error in errors.items() if not error.within}


def _gap(got: Tensor, expected: np.ndarray) -> float:
    return float(np.abs(got.double().numpy() - expected).max())


@pytest.mark.parametrize("name", ["backbone", "run"])
def test_state_dict_has_the_official_keys_in_order(name, request):
    network, golden = request.getfixturevalue(name)[:2]
    assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == golden.shapes
    assert list(network.state_dict()) == list(golden.shapes)
    assert sum(p.numel() for p in network.parameters()) == golden.manifest["total_params"]
    total = sum(float(v.double().abs().sum()) for v in network.state_dict().values())
    assert total == pytest.approx(golden.manifest["checksum_abs_sum"], rel=1e-9)


def test_backbone_with_flip_test_and_its_detections_are_the_official_ones(backbone):
    network, golden = backbone
    kept: dict[str, Any] = {}
    hook = _keep(network.final_layer, "once", kept)
    with torch.inference_mode():
        got = network(golden.inputs())
    hook.remove()
    assert _outside(golden, {**got}) == {}
    once = Golden(golden.folder)
    assert _outside(once, {"once_pose": kept["once"][:1]}) == {}
    found = decode(got["pose"][:, 2:3], got["bbox"], got["depth"], count=10, threshold=0.1)
    assert _outside(once, {f"dec_{k}": v for k, v in found._asdict().items() if k != "inds"}) == {}
    assert np.array_equal(found.inds.numpy(), golden.arrays["dec_inds"])


def test_depth_cubes_and_scores_are_the_official_ones(run):
    got = {
        "depth_map": run.outputs["depth_map"],
        "ren_cubes": run.inner["ren_v2v_in"],
        "root_cubes": run.outputs["root_cubes"],
    }
    for k in (0, 1):  # the official code held these two people's
        got[f"pen{k}_cubes"] = run.inner["pen_v2v_in"][k : k + 1]
        got[f"pen{k}_v2v"] = run.inner["pen_v2v"][k : k + 1]
        centers = torch.from_numpy(run.golden.arrays["nogt_grid_centers"][0, k : k + 1, :3])
        got[f"pen{k}_grid"] = grid_mm((2000.0,) * 3, (64,) * 3, centers)
    assert _outside(run.golden, got) == {}


def test_detections_in_the_maps_are_the_official_ones(run):
    names = {"nogt_dec_bboxes": "dec_bboxes", "nogt_dec_depths": "dec_depths"}
    assert _outside(run.golden, {theirs: run.outputs[ours] for theirs, ours in names.items()}) == {}
    valid = run.golden.arrays["nogt_dec_depths"][0, :, 0] > 0
    assert valid.sum() == 3  # the others' positions come from ties at zero
    expected = run.golden.arrays["nogt_dec_roots_2d"][0, valid]
    assert np.array_equal(run.outputs["dec_roots_2d"][0].numpy()[valid], expected)


def test_people_without_ground_truth_are_the_official_ones(run):
    assert _outside(run.golden, {"nogt_grid_centers": run.outputs["grid_centers"]}) == {}
    got, expected = run.outputs["pred"], run.golden.arrays["nogt_pred"]
    assert (expected[0, :, 0, 3] >= 0).sum() == 3
    assert _gap(got[..., :3], expected[..., :3]) < OFFICIAL_MM
    assert _gap(got[..., 3:], expected[..., 3:]) < 1e-5


def test_people_with_ground_truth_are_the_official_ones(run, scene_truth):
    """Of the eight matched candidates, three are those of the run without it; two more are run."""
    roots: Roots = run.inner["ren"]
    flags = run.network.flags(roots, scene_truth)
    arrays = run.golden.arrays
    assert np.array_equal(flags.numpy(), arrays["gt_grid_centers"][..., 3])
    rows = [3, 7]
    centers = run.outputs["grid_centers"][:, rows].clone()
    centers[..., 3] = flags[:, rows]
    with torch.inference_mode():
        others = run.network.poses(run.maps[:, :17], centers, run.camera)
    joints = torch.cat([run.outputs["pred"][:, :3], others], dim=1)
    expected = arrays["gt_pred"][:, [0, 1, 2, *rows]]
    assert _gap(joints[..., :3], expected[..., :3]) < OFFICIAL_MM
    assert _gap(others[..., 3:], expected[:, 3:, :, 3:]) < 1e-5


def test_losses_are_the_official_ones(run, scene_truth):
    losses = pose_losses(run.outputs, scene_truth, run.camera, run.network.config)
    arrays = run.golden.arrays
    assert float(losses["loss_depth"]) == pytest.approx(float(arrays["gt_loss_depth"]), rel=1e-5)
    assert float(losses["loss_3d"]) == pytest.approx(float(arrays["gt_loss_3d"]), rel=1e-5)


def test_pose_estimation_on_given_roots_is_more_precise_than_the_official_code(run):
    arrays = run.golden.arrays
    centers = torch.from_numpy(arrays["pen_direct_grid_centers"])[None]
    inner: dict[str, Any] = {}
    hook = _keep(run.network.PEN.v2v_net, "v2v", inner)
    with torch.inference_mode():
        joints = run.network.poses(run.maps[:, :17], centers, run.camera)[0, :, None, :, :3]
    hook.remove()
    for k in range(3):
        got = {"cubes": inner["v2v_in"][k : k + 1], "v2v": inner["v2v"][k : k + 1]}
        assert _outside(run.golden, {f"pen_direct{k}_{n}": v for n, v in got.items()}) == {}
        assert _gap(joints[k], arrays[f"pen_direct{k}_pred"]) < OFFICIAL_MM
        assert _gap(joints[k], arrays[f"pen_direct{k}_pred_fp64"]) < PRECISE_MM
