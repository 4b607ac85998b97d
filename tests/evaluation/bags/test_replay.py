"""Bags as robots leave them, with lost, damaged and repeated images: which of them are which."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from smap_ros.bags.recording import read_recording
from smap_ros.bags.transforms import CameraMotion
from smap_ros.bodies import BodyFrame
from smap_ros.calibration import CameraChoice
from smap_ros.errors import InputError
from smap_ros.estimators.base import ModelInfo
from smap_ros.evaluation.bags.measures import BagRun
from smap_ros.evaluation.bags.replay import inspect_bag, judge, recorded, replay
from smap_ros.evaluation.bags.truth import recorded_truth
from smap_ros.evaluation.common.scenes import Scene
from smap_ros.geometry.transforms import TransformTree
from smap_ros.skeletons import MPI15
from smap_ros.sources.bag import BagSource
from tests.bag_messages import body_array, camera_info, raw_image, write_bag
from tests.evaluation.conftest import label_of, person_at, scene_of

IMAGES = 12
SIZE = (64, 48)
K = (60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0)


class Nobody:
    """Finds nobody, and keeps the brightness and the stamp of each image that it saw."""

    skeleton = MPI15
    about = ModelInfo("nobody", "1", "none", "none")
    description = "nobody"

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def estimate(self, image, camera, stamp=0.0) -> BodyFrame:
        self.seen.append((int(image[0, 0, 0]), stamp))
        return BodyFrame((), camera, stamp)

    def close(self) -> None:
        pass


def write(
    path: Path,
    images: Collection[tuple[int, float]],
    *,
    damaged: Collection[int] = (),
    without: Collection[int] = (),
    truth_from: int | None = None,
) -> Path:
    """A bag of images, each of a brightness and at a time, with a person who walks by.

    Of these brightnesses are those with half of their data, and those without people.
    """
    messages = []
    for value, stamp in images:
        image = raw_image(stamp, np.full((SIZE[1], SIZE[0], 3), value, np.uint8))
        if value in damaged:
            image = replace(image, data=image.data[: image.data.size // 2])
        messages += [("/cam/camera_info", camera_info(stamp, k=K, size=SIZE)), ("/cam/raw", image)]
        people = body_array(stamp, "cam", [(0.1 * value - 1, 0.0, 4.0)])
        if value not in without:
            messages.append(("/bodies_raw", people))
        if truth_from is not None and value >= truth_from:
            messages.append(("/truth", people))
    return write_bag(path, messages)


def ten_a_second(lost: Collection[int] = ()) -> list[tuple[int, float]]:
    return [(k, 100 + k / 10) for k in range(IMAGES) if k not in lost]


def clip() -> list[Scene]:
    """The true people of all of the images, the first at 0 s; only their pelvises are known."""
    scenes = []
    for k in range(IMAGES):
        scene = scene_of(label_of(person_at(0.1 * k - 1, 4.0)), index=k)
        scenes.append(replace(scene, frame=replace(scene.frame, stamp=k / 10)))
    return scenes


def found_anew(path: Path, **words) -> tuple[BagRun, Nobody]:
    run, nobody = inspect_bag(path), Nobody()
    replay(run, BagSource(path), nobody, CameraChoice(), **words)
    return run, nobody


def compared(run: BagRun, monkeypatch, truth: list[Scene], **words) -> dict[int, int]:
    """The brightness of each image by the index of the truth that it is compared with."""
    taken = {}

    def against(frames, true, *others, **more):
        taken.update({one.index: round(10 * one.bodies[0].root[0] + 10) for one in frames})

    monkeypatch.setattr("smap_ros.evaluation.bags.replay.against_truth", against)
    judge(run, truth, cut=False, **words)
    return taken


@pytest.mark.parametrize(
    ("lost", "without"),
    [((), ()), ((6,), ()), ((6,), (0, 1, 2)), ((), (0, 1, 2)), ((3, 4, 5), (0, 11))],
)
def test_recorded_people_are_compared_with_those_of_their_moment(
    tmp_path, monkeypatch, lost, without
):
    """Also where images are lost inside, and the first have no people."""
    path = write(tmp_path / "bag", ten_a_second(lost), without=without)
    run = inspect_bag(path)
    recorded(run, path)
    left = [k for k in range(IMAGES) if k not in (*lost, *without)]
    assert compared(run, monkeypatch, clip()) == {k: k for k in left}


@pytest.mark.parametrize(("damaged", "begins"), [((), 100), ((0, 1), 100.2), ((2,), 100)])
def test_times_of_people_found_anew_count_from_the_first_image_of_the_bag(
    tmp_path, damaged, begins
):
    """Also where it can't be decoded."""
    run, _ = found_anew(write(tmp_path / "bag", ten_a_second((6,)), damaged=damaged))
    assert (run.first_image, run.frames[0].stamp) == (100, begins)


