"""People whose pelvis is out of the picture, from the image to metres."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from smap_ros.bodies import INFERRED_SCORE
from smap_ros.camera import Camera
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.smap.necks import with_inferred
from smap_ros.skeletons import MPI15
from tests.conftest import outputs_of

BRIGHT = 250
ROOT, NECK = MPI15.root, MPI15.index("neck")
# Near somebody and somebody whole; the pelvis of the first is 140 px below the picture.
ROOTS = [[-0.5, 0.6, 0.95], [1.2, 0.2, 3.5]]


@pytest.fixture
def near(scene_maker, make_bundle, scene_onnx):
    """A scene of both, and a function that makes an estimator with what its network tells."""
    scene = scene_maker(ROOTS)

    def make(told=("neck_depth", "neck_pose"), spread=None, manifest=None, **options):
        labels = {**scene.maps(), "pose": scene.poses()}
        labels |= {name: label for name, label in scene.necks().items() if name in told}
        if spread is not None:
            grid = labels["maps"].shape[2:]
            label = np.array(spread, np.float32)[None, :, None, None]
            labels["depth_spread"] = np.broadcast_to(label, (1, 2, *grid)).copy()
        bundle = make_bundle(
            scene, scene_onnx(labels), outputs=outputs_of(labels), **(manifest or {})
        )
        return create_estimator(bundle, "onnxruntime", threads=1, **options)

    return scene, make


def test_the_near_one_is_found_and_their_pelvis_is_said_to_be_guessed(near) -> None:
    scene, make = near
    frame = make().estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 2
    body, truth = frame.bodies[0], scene.joints[0]
    pixels = scene.camera.project(truth)
    inside = ((pixels > 4) & (pixels < (1276, 716))).all(axis=1)
    assert not inside[ROOT] and inside[NECK]
    # What is out of the picture is missing, or a guess: never measured.
    assert (body.scores[~inside] <= INFERRED_SCORE).all()
    assert (body.scores[inside] > INFERRED_SCORE).all()
    assert body.scores[ROOT] == np.float32(INFERRED_SCORE)
    np.testing.assert_allclose(body.root, truth[ROOT], atol=0.03)
    np.testing.assert_allclose(body.joints_3d[NECK], truth[NECK], atol=0.03)
    assert body.joints_2d[ROOT, 1] > 720
    assert body.score == pytest.approx(float(body.scores[inside].sum()) / 15, rel=1e-4)


@pytest.mark.parametrize("told", [(), ("neck_depth", "neck_pose")])
def test_without_necks_only_the_whole_one_is_found(near, told) -> None:
    scene, make = near
    frame = make(told, necks=False).estimate(scene.image(BRIGHT), scene.camera)
    assert len(frame) == 1
    np.testing.assert_allclose(frame.bodies[0].root, scene.joints[1, ROOT], atol=0.03)


def test_the_mirrored_look_finds_them_too(near) -> None:
    scene, make = near
    wide = make(flip_test=True).estimate(scene.image(BRIGHT), scene.camera)
    # The scene's network shows the same in both: a mirrored neck isn't where a neck is, and the
    # mean of two unlike maps tells nobody's depth; what counts is that the shapes go together.
    assert all(np.isfinite(body.root).all() for body in wide)


def test_depths_say_how_sure_they_are(near) -> None:
    scene, make = near
    estimator = make(spread=(0.05, 0.2), manifest={"depth_error": 1.5})
    by_neck, by_pelvis = estimator.estimate(scene.image(BRIGHT), scene.camera).bodies
    assert by_neck.depth_std == pytest.approx(1.5 * 0.2 * by_neck.root[2], rel=1e-3)
    assert by_pelvis.depth_std == pytest.approx(1.5 * 0.05 * by_pelvis.root[2], rel=1e-3)
    constant = make(manifest={"depth_error": 0.1}).estimate(scene.image(BRIGHT), scene.camera)
    assert constant.bodies[1].depth_std == pytest.approx(0.1 * by_pelvis.root[2], rel=1e-3)
    unknown = make().estimate(scene.image(BRIGHT), scene.camera)
    assert all(np.isnan(body.depth_std) for body in unknown)


def test_a_size_prior_moves_people_and_needs_to_know_the_error(near) -> None:
    scene, make = near
    known = {"depth_error": 0.2}
    plain = make(manifest=known).estimate(scene.image(BRIGHT), scene.camera).bodies[1]
    prior = {"size_prior_weight": 1.0, "size_prior_mean": 2.2, "size_prior_spread": 0.05}
    moved = make(manifest=known, **prior).estimate(scene.image(BRIGHT), scene.camera)
    assert moved.bodies[1].root[2] > 1.1 * plain.root[2]
    assert moved.bodies[1].depth_std < plain.depth_std
    with pytest.raises(InputError, match="says nothing of depth_error"):
        make(**prior)
    with pytest.raises(InputError, match="size_prior_mean"):
        make(manifest=known, size_prior_mean=-1)
    told = {**known, "size_prior": {"weight": 1.0, "mean": 2.2, "spread": 0.05}}
    by_bundle = make(manifest=told).estimate(scene.image(BRIGHT), scene.camera)
    np.testing.assert_allclose(by_bundle.bodies[1].root, moved.bodies[1].root)
    off = make(manifest=told, size_prior_weight=0.0).estimate(scene.image(BRIGHT), scene.camera)
    np.testing.assert_allclose(off.bodies[1].root, plain.root)


def test_half_of_the_outputs_is_refused(near) -> None:
    _, make = near
    with pytest.raises(BundleError, match="neck_depth and neck_pose go together"):
        make(("neck_depth",))


@pytest.mark.parametrize("lens", [(), (-0.25, 0.07, 0.001, -0.0005, 0.0)])
def test_two_halves_of_a_person_are_one(scene_maker, make_bundle, scene_onnx, lens) -> None:
    """The limb between neck and pelvis isn't seen: each root leads to its half."""
    camera = replace(Camera.from_fov(1280, 720, np.deg2rad(80)), distortion=lens)
    scene = scene_maker([[0.1, 0.1, 3.0], [2.0, 0.2, 5.0]], camera)
    labels = {**scene.maps(), "pose": scene.poses(), **scene.necks()}
    torso = MPI15.limbs.index((NECK, ROOT))
    labels["maps"][:, 15 + 2 * torso : 17 + 2 * torso] = 0
    bundle = make_bundle(scene, scene_onnx(labels), outputs=outputs_of(labels))
    estimator = create_estimator(bundle, "onnxruntime", threads=1)
    frame = estimator.estimate(scene.image(BRIGHT), camera)
    assert len(frame) == 2
    for body, truth in zip(frame, scene.joints, strict=True):
        assert (body.scores > INFERRED_SCORE).all()
        assert np.linalg.norm(body.joints_3d - truth, axis=-1).max() < 0.08


def test_joints_in_the_bars_beside_a_picture_are_guesses() -> None:
    camera = Camera.from_fov(320, 240, np.deg2rad(60))
    joints = np.full((1, 15, 3), (0.0, 0.0, 2.0), np.float32)
    pixels = np.full((1, 15, 2), 100.0, np.float32)
    pixels[0, 3], pixels[0, 4], pixels[0, 5] = (-6, 100), (100, 250), (319, 239)
    scores = np.full((1, 15), 0.7, np.float32)
    scores[0, 6], pixels[0, 6] = 0, np.nan
    _, certain, image = with_inferred(joints, scores, pixels, camera)
    guessed = certain[0] == np.float32(INFERRED_SCORE)
    assert np.flatnonzero(guessed).tolist() == [3, 4, 6]
    np.testing.assert_allclose(image[0, 6], camera.project(joints[0, 6]), atol=1e-4)
