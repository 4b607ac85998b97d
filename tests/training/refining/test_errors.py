"""The refining network's training data: views of poses, and errors like a bundle's own."""

from dataclasses import replace

import numpy as np

from smap_ros.skeletons import MPI15
from smap_train.refining.errors import ErrorModel, half_mirrored, view
from smap_train.refining.found import FoundPeople, told

from .people import SIZE, poses, shrunken


def test_views_are_in_front_project_where_they_say_and_turn_all_ways() -> None:
    joints, pixels, focal = view(np.random.default_rng(0), poses(500), SIZE)
    assert (joints[..., 2] > 0).all()
    centre = (np.array(SIZE) - 1) / 2
    projected = joints[..., :2] / joints[..., 2:] * focal[:, None, None] + centre
    np.testing.assert_allclose(projected, pixels, atol=1e-2)
    # Bones keep their lengths unless a joint had to be kept in front of the camera.
    thigh = np.linalg.norm(joints[:, 6] - joints[:, 7], axis=-1)
    expected = np.linalg.norm(poses(500)[:, 6] - poses(500)[:, 7], axis=-1)
    assert (np.abs(thigh - expected) < 1e-3).mean() > 0.95
    assert (joints[:, 1, 1] < joints[:, 8, 1]).mean() > 0.97  # heads up: y points down
    sides = joints[:, MPI15.index("l_shoulder"), 0] - joints[:, MPI15.index("r_shoulder"), 0]
    assert 0.3 < (sides > 0).mean() < 0.7


def test_the_error_model_finds_and_applies_the_errors_it_was_shown() -> None:
    model = ErrorModel(shrunken(400, 0))
    moving = [j for j in range(15) if j != MPI15.root]
    np.testing.assert_allclose(model.slope[moving], 0.5, atol=1e-3)
    np.testing.assert_allclose(model.factor, 1.1, rtol=1e-4)
    rng = np.random.default_rng(5)
    true, pixels, focal = view(rng, poses(300), SIZE)
    found = model.apply(rng, true, pixels, focal)
    relative = found.found[..., 2] - found.found[:, MPI15.root, None, 2]
    expected = 0.5 * (true[..., 2] - true[:, MPI15.root, None, 2])
    seen = np.isfinite(relative)
    assert seen.mean() > 0.5
    np.testing.assert_allclose(relative[seen], expected[seen], atol=2e-2)
    assert found.poses is not None
    np.testing.assert_allclose(found.poses, 0.75 * found.true_poses(), atol=1e-4)


def test_people_of_several_folders_are_joined_and_those_without_poses_feed_fewer_numbers() -> None:
    one, other = shrunken(3, 0), shrunken(4, 1)
    both = FoundPeople.join([one, other])
    assert len(both) == 7 and both.inputs().shape == (7, 135)
    np.testing.assert_array_equal(both[np.arange(3, 7)].inputs(), other.inputs())
    plain = replace(both, poses=None)
    assert plain.inputs().shape == (7, 90) and plain[np.array([1])].poses is None
    np.testing.assert_array_equal(plain.inputs(), both.inputs()[:, :90])
    model = ErrorModel(plain)
    rng = np.random.default_rng(5)
    assert model.apply(rng, *view(rng, poses(10), SIZE)).inputs().shape == (10, 90)


def test_joints_that_fall_outside_the_picture_are_missing_but_the_root_is_not() -> None:
    rng = np.random.default_rng(5)
    true, pixels, focal = view(rng, poses(300), SIZE)
    found = ErrorModel(shrunken(100, 0)).apply(rng, true, pixels, focal)
    outside = ((pixels < 0) | (pixels >= SIZE)).any(axis=-1)
    outside[:, MPI15.root] = False
    assert outside.any()
    assert np.isnan(found.found[outside]).all()
    assert np.isfinite(found.found[:, MPI15.root]).all()
    assert (found.inputs()[:, :75].reshape(-1, 15, 5)[outside] == 0).all()


def test_a_mirrored_person_is_the_person_before_a_mirrored_camera() -> None:
    rng = np.random.default_rng(5)
    true, pixels, focal = view(rng, poses(40), SIZE)
    scores = rng.uniform(0.1, 1, (40, 15)).astype(np.float32)
    pairs = FoundPeople(true, true, pixels, pixels, scores, focal, SIZE, told(true, pixels, focal))
    swap = MPI15.flip
    behind_mirror = FoundPeople(
        *(joints[:, swap] * np.float32([-1, 1, 1]) for joints in (true, true)),
        *([SIZE[0] - 1, 0] + pixels[:, swap] * np.float32([-1, 1]) for _ in range(2)),
        scores[:, swap],
        focal,
        SIZE,
    )
    behind_mirror = replace(behind_mirror, poses=behind_mirror.true_poses())
    inputs, targets = half_mirrored(
        np.random.default_rng(0), pairs.inputs(), pairs.targets(), SIZE[0]
    )
    changed = (inputs != pairs.inputs()).any(axis=1)
    assert 10 < changed.sum() < 30
    np.testing.assert_allclose(inputs[changed], behind_mirror.inputs()[changed], atol=1e-3)
    np.testing.assert_allclose(targets[changed], behind_mirror.targets()[changed], atol=1e-3)
    np.testing.assert_array_equal(targets[~changed], pairs.targets()[~changed])
