"""Bags that can't be read as they are: cut off by a full disk or a lost battery, or of ROS 1.

Also databases whose last messages are in a write-ahead log.

The messages that can be read are written anew into a bag in a temporary folder, so that the
original stays as it is.

MCAP is read record by record here, not with the library ``mcap``: on files that are cut off, its
StreamReader loses the whole last chunk. Of 60 messages in one chunk of a file cut at half, 30 come
out here and none there; of 600 in three, 300 and 208; where records are damaged in the middle,
both give the same.
"""

from __future__ import annotations

import logging
import sqlite3
import struct
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import starmap
from pathlib import Path
from typing import IO

import yaml
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError
from rosbags.typesys.store import Typestore

from smap_ros.bags import compression, databases
from smap_ros.bags.reader import ROS1, bag_files, open_bag, own_types
from smap_ros.errors import InputError

LOG = logging.getLogger(__name__)

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 3, 4, 5, 6
_LARGEST = 2**31  # bytes of a record; more is damage
_METADATA = "metadata.yaml"


@dataclass(frozen=True)
class Message:
    """A message as it was recorded.

    Attributes:
        topic: name of the topic.
        kind: type, as ROS 2 spells it.
        definition: of the type; empty when it isn't recorded.
        time: of the recording, nanoseconds.
        data: serialised as in ROS 1 or, else, as CDR.
        ros1: whether ROS 1 wrote it.
    """

    topic: str
    kind: str
    definition: str
    time: int
    data: bytes
    ros1: bool = False


class ReadableBag:
    """A bag that can be read: itself, or a copy of what can be read of it.

    Args:
        path: folder or file of a bag.

    Attributes:
        path: of the bag to read; of a copy, the name is the same.
        note: what was lost or converted, for people; empty for a bag that is as it should be.
        damaged: whether messages were lost.
        missing: parts of a split recording that aren't there; the loss may be amid the others.
        begins: whether its first messages are there; else its times count from a later one.

    Raises:
        InputError: if it is no bag, or nothing could be saved.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.note, self.damaged = path, "", False
        self.missing: tuple[str, ...] = ()
        self.begins = True
        damage: InputError | None = None
        source = path
        try:
            with open_bag(path):
                source = bag_files(path)[0]
            if not any(map(databases.has_log, (source, *source.glob("*.db3")))):
                return
        except InputError as error:
            damage = error
        # Goes with this object, or when it is closed.
        self._folder = tempfile.TemporaryDirectory(prefix="smap_ros_bag_")
        self.path = Path(self._folder.name) / (path.name if path.is_dir() else path.stem)
        copied = _copy(source, self.path)
        if not copied.messages:
            if damage is not None:
                raise damage
            self.close()
            self.path = path
            return
        self.missing = _missing(path)
        self.damaged = not copied.complete or bool(self.missing)
        self.begins = copied.begins and not _lacks_first(source)
        self.note = _note(path, copied, self.missing)

    def close(self) -> None:
        """Remove the copy, if there is one."""
        if self.path.exists() and hasattr(self, "_folder"):
            self._folder.cleanup()


@dataclass
class _Copied:
    """What was written to a copy: messages, those of them of ROS 1, and whether that is all.

    ``begins``: whether nothing was lost before the first of them.
    """

    messages: int = 0
    ros1: int = 0
    complete: bool = True
    begins: bool = True


def _note(path: Path, copied: _Copied, missing: tuple[str, ...]) -> str:
    """What was converted or lost of a bag, for people."""
    notes = []
    if copied.ros1:
        notes.append(
            f"{path} holds {copied.ros1} messages of ROS 1 in MCAP, which were converted for "
            "this run (`rosbags-convert` keeps a converted bag, from the original .bag file)"
        )
    if missing:
        notes.append(
            f"{path} is damaged: it lacks {', '.join(missing)}, which {_METADATA} names; "
            f"the {copied.messages} messages of its other parts were saved"
        )
    if not copied.complete:
        notes.append(
            f"{path} is damaged: the {copied.messages} messages before the damage were saved, "
            "what came after them is lost"
        )
    return "; ".join(notes)


def _missing(path: Path) -> tuple[str, ...]:
    """The files of a bag that its metadata names and that aren't in its folder."""
    names = _named_files(path)
    # People decompress files that were recorded compressed.
    there = {file.name.removesuffix(".zstd") for file in path.iterdir()} if names else ()
    return tuple(name for name in names if name.removesuffix(".zstd") not in there)


def _lacks_first(path: Path) -> bool:
    """Whether the metadata name a file before those that are read: all of a folder, or one."""
    if path.is_dir():
        return _missing(path)[:1] == tuple(_named_files(path)[:1]) != ()
    names = [name.removesuffix(".zstd") for name in _named_files(path.parent)]
    return path.name.removesuffix(".zstd") in names[1:]


def _named_files(folder: Path) -> list[str]:
    """The files that the metadata of a bag name, in order; empty without metadata."""
    try:
        metadata = yaml.safe_load((folder / _METADATA).read_text(encoding="utf-8"))
        files = metadata["rosbag2_bagfile_information"]["relative_file_paths"]
        return [Path(file).name for file in files]
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):  # none, or damaged
        return []


