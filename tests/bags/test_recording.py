"""What a graph left in a bag that holds more than its own camera."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin

from smap_ros.bags.recording import images_of, read_recording
from smap_ros.errors import CameraError, InputError
from tests.bag_messages import body_array, camera_info, raw_image, write_bag

COUNT = 4


def shade(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


def info(stamp: float, frame: str, focal: float, **fields):
    k = (focal, 0, 31.5, 0, focal, 23.5, 0, 0, 1)
    return camera_info(stamp, frame, size=(64, 48), k=k, **fields)


def stereo(left_frame: str = "left", right_frame: str = "right", people=("left", "right")):
    """Two cameras with equal stamps, as `ros2 bag record -a` leaves them, and depth."""
    for k in range(COUNT):
        stamp = 100 + k
        for side, frame, value in (("left", left_frame, 50), ("right", right_frame, 150)):
            focal = 60.0 if side == "left" else 80.0
            yield f"/{side}/camera_info", info(stamp, frame, focal)
            yield f"/{side}/image_raw", raw_image(stamp, shade(value + k), frame)
            yield f"/{side}/image_annotated", raw_image(stamp, shade(0), frame)
            if side in people:
                place = (0.0, 0.0, 2.0 if side == "left" else 5.0)
                yield f"/{side}/bodies", body_array(stamp, frame, [place])
                yield f"/{side}/bodies_raw", body_array(stamp, frame, [place])
        depth = np.full((48, 64), 2000, np.uint16)
        yield "/left/depth/image_rect_raw", raw_image(stamp, depth, left_frame, "16UC1")


def summary(recording) -> tuple:
    frames = [*recording.frames("bodies")]
    brightness = [int(image.mean()) for image, _ in frames]
    distances = [round(float(body.root[2])) for _, frame in frames for body in frame]
    return recording.topic, recording.camera.fx, brightness, distances


LEFT = ("/left/image_raw", 60, [50, 51, 52, 53], [2] * COUNT)
RIGHT = ("/right/image_raw", 80, [150, 151, 152, 153], [5] * COUNT)


@pytest.mark.parametrize("frames", [("left", "right"), ("camera", "camera")])
def test_a_camera_is_chosen_with_its_own_calibration_and_people(tmp_path, caplog, frames):
    bag = write_bag(tmp_path / "bag", stereo(*frames))
    for topic, expected in (("/left/image_raw", LEFT), ("right/image_raw", RIGHT)):
        recording = read_recording(bag, topic)
        assert recording.image_stamps == [(100 + k) * 10**9 for k in range(COUNT)]
        assert summary(recording) == expected
    assert not caplog.text
    assert summary(read_recording(bag)) == LEFT
    assert "also there: /right/image_raw" in caplog.text


@pytest.mark.parametrize("frames", [("left", "right"), ("camera", "camera")])
def test_without_a_choice_it_is_the_camera_that_people_were_found_in(tmp_path, caplog, frames):
    bag = write_bag(tmp_path / "bag", stereo(*frames, people=("right",)))
    assert summary(read_recording(bag)) == RIGHT
    assert not caplog.text


def test_windows_and_rectified_images_are_read_as_everywhere(tmp_path):
    p = (50.0, 0, 33.0, 0, 0, 50.0, 25.0, 0, 0, 0, 1, 0)
    lens = {"d": (-0.3, 0.1, 0, 0, 0), "p": p}

    def bag(name: str, image: str, **fields):
        rows = [
            ("/c/camera_info", info(1, "c", 60.0, **fields)),
            ("/c/bodies", body_array(1, "c", [])),
        ]
        return write_bag(tmp_path / name, [*rows, (f"/c/{image}", raw_image(1, shade(9), "c"))])

    rectified = read_recording(bag("a", "image_rect", **lens))
    assert (rectified.camera.fx, rectified.camera.distortion) == (50, ())
    assert "P without distortion" in rectified.camera_source
    raw = read_recording(bag("b", "image_rect", **lens), rectified="no")
    assert (raw.camera.fx, bool(raw.camera.distortion)) == (60, True)
    window = read_recording(bag("c", "image_raw", roi=(20, 10, 64, 48)))
    assert (window.camera.cx, window.camera.cy) == (11.5, 13.5)


def test_a_recording_without_a_usable_calibration_says_why(tmp_path):
    rows = [("/c/image_raw", raw_image(1, shade(9), "c")), ("/c/bodies", body_array(1, "c", []))]
    with pytest.raises(InputError, match=r"no CameraInfo that belongs to /c/image_raw; it has /d/"):
        read_recording(write_bag(tmp_path / "a", [*rows, ("/d/camera_info", info(1, "d", 60.0))]))
    with pytest.raises(CameraError, match="/c/camera_info of /c/image_raw: K is impossible"):
        read_recording(write_bag(tmp_path / "b", [*rows, ("/c/camera_info", info(1, "c", 0.8))]))


def test_latency_is_that_of_stamps_of_the_recorder_s_clock_alone(tmp_path):
    """A replay under its recording's stamps arrives years later."""

    def messages():
        for k in range(COUNT):
            yield "/cam/camera_info", info(100 + k, "cam", 60.0)
            yield "/cam/image_raw", raw_image(100 + k, shade(50 + k), "cam")
            yield "/cam/bodies", body_array(100 + k, "cam", [(0.0, 0.0, 2.0)])

    for late, expected in ((0.25, [250.0] * COUNT), (9e7, [])):
        bag = write_bag(tmp_path / f"{late:g}", messages(), late=late)
        assert read_recording(bag).latency_ms["bodies"] == pytest.approx(expected)


