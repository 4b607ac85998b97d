"""The messages in a bag's sqlite3 database, as far as it is whole; the database stays as it is.

The last of them are in a write-ahead log beside it where a recorder was killed that kept one
(rosbag2's preset ``resilient``). No reader of bags looks at it.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

# Topic, type, its definition (empty where the database has none), arrival (nanoseconds), data.
Row: TypeAlias = tuple[str, str, str, int, bytes]

_PAGES = 28  # where a database says how many pages it has
_LOG_HEAD, _FRAME_HEAD = 32, 24  # bytes before the frames of a log, and of each before its page


def rows(path: Path) -> Iterator[Row]:
    """The messages of a database in order, up to the first page that is missing.

    Raises:
        sqlite3.Error: there.
    """
    with tempfile.TemporaryDirectory(prefix="smap_ros_bag_") as folder:
        copy = Path(folder) / path.name
        shutil.copyfile(path, copy)
        _shorten(copy)
        if has_log(path):  # sqlite takes what is whole in it
            shutil.copyfile(_log(path), _log(copy))
        with closing(sqlite3.connect(copy)) as database:
            yield from _rows(database)


def has_log(path: Path) -> bool:
    """Whether a database has a write-ahead log that holds something."""
    log = _log(path)
    return log.is_file() and log.stat().st_size > _LOG_HEAD


def is_whole(path: Path) -> bool:
    """Whether a database, or its log, has its end."""
    if has_log(path):  # which may hold the pages that the database lacks
        with _log(path).open("rb") as file:
            page = int.from_bytes(file.read(_LOG_HEAD)[8:12], "big")
        return (_log(path).stat().st_size - _LOG_HEAD) % (_FRAME_HEAD + page) == 0
    with path.open("rb") as file:
        pages = _pages(file.read(100), path.stat().st_size)
    return pages is not None and pages[0] <= pages[1]


def _log(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _pages(head: bytes, size: int) -> tuple[int, int] | None:
    """How many pages a database says that it has, and how many its file has; None if it is none."""
    if len(head) < 100:
        return None
    page = struct.unpack_from(">H", head, 16)[0]
    page = 65536 if page == 1 else page
    return (struct.unpack_from(">I", head, _PAGES)[0], size // page) if page else None


def _shorten(path: Path) -> None:
    """Let a database say that it has the pages that the file has, or it isn't opened at all."""
    with path.open("r+b") as file:
        pages = _pages(file.read(100), path.stat().st_size)
        if pages is not None:
            file.seek(_PAGES)
            file.write(struct.pack(">I", pages[1]))


def _rows(database: sqlite3.Connection) -> Iterator[Row]:
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
        if topic in topics and isinstance(data, bytes):
            name, kind = topics[topic]
            yield name, kind, definitions.get(kind, ""), time, bytes(data)


def _definitions(database: sqlite3.Connection) -> dict[str, str]:
    """Message definitions by type, which older bags lack."""
    try:
        rows = database.execute(
            "SELECT topic_type, encoded_message_definition FROM message_definitions"
        )
        return {str(kind): str(text) for kind, text in rows}
    except sqlite3.Error:
        return {}
