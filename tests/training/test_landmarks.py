"""Landmarks go where heatmaps near them have them, the same in numpy and in the network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from smap_ros.bundles.bundle import load_bundle
from smap_ros.estimators.second_look.region import region_around
from smap_ros.evaluation.virtual.truth import read_clip
from smap_ros.paths import config_directory
from smap_ros.skeletons import MPI15
from smap_train.export.second_look import opened
from smap_train.models.landmarks import (
    CELLS,
    LANDMARKS,
    MARGIN,
    POINTS,
    SIZE,
    Landmarks,
    cell_middles,
    mapping,
    shown,
)

NOTHING = -30.0  # the logit where no landmark is


def drawn(*peaks: tuple[float, float, float]) -> np.ndarray:
    """A heatmap with a peak of some logit at each place in crop pixels, [1, 64, 64]."""
    x, y = np.meshgrid(cell_middles(), cell_middles())
    logits = np.full((CELLS, CELLS), NOTHING)
    for column, row, logit in peaks:
        away = (x - column) ** 2 + (y - row) ** 2
        logits = np.maximum(logits, logit - away / 20)
    return logits[None]


def test_cells_are_counted_from_the_corner_of_the_crop():
    middles = cell_middles()
    assert middles[0] == 2 and middles[-1] == SIZE - 2 and len(middles) == CELLS


def test_a_landmark_goes_to_the_peak_beside_it():
    at = shown(np.array([[100.0, 100.0]]), drawn((112, 95, 4.0)))
    np.testing.assert_allclose(at, [[112, 95]], atol=1.0)


def test_columns_are_x_and_rows_y():
    at = shown(np.array([[40.0, 200.0]]), drawn((40, 190, 5.0)))
    np.testing.assert_allclose(at, [[40, 190]], atol=1.0)


def test_a_clearer_peak_far_away_is_another_landmarks():
    at = shown(np.array([[60.0, 60.0]]), drawn((66, 60, 1.0), (190, 200, 4.0)))
    np.testing.assert_allclose(at, [[66, 60]], atol=2.0)


@pytest.mark.parametrize("place", [(128.0, 128.0), (300.0, -20.0)])
def test_where_nothing_is_drawn_a_landmark_stays(place):
    np.testing.assert_allclose(shown(np.array([place]), drawn()), [place], atol=1e-6)


def test_a_faint_peak_moves_it_a_part_of_the_way():
    at = shown(np.array([[100.0, 100.0]]), drawn((108, 100, -2.0)))[0]
    assert 102 < at[0] < 107 and at[1] == pytest.approx(100, abs=0.5)


def test_the_network_does_the_same():
    random = np.random.default_rng(0)
    told = random.uniform(-30, SIZE + 30, (7, 2)).astype(np.float32)
    logits = random.normal(-3, 3, (7, CELLS, CELLS)).astype(np.float32)
    got = Landmarks()._shown(torch.from_numpy(told)[None], torch.from_numpy(logits)[None])
    np.testing.assert_allclose(got[0].numpy(), shown(told, logits), atol=1e-3)


def test_half_precision_holds_landmarks_far_outside_the_crop():
    told = torch.tensor([[[900.0, -700.0], [128.0, 128.0]]])
    logits = torch.full((1, 2, CELLS, CELLS), -40.0)
    network = Landmarks().half()
    got = network._shown(told.half(), logits.half())
    np.testing.assert_allclose(got.float().numpy(), told.numpy(), atol=0.5)


def test_all_of_a_joints_landmarks_are_used():
    points, _ = mapping()
    used = Landmarks().used.numpy()
    np.testing.assert_array_equal(points[:, used] @ np.ones(len(used)), points.sum(axis=1))
    assert len(used) == 15 and used.max() < LANDMARKS


def test_the_heatmaps_see_layers_of_four_strides(monkeypatch):
    """Each of them moves what is drawn, and none what is told in metres."""
    network = opened(load_bundle("smap_lite").folder)
    picture = torch.from_numpy(np.random.default_rng(1).random((1, 3, SIZE, SIZE), np.float32))
    with torch.no_grad():
        before = network(picture)
        for lateral in network.laterals:
            kept = lateral.mix.bias.clone()
            lateral.mix.bias += 3.0
            after = network(picture)
            lateral.mix.bias.copy_(kept)
            assert not torch.equal(before["joints"][..., :2], after["joints"][..., :2])
            for name in ("pose", "presence"):
                torch.testing.assert_close(before[name], after[name])


def test_people_of_the_demo_are_shown_nearer_to_the_truth_than_told():
    """Those of them that can be seen well, in squares a little off their middle."""
    network = opened(load_bundle("smap_lite").folder)
    told: list[torch.Tensor] = []
    network.landmarks.register_forward_hook(lambda _layer, _given, out: told.append(out))
    random, off = np.random.default_rng(0), []
    for scene in read_clip(config_directory() / "demo" / "truth.json")[10::25]:
        image = scene.image()
        for body, visible in zip(scene.frame.bodies, scene.visibility, strict=True):
            side = np.ptp(body.joints_2d, axis=0).max()
            region = region_around(body.joints_2d + random.normal(0, side / 30, 2), MARGIN, SIZE)
            if region is None or visible.mean() < 0.8:
                continue
            crop = np.ascontiguousarray(region.apply(image)[..., ::-1].transpose(2, 0, 1))
            with torch.no_grad():
                joints = network(torch.from_numpy(crop)[None] / 255)["joints"][0, :, :2].numpy()
            landmarks = told.pop().reshape(POINTS, 5)[:LANDMARKS, :2].numpy()
            true = region.to_crop(body.joints_2d)
            ways = [points - true for points in (joints, mapping()[0] @ landmarks)]
            off.append([np.linalg.norm(way, axis=1)[visible > 0].mean() for way in ways])
    drawn_px, told_px = np.mean(off, axis=0)
    assert len(off) >= 5 and drawn_px < 0.97 * told_px


def test_gradients_reach_the_heatmaps_and_what_is_told():
    network = opened(load_bundle("smap_lite").folder).train()
    picture = torch.from_numpy(np.random.default_rng(2).random((1, 3, SIZE, SIZE), np.float32))
    pixels = network.answer(picture)[0]
    pixels[:, MPI15.index("l_knee")].sum().backward()
    for layer in (network.heatmaps, network.landmarks, network.laterals[0].mix):
        assert layer.weight.grad is not None and float(layer.weight.grad.abs().max()) > 0
