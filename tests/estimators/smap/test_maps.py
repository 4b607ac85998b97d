"""The mean over an image and its mirror image."""

import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_ros.estimators import create_estimator
from smap_ros.estimators.smap.maps import Maps
from smap_ros.paths import config_directory
from smap_ros.skeletons import MPI15
from smap_ros.sources import open_source


def other_side(name: str) -> str:
    return {"l": "r", "r": "l"}[name[0]] + name[1:] if name[1] == "_" else name


def mirrored(maps, bone_depth, root_depth, poses, neck_depth, neck_poses, depth_spread):
    """What a perfect network sees in the mirror image, by names."""
    joints, limbs = MPI15.joints, [tuple(MPI15.joints[k] for k in limb) for limb in MPI15.limbs]
    out, depth, turned = (np.empty_like(array) for array in (maps, bone_depth, poses))
    necks = np.empty_like(neck_poses)
    for k, name in enumerate(joints):
        there = joints.index(other_side(name))
        out[there] = maps[k, :, ::-1]
        for axis, sign in enumerate((-1, 1, 1)):
            turned[3 * there + axis] = sign * poses[3 * k + axis, :, ::-1]
            necks[3 * there + axis] = sign * neck_poses[3 * k + axis, :, ::-1]
    for k, (a, b) in enumerate(limbs):
        there = limbs.index((other_side(a), other_side(b)))
        out[15 + 2 * there] = -maps[15 + 2 * k, :, ::-1]
        out[16 + 2 * there] = maps[16 + 2 * k, :, ::-1]
        depth[there] = bone_depth[k, :, ::-1]
    same = (root_depth[:, ::-1].copy(), neck_depth[:, ::-1].copy(), depth_spread[..., ::-1].copy())
    return Maps(out, depth, same[0], turned, same[1], necks, same[2])


SHAPES = ((43, 6, 8), (14, 6, 8), (6, 8), (45, 6, 8), (6, 8), (45, 6, 8), (2, 6, 8))


def test_a_perfect_network_gains_nothing() -> None:
    rng = np.random.default_rng(0)
    seen = Maps(*(rng.normal(size=shape).astype(np.float32) for shape in SHAPES))
    mean = seen.copy().mean_with_mirrored(mirrored(*seen))
    for got, expected in zip(mean, seen, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_errors_that_the_mirror_turns_cancel() -> None:
    zero, one = (Maps(*(np.full(shape, k, np.float32) for shape in SHAPES)) for k in (0, 1))
    mean = zero.mean_with_mirrored(one)
    assert (mean.maps[:15] == 0.5).all()
    assert (mean.bone_depth == 0.5).all() and (mean.root_depth == 0.5).all()
    assert (mean.maps[15::2] == -0.5).all() and (mean.maps[16::2] == 0.5).all()
    assert mean.poses is not None
    assert (mean.poses[::3] == -0.5).all() and (mean.poses[1::3] == 0.5).all()


def test_networks_without_poses_have_a_mean_too() -> None:
    zero = Maps(*(np.zeros(shape, np.float32) for shape in SHAPES[:3]))
    assert zero.copy().mean_with_mirrored(zero).poses is None


@pytest.mark.parametrize("flip_test", [True, False])
def test_the_shipped_model_sees_mirrored_people_mirrored(flip_test: bool) -> None:
    folder = config_directory() / "demo"
    image = next(iter(open_source(str(folder / "clip.mp4")))).image
    camera = Camera.from_yaml(folder / "camera.yaml")
    estimator = create_estimator(
        "smap_lite", "onnxruntime", 1, refine=False, second_look=False, flip_test=flip_test
    )
    people = estimator.estimate(image, camera).bodies
    turned = estimator.estimate(np.ascontiguousarray(image[:, ::-1]), camera).bodies
    estimator.close()
    assert people
    assert len(turned) == len(people)
    expected = np.array([body.joints_2d[list(MPI15.flip)] for body in people])
    expected[..., 0] = camera.width - 1 - expected[..., 0]
    got = np.array([body.joints_2d for body in turned])
    # Labels count a quarter of a cell, one pixel of the network, from what mirrors exactly.
    pixel = camera.width / 448
    same = np.allclose(got, expected, atol=1.05 * pixel, equal_nan=True)
    assert same == flip_test  # one look is not symmetric
