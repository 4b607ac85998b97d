"""Files that appear whole or not at all, and folders that one process writes to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from smap_ros.errors import DAMAGED_ARRAYS, InputError
from smap_ros.locks import FolderLock
from smap_ros.paths import make_folder


@contextmanager
def whole_file(path: Path, what: str = "file") -> Iterator[IO[bytes]]:
    """A file that takes its place when everything is written; nothing is left of one that isn't.

    Args:
        path: file to write; its folder is made if need be.
        what: it is, for messages.

    Raises:
        InputError: if it can't be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"can't write {what} {path}: {error.strerror or error}") from error


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """A run's folder, made if need be, for this process alone: two runs would mix their states.

    Whoever else asks for it is refused until the end of the block, or of the process.

    Raises:
        InputError: if another process has it, or it can't be made.
    """
    make_folder(folder, "the folder of the run, out =")
    lock = FolderLock(
        folder,
        f"another process trains in {folder} at this moment; wait for it, end it, or state another "
        "out=",
    )
    try:
        yield
    finally:
        lock.release()


def read_arrays(path: Path, form: str, what: str, expected: str) -> dict[str, NDArray[Any]]:
    """The arrays of one of our archives (``.npz``), by name.

    Args:
        path: file.
        form: that its ``format`` states.
        what: it holds, for messages.
        expected: likewise, what to give instead.

    Raises:
        InputError: if it can't be read, or is of another form.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            data = {name: file[name] for name in file.files}
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}; {expected}") from error
    except DAMAGED_ARRAYS as error:
        raise InputError(f"{path} is no whole archive of arrays ({error}); {expected}") from error
    if str(data.get("format")) != form:
        raise InputError(f"{path} doesn't hold {what}; {expected}")
    return data
