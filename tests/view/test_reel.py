"""Recordings that are played: a bodies.json and its pictures, and bags."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smap_ros.errors import InputError
from smap_ros.offline.results import ResultWriter
from smap_ros.view.reel import LONGEST, PAUSE, frame_times, open_reel
from smap_ros.view.spool import WIDTH, Spool
from smap_ros.view.vitals import Level
from smap_ros.viz.video import VideoWriter
from tests.bag_messages import body_array, camera_info, raw_image
from tests.bag_messages import write_bag as write_messages

ROOT = Path(__file__).resolve().parents[2]
INTRINSICS = (60.0, 0.0, 31.5, 0.0, 60.0, 23.5, 0.0, 0.0, 1.0)


def picture(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A picture that tells its number by its grey."""
    return np.full((size[1], size[0], 3), 10 * number + 20, np.uint8)


def number_of(image: np.ndarray | None) -> int:
    assert image is not None
    return round((float(image.mean()) - 20) / 10)


def write_json(path: Path, frames) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"frames": [frame.to_json() for frame in frames]}))
    return path


def write_video(path: Path, count: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = VideoWriter(path, rate=10)
    for k in range(count):
        writer.add(picture(k), k / 10)
    writer.close()
    return path


# --- pictures ------------------------------------------------------------------------------------


def test_a_spool_gives_pictures_in_any_order():
    spool = Spool((k, picture(k)) for k in range(20))
    assert spool.finish(20) and len(spool) == 20
    assert [number_of(spool.picture(k)) for k in (17, 0, 9)] == [17, 0, 9]
    assert spool.picture(20) is None
    spool.close()


def test_a_spool_keeps_pictures_small():
    spool = Spool(iter([(0, picture(3, (1920, 1080)))]))
    assert spool.finish(20)
    assert spool.picture(0).shape == (360, WIDTH, 3)
    spool.close()


def test_a_spool_that_is_closed_stops_reading():
    taken = []

    def endless() -> Iterator[tuple[int, np.ndarray]]:
        while True:
            taken.append(1)
            yield 0, picture(0)

    spool = Spool(endless())
    spool.close()
    assert taken and spool.finish(0)


def test_an_error_in_the_pictures_leaves_those_before_it(caplog):
    def broken() -> Iterator[tuple[int, np.ndarray]]:
        yield 0, picture(0)
        raise InputError("the video is cut off")

    with caplog.at_level(logging.WARNING):
        spool = Spool(broken())
        assert spool.finish(20)
    assert number_of(spool.picture(0)) == 0 and "cut off" in caplog.text
    spool.close()


# --- bodies.json ---------------------------------------------------------------------------------


def test_frames_take_the_time_of_their_stamps(frames):
    np.testing.assert_allclose(frame_times(frames), np.arange(20) / 10)


def test_pictures_other_sources_and_long_gaps_are_shown_a_while(frames):
    a, b, c = (replace(frames[0], source=f"{k}.jpg", stamp=0.0) for k in range(3))
    np.testing.assert_allclose(frame_times([a, b, c]), [0, PAUSE, 2 * PAUSE])
    late = replace(frames[1], stamp=1000.0)
    again = replace(frames[2], stamp=0.5)  # set back: a clip that looped
    np.testing.assert_allclose(frame_times([frames[0], late, again]), [0, LONGEST, LONGEST + PAUSE])


@pytest.mark.parametrize("place", ["walk.mp4", "../walk.mp4"])
def test_the_video_of_the_results_is_found_beside_them_or_above(tmp_path, frames, place):
    file = write_json(tmp_path / "out" / "bodies.json", frames[5:8])
    write_video(file.parent / place, 20)
    for path in (file, file.parent):
        with open_reel(path) as reel:
            assert reel.spool.finish(20) and reel.name == "out"
            # By their index in the video.
            assert [number_of(reel.spool.picture(k)) for k in range(3)] == [5, 6, 7]
            assert reel.vitals_at(0) == []


def test_the_video_may_be_stated(tmp_path, frames):
    file = write_json(tmp_path / "out" / "bodies.json", frames[2:4])
    video = write_video(tmp_path / "elsewhere" / "renamed.mp4", 6)
    with open_reel(file, video) as reel:
        assert reel.spool.finish(20)
        assert [number_of(reel.spool.picture(k)) for k in range(2)] == [2, 3]


def test_what_a_run_left_is_played_with_its_annotated_pictures(tmp_path, frames):
    with ResultWriter(tmp_path) as writer:
        writer.begin("walk.mp4", moving=True, rate=10)
        for k in range(0, 20, 2):
            writer.add(picture(0, (640, 360)), frames[k])
    with open_reel(tmp_path) as reel:
        assert len(reel.frames) == 10 and reel.spool.finish(20) and len(reel.spool) == 10
        np.testing.assert_allclose(reel.times, np.arange(10) / 5)
        assert [f.index for f in reel.before(9, 0.5)] == [14, 16, 18]


def test_single_pictures_are_found_by_their_names(tmp_path, frames):
    shots = [replace(frames[k], source=f"{k}.png", index=0, stamp=0.0) for k in range(3)]
    file = write_json(tmp_path / "bodies.json", shots)
    cv2.imwrite(str(tmp_path / "1.png"), picture(1))
    (tmp_path / "pictures").mkdir()
    cv2.imwrite(str(tmp_path / "pictures" / "2.png"), picture(2))
    with open_reel(file) as reel:
        assert reel.spool.finish(20) and len(reel.spool) == 1
        assert number_of(reel.spool.picture(1)) == 1
        assert [f.source for f in reel.before(1, 9)] == ["1.png"]
    with open_reel(file, tmp_path / "pictures") as reel:
        assert reel.spool.finish(20)
        assert number_of(reel.spool.picture(2)) == 2


def test_without_any_picture_the_people_are_played_alone(tmp_path, frames):
    with open_reel(write_json(tmp_path / "bodies.json", frames)) as reel:
        assert reel.spool.finish(20) and len(reel.spool) == 0


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "is no recording"), ("{}", "isn't a bodies.json"), ('{"frames":[]}', "has no frames")],
)
def test_what_cannot_be_played_is_refused(tmp_path, content, reason):
    path = tmp_path / "bodies.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=reason), open_reel(path):
        pass


