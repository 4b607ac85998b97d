"""A second look at each person, from the image to metres, through real ONNX networks."""

from __future__ import annotations

import shutil
from contextlib import closing
from typing import ClassVar

import numpy as np
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from smap_ros.bundles.bundle import load_bundle, write_bundle
from smap_ros.camera import Camera
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.estimators.factory import create_chosen
from smap_ros.estimators.options import ModelChoice
from smap_ros.estimators.second_look.lanes import Lanes, Pace
from smap_ros.estimators.second_look.learned import INPUTS, JOINTS, OUTPUTS
from smap_ros.estimators.smap import estimator as estimator_module
from smap_ros.offline.bench import three_people
from smap_ros.skeletons import MPI15
from tests.conftest import outputs_of
from tests.second_look_bundle import SIZE, second_look, second_model

BRIGHT = 250
ROOT, WRIST = MPI15.root, MPI15.index("l_wrist")
# One standing person in a crop: joints about the middle, seen with 0.9.
UPRIGHT = np.array(
    [[0, -50], [0, -78], [0, 0], [20, -48], [28, -20], [30, 4], [10, 2], [12, 45], [12, 88],
     [-20, -48], [-28, -22], [-34, 0], [-10, 2], [-12, 45], [-13, 88]], float,
)  # fmt: skip


def answers(margin: float = 1.25) -> np.ndarray:
    """What a network sees that agrees with the scenes' people, [15, 3]."""
    reach = np.linalg.norm(UPRIGHT, axis=1).max()
    joints = (UPRIGHT / (2 * margin * reach) + 0.5) * SIZE
    return np.concatenate([joints, np.full((15, 1), 0.9)], axis=1)


def doubt(labels: dict[str, np.ndarray]) -> np.ndarray:
    """A network's word that depths are off by a tenth."""
    return np.full((1, 2, *labels["maps"].shape[2:]), 0.1, np.float32)


@pytest.fixture
def make(tmp_path, scene, scene_onnx, scene_manifest):
    """Make the estimator of the scene's people with a second look that says the same of each."""

    def create(
        joints=None,
        pose=None,
        presence=1.0,
        spec=None,
        changes=None,
        refining=None,
        fusing=None,
        threads=1,
        **options,
    ):
        model, second = tmp_path / "model.onnx", tmp_path / "second_source.onnx"
        labels = scene.maps()
        if fusing is not None:
            labels |= {"pose": scene.poses(ROOT), "depth_spread": doubt(labels)}
            changes = {"outputs": outputs_of(labels), **(changes or {})}
        model.write_bytes(scene_onnx(labels))
        pose = np.zeros((15, 3)) if pose is None else pose
        joints = answers() if joints is None else joints
        second.write_bytes(second_model(joints, pose, presence))
        manifest = scene_manifest(second_look=second_look(**(spec or {})), **(changes or {}))
        networks = {"second": second}
        if refining is not None:
            networks["refine"] = tmp_path / "refine_source.onnx"
            networks["refine"].write_bytes(refining)
        if fusing is not None:
            networks["fuse"] = tmp_path / "fuse_source.onnx"
            networks["fuse"].write_bytes(fusing)
        bundle = write_bundle(tmp_path / "scene", manifest, model, **networks)
        return create_estimator(bundle, "onnxruntime", threads, **options)

    return create


def test_poses_and_image_points_are_both_looks_and_places_the_firsts(make, scene) -> None:
    pose = np.zeros((15, 3))
    pose[WRIST] = (0.3, 0.1, -0.5)
    spec = {"in_space": {"bias": 50.0}, "in_picture": {"bias": -50.0}}
    plain = make(second_look=False).estimate(scene.image(BRIGHT), scene.camera)
    twice = make(pose=pose, spec=spec).estimate(scene.image(BRIGHT), scene.camera)
    assert len(plain) == len(twice) == 3
    assert not plain.notes and "second look" not in plain.timings_ms
    assert list(twice.timings_ms)[-2:] == ["second look", "placement"]
    for one, two in zip(plain, twice, strict=True):
        np.testing.assert_allclose(one.root, two.root, atol=1e-6)
        # The crop's axes are turned to the ray: the length is as told.
        away = two.joints_3d[WRIST] - two.root
        assert np.linalg.norm(away) == pytest.approx(np.linalg.norm(pose[WRIST]), rel=1e-3)
        np.testing.assert_allclose(one.joints_2d, two.joints_2d, atol=1e-2)


