"""Placing people by their apparent size."""

import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_ros.estimators.smap.placement import MAX_LOG_RATIO, depths_from_size, placed_by_size
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