def test_what_comes_before_the_damage_is_read(tmp_path, caplog):
    bag = write_bag(tmp_path / "bag", stereo(people=("left",)), StoragePlugin.SQLITE3)
    (file,) = bag.glob("*.db3")
    with closing(sqlite3.connect(file)) as database, database:
        for topic, last in (("/left/bodies", 2), ("/left/image_raw", 3)):
            database.execute(
                "UPDATE messages SET data = substr(data, 1, 30) WHERE timestamp > ? AND topic_id ="
                " (SELECT id FROM topics WHERE name = ?)",
                ((100 + last) * 10**9 - 1, topic),
            )
    recording = read_recording(bag, "/left/image_raw")
    assert recording.image_stamps == [(100 + k) * 10**9 for k in range(3)]
    assert summary(recording) == ("/left/image_raw", 60, [50, 51], [2, 2])
    assert "/left/image_raw is damaged after 3 messages" in caplog.text
    assert "/left/bodies is damaged after 2 messages" in caplog.text


@pytest.mark.parametrize(
    ("stamps", "counted"),
    [
        ([100, 102, 104, 104.1], [104, 104.1]),  # shown until somebody answered
        ([100, 100, 100, 100.1], [100, 100.1]),  # the same under stamps of its own
        ([100, 100.1, 100.2, 100.3], [100, 100.1, 100.2, 100.3]),  # nothing moves
    ],
)
def test_a_first_image_counts_once_however_often_it_was_shown(tmp_path, stamps, counted):
    def messages():
        for stamp in stamps:
            yield "/cam/camera_info", info(stamp, "cam", 60.0)
            yield "/cam/image_raw", raw_image(stamp, shade(50), "cam")
            yield "/cam/bodies_raw", body_array(stamp, "cam", [(0.0, 0.0, 2.0)])

    recording = read_recording(write_bag(tmp_path / "bag", messages()))
    assert recording.image_stamps == [round(stamp * 1e9) for stamp in counted]
    assert recording.processed == recording.image_stamps
    frames = [frame for _, frame in recording.frames("bodies_raw")]
    assert [frame.index for frame in frames] == [*range(len(counted))]