def test_image_points_move_to_what_the_second_look_sees(make, scene) -> None:
    joints = answers()
    joints[WRIST, 0] += 4
    spec = {"in_picture": {"bias": 50.0}, "in_space": {"bias": -50.0}}
    plain = make(second_look=False).estimate(scene.image(BRIGHT), scene.camera)
    twice = make(joints=joints, spec=spec).estimate(scene.image(BRIGHT), scene.camera)
    for one, two in zip(plain, twice, strict=True):
        side = 2.5 * np.linalg.norm(one.joints_2d - one.joints_2d[ROOT], axis=1).max()
        moved = two.joints_2d - one.joints_2d
        # All agree to a few pixels of the crop but the wrist, which is 4 of them to the right.
        assert np.abs(moved[:, 1]).max() < 0.06 * side
        assert moved[WRIST, 0] - np.median(moved[:, 0]) > 0.03 * side
        np.testing.assert_allclose(two.scores, 0.9, rtol=1e-6)
        # The joint in metres is where it is seen.
        projected = scene.camera.project(two.joints_3d)
        np.testing.assert_allclose(projected, two.joints_2d, atol=0.5)


def refining_to_the_same() -> bytes:
    """A refining network that leaves everybody as they are."""
    weights = np.zeros((15, 5, 15, 3), np.float32)
    for joint in set(range(15)) - {ROOT}:
        weights[joint, 2:, joint] = np.eye(3)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "weights"], ["out"])],
        "refine",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["people", 75])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["people", 45])],
        [numpy_helper.from_array(weights.reshape(75, 45), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return model.SerializeToString()


def test_a_refined_pose_is_halfway_to_that_of_both_looks_joints(make, scene) -> None:
    joints = answers()
    joints[WRIST, 0] += 4
    how = {"joints": joints, "spec": {"in_picture": {"bias": 50.0}, "in_space": {"bias": -50.0}}}
    image, camera = scene.image(BRIGHT), scene.camera
    once = make(refining=refining_to_the_same(), second_look=False).estimate(image, camera)
    moved = make(**how).estimate(image, camera)
    halfway = make(refining=refining_to_the_same(), **how).estimate(image, camera)
    assert len(once) == len(moved) == len(halfway) == 3
    for one, two, both in zip(once, moved, halfway, strict=True):
        np.testing.assert_allclose(both.root, one.root, atol=1e-5)  # places are the first look's
        first, second, pose = (body.joints_3d - body.root for body in (one, two, both))
        assert np.abs(second - first).max() > 0.05
        np.testing.assert_allclose(pose, (first + second) / 2, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "refused"),
    [({"presence": 0.2}, 3), ({"joints": answers() + (20, 0, 0)}, 3), ({}, 0)],
    ids=["nobody there", "somebody else", "agrees"],
)
def test_who_disagrees_keeps_the_first_look(make, scene, change, refused) -> None:
    plain = make(second_look=False).estimate(scene.image(BRIGHT), scene.camera)
    twice = make(pose=np.ones((15, 3)), **change).estimate(scene.image(BRIGHT), scene.camera)
    assert twice.notes["second looks"] == 3 and twice.notes["second looks refused"] == refused
    for one, two in zip(plain, twice, strict=True):
        same = np.allclose(one.joints_3d, two.joints_3d, equal_nan=True)
        assert same == bool(refused)


@pytest.mark.parametrize("told", [np.nan, np.inf, 4.0, -1e6, 3e38])
def test_an_answer_that_is_no_number_or_nobodys_is_no_answer(make, scene, told) -> None:
    plain = make(second_look=False).estimate(scene.image(BRIGHT), scene.camera)
    pose = np.zeros((15, 3))
    pose[WRIST, 2] = told
    twice = make(pose=pose).estimate(scene.image(BRIGHT), scene.camera)
    assert twice.notes["second looks refused"] == 3
    for one, two in zip(plain, twice, strict=True):
        np.testing.assert_array_equal(one.joints_3d, two.joints_3d)


def test_in_an_empty_picture_nobody_is_looked_at(make, scene) -> None:
    frame = make().estimate(scene.image(128), scene.camera)
    assert len(frame) == 0 and frame.notes["second looks"] == 0


class Slow(Lanes):
    """A network that takes 10 ms a crop, or 16 ms for two at once."""

    now = 0.0
    looked: ClassVar[list[int]] = []
    first: ClassVar[list[tuple[float, float]]] = []

    def __call__(self, image, regions):
        type(self).now += {1: 0.010, 2: 0.016}[len(regions)]
        self.looked.append(len(regions))
        self.first.append((regions[0].x, regions[0].y))
        return super().__call__(image, regions)


class Deaf(Lanes):
    """A network that has no answer for the first of its crops."""

    def __call__(self, image, regions):
        return [None, *super().__call__(image, regions)[1:]]


@pytest.mark.parametrize(
    ("threads", "budget", "looks", "ms"),
    [(1, 25, [1, 1], 20), (1, 35, [1, 1, 1], 30), (2, 17, [2], 16), (2, 15, [1], 10),
     (2, 25, [2], 16), (2, 27, [2, 1], 26), (2, 0, [2, 1], 26)],
)  # fmt: skip
def test_the_budget_holds(make, scene, monkeypatch, threads, budget, looks, ms) -> None:
    monkeypatch.setattr(estimator_module, "Lanes", Slow)
    estimator = make(second_look_budget=budget, threads=threads)
    second = estimator._second
    expected = {1: 0.010, 2: 0.016} if threads > 1 else {1: 0.010}
    second._clock, second._pace = lambda: Slow.now, Pace(expected)
    Slow.looked.clear()
    frame = estimator.estimate(scene.image(BRIGHT), scene.camera)
    assert Slow.looked == looks
    assert frame.notes["second looks"] == sum(looks)
    assert frame.notes["second looks left out"] == 3 - sum(looks)
    assert frame.notes["second looks [ms]"] == pytest.approx(ms)
    assert frame.notes["second looks, budget [ms]"] == budget
    assert len(frame) == 3  # the one left out is there, with the first look's pose


def test_everybody_gets_a_turn(make, scene, monkeypatch) -> None:
    monkeypatch.setattr(estimator_module, "Lanes", Slow)
    estimator = make(second_look_budget=25.0, threads=1)
    second = estimator._second
    second._clock, second._pace = lambda: Slow.now, Pace({1: 0.010})
    looked = []
    noted = second._turns.note
    second._turns.note = lambda *a: (looked.append(np.flatnonzero(a[2]).tolist()), noted(*a))
    Slow.first.clear()
    frames = [estimator.estimate(scene.image(BRIGHT), scene.camera) for _ in range(6)]
    assert all(len(rows) == 2 for rows in looked)
    assert {row for rows in looked for row in rows} == {0, 1, 2}
    nearest = frames[0].bodies[0].joints_2d[ROOT]
    np.testing.assert_allclose(Slow.first[0], nearest, atol=1)  # the nearest first


def test_who_gets_no_answer_keeps_the_first_look(make, scene, monkeypatch) -> None:
    monkeypatch.setattr(estimator_module, "Lanes", Deaf)
    notes = make(threads=2).estimate(scene.image(BRIGHT), scene.camera).notes
    assert notes["second looks"] == 3 and notes["second looks refused"] == 2  # of two, and of one


@pytest.mark.parametrize("threads", [1, 2])
def test_a_slow_moment_does_not_end_second_looks_for_ever(make, scene, threads) -> None:
    estimator = make(second_look_budget=1000.0, threads=threads)
    estimator._second._pace = Pace({1: 2.0, 2: 2.0} if threads == 2 else {1: 2.0})
    counts = [
        estimator.estimate(scene.image(BRIGHT), scene.camera).notes["second looks"]
        for _ in range(20)
    ]
    assert counts[0] == 0 and counts[-1] == 3


@pytest.mark.parametrize(
    ("live", "stated", "budget"), [(False, {}, 0), (True, {}, 40),
                                   (True, {"second_look_budget": 7.0}, 7)],
)  # fmt: skip
def test_what_is_not_stated_of_the_budget(make, tmp_path, scene, live, stated, budget) -> None:
    make(spec={"budget_ms": 40.0}).close()
    stated = {"bundle": str(tmp_path / "scene"), "engine": "onnxruntime", **stated}
    estimator = create_chosen(ModelChoice.of(stated), live=live)
    frame = estimator.estimate(scene.image(128), scene.camera)
    assert frame.notes["second looks, budget [ms]"] == budget


def test_a_bundle_without_one_has_none(make_bundle, scene) -> None:
    bundle = make_bundle(scene)
    frame = create_estimator(bundle, "onnxruntime").estimate(scene.image(BRIGHT), scene.camera)
    assert not frame.notes and "second look" not in frame.timings_ms
    with pytest.raises(InputError, match="second_look is on, but bundle 'scene' has no network"):
        create_estimator(bundle, "onnxruntime", second_look=True)


def test_files_and_what_is_said_of_them_go_together(tmp_path, scene_onnx, scene, scene_manifest):
    model = tmp_path / "model.onnx"
    model.write_bytes(scene_onnx(scene.maps()))
    with pytest.raises(BundleError, match=r"second_look and files\.second go together"):
        write_bundle(tmp_path / "a", scene_manifest(second_look=second_look()), model)
    with pytest.raises(BundleError, match=r"second_look and files\.second go together"):
        write_bundle(tmp_path / "b", scene_manifest(), model, second=model)
    wrong = second_look()
    wrong["outputs"]["pose"]["shape"] = [1, 15, 2]
    with pytest.raises(BundleError, match=r"outputs.pose.shape is \[1, 15, 2\]; expected"):
        write_bundle(tmp_path / "c", scene_manifest(second_look=wrong), model, second=model)


def test_a_network_of_other_shapes_is_refused(tmp_path, scene_onnx, scene, scene_manifest) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(scene_onnx(scene.maps()))
    manifest = scene_manifest(second_look=second_look())
    bundle = write_bundle(tmp_path / "scene", manifest, model, second=model)
    with pytest.raises(BundleError, match="the second network of bundle 'scene' has"):
        create_estimator(bundle, "onnxruntime", threads=1)


def test_how_certain_it_is_that_somebody_is_there_is_the_first_looks_word(make, scene) -> None:
    """A landmark network sees its joints where nobody is, too."""
    changes = {"person_score": {"bias": -3.0, "joint_score": 4.0, "share_seen": 1.0}}
    spec = {"in_picture": {"bias": 50.0}}
    image = scene.image(BRIGHT)
    plain = make(second_look=False, changes=changes).estimate(image, scene.camera)
    twice = make(spec=spec, changes=changes).estimate(image, scene.camera)
    assert len(plain) == len(twice) > 0
    for one, two in zip(plain, twice, strict=True):
        assert two.score == pytest.approx(one.score, abs=1e-6)
        assert not np.allclose(two.scores, one.scores)


def test_where_a_second_look_sees_nobody_it_is_less_certain(make, scene) -> None:
    weights = {"bias": -3.0, "joint_score": 4.0, "share_seen": 1.0}
    image = scene.image(BRIGHT)
    for presence, weight, lower in ((0.1, 0.5, 0.5 * np.log(10)), (1.0, 0.5, 0), (0.1, 0, 0)):
        plain = make(changes={"person_score": weights}).estimate(image, scene.camera)
        changes = {"person_score": {**weights, "presence": weight}, "min_score": 0.0}
        twice = make(presence=presence, changes=changes).estimate(image, scene.camera)
        for one, two in zip(plain, twice, strict=True):
            assert logit(two.score) == pytest.approx(logit(one.score) - lower, abs=1e-4)


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_a_refining_network_can_be_trained_on_what_it_gets(make, scene) -> None:
    """The joints of both looks, not those of the first alone."""
    image = scene.image(BRIGHT)
    estimator = make(spec={"in_picture": {"bias": 50.0}})
    first, both = (f(image, scene.camera) for f in (estimator.lifted, estimator.looked_at_twice))
    told = estimator.estimate(image, scene.camera)
    seen = first.scores > 0
    assert seen.any() and (both.scores > 0).tolist() == seen.tolist()
    for k, body in enumerate(told):
        np.testing.assert_allclose(both.joints_2d[k][seen[k]], body.joints_2d[seen[k]], atol=1e-3)
    assert (np.abs(both.joints_network - first.joints_network)[seen] > 0.01).any()
    once = make(second_look=False)
    np.testing.assert_array_equal(
        once.looked_at_twice(image, scene.camera).joints_3d, first.joints_3d
    )


def always(corrections: np.ndarray, inputs: int = INPUTS) -> bytes:
    """A fusing network that makes the same corrections of everybody, float [75]."""
    values = {"nothing": np.zeros((inputs, len(corrections))), "same": corrections[None]}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["people", "nothing"], ["none"]),
            helper.make_node("Add", ["none", "same"], ["corrected"]),
        ],
        "fuse",
        [helper.make_tensor_value_info("people", TensorProto.FLOAT, ["batch", inputs])],
        [
            helper.make_tensor_value_info(
                "corrected", TensorProto.FLOAT, ["batch", len(corrections)]
            )
        ],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def test_a_fusing_network_corrects_what_the_closed_form_makes(make, scene) -> None:
    corrections = np.zeros(OUTPUTS)
    corrections[3 * WRIST : 3 * WRIST + 3] = (0.1, -0.2, 0.3)
    corrections[3 * ROOT + 2] = np.log(1.1)
    corrections[3 * JOINTS + 2 * WRIST] = 0.05
    image, camera = scene.image(BRIGHT), scene.camera
    plain = make(fusing=always(np.zeros(OUTPUTS))).estimate(image, camera)
    moved = make(fusing=always(corrections)).estimate(image, camera)
    assert len(plain) == len(moved) == 3
    for one, two in zip(plain, moved, strict=True):
        distances = np.linalg.norm(one.root), np.linalg.norm(two.root)
        assert distances[1] == pytest.approx(1.1 * distances[0], rel=1e-4)
        change = (two.joints_3d - two.root) - (one.joints_3d - one.root)
        assert np.linalg.norm(change[WRIST]) == pytest.approx(np.sqrt(0.14), abs=1e-4)
        others = np.arange(JOINTS) != WRIST
        np.testing.assert_allclose(change[others], 0, atol=1e-4)
        pixels = two.joints_2d - one.joints_2d
        expected = 0.05 * camera.fx / distances[0]
        assert np.linalg.norm(pixels[WRIST]) == pytest.approx(expected, rel=0.2)
        np.testing.assert_allclose(pixels[others], 0, atol=0.05)
        np.testing.assert_array_equal(one.scores, two.scores)
        # The pelvis in metres is where both looks see it.
        np.testing.assert_allclose(camera.project(two.root), two.joints_2d[ROOT], atol=0.05)


