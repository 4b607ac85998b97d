"""Bags that were cut off, by a full disk or a robot that lost power: what is in them still.

The messages that can be read are written anew into a bag in a temporary folder, so that the
original stays as it is.
"""

from __future__ import annotations

import importlib
import shutil
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.base import TypesysError

from smap_ros.errors import InputError
from smap_ros.sources.bag import open_bag

_MAGIC = b"\x89MCAP0\r\n"
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK = 3, 4, 5, 6
_LARGEST = 2**31  # bytes of a record; more is damage
_SQLITE_PAGES = 28  # where a database says how many pages it has


@dataclass(frozen=True)
class Message:
    """A message as it was recorded: topic, type, definition, nanoseconds, serialised data."""

    topic: str
    kind: str
    definition: str
    time: int
    data: bytes


@contextmanager
def whole_bag(path: Path) -> Iterator[tuple[Path, str | None]]:
    """A bag that can be read, for as long as the context lasts.

    Args:
        path: folder or file of a bag.

    Yields:
        The bag itself and None; or, where it is damaged, a bag of the same name with the messages
        that could be saved, and a line that says so.

    Raises:
        InputError: if it is no bag, or nothing could be saved.
    """
    try:
        with open_bag(path):
            damage = None
    except InputError as error:
        damage = error
    if damage is None:
        yield path, None
        return
    with tempfile.TemporaryDirectory(prefix="smap_ros_bag_") as folder:
        saved = Path(folder) / (path.name if path.is_dir() else path.stem)
        count = _save(path, saved)
        if not count:
            raise damage
        yield (
            saved,
            f"{path} is damaged: the {count} messages before the damage were saved, what came "
            "after them is lost",
        )


def _save(path: Path, out: Path) -> int:
    """Write the readable messages of a bag's files to a new bag; how many there were."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    store, count = get_typestore(Stores.ROS2_JAZZY), 0
    connections: dict[str, Connection] = {}
    try:
        with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
            for message in (m for file in files for m in _messages(file)):
                if message.topic not in connections:
                    if message.kind not in store.types and message.definition:
                        store.register(get_types_from_msg(message.definition, message.kind))
                    connections[message.topic] = writer.add_connection(
                        message.topic, message.kind, typestore=store
                    )
                writer.write(connections[message.topic], message.time, message.data)
                count += 1
    except (WriterError, TypesysError, OSError) as error:
        raise InputError(f"what is left of {path} can't be copied to {out}: {error}") from error
    return count


def _messages(path: Path) -> Iterator[Message]:
    if path.suffix == ".mcap":
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) == _MAGIC:
                yield from _Mcap().messages(file)
    elif path.suffix == ".db3":
        yield from _sqlite_messages(path)


class _Mcap:
    """The records of an MCAP file from its start, as far as they are whole."""

    def __init__(self) -> None:
        self._schemas: dict[int, tuple[str, str]] = {}
        self._channels: dict[int, tuple[int, str]] = {}

    def messages(self, file: IO[bytes]) -> Iterator[Message]:
        try:
            for kind, content in _records(file):
                if kind == _CHUNK:
                    yield from self._taken(_uncompressed(content))
                else:
                    yield from self._take(kind, content)
        except struct.error:  # lengths that point beyond their record: damage
            return

    def _taken(self, data: bytes) -> Iterator[Message]:
        place = 0
        while place + 9 <= len(data):
            kind, length = struct.unpack_from("<BQ", data, place)
            place += 9 + length
            if place > len(data):
                return
            yield from self._take(kind, data[place - length : place])

    def _take(self, kind: int, content: bytes) -> Iterator[Message]:
        if kind == _SCHEMA:
            (number,) = struct.unpack_from("<H", content)
            name, place = _text(content, 2)
            _, place = _text(content, place)
            definition, _ = _text(content, place)
            self._schemas[number] = name, definition
        elif kind == _CHANNEL:
            number, schema = struct.unpack_from("<HH", content)
            self._channels[number] = schema, _text(content, 4)[0]
        elif kind == _MESSAGE:
            channel, _, time = struct.unpack_from("<HIQ", content)
            schema, topic = self._channels.get(channel, (0, ""))
            if schema in self._schemas:
                yield Message(topic, *self._schemas[schema], time, content[22:])


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


def _uncompressed(chunk: bytes) -> bytes:
    """The records of a chunk; nothing if they can't be had."""
    compression, place = _text(chunk, 28)
    (length,) = struct.unpack_from("<Q", chunk, place)
    data = chunk[place + 8 : place + 8 + length]
    try:
        return _DECOMPRESSORS[compression](data)
    except Exception:  # damaged or unknown, each library in its own way
        return b""


def _zstd(data: bytes) -> bytes:
    # Part of Python since 3.14; before, rosbags brings it.
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return bytes(importlib.import_module(name).decompress(data))


def _lz4(data: bytes) -> bytes:
    return bytes(importlib.import_module("lz4.frame").decompress(data))


_DECOMPRESSORS: dict[str, Callable[[bytes], bytes]] = {"": bytes, "zstd": _zstd, "lz4": _lz4}


def _text(content: bytes, place: int) -> tuple[str, int]:
    """A string with its length before it, and where it ends."""
    (length,) = struct.unpack_from("<I", content, place)
    end = place + 4 + length
    return content[place + 4 : end].decode("utf-8", errors="replace"), end


def _sqlite_messages(path: Path) -> Iterator[Message]:
    """The rows of a database in order, up to the first page that is missing."""
    with tempfile.TemporaryDirectory(prefix="smap_ros_bag_") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        _shorten(copy)
        try:
            with closing(sqlite3.connect(copy)) as database:
                yield from _rows(database)
        except sqlite3.Error:
            return


def _shorten(path: Path) -> None:
    """Let a database say that it has the pages that the file has, or it isn't opened at all."""
    with path.open("r+b") as file:
        head = file.read(100)
        if len(head) < 100:
            return
        page = struct.unpack_from(">H", head, 16)[0]
        page = 65536 if page == 1 else page
        if page:
            pages = path.stat().st_size // page
            file.seek(_SQLITE_PAGES)
            file.write(struct.pack(">I", pages))


def _rows(database: sqlite3.Connection) -> Iterator[Message]:
    topics: dict[int, tuple[str, str]] = {}
    for number, name, kind in database.execute("SELECT id, name, type FROM topics"):
        topics[number] = name, kind
    definitions = _definitions(database)
    place = 0
    while True:
        # One by one: a query over all fails as a whole where a page is missing.
        row: Any = database.execute(
            "SELECT id, topic_id, timestamp, data FROM messages WHERE id > ? ORDER BY id LIMIT 1",
            (place,),
        ).fetchone()
        if row is None:
            return
        place, topic, time, data = row
        if topic in topics:
            name, kind = topics[topic]
            yield Message(name, kind, definitions.get(kind, ""), time, bytes(data))


def _definitions(database: sqlite3.Connection) -> dict[str, str]:
    """Message definitions by type, which older bags lack."""
    try:
        rows = database.execute(
            "SELECT topic_type, encoded_message_definition FROM message_definitions"
        )
        return {str(kind): str(text) for kind, text in rows}
    except sqlite3.Error:
        return {}
