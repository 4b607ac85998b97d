"""People by both looks of a bundle, put beside what is known of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import load_bundle, write_bundle
from smap_ros.errors import InputError
from smap_ros.estimators.second_look.learned import Frames, fused_output, fusing_input
from smap_ros.estimators.smap.estimator import SmapEstimator
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.evaluation.common.views import guessed_camera
from smap_ros.skeletons import MPI15
from smap_train.cli import app
from smap_train.data.people import PhotoPerson
from smap_train.refining.both import (
    LookedAt,
    in_mirror,
    labels_in_mirror,
    look,
    of_known,
    of_photo,
    read_looked_at,
)
from tests.conftest import outputs_of
from tests.estimators.second_look.test_learned import CAMERA, ROOTS, at
from tests.estimators.smap.test_twice import BRIGHT, answers, doubt
from tests.second_look_bundle import second_look, second_model

from .looked_at import looked_at

ROOT = MPI15.root


def corrections(people: LookedAt) -> np.ndarray:
    """What a perfect network would answer, [M, 75]."""
    poses = people.given[:, : 15 * 12].reshape(-1, 15, 4, 3)[:, :, 0]
    points = people.given[:, 15 * 12 : 15 * 18].reshape(-1, 15, 3, 2)[:, :, 2]
    pose = people.poses - poses
    pose[:, ROOT] = people.places
    return np.concatenate([pose.reshape(-1, 45), (people.points - points).reshape(-1, 30)], axis=1)


def test_what_is_known_is_what_would_make_the_true_people() -> None:
    views, true = at(ROOTS)
    pixels = CAMERA.project(true)
    people = of_known(views, true.astype(np.float32), pixels, CAMERA)
    assert not people.photo.any() and np.isfinite(people.points).all()
    _, frames = fusing_input(views, CAMERA)
    joints, told = fused_output(corrections(people), views, frames, CAMERA)
    np.testing.assert_allclose(joints, true, atol=1e-3)
    np.testing.assert_allclose(told, pixels, atol=0.1)


def test_what_is_known_of_a_photo_is_its_labels_and_depths_at_the_size_that_was_seen() -> None:
    """A person whom the pseudo labels have at another scale, at half the distance."""
    camera = guessed_camera(640, 480)
    views, true = at(np.array([[0.0, 0.0, 4.0]]), camera)
    pixels = camera.project(true)[0]
    hidden = MPI15.index("l_wrist")
    pixels[hidden] = np.nan
    depth = (true[0, :, 2] - true[0, ROOT, 2]).astype(np.float32) / 2
    blank = cv2.imencode(".png", np.zeros((480, 640, 3), np.uint8))[1].tobytes()
    half = 4.0 / camera.fx / 2  # metres per pixel where everything is half as large
    person = PhotoPerson(blank, None, pixels.astype(np.float32), depth, half)
    people = of_photo(views, person, camera)
    assert (
        people.photo.all()
        and np.isnan(people.places[0, 2])
        and np.isnan(people.poses[0, hidden]).all()
    )
    frames = Frames.of(views.closed_3d, views.closed_2d, camera)
    told = frames.in_picture(people.points.astype(float), camera)[0]
    seen = np.arange(15) != hidden
    np.testing.assert_allclose(told[seen], pixels[seen], atol=0.01)
    size = frames.distance[0] / 4.0  # as far away as the looks have them
    expected = frames.turned(true - true[:, ROOT, None])[0, :, 2] * size
    np.testing.assert_allclose(people.poses[0, seen, 2], expected[seen], atol=0.03)
    ends = people.poses[0, :, :2] + people.places[0, :2]
    ahead = frames.distance[0] / (frames.distance[0] + people.poses[0, :, 2:])
    np.testing.assert_allclose((ends * ahead)[seen], people.points[0, seen], atol=1e-5)
    person = PhotoPerson(blank, None, pixels.astype(np.float32), depth * np.nan, np.nan)
    unknown = of_photo(views, person, camera)
    assert np.isnan(unknown.poses[0, seen]).all() and np.isfinite(unknown.points[0, seen]).all()


@pytest.fixture
def people(scene_maker):
    """Three people and their camera."""
    return scene_maker(np.array([[-1.2, 0.2, 3.0], [0.4, 0.1, 4.5], [2.0, 0.3, 6.0]]))


@pytest.fixture
def bundle(tmp_path: Path, people, scene_onnx, scene_manifest) -> str:
    labels = people.maps()
    labels |= {"pose": people.poses(ROOT), "depth_spread": doubt(labels)}
    model, second = tmp_path / "model.onnx", tmp_path / "second_source.onnx"
    model.write_bytes(scene_onnx(labels))
    second.write_bytes(second_model(answers(), np.zeros((15, 3))))
    manifest = scene_manifest(outputs=outputs_of(labels), second_look=second_look())
    return str(write_bundle(tmp_path / "scene", manifest, model, second=second).folder)


def true_scene(scene, value: int) -> Scene:
    pixels = scene.camera.project(scene.joints)
    bodies = tuple(
        Body(xyz.astype(np.float32), uv.astype(np.float32), np.ones(15, np.float32), 1.0)
        for xyz, uv in zip(scene.joints, pixels, strict=True)
    )
    visible = np.full((3, 15), 2, np.uint8)
    visible[:, 4] = 0
    return Scene(
        key=0, frame=BodyFrame(bodies, scene.camera), visibility=visible,
        boxes=np.tile([0.0, 0, 100, 200], (3, 1)), read=lambda: scene.image(value),
    )  # fmt: skip


def test_people_of_scenes_and_photos_are_looked_at_twice(bundle, people, tmp_path) -> None:
    labels = people.camera.project(people.joints)[1].astype(np.float32)
    photo = cv2.imencode(".png", people.image(BRIGHT))[1].tobytes()
    depth = (people.joints[1, :, 2] - people.joints[1, ROOT, 2]).astype(np.float32)
    person = PhotoPerson(photo, None, labels, depth, people.joints[1, ROOT, 2] / people.camera.fx)
    elsewhere = PhotoPerson(photo, None, labels + 3000, depth, 0.01)
    scenes = [true_scene(people, BRIGHT), true_scene(people, 128)]
    told = look(bundle, scenes, [person, elsewhere], "onnxruntime")
    assert told.photo.tolist() == [False, False, False, True]
    assert np.isnan(told.points[:3, 4]).all() and np.isfinite(told.points[:, 5]).all()
    # The scene's maps are right: places and points need next to no correction.
    np.testing.assert_allclose(told.places[:3], 0, atol=0.1)
    told.save(tmp_path / "people.npz")
    again = read_looked_at(tmp_path / "people.npz")
    for name in ("given", "poses", "places", "points", "photo"):
        np.testing.assert_array_equal(getattr(again, name), getattr(told, name))
    assert again.found_by == told[np.arange(2)].found_by == load_bundle(bundle).model_hash
    estimator = SmapEstimator.create(load_bundle(bundle), "onnxruntime")
    assert estimator.both_looks(people.image(128), people.camera) is None


def test_people_in_a_mirror_are_themselves_in_a_mirror(bundle, people, tmp_path) -> None:
    """The tests' network answers for the picture that it knows: what is true is what changes."""
    scene = true_scene(people, BRIGHT)
    mirrored = in_mirror(scene)
    np.testing.assert_array_equal(mirrored.image(), scene.image()[:, ::-1])
    for one, other in zip(scene.frame.bodies, mirrored.frame.bodies, strict=True):
        projected = mirrored.camera.project(other.joints_3d.astype(float))
        np.testing.assert_allclose(projected, other.joints_2d, atol=1e-2)
        assert other.joints_2d[3, 0] == pytest.approx(1279 - one.joints_2d[9, 0])
        np.testing.assert_array_equal(other.joints_2d[:, 1], one.joints_2d[MPI15.flip, 1])
    assert (mirrored.visibility[:, MPI15.flip[4]] == 0).all()
    assert (mirrored.boxes == [1180, 0, 100, 200]).all()
    back = in_mirror(mirrored)
    np.testing.assert_allclose(back.frame.bodies[0].joints_3d, scene.frame.bodies[0].joints_3d)
    labels = people.camera.project(people.joints)[1].astype(np.float32)
    photo = cv2.imencode(".png", people.image(BRIGHT))[1].tobytes()
    depth = np.linspace(-0.3, 0.4, 15).astype(np.float32)
    person = PhotoPerson(photo, None, labels, depth, 0.01)
    other = labels_in_mirror(person, 1280)
    np.testing.assert_allclose(other.joints_2d, mirrored.frame.bodies[1].joints_2d, atol=1e-3)
    np.testing.assert_array_equal(other.depth, depth[MPI15.flip])
    twice = look(bundle, [scene], [person], "onnxruntime", mirrored=True)
    assert len(twice) > len(look(bundle, [scene], [person], "onnxruntime"))
    camera = replace(people.camera, distortion=(0.1, 0.0, 0.0, 0.0))
    distorted = replace(scene, frame=replace(scene.frame, camera=camera))
    with pytest.raises(InputError, match="lens distortion can't be mirrored"):
        in_mirror(distorted)


