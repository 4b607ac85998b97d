"""Bags of ROS 1, and its messages in MCAP: read as the same messages of ROS 2 are."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from smap_ros.bags.reader import open_bag
from smap_ros.bags.salvage import ReadableBag, ros2_name
from smap_ros.errors import InputError
from smap_ros.evaluation.bags.measures import read_topics
from smap_ros.sources import is_bag, open_source
from tests.bag_messages import STORE1, camera_info, raw_image, write_ros1_bag

MESSAGES = 30
FOCAL = 60.0
INFO = {"size": (64, 48), "k": (FOCAL, 0, 31.5, 0, FOCAL, 23.5, 0, 0, 1), "store": STORE1}


def messages(start: int = 0):
    """10 Hz, each picture as bright as its number, and a calibration each."""
    for k in range(start, start + MESSAGES):
        stamp = 100 + k / 10
        yield "/cam/camera_info", camera_info(stamp, **INFO)
        pixels = np.full((48, 64, 3), k, np.uint8)
        yield "/cam/image_raw", raw_image(stamp, pixels, store=STORE1)


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(data)) + data


def write_ros1_mcap(path: Path, profile: str = "ros1", end: bool = True) -> Path:
    """As the recorders of ROS 1 that write MCAP leave it, without chunks and index."""
    magic = b"\x89MCAP0\r\n"
    parts = [magic, record(1, text(profile) + text("a test"))]
    channels: dict[str, int] = {}
    for topic, message in messages():
        kind = message.__msgtype__
        if topic not in channels:
            number = channels[topic] = len(channels) + 1
            definition = STORE1.generate_msgdef(kind)[0]
            name = kind.replace("/msg/", "/")
            schema = struct.pack("<H", number) + text(name) + text("ros1msg") + text(definition)
            channel = struct.pack("<HH", number, number) + text(topic) + text("ros1") + text("")
            parts += [record(3, schema), record(4, channel)]
        time = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        head = struct.pack("<HIQQ", channels[topic], 0, time, time)
        parts.append(record(5, head + bytes(STORE1.serialize_ros1(message, kind))))
    if end:
        parts += [record(15, bytes(4)), record(2, bytes(20)), magic]
    path.write_bytes(b"".join(parts))
    return path


def check(path: Path, count: int = MESSAGES) -> None:
    """Steady topics, right pictures, and the right camera."""
    topics, seconds, warnings = read_topics(path)
    assert not warnings and seconds == pytest.approx((count - 1) / 10)
    for topic in topics:
        assert topic.messages == count
        assert topic.rate == pytest.approx(10, rel=1e-3)
        assert (topic.backwards, topic.gaps, topic.missing) == (0, 0, 0)
    frames = list(open_source(str(path)))
    assert [int(frame.image.mean()) for frame in frames] == list(range(count))
    assert [frame.stamp for frame in frames] == pytest.approx([100 + k / 10 for k in range(count)])
    assert {frame.camera.fx for frame in frames} == {FOCAL}
    assert {frame.frame_id for frame in frames} == {"cam"}


def test_a_bag_of_ros_1_is_read_with_its_stamps(tmp_path):
    check(write_ros1_bag(tmp_path / "old.bag", messages()))


def test_the_parts_of_a_split_recording_are_one(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for part in range(2):
        write_ros1_bag(folder / f"run_{part}.bag", messages(part * MESSAGES))
    assert is_bag(folder)
    check(folder, 2 * MESSAGES)


@pytest.mark.parametrize("profile", ["ros1", "", "ros2"])
def test_messages_of_ros_1_in_mcap_are_converted_aloud(tmp_path, caplog, profile):
    path = write_ros1_mcap(tmp_path / "old.mcap", profile)
    with pytest.raises(InputError, match="can't be opened as a ROS bag"), open_bag(path):
        pass
    bag = ReadableBag(path)
    assert f"holds {2 * MESSAGES} messages of ROS 1 in MCAP" in bag.note and not bag.damaged
    check(bag.path)
    assert [int(frame.image.mean()) for frame in open_source(str(path))] == list(range(MESSAGES))
    assert "which were converted" in caplog.text


def test_messages_of_ros_1_in_an_mcap_that_was_cut_off(tmp_path):
    bag = ReadableBag(write_ros1_mcap(tmp_path / "old.mcap", end=False))
    assert "ROS 1" in bag.note and "damaged" in bag.note and bag.damaged
    check(bag.path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_bag_of_ros_1_that_was_cut_off_is_told_what_mends_it(tmp_path, share):
    path = write_ros1_bag(tmp_path / "old.bag", messages())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match=r"old\.bag can't be .* `rosbag reindex` of ROS 1"):
        open_source(str(path))


def test_names_of_types_are_those_of_ros_2():
    assert ros2_name("sensor_msgs/Image") == "sensor_msgs/msg/Image"
    assert ros2_name("sensor_msgs/msg/Image") == "sensor_msgs/msg/Image"
    assert ros2_name("Image") == "Image"
