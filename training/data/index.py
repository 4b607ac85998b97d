"""Records of a data set on disk, mapped into memory: millions of them cost next to none.

An index is built once, streaming from the data set's own files, and kept in the cache folder
under a key of those files' paths, sizes and times. It appears whole or not at all, so processes
of one run may build it at the same time.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import InputError
from smap_ros.paths import cache_directory

LOG = logging.getLogger(__name__)

_FORMAT = 1  # of the files of an index
_MANIFEST = "index.json"
_REPORT_EVERY = 100_000  # records
_READS_KEPT = 64  # records whose pages stay mapped


@dataclass(frozen=True)
class Column:
    """What every record has under one name.

    Attributes:
        kind: ``fixed``, one array of the shape; ``ragged``, any number of such rows; ``text``.
        dtype: of numpy; little-endian.
        shape: of a record's array, or of one of its rows.
    """

    kind: Literal["fixed", "ragged", "text"]
    dtype: str = "<u1"
    shape: tuple[int, ...] = ()


def fixed(dtype: str, *shape: int) -> Column:
    """One array a record."""
    return Column("fixed", dtype, shape)


def ragged(dtype: str, *shape: int) -> Column:
    """Any number of rows a record, each of the shape."""
    return Column("ragged", dtype, shape)


TEXT = Column("text")
Schema = Mapping[str, Column]
Row = Mapping[str, Any]


class Index:
    """Records that stay on disk; reading one touches its own pages only.

    Args:
        folder: of the index.

    Raises:
        InputError: if it isn't whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._reads = folder, 0
        try:
            manifest = json.loads((folder / _MANIFEST).read_text())
            self._count = int(manifest["count"])
            self.schema = {
                name: Column(c["kind"], c["dtype"], tuple(c["shape"]))
                for name, c in manifest["schema"].items()
            }
            self._values, self._ends = {}, {}
            for name, column in self.schema.items():
                rows = self._count
                if column.kind != "fixed":
                    ends = _mapped(folder / f"{name}.ends", "<i8", (), self._count)
                    rows = int(ends[-1]) if self._count else 0
                    self._ends[name] = ends
                self._values[name] = _mapped(
                    folder / f"{name}.values", column.dtype, column.shape, rows
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the index {folder} is damaged ({error}); remove it to build it anew"
            ) from error

    def _let_go(self) -> None:
        """Give the pages that were looked at back to the system, which may keep them cached.

        Else the whole index would count as this process's memory in the end.
        """
        for array in (*self._values.values(), *self._ends.values()):
            mapped = getattr(array, "_mmap", None)  # nothing is mapped of empty columns
            if mapped is not None:
                mapped.madvise(mmap.MADV_DONTNEED)

    def __reduce__(self) -> tuple[type[Index], tuple[Path]]:
        """Other processes map the same files; nothing is copied to them."""
        return Index, (self.folder,)

    def __len__(self) -> int:
        return self._count

    def column(self, name: str) -> NDArray[Any]:
        """All values of a column, mapped: [records, ...], or all rows of a ragged one."""
        return self._values[name]

    def sizes(self, name: str) -> NDArray[np.int64]:
        """How many rows of a ragged column, or bytes of a text, each record has; [records]."""
        return np.diff(self._ends[name], prepend=0)

    def rows(self, name: str, low: int, high: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """The rows that the records from ``low`` up to ``high`` have, and whose each is."""
        if self.schema[name].kind == "fixed":
            return np.array(self._values[name][low:high]), np.arange(low, high)
        ends = self._ends[name][low:high]
        first = int(self._ends[name][low - 1]) if low else 0
        owners = np.repeat(np.arange(low, high), np.diff(ends, prepend=first))
        return np.array(self._values[name][first : int(ends[-1]) if len(ends) else first]), owners

    def __getitem__(self, number: int) -> dict[str, Any]:
        """A record: copies of its arrays, and its texts.

        Raises:
            IndexError: if there is none of that number.
        """
        return self.some(number, self.schema)

    def some(self, number: int, names: Iterable[str]) -> dict[str, Any]:
        """Some columns of a record.

        Raises:
            IndexError: if there is none of that number.
        """
        if not 0 <= number < self._count:
            raise IndexError(f"record {number} of {self._count}")
        self._reads += 1
        if self._reads % _READS_KEPT == 0:
            self._let_go()
        record: dict[str, Any] = {}
        for name in names:
            column, values = self.schema[name], self._values[name]
            if column.kind == "fixed":
                record[name] = np.array(values[number])
                continue
            ends = self._ends[name]
            own = np.array(values[int(ends[number - 1]) if number else 0 : int(ends[number])])
            record[name] = own.tobytes().decode() if column.kind == "text" else own
        return record


def open_index(
    layout: str,
    version: int,
    sources: Sequence[Path],
    schema: Schema,
    rows: Callable[[], Iterable[Row]],
    cache: Path | None = None,
) -> Index:
    """The index of a data set, built if it isn't there or the data set has changed.

    Args:
        layout: name of the data set's form.
        version: of what is made of it; another one builds anew.
        sources: files that the records are read from.
        schema: columns by name.
        rows: reads the records; called only to build.
        cache: folder of indexes; the user's cache folder if None.

    Raises:
        InputError: if a source can't be read, or the index can't be written.
    """
    try:
        folder = (cache or cache_directory() / "indexes") / _key(layout, version, sources, schema)
    except OSError as error:
        raise InputError(f"can't read {error.filename}: {error.strerror or error}") from error
    if folder.exists():
        try:
            return Index(folder)
        except InputError as error:
            LOG.warning("%s: building it anew", error)
            shutil.rmtree(folder, ignore_errors=True)
    _build(folder, schema, rows())
    return Index(folder)


def _key(layout: str, version: int, sources: Sequence[Path], schema: Schema) -> str:
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in sources]
    columns = {name: asdict(column) for name, column in schema.items()}
    text = json.dumps([_FORMAT, layout, version, files, columns])
    return f"{layout}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"


