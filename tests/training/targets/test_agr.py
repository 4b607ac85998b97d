"""VirtualPose's abstract representation against the official one, and its edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from smap_ros.errors import InputError
from smap_train.models.golden import GOLDENS, Golden
from smap_train.models.virtualpose.config import VirtualPoseConfig
from smap_train.models.virtualpose.golden_scene import golden_scene
from smap_train.targets.agr import abstraction, box_maps, heatmaps, truth

CONFIG = VirtualPoseConfig()


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(GOLDENS / "virtualpose")


@pytest.fixture(scope="module")
def rendered(golden):
    return abstraction(
        golden.arrays["people_3d"], golden_scene(golden.folder, golden.arrays)[1], CONFIG
    )


def test_maps_are_the_official_ones(golden, rendered):
    assert np.array_equal(rendered.maps.astype(np.float16), golden.arrays["input_AGR16"])
    assert golden.difference("target_heatmap", torch.from_numpy(rendered.maps[:17])).max_abs < 1e-6
    assert golden.difference("target_3d", torch.from_numpy(rendered.root_cube)).max_abs < 1e-6


def test_labels_are_the_official_ones(golden, rendered):
    meta = json.loads((golden.folder / "scene.json").read_text())["meta"]
    assert rendered.inds.tolist() == meta["ind"][:3]
    np.testing.assert_allclose(rendered.sides, meta["wh"][:3], atol=1e-5)
    np.testing.assert_allclose(rendered.depth_mm[:, None], meta["depth"][:3], atol=1e-2)
    assert rendered.in_view.tolist() == [True] * 3
    assert rendered.in_image.all()


def test_noise_moves_and_weakens_peaks_reproducibly(golden, rendered):
    people, camera = golden.arrays["people_3d"], golden_scene(golden.folder, golden.arrays)[1]
    first, again, other = (
        abstraction(people, camera, CONFIG, np.random.default_rng(seed)).maps for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(first[17:], rendered.maps[17:])  # boxes stay exact
    peaks = first[:17].max((1, 2))
    assert (peaks > 0.3).all()
    assert (peaks < 1.01).all()
    assert (peaks < 0.95).any()


def test_hidden_joints_are_not_drawn_and_do_not_widen_a_person():
    cells = np.array([[[20.0, 20.0], [40.0, 30.0], [200.0, 100.0]]])
    visible = np.array([[True, True, False]])
    seen = heatmaps(cells, (240, 128), visible)
    alone = heatmaps(cells[:, :2], (240, 128))
    np.testing.assert_array_equal(seen[:2], alone)
    assert not seen[2].any()


def test_box_squares_end_at_the_border_and_later_people_cover_earlier_ones():
    roots = np.array([[2.7, 3.0], [10.0, 3.0], [1e4, -1e4]])  # the last one is out of sight
    sides = np.arange(12, dtype=np.float32).reshape(3, 4) + 1
    maps = box_maps(roots, sides, (40, 20))
    assert np.array_equal(maps[:, 0, 0], sides[1])  # 10 - 15 < 0
    assert np.array_equal(maps[:, 17, 24], sides[1])
    assert not maps[:, 18:].any()
    assert not maps[:, :, 25:].any()
    assert not np.isin(sides[2], maps).any()


def test_people_out_of_sight_have_no_place_in_the_maps(golden, rendered):
    camera = golden_scene(golden.folder, golden.arrays)[1]
    behind = golden.arrays["people_3d"][:1] + np.array([20_000.0, 10_000.0, 0.0])
    got = abstraction(behind, camera, CONFIG)
    assert not got.maps.any()
    assert got.in_view.tolist() == [False]
    assert got.inds.tolist() == [0]
    assert not got.in_image.any()


def test_batches_pad_scenes_with_nobody(golden, rendered):
    empty = abstraction(np.zeros((0, 17, 3)), golden_scene(golden.folder, golden.arrays)[1], CONFIG)
    assert not empty.maps.any()
    assert not empty.root_cube.any()
    batch = truth([rendered, empty], CONFIG)
    assert batch.people.tolist() == [[True] * 3, [False] * 3]
    assert batch.joints_mm.shape == (2, 3, 17, 3)
    assert batch.root_cube.shape == (2, 80, 80, 24)
    assert not batch.in_view[1].any()


def test_wrong_joint_sets_are_refused(golden):
    with pytest.raises(InputError, match=r"\(2, 15, 3\), expected \[people, 17, 3\]"):
        abstraction(np.zeros((2, 15, 3)), golden_scene(golden.folder, golden.arrays)[1], CONFIG)
