"""Bags that were cut off: what was whole is saved, what wasn't is not made up."""

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from smap_ros.bags.reader import open_bag
from smap_ros.bags.salvage import ReadableBag
from smap_ros.errors import InputError
from tests.bag_messages import body_array, write_bag

MESSAGES = 60


@pytest.fixture(scope="module")
def store():
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("uint32 number\nuint8[] data\n", "own_msgs/msg/Numbered"))
    return store


def write(path: Path, store, plugin: StoragePlugin, compressed: bool | CompressionMode) -> Path:
    """Messages of a type of our own, each with 5 kB that don't compress."""
    kind = store.types["own_msgs/msg/Numbered"]
    writer = Writer(path, version=9, storage_plugin=plugin)
    if compressed:
        mode = CompressionMode.STORAGE if compressed is True else compressed
        writer.set_compression(mode, CompressionFormat.ZSTD)
    rng = np.random.default_rng(0)
    with writer:
        connection = writer.add_connection("/numbers", kind.__msgtype__, typestore=store)
        for k in range(MESSAGES):
            data = rng.integers(0, 255, 5000, np.uint8)
            message = store.serialize_cdr(kind(number=k, data=data), kind.__msgtype__)
            writer.write(connection, 10**9 * k, message)
    return path


def numbers(path: Path) -> list[int]:
    with open_bag(path) as reader:
        found = [
            reader.deserialize(raw, connection.msgtype) for connection, _, raw in reader.messages()
        ]
    assert all(len(message.data) == 5000 for message in found)
    return [message.number for message in found]


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
@pytest.mark.parametrize("share", [0.3, 0.5, 0.93])
def test_messages_before_the_damage_are_saved(tmp_path, store, plugin, share):
    bag = write(tmp_path / "bag", store, plugin, compressed=False)
    (file,) = (*bag.glob("*.mcap"), *bag.glob("*.db3"))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError):
        numbers(bag)
    for path in (bag, file):
        copy = ReadableBag(path)
        got = numbers(copy.path)
        assert copy.path.name == path.stem and copy.damaged
        assert f"the {len(got)} messages before the damage were saved" in copy.note
        copy.close()
        assert not copy.path.exists()
        assert got == list(range(len(got)))
        assert abs(len(got) - share * MESSAGES) <= 5
    assert file.read_bytes() == whole[: int(share * len(whole))]


def test_a_compressed_chunk_that_is_whole_is_saved(tmp_path, store):
    bag = write(tmp_path / "bag", store, StoragePlugin.MCAP, compressed=True)
    (file,) = bag.glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-10])
    saved = ReadableBag(bag)
    assert saved.damaged
    assert numbers(saved.path) == list(range(MESSAGES))


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
def test_a_bag_without_its_metadata_is_whole(tmp_path, store, plugin):
    bag = write(tmp_path / "bag", store, plugin, compressed=False)
    (bag / "metadata.yaml").unlink()
    saved = ReadableBag(bag)
    assert numbers(saved.path) == list(range(MESSAGES))
    assert not saved.damaged and not saved.note


def test_a_good_bag_is_left_alone(tmp_path, store):
    bag = write(tmp_path / "bag", store, StoragePlugin.MCAP, compressed=False)
    same = ReadableBag(bag)
    assert (same.path, same.note, same.damaged) == (bag, "", False)
    same.close()
    assert bag.exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x89MCAP0\r\n" + b"\xff" * 500, b"SQLite format 3\0"]
)
@pytest.mark.parametrize("suffix", [".mcap", ".db3"])
def test_what_is_no_bag_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    for bag in (path, tmp_path):
        with pytest.raises(InputError, match="can't be opened as a ROS bag: nothing in it can be"):
            ReadableBag(bag)


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
def test_a_folder_among_the_files_costs_nothing(tmp_path, store, plugin):
    bag = write(tmp_path / "bag", store, plugin, compressed=False)
    (bag / "metadata.yaml").unlink()
    (bag / "notes").mkdir()
    assert numbers(ReadableBag(bag).path) == list(range(MESSAGES))


def test_a_type_that_nothing_tells_of_costs_none_of_the_other_topics(tmp_path, store, caplog):
    """Databases of before Iron hold no definitions of the types in them."""
    bag = write(tmp_path / "bag", store, StoragePlugin.SQLITE3, compressed=False)
    (file,) = bag.glob("*.db3")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DELETE FROM message_definitions")
        text = store.types["std_msgs/msg/String"]
        data = bytes(store.serialize_cdr(text(data="kept"), text.__msgtype__))
        kind = text.__msgtype__
        columns = [row[1] for row in database.execute("PRAGMA table_info(topics)")]
        values = {"id": 99, "name": "/words", "type": kind, "serialization_format": "cdr"}
        row = [values.get(name, "") for name in columns]
        database.execute(f"INSERT INTO topics VALUES ({','.join('?' * len(row))})", row)
        query = "INSERT INTO messages (topic_id, timestamp, data) VALUES (99, 5, ?)"
        database.execute(query, (data,))
    (bag / "metadata.yaml").write_text("damaged")
    copy = ReadableBag(bag)
    with open_bag(copy.path) as reader:
        assert [connection.topic for connection in reader.connections] == ["/words"]
        assert [reader.deserialize(raw, c.msgtype).data for c, _, raw in reader.messages()] == [
            "kept"
        ]
    assert "/numbers is left out: its type own_msgs/msg/Numbered isn't known" in caplog.text


