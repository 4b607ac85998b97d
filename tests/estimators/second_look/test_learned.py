"""People in their own frames, and a network's corrections there put back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.camera import Camera
from smap_ros.errors import InputError
from smap_ros.estimators.second_look.fusing import Seen, towards
from smap_ros.estimators.second_look.learned import (
    INPUTS,
    JOINTS,
    OUTPUTS,
    ROOT,
    Frames,
    Views,
    closed_on_plane,
    fused_output,
    fusing_input,
)

CAMERA = Camera.from_fov(1280, 720, np.deg2rad(80))
FISHEYE = Camera(1280, 960, 420.0, 420.0, 630.0, 470.0, (0.05, -0.01, 0.003, -0.001), "equidistant")
PERSON = np.random.default_rng(3).normal(0, 0.35, (JOINTS, 3))
PERSON[ROOT] = 0


def told(joints: np.ndarray, camera: Camera) -> np.ndarray:
    """People [N, 15, 3] as pelvises tell them: beside the pelvis as they look, and behind it."""
    pixels, depth = camera.project(joints), joints[:, ROOT, None, 2:]
    beside = (pixels - pixels[:, ROOT, None]) * depth / (camera.fx, camera.fy)
    behind = joints[..., 2:] - depth
    return np.concatenate([beside, behind], axis=-1).astype(np.float32)


def at(roots: np.ndarray, camera: Camera = CAMERA, seed: int = 0) -> tuple[Views, np.ndarray]:
    """People whose looks are all a little wrong, and the truth, [N, 15, 3]."""
    rng = np.random.default_rng(seed)
    true = np.asarray(roots, float)[:, None] + PERSON
    count = len(true)

    def off(deviation: float, axes: int) -> np.ndarray:
        return rng.normal(0, deviation, (count, JOINTS, axes)).astype(np.float32)

    pixels = camera.project(true)
    closed = (true * 1.05 + off(0.05, 3)).astype(np.float32)
    about = true - true[:, ROOT, None]
    seen = Seen(
        pixels + off(4, 2), np.full((count, JOINTS), 0.8), about + off(0.1, 3),
        np.full(count, 0.95), np.full(count, 250.0),
    )  # fmt: skip
    views = Views(
        closed, (pixels + off(3, 2)).astype(np.float32),
        rng.uniform(0.3, 1, (count, JOINTS)).astype(np.float32),
        (true + off(0.1, 3)).astype(np.float32), (pixels + off(5, 2)).astype(np.float32),
        rng.uniform(0.2, 1, (count, JOINTS)).astype(np.float32), pixels,
        told(closed[:, ROOT, None] + about + off(0.1, 3), camera), np.full(count, 0.1, np.float32),
        np.ones(count, bool), seen,
    )  # fmt: skip
    return views, true


ROOTS = np.array([[0.3, 0.2, 3.0], [-2.5, -0.8, 5.0], [1.0, 0.1, 1.6]])


@pytest.mark.parametrize("camera", [CAMERA, FISHEYE], ids=["pinhole", "fisheye"])
def test_points_go_to_the_plane_and_back(camera: Camera) -> None:
    views, _ = at(ROOTS, camera)
    frames = Frames.of(views.closed_3d, views.closed_2d, camera)
    plane = frames.on_plane(views.closed_2d, camera)
    np.testing.assert_allclose(frames.in_picture(plane, camera), views.closed_2d, atol=1e-2)
    np.testing.assert_allclose(plane[:, ROOT], 0, atol=1e-6)  # the axis goes through the pelvis
    np.testing.assert_allclose(frames.back(frames.turned(PERSON[None])), PERSON[None].repeat(3, 0))
    for k in range(3):
        expected = towards(camera, views.closed_2d[k, ROOT].astype(float))
        np.testing.assert_allclose(frames.turn[k], expected, atol=1e-9)


def test_rays_to_the_side_of_a_person_cross_no_plane() -> None:
    views, _ = at(np.array([[0.0, 0.0, 3.0]]), FISHEYE)
    frames = Frames.of(views.closed_3d, views.closed_2d, FISHEYE)
    aside = FISHEYE.project(np.array([[[3.0, 0.0, 0.3], [0.2, 0.0, 3.0]]]))
    plane = frames.on_plane(aside, FISHEYE)
    assert np.isnan(plane[0, 0]).all() and np.isfinite(plane[0, 1]).all()


@pytest.mark.parametrize("camera", [CAMERA, FISHEYE], ids=["pinhole", "fisheye"])
def test_the_true_corrections_give_the_true_people(camera: Camera) -> None:
    views, true = at(ROOTS, camera)
    _, frames = fusing_input(views, camera)
    roots = frames.turned(true[:, ROOT, None])[:, 0]
    about = [frames.turned(j - j[:, ROOT, None]) for j in (true, views.closed_3d.astype(float))]
    pose = about[0] - about[1]
    pose[:, ROOT, :2] = roots[:, :2] / roots[:, 2:] * frames.distance[:, None]
    pose[:, ROOT, 2] = np.log(np.linalg.norm(roots, axis=1) / frames.distance)
    pixels = camera.project(true)
    points = frames.on_plane(pixels, camera) - frames.on_plane(views.closed_2d, camera)
    output = np.concatenate([pose.reshape(3, -1), points.reshape(3, -1)], axis=1)
    joints, told = fused_output(output.astype(np.float32), views, frames, camera)
    np.testing.assert_allclose(joints, true, atol=1e-4)
    np.testing.assert_allclose(told, pixels, atol=0.05)


def test_where_in_the_picture_somebody_is_does_not_matter() -> None:
    """The camera turned about its middle: the person's own frame sees the same."""
    views, true = at(ROOTS[:1])
    about = true - true[:, ROOT, None]
    views = replace(views, poses=told(views.closed_3d[:, ROOT, None] + about, CAMERA))
    given, _ = fusing_input(views, CAMERA)
    turn = towards(CAMERA, np.array([760.0, 330.0]))

    def turned(joints: np.ndarray) -> np.ndarray:
        return np.asarray(joints @ turn.T, np.float32)

    def moved(pixels: np.ndarray) -> np.ndarray:
        rays = CAMERA.back_project(pixels, np.ones(pixels.shape[:-1]))
        return CAMERA.project(rays @ turn.T)

    seen = replace(
        views.seen, joints_2d=moved(views.seen.joints_2d), poses=turned(views.seen.poses)
    )
    elsewhere = replace(
        views, closed_3d=turned(views.closed_3d), closed_2d=moved(views.closed_2d),
        first_3d=turned(views.first_3d), first_2d=moved(views.first_2d),
        believed=moved(views.believed), seen=seen,
        poses=told(turned(views.closed_3d[:, ROOT, None] + about), CAMERA),
    )  # fmt: skip
    there, frames = fusing_input(elsewhere, CAMERA)
    # The shortest turn after another is not the shortest turn of both: there is a roll between.
    straight = Frames.of(views.closed_3d, views.closed_2d, CAMERA)
    roll = (frames.turn[0].T @ turn @ straight.turn[0])[:2, :2]
    assert np.linalg.det(roll) == pytest.approx(1, abs=1e-6)
    poses = there[0, : JOINTS * 12].reshape(-1, 3).copy()
    poses[:, :2] = poses[:, :2] @ roll
    np.testing.assert_allclose(poses.ravel(), given[0, : JOINTS * 12], atol=1e-4)
    points = there[0, JOINTS * 12 : JOINTS * 18].reshape(-1, 2) @ roll
    np.testing.assert_allclose(points.ravel(), given[0, JOINTS * 12 : JOINTS * 18], atol=1e-3)
    np.testing.assert_allclose(there[0, JOINTS * 18 :], given[0, JOINTS * 18 :], atol=1e-4)