def test_what_gives_nobody_is_told(bundle, people, make_bundle, tmp_path) -> None:
    with pytest.raises(InputError, match="finds nobody at whom to look twice in the 1 pictures"):
        look(bundle, [true_scene(people, 128)], [], "onnxruntime")
    plain = str(make_bundle(people).folder)
    with pytest.raises(InputError, match="has no second look; expected one of kind smap"):
        look(plain, [true_scene(people, BRIGHT)], [])
    for words, message in (
        (["people.json", "--virtual", "."], "ends in '.json'; expected NAME.npz"),
        (["people.npz"], "no pictures: name --virtual, --sports or --street"),
    ):
        result = CliRunner().invoke(app, ["looks", plain, *words])
        assert isinstance(result.exception, InputError) and message in str(result.exception)


def test_what_is_no_file_of_people_is_refused(tmp_path) -> None:
    looked_at(5, 0).save(tmp_path / "good.npz")
    good = dict(np.load(tmp_path / "good.npz"))
    (tmp_path / "text.npz").write_text("no")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:-300])
    np.savez(tmp_path / "narrow.npz", **{**good, "given": good["given"][:, :90]})
    np.savez(tmp_path / "double.npz", **{**good, "poses": good["poses"].astype(float)})
    np.savez(tmp_path / "nan.npz", **{**good, "given": good["given"] * np.float32(np.nan)})
    np.savez(tmp_path / "short.npz", **{**good, "points": good["points"][:3]})
    np.savez(tmp_path / "nobody.npz", **{k: v if k == "format" else v[:0] for k, v in good.items()})
    for name, message in {
        "none.npz": "can't read .*none.npz: No such file",
        "text.npz": "is no whole archive",
        "other.npz": "doesn't hold people by both looks",
        "cut.npz": "is no whole archive",
        "narrow.npz": r"given is float32\(5, 90\), expected float32\(5, 350\)",
        "double.npz": r"poses is float64\(5, 15, 3\), expected float32\(5, 15, 3\)",
        "nan.npz": "given of person 0 is no number",
        "short.npz": r"points is float32\(3, 15, 2\), expected float32\(5, 15, 2\)",
        "nobody.npz": "holds nobody",
    }.items():
        with pytest.raises(InputError, match=message):
            read_looked_at(tmp_path / name)
