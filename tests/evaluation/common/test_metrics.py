"""Errors of poses against closed forms; who is matched with whom."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smap_ros.bodies import Body, BodyFrame
from smap_ros.errors import InputError
from smap_ros.evaluation.common.metrics import (
    compare,
    joint_errors,
    match_by_pelvis,
    mpjpe,
    pa_mpjpe,
    procrustes,
)
from smap_ros.skeletons import MPI15

ROOT = MPI15.root
GOLDENS = Path(__file__).parents[2] / "goldens"


def pose(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(15, 3))


def rotation(seed: int) -> np.ndarray:
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q if np.linalg.det(q) > 0 else q[:, [1, 0, 2]]


@pytest.mark.parametrize(
    ("folder", "scaled"),
    [("mobilehumanpose", False), ("3dcrowdnet", True), ("hap_3dcrowdnet", True)],
)
def test_alignment_is_the_official_one(folder, scaled):
    """``rigid_align``: MobileHumanPose keeps the size, the others don't."""
    golden = np.load(GOLDENS / folder / "golden.npz")
    aligned = procrustes(golden["align_A"], golden["align_B"], scaled=scaled)
    np.testing.assert_allclose(aligned, golden["rigid_align"], rtol=0, atol=1e-9)
    other = procrustes(golden["align_A"], golden["align_B"], scaled=not scaled)
    assert not np.allclose(other, golden["rigid_align"], atol=1e-2)


def test_errors_are_distances():
    predicted, true = np.zeros((2, 15, 3)), np.full((2, 15, 3), (3.0, 4.0, 0.0))
    np.testing.assert_allclose(joint_errors(predicted, true), 5)


@given(st.integers(0, 10**6))
def test_mpjpe_ignores_where_the_person_is_and_pa_also_turn_and_size(seed):
    true = pose(seed)
    shift, scale = np.random.default_rng(seed).normal(size=3), 0.2 + seed % 7
    assert mpjpe(true + shift, true, ROOT) == pytest.approx(0, abs=1e-12)
    assert pa_mpjpe(scale * true @ rotation(seed) + shift, true) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 10**6))
def test_pa_mpjpe_does_not_mirror(seed):
    true = pose(seed)
    assert pa_mpjpe(true * [-1, 1, 1], true) > 0.05


def test_mpjpe_is_the_mean_over_joints_with_the_root():
    true = pose(0)
    predicted = true.copy()
    predicted[3] += (0.3, 0, 0.4)
    assert mpjpe(predicted, true, ROOT) == pytest.approx(0.5 / 15)


def test_missing_joints_are_left_out():
    true = pose(1)
    predicted = true.copy()
    predicted[4] += 1
    predicted[5] = np.nan
    assert mpjpe(predicted, true, ROOT) == pytest.approx(np.sqrt(3) / 14)
    assert np.isfinite(pa_mpjpe(predicted, true))
    assert np.isnan(mpjpe(np.full((15, 3), np.nan), true, ROOT))
    assert np.isnan(pa_mpjpe(np.full((15, 3), np.nan), true))


def test_a_point_for_a_pose_is_measured_not_divided_by_zero():
    assert pa_mpjpe(np.zeros((15, 3)), pose(2)) > 0


def test_shapes_must_agree():
    with pytest.raises(InputError, match=r"\(15, 3\) and \(17, 3\)"):
        mpjpe(np.zeros((15, 3)), np.zeros((17, 3)), ROOT)


def body(x: float, y: float = 300.0, size: float = 100.0, z: float = 4.0) -> Body:
    """A person whose box has that diagonal times 1.4, pelvis at (x, y)."""
    pixels = np.zeros((15, 2), np.float32)
    pixels[0], pixels[1] = (-size / 2, -size / 2), (size / 2, size / 2)
    points = np.zeros((15, 3), np.float32)
    points[:, 2] = z
    return Body(points, pixels + np.float32([x, y]), np.ones(15, np.float32), 1.0)


@pytest.mark.parametrize(
    ("predicted", "true", "pairs"),
    [
        ([], [], []),
        ([100], [], []),
        ([], [100], []),
        ([100, 300], [301, 99], [(0, 1), (1, 0)]),
        ([100], [136], []),  # 36 px > a quarter of 141 px
        ([100], [135], [(0, 0)]),
        ([100, 110], [104], [(0, 0)]),
        # The nearest pair first would leave the other without a partner.
        ([100, 130], [120, 150], [(0, 0), (1, 1)]),
    ],
)
def test_people_are_matched_one_to_one_by_their_pelvises(predicted, true, pairs):
    assert match_by_pelvis([body(x) for x in predicted], [body(x) for x in true]) == pairs


def test_a_person_without_pelvis_matches_nobody():
    lost = body(100)
    pixels = lost.joints_2d.copy()
    pixels[ROOT] = np.nan
    assert match_by_pelvis([replace(lost, joints_2d=pixels)], [body(100)]) == []


def frame(index: int, *bodies: Body, camera) -> BodyFrame:
    return BodyFrame(bodies, camera, index=index)


def test_accuracy_counts_found_missed_and_false(scene):
    camera = scene.camera
    truth = [frame(0, body(100), body(300), camera=camera), frame(1, body(100), camera=camera)]
    found = [
        frame(0, body(101, z=4.4), camera=camera),
        frame(1, body(100, z=3.8), body(500), camera=camera),
        frame(7, body(100), camera=camera),  # no truth: left out
    ]
    accuracy = compare(found, truth)
    assert (accuracy.frames, accuracy.people, accuracy.matched, accuracy.false) == (2, 3, 2, 1)
    assert accuracy.recall == pytest.approx(2 / 3)
    assert accuracy.precision == pytest.approx(2 / 3)
    assert accuracy.mpjpe_mm == pytest.approx(0)
    assert accuracy.root_depth_percent == pytest.approx(7.5, abs=1e-4)


def test_joints_that_were_not_found_are_told(scene):
    """They are in no error, so who leaves the hard ones out has smaller errors."""
    camera = scene.camera
    lacking, unlabelled = body(100), body(300)
    lacking.joints_3d[3:6] = np.nan
    unlabelled.joints_3d[0:5] = np.nan
    truth = [frame(0, body(100), unlabelled, body(500), camera=camera)]
    accuracy = compare([frame(0, lacking, body(300), camera=camera)], truth)
    assert accuracy.joints_percent == pytest.approx(100 * (12 + 10) / (15 + 10))
    assert np.isnan(compare([frame(0, camera=camera)], truth).joints_percent)


def test_who_need_not_be_found_is_no_miss_and_no_ghost(scene):
    camera = scene.camera
    truth = [frame(k, body(100), body(300), camera=camera) for k in range(2)]
    found = [
        frame(0, body(100), body(300, z=8.0), body(500), camera=camera),
        frame(1, body(100), camera=camera),
    ]
    accuracy = compare(found, truth, {k: np.array([True, False]) for k in range(2)})
    assert (accuracy.people, accuracy.matched, accuracy.false) == (2, 2, 1)
    assert accuracy.root_depth_percent == pytest.approx(0)
    assert compare(found, truth).people == 4


def test_nothing_to_compare_is_refused_and_nobody_is_nan(scene):
    empty = [frame(0, camera=scene.camera)]
    with pytest.raises(InputError, match="share no frame index"):
        compare(empty, [frame(1, camera=scene.camera)])
    accuracy = compare(empty, empty)
    assert np.isnan([accuracy.recall, accuracy.precision, accuracy.mpjpe_mm]).all()
