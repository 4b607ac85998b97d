"""The losses of smap_lite on maps whose errors are known."""

import math

import pytest
import torch

from smap_train.losses import smap_lite as losses
from smap_train.losses.smap_lite import affinity_loss, keypoint_loss, pose_loss, root_depth_loss

ROOTS = torch.zeros(2, 4, 3)
ROOTS[0, 0] = torch.tensor([3.0, 5.0, 0.01])
ROOTS[1, 0] = torch.tensor([0.0, 7.0, 0.02])  # in a corner: the cells about it are fewer
ROOTS[1, 1] = torch.tensor([4.0, 2.0, 0.04])
NOBODY = torch.zeros(2, 4, 3)


def test_pose_loss_is_the_mean_error_in_metres_at_the_roots() -> None:
    poses = torch.full((2, 4, 45), torch.nan)
    output = torch.full((2, 45, 6, 8), 100.0)
    for (picture, person), value in {(0, 0): 0.1, (1, 0): -0.2, (1, 1): 0.3}.items():
        row, column = (int(v) for v in ROOTS[picture, person, :2])
        poses[picture, person] = value
        rows, columns = slice(max(row - 1, 0), row + 2), slice(column - 1, column + 2)
        output[picture, :, rows, columns] = value + 0.05
    assert pose_loss(output, ROOTS, poses) == pytest.approx(0.05, abs=1e-6)
    poses[1, 1, :30] = torch.nan  # what isn't known doesn't count, and gives no NaN
    output[1, :30, 3:6, 1:4] = 7.0
    output.requires_grad_()
    loss = pose_loss(output, ROOTS, poses)
    assert loss.item() == pytest.approx(0.05, abs=1e-6)
    loss.backward()
    assert output.grad is not None and output.grad.isfinite().all()
    assert (output.grad[1, :30, 3:6, 1:4] == 0).all() and (output.grad[0, :, 2:5, 4:7] > 0).all()


def test_root_depth_loss_is_the_error_of_the_logarithm() -> None:
    log_depth = torch.full((2, 1, 6, 8), 0.01).log()
    expected = (0 + math.log(2) + math.log(4)) / 3
    assert root_depth_loss(log_depth, ROOTS) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("channels", [1, 45])
def test_nobody_costs_nothing_and_can_be_differentiated(channels: int) -> None:
    output = torch.ones(2, channels, 6, 8, requires_grad=True)
    poses = torch.full((2, 4, 45), torch.nan)
    loss = root_depth_loss(output, NOBODY) if channels == 1 else pose_loss(output, NOBODY, poses)
    assert loss.item() == 0
    loss.backward()
    assert output.grad is not None and (output.grad == 0).all()


def test_keypoint_loss_is_least_at_the_target_and_ignores_what_has_no_weight() -> None:
    target = torch.zeros(1, 15, 6, 8)
    target[0, :, 3, 4] = 1.0
    weight = torch.ones_like(target)
    right, wrong = torch.where(target > 0, 8.0, -8.0), torch.full_like(target, -8.0)
    assert keypoint_loss(right, target, weight) < 1e-3 < keypoint_loss(wrong, target, weight)
    weight[0, :, 3, 4] = 0
    assert keypoint_loss(wrong, target, weight) < 1e-3


def test_affinity_loss_counts_the_limb_fully_and_the_rest_a_tenth() -> None:
    target, weight = torch.zeros(1, 28, 6, 8), torch.ones(1, 14, 6, 8)
    target[0, 0, 2, 2:6] = 1.0  # four cells of one limb, along x
    assert affinity_loss(target, target, weight) == 0
    assert affinity_loss(torch.zeros_like(target), target, weight) == pytest.approx(1.0)
    ghost = target.clone()
    ghost[0, 5, 0, 0] = 2.0
    assert affinity_loss(ghost, target, weight) == pytest.approx(0.1 * 4 / 4)


def test_the_spread_that_fits_best_is_the_mean_error() -> None:
    roots = torch.zeros(1, 2, 3)
    roots[0, :, 2] = torch.tensor([1.0, 1.0])
    roots[0, 0, :2], roots[0, 1, :2] = torch.tensor([2.0, 2.0]), torch.tensor([6.0, 6.0])
    log_depth = torch.zeros(1, 1, 9, 9)
    log_depth[0, 0, :5], log_depth[0, 0, 5:] = 0.1, -0.3  # errors of 0.1 and 0.3

    def loss(spread: float) -> float:
        told = torch.full((1, 1, 9, 9), spread).log()
        return float(losses.spread_loss(told, log_depth, roots))

    assert loss(0.2) < min(loss(0.15), loss(0.27))
    # It doesn't pull on the depths themselves.
    log_depth.requires_grad_(True)
    spread = torch.zeros(1, 1, 9, 9, requires_grad=True)
    losses.spread_loss(spread, log_depth, roots).backward()
    assert log_depth.grad is None and spread.grad is not None
    nobody = torch.zeros(1, 2, 3)
    assert float(losses.spread_loss(spread, log_depth, nobody)) == 0
