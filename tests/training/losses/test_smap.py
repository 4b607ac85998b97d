"""SMAP's loss against the official code's numbers, and its properties."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from smap_train.losses import smap as losses
from smap_train.models.smap import StageMaps

GOLDEN = Path(__file__).parents[2] / "goldens" / "smap" / "golden.npz"
B, H, W = 2, 16, 26


@pytest.fixture(scope="module")
def golden() -> dict[str, float]:
    with np.load(GOLDEN) as stored:
        names = [n for n in stored.files if n.startswith(("loss_", "calc_"))]
        return {name: float(stored[name]) for name in names}


@pytest.fixture(scope="module")
def rows() -> Tensor:
    with np.load(GOLDEN) as stored:
        return torch.from_numpy(stored["rdepth"])


class Drawn:
    """The tensors of the golden losses, drawn in the order the golden file's notes state."""

    def __init__(self) -> None:
        self._random = np.random.Generator(np.random.PCG64(2))
        self.maps, self.target = self._normal(43), self._normal(43)
        self.valid = self._valid(43)
        self.root = self._normal(1)
        self.stages = tuple(
            StageMaps(*(tuple(self._normal(c) for _ in range(4)) for c in (43, 14, 1)))
            for _ in range(3)
        )
        self.labels = self._normal(5, 57)
        self.all_valid = self._valid(57)

    def _normal(self, *channels: int) -> Tensor:
        shape = (B, *channels, H, W)
        return torch.from_numpy(self._random.standard_normal(shape, dtype=np.float32))

    def _valid(self, channels: int) -> Tensor:
        drawn = self._random.random((B, channels, 1)) > 0.25
        return torch.from_numpy(drawn.astype(np.float32))


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return Drawn()


def test_plain_l2_is_the_official_one(golden, drawn):
    loss = losses.maps_2d_loss(drawn.maps, drawn.target, drawn.valid)
    assert loss.item() == pytest.approx(golden["loss_l2_plain"], rel=1e-6)


def test_hard_mined_2d_loss_is_the_official_one(golden, drawn):
    loss = losses.maps_2d_loss(drawn.maps, drawn.target, drawn.valid, hard=True)
    assert loss.item() == pytest.approx(golden["loss_l2_ohkm_paf14"], rel=1e-6)


def test_hard_mined_bone_loss_is_the_official_one(golden, drawn):
    bones = [x[:, :14] for x in (drawn.maps, drawn.target, drawn.valid)]
    loss = losses.bone_depth_loss(*bones, hard=True)
    assert loss.item() == pytest.approx(golden["loss_l2_ohkm_paf0"], rel=1e-6)


def test_root_depth_loss_is_the_official_one(golden, drawn, rows):
    loss = losses.root_depth_loss(drawn.root, rows)
    assert loss.item() == pytest.approx(golden["loss_depth"], rel=1e-6)


def test_root_depth_loss_of_nobody_is_zero_and_can_be_differentiated(drawn):
    root = drawn.root.clone().requires_grad_()
    loss = losses.root_depth_loss(root, torch.zeros(B, 20, 3))
    loss.backward()
    assert loss.item() == 0
    assert root.grad is not None and not root.grad.any()


def test_full_loss_is_the_official_one(golden, drawn, rows):
    loss = losses.smap_loss(drawn.stages, drawn.labels, drawn.all_valid, rows)
    assert {name: value.item() for name, value in loss.items()} == pytest.approx(
        {
            "total": golden["calc_total_loss"],
            "maps_2d": golden["calc_loss_2d"],
            "bone": golden["calc_loss_bone"],
            "root": golden["calc_loss_root"],
        },
        rel=1e-6,
    )


@pytest.mark.parametrize("hard", [False, True])
def test_images_alone_average_to_the_batch(drawn, hard):
    batch = losses.maps_2d_loss(drawn.maps, drawn.target, drawn.valid, hard=hard)
    alone = [
        losses.maps_2d_loss(
            drawn.maps[i : i + 1], drawn.target[i : i + 1], drawn.valid[i : i + 1], hard=hard
        )
        for i in range(B)
    ]
    assert batch.item() == pytest.approx(np.mean([x.item() for x in alone]), rel=1e-6)


def test_full_loss_of_one_image_is_finite_and_reaches_every_map(drawn, rows):
    stages = tuple(
        StageMaps(*(tuple(x[:1].clone().requires_grad_() for x in kind) for kind in stage))
        for stage in drawn.stages
    )
    valid = torch.ones(1, 57)
    loss = losses.smap_loss(stages, drawn.labels[:1], valid, rows[:1])["total"]
    loss.backward()
    assert loss.isfinite()
    assert all(x.grad.any() for stage in stages for kind in stage for x in kind)


def test_channels_without_label_neither_cost_nor_teach(drawn):
    maps = drawn.maps.clone().requires_grad_()
    valid = torch.ones(B, 43)
    valid[0, 1] = 0  # head top, as in COCO images
    errors = losses.channel_mse(maps, drawn.target, valid)
    errors.sum().backward()
    assert errors[0, 1] == 0 and errors[1, 1] > 0
    assert not maps.grad[0, 1].any() and maps.grad[1, 1].any()


def test_labels_split_into_network_order():
    labels = torch.arange(57.0)[:, None, None].expand(57, 2, 3)
    maps, bones = losses.split_labels(labels)
    assert maps[15:19, 0, 0].tolist() == [15, 16, 18, 19]
    assert bones[:2, 0, 0].tolist() == [17, 20]
    assert maps.shape == (43, 2, 3) and bones.shape == (14, 2, 3)