@pytest.mark.parametrize(
    ("stamps", "shades"),
    [
        ([100, 100, 101, 102], [50, 50, 60, 70]),  # the first shown twice
        ([100, 101, 101, 102], [50, 60, 70, 80]),  # two images of a driver that is stuck
    ],
)
def test_each_image_that_counts_comes_once_with_its_number(tmp_path, stamps, shades):
    def messages():
        for stamp, value in zip(stamps, shades, strict=True):
            yield "/cam/camera_info", info(stamp, "cam", 60.0)
            yield "/cam/image_raw", raw_image(stamp, shade(value), "cam")
            yield "/cam/bodies", body_array(stamp, "cam", [(0.0, 0.0, 2.0)])

    recording = read_recording(write_bag(tmp_path / "bag", messages()))
    frames = [*recording.frames("bodies")]
    assert [frame.index for _, frame in frames] == [*range(len(recording.image_stamps))]
    assert [int(image.mean()) for image, _ in frames] == sorted(set(shades))


def test_an_image_that_cannot_be_decoded_costs_no_other(tmp_path, caplog):
    def messages():
        for k in range(COUNT):
            image = raw_image(100 + k, shade(50 + k), "cam")
            if k == 1:
                image.encoding = "nobody's"
            yield "/cam/camera_info", info(100 + k, "cam", 60.0)
            yield "/cam/image_raw", image
            yield "/cam/bodies", body_array(100 + k, "cam", [(0.0, 0.0, 2.0)])

    recording = read_recording(write_bag(tmp_path / "bag", messages()))
    frames = [*recording.frames("bodies")]
    assert [frame.index for _, frame in frames] == [0, 2, 3]
    assert [int(image.mean()) for image, _ in frames] == [50, 52, 53]
    assert "image 1 of /cam/image_raw is skipped" in caplog.text


def walk(stamps, people=None, topics=("/cam/bodies",)):
    """Images of these stamps, the k-th with somebody at k metres unless ``people`` lacks it."""
    for k, stamp in enumerate(stamps):
        yield "/cam/camera_info", info(stamp, "cam", 60.0)
        yield "/cam/image_raw", raw_image(stamp, shade(50 + k), "cam")
        if people is None or k in people:
            for far, topic in enumerate(topics):
                yield topic, body_array(stamp, "cam", [(0.0, 0.0, k + 1.0 + 20 * far)])


def distances(recording, topic: str) -> dict[int, list[int]]:
    return {
        frame.index: [round(float(body.root[2])) for body in frame]
        for _, frame in recording.frames(topic)
    }


def test_people_of_topics_that_end_alike_are_kept_apart(tmp_path):
    topics = ("/robot/bodies", "/sim/bodies", "/robot/bodies_raw")
    recording = read_recording(write_bag(tmp_path / "bag", walk([1, 2], topics=topics)))
    assert {name: distances(recording, name) for name in recording.people} == {
        "/robot/bodies": {0: [1], 1: [2]},
        "/sim/bodies": {0: [21], 1: [22]},
        "bodies_raw": {0: [41], 1: [42]},
    }
    for wanted, name in {"/sim/bodies": "/sim/bodies", "robot/bodies": "/robot/bodies"}.items():
        assert recording.named(wanted) == name
    assert recording.named("bodies_raw") == recording.named("/robot/bodies_raw") == "bodies_raw"
    assert recording.named("bodies", besides="/sim/bodies") == "/robot/bodies"
    both = "has people on 2 topics bodies: /robot/bodies, /sim/bodies; state the whole name of one"
    with pytest.raises(InputError, match=both):
        recording.named("bodies")
    with pytest.raises(InputError, match="no people on topic /bodies_raw; it has /robot/bodies, "):
        recording.named("/bodies_raw")