def with_log(out: Path, bag: Path) -> Path:
    """A bag as a recorder that was killed leaves it: all after the 20th is in a log."""
    shutil.copytree(bag, out)
    (file,) = out.glob("*.db3")
    whole, killed = out.with_suffix(".whole"), out.with_suffix(".killed")
    file.rename(whole)
    with closing(sqlite3.connect(whole)) as database, database:
        rows = database.execute("SELECT * FROM messages").fetchall()
        database.execute("DELETE FROM messages WHERE id > 20")
    shutil.copyfile(whole, killed)
    with closing(sqlite3.connect(killed)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        for row in rows[20:]:
            database.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", row)
            database.commit()
        shutil.copyfile(killed, file)
        shutil.copyfile(killed.with_name(killed.name + "-wal"), file.with_name(file.name + "-wal"))
    return out


@pytest.mark.parametrize("metadata", [True, False])
def test_messages_in_a_write_ahead_log_are_read(tmp_path, store, metadata):
    whole = write(tmp_path / "whole", store, StoragePlugin.SQLITE3, compressed=False)
    bag = with_log(tmp_path / "bag", whole)
    if not metadata:
        (bag / "metadata.yaml").unlink()
    before = {file.name: file.read_bytes() for file in bag.iterdir()}
    (file,) = bag.glob("*.db3")
    for path in (bag, file):
        saved = ReadableBag(path)
        assert numbers(saved.path) == list(range(MESSAGES))
        assert (saved.damaged, saved.note) == (False, "")
    assert {file.name: file.read_bytes() for file in bag.iterdir()} == before


def test_a_write_ahead_log_that_was_cut_off_is_damage(tmp_path, store):
    whole = write(tmp_path / "whole", store, StoragePlugin.SQLITE3, compressed=False)
    bag = with_log(tmp_path / "bag", whole)
    (log,) = bag.glob("*-wal")
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    saved = ReadableBag(bag)
    got = numbers(saved.path)
    assert 20 < len(got) < MESSAGES and got == list(range(len(got)))
    assert saved.damaged and f"the {len(got)} messages before the damage were saved" in saved.note


def split(path: Path, store, plugin: StoragePlugin) -> Path:
    """A recording of three parts, of ten messages each."""
    path.mkdir()
    suffix = ".mcap" if plugin is StoragePlugin.MCAP else ".db3"
    for k in range(3):
        part = write(path.with_name(f"part_{k}"), store, plugin, compressed=False)
        shutil.move(part / f"part_{k}{suffix}", path)
        metadata = (part / "metadata.yaml").read_text()
    names = "\n".join(f"  - part_{k}{suffix}" for k in range(3))
    listed = metadata.replace(f"  - part_2{suffix}", names)
    assert listed != metadata
    (path / "metadata.yaml").write_text(listed)
    return path


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
def test_a_part_that_is_missing_is_named(tmp_path, store, plugin):
    bag = split(tmp_path / "bag", store, plugin)
    assert len(numbers(ReadableBag(bag).path)) == 3 * MESSAGES
    (part,) = bag.glob("part_1*")
    part.unlink()
    saved = ReadableBag(bag)
    assert len(numbers(saved.path)) == 2 * MESSAGES
    assert saved.damaged and saved.missing == (part.name,)
    assert saved.note == (
        f"{bag} is damaged: it lacks {part.name}, which metadata.yaml names; the {2 * MESSAGES} "
        "messages of its other parts were saved"
    )


@pytest.mark.parametrize("plugin", list(StoragePlugin), ids=lambda p: p.name)
@pytest.mark.parametrize(
    ("lost", "begins"), [((0,), False), ((0, 1), False), ((1,), True), ((2,), True)]
)
@pytest.mark.parametrize("emptied", [False, True])
def test_a_recording_without_its_first_part_does_not_begin(
    tmp_path, store, plugin, lost, begins, emptied
):
    bag = split(tmp_path / "bag", store, plugin)
    assert ReadableBag(bag).begins
    for k in lost:
        (part,) = bag.glob(f"part_{k}*")
        part.write_bytes(b"")
        if not emptied:
            part.unlink()
    assert ReadableBag(bag).begins is begins
    # Of one part that is given alone the others aren't read.
    if not emptied:
        assert not ReadableBag(next(bag.glob(f"part_{2 if lost != (2,) else 1}*"))).begins


@pytest.mark.parametrize(("damaged", "begins"), [(0, False), (1, True), (MESSAGES - 1, True)])
def test_a_bag_whose_first_message_is_damaged_does_not_begin(tmp_path, store, damaged, begins):
    whole = write(tmp_path / "whole", store, StoragePlugin.MCAP, CompressionMode.MESSAGE)
    (file,) = whole.glob("*.mcap")
    content = file.read_bytes()
    places = [found.start() for found in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), content)]
    assert len(places) == MESSAGES
    head = places[damaged] + 4
    # Cut off, too, or it would be read as it is.
    file.write_bytes(content[:head] + b"\xff" * 20 + content[head + 20 : -10])
    saved = ReadableBag(file)
    assert numbers(saved.path) == [k for k in range(MESSAGES) if k != damaged]
    assert (saved.damaged, saved.begins) == (True, begins)


def without_definitions(bag: Path) -> Path:
    (file,) = bag.glob("*.db3")
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
    return bag


@pytest.mark.parametrize("saved", [False, True])
def test_our_own_messages_are_read_though_nothing_in_the_bag_defines_them(tmp_path, saved):
    messages = [("/bodies", body_array(k, "cam", [(0.0, 0.0, k + 2.0)])) for k in range(3)]
    bag = without_definitions(write_bag(tmp_path / "bag", messages, StoragePlugin.SQLITE3))
    if saved:
        (bag / "metadata.yaml").unlink()
    with open_bag(ReadableBag(bag).path) as reader:
        read = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages()]
    assert [message.bodies[0].positions[0].z for message in read] == [2, 3, 4]
