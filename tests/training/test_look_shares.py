"""Shares of the second look, fitted to what each look gets wrong."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import Bundle, write_bundle
from smap_ros.bundles.manifest.second_look import ShareWeights
from smap_ros.errors import InputError
from smap_ros.estimators.second_look.fusing import share_of
from smap_ros.evaluation.common.scenes import Scene
from smap_train.export.look_shares import Joints, fitted, measured_shares
from smap_train.export.second_look import add_measured
from smap_train.models.checkpoint import save_checkpoint
from smap_train.models.landmarks import Landmarks
from tests.estimators.smap.test_twice import answers
from tests.second_look_bundle import second_look, second_model

COUNT = 4000


def joints(first_off: np.ndarray, second_off: np.ndarray, scores: np.ndarray) -> Joints:
    """Looks whose deviations from the truth are given, in the picture."""
    random = np.random.default_rng(1)
    one, two = (off[:, None] * random.normal(0, 1, (COUNT, 2)) for off in (first_off, second_off))
    return Joints(one, two, scores)


def scored(second: np.ndarray) -> np.ndarray:
    return np.stack([np.full(COUNT, 0.5), second, np.full(COUNT, 0.05)], axis=1)


def test_the_look_that_is_right_gets_the_joint():
    good, bad = np.full(COUNT, 0.01), np.full(COUNT, 0.2)
    for pair, expected in (((good, bad), 0.0), ((bad, good), 1.0)):
        weights, told = fitted(joints(*pair, scored(np.full(COUNT, 0.9))), ShareWeights())
        share = share_of(weights, 0.5, 0.9, 0.05)
        assert share == pytest.approx(expected, abs=0.03)
        assert told["both"] < 1.05 * min(told["first"], told["second"])


def test_two_looks_that_are_equally_wrong_get_half_each():
    off = np.full(COUNT, 0.1)
    weights, told = fitted(joints(off, off, scored(np.full(COUNT, 0.9))), ShareWeights(bias=3))
    assert share_of(weights, 0.5, 0.9, 0.05) == pytest.approx(0.5, abs=0.07)
    assert told["both"] < 0.8 * told["first"]


def test_where_a_look_is_sure_decides():
    """The second look is right where it says so, and wrong where not."""
    sure = np.random.default_rng(0).random(COUNT) < 0.5
    second = np.where(sure, 0.01, 0.3)
    weights, told = fitted(
        joints(np.full(COUNT, 0.08), second, scored(np.where(sure, 0.95, 0.2))), ShareWeights()
    )
    assert share_of(weights, 0.5, 0.95, 0.05) > 0.85 and share_of(weights, 0.5, 0.2, 0.05) < 0.15
    assert told["both"] < 0.7 * told["first"]


def test_joints_that_are_lost_count_alike_however_far():
    """A tenth of the second look's joints are far off; elsewhere it is right, and is taken."""
    second = np.full(COUNT, 0.01)
    second[: COUNT // 10] = 100.0
    weights, _ = fitted(
        joints(np.full(COUNT, 0.2), second, scored(np.full(COUNT, 0.9))), ShareWeights()
    )
    assert share_of(weights, 0.5, 0.9, 0.05) > 0.9


@pytest.fixture
def looked(tmp_path, scene_maker, scene_onnx, scene_manifest):
    """A bundle whose second look says one pose of everybody, and pictures of these people."""

    scene = scene_maker(np.array([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]]))

    def make(pose: np.ndarray, presence: float = 1.0) -> tuple[Bundle, list[Scene]]:
        model, second = tmp_path / "model.onnx", tmp_path / "second_source.onnx"
        model.write_bytes(scene_onnx(scene.maps()))
        second.write_bytes(second_model(answers(), pose, presence))
        manifest = scene_manifest(second_look=second_look())
        bundle = write_bundle(tmp_path / "scene", manifest, model, second=second)
        pixels = scene.camera.project(scene.joints)
        bodies = tuple(
            Body(xyz.astype(np.float32), uv.astype(np.float32), np.ones(15, np.float32), 1.0)
            for xyz, uv in zip(scene.joints, pixels, strict=True)
        )
        true = Scene(
            key=0, frame=BodyFrame(bodies, scene.camera), visibility=np.full((3, 15), 2, np.uint8),
            boxes=np.ones((3, 4)), read=lambda: scene.image(250),
        )  # fmt: skip
        return bundle, [true] * 20

    return make


def test_shares_of_a_bundle_are_measured_in_pixels_and_metres(looked):
    """The second look says that everybody is a point: in space it gets nothing."""
    bundle, scenes = looked(np.zeros((15, 3)))
    spec, told = measured_shares(bundle, scenes, "onnxruntime")
    assert told["first_mm"] < 40 < 300 < told["second_mm"]
    assert told["both_mm"] < told["first_mm"] + 5
    assert share_of(spec.in_space, 0.9, 0.9, 0.02) < 0.05
    assert told["first_px"] < 3 and told["both_px"] <= told["second_px"] + 0.1


def test_a_second_look_that_never_counts_is_refused(looked):
    bundle, scenes = looked(np.zeros((15, 3)), presence=0.01)
    with pytest.raises(InputError, match=r"counts for 0 people .*presence of 0.5 on"):
        measured_shares(bundle, scenes, "onnxruntime")


def test_too_few_people_are_refused_and_nothing_is_written(looked, tmp_path):
    bundle, scenes = looked(np.zeros((15, 3)))
    before = {path.name: path.read_bytes() for path in bundle.folder.iterdir()}
    source = tmp_path / "landmarks.pth"
    save_checkpoint(source, "landmarks", Landmarks().state_dict())
    with pytest.raises(InputError, match="expected 50 at least"):
        add_measured(source, bundle.folder, scenes[:2], engine="onnxruntime")
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == before
