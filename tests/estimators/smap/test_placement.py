"""Placing people by their apparent size."""

import numpy as np
import pytest

from smap_ros.bundles.bundle import load_bundle
from smap_ros.bundles.manifest.smap import FarPeople, SizePrior
from smap_ros.camera import Camera
from smap_ros.estimators.smap.lifting import Lifted
from smap_ros.estimators.smap.placement import (
    _LIMBS_PER_HEIGHT,
    _SHAPE_ERROR,
    MAX_FARTHER,
    MAX_LOG_RATIO,
    Placement,
    depths_from_size,
    placed_by_prior,
    placed_by_size,
    placed_farther,
    shown_metre,
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


def test_people_far_away_or_small_are_as_much_farther_as_was_measured() -> None:
    at = people(6)
    depth = np.float32([1, 7.9, 16, 16, 30, 4])
    at += (depth - at[:, ROOT, 2])[:, None, None] * np.float32([0, 0, 1])
    shown = np.array([400, 400, 16 * 30.0, 16 * 10.0, 1e4, 4 * 15.0])  # 30 px a metre, 10 px, ...
    far = FarPeople(beyond=8, power=0.1, below=30, small_power=0.2)
    expected = [1, 1, 2**0.1, 2**0.1 * 3**0.2, (30 / 8) ** 0.1, 2**0.2]
    moved = placed_farther(at, shown, ROOT, far)
    np.testing.assert_allclose(moved[:, ROOT, 2] / depth, expected, rtol=1e-5)
    np.testing.assert_allclose(seen(moved), seen(at), atol=1e-2)  # appear as large as before
    one = placed_farther(at[3:4], 160.0, ROOT, far)
    np.testing.assert_allclose(one, moved[3:4], rtol=1e-6)


def test_a_bias_moves_nobody_without_end_or_without_a_depth() -> None:
    at = people(3)
    at[0, ROOT] = np.nan
    at[1] *= 1e6
    at[2, ROOT, 2] = -1
    far = FarPeople(beyond=8, power=1, below=30, small_power=1)
    moved = placed_farther(at, 100.0, ROOT, far)
    np.testing.assert_array_equal(moved[[0, 2]], at[[0, 2]])
    np.testing.assert_allclose(moved[1], at[1] * np.exp(MAX_FARTHER), rtol=1e-5)
    np.testing.assert_array_equal(placed_farther(people(), 1.0, ROOT, FarPeople()), people())


@pytest.mark.parametrize("size", [(448, 256), (1280, 720), (1280, 960), (480, 640)])
def test_a_metre_is_counted_in_pixels_of_the_network(size: tuple[int, int]) -> None:
    manifest = load_bundle("smap_lite").manifest
    camera = Camera.from_fov(*size, np.deg2rad(60.0))
    scale = min(448 / size[0], 256 / size[1])
    assert shown_metre(manifest, camera) == pytest.approx(camera.resized(*(
        round(side * scale) for side in size)).fx, rel=2e-3)  # fmt: skip


def test_a_bundle_tells_the_same_of_a_view_in_any_number_of_pixels_and_counts_the_lens() -> None:
    far = FarPeople(beyond=8, power=0.1, below=30, small_power=0.2)
    fields = {"far_people": far, "size_share": 0.0, "size_prior": SizePrior()}
    manifest = load_bundle("smap_lite").manifest.model_copy(update=fields)
    at = people(1) * np.float32(6)
    placed = []
    for size, shown in (((448, 256), None), ((1792, 1024), None), ((448, 256), 0.5)):
        camera = Camera.from_fov(*size, np.deg2rad(60.0))
        scores = np.ones((1, 15), np.float32)
        lifted = Lifted(
            joints_3d=at, joints_2d=np.asarray(camera.project(at), np.float32), scores=scores,
            joints_network=np.zeros((1, 15, 2), np.float32), index=np.arange(1),
            shown=None if shown is None else np.array([shown]),
        )  # fmt: skip
        placed.append(Placement(manifest, {})(at, lifted, scores, camera).joints_3d)
    np.testing.assert_allclose(placed[1], placed[0], rtol=1e-5)
    depth = float(at[0, ROOT, 2])
    expected = (depth / 8) ** 0.1 * (
        30 * depth / Camera.from_fov(448, 256, np.deg2rad(60)).fx
    ) ** 0.2
    assert placed[0][0, ROOT, 2] / depth == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(placed[2], placed[0] * np.float32(2**0.2), rtol=1e-5)