def test_who_is_not_looked_at_again_is_not_corrected(make, scene) -> None:
    corrections = np.full(OUTPUTS, 0.1)
    image, camera = scene.image(BRIGHT), scene.camera
    plain = make(fusing=always(corrections), second_look=False).estimate(image, camera)
    pose = np.full((15, 3), np.nan)  # no answer
    twice = make(fusing=always(corrections), pose=pose).estimate(image, camera)
    assert len(plain) == len(twice) == 3
    for one, two in zip(plain, twice, strict=True):
        np.testing.assert_array_equal(one.joints_3d, two.joints_3d)
    assert len(make(fusing=always(corrections)).estimate(scene.image(128), camera)) == 0


def test_without_the_network_whose_people_it_learned_from_it_does_nothing(make, scene) -> None:
    how = {"fusing": always(np.full(OUTPUTS, 0.1)), "refining": refining_to_the_same()}
    image, camera = scene.image(BRIGHT), scene.camera
    off = make(**how, refine=False).estimate(image, camera)
    none = make(refining=refining_to_the_same(), refine=False).estimate(image, camera)
    on = make(**how).estimate(image, camera)
    for one, two, three in zip(off, none, on, strict=True):
        np.testing.assert_allclose(one.joints_3d, two.joints_3d, atol=1e-5)
        assert np.abs(one.joints_3d - three.joints_3d).max() > 0.05


