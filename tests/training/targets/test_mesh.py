"""3DCrowdNet's targets: labelled joints and fitted bodies say the same of the same person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smap_ros.skeletons import SMPL30
from smap_train.data.layouts.fits import Fits, fit_row
from smap_train.data.layouts.persons import PersonRecord
from smap_train.data.person_crop import View, matrix_of, person_crop, viewed
from smap_train.models.crowdnet.body import ROOT, CrowdBody
from smap_train.recipes.crowdnet import fill_body
from smap_train.targets.mesh import POSE_MASK, annotated, fit_joints, fitted

FOCAL, CENTER, SIZE = (500.0, 510.0), (320.0, 240.0), (640, 480)


@pytest.fixture(scope="module")
def body() -> CrowdBody:
    body = CrowdBody().eval()
    fill_body(body, None)
    return body


def fit(seed: int = 0) -> dict:
    random = np.random.default_rng(seed)
    pose = 0.2 * random.standard_normal(72)
    pose[:3] = (np.pi - 0.2, 0.1, 0.05)  # upright in a camera whose y points down
    return {
        "pose": pose.tolist(), "shape": (0.3 * random.standard_normal(10)).tolist(),
        "trans": [0.2, 0.1, 4.0],
    }  # fmt: skip


def record_of(body: CrowdBody, row: np.ndarray) -> PersonRecord:
    """A person whose labelled joints are those of their fit."""
    pose, shape, place, rotation, translation = np.split(row[0], [72, 82, 85, 94])
    points = (fit_joints(body, pose, shape) + place) @ rotation.reshape(3, 3).T + translation
    pixels = points[:, :2] / points[:, 2:] * FOCAL + CENTER
    low, high = pixels.min(0), pixels.max(0)
    return PersonRecord(
        Path("none.jpg"), *SIZE, np.concatenate([low, high - low]),
        np.column_stack([pixels, points, np.ones(30)]), SMPL30,
        camera=np.array([*FOCAL, *CENTER]), fit=row,
    )  # fmt: skip


VIEWS = [View(), View(flip=True), View(scale=1.1, turn_deg=30), View(turn_deg=-20, flip=True)]


@pytest.mark.parametrize("view", VIEWS)
def test_a_fit_says_what_its_own_joints_say(body, view):
    record = record_of(body, fit_row(fit()))
    matrix = matrix_of(person_crop(record, 256), view, SIZE[0])
    seen = viewed(record.person(SMPL30), matrix, view, SMPL30.flip)
    labelled, own = annotated(seen, view), fitted(record, body, matrix, view)
    np.testing.assert_allclose(own["fit_joints_img"], labelled["joints_img"], atol=1e-6)
    np.testing.assert_allclose(own["fit_joints_cam"], labelled["joints_cam"], atol=1e-9)
    np.testing.assert_array_equal(own["fit_joints_img_mask"], labelled["joints_img_mask"])
    assert labelled["has_3d"] and own["has_fit"] == 1
    assert labelled["joints_img_mask"].mean() > 0.9
    np.testing.assert_allclose(labelled["joints_img"][ROOT, 2], 32)


@pytest.mark.parametrize("turn", [0.0, 30.0])
def test_the_turned_pose_gives_the_turned_joints(body, turn):
    """The body posed as the target says has the joints that the target says."""
    record = record_of(body, fit_row(fit()))
    view = View(turn_deg=turn)
    matrix = matrix_of(person_crop(record, 256), view, SIZE[0])
    target = fitted(record, body, matrix, view)
    joints = fit_joints(body, target["pose"], target["shape"])
    np.testing.assert_allclose(joints - joints[ROOT], target["fit_joints_cam"], atol=1e-4)


def test_a_mirrored_pose_is_the_partners_with_two_signs_changed(body):
    record = record_of(body, fit_row(fit()))
    matrix = matrix_of(person_crop(record, 256), View(flip=True), SIZE[0])
    pose = fitted(record, body, matrix, View(flip=True))["pose"].reshape(-1, 3)
    given = np.array(fit()["pose"]).reshape(-1, 3)
    np.testing.assert_allclose(pose[1], given[2] * (1, -1, -1))  # the left hip is the right one's
    np.testing.assert_allclose(pose[0], given[0] * (1, -1, -1), atol=1e-6)


def test_a_fit_in_the_world_comes_to_the_camera(body):
    """Human3.6M's: R X + t in millimetres."""
    angle = 0.3
    rotation = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    row = fit_row(fit(), {"R": rotation, "t": [100.0, 0.0, 500.0]})
    record = record_of(body, row)
    matrix = matrix_of(person_crop(record, 256), View(), SIZE[0])
    target = fitted(record, body, matrix, View())
    joints = fit_joints(body, target["pose"], target["shape"])
    np.testing.assert_allclose(joints - joints[ROOT], target["fit_joints_cam"], atol=1e-4)
    plain = fit_joints(body, row[0, :72], row[0, 72:82]) + row[0, 82:85]
    np.testing.assert_allclose(
        record.joints[:, 2:5], plain @ np.array(rotation).T + (0.1, 0, 0.5), atol=1e-9
    )


def test_impossible_fits_and_people_without_one(body):
    assert not fit_row({**fit(), "shape": [5.0] + [0.0] * 9})[0, 72:82].any()
    record = record_of(body, fit_row(fit()))
    for without in (
        PersonRecord(**{**vars(record), "fit": record.fit[:0]}),
        PersonRecord(**{**vars(record), "camera": np.zeros(4)}),
    ):
        assert fitted(without, body, np.eye(2, 3), View())["has_fit"] == 0
    kept = {"1": {"smpl_param": fit(), "fit_err": 9.0}, "2": {"smpl_param": fit(), "fit_err": 2.0}}
    camera = {"focal": [1.0, 2.0], "princpt": [3.0, 4.0]}
    kept["1"]["cam_param"] = camera
    bare = PersonRecord(**{**vars(record), "fit": record.fit[:0]})
    assert Fits(kept).of(1, bare).camera.tolist() == [1, 2, 3, 4]
    assert len(Fits(kept).of(1, bare).fit) == 1
    assert len(Fits(kept).of(2, bare).fit) == 0  # an error below 5: upside down
    assert len(Fits(kept).of(3, bare).fit) == 0
    assert POSE_MASK.sum() == 72 - 3 * 8


@pytest.mark.parametrize("fields", [{"pose": [0.0] * 71}, {"trans": None}])
def test_a_malformed_fit_is_an_error(fields):
    with pytest.raises((ValueError, TypeError)):
        fit_row({**fit(), **fields})