def _build(folder: Path, schema: Schema, rows: Iterable[Row]) -> None:
    """Write an index beside its place, then move it there."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        count = _write(unfinished, schema, rows)
        manifest = {
            "count": count, "schema": {name: asdict(column) for name, column in schema.items()}
        }  # fmt: skip
        (unfinished / _MANIFEST).write_text(json.dumps(manifest))
        try:
            unfinished.rename(folder)
        except OSError:
            if not (folder / _MANIFEST).exists():  # else another process was first
                raise
    except OSError as error:
        raise InputError(f"can't write the index {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _write(folder: Path, schema: Schema, rows: Iterable[Row]) -> int:
    with ExitStack() as stack:

        def opened(name: str) -> IO[bytes]:
            return stack.enter_context((folder / name).open("wb", buffering=1 << 20))

        values = {name: opened(f"{name}.values") for name in schema}
        ends = {name: opened(f"{name}.ends") for name, c in schema.items() if c.kind != "fixed"}
        totals = dict.fromkeys(ends, 0)
        count = 0
        for row in _reported(rows, folder.name):
            for name, array in _fitting(row, schema).items():
                values[name].write(array.tobytes())
                if name in ends:
                    totals[name] += len(array)
                    ends[name].write(np.array(totals[name], "<i8").tobytes())
            count += 1
    return count


def _fitting(row: Row, schema: Schema) -> dict[str, NDArray[Any]]:
    """A row's values as its columns have them.

    What doesn't fit is the row's problem, where the schema has such a column.

    Raises:
        ValueError, TypeError, OverflowError: where it has none.
    """
    arrays, problem = {}, ""
    for name, column in schema.items():
        try:
            arrays[name] = _encoded(row[name], column)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            if "problem" not in schema:
                raise
            problem = problem or f"{name} is malformed: {error}"
            shape = column.shape if column.kind == "fixed" else (0, *column.shape)
            arrays[name] = np.zeros(shape, column.dtype)
    if problem and not len(arrays["problem"]):
        arrays["problem"] = _encoded(problem, schema["problem"])
    return arrays


def _reported(rows: Iterable[Row], name: str) -> Iterator[Row]:
    for number, row in enumerate(rows, start=1):
        if number % _REPORT_EVERY == 0:
            LOG.info("index %s: %s records", name.strip("."), f"{number:,}")
        yield row


def _encoded(value: Any, column: Column) -> NDArray[Any]:
    if column.kind == "text":
        return np.frombuffer(value.encode(), np.uint8)
    array = np.asarray(value, column.dtype)
    shape = array.shape[1:] if column.kind == "ragged" else array.shape
    if shape != column.shape:
        raise ValueError(f"an array of shape {array.shape} doesn't fit the column {column}")
    return array


def _mapped(path: Path, dtype: str, shape: tuple[int, ...], rows: int) -> NDArray[Any]:
    """A file as an array [rows, *shape], which is read when it is looked at."""
    whole = (rows, *shape)
    expected = int(np.prod(whole)) * np.dtype(dtype).itemsize
    if (got := path.stat().st_size) != expected:
        raise ValueError(f"{path.name} has {got} bytes, expected {expected}")
    if expected == 0:  # nothing can't be mapped
        return np.empty(whole, dtype)
    values = np.memmap(path, dtype, "r", shape=whole)
    # Records are drawn in any order: pages beside those that are looked at would only fill memory.
    values._mmap.madvise(mmap.MADV_RANDOM)
    return values