def test_a_fusing_network_needs_what_it_is_fed_with(make, tmp_path, scene) -> None:
    with pytest.raises(
        BundleError, match=r"fusing network of bundle 'scene' has .*float32\[any, 350"
    ):
        make(fusing=always(np.zeros(OUTPUTS), inputs=12))
    labels = {**scene.maps(), "pose": scene.poses(ROOT)}
    lacking = r"files\.fuse is stated without output depth_spread, which"
    with pytest.raises(BundleError, match=lacking):
        make(fusing=always(np.zeros(OUTPUTS)), changes={"outputs": outputs_of(labels)})


def test_the_shipped_model_places_joints_where_it_sees_them(tmp_path) -> None:
    """Its fusing network does: without, poses in metres project more beside them."""
    shipped = load_bundle("smap_lite")
    folder = shutil.copytree(shipped.folder, tmp_path / "without")
    manifest = yaml.safe_load((folder / "bundle.yaml").read_text())
    del manifest["files"]["fuse"]
    (folder / "bundle.yaml").write_text(yaml.safe_dump(manifest))
    image, camera = three_people((640, 360)), Camera.from_fov(640, 360, np.deg2rad(60))
    beside = []
    for bundle in (load_bundle(folder), shipped):
        with closing(create_estimator(bundle, "onnxruntime", threads=1)) as estimator:
            frame = estimator.estimate(image, camera)
        assert len(frame) == 3
        off = [
            (camera.project(body.joints_3d) - body.joints_2d)[body.scores > 0.3] for body in frame
        ]
        beside.append(np.abs(np.concatenate(off)).mean())
    assert beside[1] < 0.8 * beside[0]
