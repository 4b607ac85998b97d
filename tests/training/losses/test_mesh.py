"""3DCrowdNet's losses: what they count, and that a small network learns by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smap_ros.skeletons import CROWD15, SMPL30, convert
from smap_train.losses.mesh import MeshTargets, mesh_losses
from smap_train.models.crowdnet.body import CrowdBody
from smap_train.models.crowdnet.network import PoseGuidedNetwork
from smap_train.models.crowdnet.position import FEATURES
from smap_train.models.golden_body import synthetic_body, synthetic_regressor

BATCH = 4
NAMES = [
    "body_joint_img", "smpl_joint_img", "smpl_pose", "smpl_shape", "body_joint_proj",
    "body_joint_cam", "smpl_joint_cam",
]  # fmt: skip


@pytest.fixture(scope="module")
def body() -> CrowdBody:
    layer = CrowdBody()
    layer.set_body(synthetic_body())
    layer.set_joint_regressor(synthetic_regressor("J_regressor_extra", 9))
    return layer


@pytest.fixture(scope="module")
def people(body) -> tuple[dict[str, torch.Tensor], MeshTargets]:
    """What a perfect network would say of four bodies, and their labels."""
    random = torch.Generator().manual_seed(0)
    pose = 0.2 * torch.randn(BATCH, 72, generator=random)
    shape = 0.5 * torch.randn(BATCH, 10, generator=random)
    camera = 0.1 * torch.randn(BATCH, 3, generator=random)
    posed = body.pose(pose, shape, camera)
    relative = posed.joints - posed.joints[:, :1]
    joints = torch.cat([posed.joints_2d, 32 + 32 * relative[..., 2:]], dim=-1)
    mesh = posed.vertices - posed.joints[:, :1]
    nodes = torch.from_numpy(convert(joints.numpy(), SMPL30, CROWD15))
    outputs = {
        "out_joint_img": nodes, "out_smpl_pose": pose, "out_smpl_shape": shape,
        "out_joint_proj": posed.joints_2d, "out_mesh_cam": mesh,
    }  # fmt: skip
    known, everybody = torch.ones(BATCH, 30, 1), torch.ones(BATCH)
    targets = MeshTargets(
        joints, known, relative, known, everybody, joints, known, relative, pose,
        torch.ones(BATCH, 72), shape, everybody,
    )  # fmt: skip
    return outputs, targets


def losses(outputs, body, targets) -> dict[str, float]:
    return {k: float(v) for k, v in mesh_losses(outputs, body, targets).items()}


def test_a_perfect_network_loses_nothing(people, body):
    got = losses(*people[:1], body, people[1])
    assert list(got) == NAMES
    assert max(got.values()) < 1e-5


@pytest.mark.parametrize(
    ("output", "by", "expected"),
    [
        ("out_joint_img", 8.0, {"body_joint_img": 1.0, "smpl_joint_img": 1.0}),
        ("out_smpl_pose", 0.5, {"smpl_pose": 0.5}),
        ("out_smpl_shape", 0.5, {"smpl_shape": 0.5}),
        ("out_joint_proj", 8.0, {"body_joint_proj": 1.0}),
        ("out_mesh_cam", 0.5, {}),  # only what it is about the pelvis counts
    ],
)
def test_each_output_counts_where_it_should(people, body, output, by, expected):
    outputs, targets = people
    got = losses({**outputs, output: outputs[output] + by}, body, targets)
    assert {k: v for k, v in got.items() if v > 1e-4} == pytest.approx(expected)


def test_masks_leave_out_what_is_not_known(people, body):
    outputs, targets = people
    off = {name: value + 1 for name, value in outputs.items()}
    off["out_mesh_cam"] = 2 * outputs["out_mesh_cam"]
    nobody, unknown = torch.zeros(BATCH), torch.zeros(BATCH, 30, 1)
    without_fit = losses(off, body, replace(targets, has_fit=nobody))
    assert {k for k, v in without_fit.items() if v == 0} == {
        "smpl_joint_img", "smpl_pose", "smpl_shape", "smpl_joint_cam",
    }  # fmt: skip
    flat = losses(off, body, replace(targets, has_3d=nobody))
    assert flat["body_joint_cam"] == 0
    assert flat["body_joint_img"] == pytest.approx(1 / 8 * 2 / 3)  # x and y still count
    blind = losses(off, body, replace(targets, joints_img_mask=unknown))
    assert blind["body_joint_img"] == blind["body_joint_proj"] == 0
    half = targets.joints_img_mask.clone()
    half[:2] = 0
    assert losses(off, body, replace(targets, joints_img_mask=half))["body_joint_proj"] == (
        pytest.approx(1 / 8 / 2)
    )


class SmallCrowdNet(PoseGuidedNetwork):
    """3DCrowdNet on a backbone of one layer."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 4, stride=4), early_features=4)
        self.late = nn.Conv2d(4, FEATURES, 1)

    def features(self, image, heatmaps):
        guided = self.pose2feat(self.backbone(image), heatmaps)
        return self.late(F.max_pool2d(guided, 8))


def test_a_small_network_learns_a_batch(people):
    """All seven losses together, through pose guidance, graph network, VPoser and SMPL."""
    _, targets = people
    torch.manual_seed(0)
    network = SmallCrowdNet().train()
    network.human_model_layer.set_body(synthetic_body())
    network.human_model_layer.set_joint_regressor(synthetic_regressor("J_regressor_extra", 9))
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)
    image = torch.rand(BATCH, 3, 256, 256)
    given = targets.joints_img[..., :2].clamp(0, 63)
    history = []
    for _ in range(25):
        optimizer.zero_grad()
        outputs = network(image, given, targets.joints_img_mask)
        parts = mesh_losses(outputs, network.human_model_layer, targets)
        total = torch.stack(list(parts.values())).sum()
        total.backward()
        optimizer.step()
        history.append({name: value.item() for name, value in parts.items()})
    first, last = history[0], history[-1]
    assert np.isfinite(list(last.values())).all()
    assert sum(last.values()) < 0.7 * sum(first.values())
    assert last["body_joint_img"] < 0.7 * first["body_joint_img"]
    assert last["body_joint_cam"] < first["body_joint_cam"]
    assert last["smpl_pose"] < first["smpl_pose"]