def _copy(path: Path, out: Path) -> _Copied:
    """Write the readable messages of a bag's files to a new bag."""
    files = sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else [path]
    # ROS 1 and 2 define some types of the same name otherwise: a header has a counter or has none.
    stores = {
        False: get_typestore(Stores.ROS2_JAZZY),
        True: get_typestore(Stores.ROS1_NOETIC),
    }
    copied = _Copied()
    connections: dict[str, Connection | None] = {}
    try:
        with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            for message in _messages_of(files, copied):
                store = stores[message.ros1]
                if message.topic not in connections:
                    connections[message.topic] = _connection(writer, store, message)
                connection = connections[message.topic]
                if connection is None:
                    continue
                data = compression.message(message.data)
                if data is None:
                    copied.complete = False
                    continue
                if message.ros1:
                    # Not ros1_to_cdr, which takes the definitions of ROS 2.
                    content = store.deserialize_ros1(data, message.kind)
                    data = bytes(store.serialize_cdr(content, message.kind))
                    copied.ros1 += 1
                writer.write(connection, message.time, data)
                if not copied.messages:
                    copied.begins = copied.complete
                copied.messages += 1
    except (WriterError, TypesysError, SerdeError, OSError, ValueError, struct.error) as error:
        raise InputError(f"what is left of {path} can't be copied to {out}: {error}") from error
    return copied


def _connection(writer: Writer, store: Typestore, message: Message) -> Connection | None:
    """The topic of a message in the copy; None where nothing tells what its type is.

    Older databases hold no definitions, and nobody reads such a topic without; ours are known.
    """
    try:
        if message.kind not in store.types and message.definition:
            store.register(get_types_from_msg(message.definition, message.kind))
        elif message.kind not in store.types and message.kind in (ours := own_types()):
            store.register(ours)
        return writer.add_connection(message.topic, message.kind, typestore=store)
    except (TypesysError, KeyError):
        LOG.warning("%s is left out: its type %s isn't known", message.topic, message.kind)
        return None


def _ends(path: Path) -> bool:
    """Whether a file has its end, as far as its format tells."""
    with path.open("rb") as file:
        if path.suffix == ".mcap":
            size = file.seek(0, 2)
            file.seek(max(0, size - len(_MAGIC)))
            return file.read() == _MAGIC
        if path.suffix == ".db3":
            return databases.is_whole(path)
    return path.suffix != ".bag"


def _messages_of(files: Iterable[Path], copied: _Copied) -> Iterator[Message]:
    """The messages of files in order; ``copied`` is told of each loss when it is come to."""
    for file in files:
        yield from _messages(file, copied)
        copied.complete &= _ends(file)


def _messages(path: Path, copied: _Copied) -> Iterator[Message]:
    """The messages of a file; ``copied`` is told where some of them are lost."""
    if path.suffix == ".mcap":
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                yield from _Mcap(copied).messages(file)
            else:
                copied.complete = False
    elif path.suffix == ".db3":
        try:
            yield from starmap(Message, databases.rows(path))
        except sqlite3.Error:
            copied.complete = False
    elif path.suffix == ".zstd":  # a whole file that was compressed when it was closed
        with tempfile.TemporaryDirectory(prefix="smap_ros_bag_") as folder:
            bag = Path(folder) / path.stem
            whole = compression.decompress_file(path, bag)
            yield from _messages(bag, copied)
            copied.complete &= whole and _ends(bag)


class _Mcap:
    """The records of an MCAP file from its start, as far as they are whole.

    Args:
        copied: is told where records are lost.
    """

    def __init__(self, copied: _Copied) -> None:
        self._copied = copied
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, tuple[int, str, bool]] = {}

    def messages(self, file: IO[bytes]) -> Iterator[Message]:
        try:
            for kind, content in _records(file):
                if kind == _CHUNK:
                    data = _uncompressed(content)
                    self._copied.complete &= data is not None
                    yield from self._taken(data or b"")
                else:
                    yield from self._take(kind, content)
        except struct.error:  # lengths that point beyond their record: damage
            self._copied.complete = False

    def _taken(self, data: bytes) -> Iterator[Message]:
        place = 0
        while place + 9 <= len(data):
            kind, length = struct.unpack_from("<BQ", data, place)
            place += 9 + length
            if place > len(data):
                self._copied.complete = False
                return
            yield from self._take(kind, data[place - length : place])

    def _take(self, kind: int, content: bytes) -> Iterator[Message]:
        if kind == _SCHEMA:
            (number,) = struct.unpack_from("<H", content)
            name, place = _text(content, 2)
            _, place = _text(content, place)
            definition, _ = _text(content, place)
            self._schemas[number] = ros2_name(name), definition
        elif kind == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            topic, place = _text(content, 4)
            self._channels[number] = schema, topic, _text(content, place)[0] == ROS1
        elif kind == _MESSAGE:
            channel, _, time = struct.unpack_from("<HIQ", content)
            schema, topic, ros1 = self._channels.get(channel, (0, "", False))
            if schema in self._schemas:
                yield Message(topic, *self._schemas[schema], time, content[22:], ros1)


def ros2_name(kind: str) -> str:
    """The name of a type as ROS 2 spells it: ``sensor_msgs/msg/Image``."""
    package, _, name = kind.rpartition("/")
    return kind if "/" in package or not package else f"{package}/msg/{name}"


def _records(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each record up to the first that isn't whole."""
    while len(head := file.read(9)) == 9:
        kind, length = struct.unpack("<BQ", head)
        if length > _LARGEST:
            return
        content = file.read(length)
        if len(content) < length:
            # A chunk that was cut off still has its first messages where it isn't compressed.
            if kind == _CHUNK:
                yield kind, content
            return
        yield kind, content


def _uncompressed(chunk: bytes) -> bytes | None:
    """The records of a chunk; None if they can't be had."""
    name, place = _text(chunk, 28)
    (length,) = struct.unpack_from("<Q", chunk, place)
    return compression.chunk(chunk[place + 8 : place + 8 + length], name)


def _text(content: bytes, place: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends."""
    (length,) = struct.unpack_from("<I", content, place)
    end = place + 4 + length
    return content[place + 4 : end].decode("utf-8", errors="replace"), end
