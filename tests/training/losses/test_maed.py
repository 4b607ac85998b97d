"""MAED's losses: what counts, over what they are means, and what is left out."""

from __future__ import annotations

import pytest
import torch

from smap_ros.skeletons import SPIN49
from smap_train.losses.maed import WEIGHTS, maed_losses
from smap_train.models.layers.rotations import axis_angle_to_matrix

N, T = 3, 2


def people() -> tuple[dict, dict]:
    """What is found is right, of two clips with depths and a fit and one without."""
    torch.manual_seed(0)
    pose = 0.3 * torch.randn(N, T, 72)
    shape = torch.randn(N, T, 10)
    joints = torch.randn(N, T, 49, 3)
    flat = torch.rand(N, T, 49, 2) * 2 - 1
    known = torch.ones(N, T, 49, 1)
    known[2] = 0
    found = {
        "kp_2d": flat.clone(), "kp_3d": joints + 5.0,  # where a person stands doesn't matter
        "rotmat": axis_angle_to_matrix(pose.unflatten(-1, (24, 3))),
        "theta": torch.cat([torch.ones(N, T, 3), pose, shape], dim=-1),
    }  # fmt: skip
    fits = torch.ones(N, T)
    fits[2] = 0
    labels = {
        "joints_2d": torch.cat([flat, torch.ones(N, T, 49, 1)], -1),
        "joints_3d": torch.cat([joints, known], -1), "pose": pose, "shape": shape, "has_fit": fits,
    }  # fmt: skip
    return found, labels


def test_what_is_right_costs_nothing_but_its_norm():
    found, labels = people()
    terms = maed_losses(found, labels)
    assert terms.keys() == WEIGHTS.keys()
    norm = terms.pop("norm")
    torch.testing.assert_close(norm, found["theta"][..., 3:].norm() / (N * T))
    for name, value in terms.items():
        assert value.item() == pytest.approx(0, abs=1e-9), name


def test_joints_in_the_picture_count_by_their_confidence():
    found, labels = people()
    found["kp_2d"][0, 0, 7] += torch.tensor([0.3, 0.4])
    expected = 0.25 / (N * T * 49 * 2)
    assert maed_losses(found, labels)["joints_2d"].item() == pytest.approx(expected, rel=1e-4)
    labels["joints_2d"][0, 0, 7, 2] = 0
    assert maed_losses(found, labels)["joints_2d"].item() == pytest.approx(0, abs=1e-9)


def test_depths_count_about_the_hips_over_the_clips_that_have_any():
    found, labels = people()
    found["kp_3d"][0, 0, SPIN49.index("l_knee"), 2] += 0.6
    found["kp_3d"][2] += torch.randn(T, 49, 3)  # has none
    expected = 0.36 / (2 * T * 49 * 3)
    assert maed_losses(found, labels)["joints_3d"].item() == pytest.approx(expected, rel=1e-4)


def test_bodies_count_where_there_is_a_fit():
    found, labels = people()
    found["theta"][0, 0, -1] += 0.5
    found["theta"][2, 0, -1] += 9.0
    found["rotmat"][2] = torch.eye(3)
    terms = maed_losses(found, labels)
    assert terms["shape"].item() == pytest.approx(0.25 / (2 * T * 10), rel=1e-4)
    assert terms["pose"].item() == pytest.approx(0, abs=1e-9)


def test_nothing_labelled_is_no_loss_and_keeps_the_graph():
    found, labels = people()
    theta = found["theta"].requires_grad_()
    labels["has_fit"].zero_()
    labels["joints_3d"][..., 3] = 0
    labels["joints_2d"][..., 2] = 0
    terms = maed_losses(found, labels)
    assert sum(v.item() for k, v in terms.items() if k != "norm") == 0
    sum(terms.values()).backward()
    assert torch.isfinite(theta.grad).all()