@pytest.mark.parametrize("camera", [CAMERA, FISHEYE], ids=["pinhole", "fisheye"])
def test_a_told_pose_is_one_in_metres(camera: Camera) -> None:
    views, true = at(ROOTS, camera)
    about = true - true[:, ROOT, None]
    views = replace(views, poses=told(views.closed_3d[:, ROOT, None] + about, camera))
    given, frames = fusing_input(views, camera)
    poses = given[:, : JOINTS * 12].reshape(-1, JOINTS, 4, 3)[:, :, 3]
    np.testing.assert_allclose(poses, frames.turned(about), atol=2e-3)


def test_what_a_look_does_not_say_is_nought() -> None:
    views, _ = at(ROOTS)
    views.first_2d[0, 4], views.first_scores[0, 4] = np.nan, 0
    views.closed_2d[0, 4], views.closed_scores[0, 4] = np.nan, 0
    views.closed_3d[1, 6] = np.nan
    for column in (views.seen.joints_2d, views.seen.scores, views.seen.poses):
        column[2] = np.nan
    views.seen.presence[2] = np.nan
    given, frames = fusing_input(views, CAMERA)
    assert given.shape == (3, INPUTS) and given.dtype == np.float32 and np.isfinite(given).all()
    poses = given[:, : JOINTS * 12].reshape(3, JOINTS, 4, 3)
    points = given[:, JOINTS * 12 : JOINTS * 18].reshape(3, JOINTS, 3, 2)
    scores = given[:, JOINTS * 18 : JOINTS * 23].reshape(3, JOINTS, 5)
    assert not points[0, 4, 0].any() and points[0, 3, 0].all()
    assert scores[0, 4].tolist() == [0, pytest.approx(0.8), 0, 1, 0]
    assert not poses[1, 6, 0].any()
    assert not poses[2, :, 2].any() and not points[2, :, 1].any() and not scores[2, :, 1].any()
    # A joint that no look sees is where the pose has it.
    plane, sees = closed_on_plane(views, frames, CAMERA)
    assert not sees[0, 4] and sees[0, 3]
    projected = CAMERA.project(views.closed_3d.astype(float))
    moved = projected - projected[:, ROOT, None]
    expected = frames.in_picture(plane, CAMERA) - frames.in_picture(plane, CAMERA)[:, ROOT, None]
    np.testing.assert_allclose(expected[0, 4], moved[0, 4], atol=6)