def test_a_whole_name_is_meant_before_an_end(tmp_path):
    recording = read_recording(
        write_bag(tmp_path / "b", walk([1], topics=("/bodies", "/x/bodies")))
    )
    assert recording.named("/bodies") == "/bodies"
    with pytest.raises(InputError, match="2 topics bodies: /bodies, /x/bodies"):
        recording.named("bodies")


def test_images_are_those_that_the_people_asked_for_are_of(tmp_path):
    messages = [*stereo(), *(("/right/truth", body_array(100 + k, "right", [])) for k in range(2))]
    bag = write_bag(tmp_path / "bag", messages)
    assert images_of(bag, "/right/truth") == images_of(bag, "truth") == "/right/image_raw"
    assert images_of(bag, "/left/bodies") == "/left/image_raw"
    assert read_recording(bag, people="truth").topic == "/right/image_raw"
    left = read_recording(bag, "/left/image_raw")
    told = (
        "people on /right/truth of bag .* are of /right/image_raw, not of /left/image_raw; choose"
    )
    with pytest.raises(InputError, match=told):
        left.named("truth")


@pytest.mark.parametrize(
    ("stamps", "people", "expected"),
    [
        ([1, 1, 2, 2], None, {0: [1], 1: [2], 2: [3], 3: [4]}),  # a stuck driver
        ([0, 0, 0, 0], None, {0: [1], 1: [2], 2: [3], 3: [4]}),  # no stamps
        ([1, 1, 2, 3], (0, 2, 3), {2: [3], 3: [4]}),  # nobody knows whose the first is
    ],
)
def test_images_of_one_stamp_have_each_its_own_people(tmp_path, stamps, people, expected):
    recording = read_recording(write_bag(tmp_path / "bag", walk(stamps, people), late=0.25))
    assert distances(recording, "bodies") == expected
    found = recording.people["bodies"]
    alone = [stamp for stamp in stamps if stamps.count(stamp) == 1]
    assert found.latency_ms == pytest.approx([250] * len(alone))
    assert found.unclear == 4 - len(expected)
    alike = f"{4 - len(alone)} images have stamps that others have too: the messages on /cam/bodies"
    assert found.problems[0].startswith(alike)
    left_out = any("2 of them are left out" in told for told in found.problems)
    assert left_out == (found.unclear == 2)


def test_of_several_messages_for_one_image_the_last_counts_and_that_is_said(tmp_path):
    messages = [*walk([1, 2]), ("/cam/bodies", body_array(2, "cam", [(0.0, 0.0, 9.0)]))]
    recording = read_recording(write_bag(tmp_path / "bag", messages))
    assert distances(recording, "bodies") == {0: [1], 1: [9]}
    told = "1 images have more than one message on /cam/bodies: the last counts"
    assert recording.people["bodies"].problems == [told]


def test_a_first_image_shown_again_takes_no_other_s_people(tmp_path):
    """Where no image has a stamp."""

    def messages():
        for k, value in enumerate((50, 50, 60, 70)):
            yield "/cam/camera_info", info(0, "cam", 60.0)
            yield "/cam/image_raw", raw_image(0, shade(value), "cam")
            yield "/cam/bodies", body_array(0, "cam", [(0.0, 0.0, k + 1.0)])

    recording = read_recording(write_bag(tmp_path / "bag", messages()))
    seen = [(int(image.mean()), one.bodies[0].root[2]) for image, one in recording.frames("bodies")]
    assert seen == [(50, 2), (60, 3), (70, 4)]


def test_latencies_by_a_clock_that_is_behind_are_left_out_and_that_is_said(tmp_path):
    recording = read_recording(write_bag(tmp_path / "bag", walk([1, 2, 3]), late=-0.3))
    assert recording.latency_ms["bodies"] == []
    (told,) = recording.people["bodies"].problems
    assert told.startswith("3 of 3 messages on /cam/bodies arrived before their images' stamps, by")
    assert "by up to 300 ms: the recorder's clock is behind" in told