# --- bags ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store():
    store = get_typestore(Stores.ROS2_JAZZY)
    for name in ("Body", "BodyArray"):
        text = (ROOT / "msg" / f"{name}.msg").read_text()
        store.register(get_types_from_msg(text, f"smap_ros/msg/{name}"))
    return store


def write_bag(path: Path, store, frames, plugin, topics=("image", "bodies", "info")) -> Path:
    """Images, people and diagnostics of frames, from second 100 on."""
    types = store.types

    def header(k: int):
        after, nanoseconds = divmod(round(frames[k].stamp * 1e9), 10**9)
        stamp = types["builtin_interfaces/msg/Time"](100 + after, nanoseconds)
        return types["std_msgs/msg/Header"](stamp, "eye")

    def point(values):
        return types["geometry_msgs/msg/Point"](*(float(v) for v in values))

    def body(person):
        pose = types["geometry_msgs/msg/Pose"](
            point(person.root), types["geometry_msgs/msg/Quaternion"](0.0, 0.0, 0.0, 1.0)
        )
        return types["smap_ros/msg/Body"](
            id=person.id,
            score=0.9,
            box=np.zeros(4, np.float32),
            joints=np.arange(15, dtype=np.uint8),
            positions=[point(p) for p in person.joints_3d],
            pixels=np.zeros(30, np.float32),
            scores=person.scores,
            pose=pose,
            pose_oriented=False,
            predicted=False,
            depth_std=0.0,
        )

    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connections = {}

        def write(topic: str, k: int, message) -> None:
            if topic not in connections:
                connections[topic] = writer.add_connection(
                    topic, message.__msgtype__, typestore=store
                )
            data = store.serialize_cdr(message, message.__msgtype__)
            time = 100 * 10**9 + round(frames[k].stamp * 1e9) + 1000
            writer.write(connections[topic], time, data)

        for k, frame in enumerate(frames):
            if "info" in topics and k == 0:
                camera = frame.camera
                matrix = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1])
                roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
                write("/camera_info", k, types["sensor_msgs/msg/CameraInfo"](
                    header(k), 360, 640, "plumb_bob", np.zeros(5), matrix, np.eye(3).ravel(),
                    np.zeros(12), 0, 0, roi,
                ))  # fmt: skip
            if "image" in topics:
                data = cv2.imencode(".png", picture(k, (640, 360)))[1].ravel()
                message = types["sensor_msgs/msg/CompressedImage"](header(k), "png", data)
                write("/image/compressed", k, message)
            if "bodies" in topics:
                write("/bodies", k, types["smap_ros/msg/BodyArray"](
                    header(k), "mpi15", 640, 360, [body(person) for person in frame],
                ))  # fmt: skip
            value = types["diagnostic_msgs/msg/KeyValue"]("rate in [Hz]", str(float(k)))
            status = types["diagnostic_msgs/msg/DiagnosticStatus"](
                1 if k > 10 else 0, "pose3d_node: pose estimation", "words", "x", [value]
            )
            write("/diagnostics", k, types["diagnostic_msgs/msg/DiagnosticArray"](
                header(k), [status]
            ))  # fmt: skip
    return path


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
def test_a_bag_is_played_with_its_pictures_and_the_state_of_the_graph(
    tmp_path, store, frames, plugin
):
    bag = write_bag(tmp_path / "run", store, frames, plugin)
    with open_reel(bag) as reel:
        assert reel.name == "run" and len(reel.frames) == 20
        np.testing.assert_allclose(reel.times, np.arange(20) / 10, atol=1e-6)
        assert reel.frames[4].camera.fx == pytest.approx(frames[4].camera.fx)
        got = reel.frames[4].bodies[1]
        np.testing.assert_allclose(got.joints_3d, frames[4].bodies[1].joints_3d, atol=1e-6)
        assert reel.spool.finish(20)
        assert [number_of(reel.spool.picture(k)) for k in (13, 2)] == [13, 2]
        (early,), (late,) = reel.vitals_at(0), reel.vitals_at(15)
        assert (early.rate_in, early.level) == (0.0, Level.OK)
        assert (late.rate_in, late.level) == (14.0, Level.WARN)