def test_without_corrections_pose_and_points_stay_and_the_person_is_on_the_pelvis_ray() -> None:
    views, _ = at(ROOTS)
    _, frames = fusing_input(views, CAMERA)
    joints, pixels = fused_output(np.zeros((3, OUTPUTS), np.float32), views, frames, CAMERA)
    np.testing.assert_allclose(pixels, views.closed_2d, atol=1e-2)
    about = views.closed_3d - views.closed_3d[:, ROOT, None]
    np.testing.assert_allclose(joints - joints[:, ROOT, None], about, atol=1e-5)
    np.testing.assert_allclose(CAMERA.project(joints[:, ROOT]), views.closed_2d[:, ROOT], atol=1e-2)
    distances = (np.linalg.norm(j[:, ROOT], axis=1) for j in (joints, views.closed_3d))
    np.testing.assert_allclose(*distances, rtol=1e-5)


def test_a_joint_that_was_not_seen_is_corrected_from_where_its_pose_is() -> None:
    """Its pixel, which both looks guess, is not what the network was told of."""
    views, true = at(ROOTS)
    views.closed_scores[:, 8] = 0
    views.closed_2d[:, 8] += 60
    given, frames = fusing_input(views, CAMERA)
    pixels = CAMERA.project(true)
    points = given[:, JOINTS * 12 : JOINTS * 18].reshape(3, JOINTS, 3, 2)[:, :, 2]
    output = np.zeros((3, OUTPUTS))
    output[:, 3 * JOINTS :] = (frames.on_plane(pixels, CAMERA) - points).reshape(3, -1)
    _, corrected = fused_output(output.astype(np.float32), views, frames, CAMERA)
    np.testing.assert_allclose(corrected, pixels, atol=0.1)
    views.closed_2d[1, 8] = np.nan
    _, corrected = fused_output(output.astype(np.float32), views, frames, CAMERA)
    assert np.isnan(corrected[1, 8]).all() and np.isfinite(corrected[0, 8]).all()


def test_a_joint_without_a_place_gets_none() -> None:
    views, _ = at(ROOTS)
    views.closed_3d[0, 6] = np.nan
    _, frames = fusing_input(views, CAMERA)
    joints, _ = fused_output(np.full((3, OUTPUTS), 0.05, np.float32), views, frames, CAMERA)
    assert np.isnan(joints[0, 6]).all() and np.isfinite(joints[0, 7]).all()


