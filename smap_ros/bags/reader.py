"""ROS bags (rosbag2 in sqlite3 or MCAP, ROS 1) opened without ROS, and the stamps in them."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from rosbags.highlevel import AnyReader, AnyReaderError
from rosbags.interfaces import Connection
from rosbags.interfaces.typing import Typesdict
from rosbags.rosbag1 import ReaderError as Ros1ReaderError
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from smap_ros.errors import InputError
from smap_ros.paths import share_directory

LOG = logging.getLogger(__name__)

NANOSECONDS = 1_000_000_000

# What reading of a damaged bag raises, see BagReader.
READ_ERRORS = (
    AnyReaderError,
    Ros1ReaderError,
    ReaderError,
    SerdeError,
    TypesysError,
    OSError,
    ValueError,
    KeyError,
    MemoryError,  # this and the next: of a length that is damaged
    OverflowError,
    struct.error,
)
ROS1 = "ros1"  # how MCAP names its serialisation

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class BagReader(AnyReader):
    """Reads a bag, and tells its damage as :data:`READ_ERRORS` whatever library meets it.

    What is compressed or in a database is read by libraries that rosbags brings, each with errors
    of its own: zstd's, apsw's, EOFError, lz4's RuntimeError. They aren't named, as which of them
    are there is for rosbags to choose.
    """

    def open(self) -> None:
        """Open the files; types that they don't define are those of ROS and ours."""
        _told_as_damage(super().open)
        lacking = {c.msgtype for c in self.connections} - set(self.typestore.fielddefs)
        if self.default_typestore and lacking & set(self.default_typestore.fielddefs):
            known = self.typestore.fielddefs
            ours = self.default_typestore.fielddefs.items()
            self.typestore.register({kind: d for kind, d in ours if kind not in known})

    def messages(
        self,
        connections: Collection[Connection] = (),
        start: int | None = None,
        stop: int | None = None,
    ) -> Generator[tuple[Connection, int, bytes], None, None]:
        """Connection, arrival (nanoseconds) and content of the messages, up to the damage."""
        found = super().messages(connections, start, stop)
        while (message := _told_as_damage(next, found, None)) is not None:
            yield message

    def deserialize(self, rawdata: bytes, typ: str) -> Any:
        """The message that bytes are of."""
        return _told_as_damage(super().deserialize, rawdata, typ)


def _told_as_damage(
    read: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """What a step of reading gives.

    Raises:
        AnyReaderError: in place of an error that isn't among READ_ERRORS.
    """
    try:
        return read(*args, **kwargs)
    except READ_ERRORS:
        raise
    except (AttributeError, TypeError, NameError, AssertionError):  # ours, not the bag's
        raise
    except Exception as error:
        raise AnyReaderError(str(error) or type(error).__name__) from error


def own_types() -> Typesdict:
    """The package's messages, for bags without definitions: databases of before ROS 2 Iron."""
    types: Typesdict = {}
    for file in sorted((share_directory() / "msg").glob("*.msg")):
        text = file.read_text(encoding="utf-8")
        types.update(get_types_from_msg(text, f"smap_ros/msg/{file.stem}"))
    return types


@cache
def _default_types() -> Typestore:
    """Types of ROS 2 and ours."""
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(own_types())
    return store


@contextmanager
def open_bag(path: Path) -> Iterator[BagReader]:
    """A bag, open for reading.

    Args:
        path: folder of a rosbag2; its ``.mcap`` or ``.db3`` file; a ``.bag`` of ROS 1, or a folder
            of them.

    Raises:
        InputError: if it can't be opened.
    """
    try:
        reader = BagReader(bag_files(path), default_typestore=_default_types())
        reader.open()
    except READ_ERRORS as error:
        reason = " ".join(str(error).split()).rstrip(".")  # YAML's are drawn over several lines
        raise InputError(f"{path} can't be opened as a ROS bag: {_told(path, reason)}") from error
    try:
        foreign = {c.topic for c in reader.connections if serialization(c) == ROS1}
        if foreign and reader.is2:
            raise InputError(
                f"{path} can't be opened as a ROS bag: it holds messages of ROS 1 on "
                f"{', '.join(sorted(foreign))}"
            )
        yield reader
    finally:
        reader.close()


def bag_files(path: Path) -> list[Path]:
    """What a reader is given: all parts of a split recording of ROS 1, else the bag."""
    if path.is_dir() and not (path / "metadata.yaml").exists():
        parts = sorted(path.glob("*.bag"))
        if parts:
            return parts
    # A file of a rosbag2 needs the metadata that lie beside it.
    if path.suffix in (".mcap", ".db3") and (path.parent / "metadata.yaml").is_file():
        return [path.parent]
    return [path]


def _told(path: Path, reason: str) -> str:
    """Why a bag can't be opened, and what to do."""
    if path.suffix == ".bag" or (path.is_dir() and any(path.glob("*.bag"))):
        return f"{reason}. If it was cut off, `rosbag reindex` of ROS 1 mends it"
    alone = path.is_file() or (path.is_dir() and not (path / "metadata.yaml").exists())
    if alone:  # else it would have been found among what can be saved
        return "nothing in it can be read; it is empty, of another kind, or damaged from the start"
    return f"{reason}. A rosbag2 is a folder with metadata.yaml (`ros2 bag reindex` rebuilds it)"


def serialization(connection: Connection) -> str:
    """How the messages of a topic are serialised: ``cdr``, ``ros1``; empty where it isn't said."""
    return str(getattr(connection.ext, "serialization_format", ""))


def stamp_ns(message: Any) -> int:
    """The stamp of a message's header in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * NANOSECONDS + int(stamp.nanosec)


def read_messages(reader: AnyReader, topic: str) -> Iterator[tuple[int, Any]]:
    """Arrival (nanoseconds) and message, for all of a topic, or those before it is damaged."""
    connections = [c for c in reader.connections if c.topic == topic]
    if not topic or not connections:
        return
    read = 0
    try:
        for connection, arrived, raw in reader.messages(connections=connections):
            yield arrived, reader.deserialize(raw, connection.msgtype)
            read += 1
    except READ_ERRORS as error:
        LOG.warning("%s is damaged after %d messages: %s", topic, read, error)


def raw_header(reader: AnyReader, kind: str, raw: bytes) -> tuple[int, str] | None:
    """Stamp in nanoseconds and frame of a serialised message; None where it has no header.

    A header comes first, so that the picture behind it needs no reading. A type that nothing
    tells of is taken for one without.
    """
    if kind not in reader.typestore.fielddefs:
        return None
    fields = reader.typestore.get_msgdef(kind).fields
    if not fields or fields[0][0] != "header":
        return None
    header = reader.typestore.get_msgdef("std_msgs/msg/Header").fields
    counted = header[0][0] == "seq"  # ROS 1 counts its messages in front of the stamp
    # CDR begins with four bytes, of which the second tells the byte order; ROS 1 is little-endian.
    order = "<" if not reader.is2 or raw[1] & 1 else ">"
    place = 4 * (reader.is2 + counted)
    sec, nanosec, length = struct.unpack_from(f"{order}III", raw, place)
    frame = bytes(raw[place + 12 : place + 12 + length]).rstrip(b"\0").decode(errors="replace")
    return sec * NANOSECONDS + nanosec, frame
