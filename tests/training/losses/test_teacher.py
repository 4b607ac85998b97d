"""A teacher's two looks are the estimator's, and agreeing with it costs nothing."""

import numpy as np
import pytest
import torch

from smap_ros.estimators.smap.maps import Maps
from smap_train.losses.teacher import teacher_loss, two_looks
from smap_train.models import create
from smap_train.models.smap_lite import SmapLite


@pytest.fixture(scope="module")
def network() -> SmapLite:
    torch.manual_seed(0)
    network = create("smap_lite", backbone="efficientnet_lite0")
    assert isinstance(network, SmapLite)
    for head in (network.keypoints, network.affinities, network.bone_depth, network.pose):
        torch.nn.init.normal_(head.weight, std=0.3)
    return network.eval()


def maps_of(output: dict[str, torch.Tensor]) -> Maps:
    names = ("heatmap_2d", "det_d", "root_d", "pose")
    maps, bones, root, pose = (output[name][0].numpy().copy() for name in names)
    return Maps(maps, bones, root[0], pose)


def test_two_looks_are_what_the_estimator_makes_of_a_mirrored_picture(network: SmapLite) -> None:
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        straight, mirrored = maps_of(network(image)), maps_of(network(image.flip(-1)))
    expected = straight.mean_with_mirrored(mirrored)
    got = maps_of(two_looks(network, image))
    for name in ("maps", "bone_depth", "root_depth", "poses"):
        np.testing.assert_allclose(getattr(got, name), getattr(expected, name), atol=1e-6)


def taught() -> dict[str, torch.Tensor]:
    keypoints, affinities = torch.zeros(1, 15, 8, 8), torch.zeros(1, 28, 8, 8)
    keypoints[0, :, 4, 4], affinities[0, :, 4] = 0.9, 0.7
    maps = torch.cat([keypoints, affinities], dim=1)
    return {
        "heatmap_2d": maps, "det_d": torch.full((1, 14, 8, 8), 0.2),
        "root_d": torch.full((1, 1, 8, 8), 0.01), "pose": torch.full((1, 45, 8, 8), 0.3),
    }  # fmt: skip


def agreeing() -> dict[str, torch.Tensor]:
    told = taught()
    keypoints, affinities = told["heatmap_2d"].split((15, 28), dim=1)
    return {
        "keypoint_logits": torch.logit(keypoints, eps=1e-7), "affinities": affinities.clone(),
        "bone_depth": told["det_d"], "root_depth_log": told["root_d"].log(), "pose": told["pose"],
    }  # fmt: skip


def test_agreeing_with_the_teacher_costs_nothing() -> None:
    assert float(teacher_loss(agreeing(), taught())) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", list(agreeing()))
def test_every_output_that_differs_where_somebody_is_costs(name: str) -> None:
    output = agreeing()
    output[name] = (output[name] + 0.5).requires_grad_()
    loss = teacher_loss(output, taught())
    assert float(loss) > 1e-3
    loss.backward()
    assert output[name].grad is not None and output[name].grad[0, 0, 4, 4] != 0


def test_depths_where_nobody_is_cost_nothing() -> None:
    output = agreeing()
    for name in ("root_depth_log", "pose", "bone_depth"):
        output[name] = output[name].clone()
        output[name][..., 0, :] += 1.0
    assert float(teacher_loss(output, taught())) == pytest.approx(0.0, abs=1e-6)