def test_what_is_seen_where_no_plane_is_stays() -> None:
    views, _ = at(np.array([[0.0, 0.0, 3.0]]), FISHEYE)
    views.closed_2d[0, 4] = FISHEYE.project(np.array([3.0, 0.0, 0.3]))
    given, frames = fusing_input(views, FISHEYE)
    scores = given[0, JOINTS * 18 : JOINTS * 23].reshape(JOINTS, 5)
    assert scores[4, 4] == 0 and scores[3, 4] == 1
    _, pixels = fused_output(np.full((1, OUTPUTS), 0.1, np.float32), views, frames, FISHEYE)
    np.testing.assert_array_equal(pixels[0, 4], views.closed_2d[0, 4])
    assert (pixels[0, 3] != views.closed_2d[0, 3]).all()
    views.seen.joints_2d[0, 5] = FISHEYE.project(np.array([3.0, 0.0, 0.3]))
    given, _ = fusing_input(views, FISHEYE)
    assert given[0, JOINTS * 18 : JOINTS * 23].reshape(JOINTS, 5)[5, 1] == 0


@pytest.mark.parametrize("told", [np.nan, np.inf, -np.inf])
def test_a_correction_that_is_no_number_is_none(told: float) -> None:
    views, _ = at(ROOTS)
    _, frames = fusing_input(views, CAMERA)
    output = np.full((3, OUTPUTS), 0.1, np.float32)
    output[1, 7] = told
    joints, pixels = fused_output(output, views, frames, CAMERA)
    np.testing.assert_array_equal(joints[1], views.closed_3d[1])
    np.testing.assert_array_equal(pixels[1], views.closed_2d[1])
    assert (joints[0] != views.closed_3d[0]).all() and np.isfinite(joints).all()


def test_who_was_refused_is_posed_anew_and_stays_where_they_are() -> None:
    """The answer may be of somebody who stands before them."""
    views, _ = at(ROOTS)
    views = replace(views, taken=np.array([True, False, True]))
    given, frames = fusing_input(views, CAMERA)
    assert given[:, -1].tolist() == [1, 0, 1]
    none, some = (
        fused_output(np.full((3, OUTPUTS), size, np.float32), views, frames, CAMERA)
        for size in (0.0, 0.2)
    )
    pose = [joints[1] - joints[1, ROOT] for joints in (none[0], some[0])]
    others = np.arange(JOINTS) != ROOT
    np.testing.assert_allclose(
        np.linalg.norm(pose[1] - pose[0], axis=1)[others], 0.12**0.5, rtol=1e-3
    )
    np.testing.assert_allclose(some[0][1, ROOT], none[0][1, ROOT], atol=1e-5)
    away = [np.linalg.norm(joints[1, ROOT]) for joints in (some[0], views.closed_3d)]
    assert away[0] == pytest.approx(away[1], rel=1e-5)
    np.testing.assert_allclose(
        CAMERA.project(some[0][1, ROOT]), views.closed_2d[1, ROOT], atol=0.01
    )
    np.testing.assert_allclose(some[1][1], none[1][1], atol=1e-3)
    assert (np.abs(some[0][0, ROOT] - none[0][0, ROOT]) > 0.05).any()


def test_nobody_is_moved_far_along_the_ray() -> None:
    views, _ = at(ROOTS)
    _, frames = fusing_input(views, CAMERA)
    output = np.zeros((3, OUTPUTS), np.float32)
    output[:, 3 * ROOT + 2] = (40.0, -40.0, 0.3)
    joints, _ = fused_output(output, views, frames, CAMERA)
    moved = np.linalg.norm(joints[:, ROOT], axis=1) / frames.distance
    np.testing.assert_allclose(np.log(moved), (0.5, -0.5, 0.3), atol=1e-5)
    # Nor to the side: a metre at most.
    output = np.full((3, OUTPUTS), 50.0, np.float32)
    joints, _ = fused_output(output, views, frames, CAMERA)
    beside = frames.turned(joints[:, ROOT, None])[:, 0]
    np.testing.assert_allclose(
        beside[:, :2] / beside[:, 2:] * frames.distance[:, None], 1, atol=1e-5
    )


def test_an_answer_of_another_shape_is_refused() -> None:
    views, _ = at(ROOTS)
    _, frames = fusing_input(views, CAMERA)
    with pytest.raises(InputError, match=r"shape \(2, 75\), expected \(3, 75\): one row for each"):
        fused_output(np.zeros((2, OUTPUTS), np.float32), views, frames, CAMERA)
