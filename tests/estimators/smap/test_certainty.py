"""Scores that are probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.bodies import INFERRED_SCORE
from smap_ros.bundles.bundle import load_bundle, parse_manifest
from smap_ros.bundles.manifest.smap import PersonScore
from smap_ros.camera import Camera
from smap_ros.errors import BundleError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.smap.certainty import EVIDENCE, certainty, evidence
from smap_ros.evaluation.virtual.truth import open_scenes
from smap_ros.paths import config_directory
from smap_ros.skeletons import MPI15
from tests.conftest import BRIGHT, manifest

CAMERA = Camera(1000, 500, 800.0, 800.0, 499.5, 249.5)
WEIGHTS = PersonScore(bias=-1.0, joint_score=4.0, share_seen=2.0, depth_doubt=-0.5, size=1.0)


def standing(depth: float) -> np.ndarray:
    """Somebody whose limbs are 2.355 m long together, as those of a person of one metre are."""
    joints = np.zeros((15, 3), np.float32)
    joints[:, 2] = depth
    for parent, child in MPI15.limbs:
        joints[child, 0] = joints[parent, 0] + 2.355 / len(MPI15.limbs)
    return joints


def test_the_evidence_is_what_its_fields_say():
    scores = np.zeros((2, 15), np.float32)
    scores[0, :6], scores[0, 6:] = 0.5, INFERRED_SCORE
    scores[1] = 0.9
    joints = np.stack([standing(4.0), standing(2.0)])
    found = evidence(scores, joints, np.array([0.4, np.nan]), CAMERA)
    assert (found[:, EVIDENCE.index("presence")] == 0).all()  # there is no second look
    presence = np.array([0.5, np.nan])
    beyond = evidence(scores, joints, np.array([0.4, np.nan]), CAMERA, np.array([5.0, -5.0]))
    np.testing.assert_allclose(beyond[:, -1], [0, np.log(0.01)])  # no probabilities
    found = evidence(scores, joints, np.array([0.4, np.nan]), CAMERA, presence)
    rows = dict(zip(EVIDENCE, found.T, strict=True))
    np.testing.assert_allclose(rows["bias"], 1)
    np.testing.assert_allclose(rows["joint_score"], [0.5, 0.9], rtol=1e-6)
    np.testing.assert_allclose(rows["share_seen"], [6 / 15, 1])
    np.testing.assert_allclose(rows["depth_doubt"], [np.log(0.1), 0])  # 0: nothing is known
    np.testing.assert_allclose(rows["size"], np.log([0.8 / 4, 0.8 / 2]), rtol=1e-5)
    np.testing.assert_allclose(rows["presence"], [np.log(0.5), 0])  # 0: it didn't look
    logit = found @ [-1.0, 4.0, 2.0, -0.5, 1.0, 0.0]
    told = certainty(WEIGHTS, found)
    np.testing.assert_allclose(told, 1 / (1 + np.exp(-logit)), rtol=1e-5)
    assert told.dtype == np.float32


def test_nothing_makes_a_probability_that_isnt_one():
    joints = np.full((3, 15, 3), np.nan, np.float32)
    joints[1], joints[2] = standing(1e-9), standing(1e9)
    scores = np.array([[0.0] * 15, [1.0] * 15, [1.0] * 15], np.float32)
    for sign in (1e6, -1e6):
        weights = PersonScore(**{**dict.fromkeys(EVIDENCE, sign), "presence": 1e6})
        with np.errstate(over="raise", invalid="raise"):
            found = evidence(scores, joints, np.full(3, np.inf), CAMERA, np.array([0.0, 1, -1]))
            told = certainty(weights, found)
        assert ((told > 0) & (told < 1)).all()
    assert certainty(WEIGHTS, evidence(scores[:0], joints[:0], np.zeros(0), CAMERA)).shape == (0,)


def test_people_are_told_with_their_probability_and_the_doubtful_left_out(scene, make_bundle):
    image, camera = scene.image(BRIGHT), scene.camera
    plain = create_estimator(make_bundle(scene), "onnxruntime", threads=1).estimate(image, camera)
    weights = {"bias": -3.0, "joint_score": 4.0, "share_seen": 1.0, "size": 0.5}
    bundle = make_bundle(scene, person_score=weights, min_score=0.0)
    told = create_estimator(bundle, "onnxruntime", threads=1).estimate(image, camera)
    assert len(told.bodies) == len(plain.bodies) > 1
    for body, before in zip(told.bodies, plain.bodies, strict=True):
        np.testing.assert_array_equal(body.joints_3d, before.joints_3d)
        np.testing.assert_array_equal(body.scores, before.scores)
        found = evidence(body.scores[None], body.joints_3d[None], np.array([np.nan]), camera)
        assert body.score == pytest.approx(certainty(PersonScore(**weights), found)[0], abs=1e-6)
    scores = sorted(body.score for body in told.bodies)
    assert scores[0] < scores[-1]
    limit = (scores[0] + scores[1]) / 2
    for chosen in (
        create_estimator(bundle, "onnxruntime", threads=1, min_score=limit),
        create_estimator(
            make_bundle(scene, person_score=weights, min_score=limit), "onnxruntime", threads=1
        ),
    ):
        frame = chosen.estimate(image, camera)
        assert sorted(body.score for body in frame.bodies) == scores[1:]
        assert frame.dropped["low_score"] == 1


def test_doubt_can_only_count_where_it_is_known():
    weights = {"bias": 0.0, "joint_score": 1.0, "share_seen": 1.0, "depth_doubt": -1.0}
    files = {"model": {"path": "model.onnx", "sha256": "0" * 64}}
    with pytest.raises(BundleError, match=r"person_score\.depth_doubt is stated, but the bundle"):
        parse_manifest({**manifest(person_score=weights), "files": files})
    weights = {"bias": 0.0, "joint_score": 1.0, "share_seen": 1.0, "presence": 0.4}
    with pytest.raises(BundleError, match=r"person_score\.presence is stated, .* no second look"):
        parse_manifest({**manifest(person_score=weights), "files": files})
    with pytest.raises(BundleError, match=r"person_score\.presence.* greater than or equal to 0"):
        parse_manifest({**manifest(person_score={**weights, "presence": -1}), "files": files})


@pytest.mark.parametrize("name", [*EVIDENCE])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_weights_that_are_no_numbers_are_refused(name, value):
    """With one of them nobody would have a score, and everybody be left out without a word."""
    weights = {**dict.fromkeys(EVIDENCE, 0.5), name: value}
    files = {"model": {"path": "model.onnx", "sha256": "0" * 64}}
    with pytest.raises(BundleError, match=rf"person_score\.{name}: got "):
        parse_manifest({**manifest(person_score=weights), "files": files})


def test_people_come_nearest_first_and_their_evidence_with_them():
    """Refining and the second look move people after they were found in their order."""
    estimator = create_estimator("smap_lite", "onnxruntime", threads=1, min_score=0.0)
    scenes = open_scenes(config_directory() / "demo" / "truth.json")[::15]
    weights = load_bundle("smap_lite").manifest.person_score
    for scene in scenes:
        image, camera = scene.image(), scene.camera
        told = estimator.told(image, camera)
        depths = [float(body.root[2]) for body in told.bodies]
        assert depths == sorted(depths) and len(depths) > 1
        scores = [body.score for body in told.bodies]
        np.testing.assert_allclose(certainty(weights, told.evidence()), scores, atol=1e-6)
        assert [body.score for body in estimator.estimate(image, camera)] == scores
    estimator.close()
