"""Truth of clips: the shipped one, and malformed ones."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.evaluation.common.predictions import FilePredictions, FolderPredictions
from smap_ros.evaluation.virtual.measures import evaluate
from smap_ros.evaluation.virtual.report import VirtualReport
from smap_ros.evaluation.virtual.truth import open_scenes, read_clip, read_truth
from smap_ros.paths import config_directory
from smap_ros.sources import open_source

DEMO = config_directory() / "demo" / "truth.json"


def test_the_shipped_clip_has_a_truth_for_every_frame():
    scenes = read_clip(DEMO)
    images = [frame.image for frame in open_source(str(DEMO.with_name("clip.mp4")))]
    assert [scene.key for scene in scenes] == list(range(len(images)))
    for k in (0, 5, 6, 40, 3):  # forwards and back
        np.testing.assert_array_equal(scenes[k].image(), images[k])
    people = sum(len(scene.frame) for scene in scenes)
    counted = sum(int(scene.counted.sum()) for scene in scenes)
    assert 0.8 * people < counted < people
    for scene in scenes[::20]:
        for body in scene.frame:
            projected = scene.camera.project(body.joints_3d)
            np.testing.assert_allclose(body.joints_2d, projected, atol=0.02)


def test_the_frames_alone_are_the_same_people():
    frames = read_truth(DEMO)
    assert [frame.index for frame in frames] == list(range(90))
    assert frames[3].stamp == pytest.approx(3 / 15, abs=1e-3)
    assert all((body.scores == 1).all() for body in frames[0])


def test_a_clip_without_its_film_or_with_a_shorter_one_is_refused(tmp_path):
    path = tmp_path / "truth.json"
    shutil.copy(DEMO, path)
    scenes = read_clip(path)  # what a bodies.json is compared with needs no pictures
    with pytest.raises(InputError, match=r"clip\.mp4 are missing beside"):
        scenes[0].image()
    data = json.loads(path.read_text())
    data["frames"] = [{**data["frames"][0], "index": 90}]
    path.write_text(json.dumps(data))
    shutil.copy(DEMO.with_name("clip.mp4"), tmp_path / "clip.mp4")
    with pytest.raises(InputError, match="ends before frame 90"):
        read_clip(path)[0].image()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "isn't JSON"),
        ("[]", "isn't the truth of a clip"),
        ('{"camera": {}, "frames": []}', "joint_set"),
        ('{"camera": {}, "frames": [], "joint_set": "coco17"}', "'coco17', expected mpi15"),
        ('{"camera": {}, "frames": [{"index": 0}], "joint_set": "mpi15"}', "'people'"),
        ('{"camera": {}, "frames": [], "joint_set": "mpi15"}', "holds no scenes"),
    ],
)
def test_malformed_truth_is_refused(tmp_path, content, message):
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        open_scenes(path)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([2, 1, 0], "picture 1 .*follows index 2"),
        ([0, 2, 1], "picture 1 .*follows index 2"),
        ([0, 1, 1], r"picture 1 \(index 1, stamp 0.0666\d* s\) follows index 1"),
    ],
)
def test_frames_out_of_order_and_listed_twice_are_refused(tmp_path, order, message):
    data = json.loads(DEMO.read_text())
    data["frames"] = [data["frames"][k] for k in order]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"{message}.*expected both to rise"):
        read_clip(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stamp": 0.0}, "expected both to rise"),
        ({"stamp": float("nan")}, "the stamp is nan s"),
        ({"index": 1.5}, "expected a whole number, got 1.5"),
    ],
)
def test_frames_without_a_place_in_time_are_refused(tmp_path, change, message):
    data = json.loads(DEMO.read_text())
    data["frames"] = [data["frames"][0], {**data["frames"][1], **change}]
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        read_clip(path)


def found(path, indices, source):
    frame = read_truth(DEMO)[0]
    frames = [replace(frame, source=source, index=k).to_json() for k in indices]
    path.write_text(json.dumps({"frames": frames}))
    return FilePredictions(path)


@pytest.mark.parametrize(
    ("source", "told"), [("clip.mp4", False), ("other.mp4", True), ("000001.jpg", False)]
)
def test_people_of_another_film_are_told(tmp_path, caplog, source, told):
    with caplog.at_level("WARNING"):
        evaluate(found(tmp_path / "b.json", range(3), source), read_clip(DEMO))
    words = "found in other.mp4, and the labels of truth.json are of clip.mp4: are they the same"
    assert any(words in text for text in caplog.messages) == told


@pytest.mark.parametrize(("count", "more"), [(3, 0), (90, 0), (95, 5)])
def test_frames_that_the_truth_does_not_have_are_counted_and_told(tmp_path, caplog, count, more):
    with caplog.at_level("WARNING"):
        outcome = evaluate(found(tmp_path / "b.json", range(count), "clip.mp4"), read_clip(DEMO))
    report = VirtualReport(outcome)
    assert report.numbers()["frames_not_in_truth"] == more
    shown = next(iter(report.tables()[0].columns[1].cells))
    assert ("5 more predicted, not in the truth" in shown) == bool(more)
    assert any("5 frames of" in text for text in caplog.messages) == bool(more)


def test_of_a_folder_of_results_frames_not_asked_for_are_of_all_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    found(tmp_path / "a" / "bodies.json", range(4), "clip.mp4")
    found(tmp_path / "b" / "bodies.json", range(90, 92), "clip.mp4")
    assert evaluate(FolderPredictions(tmp_path), read_clip(DEMO)[:3]).not_asked_for == 3


def test_a_truth_is_a_folder_of_shards_or_a_file(shards, tmp_path):
    assert len(open_scenes(shards)) == 4
    with pytest.raises(InputError, match="doesn't exist; expected a folder of shards"):
        open_scenes(tmp_path / "nothing")