def test_a_bag_that_was_cut_off_is_played_as_far_as_it_goes(tmp_path, store, frames, caplog):
    bag = write_bag(tmp_path / "run", store, frames, StoragePlugin.MCAP)
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[: int(0.6 * file.stat().st_size)])
    with open_reel(bag) as reel:
        assert 3 < len(reel.frames) < 20 and reel.name == "run"
    assert "damaged" in caplog.text


def test_of_people_on_two_topics_those_nearest_to_the_images_are_played(tmp_path, caplog):
    """And where a driver is stuck, each image has its own people."""

    def messages():
        for k, stamp in enumerate((100, 101, 101)):
            yield "/robot/camera_info", camera_info(stamp, size=(64, 48), k=INTRINSICS)
            yield "/robot/image_raw", raw_image(stamp, picture(k))
            for topic, x in (("/a/bodies", 9.0), ("/robot/bodies", float(k))):
                yield topic, body_array(stamp, "cam", [(x, 0.0, 4.0)])

    with open_reel(write_messages(tmp_path / "run", messages())) as reel:
        assert [round(float(one.bodies[0].root[0])) for one in reel.frames] == [0, 1, 2]
        assert reel.spool.finish(20)
        assert [number_of(reel.spool.picture(k)) for k in range(3)] == [0, 1, 2]
    assert "people are on /a/bodies and /robot/bodies: showing /robot/bodies" in caplog.text
    assert "2 images have stamps that others have too" in caplog.text


def test_after_a_gap_a_bag_tells_the_state_of_that_time(tmp_path, store, frames):
    """Though the gap itself isn't waited for."""
    late = [replace(frame, stamp=frame.stamp + 60 * (frame.index > 9)) for frame in frames]
    with open_reel(write_bag(tmp_path / "run", store, late, StoragePlugin.MCAP)) as reel:
        assert reel.times[10] == pytest.approx(0.9 + LONGEST)
        assert [reel.vitals_at(k)[0].rate_in for k in (9, 10, 15)] == [8.0, 9.0, 14.0]
        assert reel.time_at(15) == pytest.approx(61.5)


def test_a_bag_tells_who_was_only_predicted(tmp_path):
    def messages():
        for k in range(3):
            yield "/camera_info", camera_info(100 + k, size=(64, 48), k=INTRINSICS)
            yield "/image_raw", raw_image(100 + k, picture(k))
            people = body_array(100 + k, "cam", [(0.0, 0.0, 4.0), (1.0, 0.0, 4.0)])
            people.bodies[1].predicted = k == 2
            yield "/bodies", people

    with open_reel(write_messages(tmp_path / "run", messages())) as reel:
        expected = [(False, False), (False, False), (False, True)]
        assert [reel.predicted_at(k) for k in range(3)] == expected


def test_a_bag_without_people_says_how_to_find_them(tmp_path, store, frames):
    bag = write_bag(tmp_path / "run", store, frames, StoragePlugin.MCAP, ("image", "info"))
    with pytest.raises(InputError, match="smap-ros estimate"), open_reel(bag):
        pass


def test_images_are_not_stated_for_a_bag(tmp_path, store, frames):
    bag = write_bag(tmp_path / "run", store, frames, StoragePlugin.MCAP)
    with pytest.raises(InputError, match="is for a bodies"), open_reel(bag, tmp_path):
        pass
