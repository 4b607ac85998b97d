"""Damage in bags that are compressed or databases: told as what it is, whichever library meets it.

What was read before the damage stays.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from smap_ros.bags.reader import READ_ERRORS, open_bag
from smap_ros.bags.salvage import ReadableBag
from smap_ros.errors import InputError
from smap_ros.sources import open_source
from tests.bag_messages import STORE, STORE1, camera_info, raw_image, write_bag

IMAGES = 6
ZSTD, LZ4 = b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"  # how compressed data begin
SHAPE = (480, 640, 3)  # of the pictures: three of them in each of the chunks


def picture(k: int) -> np.ndarray:
    """Noise of four bits, which is compressed to half."""
    return np.random.default_rng(k).integers(0, 16, SHAPE, np.uint8)


def messages(store=STORE):
    size = (SHAPE[1], SHAPE[0])
    for k in range(IMAGES):
        yield "/cam/camera_info", camera_info(100 + k, size=size, store=store)
        yield "/cam/image_raw", raw_image(100 + k, picture(k), store=store)


def fill(writer, store, serialize) -> None:
    connections = {}
    for number, (topic, message) in enumerate(messages(store)):
        kind = message.__msgtype__
        if topic not in connections:
            connections[topic] = writer.add_connection(topic, kind, typestore=store)
        writer.write(connections[topic], 100 * 10**9 + number, serialize(message, kind))


def rosbag2(path: Path, plugin: StoragePlugin, mode: CompressionMode | None = None) -> Path:
    """A bag; where it is compressed, by zstd."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        fill(writer, STORE, STORE.serialize_cdr)
    return path


def rosbag1(path: Path) -> Path:
    writer = Writer1(path)
    writer.chunk_threshold = 2**21
    writer.set_compression(Writer1.CompressionFormat.LZ4)
    with writer:
        fill(writer, STORE1, STORE1.serialize_ros1)
    return path


def file_of(bag: Path) -> Path:
    files = [bag] if bag.is_file() else [f for f in bag.iterdir() if f.suffix != ".yaml"]
    (file,) = files
    return file


def spoil_last(bag: Path, magic: bytes) -> None:
    """Spoil what was compressed last."""
    file = file_of(bag)
    data = file.read_bytes()
    place = data.rindex(magic)
    file.write_bytes(data[:place] + b"\xff" * 4 + data[place + 4 :])


def zstd_chunk(tmp_path: Path) -> Path:
    bag = rosbag2(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.STORAGE)
    spoil_last(bag, ZSTD)
    return bag


def zstd_message(tmp_path: Path) -> Path:
    bag = rosbag2(tmp_path / "bag", StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    with closing(sqlite3.connect(file_of(bag))) as database, database:
        database.execute("UPDATE messages SET data = substr(data, 1, 99) WHERE id = ?", (2 * 4,))
    return bag


def sqlite_page(tmp_path: Path) -> Path:
    """The fourth picture goes on on a page that there isn't."""
    bag = rosbag2(tmp_path / "bag", StoragePlugin.SQLITE3)
    file = file_of(bag)
    data = bytearray(file.read_bytes())
    page = data.index(picture(3).tobytes()[9000:9020]) // 4096 * 4096
    data[page : page + 4] = b"\xff" * 4
    file.write_bytes(data)
    return bag


def lz4_chunk(tmp_path: Path) -> Path:
    bag = rosbag1(tmp_path / "bag.bag")
    spoil_last(bag, LZ4)
    return bag


@pytest.mark.parametrize("damaged", [zstd_chunk, zstd_message, sqlite_page, lz4_chunk])
def test_what_comes_before_the_damage_is_read_and_the_damage_told(
    tmp_path, caplog, damaged: Callable[[Path], Path]
):
    bag = damaged(tmp_path)
    read: list[object] = []
    with open_bag(bag) as reader, pytest.raises(READ_ERRORS):
        read.extend(map(itemgetter(0), reader.messages()))
    source = open_source(bag)
    frames = [*source]
    assert 0 < len(frames) <= len(read) < 2 * IMAGES
    assert all(np.array_equal(frame.image, picture(frame.index)) for frame in frames)
    assert f"is damaged after {len(frames)} images" in source.damage[0]
    assert source.damage[0] in caplog.text


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_bag_that_was_compressed_as_a_file_is_saved_as_far_as_it_goes(tmp_path, plugin, share):
    bag = rosbag2(tmp_path / "bag", plugin, CompressionMode.FILE)
    file = file_of(bag)
    assert file.suffix == ".zstd"
    os.truncate(file, int(share * file.stat().st_size))
    saved = ReadableBag(bag)
    assert saved.damaged and "is damaged: the " in saved.note
    frames = [*open_source(saved.path)]
    assert abs(len(frames) - share * IMAGES) <= 1.5
    assert all(np.array_equal(frame.image, picture(frame.index)) for frame in frames)


def test_a_compressed_file_of_which_nothing_can_be_had_is_refused(tmp_path):
    bag = rosbag2(tmp_path / "bag", StoragePlugin.SQLITE3, CompressionMode.FILE)
    spoil_last(bag, ZSTD)
    with pytest.raises(InputError, match="can't be opened as a ROS bag"):
        ReadableBag(bag)


def test_a_damaged_chunk_of_a_file_without_its_summary_costs_only_its_messages(tmp_path):
    bag = zstd_chunk(tmp_path)
    file = file_of(bag)
    data = bytearray(file.read_bytes())
    data[-28:-12] = bytes(16)  # where the summary is
    alone = tmp_path / "alone.mcap"
    alone.write_bytes(data)
    saved = ReadableBag(alone)
    # Though the file has its end.
    assert saved.damaged and "is damaged: the " in saved.note
    assert 0 < len([*open_source(saved.path)]) < IMAGES


def test_messages_that_are_compressed_one_by_one_are_saved(tmp_path):
    bag = rosbag2(tmp_path / "bag", StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    file = file_of(bag)
    os.truncate(file, int(0.8 * file.stat().st_size))
    saved = ReadableBag(bag)
    frames = [*open_source(saved.path)]
    assert 3 <= len(frames) < IMAGES
    assert all(np.array_equal(frame.image, picture(frame.index)) for frame in frames)


# --- calibrations and names ----------------------------------------------------------------------


def test_images_of_a_damaged_calibration_come_without_one(tmp_path, caplog):
    bag = write_bag(tmp_path / "bag", messages(), StoragePlugin.SQLITE3)
    with closing(sqlite3.connect(file_of(bag))) as database, database:
        database.execute(
            "UPDATE messages SET data = substr(data, 1, 30) WHERE topic_id ="
            " (SELECT id FROM topics WHERE name = '/cam/camera_info')"
        )
    source = open_source(bag)
    assert (source.calibrated, source.camera_source) == (False, "no CameraInfo")
    frames = [*source]
    assert [frame.index for frame in frames] == [*range(IMAGES)]
    assert all(frame.camera is None for frame in frames)
    assert "the calibration /cam/camera_info of" in caplog.text
    assert "the images are taken as uncalibrated" in caplog.text


def test_a_name_that_is_not_utf8_is_shown_as_text(tmp_path):
    bag = write_bag(tmp_path / "bag", messages())
    named = tmp_path / os.fsdecode(b"bag\xe9")
    shutil.move(bag, named)
    source = open_source(named)
    assert source.name == "bagé:/cam/image_raw"
    assert next(iter(source)).source == source.name
