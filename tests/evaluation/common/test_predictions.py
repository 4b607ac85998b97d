"""Predictions by picture: from files and from bundles, in mpi15."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest

from smap_ros.bodies import Body, BodyFrame
from smap_ros.bundles.bundle import load_bundle
from smap_ros.errors import BundleError, InputError
from smap_ros.estimators import create_estimator
from smap_ros.evaluation.common.predictions import (
    BundlePredictions,
    FilePredictions,
    FolderPredictions,
    in_mpi15,
    open_predictions,
)
from smap_ros.skeletons import H36M17, MPI15
from tests.evaluation.conftest import CAMERA, person_at, scene_of
from tests.video_bundle import write_video_bundle


@pytest.fixture
def write(tmp_path):
    def make(*frames: tuple[str, int], camera=CAMERA):
        path = tmp_path / "bodies.json"
        made = [
            BodyFrame((person_at(index, 4),), camera, source=source, index=index).to_json()
            for source, index in frames
        ]
        path.write_text(json.dumps({"frames": made}))
        return path

    return make


def test_pictures_are_found_by_stem_and_frames_of_clips_by_number(write):
    predictions = FilePredictions(write(("000001.png", 0), ("000000.jpg", 1)))
    by_name = predictions.of(scene_of(key="000000"))
    by_number = predictions.of(scene_of(key=0))
    assert by_name.bodies[0].root[0] == 1
    assert by_number.bodies[0].root[0] == 0
    assert predictions.of(scene_of(key="000002")) is None
    assert predictions.of(scene_of(key=2)) is None


def test_who_found_the_people_of_a_file_may_be_said(write):
    path = write(("a.mp4", 0))
    said = open_predictions(str(path), found_by="smap_lite").of(scene_of(key=0))
    assert said.detector == load_bundle("smap_lite").model_hash
    assert not open_predictions(str(path)).of(scene_of(key=0)).detector
    with pytest.raises(InputError, match="--found-by is for people who were found already"):
        open_predictions("smap_lite", found_by="smap_lite")


def test_results_of_several_inputs_are_refused(write):
    predictions = FilePredictions(write(("a.mp4", 0), ("b.mp4", 0)))
    with pytest.raises(InputError, match="has 2 frames for picture 0; expected one"):
        predictions.of(scene_of(key=0))


def test_pictures_of_another_size_are_refused(write):
    predictions = FilePredictions(write(("a.jpg", 0), camera=CAMERA.resized(200, 150)))
    with pytest.raises(InputError, match="picture a at 200x150 px, its truth at 400x300"):
        predictions.of(scene_of(key="a"))


def test_other_joint_sets_are_brought_to_mpi15_by_name():
    count = len(H36M17)
    points = np.arange(3.0 * count, dtype=np.float32).reshape(count, 3)
    scores = np.linspace(0.1, 0.9, count, dtype=np.float32)
    body = Body(points, points[:, :2], scores, 0.8, 3, H36M17)
    (converted,) = in_mpi15(BodyFrame((body,), CAMERA))
    assert (converted.skeleton, converted.id, converted.score) == (MPI15, 3, 0.8)
    for k, joint in enumerate(MPI15.joints):
        source = H36M17.index(joint)
        np.testing.assert_array_equal(converted.joints_3d[k], points[source])
        np.testing.assert_array_equal(converted.joints_2d[k], points[source, :2])
        assert converted.scores[k] == scores[source]


def test_people_in_mpi15_are_left_alone():
    body = replace(person_at(0, 4), id=2)
    (same,) = in_mpi15(BodyFrame((body,), CAMERA))
    assert same is body


def test_a_bundle_looks_at_each_picture(make_bundle, scene):
    predictions = open_predictions(str(make_bundle(scene).folder), "onnxruntime", 1)
    from smap_ros.evaluation.common.scenes import make_scene

    for value, people in ((250, 3), (128, 0)):
        picture = make_scene(
            [], scene.camera.to_json(), lambda v=value: scene.image(v), key="a", index=0, source=""
        )
        assert len(predictions.of(picture)) == people
    assert "onnxruntime" in predictions.description
    predictions.close()
    predictions.close()


@pytest.mark.parametrize(
    ("change", "score"),
    [
        (lambda body: body.update(score=7), "7"),
        (lambda body: body.update(score=-0.5), "-0.5"),
        (lambda body: body["joints_3d"][4].__setitem__(3, 1.5), "1.5"),
    ],
)
def test_scores_outside_0_to_1_are_refused(write, change, score):
    path = write(("a.mp4", 0), ("a.mp4", 1))
    content = json.loads(path.read_text())
    change(content["frames"][1]["bodies"][0])
    path.write_text(json.dumps(content))
    message = rf"person 0 of frame 1 \(a\.mp4\) has a score of {score}; expected .* in \[0, 1\]"
    with pytest.raises(InputError, match=message):
        open_predictions(str(path))


def test_scores_that_rounding_brought_a_little_above_1_are_1(write):
    path = write(("a.mp4", 0))
    content = json.loads(path.read_text())
    body = content["frames"][0]["bodies"][0]
    body["score"] = 1.000001
    body["joints_3d"][4][3] = 1.0000002
    path.write_text(json.dumps(content))
    (frame,) = open_predictions(str(path))._by_index[0]
    assert frame.bodies[0].score == 1 and frame.bodies[0].scores.max() <= 1


def test_what_is_neither_is_refused(tmp_path):
    with pytest.raises(InputError, match="can't read"):
        open_predictions(str(tmp_path / "no.json"))
    with pytest.raises(BundleError, match="no bundle"):
        open_predictions(str(tmp_path / "nothing"))


def test_the_folder_of_one_result_is_told_from_a_bundle(write):
    folder = write(("a.mp4", 0)).parent
    with pytest.raises(
        InputError, match=r"isn't a bundle, but has people found; give .*bodies\.json"
    ):
        open_predictions(str(folder))


def test_sequences_with_equal_names_have_a_folder_each(tmp_path, write):
    for k, name in enumerate(("TS1", "TS2")):
        (tmp_path / "found" / name).mkdir(parents=True)
        write(("img_000000.jpg", k), (f"only_{k}.jpg", 5)).rename(
            tmp_path / "found" / name / "bodies.json"
        )
    predictions = open_predictions(str(tmp_path / "found"))
    assert isinstance(predictions, FolderPredictions)
    assert predictions.of(scene_of(key="TS2/img_000000")).bodies[0].root[0] == 1
    assert predictions.of(scene_of(key="only_1")).index == 5
    assert predictions.of(scene_of(key="TS3/img_000000")) is None
    assert predictions.of(scene_of(key="nowhere")) is None
    with pytest.raises(InputError, match="2 folders have picture img_000000"):
        predictions.of(scene_of(key="img_000000"))


@pytest.mark.parametrize("key", ["a", 0])
def test_a_picture_is_looked_up_in_the_folder_of_its_sequence(tmp_path, write, key):
    @dataclass(frozen=True)
    class Still:
        sequence_name: str
        key: str | int
        camera = CAMERA

    for x, name in enumerate(("TS1", "TS2")):
        (tmp_path / "found" / name).mkdir(parents=True)
        path = write(("a.jpg", 0))
        content = json.loads(path.read_text())
        content["frames"][0]["stamp"] = float(x)
        (tmp_path / "found" / name / "bodies.json").write_text(json.dumps(content))
    predictions = FolderPredictions(tmp_path / "found")
    assert [predictions.of(Still(name, key)).stamp for name in ("TS1", "TS2")] == [0, 1]
    assert predictions.of(Still("TS3", key)) is None
    with pytest.raises(InputError, match="2 folders have picture"):
        predictions.of(Still("", key))


@pytest.mark.parametrize("delay", [0, 2])
def test_the_frames_of_a_film_are_seen_over_time(
    make_bundle, scene, tmp_path, crop_manifest, delay
):
    """A model of kind video gets the film's stamps; the pictures around each change its people."""
    make_bundle(scene)
    sway = write_video_bundle(tmp_path, crop_manifest())

    @dataclass(frozen=True)
    class Still:
        key: str
        value: int
        camera = scene.camera

        def image(self) -> np.ndarray:
            return scene.image(self.value)

    stills = [Still(f"film/{k}", 160 + 15 * k) for k in range(5)]
    estimator = create_estimator(sway, "onnxruntime", 1, delay=delay)
    predictions = BundlePredictions(estimator)
    alone = [predictions.of(still) for still in stills]
    predictions.film(stills, 30.0)
    film = [predictions.of(still) for still in stills]
    assert [frame.stamp for frame in film] == pytest.approx([k / 30 for k in range(5)])
    assert {frame.stamp for frame in alone} == {0.0}
    heads = [[frame.bodies[0].joints_3d[1] for frame in frames] for frames in (alone, film)]
    assert np.linalg.norm(np.subtract(*heads), axis=1).max() > 0.01
    again = predictions.of(stills[0])  # after the film: a picture alone
    np.testing.assert_allclose(again.bodies[0].joints_3d, alone[0].bodies[0].joints_3d)
    predictions.close()
