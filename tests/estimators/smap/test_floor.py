"""People put on a floor whose place is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import ANKLE_HEIGHT, INFERRED_SCORE, Body
from smap_ros.camera import Camera
from smap_ros.errors import CameraError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.smap.floor import Floor
from smap_ros.geometry.mounting import Mounting, level_pose
from smap_ros.skeletons import MPI15

BRIGHT = 250
ROOT = MPI15.root
ANKLES = [MPI15.index("l_ankle"), MPI15.index("r_ankle")]
# Pelvises of people who stand on one floor, whose ankles are 0.88 m lower.
ROOTS = [[-1.0, 0.5, 4.0], [0.3, 0.5, 5.0], [1.4, 0.5, 6.5]]
HEIGHT = 0.5 + 0.88 + ANKLE_HEIGHT
LEVEL = Mounting(HEIGHT)
WRONG = 1.2  # as much farther are people told than they are
OWN = 0.15  # deviation of the logarithm of their depth


def body_of(joints, camera: Camera, std: float = OWN) -> Body:
    joints = np.asarray(joints, np.float32)
    pixels = camera.project(joints).astype(np.float32)
    return Body(
        joints, pixels, np.full(15, 0.8, np.float32), 0.9, depth_std=std * float(joints[ROOT, 2])
    )


def on_floor(bodies, camera: Camera) -> tuple[Body, ...]:
    return Floor()(bodies, camera)


@pytest.fixture
def people(scene_maker):
    scene = scene_maker(ROOTS)
    return scene.joints, replace(scene.camera, mounting=LEVEL)


def depths(bodies) -> np.ndarray:
    return np.array([body.root[2] for body in bodies])


def test_people_told_too_far_come_back_and_appear_as_they_did(people):
    joints, camera = people
    told = [body_of(WRONG * person, camera) for person in joints]
    put = on_floor(told, camera)
    before, after = depths(told) / joints[:, ROOT, 2] - 1, depths(put) / joints[:, ROOT, 2] - 1
    assert (np.abs(after) < 0.35 * before).all() and (after > 0).all()
    for one, other in zip(told, put, strict=True):
        np.testing.assert_allclose(
            camera.project(other.joints_3d), camera.project(one.joints_3d), atol=0.01
        )
        assert np.array_equal(one.joints_2d, other.joints_2d)
        assert other.depth_std < 0.6 * one.depth_std


def test_people_in_their_places_stay_and_are_surer(people):
    joints, camera = people
    told = [body_of(person, camera) for person in joints]
    for one, other in zip(told, on_floor(told, camera), strict=True):
        np.testing.assert_allclose(other.joints_3d, one.joints_3d, rtol=1e-5)
        assert other.depth_std < 0.6 * one.depth_std


def test_who_is_sure_of_the_distance_moves_less(people):
    joints, camera = people
    moved = []
    for std in (0.02, 0.1, 0.3):
        told = body_of(WRONG * joints[1], camera, std)
        (put,) = on_floor([told], camera)
        moved.append(1 - float(put.root[2] / told.root[2]))
    assert 0 < moved[0] < 0.02 < moved[1] < moved[2] < 1 - 1 / WRONG


def test_a_camera_that_is_tilted_sees_the_same(people):
    """Turned about its own place, with its mounting, the camera tells the same distances."""
    joints, camera = people
    expected = np.linalg.norm(
        [b.root for b in on_floor([body_of(WRONG * p, camera) for p in joints], camera)], axis=1
    )
    level, _ = level_pose(0.0, 0.0, HEIGHT, 0.0)
    for roll, pitch in ((0.0, 0.4), (0.6, 0.0), (-1.2, 0.3), (math.pi, -0.2), (0.2, 0.9)):
        tilted, _ = level_pose(roll, pitch, HEIGHT, 0.0)
        turn = tilted @ level.T
        mounted = replace(
            camera, width=40_000, height=40_000, cx=2e4, cy=2e4,
            mounting=Mounting(HEIGHT, pitch, roll),
        )  # fmt: skip
        told = [body_of(WRONG * p @ turn.T, mounted) for p in joints]
        assert min(float(body.joints_3d[:, 2].min()) for body in told) > 0
        put = on_floor(told, mounted)
        got = sorted(np.linalg.norm([b.root for b in put], axis=1))
        # Whose depth differs is as unsure in metres: the share of the floor is the same.
        np.testing.assert_allclose(got, sorted(expected), rtol=1e-3)


def test_who_is_far_off_the_floor_is_moved_less_the_farther_off(people):
    joints, camera = people
    factors = []
    for metres in (0.1, 0.3, 0.6, 1.0, 1.3):
        raised = joints[0] - np.array([0, metres, 0])
        told = body_of(raised, camera, 0.07)
        (put,) = on_floor([told], camera)
        factors.append(math.log(float(put.root[2] / told.root[2])))
    assert all(0 <= factor < 0.12 for factor in factors)
    assert factors[-1] < factors[2]  # on a ladder, feet as high as the camera say nothing


@pytest.mark.parametrize("case", ["cut", "missing", "guessed", "climbing", "low camera"])
def test_whose_feet_say_nothing_stays_as_told(people, case):
    joints, camera = people
    person = joints[0] * WRONG
    told = body_of(person, camera)
    if case == "cut":
        camera = replace(camera, height=int(told.joints_2d[ANKLES, 1].min()) - 5)
    elif case == "missing":
        points, scores = told.joints_3d.copy(), told.scores.copy()
        points[ANKLES], scores[ANKLES] = np.nan, 0
        told = replace(told, joints_3d=points, scores=scores)
    elif case == "guessed":
        scores = told.scores.copy()
        scores[ANKLES] = INFERRED_SCORE
        told = replace(told, scores=scores)
    elif case == "climbing":
        told = body_of(person - np.array([0, person[ANKLES, 1].max() + 0.1, 0]), camera)
    else:
        camera = replace(camera, mounting=Mounting(ANKLE_HEIGHT))
    (put,) = on_floor([told], camera)
    np.testing.assert_allclose(put.joints_3d, told.joints_3d, rtol=1e-6)
    assert put.depth_std == pytest.approx(told.depth_std, rel=1e-6)


def test_one_ankle_in_the_picture_is_enough(people):
    joints, camera = people
    told = body_of(WRONG * joints[0], camera)
    points, scores = told.joints_3d.copy(), told.scores.copy()
    points[ANKLES[0]], scores[ANKLES[0]] = np.nan, 0
    (put,) = on_floor([replace(told, joints_3d=points, scores=scores)], camera)
    assert put.root[2] < 0.9 * told.root[2]


def test_people_are_told_nearest_first_as_ever(people):
    joints, camera = people
    near, far = body_of(1.35 * joints[0], camera, 0.3), body_of(joints[1], camera, 0.05)
    assert near.root[2] > far.root[2]
    put = on_floor([far, near], camera)
    assert put[0].root[0] < 0 and (np.diff(depths(put)) > 0).all()
    assert on_floor([], camera) == ()


@pytest.fixture
def told_too_far(scene_maker, make_bundle, scene_onnx):
    """A function that makes an estimator whose network tells everybody too far away."""
    scene = scene_maker(ROOTS)
    labels = scene.maps()
    labels["root_depth"] = labels["root_depth"] * WRONG
    labels["bone_depth"] = labels["bone_depth"] * WRONG

    def make(depth_error: float = OWN, **options):
        bundle = make_bundle(scene, scene_onnx(labels), depth_error=depth_error)
        return create_estimator(bundle, "onnxruntime", threads=1, **options)

    return scene, make


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "of the camera"])
def test_an_estimator_uses_the_floor_if_it_is_asked_to(told_too_far, stated):
    scene, make = told_too_far
    camera = scene.camera if stated else replace(scene.camera, mounting=LEVEL)
    image, true = scene.image(BRIGHT), scene.joints[:, ROOT, 2]
    options = {"camera_height": HEIGHT} if stated else {}
    far = make().estimate(image, camera)
    put = make(on_floor=True, **options).estimate(image, camera)
    assert far.camera == put.camera == camera
    np.testing.assert_allclose(depths(far) / true, WRONG, atol=0.03)
    assert (np.abs(depths(put) / true - 1) < 0.35 * (WRONG - 1)).all()
    assert (np.array([b.depth_std for b in put]) < [b.depth_std for b in far]).all()


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "of the camera"])
def test_a_camera_on_its_side_takes_its_roll_along(told_too_far, stated):
    scene, make = told_too_far
    upright = make(on_floor=True, camera_height=HEIGHT).estimate(scene.image(BRIGHT), scene.camera)
    # Images of a camera on its side: the network is shown the same picture again.
    image = np.rot90(scene.image(BRIGHT), -1).copy()
    side = replace(
        scene.camera, width=720, height=1280, fx=scene.camera.fy, fy=scene.camera.fx,
        cx=719 - scene.camera.cy, cy=scene.camera.cx,
    )  # fmt: skip
    if stated:
        rolled = make(on_floor=True, camera_height=HEIGHT, camera_roll_deg=90.0)
    else:
        rolled, side = make(on_floor=True), replace(side, mounting=Mounting(HEIGHT, 0, math.pi / 2))
    turned = rolled.estimate(image, side)
    np.testing.assert_allclose(depths(turned), depths(upright), rtol=1e-3)


def test_without_a_floor_it_is_said_what_to_do(told_too_far):
    scene, make = told_too_far
    with pytest.raises(CameraError, match=r"on_floor is true, but where the floor .* world_frame"):
        make(on_floor=True).estimate(scene.image(BRIGHT), scene.camera)
    with pytest.raises(InputError, match=r"camera_pitch_deg stated without camera_height"):
        make(on_floor=True, camera_pitch_deg=10.0)
    with pytest.raises(InputError, match=r"unknown options \['camera_height'\]; kind smap"):
        make(camera_height=1.2)
    with pytest.raises(InputError, match=r"camera_height is 0.0; expected 0.01 to 100"):
        make(on_floor=True, camera_height=0.0)


def test_a_bundle_that_does_not_say_how_wrong_it_is_takes_no_floor(told_too_far):
    _, make = told_too_far
    with pytest.raises(InputError, match=r"on_floor is true, but bundle 'scene' says nothing of"):
        make(depth_error=0.0, on_floor=True, camera_height=HEIGHT)


def test_feet_that_contradict_the_floor_are_told_once_they_are_many(people, caplog):
    joints, camera = people
    low = replace(camera, mounting=Mounting(HEIGHT / 2))
    floor = Floor()
    told = [body_of(person, camera) for person in joints]
    with caplog.at_level("WARNING"):
        for _ in range(33):
            floor(told, low)
        assert not caplog.records
        for _ in range(40):
            floor(told, low)
    (record,) = caplog.records  # not at every image
    text = record.getMessage()
    assert "a camera 0.73 m above it puts them 53 % nearer" in text
    assert f"a height of {HEIGHT:.2f} m would fit" in text and "pitch" in text
    notes = floor.notes(low)
    assert notes["camera above the floor [m]"] == pytest.approx(HEIGHT / 2)
    assert notes["camera above people's feet [m]"] == pytest.approx(HEIGHT, abs=0.01)


def test_feet_on_the_floor_are_nothing_to_tell(people, caplog):
    joints, camera = people
    floor = Floor()
    for _ in range(70):
        floor([body_of(1.05 * person, camera) for person in joints], camera)
    assert not caplog.records
