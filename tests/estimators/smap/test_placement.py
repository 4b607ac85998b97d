"""Placing people by their apparent size."""

import numpy as np
import pytest

from smap_ros.bundles.manifest.smap import SizePrior
from smap_ros.camera import Camera
from smap_ros.estimators.smap.placement import (
    _LIMBS_PER_HEIGHT,
    _SHAPE_ERROR,
    MAX_LOG_RATIO,
    depths_from_size,
    placed_by_prior,
    placed_by_size,
)
from smap_ros.skeletons import MPI15

ROOT = MPI15.root
CAMERA = Camera.from_fov(640, 480, np.deg2rad(60.0))


def people(count: int = 5) -> np.ndarray:
    """Random joints about roots 2 to 8 m away, float32 [N, 15, 3]."""
    rng = np.random.default_rng(0)
    roots = np.stack([rng.uniform(-0.5, 0.5, count), rng.uniform(-0.3, 0.3, count),
                      rng.uniform(2, 8, count)], axis=1)  # fmt: skip
    joints = roots[:, None] + rng.normal(0, 0.35, (count, 15, 3))
    joints[:, ROOT] = roots
    return joints.astype(np.float32)


def seen(joints: np.ndarray) -> np.ndarray:
    return np.asarray(CAMERA.project(joints), np.float32)


def test_exact_projections_give_the_exact_depth_wherever_the_network_put_them() -> None:
    true = people()
    scores = np.random.default_rng(1).uniform(0.1, 1, (len(true), 15)).astype(np.float32)
    moved = true + np.float32([[[0.1, -0.2, 3.0]]])
    depth = depths_from_size(moved, seen(true), scores, CAMERA, ROOT)
    np.testing.assert_allclose(depth, true[:, ROOT, 2], rtol=1e-4)


def test_missing_and_inferred_joints_do_not_count() -> None:
    true = people()
    pixels, scores = seen(true), np.ones((len(true), 15), np.float32)
    pixels[:, 3] = np.nan
    pixels[:, 4], scores[:, 4] = 1e4, 0
    true[:, 5] = np.nan
    depth = depths_from_size(true, pixels, scores, CAMERA, ROOT)
    np.testing.assert_allclose(depth, true[:, ROOT, 2], rtol=1e-4)


def test_few_joints_or_one_point_say_nothing() -> None:
    true = people(2)
    scores = np.zeros((2, 15), np.float32)
    scores[0, :5] = 1
    scores[1] = 1
    pixels = seen(true)
    pixels[1] = pixels[1, 0]
    assert np.isnan(depths_from_size(true, pixels, scores, CAMERA, ROOT)[0])
    same = placed_by_size(true, pixels, scores, CAMERA, ROOT, 0.5)
    np.testing.assert_array_equal(same[0], true[0])
    assert np.isfinite(same).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_share_moves_people_along_the_ray_of_their_root(share: float) -> None:
    true = people()
    scores = np.ones((len(true), 15), np.float32)
    factor = np.float32(1.1)
    wrong = true + true[:, ROOT, None] * (factor - 1)
    placed = placed_by_size(wrong, seen(true), scores, CAMERA, ROOT, share)
    expected = true[:, ROOT] * factor ** np.float32(1 - share)
    np.testing.assert_allclose(placed[:, ROOT], expected, rtol=1e-4)
    shape = placed - placed[:, ROOT, None]
    np.testing.assert_allclose(shape, true - true[:, ROOT, None], atol=1e-5)


def test_a_misjudged_size_moves_nobody_far() -> None:
    true = people()
    scores = np.ones((len(true), 15), np.float32)
    wrong = true * np.float32(5)
    wrong = true - true[:, ROOT, None] + wrong[:, ROOT, None]
    placed = placed_by_size(wrong, seen(true), scores, CAMERA, ROOT, 1.0)
    ratio = placed[:, ROOT, 2] / wrong[:, ROOT, 2]
    np.testing.assert_allclose(np.log(ratio), -MAX_LOG_RATIO, rtol=1e-4)


LIMBS = np.array(MPI15.limbs)


def tall(joints: np.ndarray) -> np.ndarray:
    """Heights that the lengths of all limbs belong to, [N]."""
    limbs = joints[:, LIMBS[:, 0]] - joints[:, LIMBS[:, 1]]
    return np.linalg.norm(limbs, axis=-1).sum(axis=1) / _LIMBS_PER_HEIGHT


def of_height(height: float) -> np.ndarray:
    true = people()
    roots = true[:, ROOT, None]
    return (roots + (true - roots) * (height / tall(true))[:, None, None]).astype(np.float32)


@pytest.mark.parametrize("told", [0.7, 1.0, 1.4])
def test_a_prior_fuses_with_the_network_by_their_uncertainties(told: float) -> None:
    true = of_height(1.7)
    # The network puts all too near and the skeleton is too small with it: it looks the same.
    joints, scores = (true * told).astype(np.float32), np.ones((5, 15), np.float32)
    prior = SizePrior(weight=1.0, mean=1.7, spread=0.05)
    spread = np.hypot(0.05, _SHAPE_ERROR)
    moved, deviation = placed_by_prior(
        joints, seen(true), scores, CAMERA, ROOT, np.full(5, 0.2), prior
    )
    weights = np.array([1 / 0.2**2, 1 / spread**2])
    expected = np.exp(np.log(told) * weights[0] / weights.sum())
    np.testing.assert_allclose(moved[:, ROOT] / true[:, ROOT], expected, rtol=1e-3)
    np.testing.assert_allclose(deviation, weights.sum() ** -0.5)


def test_a_prior_leaves_those_whose_size_is_unknown_and_weighs_as_told() -> None:
    true = of_height(1.2)  # a child
    scores = np.ones((5, 15), np.float32)
    scores[0, 3:] = 0
    deviation = np.full(5, 0.1)
    deviation[1] = np.nan
    prior = SizePrior(weight=0.5, mean=1.7, spread=0.05)
    moved, after = placed_by_prior(true, seen(true), scores, CAMERA, ROOT, deviation, prior)
    np.testing.assert_array_equal(moved[:2], true[:2])
    assert after[0] == 0.1 and np.isnan(after[1])
    ratio = moved[2:, ROOT, 2] / true[2:, ROOT, 2]
    assert (ratio > 1.05).all() and (after[2:] < 0.1).all()
    full = SizePrior(weight=1.0, mean=1.7, spread=0.05)
    more, _ = placed_by_prior(true, seen(true), scores, CAMERA, ROOT, deviation, full)
    assert (more[2:, ROOT, 2] > moved[2:, ROOT, 2]).all()
    # Everybody moves along the ray through their root.
    np.testing.assert_allclose(
        more[2:, ROOT, :2] / more[2:, ROOT, 2:], true[2:, ROOT, :2] / true[2:, ROOT, 2:], rtol=1e-5
    )