def test_a_truth_on_a_topic_is_of_its_images_wherever_it_begins(tmp_path, monkeypatch):
    path = write(tmp_path / "bag", ten_a_second(), truth_from=5, damaged=(7,))
    truth = recorded_truth(path, "/truth")
    assert [scene.frame.index for scene in truth] == [5, 6, 8, 9, 10, 11]
    run = inspect_bag(path)
    recorded(run, path, "bodies_raw")
    expected = {k: k for k in (5, 6, 8, 9, 10, 11)}
    assert compared(run, monkeypatch, truth, numbered=True) == expected
    anew, nobody = found_anew(path)
    assert [one.index for one in anew.frames] == [value for value, _ in nobody.seen]


STILL = [(0, 100 + k / 10) for k in range(5)]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        pytest.param([*STILL, (1, 101.0)], [*STILL, (1, 101.0)], id="nothing moves"),
        pytest.param([(0, 100.0), (0, 102.0), (0, 104.0), (1, 104.1)], [(0, 104.0), (1, 104.1)],
                     id="shown again"),
        pytest.param([(0, 100.0), (0, 100.0), (1, 100.1)], [(0, 100.0), (1, 100.1)],
                     id="of one stamp"),
        pytest.param([(0, 100.0), (0, 102.0), *((0, 102 + k / 10) for k in (1, 2))],
                     [(0, 102.0), (0, 102.1), (0, 102.2)], id="shown again, then nothing moves"),
        pytest.param([(0, 100.0), (0, 102.0)], [(0, 102.0)], id="nothing else"),
        pytest.param([(0, 100.0), (1, 102.0), (1, 104.0)], [(0, 100.0), (1, 102.0), (1, 104.0)],
                     id="later"),
    ],
)  # fmt: skip
def test_a_picture_that_stays_the_same_is_an_image_each_time_unless_shown_again(
    tmp_path, images, expected
):
    path = write(tmp_path / "bag", images)
    run, nobody = found_anew(path)
    assert nobody.seen == expected
    assert [one.index for one in run.frames] == list(range(len(expected)))
    assert (run.images, run.unusable, run.first_image) == (len(expected), 0, expected[0][1])
    stamps = read_recording(path).image_stamps  # one rule for both
    assert [stamp / 1e9 for stamp in stamps] == [stamp for _, stamp in expected]


@pytest.mark.parametrize("damaged", [(), (2,), (0,), (10, 11), (0, 5, 11), range(IMAGES)])
def test_pictures_that_cannot_be_decoded_are_counted_wherever_they_are(tmp_path, damaged):
    path = write(tmp_path / "bag", ten_a_second(), damaged=damaged)
    people = inspect_bag(path)
    recorded(people, path)
    anew, nobody = found_anew(path)
    left = [k for k in range(IMAGES) if k not in damaged]
    assert [value for value, _ in nobody.seen] == left
    told = [f"{len(damaged)} images can't be decoded and were left out"] if damaged else []
    for run in (people, anew):
        assert [one.index for one in run.frames] == left
        assert (run.images, run.unusable) == (IMAGES, len(damaged))
        assert [line for line in run.warnings if "no bodies_raw" not in line] == told


def test_images_without_a_message_are_told_apart_from_those_that_cannot_be_decoded(tmp_path):
    path = write(tmp_path / "bag", ten_a_second(), damaged=(2, 3, 7), without=(3, 9))
    run = inspect_bag(path)
    recorded(run, path)
    assert (run.images, run.unusable, len(run.frames)) == (IMAGES, 2, 8)
    assert run.warnings == [
        f"2 of {IMAGES} images have no people message: dropped",
        "2 images can't be decoded and were left out",
    ]


def test_only_images_up_to_the_last_that_was_asked_for_are_counted(tmp_path):
    path = write(tmp_path / "bag", ten_a_second(), damaged=(1, 8))
    run, nobody = found_anew(path, max_frames=4)
    assert [value for value, _ in nobody.seen] == [0, 2, 3, 4]
    assert (run.images, run.unusable) == (5, 1)
    assert run.warnings == ["1 images can't be decoded and were left out"]


def topics_of_one_camera(path: Path, *topics: str, count: int = 4, **words) -> Path:
    """Images, and on the k-th topic somebody k metres off, in all but ``but`` (topic, image)."""
    messages = []
    for n in range(count):
        stamp = 100 + n / 10
        image = raw_image(stamp, np.full((SIZE[1], SIZE[0], 3), n, np.uint8))
        messages += [("/cam/camera_info", camera_info(stamp, k=K, size=SIZE)), ("/cam/raw", image)]
        for k, topic in enumerate(topics):
            if (topic, n) not in words.get("but", ()):
                messages.append((topic, body_array(stamp, "cam", [(float(k), 0.0, 4.0)])))
    return write_bag(path, messages, words.get("plugin", StoragePlugin.MCAP))


def places(frames: list[BodyFrame]) -> set[int]:
    return {round(float(body.root[0])) for one in frames for body in one}


@pytest.mark.parametrize("topic", [None, "bodies", "/robot/bodies"])
def test_the_truth_is_never_taken_for_what_was_recorded(tmp_path, topic):
    names = ("/sim/bodies", "/robot/bodies", "/sim/bodies_raw", "/robot/bodies_raw")
    path = topics_of_one_camera(tmp_path / "bag", *names)
    run = inspect_bag(path)
    recorded(run, path, topic, truth="/sim/bodies")
    assert places(run.frames) == {1}
    assert run.raw is not None and places(run.raw) == {3}  # of its namespace
    scenes = recorded_truth(path, "/sim/bodies")
    assert places([scene.frame for scene in scenes]) == {0}


def test_who_is_meant_is_asked_where_it_is_not_clear(tmp_path):
    path = topics_of_one_camera(tmp_path / "bag", "/sim/bodies", "/robot/bodies", "/sim/bodies_raw")
    run = inspect_bag(path)
    with pytest.raises(InputError, match="2 topics bodies: /robot/bodies, /sim/bodies; state the"):
        recorded(run, path)
    with pytest.raises(InputError, match="2 topics bodies: /robot/bodies, /sim/bodies; state the"):
        recorded_truth(path, "bodies")
    for same in ("/sim/bodies", "sim/bodies"):
        with pytest.raises(InputError, match=f"--topic {same} is the truth, /sim/bodies: compared"):
            recorded(run, path, same, truth="/sim/bodies")
    recorded(run, path, "/robot/bodies")
    assert run.raw is None  # that of the simulator isn't of these
    assert any("no bodies_raw beside /robot/bodies" in told for told in run.warnings)


def test_only_the_truth_is_nobody_who_was_recorded(tmp_path):
    path = topics_of_one_camera(tmp_path / "bag", "/bodies")
    with pytest.raises(InputError, match="has no people on topic bodies besides /bodies"):
        recorded(inspect_bag(path), path, truth="bodies")


def test_images_with_people_before_smoothing_alone_have_their_moment_too(
    tmp_path,
):
    names = ("/truth", "/bodies", "/bodies_raw")
    path = topics_of_one_camera(tmp_path / "bag", *names, but=[("/bodies", 2)])
    run = inspect_bag(path)
    recorded(run, path, truth="truth")
    motion = CameraMotion(TransformTree(memory=10.0), "odom")
    judge(run, recorded_truth(path, "truth"), cut=False, numbered=True, motion=motion)
    assert run.truth is not None and run.truth.accuracy.frames == 3


def test_what_cannot_be_told_apart_is_said_in_the_report(tmp_path):
    path = write(tmp_path / "bag", [(0, 100.0), (1, 100.1), (2, 100.1), (3, 100.2)], without=(2,))
    run = inspect_bag(path)
    recorded(run, path)
    assert [one.index for one in run.frames] == [0, 3]
    assert len(run.warnings) == 2  # none says that images have no message
    assert "2 of them are left out" in run.warnings[1]


def test_a_type_that_nothing_tells_of_spoils_no_table_of_topics(tmp_path):
    path = topics_of_one_camera(tmp_path / "bag", "/bodies", "/own", plugin=StoragePlugin.SQLITE3)
    kind = "own_msgs/msg/Battery"
    (file,) = path.glob("*.db3")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE topics SET type = ? WHERE name = '/own'", (kind,))
        our = "topic_type LIKE 'smap_ros%'"
        database.execute(f"DELETE FROM message_definitions WHERE {our}")
        database.execute("UPDATE topics SET type_description_hash = ''")
    metadata = (path / "metadata.yaml").read_text()
    begin = metadata.index("name: /own")
    changed = metadata[begin:].replace("smap_ros/msg/BodyArray", kind, 1)
    lines = [one for one in (metadata[:begin] + changed).splitlines() if "RIHS" not in one]
    (path / "metadata.yaml").write_text("\n".join(lines))
    run = inspect_bag(path)
    assert run.warnings == []
    assert {topic.name: topic.messages for topic in run.topics} == {
        "/bodies": 4, "/own": 4, "/cam/camera_info": 4, "/cam/raw": 4,
    }  # fmt: skip
    recorded(run, path)
    assert places(run.frames) == {0}
